//! What a graph shares with its owner, by identity.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::data::Data;
use crate::dtype::DType;
use crate::expr::custom::{CustomOp, GradientRule};
use crate::shape::Shape;

/// A variable on a device: state that outlives a program and is updated in place by it. The owner (a parameter, an
/// optimizer's moment, a step count) keeps the storage.
pub trait VariableHandle: fmt::Debug + Send + Sync {
    /// The path users know it by (`encoder.0.weight`), or an empty string.
    fn name(&self) -> String;
    /// Its shape, which never changes.
    fn shape(&self) -> &Shape;
    /// Its dtype, which never changes.
    fn dtype(&self) -> DType;
    /// The storage behind it, which the owner finds again by its type: variables with the same storage are the same.
    fn as_any(&self) -> &dyn Any;
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
impl Identity for dyn VariableHandle {
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
