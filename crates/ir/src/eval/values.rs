//! The evaluator's numbers: all integers and booleans as `i64`, all floats as `f64`, so that each operation is
//! written twice at most and usually once. Rounding to the dtype that a node has happens in one place, here.

use std::cmp::Ordering;

use half::{bf16, f16};

use crate::data::{Data, Element};
use crate::dtype::{DType, Scalar};

/// The elements of one value.
#[derive(Clone, Debug)]
pub enum EvalValues {
    /// Of an integer or boolean dtype.
    Int(Vec<i64>),
    /// Of a float dtype.
    Float(Vec<f64>),
}

/// Runs one expression for either kind of values, wrapping the resulting vector again.
macro_rules! map_values {
    ($values:expr, $items:ident => $body:expr) => {
        match $values {
            EvalValues::Int($items) => EvalValues::Int($body),
            EvalValues::Float($items) => EvalValues::Float($body),
        }
    };
}
pub(super) use map_values;

/// What is common to `i64` and `f64`.
pub trait EvalNumber: Copy + PartialEq + PartialOrd {
    const ZERO: Self;
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Ascending, `NaN` as the largest whatever its sign; −0 equals 0.
    fn order(self, other: Self) -> Ordering;
    fn is_nan(self) -> bool;
}

impl EvalNumber for i64 {
    const ZERO: i64 = 0;
    fn add(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn mul(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    fn order(self, other: i64) -> Ordering {
        self.cmp(&other)
    }
    fn is_nan(self) -> bool {
        false
    }
}

impl EvalNumber for f64 {
    const ZERO: f64 = 0.0;
    fn add(self, other: f64) -> f64 {
        self + other
    }
    fn mul(self, other: f64) -> f64 {
        self * other
    }
    fn order(self, other: f64) -> Ordering {
        self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
}

impl EvalValues {
    /// All parts, which are of this dtype, one after the other.
    pub fn joined(dtype: DType, parts: &[EvalValues]) -> EvalValues {
        if dtype.is_float() {
            let floats =
                |part: &EvalValues| if let EvalValues::Float(x) = part { x.clone() } else { Vec::new() };
            EvalValues::Float(parts.iter().flat_map(floats).collect())
        } else {
            let ints = |part: &EvalValues| if let EvalValues::Int(x) = part { x.clone() } else { Vec::new() };
            EvalValues::Int(parts.iter().flat_map(ints).collect())
        }
    }

    pub fn from_data(data: &Data) -> EvalValues {
        if data.dtype().is_float() {
            EvalValues::Float(data.scalars().into_iter().map(Scalar::as_f64).collect())
        } else {
            EvalValues::Int(data.scalars().into_iter().map(Scalar::as_i64).collect())
        }
    }

    pub fn to_data(&self, dtype: DType) -> Data {
        let scalars: Vec<Scalar> = match self {
            EvalValues::Int(v) => v.iter().map(|&v| Scalar::Int(v)).collect(),
            EvalValues::Float(v) => v.iter().map(|&v| Scalar::Float(v)).collect(),
        };
        crate::each_dtype!(dtype, T => T::wrap(scalars.into_iter().map(T::from_scalar).collect()))
    }

    pub fn filled(dtype: DType, len: usize, value: Scalar) -> EvalValues {
        match dtype.is_float() {
            true => EvalValues::Float(vec![value.as_f64(); len]),
            false => EvalValues::Int(vec![value.as_i64(); len]),
        }
    }

    /// The elements at these positions, in this order.
    pub fn at(&self, positions: impl Iterator<Item = usize>) -> EvalValues {
        map_values!(self, v => positions.map(|position| v[position]).collect())
    }

    pub fn ints(&self) -> &[i64] {
        match self {
            EvalValues::Int(v) => v,
            EvalValues::Float(_) => unreachable!("the graph is typed: integers or booleans"),
        }
    }

    /// Rounded or wrapped to what an element of `dtype` can hold.
    pub fn rounded(self, dtype: DType) -> EvalValues {
        match self {
            EvalValues::Int(v) => EvalValues::Int(v.into_iter().map(|v| wrap(v, dtype)).collect()),
            EvalValues::Float(v) => EvalValues::Float(v.into_iter().map(|v| round(v, dtype)).collect()),
        }
    }

    pub fn cast(&self, to: DType) -> EvalValues {
        match self {
            EvalValues::Int(v) if to.is_float() => {
                EvalValues::Float(v.iter().map(|&v| int_to_float(v, to)).collect())
            }
            EvalValues::Int(v) if to == DType::Bool => {
                EvalValues::Int(v.iter().map(|&v| i64::from(v != 0)).collect())
            }
            EvalValues::Float(v) if to == DType::Bool => {
                EvalValues::Int(v.iter().map(|&v| i64::from(v != 0.0)).collect())
            }
            EvalValues::Float(v) if !to.is_float() => EvalValues::Int(v.iter().map(|&v| v as i64).collect()),
            // Rounded to the narrower type, or wrapped, with the node.
            EvalValues::Int(_) | EvalValues::Float(_) => self.clone(),
        }
    }
}

/// From an integer with a single rounding.
fn int_to_float(value: i64, dtype: DType) -> f64 {
    if dtype == DType::F64 { value as f64 } else { f64::from(value as f32) }
}

fn wrap(value: i64, dtype: DType) -> i64 {
    match dtype {
        DType::Bool => i64::from(value != 0),
        DType::U8 => i64::from(value as u8),
        DType::U16 => i64::from(value as u16),
        DType::I32 => i64::from(value as i32),
        DType::I64 | DType::F16 | DType::Bf16 | DType::F32 | DType::F64 => value,
    }
}

fn round(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f16::from_f32(value as f32).to_f64(),
        DType::Bf16 => bf16::from_f32(value as f32).to_f64(),
        DType::F32 => f64::from(value as f32),
        DType::F64 | DType::Bool | DType::U8 | DType::U16 | DType::I32 | DType::I64 => value,
    }
}
