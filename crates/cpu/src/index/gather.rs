//! Gather: whole rows where the index doesn't move along some loops (an embedding look-up, a batch's rows), single
//! elements elsewhere.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_compile::program::{Indexed, Kernel, View};
use kiln_ir::Result;

use super::super::bases::Bases;
use super::super::call::KernelCall;
use super::loops::StridedLoops;
use super::{chunks, each_size, out_of_range};
use crate::send_ptr::SendPtr;
use crate::simd::prefetch;

/// How many rows ahead of the copy a row is fetched into the cache.
const AHEAD: usize = 6;

/// A gather with its loops sorted: those that find rows, and those within a row.
struct Gather {
    /// Moves the index, `x` (but for the index's own contribution) and the result.
    rows: StridedLoops<3>,
    /// Moves `x` and the result; the index stands still.
    row: StridedLoops<2>,
    /// How far one step of the index moves `x`.
    step: isize,
    /// What indices stay below.
    size: usize,
    x: View,
    index: View,
    out: View,
}

/// Makes a gather ready to run.
pub(in super::super) fn prepare(kernel: &Kernel, work: &Indexed) -> KernelCall {
    let loops = work.loops.iter().enumerate();
    let within = |axis: usize| axis != work.axis && work.index.strides[axis] == 0;
    let gather = Gather {
        rows: StridedLoops::new(loops.clone().filter(|&(axis, _)| !within(axis)).map(|(axis, &size)| {
            let x = if axis == work.axis { 0 } else { work.x.strides[axis] };
            (size, [work.index.strides[axis], x, work.out.strides[axis]])
        })),
        row: StridedLoops::new(
            loops
                .filter(|&(axis, _)| within(axis))
                .map(|(axis, &size)| (size, [work.x.strides[axis], work.out.strides[axis]])),
        ),
        step: work.x.strides[work.axis],
        size: work.size,
        x: work.x.clone(),
        index: work.index.clone(),
        out: work.out.clone(),
    };
    let at = kernel.at;
    each_size!(work.x.dtype.size(), T => Box::new(move |bases: &Bases| -> Result<()> {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        match unsafe { gather.run::<T>(bases) } {
            None => Ok(()),
            Some(index) => Err(out_of_range("gather", index, gather.size, at)),
        }
    }))
}

impl Gather {
    /// Copies everything, or returns the first index (in row-major order of each part of the work) out of range.
    ///
    /// # Safety
    /// The views lie inside of the buffers in `bases` for the work's loops; nothing else touches what is written.
    unsafe fn run<T: Copy>(&self, bases: &Bases) -> Option<i64> {
        let x = SendPtr(bases.origin::<T>(&self.x));
        let index = SendPtr(bases.origin::<i64>(&self.index));
        let out = SendPtr(bases.origin::<T>(&self.out));
        if self.row.points() == 0 {
            return None;
        }
        let bad = AtomicUsize::new(usize::MAX);
        chunks(self.rows.points(), self.row.points() * size_of::<T>(), &|points| {
            let mut stop = false;
            self.rows.runs(points, &mut |first, offsets, count| {
                if !stop {
                    // SAFETY: as for this function; chunks write distinct rows.
                    let copied = unsafe { self.copy(x.get(), index.get(), out.get(), first, offsets, count) };
                    if let Err(point) = copied {
                        bad.fetch_min(point, Ordering::Relaxed);
                        stop = true;
                    }
                }
            });
        });
        let bad = bad.into_inner();
        // SAFETY: the point is one of the index's.
        (bad != usize::MAX).then(|| unsafe { index.get().offset(self.rows.at(bad)[0]).read() })
    }

    /// One run of rows; the number of the point whose index is out of range, if there is one.
    ///
    /// # Safety
    /// As for [`Gather::run`].
    #[inline]
    unsafe fn copy<T: Copy>(
        &self,
        x: *const T,
        index: *const i64,
        out: *mut T,
        first: usize,
        offsets: [isize; 3],
        count: usize,
    ) -> Result<(), usize> {
        let [index_step, x_step, out_step] = self.rows.inner();
        // SAFETY: points of the run are points of the index.
        let row_of = |i: usize| unsafe { index.offset(offsets[0] + i as isize * index_step).read() };
        let x_at = |i: usize, row: i64| offsets[1] + i as isize * x_step + row as isize * self.step;
        let whole = self.row.is_run([1, 1]);
        let len = self.row.points();
        for i in 0..count {
            let row = row_of(i);
            if row as u64 >= self.size as u64 {
                return Err(first + i);
            }
            let (from, to) = (x_at(i, row), offsets[2] + i as isize * out_step);
            if len == 1 {
                // SAFETY: the index is within the axis, so this is an element of `x`; the other is one of the result.
                unsafe { out.offset(to).write(x.offset(from).read()) };
            } else if whole {
                if i + AHEAD < count {
                    let next = row_of(i + AHEAD);
                    if (next as u64) < self.size as u64 {
                        prefetch(x.wrapping_offset(x_at(i + AHEAD, next)), len);
                    }
                }
                // SAFETY: as above for a whole row; `x` and the result don't overlap.
                unsafe { x.offset(from).copy_to_nonoverlapping(out.offset(to), len) };
            } else {
                // SAFETY: as above for each element of the row.
                self.row
                    .each(0..len, |_, [a, b]| unsafe { out.offset(to + b).write(x.offset(from + a).read()) });
            }
        }
        Ok(())
    }
}
