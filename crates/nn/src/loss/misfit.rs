//! Losses that don't fit the layer in front of them, noticed by how the predictions were made.

use kiln_ir::node::Node;
use kiln_ir::op::{BinaryOp, Op, UnaryOp};

use crate::tensor::Tensor;

/// What the last layer did to the predictions, as far as a loss minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Softmax,
    LogSoftmax,
    Sigmoid,
    LogSigmoid,
    Other,
}

impl Last {
    /// The layer's name, in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Last::Softmax => "softmax",
            Last::LogSoftmax => "log-softmax",
            Last::Sigmoid => "sigmoid",
            Last::LogSigmoid => "log-sigmoid",
            Last::Other => "layer",
        }
    }
}

/// What made the predictions, looking through casts and changes of shape.
///
/// `exp / sum(exp)`, or `exp · (1 / sum(exp))`, is a softmax, `x - ln(sum(exp))` its logarithm.
pub(super) fn last(prediction: &Tensor) -> Last {
    let Ok(node) = prediction.0.node() else { return Last::Other };
    let mut node: &Node = node;
    loop {
        let first = || node.inputs.first().map(|input| &**input);
        let passes = matches!(
            node.op,
            Op::Cast(_) | Op::Reshape | Op::Permute(_) | Op::Rule(_) | Op::StopGradient | Op::Slice(_)
        );
        match (passes, first()) {
            (true, Some(input)) => node = input,
            _ => break,
        }
    }
    let is_unary = |node: &Node, function: UnaryOp| matches!(node.op, Op::Unary(f) if f == function);
    let under = |node: &Node, function: UnaryOp| {
        let mut node = node;
        while matches!(node.op, Op::Expand | Op::Reshape | Op::Cast(_)) {
            match node.inputs.first() {
                Some(input) => node = input,
                None => return false,
            }
        }
        is_unary(node, function)
    };
    let is = |op: Op| node.op == op;
    let divides = |sum: &Node| {
        is(Op::Binary(BinaryOp::Div)) || is(Op::Binary(BinaryOp::Mul)) && under(sum, UnaryOp::Recip)
    };
    match node.inputs.as_slice() {
        [_] if is(Op::Unary(UnaryOp::Sigmoid)) => Last::Sigmoid,
        [above, sum] if is_unary(above, UnaryOp::Exp) && divides(sum) => Last::Softmax,
        [_, sum] if is(Op::Binary(BinaryOp::Sub)) && under(sum, UnaryOp::Ln) => Last::LogSoftmax,
        [x] if is(Op::Unary(UnaryOp::Neg)) && is_softplus(x) => Last::LogSigmoid,
        _ => Last::Other,
    }
}

/// `max(x, 0) + ln(1 + e^−|x|)`, as `Tensor::softplus` builds it.
fn is_softplus(node: &Node) -> bool {
    let log = |node: &Node| matches!(node.op, Op::Unary(UnaryOp::Ln1p));
    matches!(node.op, Op::Rule(_) | Op::Binary(BinaryOp::Add))
        && node.inputs.iter().any(|input| log(input) || input.inputs.iter().any(|inner| log(inner)))
}
