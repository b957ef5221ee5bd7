//! What a fused kernel computes at a point.

use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use kiln_ir::{DType, Scalar};

/// One step of a fused kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// What it does.
    pub operation: Operation,
    /// What the value is: arithmetic is done in this dtype (half types in `f32`; they round at casts and stores).
    pub dtype: DType,
    /// Whether there is a value for each point or only for each kept one.
    pub full: bool,
}

/// The operations of a fused kernel's body. Operands are positions of earlier instructions.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// The element at `loads[i]`, of the load's dtype.
    Load(usize),
    /// The result of the contraction whose epilogue this is.
    Accumulator,
    /// A constant.
    Literal(Scalar),
    /// The index of a loop, as `I64` or `I32`.
    Index(usize),
    /// As the graph's operation.
    Unary(UnaryOp, usize),
    /// As the graph's operation; operands have the dtype of each other, the instruction's is the result's.
    Binary(BinaryOp, usize, usize),
    /// Condition, then, else.
    Select(usize, usize, usize),
    /// To the instruction's dtype, with the meaning of the graph's `Cast`.
    Cast(usize),
    /// Folds a full value over the reduced loops.
    Reduce(ReduceOp, usize),
}

impl Operation {
    /// The values this is computed from.
    pub fn operands(&self) -> Vec<usize> {
        match *self {
            Operation::Load(_) | Operation::Accumulator | Operation::Literal(_) | Operation::Index(_) => {
                vec![]
            }
            Operation::Unary(_, a) | Operation::Cast(a) | Operation::Reduce(_, a) => vec![a],
            Operation::Binary(_, a, b) => vec![a, b],
            Operation::Select(a, b, c) => vec![a, b, c],
        }
    }

    /// The same of other values.
    pub fn with_operands(&self, new: impl Fn(usize) -> usize) -> Operation {
        match *self {
            Operation::Load(_) | Operation::Accumulator | Operation::Literal(_) | Operation::Index(_) => {
                self.clone()
            }
            Operation::Unary(function, a) => Operation::Unary(function, new(a)),
            Operation::Cast(a) => Operation::Cast(new(a)),
            Operation::Reduce(function, a) => Operation::Reduce(function, new(a)),
            Operation::Binary(function, a, b) => Operation::Binary(function, new(a), new(b)),
            Operation::Select(a, b, c) => Operation::Select(new(a), new(b), new(c)),
        }
    }
}
