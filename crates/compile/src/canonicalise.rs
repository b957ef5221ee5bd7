//! Makes a graph easy to cut into kernels: nothing is empty, and everything handed back or stored is computed.

use std::collections::HashSet;

use kiln_ir::graph::{Graph, GraphNode, NodeId};
use kiln_ir::op::{AttentionValue, Op};
use kiln_ir::rewrite::{Nodes, rewrite};
use kiln_ir::{DType, Scalar};

use crate::kind::{OpKind, Opaque};
use crate::program::WindowKind;

/// Values without elements and folds over none become fills, so that no kernel has to think of them.
///
/// `matmul([2, 0], [0, 3])` → `fill(0): [2, 3]`; `sum([0, 4], axis 0)` → `fill(0): [1, 4]`.
pub fn without_empties(graph: &mut Graph) -> usize {
    if graph.nodes.iter().all(|node| node.shape.elements() > 0) {
        return 0;
    }
    rewrite(graph, |nodes, mut node| {
        let is_empty = |nodes: &Nodes, id: NodeId| nodes.shape(id).elements() == 0;
        let some_empty = node.inputs.iter().any(|&id| is_empty(nodes, id));
        let leaf = matches!(node.kind(), OpKind::Leaf(_));
        if node.shape.elements() > 0 && !some_empty || leaf {
            return Some(nodes.push(node));
        }
        nodes.changes += 1;
        let value = if node.shape.elements() == 0 {
            Some(Scalar::Int(0))
        } else {
            of_nothing(node.kind(), node.dtype)
        };
        if let Some(value) = value {
            return Some(nodes.push_fill(&node, value));
        }
        if matches!(node.op, Op::Scatter(..)) {
            return Some(node.inputs[0]);
        }
        if matches!(node.op, Op::Concat(_)) {
            node.inputs.retain(|&id| !is_empty(nodes, id));
        }
        Some(nodes.push(node))
    })
}

/// The value everywhere of what has elements, though an operand has none.
fn of_nothing(kind: OpKind, dtype: DType) -> Option<Scalar> {
    match kind {
        OpKind::Reduce(function, _) => Some(function.neutral(dtype)),
        OpKind::Contraction(_)
        | OpKind::Opaque(Opaque::Window(WindowKind::Spread | WindowKind::SumGrad, _)) => Some(Scalar::Int(0)),
        OpKind::Opaque(Opaque::Pad { value, .. }) => Some(value),
        OpKind::Opaque(Opaque::Attention(_, AttentionValue::LogSum)) => {
            Some(Scalar::Float(f64::NEG_INFINITY))
        }
        OpKind::Opaque(Opaque::Attention(_, AttentionValue::Result | AttentionValue::Gradient(_))) => {
            Some(Scalar::Int(0))
        }
        OpKind::Opaque(
            Opaque::Window(WindowKind::Pick | WindowKind::Sum, _)
            | Opaque::Concat(_)
            | Opaque::ArgReduce(..)
            | Opaque::CumSum(_)
            | Opaque::ArgSort { .. }
            | Opaque::Gather(_)
            | Opaque::Scatter(..)
            | Opaque::Unpack(_)
            | Opaque::Scan(..)
            | Opaque::Custom(_),
        )
        | OpKind::Leaf(_)
        | OpKind::Generator(_)
        | OpKind::Pointwise(_)
        | OpKind::Movement(_) => None,
    }
}

/// Products of small integers are done in `I32`, which wraps to the same result.
///
/// `matmul(a: u8, b: u8)` → `cast(matmul(cast(a, i32), cast(b, i32)), u8)`
pub fn with_wide_products(graph: &mut Graph) -> usize {
    let small = |node: &GraphNode| node.op == Op::Matmul && matches!(node.dtype, DType::U8 | DType::U16);
    if !graph.nodes.iter().any(small) {
        return 0;
    }
    rewrite(graph, |nodes, node| {
        if !small(&node) {
            return Some(nodes.push(node));
        }
        nodes.changes += 1;
        let inputs = node.inputs.iter().map(|&input| nodes.push_cast(input, DType::I32)).collect();
        let narrow = node.dtype;
        let product = nodes.push(GraphNode { inputs, dtype: DType::I32, ..node });
        Some(nodes.push_cast(product, narrow))
    })
}

/// Puts an identity behind an output or update that no kernel of its own would write.
///
/// `output(permute(x))` → `output(identity(permute(x)))`
pub fn with_values_computed(graph: &mut Graph) -> usize {
    let before = graph.nodes.len();
    graph.updates.retain(|(variable, _)| variable.shape().elements() > 0);
    let mut taken = HashSet::new();
    for position in 0..graph.outputs.len() {
        let id = graph.outputs[position];
        // The parts of a concatenation are put right where it goes.
        if matches!(graph.nodes[id].op, Op::Concat(_)) && taken.insert(id) {
            continue;
        }
        graph.outputs[position] = owned(&mut graph.nodes, id, &mut taken);
    }
    for position in 0..graph.updates.len() {
        let id = graph.updates[position].1;
        // What is put into a variable goes right there.
        if puts_into(graph, position) && taken.insert(id) {
            continue;
        }
        graph.updates[position].1 = owned(&mut graph.nodes, id, &mut taken);
    }
    graph.nodes.len() - before
}

/// Whether an update is the variable itself with some elements put into it.
fn puts_into(graph: &Graph, position: usize) -> bool {
    let (variable, id) = &graph.updates[position];
    let node = &graph.nodes[*id];
    let is_same =
        |base: NodeId| matches!(&graph.nodes[base].op, Op::Var(own) if own.address() == variable.address());
    matches!(node.op, Op::Scatter(..)) && node.inputs.first().is_some_and(|&base| is_same(base))
}

/// `id`, or an identity of it where it isn't the result of fused work or somebody else's already.
fn owned(nodes: &mut Vec<GraphNode>, id: NodeId, taken: &mut HashSet<NodeId>) -> NodeId {
    let fused =
        matches!(nodes[id].kind(), OpKind::Pointwise(_) | OpKind::Reduce(..) | OpKind::Contraction(_));
    let id = if fused && !taken.contains(&id) { id } else { identity(nodes, id) };
    taken.insert(id);
    id
}

/// A node that computes the same value as `id`.
fn identity(nodes: &mut Vec<GraphNode>, id: NodeId) -> NodeId {
    // Traced barriers are numbered from 1 up; these count down from the top.
    let op = Op::Barrier(u64::MAX - nodes.len() as u64);
    nodes.push(GraphNode { op, inputs: vec![id], ..nodes[id].clone() });
    nodes.len() - 1
}
