//! Operations and gradient rules of the user's own, which are written in expressions.

use std::fmt;

use crate::data::Data;
use crate::dtype::DType;
use crate::error::Error;
use crate::expr::Expr;
use crate::shape::Shape;

/// A user's rule for the gradient of a value that was computed with ordinary operations.
pub trait GradientRule: fmt::Debug + Send + Sync {
    /// The gradient for each argument (`None`: no gradient), given the arguments, the value and the gradient that
    /// arrives at it.
    fn gradient(&self, arguments: &[Expr], value: &Expr, upstream: &Expr) -> Vec<Option<Expr>>;
}

/// An operation of a user's own on host data.
pub trait CustomOp: fmt::Debug + Send + Sync {
    /// The name shown in errors and printed graphs.
    fn name(&self) -> &str;
    /// The result's shape and dtype, or why the operands don't fit.
    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String>;
    /// Computes the result (row-major, of the inferred dtype and size) from row-major operands.
    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error>;
    /// The gradient for each operand; `None` means that there is none.
    fn gradient(&self, operands: &[Expr], value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        let _ = (value, upstream);
        vec![None; operands.len()]
    }
}
