//! Rules about where elements are: movements that do nothing, that follow one another, or that move a constant.

use super::{Nodes, RewriteRule};
use crate::dtype::DType;
use crate::graph::{GraphNode, NodeId};
use crate::kind::{Movement, OpKind, Opaque};
use crate::op::{Op, SliceRange};
use crate::shape::Shape;

/// In the order in which they are tried.
pub(super) const RULES: &[RewriteRule] =
    &[nothing, of_constant, unmoved, reshape, permute, expand, slice, pad, concat, packed_rows];

/// `slice(x, 0 elements)` → `fill 0`: no elements, no work. Not so where the run must still check indices.
fn nothing(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let kept = node.inputs.is_empty()
        || matches!(node.op, Op::Scatter(..) | Op::Barrier(_) | Op::Scan(..) | Op::Custom(_));
    if kept || node.shape.elements() > 0 {
        return None;
    }
    nodes.fill(node, 0i64)
}

/// `expand(fill 2)` → `fill 2` in the new shape; also where padding or every part holds that value, and
/// `iota` along an axis of one → `fill 0`.
fn of_constant(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    if let Op::Iota(axis) = node.op {
        return if node.shape[axis] == 1 { nodes.fill(node, 0i64) } else { None };
    }
    let moves =
        matches!(node.kind(), OpKind::Movement(_) | OpKind::Opaque(Opaque::Concat(_) | Opaque::Pad { .. }));
    let value = nodes.constant(*node.inputs.first().filter(|_| moves)?)?;
    let same = |&part: &NodeId| nodes.constant(part) == Some(value);
    let padded = matches!(node.op, Op::Pad { value: around, .. } if around != value);
    (node.inputs.iter().all(same) && !padded).then(|| nodes.fill(node, value))?
}

/// A reshape to the same shape, an expand to it, a slice or permute of everything in order, a pad by nothing → `x`.
fn unmoved(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let x = *node.inputs.first()?;
    let same_shape = *nodes.shape(x) == node.shape;
    let still = match node.kind() {
        OpKind::Movement(Movement::Reshape | Movement::Expand) | OpKind::Opaque(Opaque::Pad { .. }) => {
            same_shape
        }
        OpKind::Movement(Movement::Permute(axes)) => axes.iter().enumerate().all(|(i, &axis)| i == axis),
        OpKind::Movement(Movement::Slice(ranges)) => {
            same_shape && ranges.iter().all(|range| range.step > 0 || range.len < 2)
        }
        OpKind::Opaque(Opaque::Concat(_)) => node.inputs.len() == 1,
        OpKind::Opaque(
            Opaque::ArgReduce(..)
            | Opaque::CumSum(_)
            | Opaque::ArgSort { .. }
            | Opaque::Window(..)
            | Opaque::Attention(..)
            | Opaque::Gather(_)
            | Opaque::Scatter(..)
            | Opaque::Unpack(_)
            | Opaque::Scan(..)
            | Opaque::Custom(_),
        )
        | OpKind::Leaf(_)
        | OpKind::Generator(_)
        | OpKind::Pointwise(_)
        | OpKind::Reduce(..)
        | OpKind::Contraction(_) => false,
    };
    still.then_some(x)
}

/// `reshape(reshape x)` → `reshape x`.
fn reshape(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let (Op::Reshape, x) = (&node.op, *node.inputs.first()?) else {
        return None;
    };
    let Op::Reshape = nodes.op(x) else { return None };
    let inner = nodes.inner(x);
    nodes.replace(node, Op::Reshape, &[inner])
}

/// `permute(permute x)` → one permute; one that moves only axes of size one → `reshape`.
fn permute(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Permute(axes) = &node.op else { return None };
    let x = node.inputs[0];
    if axes.iter().filter(|&&axis| nodes.shape(x)[axis] != 1).is_sorted() {
        return nodes.replace(node, Op::Reshape, &[x]);
    }
    let Op::Permute(first) = nodes.op(x) else {
        return None;
    };
    let both = axes.iter().map(|&axis| first[axis]).collect();
    let inner = nodes.inner(x);
    nodes.replace(node, Op::Permute(both), &[inner])
}

/// `expand(expand x)` → one expand.
fn expand(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let (Op::Expand, x) = (&node.op, *node.inputs.first()?) else {
        return None;
    };
    let Op::Expand = nodes.op(x) else { return None };
    let inner = nodes.inner(x);
    nodes.replace(node, Op::Expand, &[inner])
}

/// `slice(slice x)` → one slice; so a double flip is nothing.
fn slice(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Slice(outer) = &node.op else { return None };
    let x = node.inputs[0];
    let Op::Slice(first) = nodes.op(x) else {
        return None;
    };
    let both = first.iter().zip(outer).map(|(first, outer)| {
        let start = first.start as isize + outer.start as isize * first.step;
        // Of a single element the step doesn't matter, and a product of two may overflow.
        let step = if outer.len > 1 { first.step * outer.step } else { 1 };
        SliceRange { start: start as usize, len: outer.len, step }
    });
    let both = both.collect();
    let inner = nodes.inner(x);
    nodes.replace(node, Op::Slice(both), &[inner])
}

/// `pad(pad x)` → one pad, if both put the same value.
fn pad(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Pad { before, after, value } = &node.op else {
        return None;
    };
    let x = node.inputs[0];
    let Op::Pad { before: first_before, after: first_after, value: first_value } = nodes.op(x) else {
        return None;
    };
    if first_value != value {
        return None;
    }
    let add = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect();
    let op = Op::Pad { before: add(before, first_before), after: add(after, first_after), value: *value };
    let inner = nodes.inner(x);
    nodes.replace(node, op, &[inner])
}

/// `concat(a, empty, b)` → `concat(a, b)`.
fn concat(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Concat(axis) = node.op else { return None };
    let parts: Vec<NodeId> =
        node.inputs.iter().copied().filter(|&part| nodes.shape(part)[axis] > 0).collect();
    if parts.len() == node.inputs.len() || parts.is_empty() {
        return None;
    }
    nodes.replace(node, Op::Concat(axis), &parts)
}

/// `gather(unpack(blocks), rows)` → `unpack(gather(blocks, rows))`, where whole rows are taken: no others are unpacked.
fn packed_rows(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let (Op::Gather(0), &[x, index]) = (&node.op, node.inputs.as_slice()) else { return None };
    let &Op::Unpack(format) = nodes.op(x) else { return None };
    let Op::Expand = nodes.op(index) else { return None };
    let (blocks, rows) = (nodes.inner(x), nodes.inner(index));
    let (&[count, 1], &[_, bytes]) = (&nodes.shape(rows)[..], &nodes.shape(blocks)[..]) else { return None };
    if node.shape[0] != count {
        return None;
    }
    let shape = Shape::from([count, bytes]);
    let wide =
        GraphNode { op: Op::Expand, inputs: vec![rows], shape: shape.clone(), ..nodes.node(index).clone() };
    let wide = nodes.push(wide);
    let taken = GraphNode {
        op: node.op.clone(),
        inputs: vec![blocks, wide],
        shape,
        dtype: DType::U8,
        ..node.clone()
    };
    let taken = nodes.push(taken);
    nodes.replace(node, Op::Unpack(format), &[taken])
}
