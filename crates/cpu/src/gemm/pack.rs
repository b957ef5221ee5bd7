//! Packing: a panel of A's rows or B's columns is copied so that a micro-kernel reads it in order.

use super::operand::GemmElement;
use crate::simd::stamp;
use crate::simd::transpose::{TRANSPOSED, TransposeBlock, transpose};
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
pub const SLACK: usize = TRANSPOSED;

/// Packs a panel.
///
/// # Safety
/// The elements are readable and `depth * width` numbers writable, or as many more as `spills` says. With 16 `LANES`, the caller is
/// compiled for AVX-512.
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
        } else if job.step == 1 && const { transposes::<S, LANES>() } {
            transposed::<S, LANES>(job);
        } else {
            for step in 0..job.depth {
                one_by_one(job, 0..job.lanes, step);
            }
        }
    }
}

/// Whether lanes are transposed in registers, which is worth its long code for what most products are of.
const fn transposes<S: GemmElement, const LANES: usize>() -> bool {
    LANES > 4 && size_of::<S::Sum>() == 4
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

/// Copies lanes whose steps lie side by side.
#[inline(always)]
unsafe fn transposed<S: GemmElement, const LANES: usize>(job: &Pack<S>) {
    let mut lane = 0;
    while lane < job.lanes {
        let lanes = (job.lanes - lane).min(TRANSPOSED);
        let mut step = 0;
        while step + TRANSPOSED <= job.depth {
            // SAFETY: a block of lanes and steps that are readable and writable.
            unsafe {
                let from = job.from.offset(lane as isize * job.lane_stride).add(step);
                let to = job.to.add(step * job.width + lane);
                if lanes == TRANSPOSED {
                    let block = load(from, job.lane_stride, TRANSPOSED);
                    store(&transpose::<_, LANES>(&block), to, job.width);
                } else if job.spills {
                    let block = load(from, job.lane_stride, lanes);
                    store(&transpose::<_, LANES>(&block), to, job.width);
                } else {
                    for at in 0..TRANSPOSED {
                        one_by_one(job, lane..lane + lanes, step + at);
                    }
                }
            }
            step += TRANSPOSED;
        }
        while step < job.depth {
            // SAFETY: the lanes and the step are among those of the job.
            unsafe { one_by_one(job, lane..lane + lanes, step) };
            step += 1;
        }
        lane += lanes;
    }
}

/// Loads a block of so many lanes; the rows it lacks are the last one again.
#[inline(always)]
unsafe fn load<S: GemmElement>(from: *const S, lane_stride: isize, lanes: usize) -> TransposeBlock<S::Sum> {
    let mut block: TransposeBlock<S::Sum> = [[S::Sum::default(); TRANSPOSED]; TRANSPOSED];
    for (lane, row) in block.iter_mut().enumerate() {
        let lane = lane.min(lanes - 1) as isize;
        // SAFETY: the caller has that many lanes of whole rows.
        let elements = unsafe { from.offset(lane * lane_stride).cast::<[S; TRANSPOSED]>().read() };
        if S::PLAIN {
            // SAFETY: plain elements are numbers already.
            *row = unsafe { std::mem::transmute_copy(&elements) };
        } else {
            for (number, element) in row.iter_mut().zip(elements) {
                *number = element.number();
            }
        }
    }
    block
}

/// Stores a transposed block, from the first step to the last: what one spills, the next one writes over.
#[inline(always)]
unsafe fn store<T: Copy>(block: &TransposeBlock<T>, to: *mut T, width: usize) {
    for (at, row) in block.iter().enumerate() {
        // SAFETY: the caller has room for whole rows, at steps `width` apart.
        unsafe { to.add(at * width).cast::<[T; TRANSPOSED]>().write(*row) };
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
