//! Rules about numbers: constants, neutral elements, inverses, casts.

use super::{Nodes, RewriteRule};
use crate::dtype::{DType, Scalar};
use crate::eval;
use crate::graph::{GraphNode, NodeId};
use crate::kind::{OpKind, Pointwise};
use crate::op::{ArgOp, BinaryOp, Op, ReduceOp, UnaryOp};

/// In the order in which they are tried.
pub(super) const RULES: &[RewriteRule] = &[
    constant_pointwise,
    constant_reduction,
    empty_reduction,
    neutral_operand,
    negated_operand,
    same_operands,
    power,
    division,
    unary_of_unary,
    select,
    cast,
    reduction,
];

/// `exp(fill 0)` → `fill 1`: pointwise operations on constants.
fn constant_pointwise(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let OpKind::Pointwise(pointwise) = node.kind() else { return None };
    if pointwise == Pointwise::Identity {
        return None;
    }
    let values: Option<Vec<_>> =
        node.inputs.iter().map(|&x| Some((nodes.constant(x)?, nodes.dtype(x)))).collect();
    let value = eval::pointwise_constant(pointwise, &values?, node.dtype)?;
    nodes.fill(node, value)
}

/// `sum(fill 2, 10 elements)` → `fill 20`. A float's sum is rounded once, so it is at least as near as summing.
fn constant_reduction(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let value = nodes.constant(*node.inputs.first()?)?;
    let elements = nodes.shape(node.inputs[0]).elements();
    if elements == 0 {
        return None;
    }
    if let Op::ArgReduce(ArgOp::Max | ArgOp::Min, _) = node.op {
        return nodes.fill(node, 0i64);
    }
    let Op::Reduce(function, _) = node.op else { return None };
    match function {
        ReduceOp::Max | ReduceOp::Min => nodes.fill(node, value),
        ReduceOp::Sum => {
            let count = elements / node.shape.elements();
            match value {
                Scalar::Float(x) => nodes.fill(node, x * count as f64),
                Scalar::Int(_) | Scalar::Bool(_) => {
                    nodes.fill(node, value.as_i64().wrapping_mul(count as i64))
                }
            }
        }
        ReduceOp::Prod => (value.as_f64() == 1.0).then(|| nodes.fill(node, value))?,
    }
}

/// `sum(x[3, 0], axis 1)` → `fill 0`: folding nothing gives the neutral value.
fn empty_reduction(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    if let Op::Reduce(function, _) = node.op
        && nodes.shape(node.inputs[0]).elements() == 0
    {
        return nodes.fill(node, function.neutral(node.dtype));
    }
    if node.op == Op::Matmul && nodes.shape(node.inputs[0]).last() == Some(&0) {
        return nodes.fill(node, 0i64);
    }
    None
}

/// `x + 0` → `x`, `x · 1` → `x`, `x / 1` → `x`, `x & true` → `x`, and `x · 0` → `0` for integers alone.
/// Of floats `−0 + 0` becomes `−0` instead of `0`: equal in value.
fn neutral_operand(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Binary(function) = node.op else {
        return None;
    };
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let exact = !node.dtype.is_float();
    let all_ones = if node.dtype == DType::Bool { 1.0 } else { -1.0 };
    // Where one of the two is constant: [the other, the constant].
    let commuted = if nodes.constant(a).is_some() { [b, a] } else { [a, b] };
    match function {
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Xor if nodes.is(commuted[1], 0.0) => Some(commuted[0]),
        BinaryOp::Sub if nodes.is(b, 0.0) => Some(a),
        BinaryOp::Sub if nodes.is(a, 0.0) => nodes.replace(node, Op::Unary(UnaryOp::Neg), &[b]),
        BinaryOp::Mul if nodes.is(commuted[1], 1.0) => Some(commuted[0]),
        BinaryOp::Mul if nodes.is(commuted[1], -1.0) => {
            nodes.replace(node, Op::Unary(UnaryOp::Neg), &commuted[..1])
        }
        BinaryOp::Mul | BinaryOp::And if exact && nodes.is(commuted[1], 0.0) => nodes.fill(node, 0i64),
        BinaryOp::And if nodes.is(commuted[1], all_ones) => Some(commuted[0]),
        BinaryOp::Or if nodes.is(commuted[1], all_ones) => Some(commuted[1]),
        BinaryOp::Div if nodes.is(b, 1.0) => Some(a),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Pow
        | BinaryOp::Max
        | BinaryOp::Min
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Random => None,
    }
}

