//! Attention: its settings, its shapes, and what it is when it is written out in other operations. Gradients of gradients, targets
//! without a kernel for it and files that don't know it use what is written out, whose memory grows with queries times keys.

use crate::dtype::{DType, Scalar};
use crate::error::ErrorKind;
use crate::expr::Expr;
use crate::grad::gradients;
use crate::graph::{Graph, GraphNode, NodeId};
use crate::infer::{InferenceError, OperandType};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::rewrite::rewrite;
use crate::shape::Shape;

/// Which keys a query may attend to, and how sharply. The operands are `[query, key, value]`, then a mask and the places of
/// the first queries where the settings say so, and what a gradient needs besides.
///
/// Query `i` stands at place `p = i + offset`, or that plus its batch's number in `places`; key `j` stands at `j`. A query sees the
/// keys with `p - left <= j <= p + right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionSpec {
    /// What products of queries and keys are multiplied by; a float.
    pub scale: Scalar,
    /// How many keys in front of its own place a query sees; all where there is none.
    pub left: Option<usize>,
    /// How many keys behind its own place a query sees: 0 is causal; all where there is none.
    pub right: Option<usize>,
    /// The place of the first query among the keys: how many keys were there before.
    pub offset: i64,
    /// Whether there is a mask `[batch, heads, queries, keys]`: added to the scores if of the operands' dtype, where `Bool` saying
    /// which keys are seen.
    pub masked: bool,
    /// Whether there are places `[batch]` (`I64`) that are added to `offset`.
    pub placed: bool,
}

/// What is asked of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionValue {
    /// The means of the values: `[batch, heads, queries, width of a value]`.
    Result,
    /// The logarithm of the sum of a row's exponentials, `[batch, heads, queries]`, in `F32`, or `F64` for `F64` operands.
    LogSum,
    /// The gradient in an operand, in its shape. Behind the operands come the logarithms of sums, `delta` and the result's
    /// gradient `g`: with `P = exp(scores - log sum)`, the gradient of the scores is `P * (g·valueᵀ - delta)`. For the gradient of the result
    /// `delta` is the sum of `g * result` over a row, for that of the logarithm of the sum its gradient's negative.
    Gradient(AttentionOperand),
}

/// An operand of attention that has a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionOperand {
    /// `[batch, heads, queries, width]`.
    Query,
    /// `[batch, shared heads, keys, width]`: each head of keys serves as many heads of queries in a row as there are for each.
    Key,
    /// `[batch, shared heads, keys, width of a value]`.
    Value,
    /// `[batch, heads, queries, keys]`, of floats.
    Mask,
}

impl AttentionValue {
    /// The operation's name.
    pub fn name(self) -> &'static str {
        match self {
            AttentionValue::Result => "attention",
            AttentionValue::LogSum => "attention_log_sum",
            AttentionValue::Gradient(_) => "attention_grad",
        }
    }
}

impl AttentionSpec {
    /// Everything is seen.
    pub fn new(scale: f64) -> AttentionSpec {
        AttentionSpec {
            scale: Scalar::Float(scale),
            left: None,
            right: None,
            offset: 0,
            masked: false,
            placed: false,
        }
    }

    /// How many operands there are.
    pub fn operands(&self, value: AttentionValue) -> usize {
        let more = if matches!(value, AttentionValue::Gradient(_)) { 3 } else { 0 };
        self.forward() + more
    }

    /// How many operands the result is computed from.
    pub fn forward(&self) -> usize {
        3 + usize::from(self.masked) + usize::from(self.placed)
    }

    /// The position of the mask among the operands.
    pub fn mask(&self) -> Option<usize> {
        self.masked.then_some(3)
    }

    /// The position of the places among the operands.
    pub fn places(&self) -> Option<usize> {
        self.placed.then_some(3 + usize::from(self.masked))
    }

    /// The keys that the query at `place` sees, of so many.
    pub fn seen(&self, place: i64, keys: usize) -> std::ops::Range<usize> {
        let at = |place: i64| place.clamp(0, keys as i64) as usize;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let first = self.left.map_or(0, |left| at(place.saturating_sub(number(left))));
        let end = self.right.map_or(keys, |right| at(place.saturating_add(number(right)).saturating_add(1)));
        first..end.max(first)
    }
}

