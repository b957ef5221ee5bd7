//! Functions of one `f32`, free of branches, so that a loop over them becomes vector code.
//!
//! Each is good to a few units in the last place over its whole range, and right at zeros, infinities and `NaN`. The
//! reductions and polynomials are those of the Cephes library.

#![expect(
    clippy::excessive_precision,
    reason = "the coefficients are given with the digits they were published with"
)]

use crate::simd::Simd;

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for &coefficient in &coefficients[1..] {
        sum = S::multiply_add(sum, x, coefficient);
    }
    sum
}

/// `x` as `n · ln 2 + r`, with `n` whole and `r` at most half of `ln 2`: a number whose lowest nine bits are those of `n + 254`, and `r`.
#[inline(always)]
fn reduce<S: Simd>(x: f32) -> (u32, f32) {
    // Adding 1.5 · 2²³ rounds to a whole number and leaves it in the lowest bits; adding 254 more, twice the bias of an exponent,
    // makes exponents of them and of their halves.
    const ROUND: f32 = 12_582_912.0 + 254.0;
    let shifted = S::multiply_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = S::multiply_add(n, -0.693_359_4, x);
    let r = S::multiply_add(n, 2.121_944_4e-4, r);
    (shifted.to_bits(), r)
}

/// `e^r - 1` for small `r`.
#[inline(always)]
fn exp_m1_small<S: Simd>(r: f32) -> f32 {
    let p = polynomial::<S, 6>(
        r,
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1],
    );
    S::multiply_add(p, r * r, r)
}

/// The number with the lowest bits of this one as its exponent.
#[inline(always)]
fn power_of_two(exponent: u32) -> f32 {
    f32::from_bits(exponent << 23)
}

/// The nearest number that `f16` has, ties to even.
#[inline(always)]
pub(super) fn half_round(x: f32) -> f32 {
    let size = x.abs();
    let bits = size.to_bits();
    let nearest = f32::from_bits(bits.wrapping_add(0xfff + ((bits >> 13) & 1)) & !0x1fff);
    let nearest = if nearest > 65_504.0 { f32::INFINITY } else { nearest };
    // Below 2⁻¹⁴ all steps are 2⁻²⁴, the last place of what is near 0.75.
    let small = (size + 0.75) - 0.75;
    let nearest = if size < 6.103_515_6e-5 { small } else { nearest };
    if x.is_nan() { x } else { nearest.copysign(x) }
}

#[inline(always)]
pub(crate) fn exp<S: Simd>(x: f32) -> f32 {
    // The comparisons let NaN through.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (n, r) = reduce::<S>(x);
    // In two steps, since 2^128 is no number.
    let half = n >> 1;
    (exp_m1_small::<S>(r) + 1.0) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
pub(super) fn exp_m1<S: Simd>(x: f32) -> f32 {
    let tame = if x > 87.0 { 87.0 } else { x };
    let tame = if tame < -30.0 { -30.0 } else { tame };
    let (n, r) = reduce::<S>(tame);
    let scale = power_of_two(n.wrapping_sub(127));
    let near = S::multiply_add(exp_m1_small::<S>(r), scale, scale - 1.0);
    let y = if x > 87.0 { exp::<S>(x) } else { near };
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn ln<S: Simd>(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) as i32).wrapping_sub(126) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let low = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let e = if low { exponent - 1.0 } else { exponent };
    let m = if low { mantissa + mantissa - 1.0 } else { mantissa - 1.0 };
    let z = m * m;
    let p = polynomial::<S, 9>(
        m,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333_1e-1,
        ],
    );
    let y = S::multiply_add(e, -2.121_944_4e-4, p * m * z);
    let y = S::multiply_add(z, -0.5, y);
    let y = S::multiply_add(e, 0.693_359_4, m + y);
    // Denormals count as zero, as everywhere on this device.
    let y = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { y };
    let y = if x <= -f32::MIN_POSITIVE { f32::NAN } else { y };
    let y = if x == f32::INFINITY { x } else { y };
    if x.is_nan() { x } else { y }
}

#[inline(always)]
pub(super) fn ln_1p<S: Simd>(x: f32) -> f32 {
    // What rounding took from 1 + x is put back by the factor.
    let u = 1.0 + x;
    let y = ln::<S>(u) * (x / (u - 1.0));
    let y = if u == 1.0 { x } else { y };
    let y = if u == 0.0 { f32::NEG_INFINITY } else { y };
    if x == f32::INFINITY { x } else { y }
}

