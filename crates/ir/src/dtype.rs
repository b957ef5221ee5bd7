//! The element types of tensors, and how two of them combine.

use std::fmt;
use std::hash::{Hash, Hasher};

use half::{bf16, f16};

/// The type of a tensor's elements.
///
/// `F16` and `Bf16` are stored in 16 bits and computed in `f32`: arithmetic inside one kernel keeps `f32`
/// precision and rounds where a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// One byte, `false` or `true`.
    Bool,
    /// Unsigned 8 bits; arithmetic wraps.
    U8,
    /// Unsigned 16 bits; arithmetic wraps.
    U16,
    /// Signed 32 bits; arithmetic wraps.
    I32,
    /// Signed 64 bits; arithmetic wraps.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
    /// IEEE single precision, the default float.
    F32,
    /// IEEE double precision; never chosen silently.
    F64,
}

impl DType {
    /// Every dtype, in promotion order.
    pub const ALL: [DType; 9] = [
        DType::Bool,
        DType::U8,
        DType::U16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::Bf16,
        DType::F32,
        DType::F64,
    ];

    /// Bytes of one stored element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::U16 | DType::F16 | DType::Bf16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// Whether this is one of the four floating types.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::Bf16 | DType::F32 | DType::F64)
    }

    /// Whether this is an integer type (`Bool` is not).
    pub fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::U16 | DType::I32 | DType::I64)
    }

    /// Whether this is a float stored in 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::Bf16)
    }

    /// The dtype two operands are converted to before they meet: the wider of two integers or of two floats;
    /// an integer (or bool) with a float gives that float; `F16` with `Bf16` gives `F32`.
    pub fn promote(self, other: DType) -> DType {
        match (self, other) {
            (DType::F16, DType::Bf16) | (DType::Bf16, DType::F16) => DType::F32,
            (a, b) => a.max(b),
        }
    }

    /// The float a value of this dtype becomes where only floats make sense (`exp`, `mean`, true division):
    /// itself if it is one, else `F32`.
    pub fn to_float(self) -> DType {
        if self.is_float() { self } else { DType::F32 }
    }

    /// The name as users write it: `f32`, `i64`, `bool`.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::Bf16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One number of any dtype, as written in a program: the value of a fill, a pad or a literal operand.
///
/// Two scalars are equal when their bits are: `NaN` equals itself and `-0.0` isn't `0.0`, so that equal
/// programs can be recognised.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
}

impl Scalar {
    /// The value as `f64` (`true` is 1).
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Bool(b) => f64::from(u8::from(b)),
            Scalar::Int(i) => i as f64,
            Scalar::Float(x) => x,
        }
    }

    /// The value as `i64`; floats are truncated and saturate.
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Bool(b) => i64::from(b),
            Scalar::Int(i) => i,
            Scalar::Float(x) => x as i64,
        }
    }

    /// Whether the value is not zero.
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::Bool(b) => b,
            Scalar::Int(i) => i != 0,
            Scalar::Float(x) => x != 0.0,
        }
    }

    /// The value as an element of `dtype` holds it: rounded to `f16`, wrapped to `u8`, and so on. To the half types it
    /// goes by way of `f32`, which gives the same bits on every machine.
    pub fn cast(self, dtype: DType) -> Scalar {
        match dtype {
            DType::Bool => Scalar::Bool(self.as_bool()),
            DType::U8 => Scalar::Int(i64::from(self.as_i64() as u8)),
            DType::U16 => Scalar::Int(i64::from(self.as_i64() as u16)),
            DType::I32 => Scalar::Int(i64::from(self.as_i64() as i32)),
            DType::I64 => Scalar::Int(self.as_i64()),
            DType::F16 => Scalar::Float(f16::from_f32(self.as_f64() as f32).to_f64()),
            DType::Bf16 => Scalar::Float(bf16::from_f32(self.as_f64() as f32).to_f64()),
            DType::F32 => Scalar::Float(f64::from(self.as_f64() as f32)),
            DType::F64 => Scalar::Float(self.as_f64()),
        }
    }

    fn bits(self) -> (u8, u64) {
        match self {
            Scalar::Bool(b) => (0, u64::from(b)),
            Scalar::Int(i) => (1, i as u64),
            Scalar::Float(x) => (2, x.to_bits()),
        }
    }

    /// The dtype a literal joins an operand of `dtype` with: a literal never widens a tensor of its own kind, and
    /// a float literal turns an integer tensor into `f32`.
    pub fn join(self, dtype: DType) -> DType {
        match self {
            Scalar::Bool(_) => dtype,
            Scalar::Int(_) if dtype == DType::Bool => DType::I64,
            Scalar::Int(_) => dtype,
            Scalar::Float(_) => dtype.to_float(),
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(b) => write!(f, "{b}"),
            Scalar::Int(i) => write!(f, "{i}"),
            Scalar::Float(x) => write!(f, "{x}"),
        }
    }
}

impl From<usize> for Scalar {
    fn from(value: usize) -> Scalar {
        Scalar::Int(value as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_is_symmetric_and_never_invents_f64() {
        for a in DType::ALL {
            for b in DType::ALL {
                assert_eq!(a.promote(b), b.promote(a));
                assert_eq!(a.promote(b) == DType::F64, a == DType::F64 || b == DType::F64);
            }
        }
        assert_eq!(DType::I64.promote(DType::F16), DType::F16);
        assert_eq!(DType::F16.promote(DType::Bf16), DType::F32);
        assert_eq!(DType::U8.promote(DType::U16), DType::U16);
    }
}
