//! Matrix products: `c[m, n] = sum over k of a[m, k] * b[k, n]`, a batch of them, with a tail that consumes each
//! finished block while it is still in the cache.
//!
//! Each element is added up in order of `k` by one chain of fused multiply-adds, whatever the tiles and blocks, so
//! results are bit-identical for any number of threads. The exceptions depend on shape and strides only: few rows against
//! a transposed B are dot products, which add up in lanes.

mod blocked;
mod dots;
mod kernels;
mod pack;
mod plan;
pub mod reference;
mod scratch;
mod source;
mod tile;
pub(crate) mod turn;
pub(crate) mod vector;

use crate::simd::{Level, level};
use std::ops::Range;

pub use source::Source;

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

/// A finished block of the product, still in cache. Its numbers are the consumer's to overwrite.
#[derive(Debug)]
pub struct Block<T> {
    /// The numbers: row by row, `rows.len()` of `cols.len()` each.
    pub acc: *mut T,
    /// From one row of `acc` to the next.
    pub ld: usize,
    /// Which product of the batch.
    pub batch: usize,
    /// Which rows of it.
    pub rows: Range<usize>,
    /// Which columns of it.
    pub cols: Range<usize>,
}

/// Where a product goes.
pub enum Output<'a, T> {
    /// Into memory, where the columns lie side by side.
    Store {
        /// The first element of the first product.
        ptr: *mut T,
        /// From one row to the next.
        row_stride: isize,
        /// From one product to the next.
        batch_stride: isize,
    },
    /// To a function that consumes it block by block, on any thread. The blocks are disjoint and cover everything once.
    Tail(&'a (dyn Fn(Block<T>) + Sync)),
}

impl<T> Clone for Output<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Output<'_, T> {}

/// Computes a batch of products.
///
/// # Safety
/// All elements of A and B that sizes and strides name are readable, and with [`Output::Store`] all of C are writable,
/// distinct from each other, and no part of A or B.
pub unsafe fn gemm<S: Source>(shape: Gemm, a: Mat<S>, b: Mat<S>, out: Output<'_, S::Sum>) {
    // SAFETY: as the caller says.
    unsafe { gemm_at(level(), shape, a, b, out) }
}

/// The same with the instructions of a certain level; or of the best, where the machine lacks it.
///
/// # Safety
/// As for [`gemm`].
pub unsafe fn gemm_at<S: Source>(level: Level, shape: Gemm, a: Mat<S>, b: Mat<S>, out: Output<'_, S::Sum>) {
    if shape.batch == 0 || shape.m == 0 || shape.n == 0 {
        return;
    }
    if shape.n > 1 || shape.m == 1 {
        // SAFETY: as the caller says.
        return unsafe { rows(level, shape, a, b, out) };
    }
    // One column: as one row of the transposed product, which has vectors to work with.
    let turned = Gemm { m: 1, n: shape.m, ..shape };
    let (left, right) = (Mat { row: 0, col: b.row, ..b }, Mat { row: a.col, col: a.row, ..a });
    match out {
        Output::Tail(tail) => {
            let tail = |block: Block<S::Sum>| {
                tail(Block { ld: 1, rows: block.cols, cols: 0..1, ..block });
            };
            // SAFETY: the same elements by other names.
            unsafe { rows(level, turned, left, right, Output::Tail(&tail)) }
        }
        Output::Store { ptr, row_stride: 1, batch_stride } => {
            let out = Output::Store { ptr, row_stride: 0, batch_stride };
            // SAFETY: the same elements by other names.
            unsafe { rows(level, turned, left, right, out) }
        }
        Output::Store { ptr, row_stride, batch_stride } => {
            let ptr = Shared(ptr);
            let tail = |block: Block<S::Sum>| {
                let Shared(ptr) = { ptr };
                for (at, row) in block.cols.enumerate() {
                    let to = row as isize * row_stride + block.batch as isize * batch_stride;
                    // SAFETY: an element of C, which only this block has.
                    unsafe { ptr.offset(to).write(block.acc.add(at).read()) };
                }
            };
            // SAFETY: the same elements by other names.
            unsafe { rows(level, turned, left, right, Output::Tail(&tail)) }
        }
    }
}

/// Chooses the way for a product whose columns are worth vectors.
///
/// # Safety
/// As for [`gemm`].
unsafe fn rows<S: Source>(level: Level, shape: Gemm, a: Mat<S>, b: Mat<S>, out: Output<'_, S::Sum>) {
    if dots::fits::<S>(level, shape, &b) {
        // SAFETY: as the caller says.
        unsafe { dots::run(level, shape, a, b, out) }
    } else {
        // SAFETY: as the caller says.
        unsafe { blocked::run(level, shape, a, b, out) }
    }
}

/// A pointer, or what holds some, that several threads may use; whoever makes it sees to it that they don't meet.
#[derive(Clone, Copy)]
struct Shared<T>(T);

// SAFETY: see the type; every use is an unsafe block with its own reason.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: the same.
unsafe impl<T> Send for Shared<T> {}

#[cfg(test)]
mod tests;

#[cfg(all(test, target_os = "linux"))]
mod guard_tests;
