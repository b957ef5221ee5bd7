//! The numbers that attention reads, computes with and writes.

use std::ops::{Add, Mul, Sub};

use kiln_ir::half::{bf16, f16};

use crate::fused::math;
use crate::gemm::{GemmElement, GemmNumber};
use crate::simd::Simd;

/// A number that scores are computed in.
pub(crate) trait Score:
    GemmNumber + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// What no score is below.
    const LOWEST: Self;

    /// `e^self`.
    fn exp<S: Simd>(self) -> Self;

    /// The natural logarithm.
    fn ln<S: Simd>(self) -> Self;

    /// `1 / self`.
    fn recip(self) -> Self;

    /// The nearest to a number.
    fn of(number: f64) -> Self;
}

impl Score for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn exp<S: Simd>(self) -> f32 {
        math::exp::<S>(self)
    }

    #[inline(always)]
    fn ln<S: Simd>(self) -> f32 {
        math::ln::<S>(self)
    }

    #[inline(always)]
    fn recip(self) -> f32 {
        1.0 / self
    }

    fn of(number: f64) -> f32 {
        number as f32
    }
}

impl Score for f64 {
    const LOWEST: f64 = f64::NEG_INFINITY;

    #[inline(always)]
    fn exp<S: Simd>(self) -> f64 {
        libm::exp(self)
    }

    #[inline(always)]
    fn ln<S: Simd>(self) -> f64 {
        libm::log(self)
    }

    #[inline(always)]
    fn recip(self) -> f64 {
        1.0 / self
    }

    fn of(number: f64) -> f64 {
        number
    }
}

/// An element of queries, keys, values and results.
pub(crate) trait AttentionElement: GemmElement<Sum: Score> {
    /// The element nearest to a number.
    fn nearest(number: Self::Sum) -> Self;
}

macro_rules! element {
    ($($type:ty, $number:ty, |$value:ident| $nearest:expr;)*) => { $(
        impl AttentionElement for $type {
            #[inline(always)]
            fn nearest($value: $number) -> $type {
                $nearest
            }
        }
    )* };
}

element! {
    f32, f32, |value| value;
    f64, f64, |value| value;
    f16, f32, |value| f16::from_f32(value);
    bf16, f32, |value| bf16::from_f32(value);
}
