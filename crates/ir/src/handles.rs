//! What a graph shares with its owner, by identity.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::dtype::DType;
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
    /// The owner's own type, so that it can find its storage again.
    fn as_any(&self) -> &dyn Any;
}

/// Something shared that is compared by identity.
pub struct Shared<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> Shared<T> {
    /// The address, which identifies it while it lives.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T: ?Sized> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl<T: ?Sized> Eq for Shared<T> {}

impl<T: ?Sized> Hash for Shared<T> {
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

impl<T: ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:x}", self.address())
    }
}
