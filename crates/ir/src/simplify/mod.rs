//! Graph → graph: the same values with less work. The passes stand in one list and run, each linear in the size of
//! the graph, until none of them changes anything. `KILN_LOG=passes` prints what each does.
//!
//! Every rewrite gives the same bits but where its comment says otherwise: rules that are only true of real numbers
//! (`x·0 → 0` with `NaN`, another order of a sum) have no place here.

mod algebra;
mod movement;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use crate::check::check;
use crate::dtype::{DType, Scalar};
use crate::graph::{Graph, GraphNode, Id};
use crate::op::Op;
use crate::shape::Shape;

type Pass = fn(&Graph) -> Graph;

/// The passes of one round.
const PASSES: [(&str, Pass); 3] = [("rewrite", rewrite), ("merge", merge), ("sweep", sweep)];

/// Enough for any graph that isn't made to defeat it; a round more can only find a little more.
const ROUNDS: usize = 8;

/// The simplest graph with the same outputs, updates and arguments that the rules lead to.
pub fn simplify(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for _ in 0..ROUNDS {
        let before = graph.clone();
        for (name, pass) in PASSES {
            graph = run(name, pass, &graph);
        }
        if graph == before {
            break;
        }
    }
    graph
}

fn run(name: &str, pass: Pass, before: &Graph) -> Graph {
    static LOGGED: OnceLock<bool> = OnceLock::new();
    let start = Instant::now();
    let after = pass(before);
    if *LOGGED.get_or_init(|| std::env::var("KILN_LOG").is_ok_and(|log| log.contains("passes"))) {
        let (from, to) = (before.nodes.len(), after.nodes.len());
        let change = if after == *before { "nothing changed" } else { "" };
        eprintln!("{name:<8} {from:>7} → {to:>7} nodes {:>8} µs {change}", start.elapsed().as_micros());
    }
    if cfg!(debug_assertions)
        && let Err(fault) = check(&after)
    {
        panic!("the pass {name} broke the graph: {fault}");
    }
    after
}

/// Applies the rules to each node; operands have been simplified before it.
fn rewrite(graph: &Graph) -> Graph {
    copy(graph, |nodes, node| Some(nodes.place(node)))
}

/// Computes equal things once. Barriers have numbers, so that no two are equal.
///
/// `%1 = exp(%0)  %2 = exp(%0)  %3 = mul(%1, %2)` becomes `%1 = exp(%0)  %2 = mul(%1, %1)`
fn merge(graph: &Graph) -> Graph {
    let mut known: HashMap<GraphNode, Id> = HashMap::new();
    copy(graph, |nodes, node| Some(*known.entry(node).or_insert_with_key(|node| nodes.push(node.clone()))))
}

/// Drops what no output and no update needs; arguments stay.
///
/// `%0 = input  %1 = exp(%0)  %2 = neg(%0)  → %2` becomes `%0 = input  %1 = neg(%0)  → %1`
fn sweep(graph: &Graph) -> Graph {
    let mut live = vec![false; graph.nodes.len()];
    for &id in graph.outputs.iter().chain(graph.updates.iter().map(|(_, id)| id)) {
        live[id] = true;
    }
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        if live[id] {
            node.inputs.iter().for_each(|&input| live[input] = true);
        }
    }
    let mut id = 0..;
    copy(graph, |nodes, node| live[id.next()?].then(|| nodes.push(node)))
}

/// Copies a graph node by node. `place` receives each with its operands already translated, and says where its value
/// is now, or `None` where nobody will ask.
fn copy(graph: &Graph, mut place: impl FnMut(&mut Nodes, GraphNode) -> Option<Id>) -> Graph {
    let mut nodes = Nodes::default();
    let mut new_id: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inputs = node.inputs.iter().map(|&input| new_id[input]).collect();
        let id = place(&mut nodes, GraphNode { inputs, ..node.clone() });
        new_id.push(id.unwrap_or(Id::MAX));
    }
    Graph {
        nodes: nodes.0,
        outputs: graph.outputs.iter().map(|&id| new_id[id]).collect(),
        updates: graph.updates.iter().map(|(var, id)| (var.clone(), new_id[*id])).collect(),
        inputs: graph.inputs.clone(),
    }
}

/// A rule: where the value of `node` is to be found instead, if the rule fits it. It may place new nodes.
type Rule = fn(&mut Nodes, &GraphNode) -> Option<Id>;

/// The nodes of the graph that is being written. Rules see them as the operands of the node at hand.
#[derive(Default)]
struct Nodes(Vec<GraphNode>);

impl Nodes {
    fn push(&mut self, node: GraphNode) -> Id {
        self.0.push(node);
        self.0.len() - 1
    }

    /// Adds a node, or what the first rule that fits makes of it. Rules place only what is simpler than what they
    /// found, and look a fixed number of nodes deep, so this ends soon.
    fn place(&mut self, node: GraphNode) -> Id {
        for rule in algebra::RULES.iter().chain(movement::RULES) {
            if let Some(id) = rule(self, &node) {
                return id;
            }
        }
        self.push(node)
    }

    /// `node` with another operation and other operands.
    fn replace(&mut self, node: &GraphNode, op: Op, inputs: &[Id]) -> Option<Id> {
        Some(self.place(GraphNode { op, inputs: inputs.to_vec(), ..node.clone() }))
    }

    /// A constant in place of `node`.
    fn fill(&mut self, node: &GraphNode, value: impl Into<Scalar>) -> Option<Id> {
        let op = Op::Fill(value.into().cast(node.dtype));
        Some(self.push(GraphNode { op, inputs: Vec::new(), ..node.clone() }))
    }

    fn op(&self, id: Id) -> &Op {
        &self.0[id].op
    }

    fn shape(&self, id: Id) -> &Shape {
        &self.0[id].shape
    }

    fn dtype(&self, id: Id) -> DType {
        self.0[id].dtype
    }

    /// The first operand of a node that was found.
    fn inner(&self, id: Id) -> Id {
        self.0[id].inputs[0]
    }

    /// The one value a node has everywhere, if it is constant.
    fn constant(&self, id: Id) -> Option<Scalar> {
        match self.op(id) {
            Op::Fill(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether a node is constant and equal to this number (−0 equals 0).
    fn is(&self, id: Id, number: f64) -> bool {
        self.constant(id).is_some_and(|value| value.as_f64() == number)
    }
}
