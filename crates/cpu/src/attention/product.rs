//! Small products of what lies near, with the micro-kernels of matrix products: one chain of fused multiply-adds an element, in order.

use std::ops::Range;

use crate::gemm::{GemmNumber, Kernels, MicroTile};
use crate::simd::Level;

/// Tiles of a level's micro-kernels.
pub(super) struct Products<T: 'static> {
    kernels: &'static Kernels<T>,
    /// The widest tile that is used, in vectors.
    widest: usize,
    /// For each width in vectors the rows of the tallest tile.
    tallest: [usize; 4],
}

/// `c (+)= a · b` for some rows and columns of C, which has contiguous columns, as B has.
#[derive(Clone, Copy)]
pub(super) struct Product<T> {
    pub(super) a: *const T,
    /// From one row, and from one column, of A to the next.
    pub(super) a_strides: [usize; 2],
    pub(super) b: *const T,
    pub(super) b_row: isize,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    /// Whether to start from zero.
    pub(super) start: bool,
}

impl<T: GemmNumber> Products<T> {
    pub(super) fn new(level: Level) -> Products<T> {
        let kernels = T::KERNELS.at(level);
        let rows = |width: usize| kernels.tiles.iter().rposition(|tiles| tiles[width - 1].is_some());
        let tallest = [1, 2, 3, 4].map(|width| rows(width).map_or(0, |row| row + 1));
        // Few rows of wide tiles wait for each other's sums; tiles of half the width have twice the rows.
        let widest = if tallest[3] >= 6 { 4 } else { 2 };
        Products { kernels, widest, tallest }
    }

    /// The lanes of a vector.
    pub(super) fn lanes(&self) -> usize {
        self.kernels.lanes
    }

    /// The rows of the tallest tile for so many columns.
    pub(super) fn tall(&self, columns: usize) -> usize {
        self.tallest[columns.div_ceil(self.kernels.lanes).clamp(1, self.widest) - 1]
    }

    /// Computes some rows and columns, of sums over some products: for `rows` no more than [`Products::tall`] of them.
    ///
    /// # Safety
    /// These rows, columns and products are in the matrices, and nobody else uses these elements of C.
    pub(super) unsafe fn run(
        &self,
        job: &Product<T>,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: Range<usize>,
    ) {
        let lanes = self.kernels.lanes;
        let mut first = columns.start;
        while first < columns.end {
            let vectors = (columns.end - first).div_ceil(lanes).min(self.widest);
            let count = (columns.end - first).min(vectors * lanes);
            let tile = MicroTile {
                depth: sums.len(),
                a: job.a.wrapping_add(rows.start * job.a_strides[0] + sums.start * job.a_strides[1]),
                a_row: job.a_strides[0] as isize,
                a_column: job.a_strides[1] as isize,
                b: job.b.wrapping_offset(sums.start as isize * job.b_row).wrapping_add(first),
                b_row: job.b_row,
                c: job.c.wrapping_add(rows.start * job.c_row + first),
                c_row: job.c_row as isize,
                last: count - (vectors - 1) * lanes,
                start: job.start,
            };
            // SAFETY: the caller's promise; the table has a tile of so many rows of this width.
            unsafe { self.kernels.tile(rows.len(), vectors)(&tile) };
            first += count;
        }
    }
}

/// Cuts a range into pieces of nearly equal size, none larger than `most`.
pub(super) fn pieces(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(most.max(1)).max(1);
    let at = move |piece: usize| range.start + range.len() * piece / count;
    (0..count).map(move |piece| at(piece)..at(piece + 1)).filter(|piece| !piece.is_empty())
}
