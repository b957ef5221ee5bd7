//! The product proper: blocks as tasks, panels packed or read in place, tiles in registers.

use super::blocking::Blocking;
use super::kernels::{GemmNumber, Kernels};
use super::microkernel::MicroTile;
use super::pack::{Pack, SLACK};
use super::panel_packer::PanelPacker;
use super::{Gemm, GemmElement, Mat, ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::Level;
use crate::threads::{parallel, threads};
use std::ops::Range;

/// All that tasks know of a product.
#[derive(Clone, Copy)]
struct GemmJob<'a, S: GemmElement> {
    shape: Gemm,
    a: Mat<S>,
    b: PanelPacker<S>,
    out: &'a ResultSink<'a, S::Sum>,
    plan: Blocking,
    kernels: &'static Kernels<S::Sum>,
}

/// Columns of B as a task reads them.
#[derive(Clone, Copy)]
enum PanelSource<T> {
    /// Where they lie: the first one and the stride of rows.
    Direct(*const T, isize),
    /// Packed panels, one after the other.
    Packed(*const T),
    /// Not packed yet: each panel is, in this room, when its turn comes.
    Unpacked(*mut T),
}

/// Columns that were packed before the task began: their first number, and from one product of the batch to the next.
#[derive(Clone, Copy)]
struct PackedColumns<T> {
    start: *const T,
    batch: usize,
}

/// All of B, packed before the run.
#[derive(Clone, Copy, Debug)]
pub struct KeptColumns<T> {
    /// The panels of the first product.
    pub start: *const T,
    /// From one product to the next.
    pub batch: usize,
    /// Columns of a panel.
    pub panel: usize,
}

/// Rows and columns of one product.
struct ProductPart {
    batch: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Computes the batch. `kept`: where B is packed already.
///
/// # Safety
/// As for [`super::gemm`].
pub unsafe fn run<S: GemmElement>(
    level: Level,
    shape: Gemm,
    a: Mat<S>,
    b: Mat<S>,
    kept: Option<KeptColumns<S::Sum>>,
    out: &ResultSink<S::Sum>,
) {
    let kernels = S::Sum::KERNELS.at(level);
    let plan = Blocking::new(kernels, threads(), shape, &a, &b, kept.map(|kept| kept.panel));
    let b = PanelPacker::new(level, kernels, b, shape.k, plan.panel);
    let job = GemmJob { shape, a, b, out, plan, kernels };
    let packed = kept.map(|KeptColumns { start, batch, .. }| PackedColumns { start, batch });
    if !plan.shared_b {
        // SAFETY: as the caller says.
        return unsafe { job.tasks(0..shape.batch, 0..shape.n, packed) };
    }
    scratch::with(Purpose::SharedColumns, b.packed(plan.slab.min(shape.n)), |to: *mut S::Sum| {
        for batch in 0..shape.batch {
            for first in (0..shape.n).step_by(plan.slab) {
                let columns = first..shape.n.min(first + plan.slab);
                // SAFETY: as the caller says, and there is room for the packed columns.
                unsafe {
                    b.pack_for_all(batch, columns.clone(), to);
                    let packed = PackedColumns { start: to, batch: 0 };
                    job.tasks(batch..batch + 1, columns, Some(packed));
                }
            }
        }
    });
}

impl<S: GemmElement> GemmJob<'_, S> {
    /// Computes some columns of some products, a block in each task.
    unsafe fn tasks(
        &self,
        batches: Range<usize>,
        columns: Range<usize>,
        packed: Option<PackedColumns<S::Sum>>,
    ) {
        let plan = self.plan;
        let across = columns.len().div_ceil(plan.columns);
        // Whoever packs B for itself keeps it for all rows.
        let down = if packed.is_some() || plan.direct_b { self.shape.m.div_ceil(plan.rows) } else { 1 };
        let job = SendPtr((*self, packed));
        let task = |index: usize| {
            let (job, packed) = job.get();
            let batch = batches.start + index / (across * down);
            let first = columns.start + index % across * plan.columns;
            let block = first..columns.end.min(first + plan.columns);
            let rows = match down {
                1 => 0..job.shape.m,
                _ => {
                    let first = index / across % down * plan.rows;
                    first..job.shape.m.min(first + plan.rows)
                }
            };
            // SAFETY: tasks have blocks of their own; B is as the caller of `run` says or packed by now.
            unsafe {
                if plan.direct_b {
                    let Mat { ptr, row, col, batch: between } = job.b.b;
                    let origin = batch as isize * between + block.start as isize * col;
                    let start = ptr.wrapping_offset(origin).cast();
                    return job.block_rows(batch, rows, block, PanelSource::Direct(start, row));
                }
                if let Some(packed) = packed {
                    let first = batch * packed.batch + (block.start - columns.start) * job.shape.k;
                    return job.block_rows(batch, rows, block, PanelSource::Packed(packed.start.add(first)));
                }
                // Panels that are read once are packed when they are.
                let once = rows.len() <= plan.rows;
                let room = if once { plan.panel * plan.depth } else { job.b.packed(block.len()) };
                scratch::with(Purpose::Columns, room, |to: *mut S::Sum| {
                    let source = if once {
                        PanelSource::Unpacked(to)
                    } else {
                        job.b.pack(batch, block.clone(), to);
                        PanelSource::Packed(to.cast_const())
                    };
                    job.block_rows(batch, rows, block, source);
                });
            }
        };
        let tasks = batches.len() * across * down;
        let work = (columns.len() * batches.len()).saturating_mul(self.shape.m * self.shape.k);
        if work < super::blocking::WORTH_SPLITTING {
            (0..tasks).for_each(task);
        } else {
            // Small products of a large batch go several to a chunk.
            let together = (super::blocking::WORTH_SPLITTING / 2 * tasks / work).clamp(1, tasks);
            parallel(tasks.div_ceil(together), &|chunk| {
                (chunk * together..tasks.min((chunk + 1) * together)).for_each(&task);
            });
        }
    }

