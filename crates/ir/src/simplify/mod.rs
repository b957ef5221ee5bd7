//! Graph → graph: the same values with less work. The passes stand in one list and run, each linear in the size of
//! the graph, until none of them changes anything. `KILN_LOG=passes` prints what each does.
//!
//! Every rewrite gives the same bits but where its comment says otherwise: rules that are only true of real numbers
//! (`x·0 → 0` with `NaN`, another order of a sum) have no place here.

mod algebra;
mod movement;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::sync::OnceLock;
use std::time::Instant;

use crate::check::check;
use crate::dtype::{DType, Scalar};
use crate::graph::{Graph, GraphNode, Id};
use crate::op::Op;
use crate::shape::Shape;

/// A pass gives the new graph and how many changes it made.
type Pass = fn(Graph) -> (Graph, usize);

/// The passes of one round.
const PASSES: [(&str, Pass); 3] = [("rewrite", rewrite), ("merge", merge), ("sweep", sweep)];

/// Enough for any graph that isn't made to defeat it; a round more can only find a little more.
const ROUNDS: usize = 8;

/// The simplest graph with the same outputs, updates and arguments that the rules lead to.
pub fn simplify(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let mut idle = 0;
    for (name, pass) in PASSES.iter().cycle().take(ROUNDS * PASSES.len()) {
        let (after, changes) = run(name, *pass, graph);
        graph = after;
        idle = if changes == 0 { idle + 1 } else { 0 };
        if idle == PASSES.len() {
            break;
        }
    }
    graph
}

fn run(name: &str, pass: Pass, before: Graph) -> (Graph, usize) {
    static LOGGED: OnceLock<bool> = OnceLock::new();
    let (from, start) = (before.nodes.len(), Instant::now());
    let (after, changes) = pass(before);
    if *LOGGED.get_or_init(|| std::env::var("KILN_LOG").is_ok_and(|log| log.contains("passes"))) {
        let (to, time) = (after.nodes.len(), start.elapsed().as_micros());
        let told = if changes == 0 { "nothing changed".to_string() } else { format!("{changes} changes") };
        let _ = writeln!(std::io::stderr(), "{name:<8} {from:>7} → {to:>7} nodes {time:>8} µs  {told}");
    }
    if cfg!(debug_assertions)
        && let Err(fault) = check(&after)
    {
        panic!("the pass {name} broke the graph: {fault}");
    }
    (after, changes)
}

/// Applies the rules to each node; operands have been simplified before it.
fn rewrite(graph: Graph) -> (Graph, usize) {
    copy(graph, |nodes, node| Some(nodes.place(node)))
}

/// Computes equal things once. Barriers have numbers, so that no two are equal.
///
/// `%1 = exp(%0)  %2 = exp(%0)  %3 = mul(%1, %2)` becomes `%1 = exp(%0)  %2 = mul(%1, %1)`
fn merge(graph: Graph) -> (Graph, usize) {
    // By hash, so that no key is copied. Should two nodes ever share one, the second merely isn't merged.
    let mut known: HashMap<u64, Id> = HashMap::with_capacity(graph.nodes.len());
    let hasher = RandomState::new();
    copy(graph, |nodes, node| {
        let id = *known.entry(hasher.hash_one(&node)).or_insert(nodes.list.len());
        if nodes.list.get(id) == Some(&node) {
            nodes.changes += 1;
            return Some(id);
        }
        Some(nodes.push(node))
    })
}

/// Drops what no output and no update needs; arguments stay.
///
/// `%0 = input  %1 = exp(%0)  %2 = neg(%0)  → %2` becomes `%0 = input  %1 = neg(%0)  → %1`
fn sweep(graph: Graph) -> (Graph, usize) {
    let mut live = vec![false; graph.nodes.len()];
    for &id in graph.outputs.iter().chain(graph.updates.iter().map(|(_, id)| id)) {
        live[id] = true;
    }
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        if live[id] {
            node.inputs.iter().for_each(|&input| live[input] = true);
        }
    }
    let mut live = live.into_iter();
    copy(graph, |nodes, node| {
        if live.next() == Some(true) {
            return Some(nodes.push(node));
        }
        nodes.changes += 1;
        None
    })
}

/// Copies a graph node by node. `place` receives each with its operands already translated, and says where its value
/// is now, or `None` where nobody will ask.
fn copy(graph: Graph, mut place: impl FnMut(&mut Nodes, GraphNode) -> Option<Id>) -> (Graph, usize) {
    let mut nodes = Nodes::default();
    let mut new_id: Vec<Id> = Vec::with_capacity(graph.nodes.len());
    for mut node in graph.nodes {
        node.inputs.iter_mut().for_each(|input| *input = new_id[*input]);
        new_id.push(place(&mut nodes, node).unwrap_or(Id::MAX));
    }
    let after = Graph {
        nodes: nodes.list,
        outputs: graph.outputs.iter().map(|&id| new_id[id]).collect(),
        updates: graph.updates.into_iter().map(|(variable, id)| (variable, new_id[id])).collect(),
        inputs: graph.inputs,
    };
    (after, nodes.changes)
}

/// A rule: where the value of `node` is to be found instead, if the rule fits it. It may place new nodes.
type Rule = fn(&mut Nodes, &GraphNode) -> Option<Id>;

/// The nodes of the graph that is being written. Rules see them as the operands of the node at hand.
#[derive(Default)]
struct Nodes {
    list: Vec<GraphNode>,
    changes: usize,
}

impl Nodes {
    fn push(&mut self, node: GraphNode) -> Id {
        self.list.push(node);
        self.list.len() - 1
    }

    /// Adds a node, or what the first rule that fits makes of it. Rules place only what is simpler than what they
    /// found, and look a fixed number of nodes deep, so this ends soon.
    fn place(&mut self, node: GraphNode) -> Id {
        for rule in algebra::RULES.iter().chain(movement::RULES) {
            if let Some(id) = rule(self, &node) {
                self.changes += 1;
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
        &self.list[id].op
    }

    fn shape(&self, id: Id) -> &Shape {
        &self.list[id].shape
    }

    fn dtype(&self, id: Id) -> DType {
        self.list[id].dtype
    }

    /// The first operand of a node that was found.
    fn inner(&self, id: Id) -> Id {
        self.list[id].inputs[0]
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
