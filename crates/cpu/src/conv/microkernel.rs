//! The inner kernel of direct convolutions: a few rows times two vectors of columns, kept in registers while it walks
//! over everything that is summed.
//!
//! `out[i][j] (+)= Σ_segments Σ_k a[rows[i] + segment.a + k·a_step] · b[segment.b + k·b_step + j]`
//!
//! A row is a pixel (forward and input gradient) or a channel at a window position (weight gradient); a segment is a
//! window position, or a line of pixels. Nothing is gathered first: rows and segments are offsets into the image.

use std::marker::PhantomData;

use crate::epilogue::{ColumnEpilogue, Epilogue};
use crate::simd::{
    Avx2, Avx512, Level, Neon, Portable, Simd, Stamped, Vector, in_a_register, prefetch_to_write, stamp,
};

/// A stretch of the sum that is walked with constant steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it starts, from each row's own start.
    pub(super) a: isize,
    /// Where it starts in `b`.
    pub(super) b: isize,
    /// How many steps.
    pub(super) count: usize,
}

/// One call of the kernel.
pub(super) struct ConvTile<'a> {
    /// What row offsets count from.
    pub(super) a: *const f32,
    /// The start of each row; at most [`ConvMicrokernel::rows`] of them.
    pub(super) rows: &'a [isize],
    /// From one step to the next in a row.
    pub(super) a_step: isize,
    /// The parts of the sum.
    pub(super) segments: &'a [Segment],
    /// The right-hand side; columns are contiguous.
    pub(super) b: *const f32,
    /// From one step to the next.
    pub(super) b_step: isize,
    /// How many columns, at most [`ConvMicrokernel::columns`].
    pub(super) columns: usize,
    /// The result.
    pub(super) out: *mut f32,
    /// Where each row of it starts.
    pub(super) out_rows: &'a [isize],
    /// Whether to go on from the sums that are there, so that a sum cut anywhere is one chain; else from zero.
    pub(super) add: bool,
    /// What is done with the sums before they are stored in `out`, which is its result,
    pub(super) epilogue: Option<&'a Epilogue>,
    /// from this column of it on.
    pub(super) column: usize,
    /// Where each row of its other value starts, if it has one.
    pub(super) other_rows: &'a [isize],
}

/// The kernel for this processor.
#[derive(Clone, Copy)]
pub(super) struct ConvMicrokernel {
    /// The most rows of a tile.
    pub(super) rows: usize,
    /// The most columns: the vectors of all widths.
    pub(super) columns: usize,
    /// Columns of a vector.
    lanes: usize,
    /// By rows less one, vectors less one, and whether the last vector has columns in some of its lanes alone.
    runs: &'static [&'static [[ConvTileFn; 2]]],
}

type ConvTileFn = unsafe fn(&ConvTile);

impl ConvMicrokernel {
    /// Runs one tile.
    ///
    /// # Safety
    /// Everything the tile names is in bounds: for each row, segment and step the element of `a`, `columns` elements of
    /// `b`, and `columns` elements of each row of `out`.
    #[inline]
    pub(super) unsafe fn run(&self, tile: &ConvTile) {
        debug_assert!(tile.rows.len() <= self.rows && tile.rows.len() == tile.out_rows.len());
        debug_assert!(tile.columns <= self.columns);
        let (rows, columns) = (tile.rows.len(), tile.columns);
        if rows == 0 || columns == 0 {
            return;
        }
        let run = self.runs[rows - 1][(columns - 1) / self.lanes][usize::from(columns % self.lanes != 0)];
        // SAFETY: the caller's promise; the kernel was chosen for features this processor has.
        unsafe { run(tile) }
    }

    /// The kernel for a level of the processor.
    pub(super) fn at(level: Level) -> ConvMicrokernel {
        const KERNELS: Stamped<ConvMicrokernel> = Stamped {
            portable: ConvMicrokernels::<Portable>::KERNEL,
            avx2: ConvMicrokernels::<Avx2>::KERNEL,
            avx512: ConvMicrokernels::<Avx512>::KERNEL,
            neon: ConvMicrokernels::<Neon>::KERNEL,
        };
        KERNELS.at(level)
    }
}

stamp! {
    fn rows_of[const ROWS: usize, const WIDTH: usize, const SOME: bool](tile: &ConvTile)
        = rows::<<Here as Simd>::F32, ROWS, WIDTH, SOME>;
}

/// The tiles of a level.
struct ConvMicrokernels<S>(PhantomData<S>);

/// A kernel of tiles of so many rows and vectors.
macro_rules! kernel {
    ([$($rows:literal)*], $widths:tt) => {
        ConvMicrokernel {
            rows: [$($rows),*].len(),
            columns: $widths.len() * <S::F32 as Vector>::LANES,
            lanes: <S::F32 as Vector>::LANES,
            runs: &[$(kernel!(@row $rows, $widths)),*],
        }
    };
    (@row $rows:literal, [$($width:literal),*]) => {
        &[$([rows_of::<$rows, $width, false>().of::<S>(), rows_of::<$rows, $width, true>().of::<S>()]),*]
    };
}

