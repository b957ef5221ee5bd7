//! What the loops do with each lane: the operations of a program, and what is made of two of them at once.

use super::loops::{Lane, LaneFunction, Summand};
use super::math;
use crate::simd::{Level, Portable, Simd};

/// What all numbers can do, with the meaning the graph's operations give it.
pub(super) trait LaneNumber: Lane {
    /// Whether these are integers.
    const WHOLE: bool;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn pow(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn relu(self) -> Self;
}

macro_rules! floats {
    ($($lane:ty, $rem:ident, $pow:ident;)*) => {$(
        impl LaneNumber for $lane {
            const WHOLE: bool = false;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self - other }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn div(self, other: Self) -> Self { self / other }
            #[inline(always)]
            fn rem(self, other: Self) -> Self { libm::$rem(self, other) }
            #[inline(always)]
            fn pow(self, other: Self) -> Self { libm::$pow(self, other) }
            #[inline(always)]
            fn larger(self, other: Self) -> Self {
                // One choice; two aren't made vector code everywhere.
                if (self > other) | self.is_nan() { self } else { other }
            }
            #[inline(always)]
            fn smaller(self, other: Self) -> Self {
                if (self < other) | self.is_nan() { self } else { other }
            }
            #[inline(always)]
            fn neg(self) -> Self { -self }
            #[inline(always)]
            fn abs(self) -> Self { <$lane>::abs(self) }
            #[inline(always)]
            fn sign(self) -> Self {
                let sign = if self > 0.0 { 1.0 } else if self < 0.0 { -1.0 } else { 0.0 };
                if self.is_nan() { self } else { sign }
            }
            #[inline(always)]
            fn relu(self) -> Self { if self < 0.0 { 0.0 } else { self } }
        }
    )*};
}

macro_rules! integers {
    ($($lane:ty)*) => {$(
        impl LaneNumber for $lane {
            const WHOLE: bool = true;
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline(always)]
            fn div(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn rem(self, other: Self) -> Self { if other == 0 { 0 } else { self.wrapping_rem(other) } }
            #[inline(always)]
            fn pow(self, other: Self) -> Self {
                if other < 0 { return 0; }
                let (mut base, mut rest, mut result) = (self, other, 1);
                while rest > 0 {
                    if rest & 1 == 1 { result = LaneNumber::mul(result, base); }
                    base = base.wrapping_mul(base);
                    rest >>= 1;
                }
                result
            }
            #[inline(always)]
            fn larger(self, other: Self) -> Self { self.max(other) }
            #[inline(always)]
            fn smaller(self, other: Self) -> Self { self.min(other) }
            #[inline(always)]
            fn neg(self) -> Self { self.wrapping_neg() }
            #[inline(always)]
            fn abs(self) -> Self { self.wrapping_abs() }
            #[inline(always)]
            fn sign(self) -> Self { self.signum() }
            #[inline(always)]
            fn relu(self) -> Self { self.max(0) }
        }
    )*};
}

floats! {
    f32, fmodf, powf;
    f64, fmod, pow;
}
integers!(i32 i64);

/// What instructions do with subnormals and functions of the system's don't.
trait Flushed {
    /// The number, or a zero of its sign where the level rounds to whole numbers by a call.
    fn flushed<S: Simd>(self) -> Self;
}

macro_rules! flushed {
    ($($lane:ty)*) => {$(
        impl Flushed for $lane {
            #[inline(always)]
            fn flushed<S: Simd>(self) -> Self {
                let call = matches!(S::LEVEL, Level::Portable);
                if call & (self.abs() < <$lane>::MIN_POSITIVE) { (0.0 as $lane).copysign(self) } else { self }
            }
        }
    )*};
}

flushed!(f32 f64);

/// Defines functions of lanes; the operands that a body doesn't name aren't used. `scalar if` says when no level has vectors for one.
macro_rules! functions {
    ($(
        $name:ident<$($generic:ident: $bound:ident)?>($a:ty, $b:ty, $c:ty) -> $out:ty
            = |$x:ident, $y:ident, $z:ident| $body:expr $(, scalar if $scalar:expr)?;
    )*) => {$(
        pub(super) struct $name$(<$generic>(std::marker::PhantomData<$generic>))?;
        impl$(<$generic: $bound>)? LaneFunction for $name$(<$generic>)? {
            type A = $a;
            type B = $b;
            type C = $c;
            type Out = $out;
            $(const SCALAR: bool = $scalar;)?
            #[inline(always)]
            fn call<S: Simd>($x: $a, $y: $b, $z: $c) -> $out { $body }
        }
    )*};
}

