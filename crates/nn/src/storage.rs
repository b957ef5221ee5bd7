//! A variable's numbers: with the host until the first program that uses them decides on a device, from then on in memory of that device
//! and nowhere else. Whoever meets a variable in a graph finds them here.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kiln_device::{Device, Host, HostMut, Memory};
use kiln_ir::op::VariableHandle;
use kiln_ir::{DType, Data, Error, ErrorKind, Result, Scalar, Shape};

/// What a variable is, which its clones share.
pub(crate) struct Storage {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
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

impl Storage {
    /// Numbers with the host, which fill the shape.
    pub(crate) fn new(name: &str, data: Data, shape: Shape) -> Storage {
        let dtype = data.dtype();
        Storage { name: name.to_string(), shape, dtype, placement: RwLock::new(Placement::Host(data)) }
    }

    fn placement(&self) -> RwLockReadGuard<'_, Placement> {
        self.placement.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn device(&self) -> Option<Arc<dyn Device>> {
        match &*self.placement() {
            Placement::Host(_) => None,
            Placement::Device(device, _) => Some(device.clone()),
        }
    }

    /// The numbers, row-major.
    pub(crate) fn read(&self) -> Result<Data> {
        match &*self.placement() {
            Placement::Host(data) => Ok(data.clone()),
            Placement::Device(_, memory) => self.copied(memory),
        }
    }

    /// The numbers, into data that have their dtype and size.
    pub(crate) fn read_into(&self, target: &mut Data) -> Result<()> {
        match &*self.placement() {
            Placement::Host(data) => target.clone_from(data),
            Placement::Device(_, memory) => memory.read(HostMut::of(target).bytes())?,
        }
        Ok(())
    }

    fn copied(&self, memory: &Arc<dyn Memory>) -> Result<Data> {
        let mut data = Data::filled(self.dtype, self.shape.elements(), Scalar::Int(0));
        memory.read(HostMut::of(&mut data).bytes())?;
        Ok(data)
    }

    /// Replaces the numbers where they are.
    pub(crate) fn write(&self, numbers: Host, data: impl FnOnce() -> Data) -> Result<()> {
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

    /// Moves the numbers to a device.
    pub(crate) fn to(&self, device: &Arc<dyn Device>) -> Result<()> {
        let mut placement = self.placement.write().unwrap_or_else(PoisonError::into_inner);
        let (memory, moved) = match &*placement {
            Placement::Device(here, _) if kiln_device::same(here, device) => return Ok(()),
            Placement::Device(_, memory) => (allocated(device, &self.copied(memory)?)?, true),
            // Nobody keeps memory of what had none.
            Placement::Host(data) => (allocated(device, data)?, false),
        };
        *placement = Placement::Device(device.clone(), memory);
        MOVES.fetch_add(u64::from(moved), Ordering::Release);
        Ok(())
    }

    /// The memory on this device, to which numbers go that aren't on any.
    pub(crate) fn memory_on(&self, device: &Arc<dyn Device>, name: &str) -> Result<Arc<dyn Memory>> {
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

/// Memory of a device that holds these numbers.
fn allocated(device: &Arc<dyn Device>, data: &Data) -> Result<Arc<dyn Memory>> {
    let bytes = Host::of(data).bytes();
    let memory = device.allocate(bytes.len())?;
    memory.write(bytes)?;
    Ok(memory)
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

impl VariableHandle for Storage {
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
        write!(f, "{}: {}{}", VariableHandle::name(self), self.dtype, self.shape)
    }
}

/// The memory of a variable met in a program, on the device that runs it.
pub(crate) fn memory_of(variable: &dyn VariableHandle, device: &Arc<dyn Device>) -> Result<Arc<dyn Memory>> {
    match variable.as_any().downcast_ref::<Storage>() {
        Some(storage) => storage.memory_on(device, &variable.name()),
        None => {
            let message = format!("{} isn't a variable of kiln's own", variable.name());
            Err(Error::new(ErrorKind::Device, "run", message).nowhere())
        }
    }
}

/// The device that a variable met in a graph is on, if it is on any.
pub(crate) fn device_of(variable: &dyn VariableHandle) -> Option<Arc<dyn Device>> {
    variable.as_any().downcast_ref::<Storage>()?.device()
}
