//! The permutation that sorts along an axis. Elements become whole numbers in the same order, and a key with its
//! position sorts as one number: no two are equal, so a sort that needs no memory of its own is stable here.

use std::sync::Mutex;

use kiln_compile::program::{AlongAxis, Kernel};
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Result};

use super::super::bases::Bases;
use super::super::call::KernelCall;
use super::loops::StridedLoops;
use super::{BoolByte, chunks};
use crate::send_ptr::SendPtr;

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
    fn either<T: SortKey>(descending: bool, work: &AlongAxis) -> KernelCall {
        if descending { call::<T, true>(work) } else { call::<T, false>(work) }
    }
    Ok(match work.x.dtype {
        DType::Bool => either::<BoolByte>(descending, work),
        DType::U8 => either::<u8>(descending, work),
        DType::U16 => either::<u16>(descending, work),
        DType::I32 => either::<i32>(descending, work),
        DType::I64 => either::<i64>(descending, work),
        DType::F16 => either::<f16>(descending, work),
        DType::Bf16 => either::<bf16>(descending, work),
        DType::F32 => either::<f32>(descending, work),
        DType::F64 => either::<f64>(descending, work),
    })
}

fn call<T: SortKey, const DESCENDING: bool>(work: &AlongAxis) -> KernelCall {
    let last = work.loops.len() - 1;
    let (len, step) = (work.loops[last], [work.x.strides[last], work.out.strides[last]]);
    let outer = StridedLoops::new(
        (0..last).map(|axis| (work.loops[axis], [work.x.strides[axis], work.out.strides[axis]])),
    );
    let (x, out) = (work.x.clone(), work.out.clone());
    // A row of the result is sorted in place where it is contiguous; else here, one row at a time.
    let spare = Mutex::new(vec![0u64; if step[1] == 1 { 0 } else { len }]);
    Box::new(move |bases: &Bases| {
        let (x, out) = (SendPtr(bases.origin::<T>(&x)), SendPtr(bases.origin::<i64>(&out)));
        if len == 0 {
            return Ok(());
        }
        let passes = len.ilog2() as usize + 1;
        chunks(outer.points(), len.saturating_mul(8 * passes), |points| {
            outer.each(points, |_, [from, to]| {
                let (x, out) = (x.get().wrapping_offset(from), out.get().wrapping_offset(to));
                // SAFETY: the program was checked when it was loaded, and the caller gives its bases; rows are distinct
                // and don't overlap `x`.
                unsafe {
                    if step[1] == 1 {
                        let row = std::slice::from_raw_parts_mut(out.cast::<u64>(), len);
                        sort_row::<T, DESCENDING>(x, step[0], row);
                    } else {
                        let mut row = spare.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        sort_row::<T, DESCENDING>(x, step[0], &mut row);
                        for (i, &place) in row.iter().enumerate() {
                            out.offset(i as isize * step[1]).write(place as i64);
                        }
                    }
                }
            });
        });
        Ok(())
    })
}

/// Fills `row` with the permutation that sorts as many elements of `x`, `step` apart.
///
/// # Safety
/// The elements exist, and nobody writes to them.
unsafe fn sort_row<T: SortKey, const DESCENDING: bool>(x: *const T, step: isize, row: &mut [u64]) {
    let key = |i: u64| {
        // SAFETY: a position in the row.
        let key = unsafe { x.offset(i as isize * step).read() }.key();
        if DESCENDING { !key & (u64::MAX >> (64 - T::BITS)) } else { key }
    };
    if T::BITS <= 32 && u32::try_from(row.len()).is_ok() {
        for (i, place) in (0u64..).zip(row.iter_mut()) {
            *place = key(i) << 32 | i;
        }
        row.sort_unstable();
        for place in row.iter_mut() {
            *place &= u64::from(u32::MAX);
        }
    } else {
        for (i, place) in (0u64..).zip(row.iter_mut()) {
            *place = i;
        }
        row.sort_unstable_by_key(|&i| (key(i), i));
    }
}
