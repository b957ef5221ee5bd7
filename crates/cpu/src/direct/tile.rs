//! The inner kernel of direct convolutions: a few rows times two vectors of columns, kept in registers while it walks
//! over everything that is summed.
//!
//! `out[i][j] (+)= Σ_segments Σ_k a[rows[i] + segment.a + k·a_step] · b[segment.b + k·b_step + j]`
//!
//! A row is a pixel (forward and input gradient) or a channel at a window position (weight gradient); a segment is a
//! window position, or a line of pixels. Nothing is gathered first: rows and segments are offsets into the image.

use crate::finish::Finish;

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
pub(super) struct Tile<'a> {
    /// What row offsets count from.
    pub(super) a: *const f32,
    /// The start of each row; at most [`Kernel::rows`] of them.
    pub(super) rows: &'a [isize],
    /// From one step to the next in a row.
    pub(super) a_step: isize,
    /// The parts of the sum.
    pub(super) segments: &'a [Segment],
    /// The right-hand side; columns are contiguous.
    pub(super) b: *const f32,
    /// From one step to the next.
    pub(super) b_step: isize,
    /// How many columns, at most [`Kernel::columns`].
    pub(super) columns: usize,
    /// The result.
    pub(super) out: *mut f32,
    /// Where each row of it starts.
    pub(super) out_rows: &'a [isize],
    /// Whether to add to what is there.
    pub(super) add: bool,
    /// What is done with the sums before they are stored in `out`, which is its result,
    pub(super) finish: Option<&'a Finish>,
    /// from this column of it on.
    pub(super) column: usize,
    /// Where each row of its other value starts, if it has one.
    pub(super) other_rows: &'a [isize],
}

/// The kernel for this processor.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// The most rows of a tile.
    pub(super) rows: usize,
    /// The most columns: two vectors.
    pub(super) columns: usize,
    run: unsafe fn(&Tile),
}

impl Kernel {
    /// Runs one tile.
    ///
    /// # Safety
    /// Everything the tile names is in bounds: for each row, segment and step the element of `a`, `columns` elements of
    /// `b`, and `columns` elements of each row of `out`.
    #[inline]
    pub(super) unsafe fn run(&self, tile: &Tile) {
        debug_assert!(tile.rows.len() <= self.rows && tile.rows.len() == tile.out_rows.len());
        debug_assert!(tile.columns <= self.columns);
        // SAFETY: the caller's promise; the kernel was chosen for features this processor has.
        unsafe { (self.run)(tile) }
    }

    /// The best kernel for a level of the processor.
    pub(super) fn at(level: crate::simd::Level) -> Kernel {
        match level {
            #[cfg(target_arch = "x86_64")]
            crate::simd::Level::Avx512 => Kernel { rows: 14, columns: 32, run: avx512::run },
            #[cfg(target_arch = "x86_64")]
            crate::simd::Level::Avx2 => Kernel { rows: 6, columns: 16, run: avx2::run },
            _ => Kernel { rows: 6, columns: 16, run: portable::run },
        }
    }
}