functions! {
    Add<T: LaneNumber>(T, T, T) -> T = |x, y, _z| x.add(y);
    Sub<T: LaneNumber>(T, T, T) -> T = |x, y, _z| x.sub(y);
    Mul<T: LaneNumber>(T, T, T) -> T = |x, y, _z| x.mul(y);
    Div<T: LaneNumber>(T, T, T) -> T = |x, y, _z| x.div(y), scalar if T::WHOLE;
    Rem<T: LaneNumber>(T, T, T) -> T = |x, y, _z| x.rem(y), scalar if true;
    Pow<T: LaneNumber>(T, T, T) -> T = |x, y, _z| x.pow(y), scalar if true;
    Less<T: LaneNumber>(T, T, T) -> i32 = |x, y, _z| i32::from(x < y);
    LessOrEqual<T: LaneNumber>(T, T, T) -> i32 = |x, y, _z| i32::from(x <= y);
    Equal<T: LaneNumber>(T, T, T) -> i32 = |x, y, _z| i32::from(x == y);
    Unequal<T: LaneNumber>(T, T, T) -> i32 = |x, y, _z| i32::from(x != y);
    Neg<T: LaneNumber>(T, T, T) -> T = |x, _y, _z| x.neg();
    Abs<T: LaneNumber>(T, T, T) -> T = |x, _y, _z| x.abs();
    Sign<T: LaneNumber>(T, T, T) -> T = |x, _y, _z| x.sign();
    Relu<T: LaneNumber>(T, T, T) -> T = |x, _y, _z| x.relu();
    Copy_<T: Lane>(T, T, T) -> T = |x, _y, _z| x;
    Select<T: Lane>(i32, T, T) -> T = |x, y, z| if x != 0 { y } else { z };
    // Rounded after each operation, so that one loop for several instructions gives what a loop for each would.
    MulAdd<>(f32, f32, f32) -> f32 = |x, y, z| x * y + z;
    MulSub<>(f32, f32, f32) -> f32 = |x, y, z| x * y - z;
    SubMul<>(f32, f32, f32) -> f32 = |x, y, z| z - x * y;
    MulMul<>(f32, f32, f32) -> f32 = |x, y, z| x * y * z;
    SubDiv<>(f32, f32, f32) -> f32 = |x, y, z| z - x / y;
    SqrtMulAdd<>(f32, f32, f32) -> f32 = |x, y, z| x.sqrt() * y + z;
    SubExp<>(f32, f32, f32) -> f32 = |x, y, _z| math::exp::<S>(x - y);
    AddRelu<>(f32, f32, f32) -> f32 = |x, y, _z| (x + y).relu();
    And32<>(i32, i32, i32) -> i32 = |x, y, _z| x & y;
    Or32<>(i32, i32, i32) -> i32 = |x, y, _z| x | y;
    Xor32<>(i32, i32, i32) -> i32 = |x, y, _z| x ^ y;
    And64<>(i64, i64, i64) -> i64 = |x, y, _z| x & y;
    Or64<>(i64, i64, i64) -> i64 = |x, y, _z| x | y;
    Xor64<>(i64, i64, i64) -> i64 = |x, y, _z| x ^ y;
    Not<>(i32, i32, i32) -> i32 = |x, _y, _z| x ^ 1;
    Random<>(i64, i64, i64) -> f32 = |x, y, _z| kiln_ir::random::uniform(x, y);

    Exp<>(f32, f32, f32) -> f32 = |x, _y, _z| math::exp::<S>(x);
    ExpM1<>(f32, f32, f32) -> f32 = |x, _y, _z| math::exp_m1::<S>(x);
    Ln<>(f32, f32, f32) -> f32 = |x, _y, _z| math::ln::<S>(x);
    Ln1p<>(f32, f32, f32) -> f32 = |x, _y, _z| math::ln_1p::<S>(x);
    Tanh<>(f32, f32, f32) -> f32 = |x, _y, _z| math::tanh::<S>(x);
    Sigmoid<>(f32, f32, f32) -> f32 = |x, _y, _z| math::sigmoid::<S>(x);
    Erf<>(f32, f32, f32) -> f32 = |x, _y, _z| math::erf::<S>(x);
    Sqrt<>(f32, f32, f32) -> f32 = |x, _y, _z| x.sqrt();
    Rsqrt<>(f32, f32, f32) -> f32 = |x, _y, _z| 1.0 / x.sqrt();
    Recip<>(f32, f32, f32) -> f32 = |x, _y, _z| 1.0 / x;
    Floor<>(f32, f32, f32) -> f32 = |x, _y, _z| x.flushed::<S>().floor();
    Ceil<>(f32, f32, f32) -> f32 = |x, _y, _z| x.flushed::<S>().ceil();
    Round<>(f32, f32, f32) -> f32 = |x, _y, _z| x.round_ties_even();

    ExpDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::exp(x), scalar if true;
    ExpM1Double<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::expm1(x), scalar if true;
    LnDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::log(x), scalar if true;
    Ln1pDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::log1p(x), scalar if true;
    TanhDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::tanh(x), scalar if true;
    SigmoidDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| 1.0 / (1.0 + libm::exp(-x)), scalar if true;
    ErfDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::erf(x), scalar if true;
    SinDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::sin(x), scalar if true;
    CosDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| libm::cos(x), scalar if true;
    SqrtDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.sqrt();
    RsqrtDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| 1.0 / x.sqrt();
    RecipDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| 1.0 / x;
    FloorDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.flushed::<S>().floor();
    CeilDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.flushed::<S>().ceil();
    RoundDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.round_ties_even();

    WrapU8<>(i32, i32, i32) -> i32 = |x, _y, _z| x & 0xff;
    WrapU16<>(i32, i32, i32) -> i32 = |x, _y, _z| x & 0xffff;
    HalfRound<>(f32, f32, f32) -> f32 = |x, _y, _z| math::half_round(x);
    BrainRound<>(f32, f32, f32) -> f32 = |x, _y, _z| kiln_ir::half::bf16::from_f32(x).to_f32();
    SingleToDouble<>(f32, f32, f32) -> f64 = |x, _y, _z| f64::from(x);
    SingleToLong<>(f32, f32, f32) -> i64 = |x, _y, _z| x as i64;
    SingleToInt<>(f32, f32, f32) -> i32 = |x, _y, _z| x as i64 as i32;
    SingleToBool<>(f32, f32, f32) -> i32 = |x, _y, _z| i32::from(x != 0.0);
    DoubleToSingle<>(f64, f64, f64) -> f32 = |x, _y, _z| x as f32;
    DoubleToLong<>(f64, f64, f64) -> i64 = |x, _y, _z| x as i64;
    DoubleToInt<>(f64, f64, f64) -> i32 = |x, _y, _z| x as i64 as i32;
    DoubleToBool<>(f64, f64, f64) -> i32 = |x, _y, _z| i32::from(x != 0.0);
    LongToSingle<>(i64, i64, i64) -> f32 = |x, _y, _z| x as f32;
    LongToDouble<>(i64, i64, i64) -> f64 = |x, _y, _z| x as f64;
    LongToInt<>(i64, i64, i64) -> i32 = |x, _y, _z| x as i32;
    LongToBool<>(i64, i64, i64) -> i32 = |x, _y, _z| i32::from(x != 0);
    IntToSingle<>(i32, i32, i32) -> f32 = |x, _y, _z| x as f32;
    IntToDouble<>(i32, i32, i32) -> f64 = |x, _y, _z| f64::from(x);
    IntToLong<>(i32, i32, i32) -> i64 = |x, _y, _z| i64::from(x);
    IntToBool<>(i32, i32, i32) -> i32 = |x, _y, _z| i32::from(x != 0);
}

