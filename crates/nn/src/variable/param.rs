//! The parameter: a variable that is trained.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kiln_ir::{Data, Error, ErrorKind, Expr, Result, Shape};

use super::{Adapter, Variable};
use crate::budget::{afford, spend};
use crate::tensor::Tensor;

/// A trained variable. Cloning shares.
///
/// The numbers may be stored in another order of the axes than users see (a convolution's weight lies
/// window-first, as its kernels read it); [`Param::tensor`] and [`Param::value`] speak of the users' order.
#[derive(Clone, Debug)]
pub struct Param(Result<Arc<ParamStorage>, Error>);

/// The variable with what the parameter says of it, which its clones share.
#[derive(Debug)]
struct ParamStorage {
    variable: Variable,
    /// Stored axis `i` is the users' axis `order[i]`.
    order: Vec<usize>,
    frozen: AtomicBool,
    adapter: RwLock<Option<Adapter>>,
}

impl Param {
    /// A parameter that starts with the value of `initial`. An error in it comes out where the parameter is used.
    #[track_caller]
    pub fn new(initial: &Tensor) -> Param {
        let order: Vec<usize> = (0..initial.rank()).collect();
        Param::stored(initial, &order)
    }

    /// As [`Param::new`], stored with its axes in this order, outermost first.
    #[track_caller]
    pub fn stored(initial: &Tensor, order: &[usize]) -> Param {
        let stored = Tensor(initial.0.permute(order));
        let variable = afford(&stored.shape())
            .and_then(|()| stored.to_data())
            .and_then(|data| Variable::new("", data, stored.shape()));
        spend(&stored.shape());
        Param(variable.map(|variable| {
            Arc::new(ParamStorage {
                variable,
                order: order.to_vec(),
                frozen: AtomicBool::new(false),
                adapter: RwLock::default(),
            })
        }))
    }

    /// Its value, in the users' order of axes, as a tensor that reads it when it is evaluated; with what an adapter adds.
    #[track_caller]
    pub fn tensor(&self) -> Tensor {
        match self.adapter() {
            Some(adapter) => {
                let base = self.base();
                let added = adapter.product().cast(base.dtype());
                base + added
            }
            None => self.base(),
        }
    }

    /// Its own value, without what an adapter adds.
    #[track_caller]
    pub(crate) fn base(&self) -> Tensor {
        match &self.0 {
            Ok(stored) => self.as_seen(&stored.variable.tensor()),
            Err(error) => Tensor(Expr::poisoned(error.clone())),
        }
    }

    /// A value in the users' order of axes, in the stored one.
    #[track_caller]
    pub(crate) fn as_stored(&self, value: &Tensor) -> Tensor {
        Tensor(value.0.permute(self.order()))
    }

    /// A value in the stored order of axes, in the users' one.
    #[track_caller]
    pub(crate) fn as_seen(&self, value: &Tensor) -> Tensor {
        Tensor(value.0.permute(&inverse(self.order())))
    }

    /// Stored axis `i` is the users' axis `order[i]`.
    pub(crate) fn order(&self) -> &[usize] {
        self.0.as_ref().map_or(&[], |stored| &stored.order)
    }

    /// The variable underneath, in stored order.
    ///
    /// # Errors
    /// The error in its initial value, if there was one.
    pub fn variable(&self) -> Result<&Variable> {
        self.0.as_ref().map(|stored| &stored.variable).map_err(Clone::clone)
    }

    /// Its shape as users see it.
    pub fn shape(&self) -> Shape {
        self.base().shape()
    }

    /// Its numbers now, row-major in the users' order of axes, without what an adapter adds.
    ///
    /// # Errors
    /// Where the device fails or the initial value was an error.
    pub fn value(&self) -> Result<Data> {
        self.base().to_data()
    }

    /// Replaces its numbers by those of `value`, which has its shape.
    ///
    /// # Errors
    /// Where shape or dtype differ, or `value` is an error.
    #[track_caller]
    pub fn set(&self, value: &Tensor) -> Result<()> {
        let stored = self.0.as_ref().map_err(Clone::clone)?;
        if value.error().is_none() && value.shape() != self.shape() {
            let message = format!("the parameter is {}, not {}", self.shape(), value.shape());
            return Err(Error::new(ErrorKind::Shape, "set", message));
        }
        stored.variable.write(&self.as_stored(&value.cast(stored.variable.dtype())).to_data()?)
    }

    /// Whether both are the same parameter.
    pub fn is(&self, other: &Param) -> bool {
        match (&self.0, &other.0) {
            (Ok(a), Ok(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What tells it from all others that are there; nothing where its initial value is an error.
    pub(crate) fn address(&self) -> Option<usize> {
        self.0.as_ref().ok().map(|stored| Arc::as_ptr(stored).addr())
    }

    /// The adapter that is trained in its place, if it has one; see [`Module::adapt`](crate::Module::adapt).
    pub fn adapter(&self) -> Option<Adapter> {
        let stored = self.0.as_ref().ok()?;
        stored.adapter.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives it an adapter in the place of the one it has, or none.
    ///
    /// # Errors
    /// Where the adapter's matrices don't fit it.
    pub fn set_adapter(&self, adapter: Option<Adapter>) -> Result<()> {
        let stored = self.0.as_ref().map_err(Clone::clone)?;
        adapter.as_ref().map_or(Ok(()), |adapter| adapter.fits(self))?;
        *stored.adapter.write().unwrap_or_else(PoisonError::into_inner) = adapter;
        Ok(())
    }

    /// Whether training leaves it as it is.
    pub fn is_frozen(&self) -> bool {
        self.0.as_ref().is_ok_and(|stored| stored.frozen.load(Ordering::Relaxed))
    }

    /// Keeps training from changing it, or lets it again. Takes effect in steps made afterwards.
    pub fn freeze(&self, frozen: bool) {
        if let Ok(stored) = &self.0 {
            stored.frozen.store(frozen, Ordering::Relaxed);
        }
    }
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (position, &axis) in order.iter().enumerate() {
        if let Some(slot) = inverse.get_mut(axis) {
            *slot = position;
        }
    }
    inverse
}
