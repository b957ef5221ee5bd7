//! The micro-kernels: a tile of the product in registers, and a few dot products at once.

use crate::simd::{Number, Vector};

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

/// What [`dot`] computes: `c[r][j] = sum over depth of a[r][k] * b[j][k]`, where `k` is contiguous in both.
#[derive(Clone, Copy, Debug)]
pub struct Dots<T> {
    /// How many products each element adds up.
    pub depth: usize,
    /// The first row of A.
    pub a: *const T,
    /// From one row of A to the next.
    pub a_row: isize,
    /// The first column of B.
    pub b: *const T,
    /// From one column of B to the next.
    pub b_column: isize,
    /// The first element of C, whose columns are contiguous.
    pub c: *mut T,
    /// From one row of C to the next.
    pub c_row: isize,
}

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
        // One pointer for three rows: an address may hold one or two times the stride, which keeps all of them in
        // registers.
        let stride = tile.a_row * size_of::<V::Number>() as isize;
        let mut a: [*const V::Number; 5] =
            std::array::from_fn(|group| tile.a.wrapping_byte_offset(3 * group as isize * stride));
        let mut b = tile.b;
        for _ in 0..tile.depth {
            let mut columns = [V::splat(V::Number::default()); WIDTH];
            for (vector, column) in columns.iter_mut().enumerate().take(WIDTH - 1) {
                *column = V::load(b.add(vector * V::LANES));
            }
            columns[WIDTH - 1] = V::load_first(b.add((WIDTH - 1) * V::LANES), tile.last);
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
        let full = tile.last == V::LANES;
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

/// Computes `ROWS` by `COLUMNS` dot products, each in two vectors of partial sums.
///
/// # Safety
/// The elements are readable and writable as the fields say, and the machine has the vector's instructions.
#[inline(always)]
pub unsafe fn dot<V: Vector, const ROWS: usize, const COLUMNS: usize>(dots: &Dots<V::Number>) {
    // SAFETY: rows below ROWS and columns below COLUMNS are readable for all of depth; the last vector reads only what
    // is left of it.
    unsafe {
        let mut sums = [[[V::splat(V::Number::default()); COLUMNS]; ROWS]; 2];
        let pair = 2 * V::LANES;
        let mut at = 0;
        while at + pair <= dots.depth {
            for (half, sums) in sums.iter_mut().enumerate() {
                let at = at + half * V::LANES;
                let b: [V; COLUMNS] = std::array::from_fn(|column| {
                    V::load(dots.b.offset(column as isize * dots.b_column).add(at))
                });
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = V::load(dots.a.offset(row as isize * dots.a_row).add(at));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = a.multiply_add(b, *sum);
                    }
                }
            }
            at += pair;
        }
        let [mut sums, others] = sums;
        let one = V::splat(V::Number::ONE);
        for (sum, other) in sums.iter_mut().flatten().zip(others.into_iter().flatten()) {
            *sum = other.multiply_add(one, *sum);
        }
        while at < dots.depth {
            let count = (dots.depth - at).min(V::LANES);
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = V::load_first(dots.a.offset(row as isize * dots.a_row).add(at), count);
                for (column, sum) in sums.iter_mut().enumerate() {
                    let b = V::load_first(dots.b.offset(column as isize * dots.b_column).add(at), count);
                    *sum = a.multiply_add(b, *sum);
                }
            }
            at += count;
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (column, sum) in sums.into_iter().enumerate() {
                *dots.c.offset(row as isize * dots.c_row).add(column) = sum.sum();
            }
        }
    }
}
