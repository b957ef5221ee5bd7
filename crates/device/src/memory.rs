//! Memory as programs take it: a device's own, and the caller's, borrowed without a copy.

use std::any::Any;

use kiln_ir::{DType, Data, Element, Result, each_data};

/// Device memory that outlives programs. Interior mutability is the device's affair: reads, writes and programs that
/// use the same memory exclude each other.
pub trait Memory: Send + Sync + std::fmt::Debug {
    /// How many bytes.
    fn bytes(&self) -> usize;
    /// Copies everything out; `target` has the memory's size.
    fn read(&self, target: &mut [u8]) -> Result<()>;
    /// Replaces everything; `source` has the memory's size.
    fn write(&self, source: &[u8]) -> Result<()>;
    /// The device's own type.
    fn as_any(&self) -> &dyn Any;
}

/// Numbers a program reads: the caller's, borrowed for the run.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    dtype: DType,
    elements: usize,
    bytes: &'a [u8],
}

impl<'a> Argument<'a> {
    /// A slice as an argument.
    pub fn new<T: Element>(values: &'a [T]) -> Argument<'a> {
        // SAFETY: every element type is plain old data without padding, and the bytes are as many as the values have.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), std::mem::size_of_val(values))
        };
        Argument { dtype: T::DTYPE, elements: values.len(), bytes }
    }

    /// Host data as an argument.
    pub fn from_data(data: &'a Data) -> Argument<'a> {
        each_data!(data, values => Argument::new(values))
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

/// Where a program puts an output: the caller's memory, borrowed for the run.
#[derive(Debug)]
pub struct Output<'a> {
    dtype: DType,
    elements: usize,
    bytes: &'a mut [u8],
}

impl<'a> Output<'a> {
    /// A slice to be filled.
    pub fn new<T: Element>(values: &'a mut [T]) -> Output<'a> {
        // SAFETY: as for arguments; what a program writes is a valid element of its dtype (a bool is 0 or 1).
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), std::mem::size_of_val(values))
        };
        Output { dtype: T::DTYPE, elements: bytes.len() / size_of::<T>(), bytes }
    }

    /// Host data to be filled.
    pub fn from_data(data: &'a mut Data) -> Output<'a> {
        each_data!(data, values => Output::new(values))
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
