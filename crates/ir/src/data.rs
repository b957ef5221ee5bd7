//! Numbers on the host: a typed vector for each dtype, as users hand them in and read them back.

use half::{bf16, f16};

use crate::dtype::{DType, Element, Scalar};
use crate::error::{Error, ErrorKind, Result};

/// A vector of elements of one dtype.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    Bool(Vec<bool>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Runs one expression for whichever variant a [`Data`] is, with `$values` bound to the typed vector.
#[macro_export]
macro_rules! each_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::data::Data::Bool($values) => $body,
            $crate::data::Data::U8($values) => $body,
            $crate::data::Data::U16($values) => $body,
            $crate::data::Data::I32($values) => $body,
            $crate::data::Data::I64($values) => $body,
            $crate::data::Data::F16($values) => $body,
            $crate::data::Data::Bf16($values) => $body,
            $crate::data::Data::F32($values) => $body,
            $crate::data::Data::F64($values) => $body,
        }
    };
}

/// Runs one expression for a dtype, with `$type` bound to the Rust type of its elements.
#[macro_export]
macro_rules! each_dtype {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            $crate::dtype::DType::Bool => {
                type $type = bool;
                $body
            }
            $crate::dtype::DType::U8 => {
                type $type = u8;
                $body
            }
            $crate::dtype::DType::U16 => {
                type $type = u16;
                $body
            }
            $crate::dtype::DType::I32 => {
                type $type = i32;
                $body
            }
            $crate::dtype::DType::I64 => {
                type $type = i64;
                $body
            }
            $crate::dtype::DType::F16 => {
                type $type = $crate::half::f16;
                $body
            }
            $crate::dtype::DType::Bf16 => {
                type $type = $crate::half::bf16;
                $body
            }
            $crate::dtype::DType::F32 => {
                type $type = f32;
                $body
            }
            $crate::dtype::DType::F64 => {
                type $type = f64;
                $body
            }
        }
    };
}

impl Data {
    /// `len` elements of `dtype`, all equal to `value`.
    pub fn filled(dtype: DType, len: usize, value: Scalar) -> Data {
        each_dtype!(dtype, T => T::wrap(vec![T::from_scalar(value); len]))
    }

    /// As [`Data::filled`], for what may be more than there is memory: a model's text says sizes of any size.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn try_filled(dtype: DType, len: usize, value: Scalar) -> Result<Data> {
        each_dtype!(dtype, T => {
            let mut values = Vec::new();
            if values.try_reserve_exact(len).is_err() {
                let message = format!("no memory for {len} numbers of {dtype}");
                return Err(Error::new(ErrorKind::Device, "allocate", message).nowhere());
            }
            values.resize(len, T::from_scalar(value));
            Ok(T::wrap(values))
        })
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Data::Bool(_) => DType::Bool,
            Data::U8(_) => DType::U8,
            Data::U16(_) => DType::U16,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::F16(_) => DType::F16,
            Data::Bf16(_) => DType::Bf16,
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        each_data!(self, values => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Scalar> {
        each_data!(self, values => values.get(index).map(|&v| v.into()))
    }

    /// The one element there is, as a `T`, converted as by [`Data::cast`] where it is of another type: a loss, a count.
    ///
    /// ```
    /// use kiln_ir::Data;
    ///
    /// assert_eq!(Data::F32(vec![0.5]).item::<f64>()?, 0.5);
    /// assert!(Data::F32(vec![0.5, 1.5]).item::<f64>().is_err());
    /// # Ok::<(), kiln_ir::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where there is none, or more.
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        match (self.get(0), self.len()) {
            (Some(value), 1) => Ok(T::from_scalar(value)),
            (_, len) => {
                let message = format!("there are {len} elements where one is wanted");
                Err(Error::new(ErrorKind::Shape, "item", message))
            }
        }
    }

    /// The elements as a slice of `T`, if that is their type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::unwrap(self)
    }

    /// Every element as a scalar, in order.
    pub fn scalars(&self) -> Vec<Scalar> {
        each_data!(self, values => values.iter().map(|&v| v.into()).collect())
    }

    /// The elements as bytes, little-endian, one after the other.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Data::Bool(values) => values.iter().map(|&value| u8::from(value)).collect(),
            Data::U8(values) => values.clone(),
            Data::U16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::F16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::Bf16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    /// Elements from the bytes that [`Data::to_le_bytes`] gives. A rest that isn't a whole element is left out; a bool is
    /// whether its byte isn't 0.
    pub fn from_le_bytes(dtype: DType, bytes: &[u8]) -> Data {
        macro_rules! read {
            ($variant:ident, $type:ty) => {{
                let (elements, _) = bytes.as_chunks();
                Data::$variant(elements.iter().map(|&bytes| <$type>::from_le_bytes(bytes)).collect())
            }};
        }
        match dtype {
            DType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            DType::U8 => Data::U8(bytes.to_vec()),
            DType::U16 => read!(U16, u16),
            DType::I32 => read!(I32, i32),
            DType::I64 => read!(I64, i64),
            DType::F16 => read!(F16, f16),
            DType::Bf16 => read!(Bf16, bf16),
            DType::F32 => read!(F32, f32),
            DType::F64 => read!(F64, f64),
        }
    }

    /// The same numbers as elements of another dtype.
    pub fn cast(&self, dtype: DType) -> Data {
        if self.dtype() == dtype {
            return self.clone();
        }
        let scalars = self.scalars();
        each_dtype!(dtype, T => T::wrap(scalars.into_iter().map(T::from_scalar).collect()))
    }
}
