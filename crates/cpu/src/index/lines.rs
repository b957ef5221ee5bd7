//! The lines along an axis, for searches, sorts and running sums: which there are is found without knowing their
//! elements, so that only what is done with a line is compiled for each type.

use kiln_compile::program::AlongAxis;

use super::super::call::KernelCall;
use super::chunks;
use super::loops::StridedLoops;
use crate::send_ptr::SendPtr;

/// Lines that lie equally far apart. Distances are in elements, of the operand and of the result.
pub(super) struct Lines {
    x: *const u8,
    out: *mut u8,
    first: [isize; 2],
    /// How many lines.
    pub(super) count: usize,
    /// From one line to the next.
    pub(super) apart: [isize; 2],
    /// From one element of a line to the next.
    pub(super) step: [isize; 2],
    /// How many elements a line has.
    pub(super) len: usize,
}

impl Lines {
    /// The first line's first element.
    #[inline]
    pub(super) fn x<T>(&self) -> *const T {
        self.x.cast::<T>().wrapping_offset(self.first[0])
    }

    /// The first line's first result.
    #[inline]
    pub(super) fn out<T>(&self) -> *mut T {
        self.out.cast::<T>().wrapping_offset(self.first[1])
    }
}

/// Work along an axis that hands all lines to `each`, on several threads where a line's `bytes` make it worth while. The
/// lines are those of a program that was checked when it was loaded, and no two calls have the same.
pub(super) fn call(work: &AlongAxis, bytes: usize, each: Box<dyn Fn(&Lines) + Send + Sync>) -> KernelCall {
    let last = work.loops.len() - 1;
    let len = work.loops[last];
    let step = [work.x.strides[last], work.out.strides[last]];
    let outer = StridedLoops::new(
        (0..last).map(|axis| (work.loops[axis], [work.x.strides[axis], work.out.strides[axis]])),
    );
    let (x, out) = (work.x.clone(), work.out.clone());
    Box::new(move |bases| {
        let starts = SendPtr((bases.start(x.buffer).cast_const(), bases.start(out.buffer)));
        let apart = outer.inner();
        chunks(outer.points(), bytes, &|points| {
            outer.runs(points, &mut |_, [from, to], count| {
                let (from, to) = (x.offset + from, out.offset + to);
                let (x, out) = starts.get();
                each(&Lines { x, out, first: [from, to], count, apart, step, len });
            });
        });
        Ok(())
    })
}
