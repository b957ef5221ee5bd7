//! What a graph shares with its owner: variables, and operations and gradient rules of the user's own.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::data::Data;
use crate::dtype::DType;
use crate::error::Error;
use crate::expr::Expr;
use crate::shape::Shape;

/// A variable on a device: state that outlives a program and is updated in place by it. The owner (a parameter, an
/// optimizer's moment, a step count) keeps the storage.
pub trait Variable: fmt::Debug + Send + Sync {
    /// The path users know it by (`encoder.0.weight`), or an empty string.
    fn name(&self) -> String;
    /// Its shape, which never changes.
    fn shape(&self) -> &Shape;
    /// Its dtype, which never changes.
    fn dtype(&self) -> DType;
    /// The storage behind it, which the owner finds again by its type: variables with the same storage are the same.
    fn as_any(&self) -> &dyn Any;
}

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

/// What is told from others by where it lies.
pub trait Identity {
    /// Where that is: another one's is another while this one lives.
    fn address(&self) -> usize;
}

/// The address of a value.
fn address_of<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<()>().addr()
}

/// A variable is its storage, by whatever name it is at hand.
impl Identity for dyn Variable {
    fn address(&self) -> usize {
        address_of(self.as_any())
    }
}

impl Identity for dyn GradientRule {
    fn address(&self) -> usize {
        address_of(self)
    }
}

impl Identity for dyn CustomOp {
    fn address(&self) -> usize {
        address_of(self)
    }
}

impl Identity for Data {
    fn address(&self) -> usize {
        address_of(self)
    }
}

/// Something shared that is compared by identity.
pub struct Shared<T: ?Sized>(pub Arc<T>);

impl<T: Identity + ?Sized> Shared<T> {
    /// The address, which identifies it while it lives.
    pub fn address(&self) -> usize {
        self.0.address()
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T: Identity + ?Sized> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl<T: Identity + ?Sized> Eq for Shared<T> {}

impl<T: Identity + ?Sized> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Identity + ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:x}", self.address())
    }
}
