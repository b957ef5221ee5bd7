//! A loop nest that moves several views at once, made as short as it can be when a program is loaded.

use std::ops::Range;

use super::super::MOST_LOOPS;

/// Loops and, for each, how far it moves each of `N` views.
#[derive(Clone, Debug)]
pub(crate) struct StridedLoops<const N: usize> {
    /// Outermost first; never empty.
    loops: Vec<(usize, [isize; N])>,
    points: usize,
}

/// Moves every view some steps.
#[inline(always)]
fn shift<const N: usize>(offsets: &mut [isize; N], strides: &[isize; N], steps: isize) {
    for (offset, stride) in offsets.iter_mut().zip(strides) {
        *offset += steps * stride;
    }
}

impl<const N: usize> StridedLoops<N> {
    /// The same points in the same order with the fewest loops: those of size one go, and neighbours that move every
    /// view as one loop would are one.
    pub(crate) fn new(loops: impl IntoIterator<Item = (usize, [isize; N])>) -> StridedLoops<N> {
        StridedLoops::shortest(&mut loops.into_iter())
    }

    fn shortest(loops: &mut dyn Iterator<Item = (usize, [isize; N])>) -> StridedLoops<N> {
        let mut short: Vec<(usize, [isize; N])> = Vec::new();
        for (size, strides) in loops {
            if size == 1 {
                continue;
            }
            match short.last_mut() {
                Some((outer, steps))
                    if *steps == strides.map(|stride| stride.wrapping_mul(size as isize)) =>
                {
                    *outer *= size;
                    *steps = strides;
                }
                _ => short.push((size, strides)),
            }
        }
        if short.is_empty() {
            short.push((1, [0; N]));
        }
        let points =
            if short.iter().any(|&(size, _)| size == 0) { 0 } else { short.iter().map(|l| l.0).product() };
        StridedLoops { loops: short, points }
    }

    /// How many points there are.
    pub(crate) fn points(&self) -> usize {
        self.points
    }

    /// Whether it is one loop (or point) that moves the views by `strides`.
    pub(crate) fn is_run(&self, strides: [isize; N]) -> bool {
        self.loops.len() == 1 && (self.points <= 1 || self.loops[0].1 == strides)
    }

    /// How far the innermost loop moves each view.
    pub(crate) fn inner(&self) -> [isize; N] {
        self.loops[self.loops.len() - 1].1
    }

    /// How far each view has moved at a point.
    pub(crate) fn at(&self, point: usize) -> [isize; N] {
        let mut found = [0; N];
        self.runs(point..point + 1, &mut |_, offsets, _| found = offsets);
        found
    }

    /// Walks a range of points in order, as runs along the innermost loop: the number of the run's first point, how
    /// far each view has moved there, and how many points it has.
    pub(crate) fn runs(&self, points: Range<usize>, visit: &mut dyn FnMut(usize, [isize; N], usize)) {
        let Range { start, end } = points;
        if start >= end {
            return;
        }
        let (inner, outer) = (self.loops[self.loops.len() - 1], &self.loops[..self.loops.len() - 1]);
        let mut counters = [0usize; MOST_LOOPS];
        let mut offsets = [0isize; N];
        let mut rest = start / inner.0;
        for (counter, &(size, strides)) in counters.iter_mut().zip(outer).rev() {
            *counter = rest % size;
            rest /= size;
            shift(&mut offsets, &strides, *counter as isize);
        }
        let (mut point, mut skip) = (start, start % inner.0);
        loop {
            let count = (inner.0 - skip).min(end - point);
            let mut first = offsets;
            shift(&mut first, &inner.1, skip as isize);
            visit(point, first, count);
            point += count;
            skip = 0;
            if point >= end {
                return;
            }
            for (counter, &(size, strides)) in counters.iter_mut().zip(outer).rev() {
                *counter += 1;
                let wraps = *counter == size;
                shift(&mut offsets, &strides, if wraps { 1 - size as isize } else { 1 });
                if !wraps {
                    break;
                }
                *counter = 0;
            }
        }
    }

    /// Walks a range of points in order: a point's number and how far each view has moved.
    #[inline]
    pub(crate) fn each(&self, points: Range<usize>, mut visit: impl FnMut(usize, [isize; N])) {
        let inner = self.inner();
        self.runs(points, &mut |first, mut offsets, count| {
            for point in first..first + count {
                visit(point, offsets);
                shift(&mut offsets, &inner, 1);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_merge_and_ones_go() {
        let nest = StridedLoops::new([(2, [12, 0]), (1, [7, 7]), (3, [4, 0]), (4, [1, 0])]);
        assert_eq!(nest.loops, [(24, [1, 0])]);
        assert!(nest.is_run([1, 0]));
        assert_eq!(StridedLoops::new([(1, [3])]).points(), 1);
        assert_eq!(StridedLoops::new([(3, [3]), (0, [1])]).points(), 0);
    }

    #[test]
    fn every_range_is_walked_in_order() {
        let nest = StridedLoops::new([(2, [100, 1]), (3, [-7, 10]), (4, [5, 0])]);
        let mut all = Vec::new();
        for a in 0..2 {
            for b in 0..3 {
                for c in 0..4 {
                    all.push([a * 100 - b * 7 + c * 5, a + b * 10]);
                }
            }
        }
        for start in 0..24 {
            for end in start..=24 {
                let mut seen = Vec::new();
                nest.each(start..end, |point, offsets| {
                    assert_eq!(point, start + seen.len());
                    seen.push(offsets);
                });
                assert_eq!(seen, all[start..end]);
            }
            assert_eq!(nest.at(start), all[start]);
        }
    }
}
