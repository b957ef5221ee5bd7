//! The position of the first extreme along an axis.

use kiln_compile::program::{AlongAxis, Kernel};
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Result, op::ArgOp};

use super::super::call::KernelCall;
use super::BoolByte;
use super::lines::{self, Lines};

/// Elements looked at between two decisions about the position.
const BLOCK: usize = 512;
/// Extremes in flight within a block.
const LANES: usize = 32;

/// An element in the order that extremes are taken in.
trait Ordered: Copy + 'static {
    /// Whether `self` comes before `other` as an extreme: it is strictly larger (or, for the smallest, smaller), `NaN`
    /// being the most extreme of all.
    fn beats<const MAX: bool>(self, other: Self) -> bool;
}

macro_rules! ordered {
    ($($type:ty: |$v:ident| $key:expr;)*) => {$(
        impl Ordered for $type {
            #[inline(always)]
            #[allow(clippy::eq_op)]
            fn beats<const MAX: bool>(self, other: Self) -> bool {
                let (a, b) = ({ let $v = self; $key }, { let $v = other; $key });
                let further = if MAX { a > b } else { a < b };
                // Only a NaN differs from itself.
                further || (a != a && b == b)
            }
        }
    )*};
}

ordered! {
    BoolByte: |v| v.0 != 0;
    u8: |v| v;
    u16: |v| v;
    i32: |v| v;
    i64: |v| v;
    f16: |v| f32::from(v);
    bf16: |v| f32::from(v);
    f32: |v| v;
    f64: |v| v;
}

/// Makes a search for positions ready to run.
pub(in super::super) fn prepare(_kernel: &Kernel, op: ArgOp, work: &AlongAxis) -> Result<KernelCall> {
    fn either<T: Ordered>(op: ArgOp, work: &AlongAxis) -> KernelCall {
        match op {
            ArgOp::Max => call::<T, true>(work),
            ArgOp::Min => call::<T, false>(work),
        }
    }
    Ok(match work.x.dtype {
        DType::Bool => either::<BoolByte>(op, work),
        DType::U8 => either::<u8>(op, work),
        DType::U16 => either::<u16>(op, work),
        DType::I32 => either::<i32>(op, work),
        DType::I64 => either::<i64>(op, work),
        DType::F16 => either::<f16>(op, work),
        DType::Bf16 => either::<bf16>(op, work),
        DType::F32 => either::<f32>(op, work),
        DType::F64 => either::<f64>(op, work),
    })
}

fn call<T: Ordered, const MAX: bool>(work: &AlongAxis) -> KernelCall {
    let bytes = work.loops[work.loops.len() - 1] * size_of::<T>();
    // SAFETY: lines that are there, and nobody else's.
    lines::call(work, bytes, Box::new(|lines| unsafe { search::<T, MAX>(lines) }))
}

/// Searches some lines.
///
/// # Safety
/// Their elements exist; the results are this call's own.
unsafe fn search<T: Ordered, const MAX: bool>(lines: &Lines) {
    let &Lines { count, apart, step: [step, _], len, .. } = lines;
    let (x, out) = (lines.x::<T>(), lines.out::<i64>());
    // SAFETY: the caller's promise.
    unsafe {
        if step == 1 {
            for i in 0..count as isize {
                let row = std::slice::from_raw_parts(x.offset(i * apart[0]), len);
                out.offset(i * apart[1]).write(in_row::<T, MAX>(row) as i64);
            }
        } else {
            for first in (0..count).step_by(LANES) {
                let i = first as isize;
                let (x, out) = (x.offset(i * apart[0]), out.offset(i * apart[1]));
                side_by_side::<T, MAX>(x, out, apart, LANES.min(count - first), step, len);
            }
        }
    }
}

/// The position of the first extreme of a row: block by block the extreme alone, and then its place in the block that
/// had it first. Nothing is more extreme than a `NaN`, so the same holds with them.
fn in_row<T: Ordered, const MAX: bool>(row: &[T]) -> usize {
    let Some(&first) = row.first() else { return 0 };
    let (mut best, mut block_of_best) = (first, 0);
    for (number, block) in row.chunks(BLOCK).enumerate() {
        let found = extreme::<T, MAX>(block);
        if found.beats::<MAX>(best) {
            (best, block_of_best) = (found, number);
        }
    }
    let start = block_of_best * BLOCK;
    let block = &row[start..row.len().min(start + BLOCK)];
    start + block.iter().position(|value| !best.beats::<MAX>(*value)).unwrap_or(0)
}

/// The extreme of a block that isn't empty.
#[inline(always)]
fn extreme<T: Ordered, const MAX: bool>(block: &[T]) -> T {
    let (groups, rest) = block.as_chunks::<LANES>();
    let mut best = block[0];
    if let Some((first, groups)) = groups.split_first() {
        let mut lanes = *first;
        for group in groups {
            for lane in 0..LANES {
                lanes[lane] = if group[lane].beats::<MAX>(lanes[lane]) { group[lane] } else { lanes[lane] };
            }
        }
        best = lanes.into_iter().reduce(|a, b| if b.beats::<MAX>(a) { b } else { a }).unwrap_or(best);
    }
    rest.iter().fold(best, |a, &b| if b.beats::<MAX>(a) { b } else { a })
}

/// Several searches at once, along an axis that isn't contiguous.
///
/// # Safety
/// `lanes` (at most [`LANES`]) searches that are `apart` in `x` and the result, over `len` elements that are `step`
/// apart, exist; the results are this call's own.
#[inline(always)]
unsafe fn side_by_side<T: Ordered, const MAX: bool>(
    x: *const T,
    out: *mut i64,
    apart: [isize; 2],
    lanes: usize,
    step: isize,
    len: usize,
) {
    // SAFETY: as for this function; the axis isn't empty.
    let at = |lane: usize, i: usize| unsafe { x.offset(lane as isize * apart[0] + i as isize * step).read() };
    let mut best = [at(0, 0); LANES];
    let mut place = [0i64; LANES];
    for (lane, best) in best.iter_mut().take(lanes).enumerate() {
        *best = at(lane, 0);
    }
    for i in 1..len {
        for lane in 0..lanes {
            let value = at(lane, i);
            if value.beats::<MAX>(best[lane]) {
                (best[lane], place[lane]) = (value, i as i64);
            }
        }
    }
    for (lane, &place) in place.iter().take(lanes).enumerate() {
        // SAFETY: as for this function.
        unsafe { out.offset(lane as isize * apart[1]).write(place) };
    }
}
