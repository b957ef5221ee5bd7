//! Turning a square of numbers in registers: what packing a transposed operand comes down to.

/// The largest side.
pub const WIDEST_SIDE: usize = 8;

/// How many rows of how many numbers a level of so many 4-byte lanes turns at a time. AVX-512 turns no more than AVX2: the lines of
/// sixteen rows that lie a page apart don't fit the first cache's sets.
pub const fn side<T, const LANES: usize>() -> usize {
    if cfg!(target_arch = "x86_64") && size_of::<T>() == 4 && LANES > 4 { 8 } else { 4 }
}

/// Writes the [`side`] numbers at each of as many rows as columns: the first numbers of all rows to `to`, the second ones `width`
/// behind, and so on, one after the other.
///
/// # Safety
/// All these are readable and writable; with 8 or 16 `LANES` the caller is compiled for AVX2.
#[inline(always)]
pub unsafe fn transpose<T: Copy, const LANES: usize>(
    row: impl Fn(usize) -> *const T,
    to: *mut T,
    width: usize,
) {
    // SAFETY: the caller's promise; the types are as large as they are taken for.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match (size_of::<T>(), LANES) {
            (4, 8 | 16) => return x86::eight(|at| row(at).cast(), to.cast(), width),
            (8, 8 | 16) => return x86::four_doubles(|at| row(at).cast(), to.cast(), width),
            _ => {}
        }
        let rows: [[T; 4]; 4] = std::array::from_fn(|at| row(at).cast::<[T; 4]>().read_unaligned());
        for step in 0..4 {
            let line = [rows[0][step], rows[1][step], rows[2][step], rows[3][step]];
            to.add(step * width).cast::<[T; 4]>().write_unaligned(line);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// The halves of lines four apart make a register, so that what is left happens within halves.
    #[inline(always)]
    pub unsafe fn eight(row: impl Fn(usize) -> *const f32, to: *mut f32, width: usize) {
        // SAFETY: the caller's promise, of `transpose`.
        unsafe {
            let mut turned = [_mm256_setzero_ps(); 8];
            let mut half = 0;
            while half < 8 {
                let pair = |at: usize| {
                    let low = _mm256_castps128_ps256(_mm_loadu_ps(row(at).add(half)));
                    _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(row(at + 4).add(half)))
                };
                let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
                let ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
                let cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
                turned[half] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd));
                turned[half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd));
                let ab = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
                let cd = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
                turned[half + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd));
                turned[half + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd));
                half += 4;
            }
            let mut step = 0;
            while step < 8 {
                _mm256_storeu_ps(to.add(step * width), turned[step]);
                step += 1;
            }
        }
    }

    /// As [`eight`], of numbers twice as wide.
    #[inline(always)]
    pub unsafe fn four_doubles(row: impl Fn(usize) -> *const f64, to: *mut f64, width: usize) {
        // SAFETY: the caller's promise, of `transpose`.
        unsafe {
            let mut turned = [_mm256_setzero_pd(); 4];
            let mut half = 0;
            while half < 4 {
                let pair = |at: usize| {
                    let low = _mm256_castpd128_pd256(_mm_loadu_pd(row(at).add(half)));
                    _mm256_insertf128_pd::<1>(low, _mm_loadu_pd(row(at + 2).add(half)))
                };
                let (a, b) = (pair(0), pair(1));
                turned[half] = _mm256_unpacklo_pd(a, b);
                turned[half + 1] = _mm256_unpackhi_pd(a, b);
                half += 2;
            }
            let mut step = 0;
            while step < 4 {
                _mm256_storeu_pd(to.add(step * width), turned[step]);
                step += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, Number, stamp};

    #[inline(always)]
    unsafe fn turn<T: Number, const LANES: usize>(from: &[T], to: &mut [T]) -> usize {
        let side = side::<T, LANES>();
        assert!(from.len() >= side * (side + 1) && to.len() >= side * (side + 3));
        // SAFETY: there is room; the level is the caller's promise.
        unsafe { transpose::<T, LANES>(|at| from.as_ptr().add(at * (side + 1)), to.as_mut_ptr(), side + 3) };
        side
    }

    stamp! {
        fn turn_of<T: Number>(from: &[T], to: &mut [T]) -> usize = turn::<T, LANES>;
    }

    fn check<T: Number>(from: impl Fn(i32) -> T) {
        let numbers: Vec<T> = (0..400).map(&from).collect();
        for level in Level::all_here() {
            let mut turned = vec![from(-1); 400];
            // SAFETY: `at` gives a copy that this machine can run.
            let side = unsafe { turn_of::<T>().at(level)(&numbers, &mut turned) };
            for (step, line) in turned.chunks(side + 3).take(side).enumerate() {
                for (lane, &number) in line.iter().enumerate() {
                    let expected = if lane < side { numbers[lane * (side + 1) + step] } else { from(-1) };
                    assert!(number == expected, "{step}, {lane} at {}", level.name());
                }
            }
        }
    }

    #[test]
    fn rows_become_columns_at_every_level() {
        check(|number| number as f32);
        check(f64::from);
        check(|number| number);
        check(i64::from);
    }
}
