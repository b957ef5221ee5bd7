//! The inner kernel of direct convolutions: a few rows times two vectors of columns, kept in registers while it walks
//! over everything that is summed.
//!
//! `out[i][j] (+)= Σ_segments Σ_k a[rows[i] + segment.a + k·a_step] · b[segment.b + k·b_step + j]`
//!
//! A row is a pixel (forward and input gradient) or a channel at a window position (weight gradient); a segment is a
//! window position, or a line of pixels. Nothing is gathered first: rows and segments are offsets into the image.

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
    pub(super) fn at(level: crate::cpu::simd::Level) -> Kernel {
        match level {
            #[cfg(target_arch = "x86_64")]
            crate::cpu::simd::Level::Avx512 => Kernel { rows: 14, columns: 32, run: avx512::run },
            #[cfg(target_arch = "x86_64")]
            crate::cpu::simd::Level::Avx2 => Kernel { rows: 6, columns: 16, run: avx2::run },
            _ => Kernel { rows: 6, columns: 16, run: portable::run },
        }
    }
}

/// Makes the kernel for one kind of vector, whose functions are in scope: one for every number of rows, and the choice
/// among them.
macro_rules! kernel {
    ([$($rows:literal)*] $(, #[$feature:meta])?) => {
        /// # Safety
        /// As [`super::Kernel::run`], and the processor has the features this module is compiled for.
        pub(super) unsafe fn run(tile: &Tile) {
            // SAFETY: the caller's promise.
            unsafe {
                match tile.rows.len() {
                    $($rows => rows::<$rows>(tile),)*
                    _ => {}
                }
            }
        }

        /// # Safety
        /// As [`run`]; the tile has so many rows.
        $(#[$feature])?
        unsafe fn rows<const ROWS: usize>(tile: &Tile) {
            // How many lanes of the first and of the second vector are columns.
            let low = lanes(tile.columns.min(LANES));
            let high = lanes(tile.columns.saturating_sub(LANES));
            let mut starts = [tile.a; ROWS];
            for (start, &row) in starts.iter_mut().zip(tile.rows) {
                *start = tile.a.wrapping_offset(row);
            }
            let mut sums = [[zero(); 2]; ROWS];
            for segment in tile.segments {
                let mut at = segment.a;
                let mut b = tile.b.wrapping_offset(segment.b);
                for _ in 0..segment.count {
                    // SAFETY: in bounds by the caller's promise.
                    let right = unsafe { [load(b, low), load(b.wrapping_add(LANES), high)] };
                    for row in 0..ROWS {
                        // SAFETY: in bounds by the caller's promise.
                        let left = splat(unsafe { *starts[row].wrapping_offset(at) });
                        sums[row][0] = multiply_add(left, right[0], sums[row][0]);
                        sums[row][1] = multiply_add(left, right[1], sums[row][1]);
                    }
                    at += tile.a_step;
                    b = b.wrapping_offset(tile.b_step);
                }
            }
            for row in 0..ROWS {
                let out = tile.out.wrapping_offset(tile.out_rows[row]);
                let next = out.wrapping_add(LANES);
                // SAFETY: in bounds by the caller's promise.
                unsafe {
                    if tile.add {
                        sums[row][0] = add(sums[row][0], load(out, low));
                        sums[row][1] = add(sums[row][1], load(next, high));
                    }
                    store(out, sums[row][0], low);
                    store(next, sums[row][1], high);
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

    fn lanes(count: usize) -> u16 {
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
    fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }

    /// # Safety
    /// The lanes of the mask are readable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(p: *const f32, lanes: u16) -> __m512 {
        // SAFETY: masked lanes aren't touched.
        unsafe { _mm512_maskz_loadu_ps(lanes, p) }
    }

    /// # Safety
    /// The lanes of the mask are writable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(p: *mut f32, v: __m512, lanes: u16) {
        // SAFETY: masked lanes aren't touched.
        unsafe { _mm512_mask_storeu_ps(p, lanes, v) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::Tile;

    const LANES: usize = 8;
    kernel!([1 2 3 4 5 6], #[target_feature(enable = "avx2,fma")]);

    /// A mask vector with the sign bit set in the first `count` lanes, read from a sliding window.
    fn lanes(count: usize) -> *const i32 {
        static WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        WINDOW[LANES - count.min(LANES)..].as_ptr()
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
    fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }

    /// # Safety
    /// The lanes of the mask are readable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(p: *const f32, lanes: *const i32) -> __m256 {
        // SAFETY: eight lanes of the window follow `lanes`; masked lanes of `p` aren't touched.
        unsafe { _mm256_maskload_ps(p, _mm256_loadu_si256(lanes.cast())) }
    }

    /// # Safety
    /// The lanes of the mask are writable.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(p: *mut f32, v: __m256, lanes: *const i32) {
        // SAFETY: as for `load`.
        unsafe { _mm256_maskstore_ps(p, _mm256_loadu_si256(lanes.cast()), v) }
    }
}

/// Plain Rust over arrays of eight lanes, which the compiler maps to what there is (two NEON or four SSE vectors).
mod portable {
    use super::Tile;

    const LANES: usize = 8;
    kernel!([1 2 3 4 5 6]);

    type Vector = [f32; LANES];

    fn lanes(count: usize) -> usize {
        count.min(LANES)
    }

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
    fn add(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    /// # Safety
    /// So many lanes are readable.
    #[inline(always)]
    unsafe fn load(p: *const f32, lanes: usize) -> Vector {
        let mut v = zero();
        // SAFETY: the caller's promise; the array has at least as many.
        unsafe { std::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), lanes) };
        v
    }

    /// # Safety
    /// So many lanes are writable.
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Vector, lanes: usize) {
        // SAFETY: the caller's promise; the array has at least as many.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, lanes) };
    }
}
