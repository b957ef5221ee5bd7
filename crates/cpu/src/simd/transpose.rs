//! Turning a block of numbers in registers: what packing a transposed operand comes down to.

/// How many lanes and steps are transposed at a time.
pub const TRANSPOSED: usize = 16;

/// A block of numbers.
pub type TransposeBlock<T> = [[T; TRANSPOSED]; TRANSPOSED];

/// Exchanges the rows and columns of a block.
///
/// # Safety
/// With 16 `LANES`, the caller is compiled for AVX-512.
#[inline(always)]
pub unsafe fn transpose<T: Copy, const LANES: usize>(block: &TransposeBlock<T>) -> TransposeBlock<T> {
    #[cfg(target_arch = "x86_64")]
    if LANES == 16 && size_of::<T>() == 4 {
        // SAFETY: both squares are 1024 bytes without padding, and the caller is compiled for AVX-512.
        unsafe {
            let transposed = x86::transpose(&std::mem::transmute_copy(block));
            return std::mem::transmute_copy(&transposed);
        }
    }
    std::array::from_fn(|column| std::array::from_fn(|row| block[row][column]))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Exchanges rows and columns in three rounds: within quarters of registers, first single numbers and then pairs;
    /// then quarters between registers.
    #[inline(always)]
    pub unsafe fn transpose(rows: &[__m512; 16]) -> [__m512; 16] {
        // SAFETY: the caller is compiled for AVX-512.
        unsafe {
            let mut quarters = [_mm512_setzero_ps(); 16];
            for group in 0..4 {
                let [a, b, c, d] = [0, 1, 2, 3].map(|at| rows[4 * group + at]);
                let low =
                    (_mm512_castps_pd(_mm512_unpacklo_ps(a, b)), _mm512_castps_pd(_mm512_unpacklo_ps(c, d)));
                let high =
                    (_mm512_castps_pd(_mm512_unpackhi_ps(a, b)), _mm512_castps_pd(_mm512_unpackhi_ps(c, d)));
                quarters[4 * group] = _mm512_castpd_ps(_mm512_unpacklo_pd(low.0, low.1));
                quarters[4 * group + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low.0, low.1));
                quarters[4 * group + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high.0, high.1));
                quarters[4 * group + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high.0, high.1));
            }
            let mut transposed = [_mm512_setzero_ps(); 16];
            for at in 0..4 {
                let [a, b, c, d] = [0, 4, 8, 12].map(|group| quarters[group + at]);
                let even = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
                let odd = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
                transposed[at] = _mm512_shuffle_f32x4::<0x88>(even.0, even.1);
                transposed[4 + at] = _mm512_shuffle_f32x4::<0x88>(odd.0, odd.1);
                transposed[8 + at] = _mm512_shuffle_f32x4::<0xdd>(even.0, even.1);
                transposed[12 + at] = _mm512_shuffle_f32x4::<0xdd>(odd.0, odd.1);
            }
            transposed
        }
    }
}
