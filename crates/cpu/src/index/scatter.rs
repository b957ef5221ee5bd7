//! Scatter. Each result element takes its sources in the order of the index, whatever the number of threads: work is
//! split where no two parts meet in one element, along a loop that moves the result by itself, or by destination.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_compile::program::{Indexed, Kernel, View};
use kiln_ir::half::{bf16, f16};
use kiln_ir::op::ScatterMode;
use kiln_ir::{DType, Error, ErrorKind, Result};

use super::super::bases::Bases;
use super::super::call::KernelCall;
use super::super::threads;
use super::loops::StridedLoops;
use super::{LEAST_BYTES, each_size, out_of_range};

/// The most parts work is split into.
const PARTS: usize = 16;

/// The least bytes a piece of a loop spans: threads that write closer to each other get in each other's way.
const PIECE: usize = 512;

/// A share of the work that no other share meets in any element of the result.
struct ScatterShare {
    /// Moves the index, the source and (but for the index's own contribution) the result.
    rows: StridedLoops<3>,
    /// Moves source and result; the index stands still.
    row: StridedLoops<2>,
    /// How far the share's first point is from the whole's, in index, source and result.
    start: [isize; 3],
    /// The destinations along the axis that this share serves.
    serves: Range<usize>,
}

struct Scatter {
    /// All of the work, for one thread.
    whole: [ScatterShare; 1],
    /// The same work in shares.
    parts: Vec<ScatterShare>,
    step: isize,
    size: usize,
    x: View,
    index: View,
    out: View,
}

/// What one part does; compiled for each type of elements, as little as there can be.
type Put = Box<dyn Fn(&Scatter, &ScatterShare, &Bases) -> Option<usize> + Send + Sync>;

/// Addition as scatter does it.
trait Plus: Copy {
    fn plus(self, other: Self) -> Self;
}

macro_rules! plus {
    ($($type:ty: |$a:ident, $b:ident| $sum:expr;)*) => {$(
        impl Plus for $type {
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $sum
            }
        }
    )*};
}

plus! {
    u8: |a, b| a.wrapping_add(b);
    u16: |a, b| a.wrapping_add(b);
    i32: |a, b| a.wrapping_add(b);
    i64: |a, b| a.wrapping_add(b);
    f16: |a, b| f16::from_f32(f32::from(a) + f32::from(b));
    bf16: |a, b| bf16::from_f32(f32::from(a) + f32::from(b));
    f32: |a, b| a + b;
    f64: |a, b| a + b;
}

/// Makes a scatter ready to run.
pub(in super::super) fn prepare(kernel: &Kernel, work: &Indexed, mode: ScatterMode) -> Result<KernelCall> {
    fn put<T: Copy + 'static>(combine: impl Fn(T, T) -> T + Copy + Send + Sync + 'static) -> Put {
        // SAFETY: `Scatter::run` asks for as much.
        Box::new(move |scatter, part, bases| unsafe { scatter.put(part, bases, combine) })
    }
    let scatter = Scatter {
        whole: [part(work, None, 0..work.size)],
        parts: split(work),
        step: work.out.strides[work.axis],
        size: work.size,
        x: work.x.clone(),
        index: work.index.clone(),
        out: work.out.clone(),
    };
    let put = match (mode, work.x.dtype) {
        (ScatterMode::Set, dtype) => each_size!(dtype.size(), T => put::<T>(|_, new| new)),
        (ScatterMode::Add, DType::U8) => put::<u8>(Plus::plus),
        (ScatterMode::Add, DType::U16) => put::<u16>(Plus::plus),
        (ScatterMode::Add, DType::I32) => put::<i32>(Plus::plus),
        (ScatterMode::Add, DType::I64) => put::<i64>(Plus::plus),
        (ScatterMode::Add, DType::F16) => put::<f16>(Plus::plus),
        (ScatterMode::Add, DType::Bf16) => put::<bf16>(Plus::plus),
        (ScatterMode::Add, DType::F32) => put::<f32>(Plus::plus),
        (ScatterMode::Add, DType::F64) => put::<f64>(Plus::plus),
        (ScatterMode::Add, DType::Bool) => {
            return Err(Error::new(ErrorKind::DType, "scatter", "bools can't be added").nowhere());
        }
    };
    let at = kernel.at;
    Ok(Box::new(move |bases: &Bases| -> Result<()> {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        match unsafe { scatter.run(bases, &put) } {
            None => Ok(()),
            Some(index) => Err(out_of_range("scatter", index, scatter.size, at)),
        }
    }))
}

/// Cuts the work along a loop that isn't the axis, where the pieces are wide enough, else by destination. A loop that
/// moves the index is best: each piece then has indices of its own. Otherwise each piece reads all of them.
fn split(work: &Indexed) -> Vec<ScatterShare> {
    let bytes = work.loops.iter().product::<usize>().saturating_mul(work.x.dtype.size());
    let wanted = PARTS.min(bytes / LEAST_BYTES);
    if wanted <= 1 {
        return vec![part(work, None, 0..work.size)];
    }
    let step = |axis: usize| work.out.strides[axis].unsigned_abs() * work.out.dtype.size();
    let grain = |axis: usize| PIECE.div_ceil(step(axis).max(1));
    let cuttable = |&axis: &usize| axis != work.axis && work.loops[axis] >= 2 * grain(axis);
    let moves = |axis: usize| work.index.strides[axis] != 0;
    match (0..work.loops.len()).filter(cuttable).max_by_key(|&axis| (moves(axis), step(axis))) {
        Some(axis) => {
            let most = if moves(axis) { wanted } else { wanted.min(2 * threads::threads()) };
            let (len, grain) = (work.loops[axis], grain(axis));
            let piece = len.div_ceil(most).next_multiple_of(grain);
            let starts = (0..len).step_by(piece);
            starts
                .map(|first| part(work, Some((axis, first..len.min(first + piece))), 0..work.size))
                .collect()
        }
        // Picking out the destinations of a part costs more than it saves where rows are short.
        None if within_bytes(work) < 128 => vec![part(work, None, 0..work.size)],
        None => {
            let parts = wanted.min(threads::threads()).min(work.size).max(1);
            (0..parts).map(|p| part(work, None, work.size * p / parts..work.size * (p + 1) / parts)).collect()
        }
    }
}