impl<S: Simd> ConvMicrokernels<S> {
    const KERNEL: ConvMicrokernel = match <S::F32 as Vector>::LANES {
        // Sixteen registers of four hold no wider tile.
        4 if S::REGISTERS == 16 => kernel!([1 2 3 4 5 6], [1, 2]),
        // With ten rows and more their pointers do not fit the general registers, and are read from the stack at every step.
        16 => kernel!([1 2 3 4 5 6 7 8], [1, 2]),
        8 => kernel!([1 2 3 4 5 6], [1, 2]),
        _ => kernel!([1 2 3 4 5 6], [1, 2, 3, 4]),
    };
}

/// Something for each of a tile's rows, whose number is written out: sums that a loop may index are kept in memory, and written there at
/// every step of the sum.
macro_rules! each_row {
    ($rows:ident, $row:ident, $body:expr) => {
        each_row!(@ [0 1 2 3 4 5 6 7] $rows, $row, $body)
    };
    (@ [$($number:literal)*] $rows:ident, $row:ident, $body:expr) => {{
        const { assert!($rows <= [$($number),*].len()) };
        $(if $number < $rows {
            let $row = $number;
            $body
        })*
    }};
}

/// A tile of `ROWS` rows and `WIDTH` vectors of columns; `SOME`: the last vector has columns in some lanes alone.
///
/// # Safety
/// As [`ConvMicrokernel::run`]; the tile has so many rows and columns, and the machine has the vector's instructions.
#[inline(always)]
unsafe fn rows<V: Vector<Number = f32>, const ROWS: usize, const WIDTH: usize, const SOME: bool>(
    tile: &ConvTile,
) {
    let last = tile.columns - (WIDTH - 1) * V::LANES;
    // SAFETY: what is read and written here has as many columns as the tile, by the caller's promise.
    unsafe {
        let read = |from: *const f32, vector: usize| {
            let from = from.wrapping_add(vector * V::LANES);
            if SOME && vector == WIDTH - 1 { V::load_first(from, last) } else { V::load(from) }
        };
        // Each in a register of its own: made as one vector they are written to memory through a mask and read back, which waits until
        // the results of the last tile are stored.
        let starts: [*const f32; ROWS] =
            std::array::from_fn(|row| in_a_register(tile.a.wrapping_offset(*tile.rows.get_unchecked(row))));
        let mut sums = [[V::splat(0.0); WIDTH]; ROWS];
        if !tile.add {
            for &row in tile.out_rows {
                for vector in (0..WIDTH).step_by(16 / V::LANES) {
                    prefetch_to_write(tile.out.wrapping_offset(row).wrapping_add(vector * V::LANES));
                }
            }
        } else {
            for (sums, &row) in sums.iter_mut().zip(tile.out_rows) {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = read(tile.out.wrapping_offset(row), vector);
                }
            }
        }
        for segment in tile.segments {
            let mut at = segment.a;
            let mut b = tile.b.wrapping_offset(segment.b);
            for _ in 0..segment.count {
                let mut right = [V::splat(0.0); WIDTH];
                for vector in 0..WIDTH {
                    right[vector] = read(b, vector);
                }
                for row in 0..ROWS {
                    let left = V::splat(*starts[row].wrapping_offset(at));
                    for vector in 0..WIDTH {
                        sums[row][vector] = left.multiply_add(right[vector], sums[row][vector]);
                    }
                }
                at += tile.a_step;
                b = b.wrapping_offset(tile.b_step);
            }
        }
        let store = |row: usize, vector: usize, sum: V| {
            let out = tile.out.wrapping_offset(*tile.out_rows.get_unchecked(row));
            let to = out.wrapping_add(vector * V::LANES);
            if SOME && vector == WIDTH - 1 { sum.store_first(to, last) } else { sum.store(to) }
        };
        match tile.epilogue {
            None => each_row!(ROWS, row, {
                for vector in 0..WIDTH {
                    store(row, vector, sums[row][vector]);
                }
            }),
            Some(epilogue) => {
                let columns: [ColumnEpilogue<V>; WIDTH] = std::array::from_fn(|vector| {
                    epilogue.of_columns(|from| read(from.wrapping_add(tile.column), vector))
                });
                let other = epilogue.other.wrapping_add(tile.column);
                each_row!(ROWS, row, {
                    for vector in 0..WIDTH {
                        let other =
                            || read(other.wrapping_offset(*tile.other_rows.get_unchecked(row)), vector);
                        store(row, vector, columns[vector].finished(sums[row][vector], other));
                    }
                });
            }
        }
    }
}
