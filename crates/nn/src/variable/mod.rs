//! State that outlives a program: a variable on a device, and the parameter, which is a variable that is trained.

mod budget;
mod names;
mod param;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kiln_device::{Device, Host, HostMut, Memory};
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Expr, Result, Scalar, Shape};

use crate::tensor::Tensor;
pub(crate) use budget::afford;
pub use budget::with_parameter_budget;
pub(crate) use names::{call, naming, naming_on};
pub use param::Param;

/// A tensor's worth of memory on the device that programs read and update in place: a parameter's values, an
/// optimizer's moment, a running mean, a step count. Cloning shares.
#[derive(Clone, Debug)]
pub struct Variable(Arc<Storage>);

struct Storage {
    name: String,
    shape: Shape,
    dtype: DType,
    placement: RwLock<Placement>,
}

/// Where the numbers are.
enum Placement {
    /// With the host, until the first program that uses them decides on a device.
    Host(Data),
    /// On a device, and nowhere else.
    Device(Arc<dyn Device>, Arc<dyn Memory>),
}

/// Counts how often a variable went from one device to another. Who keeps memory of variables looks for it again when this
/// has changed.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// How many moves there have been.
pub(crate) fn moves() -> u64 {
    MOVES.load(Ordering::Acquire)
}

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
        Variable(Arc::new(Storage {
            name: name.to_string(),
            shape,
            dtype: data.dtype(),
            placement: RwLock::new(Placement::Host(data)),
        }))
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
        match &*self.0.placement() {
            Placement::Host(data) => Ok(data.clone()),
            Placement::Device(_, memory) => self.0.read(memory),
        }
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
        let mut placement = self.0.placement.write().unwrap_or_else(PoisonError::into_inner);
        let (memory, moved) = match &*placement {
            Placement::Device(here, _) if kiln_device::same(here, device) => return Ok(()),
            Placement::Device(_, memory) => (allocated(device, &self.0.read(memory)?)?, true),
            // Nobody keeps memory of what had none.
            Placement::Host(data) => (allocated(device, data)?, false),
        };
        *placement = Placement::Device(device.clone(), memory);
        MOVES.fetch_add(u64::from(moved), Ordering::Release);
        Ok(())
    }

    /// Its numbers into data that have its dtype and size.
    pub(crate) fn read_into(&self, target: &mut Data) -> Result<()> {
        match &*self.0.placement() {
            Placement::Host(data) => target.clone_from(data),
            Placement::Device(_, memory) => memory.read(HostMut::of(target).bytes())?,
        }
        Ok(())
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

/// Memory of a device that holds these numbers.
fn allocated(device: &Arc<dyn Device>, data: &Data) -> Result<Arc<dyn Memory>> {
    let bytes = Host::of(data).bytes();
    let memory = device.allocate(bytes.len())?;
    memory.write(bytes)?;
    Ok(memory)
}

impl Storage {
    fn placement(&self) -> RwLockReadGuard<'_, Placement> {
        self.placement.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn device(&self) -> Option<Arc<dyn Device>> {
        match &*self.placement() {
            Placement::Host(_) => None,
            Placement::Device(device, _) => Some(device.clone()),
        }
    }

    fn read(&self, memory: &Arc<dyn Memory>) -> Result<Data> {
        let mut data = Data::filled(self.dtype, self.shape.elements(), Scalar::Int(0));
        memory.read(HostMut::of(&mut data).bytes())?;
        Ok(data)
    }

    /// Replaces the numbers where they are.
    fn write(&self, numbers: Host, data: impl FnOnce() -> Data) -> Result<()> {
        if let Placement::Device(_, memory) = &*self.placement() {
            return memory.write(numbers.bytes());
        }
        let mut placement = self.placement.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *placement {
            Placement::Host(held) => *held = data(),
            // Somebody's program took them to a device meanwhile.
            Placement::Device(_, memory) => memory.write(numbers.bytes())?,
        }
        Ok(())
    }

    /// The memory on this device, to which numbers go that aren't on any.
    fn memory_on(&self, device: &Arc<dyn Device>, name: &str) -> Result<Arc<dyn Memory>> {
        if let Placement::Device(here, memory) = &*self.placement() {
            return found(here, memory, device, name);
        }
        let mut placement = self.placement.write().unwrap_or_else(PoisonError::into_inner);
        match &*placement {
            Placement::Host(data) => {
                let memory = allocated(device, data)?;
                *placement = Placement::Device(device.clone(), memory.clone());
                Ok(memory)
            }
            // Somebody else's program was quicker.
            Placement::Device(here, memory) => found(here, memory, device, name),
        }
    }
}

/// The memory of the variable of this name, if `here` is the device it is wanted on.
fn found(
    here: &Arc<dyn Device>,
    memory: &Arc<dyn Memory>,
    wanted: &Arc<dyn Device>,
    name: &str,
) -> Result<Arc<dyn Memory>> {
    if kiln_device::same(here, wanted) {
        return Ok(memory.clone());
    }
    let (name, here, wanted) = (called(name), here.name(), wanted.name());
    let message = format!("{name} is on {here}, and is used on {wanted}; move it with `to(&device)`");
    Err(Error::new(ErrorKind::Device, "device", message).nowhere())
}

/// A variable in an error.
pub(crate) fn called(name: &str) -> &str {
    if name.is_empty() { "a variable" } else { name }
}

impl kiln_ir::op::VariableHandle for Storage {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", kiln_ir::op::VariableHandle::name(self), self.dtype, self.shape)
    }
}

/// The memory of a variable met in a program, on the device that runs it.
pub(crate) fn memory_of(
    variable: &dyn kiln_ir::op::VariableHandle,
    device: &Arc<dyn Device>,
) -> Result<Arc<dyn Memory>> {
    match variable.as_any().downcast_ref::<Storage>() {
        Some(storage) => storage.memory_on(device, &variable.name()),
        None => {
            let message = format!("{} isn't a variable of kiln's own", variable.name());
            Err(Error::new(ErrorKind::Device, "run", message).nowhere())
        }
    }
}

/// The device that a variable met in a graph is on, if it is on any.
pub(crate) fn device_of(variable: &dyn kiln_ir::op::VariableHandle) -> Option<Arc<dyn Device>> {
    variable.as_any().downcast_ref::<Storage>()?.device()
}
