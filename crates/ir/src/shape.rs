//! The sizes of a tensor, outermost first, and the arithmetic of sizes: broadcasting, axes, strides.

use std::fmt;
use std::ops::Deref;

/// The size of each axis, outermost first. A scalar has none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// How many elements there are; more than any memory holds counts as `usize::MAX`.
    pub fn elements(&self) -> usize {
        self.0.iter().fold(1, |count: usize, &size| count.saturating_mul(size))
    }

    /// How many elements there are, or `None` where the count or its bytes don't fit the address space.
    pub fn checked_elements(&self) -> Option<usize> {
        if self.0.contains(&0) {
            return Some(0);
        }
        let count = self.0.iter().try_fold(1usize, |n, &size| n.checked_mul(size))?;
        (count <= isize::MAX as usize / 8).then_some(count)
    }

    /// The sizes as a slice.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> Vec<isize> {
        let mut strides = vec![1isize; self.rank()];
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis] as isize;
        }
        strides
    }

    /// The shape with `size` in place of the size of `axis`.
    pub fn with(&self, axis: usize, size: usize) -> Shape {
        let mut sizes = self.0.clone();
        sizes[axis] = size;
        Shape(sizes)
    }

    /// The shape with each of `axes` shrunk to one.
    pub fn reduced(&self, axes: &[usize]) -> Shape {
        let mut sizes = self.0.clone();
        for &axis in axes {
            sizes[axis] = 1;
        }
        Shape(sizes)
    }

    /// The shape both operands expand to, aligned at the innermost axis, or `None` where sizes differ and neither is one.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let size = |shape: &Shape, axis: usize| {
            let missing = rank - shape.rank();
            if axis < missing { 1 } else { shape[axis - missing] }
        };
        let mut sizes = Vec::with_capacity(rank);
        for axis in 0..rank {
            sizes.push(match (size(self, axis), size(other, axis)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            });
        }
        Some(Shape(sizes))
    }

    /// The axis that `index` names, counting from the end where it is negative.
    pub fn axis(&self, index: isize) -> Option<usize> {
        let rank = self.rank() as isize;
        let axis = if index < 0 { index + rank } else { index };
        (0..rank).contains(&axis).then_some(axis as usize)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Shape {
        Shape(sizes)
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Shape {
        Shape(sizes.to_vec())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Shape {
        Shape(sizes.to_vec())
    }
}

impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(sizes: &[usize; N]) -> Shape {
        Shape(sizes.to_vec())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl From<()> for Shape {
    fn from((): ()) -> Shape {
        Shape::scalar()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_at_the_innermost_axis() {
        let b = |a: &[usize], b: &[usize]| Shape::from(a).broadcast(&Shape::from(b)).map(|s| s.to_vec());
        assert_eq!(b(&[2, 1, 3], &[5, 1]), Some(vec![2, 5, 3]));
        assert_eq!(b(&[], &[4]), Some(vec![4]));
        assert_eq!(b(&[0], &[1]), Some(vec![0]));
        assert_eq!(b(&[2], &[3]), None);
    }

    #[test]
    fn element_counts_that_overflow_are_noticed() {
        assert_eq!(Shape::from([usize::MAX, 2]).checked_elements(), None);
        assert_eq!(Shape::from([usize::MAX, 0]).checked_elements(), Some(0));
    }
}
