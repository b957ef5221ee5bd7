//! Running sums along an axis, each sequential; several lie side by side in flight, so that their additions don't wait
//! for each other.

use kiln_compile::program::{AlongAxis, Kernel};
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Error, ErrorKind, Result};

use super::super::call::KernelCall;
use super::lines::{self, Lines};

/// Sums in flight where neighbouring sums are neighbours in memory, and where they aren't.
const SIDE_BY_SIDE: usize = 64;
const APART: usize = 8;

/// An element and what it is summed in.
trait Running: Copy + 'static {
    type Sum: Copy;
    const ZERO: Self::Sum;
    fn add(sum: Self::Sum, value: Self) -> Self::Sum;
    fn round(sum: Self::Sum) -> Self;
}

macro_rules! running {
    ($($type:ty, $sum:ty, $zero:expr, |$a:ident, $b:ident| $add:expr, $round:expr;)*) => {$(
        impl Running for $type {
            type Sum = $sum;
            const ZERO: $sum = $zero;
            #[inline(always)]
            fn add($a: $sum, $b: Self) -> $sum { $add }
            #[inline(always)]
            fn round(sum: $sum) -> Self { ($round)(sum) }
        }
    )*};
}

running! {
    u8, u8, 0, |a, b| a.wrapping_add(b), |sum| sum;
    u16, u16, 0, |a, b| a.wrapping_add(b), |sum| sum;
    i32, i32, 0, |a, b| a.wrapping_add(b), |sum| sum;
    i64, i64, 0, |a, b| a.wrapping_add(b), |sum| sum;
    f16, f32, 0.0, |a, b| a + f32::from(b), f16::from_f32;
    bf16, f32, 0.0, |a, b| a + f32::from(b), bf16::from_f32;
    f32, f32, 0.0, |a, b| a + b, |sum| sum;
    f64, f64, 0.0, |a, b| a + b, |sum| sum;
}

/// Makes a running sum ready to run.
pub(in super::super) fn prepare(_kernel: &Kernel, work: &AlongAxis) -> Result<KernelCall> {
    Ok(match work.x.dtype {
        DType::U8 => call::<u8>(work),
        DType::U16 => call::<u16>(work),
        DType::I32 => call::<i32>(work),
        DType::I64 => call::<i64>(work),
        DType::F16 => call::<f16>(work),
        DType::Bf16 => call::<bf16>(work),
        DType::F32 => call::<f32>(work),
        DType::F64 => call::<f64>(work),
        DType::Bool => return Err(Error::new(ErrorKind::DType, "cumsum", "bools can't be added").nowhere()),
    })
}

fn call<T: Running>(work: &AlongAxis) -> KernelCall {
    let bytes = work.loops[work.loops.len() - 1] * size_of::<T>();
    // SAFETY: lines that are there, and nobody else's.
    lines::call(work, bytes, Box::new(|lines| unsafe { add_up::<T>(lines) }))
}

/// Adds up along some lines.
///
/// # Safety
/// Their elements exist; the result's are this call's own, and are those of `x` or overlap none of them.
unsafe fn add_up<T: Running>(lines: &Lines) {
    let &Lines { count, apart, step, len, .. } = lines;
    let side = if apart == [1, 1] { SIDE_BY_SIDE } else { APART };
    for first in (0..count).step_by(side) {
        let lanes = side.min(count - first);
        let moved = first as isize;
        let x = lines.x::<T>().wrapping_offset(moved * apart[0]);
        let out = lines.out::<T>().wrapping_offset(moved * apart[1]);
        // SAFETY: the caller's promise.
        unsafe {
            match apart {
                [1, 1] => sums::<T, SIDE_BY_SIDE>(x, out, [1, 1], lanes, step, len),
                _ => sums::<T, APART>(x, out, apart, lanes, step, len),
            }
        }
    }
}

/// `lanes` sums, `apart` in `x` and the result, each of `len` elements that are `step` apart.
///
/// # Safety
/// All these elements exist; the result's are this call's own, and are those of `x` or overlap none of them.
#[inline(always)]
unsafe fn sums<T: Running, const LANES: usize>(
    x: *const T,
    out: *mut T,
    apart: [isize; 2],
    lanes: usize,
    step: [isize; 2],
    len: usize,
) {
    let mut sums = [T::ZERO; LANES];
    for i in 0..len as isize {
        for (lane, sum) in sums.iter_mut().take(lanes).enumerate() {
            let lane = lane as isize;
            // SAFETY: as for this function.
            unsafe {
                *sum = T::add(*sum, x.offset(lane * apart[0] + i * step[0]).read());
                out.offset(lane * apart[1] + i * step[1]).write(T::round(*sum));
            }
        }
    }
}
