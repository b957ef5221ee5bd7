//! What methods take: an operand that is a tensor or a number, a set of axes, the sizes of a reshape. Each is one
//! small type that the ways people write it convert into.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use kiln_ir::half::{bf16, f16};
use kiln_ir::{Scalar, Shape};

use super::Tensor;

/// A tensor or a number. A number takes the dtype of the tensor it meets wherever it can: `&x * 3.0` keeps an `f16`
/// tensor `f16`, and only turns an integer one into `f32`.
#[derive(Clone)]
pub enum Operand {
    /// A tensor.
    Tensor(Tensor),
    /// A number.
    Scalar(Scalar),
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Operand {
        Operand::Tensor(tensor)
    }
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Operand {
        Operand::Tensor(tensor.clone())
    }
}

macro_rules! scalar_operands {
    ($($type:ty)*) => {$(
        impl From<$type> for Operand {
            fn from(value: $type) -> Operand { Operand::Scalar(value.into()) }
        }
    )*};
}

scalar_operands!(bool u8 u16 i32 i64 usize f16 bf16 f32 f64 Scalar);

/// Some axes of a tensor: one (`-1`), several (`[0, 2]`), a range (`1..`) or all (`..`).
#[derive(Clone, Debug)]
pub enum Axes {
    /// Every axis.
    All,
    /// These, counted from the end where negative.
    Listed(Vec<isize>),
    /// Those from the first to before the second, or to the last.
    Range(isize, Option<isize>),
}

/// Whatever [`Axes`] can be made of: the argument of methods in which axes come before options.
///
/// Options before axes don't compile:
///
/// ```compile_fail
/// kiln_nn::Tensor::ones([2, 2]).norm(2.0, ..);
/// ```
///
/// ```compile_fail
/// kiln_nn::Tensor::ones([2, 2]).var(1, 0);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` isn't an axis",
    label = "an axis, a list or a range of axes goes here",
    note = "axes come first, then options: `x.norm(.., 2.0)`, `x.var(0, Correction::SAMPLE)`, `x.normalize(-1, 2.0, 1e-12)`"
)]
pub trait IntoAxes {
    /// The axes.
    fn into_axes(self) -> Axes;
}

macro_rules! into_axes {
    ($(($($generic:tt)*) $type:ty;)*) => {$(
        impl<$($generic)*> IntoAxes for $type {
            fn into_axes(self) -> Axes { self.into() }
        }
    )*};
}

into_axes! { () Axes; () RangeFull; () &[isize]; }

/// What is taken from the count when a variance is divided by it.
///
/// A type of its own, so that it can't be mistaken for an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction(pub usize);

impl Correction {
    /// 1: the variance of what a sample was drawn from (Bessel's).
    pub const SAMPLE: Correction = Correction(1);
    /// 0: the variance of just these numbers.
    pub const POPULATION: Correction = Correction(0);
}

/// One place along an axis, or an axis by its place, counted from the end where negative; of any type of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(pub isize);

/// A whole number that counts from the end where negative. One too large stays too large: as it is, `usize::MAX` would be the last.
pub(super) fn whole(place: impl Into<Position>) -> isize {
    place.into().0
}

impl Axes {
    /// The axes that are meant of a tensor of `rank`, not checked.
    pub(crate) fn named(self, rank: usize) -> Vec<isize> {
        let rank = rank as isize;
        let from_start = |axis: isize| if axis < 0 { axis.saturating_add(rank) } else { axis };
        match self {
            Axes::All => (0..rank).collect(),
            Axes::Listed(axes) => axes,
            // An axis that isn't there is enough to be noticed; a nonsensical range mustn't ask for all memory.
            Axes::Range(start, _) if from_start(start) < 0 || start == isize::MAX => vec![start],
            Axes::Range(start, end) => {
                (from_start(start)..end.map_or(rank, from_start).min(rank + 1)).collect()
            }
        }
    }
}

/// The sizes of a reshape; one of them may be `-1` and is then found from the others.
#[derive(Clone, Debug)]
pub struct Dims(pub(crate) Vec<isize>);

impl From<()> for Dims {
    fn from((): ()) -> Dims {
        Dims(Vec::new())
    }
}

impl From<&Shape> for Dims {
    fn from(shape: &Shape) -> Dims {
        Dims(shape.iter().map(|&size| size as isize).collect())
    }
}

impl From<Shape> for Dims {
    fn from(shape: Shape) -> Dims {
        Dims::from(&shape)
    }
}

impl From<RangeFull> for Axes {
    fn from(_: RangeFull) -> Axes {
        Axes::All
    }
}

impl From<&[isize]> for Axes {
    fn from(axes: &[isize]) -> Axes {
        Axes::Listed(axes.to_vec())
    }
}

macro_rules! integer_lists {
    ($($type:ty)*) => {$(
        into_axes! {
            () $type; (const N: usize) [$type; N]; () Vec<$type>; () Range<$type>; () RangeFrom<$type>;
            () RangeTo<$type>; () RangeToInclusive<$type>; () RangeInclusive<$type>;
        }
        impl From<$type> for Position {
            fn from(place: $type) -> Position { Position(isize::try_from(place).unwrap_or(isize::MAX)) }
        }
        impl From<$type> for Axes {
            fn from(axis: $type) -> Axes { Axes::Listed(vec![whole(axis)]) }
        }
        impl<const N: usize> From<[$type; N]> for Axes {
            fn from(axes: [$type; N]) -> Axes { Axes::Listed(axes.map(whole).to_vec()) }
        }
        impl From<Vec<$type>> for Axes {
            fn from(axes: Vec<$type>) -> Axes { axes.into_iter().map(whole).collect() }
        }
        impl From<Range<$type>> for Axes {
            fn from(range: Range<$type>) -> Axes { Axes::Range(whole(range.start), Some(whole(range.end))) }
        }
        impl From<RangeFrom<$type>> for Axes {
            fn from(range: RangeFrom<$type>) -> Axes { Axes::Range(whole(range.start), None) }
        }
        impl From<RangeTo<$type>> for Axes {
            fn from(range: RangeTo<$type>) -> Axes { Axes::Range(0, Some(whole(range.end))) }
        }
        impl From<RangeToInclusive<$type>> for Axes {
            fn from(range: RangeToInclusive<$type>) -> Axes { Axes::from(0..=range.end) }
        }
        impl From<RangeInclusive<$type>> for Axes {
            fn from(range: RangeInclusive<$type>) -> Axes {
                let start = whole(*range.start());
                match whole(*range.end()) {
                    -1 => Axes::Range(start, None),
                    end => Axes::Range(start, Some(end.saturating_add(1))),
                }
            }
        }
        impl From<$type> for Dims {
            fn from(size: $type) -> Dims { Dims(vec![whole(size)]) }
        }
        impl<const N: usize> From<[$type; N]> for Dims {
            fn from(sizes: [$type; N]) -> Dims { Dims(sizes.map(whole).to_vec()) }
        }
        impl From<Vec<$type>> for Dims {
            fn from(sizes: Vec<$type>) -> Dims { Dims(sizes.iter().map(|&size| whole(size)).collect()) }
        }
        impl From<&[$type]> for Dims {
            fn from(sizes: &[$type]) -> Dims { Dims(sizes.iter().map(|&size| whole(size)).collect()) }
        }
    )*};
}

integer_lists!(i32 i64 isize usize);

impl FromIterator<isize> for Axes {
    fn from_iter<I: IntoIterator<Item = isize>>(axes: I) -> Axes {
        Axes::Listed(axes.into_iter().collect())
    }
}
