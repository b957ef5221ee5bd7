//! Parts of a tensor: NumPy's `x[..., 1:3, -1]` is `x.at((Index::Rest, 1..3, -1))` here, and steps are written
//! `strided(.., 2)`. An index or an end outside of its axis is a mistake, not cut to fit.

use std::ops::{Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use kiln_ir::Result;
use kiln_ir::op::SliceRange;

use super::Tensor;
use super::arguments::{Position, whole};

/// What is taken of one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Index {
    /// One element, counted from the end where negative; the axis goes away.
    At(isize),
    /// Every `step`-th element of a range. A negative step walks the same range from its last element backwards.
    Range {
        /// The first, counted from the end where negative.
        start: isize,
        /// Behind the last, counted from the end where negative; `None` is the end of the axis.
        end: Option<isize>,
        /// The distance from one to the next.
        step: isize,
    },
    /// A new axis of size one.
    NewAxis,
    /// All of as many axes as the other indices leave over (NumPy's `...`).
    Rest,
}

/// Every `step`-th element of a range; `strided(.., -1)` is the axis backwards.
///
/// ```
/// # use kiln_nn::{strided, Tensor};
/// let x = Tensor::arange(0..6);
/// assert_eq!(x.at(strided(1.., 2)).to_vec::<i64>()?, [1, 3, 5]);
/// assert_eq!(x.at(strided(..3, -1)).to_vec::<i64>()?, [2, 1, 0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub fn strided(range: impl RangeBounds<isize>, step: isize) -> Index {
    let start = match range.start_bound() {
        Bound::Unbounded => 0,
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
    };
    let end = match range.end_bound() {
        Bound::Unbounded | Bound::Included(&-1) => None,
        Bound::Included(&end) => Some(end.saturating_add(1)),
        Bound::Excluded(&end) => Some(end),
    };
    Index::Range { start, end, step }
}

/// One index, or a tuple of up to six, for the leading axes; the other axes are taken whole.
pub trait Indices {
    /// The index of each axis, in order.
    fn indices(self) -> Vec<Index>;
}

impl From<RangeFull> for Index {
    fn from(_: RangeFull) -> Index {
        strided(.., 1)
    }
}

macro_rules! integer_indices {
    ($($type:ty)*) => {$(
        impl From<$type> for Index {
            fn from(index: $type) -> Index { Index::At(whole(index)) }
        }
        impl From<Range<$type>> for Index {
            fn from(range: Range<$type>) -> Index { strided(whole(range.start)..whole(range.end), 1) }
        }
        impl From<RangeFrom<$type>> for Index {
            fn from(range: RangeFrom<$type>) -> Index { strided(whole(range.start).., 1) }
        }
        impl From<RangeTo<$type>> for Index {
            fn from(range: RangeTo<$type>) -> Index { strided(..whole(range.end), 1) }
        }
        impl From<RangeInclusive<$type>> for Index {
            fn from(range: RangeInclusive<$type>) -> Index {
                strided(whole(*range.start())..=whole(*range.end()), 1)
            }
        }
        impl From<RangeToInclusive<$type>> for Index {
            fn from(range: RangeToInclusive<$type>) -> Index { strided(..=whole(range.end), 1) }
        }
        single_indices!($type, Range<$type>, RangeFrom<$type>, RangeTo<$type>, RangeInclusive<$type>,
            RangeToInclusive<$type>);
    )*};
}

macro_rules! single_indices {
    ($($type:ty),*) => {$(
        impl Indices for $type {
            fn indices(self) -> Vec<Index> { vec![self.into()] }
        }
    )*};
}

