//! A vector register of numbers, as the micro-kernels see it: one type for each level and element type.
//!
//! All methods are `#[inline(always)]` and compiled into functions that have the level's instructions (`kernel`), so
//! the intrinsics inside become single instructions.

/// A number that products add up in.
pub trait Number: Copy + PartialEq + Default + Send + Sync + std::fmt::Debug + 'static {
    /// `self * by + plus`, rounded twice; integers wrap.
    fn multiply_add(self, by: Self, plus: Self) -> Self;

    /// The sum; integers wrap.
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.multiply_add(Self::ONE, other)
    }

    /// One.
    const ONE: Self;
}

impl Number for f32 {
    const ONE: Self = 1.0;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self * by + plus
    }
}

impl Number for f64 {
    const ONE: Self = 1.0;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self * by + plus
    }
}

impl Number for i32 {
    const ONE: Self = 1;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self.wrapping_mul(by).wrapping_add(plus)
    }
}

impl Number for i64 {
    const ONE: Self = 1;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self.wrapping_mul(by).wrapping_add(plus)
    }
}

/// A register of numbers.
pub trait Vector: Copy {
    /// What it holds.
    type Number: Number;
    /// How many.
    const LANES: usize;

    /// All lanes the same.
    ///
    /// # Safety
    /// This and all other methods: the machine has the type's instructions.
    unsafe fn splat(value: Self::Number) -> Self;

    /// Reads a full register.
    ///
    /// # Safety
    /// All lanes are readable.
    unsafe fn load(from: *const Self::Number) -> Self;

    /// Writes a full register.
    ///
    /// # Safety
    /// All lanes are writable.
    unsafe fn store(self, to: *mut Self::Number);

    /// Reads the first `count` lanes, from 1 to all of them, and sets the others to zero.
    ///
    /// # Safety
    /// The first `count` lanes are readable.
    unsafe fn load_first(from: *const Self::Number, count: usize) -> Self;

    /// Writes the first `count` lanes, from 1 to all of them.
    ///
    /// # Safety
    /// The first `count` lanes are writable.
    unsafe fn store_first(self, to: *mut Self::Number, count: usize);

    /// `self * by + plus`, rounded once where the level has such an instruction.
    ///
    /// # Safety
    /// As for all methods.
    unsafe fn multiply_add(self, by: Self, plus: Self) -> Self;

    /// The sum of the lanes, by halving.
    ///
    /// # Safety
    /// As for all methods.
    #[inline(always)]
    unsafe fn sum(self) -> Self::Number {
        let mut lanes = [Self::Number::default(); 16];
        // SAFETY: no register has more than 16 lanes.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                lanes[lane] = lanes[lane].plus(lanes[lane + width]);
            }
        }
        lanes[0]
    }
}

/// A register without instructions of its own: an array, for the portable level and for integers, which the compiler
/// vectorises as well as it can.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Lanes<T, const LANES: usize>([T; LANES]);

