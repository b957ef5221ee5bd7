//! What an operation means to whoever walks a graph: the part it plays, with what it needs to play it. A pass that treats
//! all movements alike matches on the [`OpKind`], one that tells them apart on the [`Movement`]; either way the compiler
//! names what a new operation still needs.

use std::sync::Arc;

use crate::data::Data;
use crate::dtype::{DType, Scalar};
use crate::op::{
    ArgOp, AttentionSpec, AttentionValue, BinaryOp, BlockFormat, ConvSpec, CustomOp, Op, ReduceOp, Scan,
    ScanResult, ScatterMode, Shared, SliceRange, UnaryOp, VariableHandle, WindowSpec,
};

/// The part an operation plays, with the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OpKind<'a> {
    /// Numbers that are there: an argument, a variable, data of the host.
    Leaf(Leaf<'a>),
    /// Computed from the index alone.
    Generator(Generator),
    /// One result for each point from the operands' elements at that point.
    Pointwise(Pointwise),
    /// A fold over axes.
    Reduce(ReduceOp, &'a [usize]),
    /// Another way to look at the operand's elements.
    Movement(Movement<'a>),
    /// A sum of products.
    Contraction(Contraction<'a>),
    /// Everything that fuses with nothing.
    Opaque(Opaque<'a>),
}

/// Numbers that are there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Leaf<'a> {
    /// As [`Op::Const`].
    Const(&'a Shared<Data>),
    /// As [`Op::Input`].
    Input(usize),
    /// As [`Op::Var`].
    Var(&'a Shared<dyn VariableHandle>),
}

/// Numbers made from nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Generator {
    /// As [`Op::Fill`].
    Fill(Scalar),
    /// As [`Op::Iota`].
    Iota(usize),
}

/// Functions of the elements at one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pointwise {
    /// As [`Op::Unary`].
    Unary(UnaryOp),
    /// As [`Op::Binary`].
    Binary(BinaryOp),
    /// As [`Op::Select`].
    Select,
    /// As [`Op::Cast`].
    Cast(DType),
    /// The first operand itself: what matters to gradients or to the order of work alone.
    Identity,
}

/// Ways to look at elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Movement<'a> {
    /// As [`Op::Reshape`].
    Reshape,
    /// As [`Op::Permute`].
    Permute(&'a [usize]),
    /// As [`Op::Expand`].
    Expand,
    /// As [`Op::Slice`].
    Slice(&'a [SliceRange]),
}

/// Sums of products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contraction<'a> {
    /// As [`Op::Matmul`].
    Matmul,
    /// One of the three convolutions.
    Conv(ConvKind, &'a ConvSpec),
}

/// Which of the three convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvKind {
    /// Image and weight → result: [`Op::Conv`].
    Forward,
    /// Gradient and weight → image gradient: [`Op::ConvGradInput`].
    GradInput,
    /// Image and gradient → weight gradient: [`Op::ConvGradWeight`].
    GradWeight,
}

/// Which pooling operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowKind {
    /// `[x, values]` → result-shaped: [`Op::WindowPick`].
    Pick,
    /// `[x, gradient]` → image-shaped: [`Op::WindowSpread`].
    Spread,
    /// `[x]` → result-shaped: [`Op::WindowSum`].
    Sum,
    /// `[gradient]` → image-shaped: [`Op::WindowSumGrad`].
    SumGrad,
}

/// Operations that are kernels of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Opaque<'a> {
    /// As [`Op::Pad`]; what is behind follows from the result's shape.
    Pad {
        /// Elements put in front of each axis.
        before: &'a [usize],
        /// What they hold.
        value: Scalar,
    },
    /// As [`Op::Concat`].
    Concat(usize),
    /// As [`Op::ArgReduce`].
    ArgReduce(ArgOp, usize),
    /// As [`Op::CumSum`].
    CumSum(usize),
    /// As [`Op::ArgSort`].
    ArgSort {
        /// The axis sorted along.
        axis: usize,
        /// Largest first.
        descending: bool,
    },
    /// One of the pooling operations.
    Window(WindowKind, &'a WindowSpec),
    /// As [`Op::Attention`].
    Attention(&'a AttentionSpec, AttentionValue),
    /// As [`Op::Gather`].
    Gather(usize),
    /// As [`Op::Scatter`].
    Scatter(usize, ScatterMode),
    /// As [`Op::Unpack`].
    Unpack(BlockFormat),
    /// As [`Op::Scan`].
    Scan(&'a Arc<Scan>, ScanResult),
    /// As [`Op::Custom`].
    Custom(&'a Shared<dyn CustomOp>),
}

/// The operands an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// So many.
    Exactly(usize),
    /// One or more, all alike.
    Some,
    /// One, and any number that it doesn't compute with.
    FirstAlone,
    /// As many as the user's operation likes.
    Any,
}

impl Arity {
    /// Whether so many are right.
    pub fn takes(self, count: usize) -> bool {
        match self {
            Arity::Exactly(wanted) => count == wanted,
            Arity::Some | Arity::FirstAlone => count >= 1,
            Arity::Any => true,
        }
    }

    /// Those among `all` whose values the operation computes with.
    pub fn values<T>(self, all: &[T]) -> &[T] {
        match self {
            Arity::Exactly(_) | Arity::Some | Arity::Any => all,
            Arity::FirstAlone => &all[..1],
        }
    }
}

impl Op {
    /// The part this plays.
    pub fn kind(&self) -> OpKind<'_> {
        match self {
            Op::Const(data) => OpKind::Leaf(Leaf::Const(data)),
            Op::Input(position) => OpKind::Leaf(Leaf::Input(*position)),
            Op::Var(variable) => OpKind::Leaf(Leaf::Var(variable)),

            Op::Fill(value) => OpKind::Generator(Generator::Fill(*value)),
            Op::Iota(axis) => OpKind::Generator(Generator::Iota(*axis)),

            Op::Unary(function) => OpKind::Pointwise(Pointwise::Unary(*function)),
            Op::Binary(function) => OpKind::Pointwise(Pointwise::Binary(*function)),
            Op::Select => OpKind::Pointwise(Pointwise::Select),
            Op::Cast(dtype) => OpKind::Pointwise(Pointwise::Cast(*dtype)),
            Op::StopGradient | Op::Barrier(_) | Op::Rule(_) => OpKind::Pointwise(Pointwise::Identity),

            Op::Reduce(function, axes) => OpKind::Reduce(*function, axes),

            Op::Reshape => OpKind::Movement(Movement::Reshape),
            Op::Permute(axes) => OpKind::Movement(Movement::Permute(axes)),
            Op::Expand => OpKind::Movement(Movement::Expand),
            Op::Slice(ranges) => OpKind::Movement(Movement::Slice(ranges)),

            Op::Matmul => OpKind::Contraction(Contraction::Matmul),
            Op::Conv(spec) => OpKind::Contraction(Contraction::Conv(ConvKind::Forward, spec)),
            Op::ConvGradInput(spec, _) => OpKind::Contraction(Contraction::Conv(ConvKind::GradInput, spec)),
            Op::ConvGradWeight(spec, _) => OpKind::Contraction(Contraction::Conv(ConvKind::GradWeight, spec)),

            Op::Pad { before, value, .. } => OpKind::Opaque(Opaque::Pad { before, value: *value }),
            Op::Concat(axis) => OpKind::Opaque(Opaque::Concat(*axis)),
            Op::ArgReduce(function, axis) => OpKind::Opaque(Opaque::ArgReduce(*function, *axis)),
            Op::CumSum(axis) => OpKind::Opaque(Opaque::CumSum(*axis)),
            Op::ArgSort { axis, descending } => {
                OpKind::Opaque(Opaque::ArgSort { axis: *axis, descending: *descending })
            }
            Op::WindowPick(spec) => OpKind::Opaque(Opaque::Window(WindowKind::Pick, spec)),
            Op::WindowSpread(spec) => OpKind::Opaque(Opaque::Window(WindowKind::Spread, spec)),
            Op::WindowSum(spec) => OpKind::Opaque(Opaque::Window(WindowKind::Sum, spec)),
            Op::WindowSumGrad(spec, _) => OpKind::Opaque(Opaque::Window(WindowKind::SumGrad, spec)),
            Op::Attention(spec, value) => OpKind::Opaque(Opaque::Attention(spec, *value)),
            Op::Gather(axis) => OpKind::Opaque(Opaque::Gather(*axis)),
            Op::Scatter(axis, mode) => OpKind::Opaque(Opaque::Scatter(*axis, *mode)),
            Op::Unpack(format) => OpKind::Opaque(Opaque::Unpack(*format)),
            Op::Scan(scan, result) => OpKind::Opaque(Opaque::Scan(scan, *result)),
            Op::Custom(custom) => OpKind::Opaque(Opaque::Custom(custom)),
        }
    }

    /// The operands this takes.
    pub fn operands(&self) -> Arity {
        match self {
            Op::Const(_) | Op::Fill(_) | Op::Iota(_) | Op::Var(_) | Op::Input(_) => Arity::Exactly(0),
            Op::Unary(_)
            | Op::Cast(_)
            | Op::Reshape
            | Op::Permute(_)
            | Op::Expand
            | Op::Slice(_)
            | Op::Pad { .. }
            | Op::Reduce(..)
            | Op::ArgReduce(..)
            | Op::CumSum(_)
            | Op::ArgSort { .. }
            | Op::WindowSum(_)
            | Op::WindowSumGrad(..)
            | Op::Unpack(_)
            | Op::StopGradient => Arity::Exactly(1),
            Op::Binary(_)
            | Op::Matmul
            | Op::Conv(_)
            | Op::ConvGradInput(..)
            | Op::ConvGradWeight(..)
            | Op::WindowPick(_)
            | Op::WindowSpread(_)
            | Op::Gather(_) => Arity::Exactly(2),
            Op::Select | Op::Scatter(..) => Arity::Exactly(3),
            Op::Attention(spec, value) => Arity::Exactly(spec.operands(*value)),
            Op::Scan(scan, _) => Arity::Exactly(scan.body.inputs.len()),
            Op::Concat(_) => Arity::Some,
            Op::Barrier(_) | Op::Rule(_) => Arity::FirstAlone,
            Op::Custom(_) => Arity::Any,
        }
    }
}
