//! The element types of ONNX, and how each is held here. kiln has nine types; the others are held in the narrowest that has all their
//! values, and arithmetic on them is brought back to their range. Floats of eight and four bits are held in `f32`.

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
    I4,
    U4,
    I2,
    U2,
    F8E4m3,
    F8E4m3Fnuz,
    F8E5m2,
    F8E5m2Fnuz,
    F8E8m0,
    F4E2m1,
}

use OnnxDType::*;

const KNOWN: [(OnnxDType, DataType, &str); 24] = [
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
    (I4, DataType::Int4, "int4"),
    (U4, DataType::Uint4, "uint4"),
    (I2, DataType::Int2, "int2"),
    (U2, DataType::Uint2, "uint2"),
    (F8E4m3, DataType::Float8e4m3fn, "float8_e4m3fn"),
    (F8E4m3Fnuz, DataType::Float8e4m3fnuz, "float8_e4m3fnuz"),
    (F8E5m2, DataType::Float8e5m2, "float8_e5m2"),
    (F8E5m2Fnuz, DataType::Float8e5m2fnuz, "float8_e5m2fnuz"),
    (F8E8m0, DataType::Float8e8m0, "float8_e8m0"),
    (F4E2m1, DataType::Float4e2m1, "float4_e2m1"),
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
            F8E4m3 | F8E4m3Fnuz | F8E5m2 | F8E5m2Fnuz | F8E8m0 | F4E2m1 => DType::F32,
            U8 | U4 | U2 => DType::U8,
            U16 => DType::U16,
            I2 | I4 | I8 | I16 | I32 => DType::I32,
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

    /// Whether it is a float that weights are trained in.
    pub fn is_float(self) -> bool {
        matches!(self, F16 | Bf16 | F32 | F64)
    }

    /// Bits of one element; texts have no fixed size.
    pub fn bits(self) -> Option<usize> {
        Some(match self {
            I2 | U2 => 2,
            I4 | U4 | F4E2m1 => 4,
            Bool | U8 | I8 | F8E4m3 | F8E4m3Fnuz | F8E5m2 | F8E5m2Fnuz | F8E8m0 => 8,
            U16 | I16 | F16 | Bf16 => 16,
            U32 | I32 | F32 => 32,
            U64 | I64 | F64 => 64,
            Text => return None,
        })
    }

    /// The bytes that so many elements take; those of less than a byte stand together, the first in the lowest bits.
    pub fn bytes(self, count: usize) -> Option<usize> {
        Some(count.checked_mul(self.bits()?)?.div_ceil(8))
    }

    /// How a float of eight or four bits divides them.
    pub fn narrow_float(self) -> Option<NarrowFloat> {
        let ieee = |mantissa, lowest, largest, beyond| NarrowFloat { mantissa, lowest, largest, beyond };
        Some(match self {
            F8E4m3 => ieee(3, -6, 448.0, Overflow::Nan),
            F8E4m3Fnuz => ieee(3, -7, 240.0, Overflow::UnsignedNan),
            F8E5m2 => ieee(2, -14, 57344.0, Overflow::Infinity),
            F8E5m2Fnuz => ieee(2, -15, 57344.0, Overflow::UnsignedNan),
            F8E8m0 => ieee(0, -127, libm::ldexp(1.0, 127), Overflow::UnsignedNan),
            F4E2m1 => ieee(1, 0, 6.0, Overflow::Largest),
            _ => return None,
        })
    }

    /// The range of an integer type that is held in a wider one: its lowest value and the bits it has.
    pub fn narrow(self) -> Option<(i64, u32)> {
        match self {
            I2 => Some((-2, 2)),
            U2 => Some((0, 2)),
            I4 => Some((-8, 4)),
            U4 => Some((0, 4)),
            I8 => Some((-128, 8)),
            I16 => Some((-32768, 16)),
            U32 => Some((0, 32)),
            _ => None,
        }
    }

    /// So many numbers from little-endian bytes; `None` for texts, and for a `uint64` that `i64` can't hold.
    pub fn read(self, bytes: &[u8], count: usize) -> Option<Data> {
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
            U4 => Data::U8(parts(bytes, 4, count).collect()),
            U2 => Data::U8(parts(bytes, 2, count).collect()),
            I4 => Data::I32(parts(bytes, 4, count).map(|part| i32::from((part << 4) as i8 >> 4)).collect()),
            I2 => Data::I32(parts(bytes, 2, count).map(|part| i32::from((part << 6) as i8 >> 6)).collect()),
            F4E2m1 => Data::F32(parts(bytes, 4, count).map(|part| self.narrow_value(part)).collect()),
            F8E4m3 | F8E4m3Fnuz | F8E5m2 | F8E5m2Fnuz | F8E8m0 => {
                Data::F32(bytes.iter().map(|&byte| self.narrow_value(byte)).collect())
            }
            Text => return None,
        })
    }

    /// Numbers as little-endian bytes, as [`OnnxDType::read`] takes them; of types of at least eight bits that have one for each number.
    pub fn write(self, data: &Data) -> Option<Vec<u8>> {
        if self.narrow_float().is_some() {
            return None;
        }
        let held = data.to_le_bytes();
        let (size, wide) = (self.bits()? / 8, self.dtype()?.size());
        // A narrow integer is the low bytes of the one that holds it.
        Some(held.chunks_exact(wide).flat_map(|number| &number[..size.min(wide)]).copied().collect())
    }

    /// The value of a float of at most eight bits.
    fn narrow_value(self, bits: u8) -> f32 {
        let (Some(NarrowFloat { mantissa, lowest, beyond, .. }), Some(size)) =
            (self.narrow_float(), self.bits())
        else {
            return f32::NAN;
        };
        if self == F8E8m0 {
            return if bits == 255 { f32::NAN } else { libm::ldexpf(1.0, i32::from(bits) - 127) };
        }
        let (sign, rest) = (bits >> (size - 1) != 0, bits & ((1 << (size - 1)) - 1));
        let (exponent, part) = (rest >> mantissa, rest & ((1 << mantissa) - 1));
        let top = (1u8 << (size - 1)) - 1;
        let size = match beyond {
            Overflow::Nan if rest == top => f32::NAN,
            Overflow::UnsignedNan if sign && rest == 0 => f32::NAN,
            Overflow::Infinity if exponent == top >> mantissa => {
                if part == 0 {
                    f32::INFINITY
                } else {
                    f32::NAN
                }
            }
            // Without a leading one below the lowest exponent.
            _ if exponent == 0 => libm::ldexpf(f32::from(part), lowest - mantissa as i32),
            _ => {
                let whole = f32::from(part | 1 << mantissa);
                libm::ldexpf(whole, lowest - mantissa as i32 + i32::from(exponent) - 1)
            }
        };
        if sign { -size } else { size }
    }
}

/// Numbers of a few bits each.
fn parts(bytes: &[u8], bits: usize, count: usize) -> impl Iterator<Item = u8> {
    let each = 8 / bits;
    (0..count.min(bytes.len() * each))
        .map(move |at| bytes[at / each] >> (at % each * bits) & ((1 << bits) - 1))
}

/// A float of eight or four bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NarrowFloat {
    /// Bits behind the point.
    pub mantissa: u32,
    /// The lowest exponent of a normal number.
    pub lowest: i32,
    /// The largest number.
    pub largest: f64,
    /// What numbers above it are.
    pub beyond: Overflow,
}

/// What a number too large for a narrow float becomes, where it isn't held at the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Overflow {
    /// Infinity.
    Infinity,
    /// Not a number.
    Nan,
    /// Not a number; there is one of these, and zero has no sign.
    UnsignedNan,
    /// The largest in any case: the type has nothing else.
    Largest,
}