macro_rules! tuple_indices {
    ($($name:ident)*) => {
        impl<$($name: Into<Index>),*> Indices for ($($name,)*) {
            #[allow(non_snake_case)]
            fn indices(self) -> Vec<Index> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    };
}

integer_indices!(i32 i64 isize usize);
single_indices!(RangeFull, Index);
tuple_indices!(A);
tuple_indices!(A B);
tuple_indices!(A B C);
tuple_indices!(A B C D);
tuple_indices!(A B C D E);
tuple_indices!(A B C D E F);

impl Indices for Vec<Index> {
    fn indices(self) -> Vec<Index> {
        self
    }
}

impl Tensor {
    /// A part of this tensor, by one index for each leading axis: an integer takes one element and drops the axis, a
    /// range keeps it. Nothing is copied. (Clippy takes a literal `1..-1` for a slip; `x.at(1..).at(..-1)` says the
    /// same.)
    ///
    /// ```
    /// # use kiln_nn::{Index, Tensor};
    /// let x = Tensor::arange(0..12).reshape([3, 4]);
    /// assert_eq!(x.at(1).to_vec::<i64>()?, [4, 5, 6, 7]);
    /// assert_eq!(x.at((.., -1)).to_vec::<i64>()?, [3, 7, 11]);
    /// assert_eq!(x.at((1.., ..2)).to_vec::<i64>()?, [4, 5, 8, 9]);
    /// assert_eq!(*x.at((Index::Rest, Index::NewAxis)).shape(), [3, 4, 1]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn at(&self, indices: impl Indices) -> Tensor {
        let shape = check!(self.sound()).shape();
        let mut indices = indices.indices();
        let taken =
            indices.iter().filter(|index| matches!(index, Index::At(_) | Index::Range { .. })).count();
        ensure!(taken <= shape.rank(), Axis, "at", "{taken} indices for {shape}");
        let rests = indices.iter().filter(|index| **index == Index::Rest).count();
        ensure!(rests <= 1, Axis, "at", "`Index::Rest` may stand only once");
        if rests == 0 {
            indices.push(Index::Rest);
        }

        let mut ranges = Vec::with_capacity(shape.rank());
        let mut sizes = Vec::with_capacity(shape.rank());
        for index in &indices {
            let axis = ranges.len();
            match *index {
                Index::At(index) => {
                    let start = check!(position("at", index, axis, &shape));
                    ranges.push(SliceRange { start, len: 1, step: 1 });
                }
                Index::Range { start, end, step } => {
                    let range = check!(range_of("at", (start, end, step), axis, &shape));
                    sizes.push(range.len);
                    ranges.push(range);
                }
                Index::NewAxis => sizes.push(1),
                Index::Rest => {
                    for &len in &shape[axis..axis + shape.rank() - taken] {
                        sizes.push(len);
                        ranges.push(SliceRange { start: 0, len, step: 1 });
                    }
                }
            }
        }
        let whole = |(range, &size): (&SliceRange, &usize)| range.len == size && range.step == 1;
        if ranges.iter().zip(shape.iter()).all(whole) {
            return Tensor(self.0.reshape(sizes));
        }
        Tensor(self.0.slice(&ranges).reshape(sizes))
    }

    /// What an index or a range takes of one axis, wherever it stands; an index takes the axis away.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::arange(0..6).reshape([2, 3]);
    /// assert_eq!(x.slice(-1, 1..).to_vec::<i64>()?, [1, 2, 4, 5]);
    /// assert_eq!(x.slice(1usize, -1).to_vec::<i64>()?, [2, 5]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn slice(&self, axis: impl Into<Position>, taken: impl Into<Index>) -> Tensor {
        let axis = check!(self.axis("slice", axis.into().0));
        let mut indices = vec![Index::from(..); axis];
        indices.push(taken.into());
        self.at(indices)
    }

    /// `len` elements of one axis from `start`, which counts from the end where negative; both of any type of whole numbers. With a range
    /// it is [`Tensor::slice`].
    #[track_caller]
    pub fn narrow(&self, axis: impl Into<Position>, start: impl Into<Position>, len: usize) -> Tensor {
        let (axis, start) = (axis.into().0, start.into().0);
        let axis = check!(self.axis("narrow", axis));
        let shape = self.shape();
        let size = shape[axis];
        let first = if start < 0 { start.saturating_add(size as isize) } else { start };
        ensure!(
            first >= 0 && (first as usize).checked_add(len).is_some_and(|end| end <= size),
            Index,
            "narrow",
            "{len} elements from {start} leave axis {axis} of {shape}"
        );
        if len == size {
            return self.clone();
        }
        Tensor(self.0.narrow(axis, first as usize, len))
    }
}

/// The element that `index` names on an axis.
#[track_caller]
fn position(operation: &str, index: isize, axis: usize, shape: &[usize]) -> Result<usize> {
    let size = shape[axis] as isize;
    let found = if index < 0 { index.saturating_add(size) } else { index };
    if (0..size).contains(&found) {
        return Ok(found as usize);
    }
    refuse!(Index, operation, "index {index} is outside of axis {axis} of {shape:?}")
}

#[track_caller]
fn range_of(
    operation: &str,
    (start, end, step): (isize, Option<isize>, isize),
    axis: usize,
    shape: &[usize],
) -> Result<SliceRange> {
    let size = shape[axis] as isize;
    if step == 0 {
        refuse!(Value, operation, "a step of 0");
    }
    let place = |index: isize| if index < 0 { index.saturating_add(size) } else { index };
    let (first, behind) = (place(start), end.map_or(size, place));
    if !(0..=size).contains(&first) || !(0..=size).contains(&behind) || first > behind {
        let written = end.map_or(format!("{start}.."), |end| format!("{start}..{end}"));
        refuse!(Index, operation, "the range {written} is outside of axis {axis} of {shape:?}");
    }
    let count = (behind - first) as usize;
    let len = count.div_ceil(step.unsigned_abs());
    let start = if step > 0 || len == 0 { first } else { behind - 1 };
    Ok(SliceRange { start: if len == 0 { 0 } else { start as usize }, len, step })
}
