//! The permutation that sorts along an axis. Elements become whole numbers in the same order, and a key with its
//! position sorts as one number: no two are equal, so a sort that needs no memory of its own is stable here.

use std::sync::Mutex;

use kiln_compile::program::{AlongAxis, Kernel};
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Result};

use super::super::call::KernelCall;
use super::BoolByte;
use super::lines::{self, Lines};

/// An element as a whole number in its order: zeros are equal, and so are all `NaN`s, which are largest.
trait SortKey: Copy + 'static {
    /// How many low bits of a key are used.
    const BITS: u32;
    fn key(self) -> u64;
}

macro_rules! keys {
    ($($type:ty, $bits:expr, |$v:ident| $key:expr;)*) => {$(
        impl SortKey for $type {
            const BITS: u32 = $bits;
            #[inline(always)]
            fn key(self) -> u64 { let $v = self; $key }
        }
    )*};
}

keys! {
    BoolByte, 1, |v| u64::from(v.0 != 0);
    u8, 8, |v| u64::from(v);
    u16, 16, |v| u64::from(v);
    i32, 32, |v| u64::from(v as u32 ^ (1 << 31));
    i64, 64, |v| v as u64 ^ (1 << 63);
    f16, 32, |v| f32::from(v).key();
    bf16, 32, |v| f32::from(v).key();
    f32, 32, |v| {
        let bits = if v == 0.0 { 0 } else if v.is_nan() { 0x7FFF_FFFF } else { v.to_bits() };
        u64::from(if bits >> 31 == 0 { bits | 1 << 31 } else { !bits })
    };
    f64, 64, |v| {
        let bits = if v == 0.0 { 0 } else if v.is_nan() { u64::MAX >> 1 } else { v.to_bits() };
        if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
    };
}

/// Makes a sort ready to run.
pub(in super::super) fn prepare(_kernel: &Kernel, descending: bool, work: &AlongAxis) -> Result<KernelCall> {
    Ok(match work.x.dtype {
        DType::Bool => call::<BoolByte>(descending, work),
        DType::U8 => call::<u8>(descending, work),
        DType::U16 => call::<u16>(descending, work),
        DType::I32 => call::<i32>(descending, work),
        DType::I64 => call::<i64>(descending, work),
        DType::F16 => call::<f16>(descending, work),
        DType::Bf16 => call::<bf16>(descending, work),
        DType::F32 => call::<f32>(descending, work),
        DType::F64 => call::<f64>(descending, work),
    })
}

fn call<T: SortKey>(descending: bool, work: &AlongAxis) -> KernelCall {
    // The largest key takes the place of the smallest, and so on.
    let turn = if descending { u64::MAX >> (64 - T::BITS) } else { 0 };
    let last = work.loops.len() - 1;
    let (len, out_step) = (work.loops[last], work.out.strides[last]);
    // A row of the result is sorted in place where it is contiguous; else here, one row at a time.
    let spare = Mutex::new(vec![0u64; if out_step == 1 { 0 } else { len }]);
    let passes = len.max(1).ilog2() as usize + 1;
    // SAFETY: lines that are there, and nobody else's.
    let each = move |lines: &Lines| unsafe { sort::<T>(lines, turn, &spare) };
    lines::call(work, len.saturating_mul(8 * passes), Box::new(each))
}

/// Sorts along some lines.
///
/// # Safety
/// Their elements exist; the result's are this call's own and overlap none of the operand's.
unsafe fn sort<T: SortKey>(lines: &Lines, turn: u64, spare: &Mutex<Vec<u64>>) {
    let &Lines { count, apart, step, len, .. } = lines;
    for i in 0..count as isize {
        let x = lines.x::<T>().wrapping_offset(i * apart[0]);
        let out = lines.out::<i64>().wrapping_offset(i * apart[1]);
        // SAFETY: the caller's promise.
        unsafe {
            if step[1] == 1 {
                let row = std::slice::from_raw_parts_mut(out.cast::<u64>(), len);
                sort_row(x, step[0], turn, row);
            } else {
                let mut row = spare.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                sort_row(x, step[0], turn, &mut row);
                for (i, &place) in row.iter().enumerate() {
                    out.offset(i as isize * step[1]).write(place as i64);
                }
            }
        }
    }
}

/// Fills `row` with the permutation that sorts as many elements of `x`, `step` apart, by their keys with the bits of
/// `turn` turned over.
///
/// # Safety
/// The elements exist, and nobody writes to them.
unsafe fn sort_row<T: SortKey>(x: *const T, step: isize, turn: u64, row: &mut [u64]) {
    let key = |i: u64| {
        // SAFETY: a position in the row.
        unsafe { x.offset(i as isize * step).read() }.key() ^ turn
    };
    if T::BITS <= 32 && u32::try_from(row.len()).is_ok() {
        for (i, place) in (0u64..).zip(row.iter_mut()) {
            *place = key(i) << 32 | i;
        }
        sort_numbers(row);
        for place in row.iter_mut() {
            *place &= u64::from(u32::MAX);
        }
        return;
    }
    for (i, place) in (0u64..).zip(row.iter_mut()) {
        *place = i;
    }
    if const { T::BITS > 32 } {
        row.sort_unstable_by_key(|&i| (key(i), i));
    } else {
        // Four thousand million elements: nobody waits for a sort that is compiled for their type.
        sort_by_key(row, &key);
    }
}

fn sort_numbers(row: &mut [u64]) {
    row.sort_unstable();
}

fn sort_by_key(row: &mut [u64], key: &dyn Fn(u64) -> u64) {
    row.sort_unstable_by_key(|&i| (key(i), i));
}
