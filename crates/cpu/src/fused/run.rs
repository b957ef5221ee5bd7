//! Shares out the tiles of a planned kernel.

use std::ops::Range;

use kiln_compile::program::{Fused, Operation};

use super::folds::{part, parts};
use super::frame::{EpilogueInput, with_frame};
use super::plan::{FusedPlan, WalkOrder};
use super::steps::TileFold;
use super::{convert, stream, transfer};
use crate::bases::Bases;
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::Level;
use crate::threads::parallel;

/// Weighted points that are worth a task of their own.
const GRAIN: usize = 64 * 1024;
/// A fused kernel made ready.
#[derive(Debug)]
pub(crate) struct Interpreter {
    plan: FusedPlan,
    plain: Option<Plain>,
}

/// An epilogue that only stores: the contraction may write there itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// The buffer, the element at row and column zero, and the distance between rows; columns are contiguous.
    pub(crate) buffer: usize,
    pub(crate) offset: isize,
    pub(crate) row_stride: isize,
}

impl Interpreter {
    /// Plans a kernel for a level of the processor.
    pub(crate) fn new(fused: &Fused, level: Level) -> Interpreter {
        let plain = plain(fused);
        Interpreter { plan: FusedPlan::new(&convert::stores(fused), level), plain }
    }

    /// Where the accumulator goes, if this is an epilogue that does nothing but store it in its own dtype.
    pub(crate) fn plain(&self) -> Option<Plain> {
        self.plain
    }

    /// Runs the kernel.
    ///
    /// # Safety
    /// The program was checked; `bases` are its buffers, which nothing else uses meanwhile.
    pub(crate) unsafe fn run(&self, bases: &Bases) {
        let plan = &self.plan;
        // SAFETY: the caller's promise.
        unsafe {
            match plan.shape {
                WalkOrder::Rows => run_rows(plan, bases),
                WalkOrder::Folds => run_folds(plan, bases),
            }
        }
    }

    /// Runs the kernel as the epilogue of a block of `rows` and `columns`, `stride` lanes from row to row.
    ///
    /// # Safety
    /// As [`Interpreter::run`]; `sums` holds the block, in lanes of the accumulator's dtype.
    pub(crate) unsafe fn run_block(
        &self,
        bases: &Bases,
        sums: *const u8,
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let source = EpilogueInput { sums, stride, first_row: rows.start, first_column: columns.start };
        with_frame(&self.plan, bases, None, |frame| {
            frame.source = Some(source);
            // SAFETY: the caller's promise.
            unsafe { frame.tiles(&self.plan.passes[0], rows, columns) };
        });
    }
}

fn plain(fused: &Fused) -> Option<Plain> {
    let ([instruction], [store]) = (fused.body.as_slice(), fused.stores.as_slice()) else { return None };
    let view = &store.view;
    let last = *view.strides.last()?;
    let same = instruction.operation == Operation::Accumulator && instruction.dtype == view.dtype;
    if !same || !transfer::is_lane(view.dtype) || (last != 1 && fused.loops.last() != Some(&1)) {
        return None;
    }
    let outer = fused.loops.len() - 1;
    let row_stride = view.strides[..outer].last().copied().unwrap_or(0);
    let nested = (1..outer).all(|d| view.strides[d - 1] == view.strides[d] * fused.loops[d] as isize);
    nested.then_some(Plain { buffer: view.buffer, offset: view.offset, row_stride })
}

