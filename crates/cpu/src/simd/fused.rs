//! Multiplying and adding with one rounding where no instruction does it: what the portable level needs to give the bits of the others.

/// `a * b + c`, rounded once.
///
/// In `f64` the product is exact, and of the sum what rounding took is known. A sum that isn't exact is made odd in its last place, towards what is
/// missing: such a number rounds to `f32` as the exact one does (Boldo and Melquiond, Emulation of a FMA and correctly rounded sums, 2008).
#[inline(always)]
pub(crate) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        return a.mul_add(b, c);
    }
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    let added = sum - product;
    let missing = (product - (sum - added)) + (c - added);
    // Of infinities and NaN what is missing is NaN, which is on neither side.
    let inexact = (missing > 0.0) | (missing < 0.0);
    let step = if (missing > 0.0) == (sum > 0.0) { 1 } else { u64::MAX };
    let bits = sum.to_bits();
    let even = bits & 1 == 0;
    f64::from_bits(bits.wrapping_add(if inexact & even { step } else { 0 })) as f32
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Number, Simd, Vector, stamp};
    use crate::threads::FlushDenormals;

    #[inline(always)]
    fn each<S: Simd>(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) {
        for (((out, a), b), c) in out.iter_mut().zip(a).zip(b).zip(c) {
            *out = S::multiply_add(*a, *b, *c);
        }
    }

    #[inline(always)]
    fn vectors<S: Simd>(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) {
        type Register<S> = <f32 as Number>::Vector<S>;
        for at in (0..out.len()).step_by(Register::<S>::LANES) {
            let count = Register::<S>::LANES.min(out.len() - at);
            // SAFETY: so many numbers are left; the copy is one that this machine can run.
            unsafe {
                let [a, b, c] = [a, b, c].map(|from| Register::<S>::load_first(from[at..].as_ptr(), count));
                a.multiply_add(b, c).store_first(out[at..].as_mut_ptr(), count);
            }
        }
    }

    stamp! {
        static EACH: fn(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) = each::<Here>;
        static VECTORS: fn(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) = vectors::<Here>;
    }

    /// Numbers where rounding is hard: of any size, near powers of two, tiny, huge and none at all.
    fn numbers(seed: i64, count: usize) -> Vec<f32> {
        const ODD: [f32; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            -f32::MIN_POSITIVE,
            1e-42,
            1.000_000_1,
            0.999_999_94,
        ];
        let number = |at: usize| {
            let bits = kiln_ir::random::bits(seed, at as i64);
            let any = bits as u32;
            match bits >> 61 {
                0 => ODD[(bits >> 32) as usize % ODD.len()],
                1 | 2 => f32::from_bits(any),
                // Of like size, with many zeros or ones at the end.
                3 => f32::from_bits((any & 0x807f_f000) | 0x3f80_0000),
                4 => f32::from_bits((any & 0x8000_0fff) | 0x3f80_0000),
                5 => f32::from_bits((any & 0x83ff_ffff) | 0x3c00_0000),
                // Products of these are tiny.
                6 => f32::from_bits((any & 0x80ff_ffff) | 0x1f80_0000),
                _ => f32::from_bits((any & 0x81ff_ffff) | 0x0080_0000),
            }
        };
        (0..count).map(number).collect()
    }

    #[test]
    fn it_rounds_once_at_every_level_with_tiny_numbers_and_without() {
        const COUNT: usize = 1 << 16;
        for seed in 0..48 {
            let [a, b, c] = [0, 1, 2].map(|part| numbers(3 * seed + part, COUNT));
            let flushing = (seed % 2 == 0).then(FlushDenormals::new);
            let mut expected: Option<Vec<f32>> = None;
            for level in Level::all_here().collect::<Vec<_>>().into_iter().rev() {
                for function in [EACH.at(level), VECTORS.at(level)] {
                    let mut found = vec![0.0; COUNT];
                    // SAFETY: `at` gives a copy that this machine can run; all have so many numbers.
                    unsafe { function(&a, &b, &c, &mut found) };
                    let expected = expected.get_or_insert_with(|| match flushing {
                        // The machine's own instruction, where it has one.
                        Some(_) => found.clone(),
                        None => (0..COUNT).map(|at| a[at].mul_add(b[at], c[at])).collect(),
                    });
                    for (at, (found, expected)) in found.iter().zip(expected.iter()).enumerate() {
                        let same =
                            found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                        let (a, b, c) = (a[at], b[at], c[at]);
                        assert!(
                            same,
                            "{a:e} * {b:e} + {c:e} is {found:e} at {}, not {expected:e}",
                            level.name()
                        );
                    }
                }
            }
        }
    }
}
