//! Packing a matrix for the kernel: a panel of columns side by side, step by step of the sum.

use crate::simd::transpose::{side, transpose};
use crate::simd::{level, stamp};

/// A matrix in memory, of which a panel is wanted.
pub(super) struct ColumnStrip {
    /// Its first element.
    pub(super) from: *const f32,
    /// Steps of the sum, and how far apart they are.
    pub(super) sum: usize,
    pub(super) sum_stride: isize,
    /// Columns, and how far apart they are.
    pub(super) columns: usize,
    pub(super) column_stride: isize,
}

/// Writes the strip to `out`, `width` numbers from step to step; what is behind its columns becomes zero.
///
/// # Safety
/// All elements of the strip are readable, and `out` has room for `sum · width` numbers, of which the columns take
/// `width` at the most.
pub(super) unsafe fn pack_panel(strip: &ColumnStrip, width: usize, out: *mut f32) {
    // SAFETY: the caller's promise; the copy is one this machine can run.
    unsafe { PACK_PANEL.at(level())(strip, width, out) }
}

stamp! {
    static PACK_PANEL: fn(strip: &ColumnStrip, width: usize, out: *mut f32) = pack::<LANES>;
}

/// # Safety
/// As [`pack_panel`].
#[inline(always)]
unsafe fn pack<const LANES: usize>(strip: &ColumnStrip, width: usize, out: *mut f32) {
    let &ColumnStrip { from, sum, sum_stride, columns, column_stride } = strip;
    // SAFETY: the caller's promise: every address is an element of the strip, or inside of `out`.
    unsafe {
        for k in 0..sum {
            out.add(k * width + columns).write_bytes(0, width - columns);
        }
        if column_stride == 1 {
            for k in 0..sum {
                let from = from.offset(k as isize * sum_stride);
                std::ptr::copy_nonoverlapping(from, out.add(k * width), columns);
            }
            return;
        }
        let (mut whole_columns, mut whole_sum) = (0, 0);
        if sum_stride == 1 {
            let side = const { side::<f32, LANES>() };
            (whole_columns, whole_sum) = (columns - columns % side, sum - sum % side);
            for column in (0..whole_columns).step_by(side) {
                for k in (0..whole_sum).step_by(side) {
                    let from = from.offset(column as isize * column_stride).add(k);
                    let row = |at: usize| from.offset(at as isize * column_stride);
                    transpose::<f32, LANES>(row, out.add(k * width + column), width);
                }
            }
        }
        for column in 0..columns {
            let from = from.offset(column as isize * column_stride);
            let first = if column < whole_columns { whole_sum } else { 0 };
            for k in first..sum {
                *out.add(k * width + column) = *from.offset(k as isize * sum_stride);
            }
        }
    }
}
