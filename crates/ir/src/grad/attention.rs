//! The gradients of attention, and of its gradients.

use super::gradients;
use crate::attention::{AttentionOperand, AttentionSpec, AttentionValue, sums};
use crate::expr::Expr;
use crate::expr::attention::expanded;
use crate::op::Op;

/// The gradient for operand `i` of a value of attention.
pub(super) fn adjoint(
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
