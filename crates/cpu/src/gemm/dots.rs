//! Few rows against a transposed B: each element is a dot product of two contiguous runs, and B streams by once.

use super::kernels::{DOT_COLUMNS, GemmNumber, Kernels};
use super::microkernel::Dots;
use super::{Gemm, GemmElement, Mat, ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::Level;
use crate::threads::{parallel, threads};

/// With more rows than this, packing B pays.
const MOST_ROWS: usize = 4;

/// Whether the product is one of this kind.
pub fn fits<S: GemmElement>(level: Level, shape: Gemm, b: &Mat<S>) -> bool {
    let kernels = S::Sum::KERNELS.at(level);
    S::PLAIN
        && shape.m <= MOST_ROWS
        && b.row == 1
        && b.col != 1
        && shape.k >= kernels.lanes
        && !kernels.dots.is_empty()
}

/// Computes the batch.
///
/// # Safety
/// As for [`super::gemm`], and [`fits`] holds.
pub unsafe fn run<S: GemmElement>(level: Level, shape: Gemm, a: Mat<S>, b: Mat<S>, out: &ResultSink<S::Sum>) {
    let kernels = S::Sum::KERNELS.at(level);
    let Gemm { batch, m, n, k } = shape;
    let split = m * n * k >= super::blocking::WORTH_SPLITTING;
    let pieces = if split { n.div_ceil(1024).next_multiple_of(threads()) } else { n.div_ceil(4096) };
    let columns = n.div_ceil(pieces).next_multiple_of(DOT_COLUMNS);
    let pieces = n.div_ceil(columns);
    let job = SendPtr((a, b, out));
    let task = |index: usize| {
        let (a, b, out) = job.get();
        let (batch, first) = (index / pieces, index % pieces * columns);
        let cols = first..n.min(first + columns);
        let left = a.ptr.wrapping_offset(batch as isize * a.batch);
        let right = b.ptr.wrapping_offset(batch as isize * b.batch + first as isize * b.col).cast::<S::Sum>();
        let packed = if a.col == 1 { 0 } else { m * k };
        scratch::with(Purpose::Rows, packed, |to: *mut S::Sum| {
            let (left, a_row) = if a.col == 1 {
                (left.cast::<S::Sum>(), a.row)
            } else {
                for at in 0..m * k {
                    let from = (at / k) as isize * a.row + (at % k) as isize * a.col;
                    // SAFETY: an element of A, and room for it.
                    unsafe { to.add(at).write(left.offset(from).read().number()) };
                }
                (to.cast_const(), k as isize)
            };
            let dots = |c, c_row| {
                let dots = Dots { depth: k, a: left, a_row, b: right, b_column: b.col, c, c_row };
                // SAFETY: the operands are readable as the caller says, and C has room for the block.
                unsafe { rows(kernels, m, cols.len(), dots) };
            };
            let rows = batch * m..(batch + 1) * m;
            if let ResultSink::Store { start, stride } = out {
                return dots(start.wrapping_offset(rows.start as isize * stride + first as isize), *stride);
            }
            let stride = cols.len();
            scratch::with(Purpose::Block, m * stride, |sums: *mut S::Sum| {
                dots(sums, stride as isize);
                // SAFETY: the rows of this task, which are nobody else's.
                unsafe { out.hand_over(ResultBlock { sums, stride, rows, columns: cols.clone() }) };
            });
        });
    };
    let tasks = batch * pieces;
    if tasks.saturating_mul(m * columns * k) < super::blocking::WORTH_SPLITTING {
        (0..tasks).for_each(task);
    } else {
        parallel(tasks, &task);
    }
}

/// Computes `m` rows of `n` columns.
unsafe fn rows<T>(kernels: &Kernels<T>, m: usize, n: usize, dots: Dots<T>) {
    for column in (0..n).step_by(DOT_COLUMNS) {
        let mut row = 0;
        while row < m {
            let height = (m - row).min(kernels.dots.len());
            let block = |column: usize| Dots {
                a: dots.a.wrapping_offset(row as isize * dots.a_row),
                b: dots.b.wrapping_offset(column as isize * dots.b_column),
                c: dots.c.wrapping_offset(row as isize * dots.c_row).wrapping_add(column),
                ..dots
            };
            // SAFETY: rows below `m` and columns below `n`; the kernels are of a level that the machine has.
            unsafe {
                if column + DOT_COLUMNS <= n {
                    kernels.dots[height - 1](&block(column));
                } else {
                    for column in column..n {
                        kernels.single_dots[height - 1](&block(column));
                    }
                }
            }
            row += height;
        }
    }
}