#[inline(always)]
pub(super) fn tanh<S: Simd>(x: f32) -> f32 {
    let z = x * x;
    let near = polynomial::<S, 5>(
        z,
        [-5.704_988_7e-3, 2.063_908_9e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328_2e-1],
    );
    let near = S::multiply_add(near * z, x, x);
    let far = 1.0 - 2.0 / (exp::<S>(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { near } else { far.copysign(x) }
}

#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<S>(-x))
}

#[inline(always)]
pub(super) fn erf<S: Simd>(x: f32) -> f32 {
    let z = x * x;
    let near = x * polynomial::<S, 7>(
        z,
        [
            7.853_861_4e-5,
            -8.010_193_6e-4,
            5.188_327_7e-3,
            -2.685_381_2e-2,
            1.128_358_5e-1,
            -3.761_262_6e-1,
            std::f32::consts::FRAC_2_SQRT_PI,
        ],
    );
    let a = x.abs();
    let q = 1.0 / a;
    let y = q * q;
    let middle = polynomial::<S, 9>(
        y,
        [
            2.326_82e-2,
            -1.387_039_4e-1,
            3.687_424_7e-1,
            -5.824_733e-1,
            6.210_004_6e-1,
            -4.944_515_3e-1,
            3.404_88e-1,
            -2.741_127e-1,
            5.638_259_4e-1,
        ],
    );
    let outer = polynomial::<S, 8>(
        y,
        [
            -1.047_766_4e1,
            1.297_719_9e1,
            -7.495_518_7,
            2.921_019,
            -1.015_265_3,
            4.218_463_3e-1,
            -2.820_767_4e-1,
            5.641_895e-1,
        ],
    );
    let rest = exp::<S>(-z) * q * if a < 2.0 { middle } else { outer };
    let far = (1.0 - if a > 6.0 { 0.0 } else { rest }).copysign(x);
    let far = if x.is_nan() { x } else { far };
    if a < 1.0 { near } else { far }
}

/// Up to this size the argument of sine and cosine is reduced well.
pub(super) const FAST_ANGLE: f32 = 1e8;

/// The angle less a multiple of π/2, and that multiple; in `f64`, where the angle is exact.
#[inline(always)]
fn quarter(x: f32) -> (i32, f32) {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = f64::from(x) * std::f64::consts::FRAC_2_PI + ROUND;
    let n = shifted - ROUND;
    let r = f64::from(x) - n * std::f64::consts::FRAC_PI_2 - n * 6.123_233_995_736_766e-17;
    (shifted.to_bits() as i32, r as f32)
}

#[inline(always)]
fn sine_or_cosine<S: Simd>(quadrant: i32, r: f32) -> f32 {
    let z = r * r;
    let sine = polynomial::<S, 3>(z, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let sine = S::multiply_add(sine * z, r, r);
    let cosine = polynomial::<S, 3>(z, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let cosine = S::multiply_add(cosine * z, z, S::multiply_add(z, -0.5, 1.0));
    let y = if quadrant & 1 == 0 { sine } else { cosine };
    if quadrant & 2 == 0 { y } else { -y }
}

#[inline(always)]
pub(super) fn sin<S: Simd>(x: f32) -> f32 {
    let (quadrant, r) = quarter(x);
    sine_or_cosine::<S>(quadrant, r)
}

#[inline(always)]
pub(super) fn cos<S: Simd>(x: f32) -> f32 {
    let (quadrant, r) = quarter(x);
    sine_or_cosine::<S>(quadrant.wrapping_add(1), r)
}

#[cfg(test)]
mod tests {
    use kiln_ir::half::f16;

    #[test]
    fn rounding_to_half_agrees_with_the_conversion() {
        let around = (0..=u16::MAX).flat_map(|bits| {
            let bits = f16::from_bits(bits).to_f32().to_bits();
            // The number itself, its neighbours, and what lies half way to the next and around that.
            [0i32, -1, 1, 0xfff, 0x1000, 0x1001].map(|step| f32::from_bits(bits.wrapping_add_signed(step)))
        });
        for x in around.chain([65_519.9, 65_520.0, 1e30, 2.9e-8, 3.0e-8, 1e-20]) {
            let (found, expected) = (super::half_round(x), f16::from_f32(x).to_f32());
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{x:e}: {found:e} instead of {expected:e}");
        }
    }
}
