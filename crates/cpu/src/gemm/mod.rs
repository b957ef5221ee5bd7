//! Matrix products: `c[m, n] = sum over k of a[m, k] * b[k, n]`, a batch of them, with an epilogue that consumes each
//! finished block while it is still in the cache.
//!
//! Each element is added up in order of `k` by one chain of fused multiply-adds, whatever the tiles and blocks, so
//! results are bit-identical for any batch, number of threads and set of instructions.

mod blocked;
mod blocking;

mod kernels;
mod microkernel;
mod operand;
mod pack;
mod packed;
mod panel_packer;
mod planned;
pub mod reference;

use crate::simd::{Level, level};

pub use crate::output::{ResultBlock, ResultSink};
pub(crate) use kernels::{GemmNumber, Kernels};
pub(crate) use microkernel::MicroTile;
pub use operand::GemmElement;
pub(crate) use pack::{Pack, Packer, packer};
pub(crate) use packed::{PackedGemm, UNPACK};
pub(crate) use planned::PlannedGemm;

/// The sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// How many products.
    pub batch: usize,
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A and rows of B: how many products an element adds up. Zero gives zeros.
    pub k: usize,
}

/// A batch of matrices somewhere in memory. Strides are in elements and may be zero or negative.
#[derive(Debug)]
pub struct Mat<S> {
    /// The first element of the first matrix.
    pub ptr: *const S,
    /// From one row to the next.
    pub row: isize,
    /// From one column to the next.
    pub col: isize,
    /// From one matrix to the next.
    pub batch: isize,
}

impl<S> Clone for Mat<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Mat<S> {}

/// Computes a batch of products. Row `r` of product `b` is row `b · m + r` of the output.
///
/// # Safety
/// All elements of A and B that sizes and strides name are readable, and with [`ResultSink::Store`] all of C are writable,
/// distinct from each other, and no part of A or B.
pub unsafe fn gemm<S: GemmElement>(shape: Gemm, a: Mat<S>, b: Mat<S>, out: &ResultSink<S::Sum>) {
    // SAFETY: as the caller says.
    unsafe { gemm_at(level(), shape, a, b, out) }
}

/// The same with the instructions of a certain level; or of the best, where the machine lacks it.
///
/// # Safety
/// As for [`gemm`].
pub unsafe fn gemm_at<S: GemmElement>(
    level: Level,
    shape: Gemm,
    a: Mat<S>,
    b: Mat<S>,
    out: &ResultSink<S::Sum>,
) {
    if shape.batch == 0 || shape.m == 0 || shape.n == 0 {
        return;
    }
    if !is_column(shape) {
        // SAFETY: as the caller says.
        return unsafe { blocked::run(level, shape, a, b, None, out) };
    }
    // One column: as one row of the transposed product, which has vectors to work with.
    let transposed = Gemm { m: 1, n: shape.m, ..shape };
    let (left, right) = (Mat { row: 0, col: b.row, ..b }, Mat { row: a.col, col: a.row, ..a });
    if let &ResultSink::Store { start, stride: 1 } = out {
        // SAFETY: the same elements by other names.
        return unsafe {
            let out = ResultSink::Store { start, stride: shape.m as isize };
            blocked::run(level, transposed, left, right, None, &out)
        };
    }
    let epilogue = |block: ResultBlock<S::Sum>| {
        // A row of the transposed product is a product of the batch.
        let first = block.rows.start * shape.m;
        let rows = first + block.columns.start..first + block.columns.end;
        if let ResultSink::Store { start, stride } = out {
            for (at, row) in rows.enumerate() {
                // SAFETY: an element of C, which only this block has.
                unsafe { start.offset(row as isize * stride).write(block.sums.add(at).read()) };
            }
        } else {
            // SAFETY: the rows of this block, which comes once.
            unsafe { out.hand_over(ResultBlock { stride: 1, rows, columns: 0..1, ..block }) };
        }
    };
    // SAFETY: the same elements by other names.
    unsafe { blocked::run(level, transposed, left, right, None, &ResultSink::Interpreted(&epilogue)) }
}

/// Whether the product is one column, which has no vectors to work with as it is.
fn is_column(shape: Gemm) -> bool {
    shape.n == 1 && shape.m > 1
}

#[cfg(test)]
mod tests;

#[cfg(all(test, target_os = "linux"))]
mod guard_tests;