/// The dtype in which rows are summed up.
pub fn sums(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

macro_rules! ensure {
    ($condition:expr, $kind:ident, $($message:tt)*) => {
        if !$condition {
            return Err((ErrorKind::$kind, format!($($message)*)));
        }
    };
}

/// The shape and dtype of a value of attention.
pub(crate) fn infer(
    spec: &AttentionSpec,
    value: AttentionValue,
    operands: &[OperandType],
) -> Result<(Shape, DType), InferenceError> {
    let ((q, dtype), (k, _), (v, _)) = (operands[0], operands[1], operands[2]);
    let four = [q, k, v].iter().all(|shape| shape.rank() == 4);
    ensure!(
        four,
        Shape,
        "queries {q}, keys {k} and values {v} need 4 axes each: batch, heads, positions, width"
    );
    ensure!(dtype.is_float(), DType, "isn't defined on {dtype}");
    let same = operands[..3].iter().all(|operand| operand.1 == dtype);
    ensure!(same, DType, "dtypes differ, {dtype}, {} and {}", operands[1].1, operands[2].1);
    ensure!(q[3] == k[3] && k[2] == v[2], Shape, "queries {q}, keys {k} and values {v} don't fit");
    ensure!(q[3] > 0 && v[3] > 0, Shape, "queries {q} and values {v} have no width");
    let shares = q[1] == k[1] || (k[1] > 0 && q[1].is_multiple_of(k[1]));
    ensure!(
        q[0] == k[0] && q[0] == v[0] && k[1] == v[1] && shares,
        Shape,
        "the heads of queries {q} don't divide among those of keys {k} and values {v}"
    );
    let scores: Shape = [q[0], q[1], q[2], k[2]].into();
    let rows: Shape = [q[0], q[1], q[2]].into();
    let result: Shape = [q[0], q[1], q[2], v[3]].into();
    if let Some((mask, of)) = spec.mask().map(|position| operands[position]) {
        ensure!(*mask == scores, Shape, "a mask {mask} for scores {scores}");
        ensure!(of == DType::Bool || of == dtype, DType, "a mask of {of} for operands of {dtype}");
    }
    if let Some((places, of)) = spec.places().map(|position| operands[position]) {
        ensure!(*places == Shape::from([q[0]]), Shape, "places {places} for a batch of {}", q[0]);
        ensure!(of == DType::I64, DType, "places are i64, not {of}");
    }
    let gradient = match value {
        AttentionValue::Result => return Ok((result, dtype)),
        AttentionValue::LogSum => return Ok((rows, sums(dtype))),
        AttentionValue::Gradient(operand) => operand,
    };
    let [log_sum, delta, g] = [0, 1, 2].map(|more| operands[spec.forward() + more]);
    for (name, (shape, of)) in [("log sums", log_sum), ("delta", delta)] {
        ensure!(*shape == rows, Shape, "{name} {shape} for rows {rows}");
        ensure!(of == sums(dtype), DType, "{name} of {of} for operands of {dtype}");
    }
    ensure!(*g.0 == result && g.1 == dtype, Shape, "a gradient {}{} of a result {dtype}{result}", g.1, g.0);
    let shape = match gradient {
        AttentionOperand::Query => q,
        AttentionOperand::Key => k,
        AttentionOperand::Value => v,
        AttentionOperand::Mask => {
            let floats = spec.mask().is_some_and(|position| operands[position].1 == dtype);
            ensure!(floats, Value, "there is no mask of floats to have a gradient");
            &scores
        }
    };
    Ok((shape.clone(), dtype))
}

/// The gradient for operand `i` of a value of attention.
pub(crate) fn adjoint(
    (spec, value): (&AttentionSpec, AttentionValue),
    operands: &[Expr],
    i: usize,
    (y, g): (&Expr, &Expr),
) -> Option<Expr> {
    let part = match i {
        0 => AttentionOperand::Query,
        1 => AttentionOperand::Key,
        2 => AttentionOperand::Value,
        _ => AttentionOperand::Mask,
    };
    let sums = sums(operands[0].dtype());
    let ask = |log_sum: &Expr, delta: &Expr, g: &Expr| {
        let more = [log_sum, delta, g];
        Expr::attention_value(spec, AttentionValue::Gradient(part), operands.iter().chain(more))
    };
    Some(match value {
        AttentionValue::Result => {
            let log_sum = Expr::attention_value(spec, AttentionValue::LogSum, operands);
            let products = g.cast(sums) * y.cast(sums);
            ask(&log_sum, &products.sum(&[3]).reshape(log_sum.shape()), g)
        }
        AttentionValue::LogSum if i == 2 => return None,
        AttentionValue::LogSum => {
            let (rows, v) = (g.shape(), operands[2].shape());
            let none = Expr::full([rows[0], rows[1], rows[2], v[3]], 0.0, operands[0].dtype());
            ask(y, &-g, &none)
        }
        AttentionValue::Gradient(_) => {
            // The operands may follow from each other, but each has a gradient of its own here.
            let apart: Vec<Expr> = operands.iter().map(alone).collect();
            let written_out = expanded(spec, value, &apart);
            gradients(&written_out, &apart[i..=i], Some(g)).remove(0)
        }
    })
}

/// The same value as a node of its own.
fn alone(x: &Expr) -> Expr {
    Expr::apply(Op::Reshape, &[x], Some((&x.shape(), x.dtype())))
}

/// A value of attention in terms of other operations.
pub fn expanded(spec: &AttentionSpec, value: AttentionValue, operands: &[Expr]) -> Expr {
    let (dtype, shape) = (operands[0].dtype(), operands[0].shape());
    let sums = sums(dtype);
    let [q, k, v] = [0, 1, 2].map(|position| operands[position].cast(sums));
    let heads = shape[1];
    let [k, v] = [k, v].map(|x| shared_by(&x, heads));
    let keys = k.shape()[2];
    let scaled = q.binary_scalar(BinaryOp::Mul, spec.scale);
    let mut scores = scaled.matmul(&k.transpose());
    let size: Shape = [shape[0], heads, shape[2], keys].into();
    let mut seen = window(spec, operands, &size);
    if let Some(mask) = spec.mask().map(|position| &operands[position]) {
        if mask.dtype() == DType::Bool {
            seen = Some(seen.map_or(mask.clone(), |seen| seen.binary(BinaryOp::And, mask)));
        } else {
            scores = scores + mask.cast(sums);
        }
    }
    let rows = |x: &Expr| x.reshape([shape[0], heads, shape[2], 1]);
    let hide = |x: &Expr, instead: f64| match &seen {
        Some(seen) => seen.select(x, &x.full_like(instead)),
        None => x.clone(),
    };
    // The exponentials that a row's sum, or the sum's logarithm, divides.
    let forward = |scores: &Expr| {
        let scores = hide(scores, f64::NEG_INFINITY);
        let most = scores.reduce(ReduceOp::Max, &[3]);
        let nothing = most.binary(BinaryOp::Eq, &most.full_like(f64::NEG_INFINITY));
        let most = nothing.select(&most.full_like(0.0), &most).stop_gradient();
        ((scores - &most).unary(UnaryOp::Exp), most, nothing)
    };
    match value {
        AttentionValue::Result => {
            let (weights, _, nothing) = forward(&scores);
            let sum = weights.sum(&[3]);
            let sum = nothing.select(&sum.full_like(1.0), &sum);
            (weights / sum).matmul(&v).cast(dtype)
        }
        AttentionValue::LogSum => {
            let (weights, most, _) = forward(&scores);
            (weights.sum(&[3]).unary(UnaryOp::Ln) + most).reshape([shape[0], heads, shape[2]])
        }
        AttentionValue::Gradient(part) => {
            let [log_sum, delta, g] = [0, 1, 2].map(|more| &operands[spec.forward() + more]);
            let g = g.cast(sums);
            let log_sum = rows(log_sum);
            // Of a row that sees nothing there is no gradient.
            let lowest = log_sum.full_like(f64::NEG_INFINITY);
            let log_sum = log_sum.binary(BinaryOp::Eq, &lowest).select(&-lowest, &log_sum);
            let weights = hide(&(scores - log_sum).unary(UnaryOp::Exp), 0.0);
            let slopes = || &weights * (g.matmul(&v.transpose()) - rows(delta));
            let together = |x: Expr| among(&x, &operands[1].shape());
            let gradient = match part {
                AttentionOperand::Query => slopes().matmul(&k).binary_scalar(BinaryOp::Mul, spec.scale),
                AttentionOperand::Key => together(slopes().transpose().matmul(&scaled)),
                AttentionOperand::Value => together(weights.transpose().matmul(&g)),
                AttentionOperand::Mask => slopes(),
            };
            gradient.cast(dtype)
        }
    }
}

/// Heads of keys or values, each as often as heads of queries share it.
fn shared_by(x: &Expr, heads: usize) -> Expr {
    let shape = x.shape();
    let each = heads.checked_div(shape[1]).unwrap_or(1);
    let apart = x.reshape([shape[0], shape[1], 1, shape[2], shape[3]]);
    let repeated = apart.broadcast_to(&[shape[0], shape[1], each, shape[2], shape[3]].into());
    repeated.reshape([shape[0], shape[1] * each, shape[2], shape[3]])
}

/// The adjoint of [`shared_by`], to so many heads as `wanted` has.
fn among(x: &Expr, wanted: &Shape) -> Expr {
    let shape = x.shape();
    let each = shape[1].checked_div(wanted[1]).unwrap_or(1);
    let apart = x.reshape([shape[0], wanted[1], each, shape[2], shape[3]]);
    apart.sum(&[2]).reshape([shape[0], wanted[1], shape[2], shape[3]])
}

/// Which keys each query sees by its place.
fn window(spec: &AttentionSpec, operands: &[Expr], scores: &Shape) -> Option<Expr> {
    let places = spec.places().map(|position| operands[position].reshape([scores[0], 1, 1, 1]));
    let matrix: Shape = [1, 1, scores[2], scores[3]].into();
    let key = Expr::iota(matrix.clone(), 3, DType::I64);
    let mut at = Expr::iota(matrix, 2, DType::I64).binary_scalar(BinaryOp::Add, spec.offset);
    if let Some(places) = places {
        at = at + places;
    }
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    let left = spec.left.map(|left| (&at - &key).binary_scalar(BinaryOp::Le, number(left)));
    let right = spec.right.map(|right| (&key - &at).binary_scalar(BinaryOp::Le, number(right)));
    [left, right].into_iter().flatten().reduce(|left, right| left.binary(BinaryOp::And, &right))
}

/// Writes attention out in other operations where `chosen` says so; gives how often.
pub fn write_out(graph: &mut Graph, chosen: impl Fn(&Graph, &GraphNode) -> bool) -> usize {
    let attends = |node: &GraphNode| matches!(node.op, Op::Attention(..));
    let here: Vec<bool> = graph.nodes.iter().map(|node| attends(node) && chosen(graph, node)).collect();
    if !here.contains(&true) {
        return 0;
    }
    let mut position = 0;
    rewrite(graph, |nodes, node| {
        position += 1;
        let Op::Attention(spec, value) = &node.op else { return Some(nodes.push(node)) };
        let types: Vec<(Shape, DType)> =
            node.inputs.iter().map(|&input| (nodes.shape(input).clone(), nodes.dtype(input))).collect();
        let inputs = types.iter().enumerate();
        let operands: Vec<Expr> =
            inputs.map(|(i, (shape, dtype))| Expr::input(i, shape.clone(), *dtype)).collect();
        let traced = Graph::trace(&types, &[expanded(spec, *value, &operands)], &[]);
        let Some((written, _)) = traced.ok().filter(|_| here[position - 1]) else {
            return Some(nodes.push(node));
        };
        nodes.changes += 1;
        let mut place: Vec<NodeId> = Vec::with_capacity(written.nodes.len());
        for mut each in written.nodes {
            place.push(match each.op {
                Op::Input(operand) => node.inputs[operand],
                _ => {
                    each.inputs.iter_mut().for_each(|input| *input = place[*input]);
                    nodes.push(GraphNode { at: node.at, ..each })
                }
            });
        }
        Some(place[written.outputs[0]])
    })
}
