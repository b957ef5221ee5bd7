//! What is computed again: what it costs, and whether it comes to the same bits.

use kiln_ir::DType;
use kiln_ir::graph::{Graph, NodeId};
use kiln_ir::op::{BinaryOp, UnaryOp};

use crate::kind::{Movement, OpKind, Pointwise};

/// What lies between an operand and the value that it shows.
#[derive(Default)]
pub(super) struct Way {
    pub(super) permutes: bool,
    pub(super) slices: bool,
    pub(super) repeats: bool,
}

impl Way {
    pub(super) fn of(graph: &Graph, mut id: NodeId) -> Way {
        let mut way = Way::default();
        while let OpKind::Movement(movement) = graph.nodes[id].kind() {
            match movement {
                Movement::Permute(_) => way.permutes = true,
                Movement::Slice(_) => way.slices = true,
                Movement::Expand => way.repeats = true,
                Movement::Reshape => {}
            }
            id = graph.nodes[id].inputs[0];
        }
        way
    }
}

/// Whether memory holds a value as its kernel has it. Half types are computed in `f32` there, and round at casts and stores.
pub(super) fn is_rounded(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    let half = matches!(node.dtype, DType::F16 | DType::Bf16);
    !half || matches!(node.kind(), OpKind::Pointwise(Pointwise::Cast(_)) | OpKind::Contraction(_))
}

/// What it costs to compute an element, as if so many quarters of a byte were read.
pub(super) fn price(pointwise: Pointwise) -> u64 {
    match pointwise {
        Pointwise::Select | Pointwise::Cast(_) | Pointwise::Identity => 1,
        Pointwise::Unary(function) => match function {
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Relu
            | UnaryOp::Floor
            | UnaryOp::Ceil
            | UnaryOp::Round
            | UnaryOp::Not => 1,
            UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Recip => 4,
            UnaryOp::Exp
            | UnaryOp::ExpM1
            | UnaryOp::Ln
            | UnaryOp::Ln1p
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tanh
            | UnaryOp::Sigmoid
            | UnaryOp::Erf => 16,
        },
        Pointwise::Binary(function) => match function {
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Max
            | BinaryOp::Min
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => 1,
            BinaryOp::Div | BinaryOp::Rem => 4,
            BinaryOp::Random => 16,
            BinaryOp::Pow => 32,
        },
    }
}