/// `x + (−y)` → `x − y`, `(−x) + y` → `y − x`, `x − (−y)` → `x + y`, `(−x) · (−y)` → `x · y`.
fn negated_operand(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Binary(function) = node.op else {
        return None;
    };
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let negated = |x: NodeId| matches!(nodes.op(x), Op::Unary(UnaryOp::Neg)).then(|| nodes.inner(x));
    let (left, right) = (negated(a), negated(b));
    match function {
        BinaryOp::Add => match (left, right) {
            (_, Some(y)) => nodes.replace(node, Op::Binary(BinaryOp::Sub), &[a, y]),
            (Some(x), None) => nodes.replace(node, Op::Binary(BinaryOp::Sub), &[b, x]),
            (None, None) => None,
        },
        BinaryOp::Sub => nodes.replace(node, Op::Binary(BinaryOp::Add), &[a, right?]),
        BinaryOp::Mul => nodes.replace(node, node.op.clone(), &[left?, right?]),
        BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Pow
        | BinaryOp::Max
        | BinaryOp::Min
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Random => None,
    }
}

/// `max(x, x)` → `x` and its like; `x − x` → `0` for integers alone.
fn same_operands(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Binary(function) = node.op else {
        return None;
    };
    if node.inputs[0] != node.inputs[1] {
        return None;
    }
    match function {
        BinaryOp::Max | BinaryOp::Min | BinaryOp::And | BinaryOp::Or => Some(node.inputs[0]),
        BinaryOp::Sub | BinaryOp::Xor if !node.dtype.is_float() => nodes.fill(node, 0i64),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Pow
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Xor
        | BinaryOp::Random => None,
    }
}

/// `x^0` → `1`, `x^1` → `x`, `x^2` → `x · x`, `x^½` → `√x`, `x^−1` → `1 / x`.
/// The root of −∞ is `NaN` where the power would be ∞, and of −0 it is −0.
fn power(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Binary(BinaryOp::Pow) = node.op else {
        return None;
    };
    let (x, exponent) = (node.inputs[0], nodes.constant(node.inputs[1])?.as_f64());
    match exponent {
        0.0 => nodes.fill(node, 1i64),
        1.0 => Some(x),
        2.0 => nodes.replace(node, Op::Binary(BinaryOp::Mul), &[x, x]),
        0.5 => nodes.replace(node, Op::Unary(UnaryOp::Sqrt), &[x]),
        -1.0 if node.dtype.is_float() => nodes.replace(node, Op::Unary(UnaryOp::Recip), &[x]),
        _ => None,
    }
}

/// `x / 4` → `x · 0.25` where the reciprocal is exact, and `1 / x` → `recip x`; floats alone.
fn division(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Binary(BinaryOp::Div) = node.op else {
        return None;
    };
    let (a, b) = (node.inputs[0], node.inputs[1]);
    if !node.dtype.is_float() {
        return None;
    }
    if nodes.is(a, 1.0) {
        return nodes.replace(node, Op::Unary(UnaryOp::Recip), &[b]);
    }
    let divisor = nodes.constant(b)?.as_f64();
    let reciprocal = Scalar::Float(1.0 / divisor);
    let power_of_two = divisor.is_normal() && divisor.to_bits() << 12 == 0;
    let normal = |x: f64| (x as f32).is_normal();
    if !(power_of_two && normal(1.0 / divisor) && reciprocal.cast(node.dtype) == reciprocal) {
        return None;
    }
    let factor = nodes.fill(node, reciprocal)?;
    nodes.replace(node, Op::Binary(BinaryOp::Mul), &[a, factor])
}

