//! Operations that move elements and compute nothing.

use crate::dtype::Scalar;
use crate::error::{Error, ErrorKind};
use crate::expr::Expr;
use crate::op::{Op, ReduceOp, SliceRange};
use crate::shape::Shape;

impl Expr {
    /// The same elements under another shape; itself where it has it already.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Expr {
        let shape = shape.into();
        if self.0.as_ref().is_ok_and(|node| node.shape == shape) {
            return self.clone();
        }
        Expr::apply(Op::Reshape, &[self], Some((&shape, self.dtype())))
    }

    /// Axis `i` of the result is axis `axes[i]` of this value.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Expr {
        if self.0.is_ok() && axes.len() == self.rank() && axes.iter().enumerate().all(|(i, &axis)| i == axis)
        {
            return self.clone();
        }
        Expr::apply(Op::Permute(axes.to_vec()), &[self], None)
    }

    /// The last two axes exchanged.
    #[track_caller]
    pub fn transpose(&self) -> Expr {
        let rank = self.rank();
        if rank < 2 {
            return self.clone();
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(&axes)
    }

    /// Repeated to `shape` as NumPy broadcasts: missing leading axes are added, sizes of one repeat.
    #[track_caller]
    pub fn broadcast_to(&self, shape: &Shape) -> Expr {
        let Ok(node) = &self.0 else { return self.clone() };
        if node.shape == *shape {
            return self.clone();
        }
        let mut sizes = vec![1; shape.rank().saturating_sub(node.shape.rank())];
        sizes.extend_from_slice(&node.shape);
        Expr::apply(Op::Expand, &[&self.reshape(sizes)], Some((shape, node.dtype)))
    }

    /// Summed down to `shape`, the adjoint of [`Expr::broadcast_to`].
    #[track_caller]
    pub fn sum_to(&self, shape: &Shape) -> Expr {
        let Ok(node) = &self.0 else { return self.clone() };
        let missing = node.shape.rank().saturating_sub(shape.rank());
        let axes: Vec<usize> = (0..node.shape.rank())
            .filter(|&axis| axis < missing || (shape[axis - missing] == 1 && node.shape[axis] != 1))
            .collect();
        self.reduce(ReduceOp::Sum, &axes).reshape(shape.clone())
    }

    /// A range of every axis.
    #[track_caller]
    pub fn slice(&self, ranges: &[SliceRange]) -> Expr {
        Expr::apply(Op::Slice(ranges.to_vec()), &[self], None)
    }

    #[track_caller]
    fn no_axis(operation: &str, axis: usize, shape: &Shape) -> Expr {
        Expr::poisoned(Error::new(ErrorKind::Shape, operation, format!("there is no axis {axis} in {shape}")))
    }

    /// `len` elements of one axis from `start`.
    #[track_caller]
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Expr {
        let shape = self.shape();
        if self.error().is_none() && axis >= shape.rank() {
            return Expr::no_axis("narrow", axis, &shape);
        }
        let ranges: Vec<SliceRange> = (0..shape.rank())
            .map(|a| {
                if a == axis {
                    SliceRange { start, len, step: 1 }
                } else {
                    SliceRange { start: 0, len: shape[a], step: 1 }
                }
            })
            .collect();
        self.slice(&ranges)
    }

    /// The elements of the axes in reverse order.
    #[track_caller]
    pub fn flip(&self, axes: &[usize]) -> Expr {
        let shape = self.shape();
        if let (None, Some(&axis)) = (self.error(), axes.iter().find(|&&axis| axis >= shape.rank())) {
            return Expr::no_axis("flip", axis, &shape);
        }
        let ranges: Vec<SliceRange> = (0..shape.rank())
            .map(|axis| {
                let len = shape[axis];
                match axes.contains(&axis) && len > 0 {
                    true => SliceRange { start: len - 1, len, step: -1 },
                    false => SliceRange { start: 0, len, step: 1 },
                }
            })
            .collect();
        self.slice(&ranges)
    }

    /// `value` around this one.
    #[track_caller]
    pub fn pad(&self, before: &[usize], after: &[usize], value: impl Into<Scalar>) -> Expr {
        let value = value.into().cast(self.dtype());
        Expr::apply(Op::Pad { before: before.to_vec(), after: after.to_vec(), value }, &[self], None)
    }

    /// All parts one after the other along an axis.
    #[track_caller]
    pub fn concat(parts: &[&Expr], axis: usize) -> Expr {
        Expr::apply(Op::Concat(axis), parts, None)
    }
}
