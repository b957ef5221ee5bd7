//! What stays the same from run to run: values that follow from variables alone which this program doesn't write.
//!
//! `x·w·(g / √(v + ε))` with parameters `g` and `v` → `g / √(v + ε)` is hoisted: a kernel of its own, which runs when a
//! variable was written and not at every run.

use std::collections::HashSet;

use kiln_ir::Op;
use kiln_ir::graph::{Graph, NodeId};

use crate::kind::{Leaf, OpKind, Opaque, computes};

/// For each node, whether its value stays the same until a variable that this program doesn't write is written by others.
pub fn invariant(graph: &Graph) -> Vec<bool> {
    let written: HashSet<usize> = graph.updates.iter().map(|(variable, _)| variable.address()).collect();
    let mut result: Vec<bool> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        result.push(match node.kind() {
            OpKind::Leaf(Leaf::Var(variable)) => !written.contains(&variable.address()),
            OpKind::Leaf(Leaf::Const(_) | Leaf::Input(_)) => false,
            // A user's operation may give something else each time, and a walk is done where its numbers are needed.
            OpKind::Opaque(Opaque::Custom(_) | Opaque::Scan(..)) => false,
            // Kept unpacked, it would take as much memory as if it had never been packed.
            OpKind::Opaque(Opaque::Unpack(_)) => false,
            OpKind::Generator(_)
            | OpKind::Pointwise(_)
            | OpKind::Reduce(..)
            | OpKind::Movement(_)
            | OpKind::Contraction(_)
            | OpKind::Opaque(
                Opaque::Pad { .. }
                | Opaque::Concat(_)
                | Opaque::ArgReduce(..)
                | Opaque::CumSum(_)
                | Opaque::ArgSort { .. }
                | Opaque::Window(..)
                | Opaque::Attention(..)
                | Opaque::Gather(_)
                | Opaque::Scatter(..),
            ) => node.inputs.iter().all(|&input| result[input]),
        });
    }
    result
}

/// The nodes whose values go to an output or a variable, which are written at every run.
pub fn live_out(graph: &Graph) -> HashSet<NodeId> {
    graph.outputs.iter().chain(graph.updates.iter().map(|(_, id)| id)).copied().collect()
}

/// For each node, whether its value is computed in a kernel that runs only when a variable changed.
///
/// A single number never is, and neither is what follows from one that is computed: recomputing it inside of another kernel
/// costs less than a kernel of its own does after each change of a learning rate. What is computed from nothing isn't either:
/// it costs less to compute than to read.
pub fn hoisted(graph: &Graph) -> Vec<bool> {
    let invariant = invariant(graph);
    let live_out = live_out(graph);
    // What hoisted values may follow from, and whether there is a variable among it.
    let mut ready: Vec<(bool, bool)> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs = || node.inputs.iter().map(|&input| ready[input]);
        let rests = matches!(node.op, Op::Var(_)) || node.operands().iter().any(|&operand| ready[operand].1);
        let apart = !computes(graph, id) || (rests && node.shape.elements() > 1 && !live_out.contains(&id));
        ready.push((invariant[id] && apart && inputs().all(|(ready, _)| ready), rests));
    }
    (0..graph.nodes.len()).map(|id| ready[id] == (true, true) && computes(graph, id)).collect()
}
