//! Products whose columns are packed in blocks of a few bits: a segment of four columns at a time is unpacked into the first cache and
//! multiplied with all rows there, so that memory is read packed and nothing is unpacked as a whole.
//!
//! Each element is added up in 16 chains of fused multiply-adds, one for each place in 16 numbers, and then by halving: the same for one
//! row and many, any thread and any vector.

use kiln_ir::packed::BlockFormat;

use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::{Level, Simd, Vector, stamp};
use crate::threads::parallel;

/// Numbers of a column that are unpacked at a time: whole blocks of every format.
const SEGMENT: usize = 256;
/// Chains that an element is added up in.
const CHAINS: usize = 16;
/// Columns that are unpacked at a time.
const COLUMNS: usize = 4;
/// Rows whose sums are kept while the columns go by.
const ROWS: usize = 64;
/// Columns of a task, whose results are handed over together.
const TILE: usize = 64;

/// A product of rows in `f32` with packed columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedGemm {
    pub(crate) level: Level,
    pub(crate) format: BlockFormat,
    /// Rows, columns, and how many products an element adds up.
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// A segment of some columns that is multiplied with rows.
struct ColumnSegment {
    format: BlockFormat,
    /// The blocks of each column; of a last group that isn't full, some are there twice.
    blocks: [*const u8; COLUMNS],
    /// Bytes and numbers of each.
    bytes: usize,
    numbers: usize,
    /// The first row's numbers, and from one row to the next.
    rows: *const f32,
    stride: usize,
    /// How many rows there are.
    count: usize,
    /// For each row and column its chains.
    sums: *mut [[f32; CHAINS]; COLUMNS],
    /// Room for the unpacked numbers of each column.
    unpacked: *mut [[f32; SEGMENT]; COLUMNS],
}

stamp! {
    static MULTIPLY: fn(segment: &ColumnSegment) = multiply::<Here>;
    /// Unpacks a row.
    pub(crate) static UNPACK: fn(format: BlockFormat, blocks: &[u8], numbers: &mut [f32]) = unpack::<LANES>;
}

/// Generic so that each level has a copy of its own.
#[inline(always)]
fn unpack<const LANES: usize>(format: BlockFormat, blocks: &[u8], numbers: &mut [f32]) {
    format.unpack(blocks, numbers);
}

impl PackedGemm {
    /// Computes it. `row_stride`: from one row of the left operand to the next.
    ///
    /// # Safety
    /// Rows and columns are readable: `m` of `k` numbers, `n` of as many bytes as `k` numbers take, one after the other. With
    /// [`ResultSink::Store`] all of the result is writable, and no part of either.
    pub(crate) unsafe fn run(&self, a: *const f32, row_stride: usize, b: *const u8, out: &ResultSink<f32>) {
        let (a, b) = (SendPtr(a), SendPtr(b));
        let task = |tile: usize| {
            let first = tile * TILE;
            // SAFETY: as the caller says; tiles are disjoint.
            unsafe { self.tile(a.get(), row_stride, b.get(), first..self.n.min(first + TILE), out) };
        };
        let tiles = self.n.div_ceil(TILE);
        match (self.m * self.k).saturating_mul(self.n) < super::blocking::WORTH_SPLITTING {
            true => (0..tiles).for_each(task),
            false => parallel(tiles, &task),
        }
    }

    /// Some columns of the result.
    unsafe fn tile(
        &self,
        a: *const f32,
        row_stride: usize,
        b: *const u8,
        columns: std::ops::Range<usize>,
        out: &ResultSink<f32>,
    ) {
        let (block, of_block) = (self.format.bytes(), self.format.numbers());
        let column_bytes = self.k / of_block * block;
        let multiply = MULTIPLY.at(self.level);
        scratch::with(Purpose::Block, ROWS * TILE, |results: *mut f32| {
            scratch::with(Purpose::Columns, ROWS, |sums: *mut [[f32; CHAINS]; COLUMNS]| {
                scratch::with(Purpose::Weights, 1, |unpacked: *mut [[f32; SEGMENT]; COLUMNS]| {
                    for first_row in (0..self.m).step_by(ROWS) {
                        let count = ROWS.min(self.m - first_row);
                        for first in columns.clone().step_by(COLUMNS) {
                            // SAFETY: there is room for so many rows.
                            unsafe { sums.write_bytes(0, count) };
                            for start in (0..self.k).step_by(SEGMENT) {
                                let numbers = SEGMENT.min(self.k - start);
                                let at = |column: usize| {
                                    let column = (first + column).min(columns.end - 1);
                                    b.wrapping_add(column * column_bytes + start / of_block * block)
                                };
                                let segment = ColumnSegment {
                                    format: self.format,
                                    blocks: [at(0), at(1), at(2), at(3)],
                                    bytes: numbers / of_block * block,
                                    numbers,
                                    rows: a.wrapping_add(first_row * row_stride + start),
                                    stride: row_stride,
                                    count,
                                    sums,
                                    unpacked,
                                };
                                // SAFETY: the segment lies in the columns, its rows in those of the caller; the level is here.
                                unsafe { multiply(&segment) };
                            }
                            for row in 0..count {
                                for column in 0..COLUMNS.min(columns.end - first) {
                                    // SAFETY: a sum that was made, and a place of the block.
                                    unsafe {
                                        let sum = halved((*sums.add(row))[column]);
                                        results.add(row * TILE + first - columns.start + column).write(sum);
                                    }
                                }
                            }
                        }
                        let rows = first_row..first_row + count;
                        let block =
                            ResultBlock { sums: results, stride: TILE, rows, columns: columns.clone() };
                        // SAFETY: the block holds its sums and comes once.
                        unsafe { out.hand_over(block) };
                    }
                });
            });
        });
    }
}