/// The bytes that one index moves.
fn within_bytes(work: &Indexed) -> usize {
    let within = |&axis: &usize| axis != work.axis && work.index.strides[axis] == 0;
    let elements: usize = (0..work.loops.len()).filter(within).map(|axis| work.loops[axis]).product();
    elements * work.x.dtype.size()
}

fn part(work: &Indexed, cut: Option<(usize, Range<usize>)>, serves: Range<usize>) -> ScatterShare {
    let Indexed { loops, axis: indexed, x, index, out, .. } = work;
    let size = |axis: usize| match &cut {
        Some((cut, range)) if *cut == axis => range.len(),
        _ => loops[axis],
    };
    let within = |&axis: &usize| axis != *indexed && index.strides[axis] == 0;
    let start = match &cut {
        Some((axis, range)) => [index, x, out].map(|view| view.strides[*axis] * range.start as isize),
        None => [0; 3],
    };
    ScatterShare {
        rows: StridedLoops::new((0..loops.len()).filter(|axis| !within(axis)).map(|axis| {
            let to = if axis == *indexed { 0 } else { out.strides[axis] };
            (size(axis), [index.strides[axis], x.strides[axis], to])
        })),
        row: StridedLoops::new(
            (0..loops.len()).filter(within).map(|axis| (size(axis), [x.strides[axis], out.strides[axis]])),
        ),
        start,
        serves,
    }
}

impl Scatter {
    /// Puts everything in place, or returns an index that is out of range.
    ///
    /// # Safety
    /// The views lie inside of the buffers in `bases` for the work's loops; nothing else touches what is written.
    unsafe fn run(&self, bases: &Bases, put: &Put) -> Option<i64> {
        let none = usize::MAX;
        // The part and the point of the first index out of range, as one number.
        let bad = AtomicUsize::new(none);
        let parts = if threads::threads() == 1 { &self.whole[..] } else { &self.parts };
        threads::parallel(parts.len(), &|p| {
            // Parts write distinct elements.
            if let Some(point) = put(self, &parts[p], bases) {
                bad.fetch_min(point * PARTS + p, Ordering::Relaxed);
            }
        });
        let bad = bad.into_inner();
        (bad != none).then(|| {
            let part = &parts[bad % PARTS];
            // SAFETY: the point is one of the index's.
            unsafe {
                bases.origin::<i64>(&self.index).offset(part.start[0] + part.rows.at(bad / PARTS)[0]).read()
            }
        })
    }

    /// One part; the number of the point whose index is out of range, if there is one.
    ///
    /// # Safety
    /// As for [`Scatter::run`].
    unsafe fn put<T: Copy>(
        &self,
        part: &ScatterShare,
        bases: &Bases,
        combine: impl Fn(T, T) -> T,
    ) -> Option<usize> {
        let [index, x, out] = part.start;
        let index = bases.origin::<i64>(&self.index).wrapping_offset(index);
        let x = bases.origin::<T>(&self.x).wrapping_offset(x);
        let out = bases.origin::<T>(&self.out).wrapping_offset(out);
        let len = part.row.points();
        if len == 0 {
            return None;
        }
        let [index_step, x_step, out_step] = part.rows.inner();
        let whole = part.row.is_run([1, 1]);
        let mut bad = None;
        part.rows.runs(0..part.rows.points(), &mut |first, offsets, count| {
            if bad.is_some() {
                return;
            }
            for i in 0..count {
                // SAFETY: a point of the index.
                let row = unsafe { index.offset(offsets[0] + i as isize * index_step).read() };
                if row as u64 >= self.size as u64 {
                    bad = Some(first + i);
                    return;
                }
                if !part.serves.contains(&(row as usize)) {
                    continue;
                }
                let from = offsets[1] + i as isize * x_step;
                let to = offsets[2] + i as isize * out_step + row as isize * self.step;
                if len == 1 {
                    // SAFETY: an element of the source and one of the result (the index is within the axis).
                    unsafe {
                        let target = out.offset(to);
                        target.write(combine(target.read(), x.offset(from).read()));
                    }
                } else if whole {
                    // SAFETY: a row of the source and one of the result (the index is within the axis), which don't
                    // overlap.
                    let (source, target) = unsafe {
                        let target = std::slice::from_raw_parts_mut(out.offset(to), len);
                        (std::slice::from_raw_parts(x.offset(from), len), target)
                    };
                    for (to, &from) in target.iter_mut().zip(source) {
                        *to = combine(*to, from);
                    }
                } else {
                    part.row.each(0..len, |_, [a, b]| {
                        // SAFETY: as above for each element of the row.
                        unsafe {
                            let target = out.offset(to + b);
                            target.write(combine(target.read(), x.offset(from + a).read()));
                        }
                    });
                }
            }
        });
        bad
    }
}
