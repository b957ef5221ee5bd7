//! Numbers in the type they are stored in, and what they mean. Batches keep that type until the first kernel converts them.

use half::f16;

/// Numbers of one type, one row after the other.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    I64(Vec<i64>),
    F16(Vec<f16>),
    F32(Vec<f32>),
}

/// The type of [`Values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueKind {
    U8,
    U16,
    I64,
    F16,
    F32,
}

/// Runs one expression for whichever variant a [`Values`] is, with `$values` bound to the typed vector.
#[macro_export]
macro_rules! each_values {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::Values::U8($values) => $body,
            $crate::Values::U16($values) => $body,
            $crate::Values::I64($values) => $body,
            $crate::Values::F16($values) => $body,
            $crate::Values::F32($values) => $body,
        }
    };
}

impl ValueKind {
    /// No numbers yet, of this type.
    pub fn values(self) -> Values {
        match self {
            ValueKind::U8 => Values::U8(Vec::new()),
            ValueKind::U16 => Values::U16(Vec::new()),
            ValueKind::I64 => Values::I64(Vec::new()),
            ValueKind::F16 => Values::F16(Vec::new()),
            ValueKind::F32 => Values::F32(Vec::new()),
        }
    }

    /// Bytes a number takes.
    pub fn bytes(self) -> usize {
        match self {
            ValueKind::U8 => 1,
            ValueKind::U16 | ValueKind::F16 => 2,
            ValueKind::F32 => 4,
            ValueKind::I64 => 8,
        }
    }
}

impl Values {
    /// Their type.
    pub fn kind(&self) -> ValueKind {
        match self {
            Values::U8(_) => ValueKind::U8,
            Values::U16(_) => ValueKind::U16,
            Values::I64(_) => ValueKind::I64,
            Values::F16(_) => ValueKind::F16,
            Values::F32(_) => ValueKind::F32,
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        each_values!(self, values => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the numbers and keeps the room.
    pub fn clear(&mut self) {
        each_values!(self, values => values.clear());
    }

    /// The numbers of some rows of `width` numbers each, added at the end. Both are of one type, or nothing is added.
    pub fn extend_from(&mut self, other: &Values, start: usize, width: usize) {
        let range = start * width..(start + 1) * width;
        match (self, other) {
            (Values::U8(own), Values::U8(other)) => own.extend_from_slice(&other[range]),
            (Values::U16(own), Values::U16(other)) => own.extend_from_slice(&other[range]),
            (Values::I64(own), Values::I64(other)) => own.extend_from_slice(&other[range]),
            (Values::F16(own), Values::F16(other)) => own.extend_from_slice(&other[range]),
            (Values::F32(own), Values::F32(other)) => own.extend_from_slice(&other[range]),
            _ => {}
        }
    }

    /// A number, converted to the type here.
    pub fn push(&mut self, value: f64) {
        match self {
            Values::U8(values) => values.push(value as u8),
            Values::U16(values) => values.push(value as u16),
            Values::I64(values) => values.push(value as i64),
            Values::F16(values) => values.push(f16::from_f64(value)),
            Values::F32(values) => values.push(value as f32),
        }
    }

    /// This number in place of the last ones, so many.
    pub(crate) fn end_with(&mut self, count: usize, value: i64) {
        let kept = self.len().saturating_sub(count);
        each_values!(self, values => values.truncate(kept));
        (0..count).for_each(|_| self.push(value as f64));
    }

    /// Of each row of `width` numbers the first `kept`.
    pub(crate) fn cut_rows(&mut self, width: usize, kept: usize) {
        if kept >= width {
            return;
        }
        each_values!(self, values => {
            let rows = values.len() / width;
            (1..rows).for_each(|row| values.copy_within(row * width..row * width + kept, row * kept));
            values.truncate(rows * kept);
        });
    }

    /// The number at a position.
    pub fn get(&self, position: usize) -> Option<f64> {
        match self {
            Values::U8(values) => values.get(position).map(|&value| value.into()),
            Values::U16(values) => values.get(position).map(|&value| value.into()),
            Values::I64(values) => values.get(position).map(|&value| value as f64),
            Values::F16(values) => values.get(position).map(|&value| value.into()),
            Values::F32(values) => values.get(position).map(|&value| value.into()),
        }
    }

    /// The numbers, if they are bytes.
    pub fn as_u8(&self) -> Option<&[u8]> {
        if let Values::U8(values) = self { Some(values) } else { None }
    }

    /// The numbers, if they are of this type.
    pub fn as_i64(&self) -> Option<&[i64]> {
        if let Values::I64(values) = self { Some(values) } else { None }
    }

    /// The numbers, if they are of this type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Values::F32(values) = self { Some(values) } else { None }
    }
}

macro_rules! from_vectors {
    ($($variant:ident $type:ty),*) => {$(
        impl From<Vec<$type>> for Values {
            fn from(values: Vec<$type>) -> Values {
                Values::$variant(values)
            }
        }
    )*};
}
from_vectors!(U8 u8, U16 u16, I64 i64, F16 f16, F32 f32);

/// What the numbers of a row mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Amounts. They are multiplied by `scale` where they are used: 1/255 makes numbers up to 1 of pixels.
    Numbers {
        /// The factor.
        scale: f32,
    },
    /// Classes, or words of a vocabulary, counted from 0.
    Codes {
        /// How many there are.
        count: usize,
    },
}

/// What a row's input or target is: its type, its shape, its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The type of the numbers.
    pub kind: ValueKind,
    /// The shape of one row's; nothing for a single number.
    pub shape: Vec<usize>,
    /// What the numbers mean.
    pub meaning: Meaning,
}

impl Form {
    /// `f32` amounts of this shape.
    pub fn numbers(shape: &[usize]) -> Form {
        Form { kind: ValueKind::F32, shape: shape.to_vec(), meaning: Meaning::Numbers { scale: 1.0 } }
    }

    /// Bytes of brightness, which are used as numbers up to 1: `[channels, height, width]`.
    pub fn pixels(shape: &[usize]) -> Form {
        Form { kind: ValueKind::U8, shape: shape.to_vec(), meaning: Meaning::Numbers { scale: 1.0 / 255.0 } }
    }

    /// One of `count` classes, as `i64`.
    pub fn class(count: usize) -> Form {
        Form { kind: ValueKind::I64, shape: Vec::new(), meaning: Meaning::Codes { count } }
    }

    /// How many numbers a row has.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many classes or words there are, if it isn't amounts.
    pub fn codes(&self) -> Option<usize> {
        match self.meaning {
            Meaning::Codes { count } => Some(count),
            Meaning::Numbers { .. } => None,
        }
    }
}
