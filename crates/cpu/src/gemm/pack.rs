//! Packing: a panel of A's rows or B's columns is copied so that a micro-kernel reads it in order.

use super::operand::GemmElement;
use crate::simd::stamp;
use crate::simd::transpose::{WIDEST_SIDE, side, transpose};
use std::ops::Range;

/// A panel to pack: `to[k * width + lane] = from[lane * lane_stride + k * step]` for each lane of the panel, zero for
/// the lanes up to `width` that it lacks.
#[derive(Clone, Copy, Debug)]
pub struct Pack<S: GemmElement> {
    /// The panel's first element.
    pub from: *const S,
    /// From one row of A, or column of B, to the next.
    pub lane_stride: isize,
    /// From one product of the sum to the next.
    pub step: isize,
    /// How many rows of A, or columns of B.
    pub lanes: usize,
    /// How far apart in the panel two neighbours of a lane are.
    pub width: usize,
    /// How many products a sum has.
    pub depth: usize,
    /// Whether steps may be stored as whole vectors that reach into the next ones, which are written later. Needs
    /// `width <= SLACK`, and [`SLACK`] numbers of room behind the panel.
    pub spills: bool,
    /// Where the panel goes.
    pub to: *mut S::Sum,
}

/// A packing function.
pub type Packer<S> = unsafe fn(&Pack<S>);

stamp! {
    /// The packing function of an element type.
    pub fn packer<S: GemmElement>(job: &Pack<S>) = pack::<S, LANES>;
}

/// Numbers behind a panel that spills, which packing may overwrite.
pub const SLACK: usize = WIDEST_SIDE;

/// Packs a panel.
///
/// # Safety
/// The elements are readable and `depth * width` numbers writable, or as many more as `spills` says. The caller is compiled for a
/// level of so many lanes.
#[inline(always)]
pub unsafe fn pack<S: GemmElement, const LANES: usize>(job: &Pack<S>) {
    // SAFETY: as the caller says; each branch handles lanes below `lanes` and steps below `depth`, and writes below `width`.
    unsafe {
        if job.lanes < job.width {
            for step in 0..job.depth {
                for lane in job.lanes..job.width {
                    job.to.add(step * job.width + lane).write(S::Sum::default());
                }
            }
        }
        if job.lane_stride == 1 {
            rows::<S, LANES>(job);
        } else if job.step == 1 {
            transposed::<S, LANES>(job);
        } else {
            for step in 0..job.depth {
                one_by_one(job, 0..job.lanes, step);
            }
        }
    }
}

/// Copies rows of lanes that lie side by side.
#[inline(always)]
unsafe fn rows<S: GemmElement, const LANES: usize>(job: &Pack<S>) {
    let whole = job.lanes / LANES * LANES;
    for step in 0..job.depth {
        // SAFETY: the lanes of this step are readable and writable.
        unsafe {
            let from = job.from.offset(step as isize * job.step);
            let to = job.to.add(step * job.width);
            let mut lane = 0;
            while lane < whole {
                let block = from.add(lane).cast::<[S; LANES]>().read();
                let mut numbers = [S::Sum::default(); LANES];
                for index in 0..LANES {
                    numbers[index] = block[index].number();
                }
                to.add(lane).cast::<[S::Sum; LANES]>().write(numbers);
                lane += LANES;
            }
            while lane < job.lanes {
                to.add(lane).write(from.add(lane).read().number());
                lane += 1;
            }
        }
    }
}

/// Copies lanes whose steps lie side by side, squares of them in registers. The last lanes come first, so that what a square of
/// too few of them spills into the next step is written over.
#[inline(always)]
unsafe fn transposed<S: GemmElement, const LANES: usize>(job: &Pack<S>) {
    let side = const { side::<S::Sum, LANES>() };
    for first in (0..job.lanes).step_by(side).rev() {
        let lanes = (job.lanes - first).min(side);
        let row =
            |at: usize| job.from.wrapping_offset((first + at.min(lanes - 1)) as isize * job.lane_stride);
        let whole = if lanes == side || job.spills { job.depth / side * side } else { 0 };
        // SAFETY: a square of lanes and steps that are readable and writable; the lanes it lacks are the last one again.
        unsafe {
            for step in (0..whole).step_by(side) {
                let to = job.to.add(step * job.width + first);
                if S::PLAIN {
                    transpose::<S::Sum, LANES>(|at| row(at).add(step).cast(), to, job.width);
                } else {
                    let mut numbers = [[S::Sum::default(); WIDEST_SIDE]; WIDEST_SIDE];
                    for (at, line) in numbers.iter_mut().enumerate().take(side) {
                        for (next, number) in line.iter_mut().enumerate().take(side) {
                            *number = row(at).add(step + next).read().number();
                        }
                    }
                    transpose::<S::Sum, LANES>(|at| numbers[at].as_ptr(), to, job.width);
                }
            }
            for step in whole..job.depth {
                one_by_one(job, first..first + lanes, step);
            }
        }
    }
}

/// Copies some lanes of a step, wherever they lie.
#[inline(always)]
unsafe fn one_by_one<S: GemmElement>(job: &Pack<S>, lanes: Range<usize>, step: usize) {
    for lane in lanes {
        // SAFETY: the lane and the step are among those of the job.
        unsafe {
            let from = job.from.offset(lane as isize * job.lane_stride + step as isize * job.step);
            job.to.add(step * job.width + lane).write(from.read().number());
        }
    }
}
