//! Columns of B in panels: packed before a run where B is the same for many, for all tasks of a run, by the task that reads
//! them, or a panel at a time while it is in the nearest cache.

use std::ops::Range;

use super::kernels::Kernels;
use super::pack::{Pack, Packer, packer};
use super::{GemmElement, Mat};
use crate::send_ptr::SendPtr;
use crate::simd::Level;
use crate::threads::{parallel, threads};

/// Numbers that are worth a task of their own.
const TASK: usize = 8192;

/// B as panels are packed of it.
#[derive(Clone, Copy)]
pub struct PanelPacker<S: GemmElement> {
    /// The matrices.
    pub b: Mat<S>,
    /// Their rows.
    pub depth: usize,
    /// Columns of a panel, but for the last: whole vectors.
    pub panel: usize,
    lanes: usize,
    packer: Packer<S>,
}

impl<S: GemmElement> PanelPacker<S> {
    /// Such panels for a level's kernels.
    pub fn new(
        level: Level,
        kernels: &Kernels<S::Sum>,
        b: Mat<S>,
        depth: usize,
        panel: usize,
    ) -> PanelPacker<S> {
        PanelPacker { b, depth, panel, lanes: kernels.lanes, packer: packer::<S>().at(level) }
    }

    /// How many numbers so many packed columns have.
    pub fn packed(&self, columns: usize) -> usize {
        columns.next_multiple_of(self.lanes) * self.depth
    }

    /// Packs rows of A, as columns are.
    ///
    /// # Safety
    /// As [`super::pack::pack`].
    pub unsafe fn pack_rows(&self, rows: &Pack<S>) {
        // SAFETY: the caller's promise; the packer is of a level that the machine has.
        unsafe { (self.packer)(rows) };
    }

    /// Packs some steps of a panel.
    ///
    /// # Safety
    /// The columns are readable, and there is room for so many steps of whole vectors.
    pub unsafe fn pack_panel(
        &self,
        batch: usize,
        columns: Range<usize>,
        steps: Range<usize>,
        to: *mut S::Sum,
    ) {
        let Mat { ptr, row: step, col: lane_stride, batch: between } = self.b;
        let first = columns.start as isize * lane_stride + steps.start as isize * step;
        let from = ptr.wrapping_offset(batch as isize * between + first);
        let (lanes, depth) = (columns.len(), steps.len());
        let width = lanes.next_multiple_of(self.lanes);
        // SAFETY: the caller's promise; the packer is of a level that the machine has.
        unsafe { (self.packer)(&Pack { from, lane_stride, step, lanes, width, depth, spills: false, to }) };
    }

    /// Packs columns, panel by panel.
    ///
    /// # Safety
    /// The columns are readable, and there is room for [`Columns::packed`] numbers.
    pub unsafe fn pack(&self, batch: usize, columns: Range<usize>, mut to: *mut S::Sum) {
        for first in columns.clone().step_by(self.panel) {
            let panel = first..columns.end.min(first + self.panel);
            let len = self.packed(panel.len());
            // SAFETY: the caller's promise.
            unsafe {
                self.pack_panel(batch, panel, 0..self.depth, to);
                to = to.add(len);
            }
        }
    }

    /// The same, some panels in each task.
    ///
    /// # Safety
    /// As [`Columns::pack`].
    pub unsafe fn pack_for_all(&self, batch: usize, columns: Range<usize>, to: *mut S::Sum) {
        let panels = columns.len().div_ceil(self.panel);
        let least = (TASK / (self.panel * self.depth.max(1))).max(1);
        let chunk = panels.div_ceil(2 * threads()).max(least);
        let job = SendPtr((*self, to));
        parallel(panels.div_ceil(chunk), &|index| {
            let (job, to) = job.get();
            let first = columns.start + index * chunk * job.panel;
            let last = columns.end.min(first + chunk * job.panel);
            // SAFETY: each chunk writes its own panels.
            unsafe { job.pack(batch, first..last, to.add((first - columns.start) * job.depth)) };
        });
    }
}
