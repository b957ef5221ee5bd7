//! Where a value's elements are in memory, and what movements make of that without touching an element.

use kiln_ir::Shape;
use kiln_ir::op::SliceRange;

use crate::kind::Movement;
use crate::program::BufferId;

/// A value in memory: element `i` is at `offset + Σ i[axis] · strides[axis]` of its buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct StridedBuffer {
    /// The buffer.
    pub buffer: BufferId,
    /// The element at index zero.
    pub offset: isize,
    /// The distance between neighbours along each axis.
    pub strides: Vec<isize>,
}

impl StridedBuffer {
    /// A whole buffer in row-major order.
    pub fn row_major(buffer: BufferId, shape: &Shape) -> StridedBuffer {
        StridedBuffer { buffer, offset: 0, strides: shape.strides() }
    }

    /// A whole buffer in row-major order of the axes as `order` lists them, outermost first.
    pub fn ordered(buffer: BufferId, shape: &Shape, order: &[usize]) -> StridedBuffer {
        let mut strides = vec![0; shape.rank()];
        let mut stride = 1;
        for &axis in order.iter().rev() {
            strides[axis] = stride;
            stride *= shape[axis] as isize;
        }
        StridedBuffer { buffer, offset: 0, strides }
    }

    /// Whether the elements stand in row-major order without gaps.
    pub fn is_row_major(&self, shape: &Shape) -> bool {
        let dense = shape.strides();
        (0..shape.rank()).all(|axis| shape[axis] == 1 || self.strides[axis] == dense[axis])
    }

    /// What a movement from `from` to `to` makes of this, or `None` where the elements would have to move.
    pub fn moved(&self, movement: Movement, from: &Shape, to: &Shape) -> Option<StridedBuffer> {
        let mut located = self.clone();
        match movement {
            Movement::Permute(axes) => {
                located.strides = axes.iter().map(|&axis| self.strides[axis]).collect()
            }
            Movement::Expand => {
                for axis in 0..to.rank() {
                    if from[axis] != to[axis] {
                        located.strides[axis] = 0;
                    }
                }
            }
            Movement::Slice(ranges) => {
                for (axis, &SliceRange { start, step, .. }) in ranges.iter().enumerate() {
                    located.offset += start as isize * self.strides[axis];
                    located.strides[axis] *= step;
                }
            }
            Movement::Reshape => located.strides = reshaped(from, &self.strides, to)?,
        }
        Some(located)
    }

    /// The axes from the one with the largest stride to the one with the smallest; equal ones keep their order.
    pub fn axis_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.strides.len()).collect();
        order.sort_by_key(|&axis| std::cmp::Reverse(self.strides[axis].unsigned_abs()));
        order
    }
}

/// Strides under another shape. Axes are matched in groups of equal size; a group of several old axes must be nested
/// without gaps.
///
/// `[2, 3, 4]` with strides `[12, 4, 1]` → `[6, 4]`: `[4, 1]`; with strides `[4, 8, 1]` → none.
pub fn reshaped(from: &[usize], strides: &[isize], to: &[usize]) -> Option<Vec<isize>> {
    let old: Vec<(usize, isize)> = from
        .iter()
        .zip(strides)
        .filter(|(size, _)| **size != 1)
        .map(|(&size, &stride)| (size, stride))
        .collect();
    let mut result = vec![0; to.len()];
    let (mut next_old, mut next_new) = (0, 0);
    while next_new < to.len() {
        if to[next_new] == 1 {
            next_new += 1;
            continue;
        }
        let (first_old, first_new) = (next_old, next_new);
        let (mut old_size, mut new_size) = (1, 1);
        loop {
            if old_size <= new_size && next_old < old.len() && (old_size < new_size || old_size == 1) {
                old_size *= old[next_old].0;
                next_old += 1;
            } else if new_size < old_size && next_new < to.len() {
                new_size *= to[next_new];
                next_new += 1;
            } else {
                break;
            }
        }
        if old_size != new_size {
            return None;
        }
        let group = &old[first_old..next_old];
        if group.windows(2).any(|pair| pair[0].1 != pair[1].1 * pair[1].0 as isize) {
            return None;
        }
        let mut stride = group.last()?.1;
        for axis in (first_new..next_new).rev() {
            result[axis] = stride;
            stride *= to[axis] as isize;
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_keeps_strides_where_no_element_moves() {
        assert_eq!(reshaped(&[2, 3, 4], &[12, 4, 1], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(reshaped(&[2, 3, 4], &[4, 8, 1], &[6, 4]), None);
        assert_eq!(reshaped(&[6, 4], &[8, 2], &[2, 3, 1, 4]), Some(vec![24, 8, 0, 2]));
        assert_eq!(reshaped(&[4], &[0], &[2, 2]), Some(vec![0, 0]));
        assert_eq!(reshaped(&[1], &[7], &[1, 1]), Some(vec![0, 0]));
        assert_eq!(reshaped(&[4, 3], &[1, 4], &[12]), None);
        assert_eq!(reshaped(&[2, 3, 4], &[100, 4, 1], &[2, 12]), Some(vec![100, 1]));
    }
}