/// The sum of chains, by halving.
fn halved(mut chains: [f32; CHAINS]) -> f32 {
    let mut width = CHAINS;
    while width > 1 {
        width /= 2;
        for at in 0..width {
            chains[at] += chains[at + width];
        }
    }
    chains[0]
}

#[inline(always)]
unsafe fn multiply<S: Simd>(segment: &ColumnSegment) {
    // SAFETY: the room is this task's, and all of it was written once.
    let columns = unsafe { &mut *segment.unpacked };
    for (column, &blocks) in columns.iter_mut().zip(&segment.blocks) {
        // SAFETY: so many bytes of the column are there.
        let blocks = unsafe { std::slice::from_raw_parts(blocks, segment.bytes) };
        segment.format.unpack(blocks, &mut column[..segment.numbers]);
    }
    let mut row = 0;
    // SAFETY: the rows are there, and the level is the caller's promise.
    unsafe {
        if S::REGISTERS == 32 {
            while row + 4 <= segment.count {
                products::<S::F32, 4>(segment, columns, row);
                row += 4;
            }
        }
        while row + 2 <= segment.count {
            products::<S::F32, 2>(segment, columns, row);
            row += 2;
        }
        if row < segment.count {
            products::<S::F32, 1>(segment, columns, row);
        }
    }
}

/// Adds the products of some rows with the columns, a register's share of the chains at a time.
#[inline(always)]
unsafe fn products<V: Vector<Number = f32>, const COUNT: usize>(
    segment: &ColumnSegment,
    columns: &[[f32; SEGMENT]; COLUMNS],
    row: usize,
) {
    let whole = segment.numbers / CHAINS * CHAINS;
    for chain in (0..CHAINS).step_by(V::LANES) {
        // SAFETY: rows have as many numbers, columns were unpacked, and sums have all chains.
        unsafe {
            let sums = segment.sums.add(row).cast::<f32>();
            let sum_at = |row: usize, column: usize| sums.add((row * COLUMNS + column) * CHAINS + chain);
            let rows = segment.rows.add(row * segment.stride);
            let mut added = [[V::splat(0.0); COLUMNS]; COUNT];
            for (row, added) in added.iter_mut().enumerate() {
                for (column, added) in added.iter_mut().enumerate() {
                    *added = V::load(sum_at(row, column));
                }
            }
            for at in (chain..whole).step_by(CHAINS) {
                let mut x = [V::splat(0.0); COUNT];
                for (row, x) in x.iter_mut().enumerate() {
                    *x = V::load(rows.add(row * segment.stride + at));
                }
                for column in 0..COLUMNS {
                    let w = V::load(columns[column].as_ptr().add(at));
                    for row in 0..COUNT {
                        added[row][column] = x[row].multiply_add(w, added[row][column]);
                    }
                }
            }
            // The last numbers, where they don't fill all chains.
            let left = (segment.numbers - whole).saturating_sub(chain).min(V::LANES);
            if left > 0 {
                for row in 0..COUNT {
                    let x = V::load_first(rows.add(row * segment.stride + whole + chain), left);
                    for column in 0..COLUMNS {
                        let w = V::load_first(columns[column].as_ptr().add(whole + chain), left);
                        added[row][column] = x.multiply_add(w, added[row][column]);
                    }
                }
            }
            for (row, added) in added.iter().enumerate() {
                for (column, added) in added.iter().enumerate() {
                    added.store(sum_at(row, column));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_testkit::Rng;

    use super::*;

    /// The product as it is meant, in one order for all.
    fn plain(gemm: &PackedGemm, a: &[f32], b: &[f32]) -> Vec<f32> {
        let sum = |row: usize, column: usize| {
            let mut chains = [0f32; CHAINS];
            for at in 0..gemm.k {
                let chain = &mut chains[at % CHAINS];
                *chain = a[row * gemm.k + at].mul_add(b[column * gemm.k + at], *chain);
            }
            halved(chains)
        };
        (0..gemm.m * gemm.n).map(|at| sum(at / gemm.n, at % gemm.n)).collect()
    }

    #[test]
    fn every_level_and_number_of_rows_gives_the_bits_of_its_definition() {
        let mut rng = Rng::new(5);
        for format in BlockFormat::ALL {
            let odd = format.numbers() == 1;
            for (m, n, k) in [(1, 7, 256), (3, 66, 512), (70, 5, if odd { 301 } else { 768 })] {
                let bytes = format.row_bytes(k).unwrap();
                // Scales that are numbers: no byte begins an infinity.
                let blocks: Vec<u8> = (0..n * bytes).map(|_| rng.below(100) as u8).collect();
                let mut b = vec![0.0; n * k];
                format.unpack(&blocks, &mut b);
                let a: Vec<f32> = (0..m * k).map(|_| rng.between(-1.0, 1.0) as f32).collect();
                for level in Level::all_here() {
                    let gemm = PackedGemm { level, format, m, n, k };
                    let mut c = vec![f32::NAN; m * n];
                    let out = ResultSink::Store { start: c.as_mut_ptr(), stride: n as isize };
                    // SAFETY: all three are as large as they are said to be.
                    unsafe { gemm.run(a.as_ptr(), k, blocks.as_ptr(), &out) };
                    assert_eq!(c, plain(&gemm, &a, &b), "{format} {m}×{k}×{n} {}", level.name());
                }
            }
        }
    }
}