    /// Computes all blocks of some rows.
    unsafe fn block_rows(
        &self,
        batch: usize,
        rows: Range<usize>,
        block: Range<usize>,
        b: PanelSource<S::Sum>,
    ) {
        for first in rows.clone().step_by(self.plan.rows) {
            let rows = first..rows.end.min(first + self.plan.rows);
            let from =
                self.a.ptr.wrapping_offset(batch as isize * self.a.batch + first as isize * self.a.row);
            // SAFETY: as for the callers; the packed rows are read only here.
            unsafe {
                if self.plan.direct_a {
                    self.block(ProductPart { batch, rows, columns: block.clone() }, None, b);
                } else {
                    scratch::with(Purpose::Rows, rows.len() * self.shape.k + SLACK, |to: *mut S::Sum| {
                        let mut panel = to;
                        for (at, lanes) in self.row_panels(rows.len()) {
                            let from = from.wrapping_offset(at as isize * self.a.row);
                            let (lane_stride, step, depth) = (self.a.row, self.a.col, self.shape.k);
                            let (width, spills, to) = (lanes, true, panel);
                            self.b.pack_rows(&Pack {
                                from,
                                lane_stride,
                                step,
                                lanes,
                                width,
                                depth,
                                spills,
                                to,
                            });
                            panel = panel.add(lanes * depth);
                        }
                        self.block(ProductPart { batch, rows, columns: block.clone() }, Some(to), b);
                    });
                }
            }
        }
    }

