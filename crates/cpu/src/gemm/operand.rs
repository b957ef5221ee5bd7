//! The element types that products read, and how they become the numbers that are added up.

use super::kernels::GemmNumber;
use half::{bf16, f16};

/// An element type of the operands. Halves are converted while they are packed and are added up in f32.
pub trait GemmElement: Copy + Send + Sync + 'static {
    /// What its products are added up in.
    type Sum: GemmNumber;
    /// Whether it is the same type as its sums, so that kernels can read it where it lies.
    const PLAIN: bool;

    /// The element as a number to multiply.
    fn number(self) -> Self::Sum;
}

macro_rules! source {
    ($($type:ty, $sum:ty, $plain:literal, |$value:ident| $number:expr;)*) => { $(
        impl GemmElement for $type {
            type Sum = $sum;
            const PLAIN: bool = $plain;

            #[inline(always)]
            fn number(self) -> $sum {
                let $value = self;
                $number
            }
        }
    )* };
}

source! {
    f32, f32, true, |value| value;
    f64, f64, true, |value| value;
    i32, i32, true, |value| value;
    i64, i64, true, |value| value;
    bf16, f32, false, |value| f32::from_bits(u32::from(value.to_bits()) << 16);
    f16, f32, false, |value| half_to_single(value.to_bits());
}

/// An IEEE half as a single, without branches, so that loops over it are vectorised; and without arithmetic on
/// denormals, which may be switched off.
#[inline(always)]
fn half_to_single(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let normal = (magnitude << 13) + (112 << 23);
    let special = (magnitude << 13) | 0x7f80_0000;
    // A subnormal is a count of 2^-24.
    let subnormal = (magnitude as i32 as f32 * f32::from_bits(0x3380_0000)).to_bits();
    let finite = if magnitude < 0x0400 { subnormal } else { normal };
    f32::from_bits(sign | if magnitude >= 0x7c00 { special } else { finite })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (half_to_single(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#x}");
        }
    }
}