/// A choice of one of two lanes, `NaN` before any number.
macro_rules! choices {
    ($($name:ident = $choice:ident, $better:tt;)*) => {$(
        pub(super) struct $name<T>(std::marker::PhantomData<T>);
        impl<T: LaneNumber> LaneFunction for $name<T> {
            type A = T;
            type B = T;
            type C = T;
            type Out = T;
            const NAN_APART: bool = !T::WHOLE;
            #[inline(always)]
            fn call<S: Simd>(x: T, y: T, _: T) -> T {
                x.$choice(y)
            }
            #[inline(always)]
            fn of_numbers<S: Simd>(x: T, y: T, _: T) -> T {
                if x $better y { x } else { y }
            }
        }
    )*};
}

choices! {
    Larger = larger, >;
    Smaller = smaller, <;
}

/// The lane itself.
pub(super) struct Itself;
impl Summand for Itself {
    #[inline(always)]
    fn of(x: f32) -> f32 {
        x
    }
}

/// Its square.
pub(super) struct Square;
impl Summand for Square {
    #[inline(always)]
    fn of(x: f32) -> f32 {
        x * x
    }
}

/// A function of an angle: of large ones the crate `libm`'s.
macro_rules! angles {
    ($($name:ident = $function:ident, $large:ident;)*) => {$(
        pub(super) struct $name;
        impl LaneFunction for $name {
            type A = f32;
            type B = f32;
            type C = f32;
            type Out = f32;
            #[inline(always)]
            fn call<S: Simd>(x: f32, _: f32, _: f32) -> f32 {
                math::$function::<S>(x)
            }
            #[inline(always)]
            fn is_rare(x: f32) -> bool {
                (x.abs() > math::FAST_ANGLE) | x.is_nan()
            }
            fn call_rarely(x: f32, _: f32, _: f32) -> f32 {
                if x.abs() <= math::FAST_ANGLE { math::$function::<Portable>(x) } else { libm::$large(x) }
            }
        }
    )*};
}

angles! {
    Sin = sin, sinf;
    Cos = cos, cosf;
}
