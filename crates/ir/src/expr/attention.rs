//! Attention, and what it is when it is written out in other operations. Gradients of gradients, targets without a kernel for it and
//! files that don't know it use what is written out, whose memory grows with queries times keys.

use crate::attention::{AttentionOperand, AttentionSpec, AttentionValue, sums};
use crate::dtype::DType;
use crate::expr::Expr;
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::shape::Shape;

impl Expr {
    /// A value of attention of these operands.
    #[track_caller]
    pub fn attention_value<'a>(
        spec: &AttentionSpec,
        value: AttentionValue,
        operands: impl IntoIterator<Item = &'a Expr>,
    ) -> Expr {
        let operands: Vec<&Expr> = operands.into_iter().collect();
        Expr::apply(Op::Attention(*spec, value), &operands, None)
    }
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
    let kept = |weights: &Expr| match spec.dropped().map(|position| operands[position].reshape([1, 1, 1, 1]))
    {
        None => weights.clone(),
        Some(key) => {
            let places = Expr::iota([size.elements()], 0, DType::I64).reshape(size.clone());
            let draws = key.broadcast_to(&size).binary(BinaryOp::Random, &places);
            let share = spec.dropout.map_or(0.0, |share| share.as_f64());
            let larger = weights.binary_scalar(BinaryOp::Mul, spec.kept_factor());
            draws.full_like(share).binary(BinaryOp::Le, &draws).select(&larger, &larger.full_like(0.0))
        }
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
            kept(&(weights / sum)).matmul(&v).cast(dtype)
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
            let slopes = || &weights * (kept(&g.matmul(&v.transpose())) - rows(delta));
            let together = |x: Expr| among(&x, &operands[1].shape());
            let gradient = match part {
                AttentionOperand::Query => slopes().matmul(&k).binary_scalar(BinaryOp::Mul, spec.scale),
                AttentionOperand::Key => together(slopes().transpose().matmul(&scaled)),
                AttentionOperand::Value => together(kept(&weights).transpose().matmul(&g)),
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
