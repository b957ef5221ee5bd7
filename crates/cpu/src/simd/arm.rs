//! Arm's level and its registers.

use std::arch::aarch64::*;

use super::vector::{Lanes, Vector, register};
use super::{Level, Simd};

/// NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

impl Simd for Neon {
    const LEVEL: Level = Level::Neon;
    const REGISTERS: usize = 32;
    type F32 = Neon32;
    type F64 = Neon64;
    type I32 = Lanes<i32, 4>;
    type I64 = Lanes<i64, 2>;
}

register! {
    /// Four f32.
    Neon32: float32x4_t, f32, 4,
    splat: vdupq_n_f32, load: vld1q_f32, store: vst1q_f32, plus: vaddq_f32,
    multiply_add: |left, right, plus| vfmaq_f32(plus, left, right),
    clamp: |x, low, high| {
        let x = vbslq_f32(vcltq_f32(x, low), low, x);
        vbslq_f32(vcgtq_f32(x, high), high, x)
    },
    load_first: |from, count| {
        let mut lanes = [0.0; 4];
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
        vld1q_f32(lanes.as_ptr())
    },
    store_first: |to, value, count| {
        let mut lanes = [0.0; 4];
        vst1q_f32(lanes.as_mut_ptr(), value);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count)
    };

    /// Two f64.
    Neon64: float64x2_t, f64, 2,
    splat: vdupq_n_f64, load: vld1q_f64, store: vst1q_f64, plus: vaddq_f64,
    multiply_add: |left, right, plus| vfmaq_f64(plus, left, right),
    clamp: |x, low, high| {
        let x = vbslq_f64(vcltq_f64(x, low), low, x);
        vbslq_f64(vcgtq_f64(x, high), high, x)
    },
    load_first: |from, count| {
        let mut lanes = [0.0; 2];
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
        vld1q_f64(lanes.as_ptr())
    },
    store_first: |to, value, count| {
        let mut lanes = [0.0; 2];
        vst1q_f64(lanes.as_mut_ptr(), value);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count)
    };
}
