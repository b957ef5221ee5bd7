//! The micro-kernel: a tile of the product in registers.

use crate::simd::{Vector, prefetch};

/// What a micro-kernel computes: `c[r][j] = (c[r][j], or 0 at the start) + sum over depth of a[r][k] * b[k][j]`, added up in
/// order of `k`. Strides are in elements.
#[derive(Clone, Copy, Debug)]
pub struct MicroTile<T> {
    /// How many products each element adds up.
    pub depth: usize,
    /// The first element of A.
    pub a: *const T,
    /// From one row of A to the next.
    pub a_row: isize,
    /// From one column of A to the next.
    pub a_column: isize,
    /// The first element of B, whose columns are contiguous.
    pub b: *const T,
    /// From one row of B to the next.
    pub b_row: isize,
    /// The first element of C, whose columns are contiguous.
    pub c: *mut T,
    /// From one row of C to the next.
    pub c_row: isize,
    /// How many lanes of the last vector exist in B and C, from 1 to all.
    pub last: usize,
    /// Whether to start from zero, not from what C holds.
    pub start: bool,
}

/// Rows of B that are asked for ahead of the one that is multiplied: in time to come from the second cache.
const AHEAD: isize = 12;
/// With no more rows than this B is all that is read, in order, and a prefetch takes a load its place.
const FEW_ROWS: usize = 3;
/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Computes a tile of `ROWS` rows and `WIDTH` vectors.
///
/// # Safety
/// The tile's elements are readable and writable as its fields say, and the machine has the vector's instructions.
#[inline(always)]
pub unsafe fn tile<V: Vector, const ROWS: usize, const WIDTH: usize>(tile: &MicroTile<V::Number>) {
    // SAFETY: rows below ROWS, whole vectors below WIDTH - 1 and the lanes below `last` of the final vector are in A, B
    // and C, for all of depth; nothing else is touched. Pointers past the end are made by wrapping arithmetic.
    unsafe {
        let mut sums = [[V::splat(V::Number::default()); WIDTH]; ROWS];
        if !tile.start {
            for (row, sums) in sums.iter_mut().enumerate() {
                let c = tile.c.offset(row as isize * tile.c_row);
                for (vector, sum) in sums.iter_mut().enumerate().take(WIDTH - 1) {
                    *sum = V::load(c.add(vector * V::LANES));
                }
                sums[WIDTH - 1] = V::load_first(c.add((WIDTH - 1) * V::LANES), tile.last);
            }
        }
        let full = tile.last == V::LANES;
        // Two loops: a mask, even of all lanes, costs the load its place in the instruction that uses it.
        match full {
            true => add_up::<V, ROWS, WIDTH, true>(tile, &mut sums),
            false => add_up::<V, ROWS, WIDTH, false>(tile, &mut sums),
        }
        for (row, sums) in sums.iter().enumerate() {
            let c = tile.c.offset(row as isize * tile.c_row);
            for (vector, sum) in sums.iter().enumerate().take(WIDTH - 1) {
                sum.store(c.add(vector * V::LANES));
            }
            let c = c.add((WIDTH - 1) * V::LANES);
            if full {
                sums[WIDTH - 1].store(c);
            } else {
                sums[WIDTH - 1].store_first(c, tile.last);
            }
        }
    }
}

/// Adds the tile's products to its sums. `FULL`: the last vector has all lanes.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn add_up<V: Vector, const ROWS: usize, const WIDTH: usize, const FULL: bool>(
    tile: &MicroTile<V::Number>,
    sums: &mut [[V; WIDTH]; ROWS],
) {
    // SAFETY: as for `tile`.
    unsafe {
        // One pointer for three rows: an address may hold one or two times the stride, which keeps all of them in
        // registers.
        let stride = tile.a_row * size_of::<V::Number>() as isize;
        let mut a: [*const V::Number; 5] =
            std::array::from_fn(|group| tile.a.wrapping_byte_offset(3 * group as isize * stride));
        let mut b = tile.b;
        for _ in 0..tile.depth {
            let mut columns = [V::splat(V::Number::default()); WIDTH];
            for (vector, column) in columns.iter_mut().enumerate() {
                let from = b.wrapping_add(vector * V::LANES);
                if ROWS > FEW_ROWS && (vector * size_of::<V>()).is_multiple_of(LINE) {
                    prefetch(from.wrapping_offset(AHEAD * tile.b_row), 1);
                }
                *column =
                    if FULL || vector < WIDTH - 1 { V::load(from) } else { V::load_first(from, tile.last) };
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = V::splat(*a[row / 3].byte_offset((row % 3) as isize * stride));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = value.multiply_add(column, *sum);
                }
            }
            for group in &mut a {
                *group = group.wrapping_offset(tile.a_column);
            }
            b = b.wrapping_offset(tile.b_row);
        }
    }
}