/// # Safety
/// As [`Interpreter::run`].
unsafe fn run_rows(plan: &FusedPlan, bases: &Bases) {
    let rows: usize = plan.rows.iter().product();
    let total = rows * plan.columns;
    let grain = (GRAIN / plan.weight).max(total / 64).max(1);
    // Long rows without folds are cut too.
    let cut = plan.columns > 2 * grain && plan.tile_columns < plan.columns;
    let width = if cut { grain.next_multiple_of(plan.tile_columns) } else { plan.columns };
    let pieces = plan.columns.div_ceil(width);
    let streams = plan.passes[0].stores.iter().any(|target| target.stream.is_some());
    let height = if cut { 1 } else { (grain / plan.columns.max(1)).max(1).next_multiple_of(plan.tile_rows) };
    parallel(rows.div_ceil(height) * pieces, &|task| {
        let (first, left) = (task / pieces * height, task % pieces * width);
        with_frame(plan, bases, None, |frame| {
            // SAFETY: tasks have rows and columns of their own.
            unsafe {
                let columns = left..(left + width).min(plan.columns);
                frame.tiles(&plan.passes[0], first..(first + height).min(rows), columns);
            }
        });
        if streams {
            stream::finish();
        }
    });
}

/// # Safety
/// As [`Interpreter::run`].
unsafe fn run_folds(plan: &FusedPlan, bases: &Bases) {
    let rows: usize = plan.rows.iter().product();
    let groups: usize = plan.groups.iter().product();
    let strips = if plan.columns_fold { 1 } else { plan.columns.div_ceil(plan.tile_columns) };
    let strip = |number: usize| {
        let left = number * plan.tile_columns;
        if plan.columns_fold { 0..plan.columns } else { left..(left + plan.tile_columns).min(plan.columns) }
    };
    let units = groups * strips;
    let width = if plan.columns_fold { plan.columns } else { plan.tile_columns };
    let work = rows * width * plan.weight;
    let points = if plan.columns_fold { rows * plan.columns } else { rows };
    let blocks = parts(points);
    let stride = plan.sums();
    let unit = |number: usize, blocks_in_parallel: bool| {
        let (group, columns) = (number / strips, strip(number % strips));
        scratch::with(Purpose::Folds, (blocks + 1) * stride + plan.kept, |memory: *mut u8| {
            let kept = memory.wrapping_add(blocks * stride);
            for pass in &plan.passes {
                // Values between the passes.
                with_frame(plan, bases, Some(kept), |frame| {
                    frame.enter(group);
                    // SAFETY: this unit's kept values and stores are nobody else's.
                    unsafe { frame.kept(pass, columns.clone()) };
                });
                if pass.tiles.is_empty() && pass.stores.is_empty() {
                    continue;
                }
                let (memory, kept) = (SendPtr(memory), SendPtr(kept));
                let block = |block: usize| {
                    with_frame(plan, bases, Some(kept.get()), |frame| {
                        frame.enter(group);
                        frame.sums = memory.get().wrapping_add(block * stride);
                        // SAFETY: the block's sums and points are nobody else's.
                        unsafe { frame.block(pass, part(points, block), columns.clone()) };
                    });
                };
                match blocks_in_parallel {
                    true => parallel_if(blocks, work, &block),
                    false => (0..blocks).for_each(block),
                }
                for (&fold, offset) in
                    pass.folds.iter().zip(pass.folds.iter().map(|&fold| plan.sum_offset(fold)))
                {
                    let TileFold { into, lane, value, .. } = &plan.folds[fold];
                    let lanes = if plan.columns_fold { 1 } else { columns.len() };
                    let target = kept.get().wrapping_add(plan.values[*value].register);
                    for block in 0..blocks {
                        let part = memory.get().wrapping_add(block * stride + offset);
                        // SAFETY: the kept value and the block's sums are memory of this unit.
                        unsafe {
                            match block {
                                0 => std::ptr::copy_nonoverlapping(part, target, lanes * lane.size()),
                                _ => into(target, target, part, target, lanes),
                            }
                        }
                    }
                }
            }
        });
    };
    if units >= 4 {
        parallel_if(units, work * units, &|number| unit(number, false));
    } else {
        (0..units).for_each(|number| unit(number, true));
    }
}

/// Shares out only what is worth it.
fn parallel_if(tasks: usize, work: usize, body: &(dyn Fn(usize) + Sync)) {
    if work < GRAIN { (0..tasks).for_each(body) } else { parallel(tasks, body) }
}
