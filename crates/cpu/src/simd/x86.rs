//! The levels of x86-64 and their registers.

use std::arch::x86_64::*;

use super::vector::{Lanes, Vector, register};
use super::{Level, Simd};

/// AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

impl Simd for Avx2 {
    const LEVEL: Level = Level::Avx2;
    const REGISTERS: usize = 16;
    type F32 = Ymm32;
    type F64 = Ymm64;
    type I32 = Lanes<i32, 8>;
    type I64 = Lanes<i64, 4>;
}

/// AVX-512.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

impl Simd for Avx512 {
    const LEVEL: Level = Level::Avx512;
    const REGISTERS: usize = 32;
    type F32 = Zmm32;
    type F64 = Zmm64;
    type I32 = Lanes<i32, 16>;
    type I64 = Lanes<i64, 8>;
}

register! {
    /// Sixteen f32.
    Zmm32: __m512, f32, 16,
    splat: _mm512_set1_ps, load: _mm512_loadu_ps, store: _mm512_storeu_ps, plus: _mm512_add_ps,
    multiply_add: |left, right, plus| _mm512_fmadd_ps(left, right, plus),
    // Where one is `NaN` these give the second operand.
    clamp: |x, low, high| _mm512_min_ps(high, _mm512_max_ps(low, x)),
    load_first: |from, count| _mm512_maskz_loadu_ps(mask(count) as u16, from),
    store_first: |to, value, count| _mm512_mask_storeu_ps(to, mask(count) as u16, value);

    /// Eight f64.
    Zmm64: __m512d, f64, 8,
    splat: _mm512_set1_pd, load: _mm512_loadu_pd, store: _mm512_storeu_pd, plus: _mm512_add_pd,
    multiply_add: |left, right, plus| _mm512_fmadd_pd(left, right, plus),
    // Where one is `NaN` these give the second operand.
    clamp: |x, low, high| _mm512_min_pd(high, _mm512_max_pd(low, x)),
    load_first: |from, count| _mm512_maskz_loadu_pd(mask(count) as u8, from),
    store_first: |to, value, count| _mm512_mask_storeu_pd(to, mask(count) as u8, value);

    /// Eight f32.
    Ymm32: __m256, f32, 8,
    splat: _mm256_set1_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, plus: _mm256_add_ps,
    multiply_add: |left, right, plus| _mm256_fmadd_ps(left, right, plus),
    // Where one is `NaN` these give the second operand.
    clamp: |x, low, high| _mm256_min_ps(high, _mm256_max_ps(low, x)),
    load_first: |from, count| _mm256_maskload_ps(from, mask32(count)),
    store_first: |to, value, count| _mm256_maskstore_ps(to, mask32(count), value);

    /// Four f64.
    Ymm64: __m256d, f64, 4,
    splat: _mm256_set1_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd, plus: _mm256_add_pd,
    multiply_add: |left, right, plus| _mm256_fmadd_pd(left, right, plus),
    // Where one is `NaN` these give the second operand.
    clamp: |x, low, high| _mm256_min_pd(high, _mm256_max_pd(low, x)),
    load_first: |from, count| _mm256_maskload_pd(from, mask64(count)),
    store_first: |to, value, count| _mm256_maskstore_pd(to, mask64(count), value);
}

/// Ones in the lowest `count` bits.
#[inline(always)]
fn mask(count: usize) -> u32 {
    !0u32 >> (32 - count as u32)
}

/// All ones in the first `count` of eight lanes.
#[inline(always)]
unsafe fn mask32(count: usize) -> __m256i {
    // SAFETY: the caller is compiled for AVX2.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

/// All ones in the first `count` of four lanes.
#[inline(always)]
unsafe fn mask64(count: usize) -> __m256i {
    // SAFETY: the caller is compiled for AVX2.
    unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
}
