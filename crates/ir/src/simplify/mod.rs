//! Graph → graph: the same values with less work. The passes stand in one list and run, each linear in the size of
//! the graph, until none of them changes anything. `KILN_LOG=passes` prints what each does.
//!
//! Every rewrite gives the same bits but where its comment says otherwise: rules that are only true of real numbers
//! (`x·0 → 0` with `NaN`, another order of a sum) have no place here.

mod algebra;
mod movement;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::dtype::Scalar;
use crate::error::Result;
use crate::graph::{Graph, GraphNode, NodeId};
use crate::op::Op;
use crate::pass::{Pass, rounds};
use crate::rewrite::{Nodes, copy};

/// The passes of one round.
pub const PASSES: [Pass<Graph>; 3] = [
    Pass { name: "rewrite", run: |graph| by(rewrite, graph) },
    Pass { name: "merge", run: |graph| by(merge, graph) },
    Pass { name: "sweep", run: |graph| by(sweep, graph) },
];

/// Enough for any graph that isn't made to defeat it; a round more can only find a little more.
pub const ROUNDS: usize = 8;

/// The simplest graph with the same outputs, updates and arguments that the rules lead to.
pub fn simplify(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    // None of these passes refuses a graph.
    rounds(&PASSES, ROUNDS, &mut graph).unwrap_or(());
    graph
}

fn by(pass: fn(Graph) -> (Graph, usize), graph: &mut Graph) -> Result<usize> {
    let (after, changes) = pass(std::mem::take(graph));
    *graph = after;
    Ok(changes)
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
    let mut known: HashMap<u64, NodeId> = HashMap::with_capacity(graph.nodes.len());
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

/// A rule: where the value of `node` is to be found instead, if the rule fits it. It may place new nodes.
type RewriteRule = fn(&mut Nodes, &GraphNode) -> Option<NodeId>;

impl Nodes {
    /// Adds a node, or what the first rule that fits makes of it. Rules place only what is simpler than what they
    /// found, and look a fixed number of nodes deep, so this ends soon.
    fn place(&mut self, node: GraphNode) -> NodeId {
        for rule in algebra::RULES.iter().chain(movement::RULES) {
            if let Some(id) = rule(self, &node) {
                self.changes += 1;
                return id;
            }
        }
        self.push(node)
    }

    /// `node` with another operation and other operands.
    fn replace(&mut self, node: &GraphNode, op: Op, inputs: &[NodeId]) -> Option<NodeId> {
        Some(self.place(GraphNode { op, inputs: inputs.to_vec(), ..node.clone() }))
    }

    /// A constant in place of `node`.
    fn fill(&mut self, node: &GraphNode, value: impl Into<Scalar>) -> Option<NodeId> {
        Some(self.push_fill(node, value))
    }
}
