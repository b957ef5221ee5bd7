//! State that outlives a program: a variable on a device, and the parameter, which is a variable that is trained.

mod adapter;
mod names;
mod param;
mod unfilled;

use std::sync::Arc;

use kiln_device::{Device, Host, Memory};
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Expr, Result, Scalar, Shape};

pub use crate::budget::with_parameter_budget;
use crate::storage::{Storage, called};
use crate::tensor::Tensor;
pub use adapter::Adapter;
pub(crate) use adapter::{NAMES as ADAPTER_NAMES, is_of_adapter};
pub(crate) use names::{call, naming, naming_on};
pub use param::Param;
pub use unfilled::with_unfilled_parameters;

/// A tensor's worth of memory on the device that programs read and update in place: a parameter's values, an
/// optimizer's moment, a running mean, a step count. Cloning shares.
#[derive(Clone, Debug)]
pub struct Variable(Arc<Storage>);

impl Variable {
    /// A variable that starts with these numbers, row-major.
    ///
    /// # Errors
    /// Where `data` doesn't fill `shape`.
    #[track_caller]
    pub fn new(name: &str, data: Data, shape: impl Into<Shape>) -> Result<Variable> {
        let shape = shape.into();
        if shape.checked_elements() != Some(data.len()) {
            let message = format!("{} values don't fill the shape {shape} of {name}", data.len());
            return Err(Error::new(ErrorKind::Shape, "variable", message));
        }
        Ok(Variable::holding(name, data, shape))
    }

    /// A variable of one element.
    pub fn scalar<T: Element>(name: &str, value: T) -> Variable {
        Variable::holding(name, T::wrap(vec![value]), Shape::scalar())
    }

    /// A variable with `value` everywhere.
    pub fn filled<T: Element>(name: &str, value: T, shape: impl Into<Shape>) -> Variable {
        let shape = shape.into();
        Variable::holding(name, T::wrap(vec![value; shape.elements()]), shape)
    }

    /// A variable with zeros everywhere.
    pub fn zeros(name: &str, shape: impl Into<Shape>, dtype: DType) -> Variable {
        let shape = shape.into();
        Variable::holding(name, Data::filled(dtype, shape.elements(), Scalar::Int(0)), shape)
    }

    fn holding(name: &str, data: Data, shape: Shape) -> Variable {
        Variable(Arc::new(Storage::new(name, data, shape)))
    }

    /// The name that it was made with, which is empty for what layers make: that goes by its path in a model; see
    /// [`Module::parameters`](crate::Module::parameters).
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// Its dtype.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Its value, as a tensor that reads it when it is evaluated.
    #[track_caller]
    pub fn tensor(&self) -> Tensor {
        Tensor(Expr::variable(self.handle()))
    }

    /// Its numbers now, row-major.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn read(&self) -> Result<Data> {
        self.0.read()
    }

    /// Replaces its numbers.
    ///
    /// # Errors
    /// Where they are of another dtype or count, or the device fails.
    #[track_caller]
    pub fn write(&self, data: &Data) -> Result<()> {
        if data.dtype() != self.0.dtype || data.len() != self.0.shape.elements() {
            let message = format!(
                "{} holds {}{}, not {} values of {}",
                called(self.name()),
                self.0.dtype,
                self.0.shape,
                data.len(),
                data.dtype()
            );
            return Err(Error::new(ErrorKind::Shape, "variable", message));
        }
        self.0.write(Host::of(data), || data.clone())
    }

    /// Replaces the number of a variable of one element, without allocating.
    ///
    /// # Errors
    /// As [`Variable::write`].
    #[track_caller]
    pub fn set<T: Element>(&self, value: T) -> Result<()> {
        if T::DTYPE != self.0.dtype || self.0.shape.elements() != 1 {
            return self.write(&T::wrap(vec![value]));
        }
        self.0.write(Host::new(&[value]), || T::wrap(vec![value]))
    }

    /// The device its numbers are on; none before the first program that uses them.
    pub fn device(&self) -> Option<Arc<dyn Device>> {
        self.0.device()
    }

    /// Moves its numbers to a device. Programs that use it are compiled for that device at their next run; none may be
    /// running meanwhile.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn to(&self, device: &Arc<dyn Device>) -> Result<()> {
        self.0.to(device)
    }

    /// Its numbers into data that have its dtype and size.
    pub(crate) fn read_into(&self, target: &mut Data) -> Result<()> {
        self.0.read_into(target)
    }

    /// Replaces its numbers by as many of its dtype, where it is on a device.
    pub(crate) fn write_host(&self, numbers: Host) -> Result<()> {
        self.0.write(numbers, || Data::from_le_bytes(self.0.dtype, numbers.bytes()))
    }

    pub(crate) fn memory_on(&self, device: &Arc<dyn Device>) -> Result<Arc<dyn Memory>> {
        self.0.memory_on(device, self.name())
    }

    /// How graphs refer to it: by the name that it goes by where it is at hand.
    pub(crate) fn handle(&self) -> Arc<dyn kiln_ir::op::VariableHandle> {
        names::handle(&self.0)
    }

    /// What tells it from all others that are there.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether both are the same variable.
    pub fn is(&self, other: &Variable) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
