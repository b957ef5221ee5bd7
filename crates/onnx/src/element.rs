//! The element types of ONNX, and how each is held here. kiln has nine types; the others are held in the narrowest that has all their
//! values, and arithmetic on them is brought back to their range.

use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Data};

use crate::proto::tensor_proto::DataType;

/// What tensors of ONNX hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum OnnxDType {
    F32,
    F64,
    F16,
    Bf16,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    Bool,
    Text,
}

use OnnxDType::*;

const KNOWN: [(OnnxDType, DataType, &str); 14] = [
    (F32, DataType::Float, "float32"),
    (F64, DataType::Double, "float64"),
    (F16, DataType::Float16, "float16"),
    (Bf16, DataType::Bfloat16, "bfloat16"),
    (U8, DataType::Uint8, "uint8"),
    (U16, DataType::Uint16, "uint16"),
    (U32, DataType::Uint32, "uint32"),
    (U64, DataType::Uint64, "uint64"),
    (I8, DataType::Int8, "int8"),
    (I16, DataType::Int16, "int16"),
    (I32, DataType::Int32, "int32"),
    (I64, DataType::Int64, "int64"),
    (Bool, DataType::Bool, "bool"),
    (Text, DataType::String, "string"),
];

impl OnnxDType {
    /// The type with ONNX's number.
    pub fn of(number: i32) -> Option<OnnxDType> {
        KNOWN.iter().find(|(_, theirs, _)| *theirs as i32 == number).map(|(element, ..)| *element)
    }

    /// ONNX's number.
    pub fn number(self) -> i32 {
        KNOWN.iter().find(|(element, ..)| *element == self).map_or(0, |(_, theirs, _)| *theirs as i32)
    }

    /// Its name, as numpy has it.
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|(element, ..)| *element == self).map_or("", |(.., name)| name)
    }

    /// The type of kiln's that holds it; texts have none.
    pub fn dtype(self) -> Option<DType> {
        Some(match self {
            F32 => DType::F32,
            F64 => DType::F64,
            F16 => DType::F16,
            Bf16 => DType::Bf16,
            U8 => DType::U8,
            U16 => DType::U16,
            I8 | I16 | I32 => DType::I32,
            U32 | U64 | I64 => DType::I64,
            Bool => DType::Bool,
            Text => return None,
        })
    }

    /// The type that is held as this one, where nothing else was said.
    pub fn from_dtype(dtype: DType) -> OnnxDType {
        match dtype {
            DType::Bool => Bool,
            DType::U8 => U8,
            DType::U16 => U16,
            DType::I32 => I32,
            DType::I64 => I64,
            DType::F16 => F16,
            DType::Bf16 => Bf16,
            DType::F32 => F32,
            DType::F64 => F64,
        }
    }

    /// Whether it is a float.
    pub fn is_float(self) -> bool {
        matches!(self, F16 | Bf16 | F32 | F64)
    }

    /// Bytes of one element; texts have no fixed size.
    pub fn size(self) -> Option<usize> {
        Some(match self {
            Bool | U8 | I8 => 1,
            U16 | I16 | F16 | Bf16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 => 8,
            Text => return None,
        })
    }

    /// The range of an integer type that is held in a wider one: its lowest value and the bits it has.
    pub fn narrow(self) -> Option<(i64, u32)> {
        match self {
            I8 => Some((-128, 8)),
            I16 => Some((-32768, 16)),
            U32 => Some((0, 32)),
            _ => None,
        }
    }

    /// Numbers from little-endian bytes, whose count is a multiple of the size; `None` for texts, and for a `uint64` that `i64` can't hold.
    pub fn read(self, bytes: &[u8]) -> Option<Data> {
        macro_rules! each {
            ($type:ty, $size:literal, $held:ident, |$value:ident| $to:expr) => {
                Data::$held(
                    bytes
                        .chunks_exact($size)
                        .map(|chunk| {
                            let $value = <$type>::from_le_bytes(chunk.try_into().unwrap_or([0; $size]));
                            $to
                        })
                        .collect(),
                )
            };
        }
        Some(match self {
            F32 => each!(f32, 4, F32, |value| value),
            F64 => each!(f64, 8, F64, |value| value),
            F16 => each!(u16, 2, F16, |value| f16::from_bits(value)),
            Bf16 => each!(u16, 2, Bf16, |value| bf16::from_bits(value)),
            U8 => Data::U8(bytes.to_vec()),
            U16 => each!(u16, 2, U16, |value| value),
            U32 => each!(u32, 4, I64, |value| i64::from(value)),
            U64 => {
                let wide =
                    |chunk: &[u8]| i64::try_from(u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8]))).ok();
                Data::I64(bytes.chunks_exact(8).map(wide).collect::<Option<_>>()?)
            }
            I8 => each!(i8, 1, I32, |value| i32::from(value)),
            I16 => each!(i16, 2, I32, |value| i32::from(value)),
            I32 => each!(i32, 4, I32, |value| value),
            I64 => each!(i64, 8, I64, |value| value),
            Bool => Data::Bool(bytes.iter().map(|byte| *byte != 0).collect()),
            Text => return None,
        })
    }
}
