//! An operation on the values of one step, done for all steps at once: each value has one axis more, in front.

use crate::dtype::DType;
use crate::expr::Expr;
use crate::kind::{Contraction, ConvKind, Movement, OpKind, Opaque, Pointwise, WindowKind};
use crate::op::{Op, SliceRange};
use crate::shape::Shape;

/// What an operation is to a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiftCost {
    /// It takes less to do it in each step than to keep its result for all of them.
    Light,
    /// It is better done for all steps at once.
    Heavy,
    /// Only a step can do it.
    Alone,
}

/// What an operation is, of operands that change from step to step or don't.
pub(super) fn cost(op: &Op, varies: &[bool]) -> LiftCost {
    match op.kind() {
        OpKind::Leaf(_) | OpKind::Generator(_) | OpKind::Movement(_) => LiftCost::Light,
        // A rule may ask for the shapes that it was written for, and a barrier waits for its own step.
        OpKind::Pointwise(Pointwise::Identity) if matches!(op, Op::Rule(_) | Op::Barrier(_)) => {
            LiftCost::Alone
        }
        OpKind::Pointwise(_) => LiftCost::Light,
        OpKind::Reduce(..) => LiftCost::Heavy,
        OpKind::Contraction(Contraction::Matmul) => LiftCost::Heavy,
        OpKind::Contraction(Contraction::Conv(ConvKind::Forward | ConvKind::GradInput, _)) if !varies[1] => {
            LiftCost::Heavy
        }
        OpKind::Contraction(Contraction::Conv(..)) => LiftCost::Alone,
        OpKind::Opaque(Opaque::Attention(..) | Opaque::Scan(..) | Opaque::Custom(_)) => LiftCost::Alone,
        OpKind::Opaque(
            Opaque::Pad { .. }
            | Opaque::Concat(_)
            | Opaque::ArgReduce(..)
            | Opaque::CumSum(_)
            | Opaque::ArgSort { .. }
            | Opaque::Window(..)
            | Opaque::Gather(_)
            | Opaque::Scatter(..)
            | Opaque::Unpack(_),
        ) => LiftCost::Heavy,
    }
}

/// An operand: for all steps where it varies, else the one value that it has in all of them.
pub(super) struct Lifted {
    pub value: Expr,
    pub varies: bool,
}

impl Lifted {
    /// The value in each of so many steps.
    pub(super) fn in_all(&self, steps: usize) -> Expr {
        if self.varies {
            return self.value.clone();
        }
        self.value.broadcast_to(&[&[steps], &self.value.shape()[..]].concat().into())
    }
}

/// The operation on operands of which one varies at least. `shape` and `dtype` are those of the result of one step.
pub(super) fn lift(op: &Op, operands: &[Lifted], steps: usize, shape: &Shape, dtype: DType) -> Expr {
    let all: Vec<Expr> = operands.iter().map(|operand| operand.in_all(steps)).collect();
    let apply = |op: Op| {
        let wanted: Shape = [&[steps], &shape[..]].concat().into();
        Expr::apply(op, &all.iter().collect::<Vec<_>>(), Some((&wanted, dtype)))
    };
    let behind = |axes: &[usize]| axes.iter().map(|axis| axis + 1).collect::<Vec<_>>();
    // Steps beside the images of a batch.
    let joined = |x: &Expr| {
        let shape = x.shape();
        x.reshape([&[shape[0] * shape[1]], &shape[2..]].concat())
    };
    let parted = |x: Expr| x.reshape([&[steps, shape[0]], &x.shape()[1..]].concat());
    match op.kind() {
        OpKind::Leaf(_) | OpKind::Generator(_) => operands[0].in_all(steps),
        OpKind::Pointwise(_) => apply(op.clone()),
        OpKind::Reduce(function, axes) => apply(Op::Reduce(function, behind(axes))),
        OpKind::Movement(Movement::Reshape | Movement::Expand) => apply(op.clone()),
        OpKind::Movement(Movement::Permute(axes)) => apply(Op::Permute([&[0], &behind(axes)[..]].concat())),
        OpKind::Movement(Movement::Slice(ranges)) => {
            let whole = SliceRange { start: 0, len: steps, step: 1 };
            apply(Op::Slice([&[whole], ranges].concat()))
        }
        OpKind::Contraction(Contraction::Matmul) if !operands[1].varies && shape.rank() == 2 => {
            let product = joined(&all[0]).matmul(&operands[1].value);
            product.reshape([steps, shape[0], shape[1]])
        }
        OpKind::Contraction(Contraction::Matmul) => apply(op.clone()),
        OpKind::Contraction(Contraction::Conv(..)) => {
            let second = &operands[1].value;
            parted(Expr::apply(op.clone(), &[&joined(&all[0]), second], None))
        }
        OpKind::Opaque(opaque) => match opaque {
            Opaque::Pad { .. } => {
                let Op::Pad { before, after, value } = op else { return apply(op.clone()) };
                let front = |list: &[usize]| [&[0], list].concat();
                apply(Op::Pad { before: front(before), after: front(after), value: *value })
            }
            Opaque::Concat(axis) => apply(Op::Concat(axis + 1)),
            Opaque::ArgReduce(function, axis) => apply(Op::ArgReduce(function, axis + 1)),
            Opaque::CumSum(axis) => apply(Op::CumSum(axis + 1)),
            Opaque::ArgSort { axis, descending } => apply(Op::ArgSort { axis: axis + 1, descending }),
            Opaque::Gather(axis) => apply(Op::Gather(axis + 1)),
            Opaque::Scatter(axis, mode) => apply(Op::Scatter(axis + 1, mode)),
            Opaque::Window(
                WindowKind::Pick | WindowKind::Spread | WindowKind::Sum | WindowKind::SumGrad,
                _,
            ) => {
                let images: Vec<Expr> = all.iter().map(joined).collect();
                parted(Expr::apply(op.clone(), &images.iter().collect::<Vec<_>>(), None))
            }
            Opaque::Unpack(_) | Opaque::Attention(..) | Opaque::Scan(..) | Opaque::Custom(_) => {
                apply(op.clone())
            }
        },
    }
}