/// `−(−x)` → `x`, `relu(relu x)` → `relu x`, `|−x|` → `|x|` and their like.
fn unary_of_unary(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Unary(outer) = node.op else { return None };
    let x = node.inputs[0];
    let Op::Unary(inner) = *nodes.op(x) else {
        return None;
    };
    match outer {
        UnaryOp::Neg | UnaryOp::Not => (inner == outer).then(|| nodes.inner(x)),
        UnaryOp::Abs if inner == UnaryOp::Neg => {
            let inner = nodes.inner(x);
            nodes.replace(node, node.op.clone(), &[inner])
        }
        UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Relu => (inner == outer).then_some(x),
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => {
            matches!(inner, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round).then_some(x)
        }
        UnaryOp::Exp
        | UnaryOp::ExpM1
        | UnaryOp::Ln
        | UnaryOp::Ln1p
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Recip
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Sigmoid
        | UnaryOp::Erf => None,
    }
}

/// `select(true, a, b)` → `a`, `select(c, a, a)` → `a`, `select(!c, a, b)` → `select(c, b, a)`,
/// `select(c, true, false)` → `c`.
fn select(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Select = node.op else { return None };
    let (condition, a, b) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    if let Some(chosen) = nodes.constant(condition) {
        return Some(if chosen.as_bool() { a } else { b });
    }
    if a == b {
        return Some(a);
    }
    if node.dtype == DType::Bool && nodes.is(a, 1.0) && nodes.is(b, 0.0) {
        return Some(condition);
    }
    if matches!(nodes.op(condition), Op::Unary(UnaryOp::Not)) {
        let inner = nodes.inner(condition);
        return nodes.replace(node, Op::Select, &[inner, b, a]);
    }
    None
}

/// `cast(x: f32, f32)` → `x`, and `cast(cast(x: u8, f32), i64)` → `cast(x, i64)` where the first loses nothing.
fn cast(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Cast(to) = node.op else { return None };
    let x = node.inputs[0];
    if nodes.dtype(x) == to {
        return Some(x);
    }
    if let Op::Cast(middle) = *nodes.op(x) {
        let inner = nodes.inner(x);
        if holds_every(nodes.dtype(inner), middle) {
            return nodes.replace(node, Op::Cast(to), &[inner]);
        }
    }
    None
}

/// Whether every number of dtype `from` is one of dtype `to`.
fn holds_every(from: DType, to: DType) -> bool {
    match from {
        DType::Bool => true,
        DType::U8 => to != DType::Bool,
        DType::U16 => matches!(to, DType::U16 | DType::I32 | DType::I64 | DType::F32 | DType::F64),
        DType::I32 => matches!(to, DType::I32 | DType::I64 | DType::F64),
        DType::I64 => to == DType::I64,
        DType::F16 | DType::Bf16 => to == from || matches!(to, DType::F32 | DType::F64),
        DType::F32 => matches!(to, DType::F32 | DType::F64),
        DType::F64 => to == DType::F64,
    }
}

/// `max(x[1, 5], axes 0 1)` → `max(x, axis 1)`: axes of size one fold to themselves, and with none left `x` stays.
/// `max(max(x, axis 0), axis 1)` → `max(x, axes 0 1)` where the order can't matter: extremes and integers.
fn reduction(nodes: &mut Nodes, node: &GraphNode) -> Option<NodeId> {
    let Op::Reduce(function, axes) = &node.op else {
        return None;
    };
    let x = node.inputs[0];
    let folding: Vec<usize> = axes.iter().copied().filter(|&axis| nodes.shape(x)[axis] != 1).collect();
    if folding.is_empty() {
        return Some(x);
    }
    if folding.len() < axes.len() {
        return nodes.replace(node, Op::Reduce(*function, folding), &[x]);
    }
    let exact = matches!(function, ReduceOp::Max | ReduceOp::Min) || !node.dtype.is_float();
    let Op::Reduce(inner, first) = nodes.op(x) else { return None };
    if inner != function || !exact {
        return None;
    }
    let mut both = [&first[..], axes].concat();
    both.sort_unstable();
    both.dedup();
    let inner = nodes.inner(x);
    nodes.replace(node, Op::Reduce(*function, both), &[inner])
}