impl<T: Number, const LANES: usize> Vector for Lanes<T, LANES> {
    type Number = T;
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Lanes([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller says that all lanes are readable.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller says that all lanes are writable.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const T, count: usize) -> Self {
        let mut lanes = [T::default(); LANES];
        for (lane, value) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: the lane is among the first `count`.
            *value = unsafe { from.add(lane).read() };
        }
        Lanes(lanes)
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut T, count: usize) {
        for (lane, value) in self.0.into_iter().enumerate().take(count) {
            // SAFETY: the lane is among the first `count`.
            unsafe { to.add(lane).write(value) };
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, by: Self, plus: Self) -> Self {
        Lanes(std::array::from_fn(|lane| self.0[lane].multiply_add(by.0[lane], plus.0[lane])))
    }
}

/// Implements [`Vector`] by intrinsics. The masked load and store are given as closures over the pointer and count.
macro_rules! register {
    ($(#[$meta:meta])* $name:ident: $inner:ty, $number:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident,
        |$plus:ident, $left:ident, $right:ident| $fused:expr,
        |$from:ident, $count:ident| $load_first:expr, |$to:ident, $value:ident, $number_of:ident| $store_first:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub struct $name($inner);

        impl Vector for $name {
            type Number = $number;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(value: $number) -> Self {
                // SAFETY: the caller says that the machine has the instruction.
                $name(unsafe { $splat(value) })
            }

            #[inline(always)]
            unsafe fn load(from: *const $number) -> Self {
                // SAFETY: the caller says that all lanes are readable.
                $name(unsafe { $load(from) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $number) {
                // SAFETY: the caller says that all lanes are writable.
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            unsafe fn load_first($from: *const $number, $count: usize) -> Self {
                // SAFETY: only the first lanes, which the caller says are readable, are touched.
                $name(unsafe { $load_first })
            }

            #[inline(always)]
            unsafe fn store_first(self, $to: *mut $number, $number_of: usize) {
                let $value = self.0;
                // SAFETY: only the first lanes, which the caller says are writable, are touched.
                unsafe { $store_first }
            }

            #[inline(always)]
            unsafe fn multiply_add(self, by: Self, plus: Self) -> Self {
                let ($left, $right, $plus) = (self.0, by.0, plus.0);
                // SAFETY: the caller says that the machine has the instruction.
                $name(unsafe { $fused })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub use x86::*;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    register! {
        /// Sixteen f32.
        Zmm32: __m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps,
        |plus, left, right| _mm512_fmadd_ps(left, right, plus),
        |from, count| _mm512_maskz_loadu_ps((!0u32 >> (32 - count as u32)) as u16, from),
        |to, value, count| _mm512_mask_storeu_ps(to, (!0u32 >> (32 - count as u32)) as u16, value)
    }

    register! {
        /// Eight f64.
        Zmm64: __m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd,
        |plus, left, right| _mm512_fmadd_pd(left, right, plus),
        |from, count| _mm512_maskz_loadu_pd((!0u32 >> (32 - count as u32)) as u8, from),
        |to, value, count| _mm512_mask_storeu_pd(to, (!0u32 >> (32 - count as u32)) as u8, value)
    }

    register! {
        /// Eight f32.
        Ymm32: __m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps,
        |plus, left, right| _mm256_fmadd_ps(left, right, plus),
        |from, count| _mm256_maskload_ps(from, mask32(count)),
        |to, value, count| _mm256_maskstore_ps(to, mask32(count), value)
    }

    register! {
        /// Four f64.
        Ymm64: __m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd,
        |plus, left, right| _mm256_fmadd_pd(left, right, plus),
        |from, count| _mm256_maskload_pd(from, mask64(count)),
        |to, value, count| _mm256_maskstore_pd(to, mask64(count), value)
    }

    /// All ones in the first `count` of eight lanes.
    #[inline(always)]
    unsafe fn mask32(count: usize) -> __m256i {
        // SAFETY: the caller is compiled for AVX2.
        unsafe {
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
        }
    }

    /// All ones in the first `count` of four lanes.
    #[inline(always)]
    unsafe fn mask64(count: usize) -> __m256i {
        // SAFETY: the caller is compiled for AVX2.
        unsafe { _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3)) }
    }
}

#[cfg(target_arch = "aarch64")]
pub use arm::*;

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{Lanes, Vector};
    use std::arch::aarch64::*;

    register! {
        /// Four f32.
        Neon32: float32x4_t, f32, 4, vdupq_n_f32, vld1q_f32, vst1q_f32,
        |plus, left, right| vfmaq_f32(plus, left, right),
        |from, count| vld1q_f32(std::mem::transmute::<Lanes<f32, 4>, [f32; 4]>(Lanes::load_first(from, count)).as_ptr()),
        |to, value, count| {
            let mut lanes = [0f32; 4];
            vst1q_f32(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count)
        }
    }

    register! {
        /// Two f64.
        Neon64: float64x2_t, f64, 2, vdupq_n_f64, vld1q_f64, vst1q_f64,
        |plus, left, right| vfmaq_f64(plus, left, right),
        |from, count| vld1q_f64(std::mem::transmute::<Lanes<f64, 2>, [f64; 2]>(Lanes::load_first(from, count)).as_ptr()),
        |to, value, count| {
            let mut lanes = [0f64; 2];
            vst1q_f64(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count)
        }
    }
}
