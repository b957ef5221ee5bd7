//! Between memory and registers: strided, repeated and converting loads and stores. Elements lie at multiples of their
//! size, as everywhere in a program's buffers.

use kiln_ir::DType;
use kiln_ir::half::slice::HalfFloatSliceExt;
use kiln_ir::half::{bf16, f16};

use super::ops::LaneType;

/// Whether a dtype lies in memory as it does in a register, so that a register may simply be that memory.
pub(super) fn is_lane(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::I32 | DType::I64)
}

/// Reads `n` elements `stride` apart into lanes.
///
/// # Safety
/// The elements exist; `to` has room for `n` lanes of the dtype's lane type.
pub(super) unsafe fn load(dtype: DType, from: *const u8, stride: isize, to: *mut u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::F32 => convert::<f32, f32>(from, stride, to, n, |x| x),
            DType::F64 => convert::<f64, f64>(from, stride, to, n, |x| x),
            DType::I32 => convert::<i32, i32>(from, stride, to, n, |x| x),
            DType::I64 => convert::<i64, i64>(from, stride, to, n, |x| x),
            DType::F16 if stride == 1 => {
                let halves = std::slice::from_raw_parts(from.cast::<f16>(), n);
                halves.convert_to_f32_slice(std::slice::from_raw_parts_mut(to.cast::<f32>(), n));
            }
            DType::F16 => convert::<f16, f32>(from, stride, to, n, f16::to_f32),
            DType::Bf16 => convert::<bf16, f32>(from, stride, to, n, bf16::to_f32),
            DType::U16 => convert::<u16, i32>(from, stride, to, n, i32::from),
            DType::U8 | DType::Bool => convert::<u8, i32>(from, stride, to, n, i32::from),
        }
    }
}

/// Reads a rectangle whose columns lie further apart than its rows into lanes, row by row, walking along the rows.
///
/// # Safety
/// The elements exist; `to` has room for the rectangle.
pub(super) unsafe fn load_crossed(
    dtype: DType,
    from: *const u8,
    strides: [isize; 2],
    to: *mut u8,
    size: [usize; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::F32 => crossed::<f32, f32>(from, strides, to, size, |x| x),
            DType::F64 => crossed::<f64, f64>(from, strides, to, size, |x| x),
            DType::I32 => crossed::<i32, i32>(from, strides, to, size, |x| x),
            DType::I64 => crossed::<i64, i64>(from, strides, to, size, |x| x),
            DType::F16 => crossed::<f16, f32>(from, strides, to, size, f16::to_f32),
            DType::Bf16 => crossed::<bf16, f32>(from, strides, to, size, bf16::to_f32),
            DType::U16 => crossed::<u16, i32>(from, strides, to, size, i32::from),
            DType::U8 | DType::Bool => crossed::<u8, i32>(from, strides, to, size, i32::from),
        }
    }
}

#[inline(always)]
unsafe fn crossed<S: Copy, L: Copy>(
    from: *const u8,
    [row, column]: [isize; 2],
    to: *mut u8,
    [height, width]: [usize; 2],
    f: impl Fn(S) -> L,
) {
    let (from, to) = (from.cast::<S>(), to.cast::<L>());
    for c in 0..width {
        for r in 0..height {
            // SAFETY: the caller's promise.
            unsafe {
                let value = from.offset(r as isize * row + c as isize * column).read_unaligned();
                to.add(r * width + c).write(f(value));
            }
        }
    }
}

/// Writes `n` lanes, `step` lanes apart, to elements `stride` apart. A step of 0 writes one value everywhere.
///
/// # Safety
/// The lanes are there and of the dtype's lane type; the elements may be written.
pub(super) unsafe fn store(dtype: DType, from: *const u8, step: isize, to: *mut u8, stride: isize, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match dtype {
            DType::F32 => put::<f32, f32>(from, step, to, stride, n, |x| x),
            DType::F64 => put::<f64, f64>(from, step, to, stride, n, |x| x),
            DType::I32 => put::<i32, i32>(from, step, to, stride, n, |x| x),
            DType::I64 => put::<i64, i64>(from, step, to, stride, n, |x| x),
            DType::F16 if step == 1 && stride == 1 => {
                let lanes = std::slice::from_raw_parts(from.cast::<f32>(), n);
                std::slice::from_raw_parts_mut(to.cast::<f16>(), n).convert_from_f32_slice(lanes);
            }
            DType::F16 => put::<f32, f16>(from, step, to, stride, n, f16::from_f32),
            DType::Bf16 => put::<f32, bf16>(from, step, to, stride, n, bf16::from_f32),
            DType::U16 => put::<i32, u16>(from, step, to, stride, n, |x| x as u16),
            DType::U8 => put::<i32, u8>(from, step, to, stride, n, |x| x as u8),
            DType::Bool => put::<i32, u8>(from, step, to, stride, n, |x| u8::from(x != 0)),
        }
    }
}

#[inline(always)]
unsafe fn convert<S: Copy, L: Copy>(
    from: *const u8,
    stride: isize,
    to: *mut u8,
    n: usize,
    f: impl Fn(S) -> L,
) {
    let (from, to) = (from.cast::<S>(), to.cast::<L>());
    // SAFETY: the caller's promise.
    unsafe {
        if stride == 1 {
            for i in 0..n {
                to.add(i).write(f(from.add(i).read_unaligned()));
            }
        } else {
            for i in 0..n {
                to.add(i).write(f(from.offset(i as isize * stride).read_unaligned()));
            }
        }
    }
}

#[inline(always)]
unsafe fn put<L: Copy, S: Copy>(
    from: *const u8,
    step: isize,
    to: *mut u8,
    stride: isize,
    n: usize,
    f: impl Fn(L) -> S,
) {
    let (from, to) = (from.cast::<L>(), to.cast::<S>());
    // SAFETY: the caller's promise.
    unsafe {
        if stride == 1 && step == 1 {
            for i in 0..n {
                to.add(i).write_unaligned(f(from.add(i).read_unaligned()));
            }
        } else {
            for i in 0..n as isize {
                to.offset(i * stride).write_unaligned(f(from.offset(i * step).read_unaligned()));
            }
        }
    }
}

/// Writes one lane `n` times.
///
/// # Safety
/// `from` is a lane, `to` has room for `n`.
pub(super) unsafe fn repeat(lane: LaneType, from: *const u8, to: *mut u8, n: usize) {
    // SAFETY: the caller's promise; lanes of one size are copied alike.
    unsafe {
        match lane.size() {
            4 => {
                std::slice::from_raw_parts_mut(to.cast::<u32>(), n).fill(from.cast::<u32>().read_unaligned())
            }
            _ => {
                std::slice::from_raw_parts_mut(to.cast::<u64>(), n).fill(from.cast::<u64>().read_unaligned())
            }
        }
    }
}
