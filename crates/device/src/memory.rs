//! Memory as programs take it: a device's own, and the host's, borrowed without a copy.

use std::any::Any;
use std::sync::Arc;

use kiln_ir::{DType, Data, Element, Result, each_data};

/// Device memory that outlives programs. Interior mutability is the device's affair: reads, writes and programs that
/// use the same memory exclude each other.
pub trait Memory: Send + Sync + std::fmt::Debug {
    /// How many bytes.
    fn bytes(&self) -> usize;
    /// Copies everything out, when all that was started before and writes it is done; `target` has the memory's size.
    ///
    /// # Errors
    /// Where the size differs, or what was to write it failed.
    fn read(&self, target: &mut [u8]) -> Result<()>;
    /// Replaces everything, for what is started from now on; `source` has the memory's size and is free when this returns.
    ///
    /// # Errors
    /// Where the size differs, or the device fails.
    fn write(&self, source: &[u8]) -> Result<()>;
    /// The device's own type.
    fn as_any(&self) -> &dyn Any;
}

/// Numbers of the host that a program reads: borrowed for the run.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    dtype: DType,
    elements: usize,
    bytes: &'a [u8],
}

/// Memory of the host that a program fills: borrowed for the run.
#[derive(Debug)]
pub struct HostMut<'a> {
    dtype: DType,
    elements: usize,
    bytes: &'a mut [u8],
}

/// What a program reads.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// The host's.
    Host(Host<'a>),
    /// As many elements of this type as the memory holds, on the device that runs the program.
    Device(DType, &'a Arc<dyn Memory>),
}

/// Where a program puts a result.
#[derive(Debug)]
pub enum Output<'a> {
    /// With the host.
    Host(HostMut<'a>),
    /// In memory of the device that runs the program, as elements of this type.
    Device(DType, &'a Arc<dyn Memory>),
}

impl<'a> Host<'a> {
    /// A slice.
    pub fn new<T: Element>(values: &'a [T]) -> Host<'a> {
        // SAFETY: every element type is plain old data without padding, and the bytes are as many as the values have.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), std::mem::size_of_val(values))
        };
        Host { dtype: T::DTYPE, elements: values.len(), bytes }
    }

    /// A host's vector.
    pub fn of(data: &'a Data) -> Host<'a> {
        each_data!(data, values => Host::new(values))
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The numbers as bytes, aligned for their type.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> HostMut<'a> {
    /// A slice to be filled.
    pub fn new<T: Element>(values: &'a mut [T]) -> HostMut<'a> {
        // SAFETY: as for what is read; what a program writes is a valid element of its dtype (a bool is 0 or 1).
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), std::mem::size_of_val(values))
        };
        HostMut { dtype: T::DTYPE, elements: bytes.len() / size_of::<T>(), bytes }
    }

    /// A host's vector to be filled.
    pub fn of(data: &'a mut Data) -> HostMut<'a> {
        each_data!(data, values => HostMut::new(values))
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The memory as bytes, aligned for its type.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl<'a> Argument<'a> {
    /// A slice of the host's.
    pub fn new<T: Element>(values: &'a [T]) -> Argument<'a> {
        Argument::Host(Host::new(values))
    }

    /// A host's vector.
    pub fn of(data: &'a Data) -> Argument<'a> {
        Argument::Host(Host::of(data))
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Argument::Host(host) => host.dtype,
            Argument::Device(dtype, _) => *dtype,
        }
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        match self {
            Argument::Host(host) => host.elements,
            Argument::Device(dtype, memory) => memory.bytes() / dtype.size(),
        }
    }
}

impl<'a> Output<'a> {
    /// A slice of the host's to be filled.
    pub fn new<T: Element>(values: &'a mut [T]) -> Output<'a> {
        Output::Host(HostMut::new(values))
    }

    /// A host's vector to be filled.
    pub fn of(data: &'a mut Data) -> Output<'a> {
        Output::Host(HostMut::of(data))
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Output::Host(host) => host.dtype,
            Output::Device(dtype, _) => *dtype,
        }
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        match self {
            Output::Host(host) => host.elements,
            Output::Device(dtype, memory) => memory.bytes() / dtype.size(),
        }
    }
}
