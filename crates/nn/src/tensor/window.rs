//! How windows move over spatial axes: the settings that convolutions and pooling share.

use std::fmt;

use kiln_ir::{Result, Shape};

/// How many spatial axes a window moves over, as in `conv2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpatialRank {
    /// `[batch, channels, length]`.
    One = 1,
    /// `[batch, channels, height, width]`.
    Two,
    /// `[batch, channels, depth, height, width]`.
    Three,
}

impl SpatialRank {
    /// All of them.
    pub const ALL: [SpatialRank; 3] = [SpatialRank::One, SpatialRank::Two, SpatialRank::Three];

    /// That of inputs of this shape, batch and channels included.
    pub fn of(input: &Shape) -> Option<SpatialRank> {
        SpatialRank::ALL.into_iter().find(|rank| rank.axes() + 2 == input.rank())
    }

    /// How many axes.
    pub fn axes(self) -> usize {
        self as usize
    }

    /// The axes of such inputs, in words.
    pub fn layout(self) -> &'static str {
        match self {
            SpatialRank::One => "[batch, channels, length]",
            SpatialRank::Two => "[batch, channels, height, width]",
            SpatialRank::Three => "[batch, channels, depth, height, width]",
        }
    }
}

/// `2d`.
impl fmt::Display for SpatialRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.axes())
    }
}

/// A setting that is one number for every spatial axis, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PerAxis {
    /// The same for every axis.
    Same(usize),
    /// One for each axis.
    Each(Vec<usize>),
}

impl PerAxis {
    /// The numbers of `spatial` axes.
    #[track_caller]
    pub(crate) fn for_axes(&self, operation: &str, what: &str, spatial: usize) -> Result<Vec<usize>> {
        match self {
            PerAxis::Same(value) => Ok(vec![*value; spatial]),
            PerAxis::Each(values) if values.len() == spatial => Ok(values.clone()),
            PerAxis::Each(values) => {
                refuse!(Value, operation, "{what} {values:?} for {spatial} spatial axes")
            }
        }
    }
}

impl From<usize> for PerAxis {
    fn from(value: usize) -> PerAxis {
        PerAxis::Same(value)
    }
}

impl<const N: usize> From<[usize; N]> for PerAxis {
    fn from(values: [usize; N]) -> PerAxis {
        PerAxis::Each(values.to_vec())
    }
}

impl From<Vec<usize>> for PerAxis {
    fn from(values: Vec<usize>) -> PerAxis {
        PerAxis::Each(values)
    }
}

/// What is put around the spatial axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// This many before and behind each axis.
    Both(PerAxis),
    /// `(before, behind)` for each axis.
    Sides(Vec<(usize, usize)>),
    /// As much as makes the result `size / stride` (rounded up) large; an odd one goes behind.
    Same,
}

impl Padding {
    /// Before and behind each axis of `sizes`, for windows that span `extents`.
    #[track_caller]
    pub(crate) fn for_axes(
        &self,
        operation: &str,
        sizes: &[usize],
        extents: &[usize],
        stride: &[usize],
    ) -> Result<Vec<(usize, usize)>> {
        match self {
            Padding::Both(each) => Ok(each
                .for_axes(operation, "padding", sizes.len())?
                .into_iter()
                .map(|pad| (pad, pad))
                .collect()),
            Padding::Sides(sides) if sides.len() == sizes.len() => Ok(sides.clone()),
            Padding::Sides(sides) => {
                refuse!(Value, operation, "padding {sides:?} for {} spatial axes", sizes.len())
            }
            Padding::Same => {
                let same = |axis: usize| {
                    let stride = stride[axis].max(1);
                    let covered = sizes[axis].div_ceil(stride).saturating_sub(1) * stride + extents[axis];
                    let total = covered.saturating_sub(sizes[axis]);
                    (total / 2, total - total / 2)
                };
                Ok((0..sizes.len()).map(same).collect())
            }
        }
    }
}

impl From<usize> for Padding {
    fn from(value: usize) -> Padding {
        Padding::Both(PerAxis::Same(value))
    }
}

impl<const N: usize> From<[usize; N]> for Padding {
    fn from(values: [usize; N]) -> Padding {
        Padding::Both(values.into())
    }
}

impl From<Vec<usize>> for Padding {
    fn from(values: Vec<usize>) -> Padding {
        Padding::Both(values.into())
    }
}

impl<const N: usize> From<[(usize, usize); N]> for Padding {
    fn from(sides: [(usize, usize); N]) -> Padding {
        Padding::Sides(sides.to_vec())
    }
}
