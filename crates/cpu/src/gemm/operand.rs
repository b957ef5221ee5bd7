//! The element types that products read, and how they become the numbers that are added up.

use super::kernels::GemmNumber;
use kiln_ir::half::{bf16, f16};
use kiln_ir::packed::single_of_half;

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
    f16, f32, false, |value| single_of_half(value.to_bits());
}