    /// The panels of a block's rows: the first row and the number of rows of each, as equal as can be.
    fn row_panels(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<S> {
        let count = rows.div_ceil(self.kernels.tall);
        let (height, taller) = (rows / count, rows % count);
        (0..count)
            .map(move |index| (index * height + index.min(taller), height + usize::from(index < taller)))
    }

    /// Computes a block of one product and hands it over.
    unsafe fn block(&self, part: ProductPart, packed_a: Option<*const S::Sum>, b: PanelSource<S::Sum>) {
        let first = part.batch * self.shape.m;
        let rows = first + part.rows.start..first + part.rows.end;
        if let ResultSink::Store { start, stride } = self.out {
            let to = rows.start as isize * stride + part.columns.start as isize;
            // SAFETY: the block's part of C.
            return unsafe { self.sums(&part, packed_a, b, start.wrapping_offset(to), *stride) };
        }
        let line = 64 / size_of::<S::Sum>();
        let mut stride = part.columns.len().next_multiple_of(line);
        if stride * size_of::<S::Sum>() % 4096 == 0 {
            stride += line;
        }
        scratch::with(Purpose::Block, part.rows.len() * stride, |sums: *mut S::Sum| {
            // SAFETY: the scratch has room for the block, whose rows are nobody else's.
            unsafe {
                self.sums(&part, packed_a, b, sums, stride as isize);
                self.out.hand_over(ResultBlock { sums, stride, rows, columns: part.columns });
            }
        });
    }

    /// Adds up a block of the product.
    unsafe fn sums(
        &self,
        ProductPart { batch, rows, columns }: &ProductPart,
        packed_a: Option<*const S::Sum>,
        b: PanelSource<S::Sum>,
        c: *mut S::Sum,
        c_row: isize,
    ) {
        let (k, lanes) = (self.shape.k, self.kernels.lanes);
        let direct_a =
            self.a.ptr.wrapping_offset(*batch as isize * self.a.batch + rows.start as isize * self.a.row);
        let mut start = 0;
        loop {
            let depth = (k - start).min(self.plan.depth);
            for first in (0..columns.len()).step_by(self.plan.panel) {
                let width = (columns.len() - first).min(self.plan.panel);
                let (b, b_row) = match b {
                    PanelSource::Direct(from, row) => {
                        (from.wrapping_offset(first as isize + start as isize * row), row)
                    }
                    PanelSource::Packed(from) => {
                        let stride = width.next_multiple_of(lanes);
                        (from.wrapping_add(first * k + start * stride), stride as isize)
                    }
                    PanelSource::Unpacked(to) => {
                        let first = columns.start + first;
                        // SAFETY: the panel's columns are readable as `run`'s caller says, and the room is for a panel.
                        unsafe { self.b.pack_panel(*batch, first..first + width, start..start + depth, to) };
                        (to.cast_const(), width.next_multiple_of(lanes) as isize)
                    }
                };
                for (at, height) in self.row_panels(rows.len()) {
                    let (a, a_row, a_column) = match packed_a {
                        Some(from) => (from.wrapping_add(at * k + start * height), 1, height as isize),
                        None => {
                            let at = at as isize * self.a.row + start as isize * self.a.col;
                            (direct_a.wrapping_offset(at).cast(), self.a.row, self.a.col)
                        }
                    };
                    let mut done = 0;
                    while done < width {
                        let vectors = self.kernels.width(height, (width - done).div_ceil(lanes));
                        let tile = MicroTile {
                            depth,
                            a,
                            a_row,
                            a_column,
                            b: b.wrapping_add(done),
                            b_row,
                            c: c.wrapping_offset(at as isize * c_row).wrapping_add(first + done),
                            c_row,
                            last: (width - done - (vectors - 1) * lanes).min(lanes),
                            start: start == 0,
                        };
                        // SAFETY: the tile lies in the block, and its operands are readable as `run`'s caller says or
                        // packed; the kernels are of a level that the machine has.
                        unsafe { self.kernels.tile(height, vectors)(&tile) };
                        done += vectors * lanes;
                    }
                }
            }
            start += depth;
            if start >= k {
                return;
            }
        }
    }
}