/// Makes the kernel for one kind of vector, whose functions are in scope: one for every number of rows, vectors, and
/// whether the last vector has columns in all lanes; and the choice among them.
macro_rules! kernel {
    ([$($rows:literal)*] $(, #[$feature:meta])?) => {
        /// # Safety
        /// As [`super::Kernel::run`], and the processor has the features this module is compiled for.
        pub(super) unsafe fn run(tile: &Tile) {
            // SAFETY: the caller's promise.
            unsafe {
                match (tile.rows.len(), tile.columns > LANES, tile.columns % LANES == 0) {
                    $(($rows, true, true) => rows::<$rows, 2, false>(tile),)*
                    $(($rows, true, false) => rows::<$rows, 2, true>(tile),)*
                    $(($rows, false, true) => rows::<$rows, 1, false>(tile),)*
                    $(($rows, false, false) => rows::<$rows, 1, true>(tile),)*
                    _ => {}
                }
            }
        }

        /// # Safety
        /// As [`run`]; the tile has so many rows and vectors of columns, the last with some lanes alone if it says so.
        $(#[$feature])?
        unsafe fn rows<const ROWS: usize, const WIDTH: usize, const SOME: bool>(tile: &Tile) {
            let last = some(tile.columns - (WIDTH - 1) * LANES);
            // SAFETY: what is read and written here has as many columns as the tile, by the caller's promise.
            let read = |from: *const f32, vector: usize| unsafe {
                let from = from.wrapping_add(vector * LANES);
                if SOME && vector == WIDTH - 1 { load_some(from, last) } else { load(from) }
            };
            let mut starts = [tile.a; ROWS];
            for (start, &row) in starts.iter_mut().zip(tile.rows) {
                *start = tile.a.wrapping_offset(row);
            }
            let mut sums = [[zero(); WIDTH]; ROWS];
            for segment in tile.segments {
                let mut at = segment.a;
                let mut b = tile.b.wrapping_offset(segment.b);
                for _ in 0..segment.count {
                    let mut right = [zero(); WIDTH];
                    for vector in 0..WIDTH {
                        right[vector] = read(b, vector);
                    }
                    for row in 0..ROWS {
                        // SAFETY: in bounds by the caller's promise.
                        let left = splat(unsafe { *starts[row].wrapping_offset(at) });
                        for vector in 0..WIDTH {
                            sums[row][vector] = multiply_add(left, right[vector], sums[row][vector]);
                        }
                    }
                    at += tile.a_step;
                    b = b.wrapping_offset(tile.b_step);
                }
            }
            for row in 0..ROWS {
                let out = tile.out.wrapping_offset(tile.out_rows[row]);
                for vector in 0..WIDTH {
                    let mut sum = sums[row][vector];
                    if tile.add {
                        sum = add(sum, read(out, vector));
                    }
                    if let Some(finish) = tile.finish {
                        let own = |from: *const f32| read(from.wrapping_add(tile.column), vector);
                        let scale = if finish.scale.is_null() { splat(1.0) } else { own(finish.scale) };
                        let shift = if finish.shift.is_null() { zero() } else { own(finish.shift) };
                        sum = multiply_add(sum, scale, shift);
                        if !finish.other.is_null() {
                            sum = add(sum, own(finish.other.wrapping_offset(tile.other_rows[row])));
                        }
                        sum = clamp(sum, finish.low, finish.high);
                    }
                    let to = out.wrapping_add(vector * LANES);
                    // SAFETY: as for reading.
                    unsafe {
                        if SOME && vector == WIDTH - 1 { store_some(to, sum, last) } else { store(to, sum) }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::Tile;

    const LANES: usize = 16;
    kernel!([1 2 3 4 5 6 7 8 9 10 11 12 13 14], #[target_feature(enable = "avx512f")]);

    /// The first lanes.
    fn some(count: usize) -> u16 {
        ((1u32 << count) - 1) as u16
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn zero() -> __m512 {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn clamp(x: __m512, low: f32, high: f32) -> __m512 {
        // Where one is `NaN` these give the second operand.
        _mm512_min_ps(splat(high), _mm512_max_ps(splat(low), x))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }

    /// # Safety
    /// All lanes are readable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(p) }
    }

    /// # Safety
    /// These lanes are readable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_some(p: *const f32, some: u16) -> __m512 {
        // SAFETY: other lanes aren't touched.
        unsafe { _mm512_maskz_loadu_ps(some, p) }
    }

    /// # Safety
    /// All lanes are writable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    /// # Safety
    /// These lanes are writable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_some(p: *mut f32, v: __m512, some: u16) {
        // SAFETY: other lanes aren't touched.
        unsafe { _mm512_mask_storeu_ps(p, some, v) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::Tile;

    const LANES: usize = 8;
    kernel!([1 2 3 4 5 6], #[target_feature(enable = "avx2,fma")]);

    /// The first lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn some(count: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn zero() -> __m256 {
        _mm256_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn clamp(x: __m256, low: f32, high: f32) -> __m256 {
        // Where one is `NaN` these give the second operand.
        _mm256_min_ps(splat(high), _mm256_max_ps(splat(low), x))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }

    /// # Safety
    /// All lanes are readable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(p) }
    }

    /// # Safety
    /// These lanes are readable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_some(p: *const f32, some: __m256i) -> __m256 {
        // SAFETY: other lanes aren't touched.
        unsafe { _mm256_maskload_ps(p, some) }
    }

    /// # Safety
    /// All lanes are writable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    /// Takes some processors ten times as long as a whole store.
    ///
    /// # Safety
    /// These lanes are writable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_some(p: *mut f32, v: __m256, some: __m256i) {
        // SAFETY: other lanes aren't touched.
        unsafe { _mm256_maskstore_ps(p, some, v) }
    }
}

/// Plain Rust over arrays of eight lanes, which the compiler maps to what there is (two NEON or four SSE vectors).
mod portable {
    use super::Tile;

    const LANES: usize = 8;
    kernel!([1 2 3 4 5 6]);

    type Vector = [f32; LANES];

    #[inline(always)]
    fn zero() -> Vector {
        [0.0; LANES]
    }

    #[inline(always)]
    fn splat(x: f32) -> Vector {
        [x; LANES]
    }

    /// Two roundings: without hardware for it, a fused operation would be a library call.
    #[inline(always)]
    fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
        std::array::from_fn(|lane| {
            if cfg!(target_arch = "aarch64") {
                a[lane].mul_add(b[lane], c[lane])
            } else {
                a[lane] * b[lane] + c[lane]
            }
        })
    }

    #[inline(always)]
    fn clamp(x: Vector, low: f32, high: f32) -> Vector {
        x.map(|x| if x < low { low } else { x }).map(|x| if x > high { high } else { x })
    }

    #[inline(always)]
    fn add(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    fn some(count: usize) -> usize {
        count
    }

    /// # Safety
    /// All lanes are readable.
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Vector {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Vector>().read_unaligned() }
    }

    /// # Safety
    /// So many lanes are readable.
    #[inline(always)]
    unsafe fn load_some(p: *const f32, count: usize) -> Vector {
        let mut v = zero();
        // SAFETY: the caller's promise; the array has at least as many.
        unsafe { std::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), count) };
        v
    }

    /// # Safety
    /// All lanes are writable.
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Vector) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Vector>().write_unaligned(v) }
    }

    /// # Safety
    /// So many lanes are writable.
    #[inline(always)]
    unsafe fn store_some(p: *mut f32, v: Vector, count: usize) {
        // SAFETY: the caller's promise; the array has at least as many.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, count) };
    }
}
