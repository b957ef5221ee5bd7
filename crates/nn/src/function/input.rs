//! What a function is run on.

use std::sync::Arc;

use kiln_device::{Device, Host};
use kiln_ir::op::Shared;
use kiln_ir::{DType, Data, Element, Shape};
use smallvec::SmallVec;

use crate::variable::Variable;

/// Numbers handed to a step: borrowed from the host, any element type, no copy; or a variable's, which are on the device
/// already.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    pub(super) source: InputSource<'a>,
    pub(super) shape: SmallVec<[usize; 4]>,
}

/// Where its numbers are.
#[derive(Clone, Debug)]
pub(super) enum InputSource<'a> {
    Host(Host<'a>),
    Variable(Variable),
}

impl<'a> Input<'a> {
    /// A slice under a shape, row-major.
    pub fn new<T: Element>(values: &'a [T], shape: &[usize]) -> Input<'a> {
        Input { source: InputSource::Host(Host::new(values)), shape: SmallVec::from_slice(shape) }
    }

    /// Host data under a shape, row-major.
    pub fn from_data(data: &'a Data, shape: &[usize]) -> Input<'a> {
        Input { source: InputSource::Host(Host::of(data)), shape: SmallVec::from_slice(shape) }
    }

    /// What a variable holds when the step is run. Nothing is copied.
    pub fn variable(variable: &Variable) -> Input<'a> {
        let shape = SmallVec::from_slice(variable.shape().sizes());
        Input { source: InputSource::Variable(variable.clone()), shape }
    }

    /// The variable, if it is one.
    pub(super) fn lent(&self) -> Option<Shared<dyn kiln_ir::op::VariableHandle>> {
        match &self.source {
            InputSource::Host(_) => None,
            InputSource::Variable(variable) => Some(Shared(variable.handle())),
        }
    }

    /// Whether a program on this device can take it: it is the host's, or on no device yet, or on this one.
    pub(super) fn suits(&self, device: &Arc<dyn Device>) -> bool {
        match &self.source {
            InputSource::Host(_) => true,
            InputSource::Variable(variable) => {
                variable.device().is_none_or(|here| kiln_device::same(&here, device))
            }
        }
    }

    /// Whether it is of this shape and type.
    pub(super) fn is(&self, shape: &Shape, dtype: DType) -> bool {
        shape.sizes() == self.shape.as_slice() && dtype == self.dtype()
    }

    pub(super) fn dtype(&self) -> DType {
        match &self.source {
            InputSource::Host(host) => host.dtype(),
            InputSource::Variable(variable) => variable.dtype(),
        }
    }
}

/// How many inputs a function or step has whose inputs are only counted when it is run.
pub const ANY: usize = usize::MAX;

/// The inputs of a run: an array of as many as the function has; a slice or a vector for one of [`ANY`] number.
#[diagnostic::on_unimplemented(
    message = "these aren't the inputs of this function or step",
    note = "a function of two inputs takes an array of two (`[a, b]`), one of any number a slice or a vector"
)]
pub trait InputList<'i, const N: usize> {
    /// The inputs.
    fn list(&self) -> &[Input<'i>];
}

impl<'i, const N: usize> InputList<'i, N> for [Input<'i>; N] {
    fn list(&self) -> &[Input<'i>] {
        self
    }
}

impl<'i> InputList<'i, ANY> for &[Input<'i>] {
    fn list(&self) -> &[Input<'i>] {
        self
    }
}

impl<'i> InputList<'i, ANY> for Vec<Input<'i>> {
    fn list(&self) -> &[Input<'i>] {
        self
    }
}

impl<'i> InputList<'i, ANY> for &Vec<Input<'i>> {
    fn list(&self) -> &[Input<'i>] {
        self
    }
}

impl<'i, const K: usize> InputList<'i, ANY> for &[Input<'i>; K] {
    fn list(&self) -> &[Input<'i>] {
        *self
    }
}
