//! The loops of the block interpreter: one for each operation and lane type, compiled once for every level of the
//! processor.
//!
//! A loop reads a chunk of lanes before it writes it, so the result may go exactly where an operand is.

use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};

use super::math;
use crate::simd::Level;

/// A number type that registers hold.
pub(super) trait Lane: Copy + Default + PartialOrd + Send + Sync + 'static {}
impl Lane for f32 {}
impl Lane for f64 {}
impl Lane for i32 {}
impl Lane for i64 {}

/// A loop over up to three operands: result, operands, how many lanes. Operands that are one value for all lanes are read
/// at their first lane only.
pub(super) type Loop = unsafe fn(*mut u8, *const u8, *const u8, *const u8, usize);

/// What a loop does with each lane. `FUSED`: the processor multiplies and adds in one instruction.
pub(super) trait Function {
    type A: Lane;
    type B: Lane;
    type C: Lane;
    type Out: Lane;
    fn call<const FUSED: bool>(a: Self::A, b: Self::B, c: Self::C) -> Self::Out;

    /// Whether a lane is one of the few that `call` isn't made for. A chunk with such a lane is computed by
    /// [`Function::call_rarely`], so that the others are free of branches.
    #[inline(always)]
    fn is_rare(_: Self::A) -> bool {
        false
    }

    /// What becomes of a lane in such a chunk.
    #[inline(always)]
    fn call_rarely(a: Self::A, b: Self::B, c: Self::C) -> Self::Out {
        Self::call::<false>(a, b, c)
    }
}

/// Lanes that are read, computed and written together.
const CHUNK: usize = 16;
/// The most lanes of a line that are folded side by side.
const SIDE_BY_SIDE: usize = 128;

macro_rules! level {
    ($module:ident, $fused:literal $(, #[$feature:meta])?) => {
        mod $module {
            use super::{CHUNK, Function, SIDE_BY_SIDE};

            /// The loop of `F`; `ONE_A` and so on say which operands are one value for all lanes.
            ///
            /// # Safety
            /// The processor has the level's features; `n` lanes of the result and of each operand are there (one of
            /// those that are one value), and the result is apart from an operand or exactly on it.
            $(#[$feature])?
            pub(super) unsafe fn run<F: Function, const ONE_A: bool, const ONE_B: bool, const ONE_C: bool>(
                out: *mut u8,
                a: *const u8,
                b: *const u8,
                c: *const u8,
                n: usize,
            ) {
                let (out, a, b, c) = (out.cast::<F::Out>(), a.cast::<F::A>(), b.cast::<F::B>(), c.cast::<F::C>());
                // SAFETY: lanes below `n` are there, by the caller's promise; chunks end before it.
                unsafe {
                    let (one_a, one_b, one_c) = (a.read_unaligned(), b.read_unaligned(), c.read_unaligned());
                    let mut i = 0;
                    while i + CHUNK <= n {
                        crate::simd::one_chunk_at_a_time();
                        let x = if ONE_A { [one_a; CHUNK] } else { a.add(i).cast::<[F::A; CHUNK]>().read_unaligned() };
                        let y = if ONE_B { [one_b; CHUNK] } else { b.add(i).cast::<[F::B; CHUNK]>().read_unaligned() };
                        let z = if ONE_C { [one_c; CHUNK] } else { c.add(i).cast::<[F::C; CHUNK]>().read_unaligned() };
                        let mut r = [F::Out::default(); CHUNK];
                        let mut rare = false;
                        for lane in 0..CHUNK {
                            rare |= F::is_rare(x[lane]);
                        }
                        if rare {
                            for lane in 0..CHUNK {
                                r[lane] = F::call_rarely(x[lane], y[lane], z[lane]);
                            }
                        } else {
                            for lane in 0..CHUNK {
                                r[lane] = F::call::<$fused>(x[lane], y[lane], z[lane]);
                            }
                        }
                        out.add(i).cast::<[F::Out; CHUNK]>().write_unaligned(r);
                        i += CHUNK;
                    }
                    while i < n {
                        let x = if ONE_A { one_a } else { a.add(i).read_unaligned() };
                        let y = if ONE_B { one_b } else { b.add(i).read_unaligned() };
                        let z = if ONE_C { one_c } else { c.add(i).read_unaligned() };
                        let rare = F::is_rare(x);
                        let value = if rare { F::call_rarely(x, y, z) } else { F::call::<$fused>(x, y, z) };
                        out.add(i).write_unaligned(value);
                        i += 1;
                    }
                }
            }

            /// Folds `n` lanes, at least one, to a single one: many side by side, then these by halves, then the rest in
            /// order. The sums live in memory between the loops; kept in registers, comparisons aren't made vector code.
            ///
            /// # Safety
            /// As [`run`]; the function takes and gives one lane type.
            $(#[$feature])?
            pub(super) unsafe fn line<T: super::Lane, F: Function<A = T, B = T, C = T, Out = T>>(
                out: *mut u8,
                a: *const u8,
                _: *const u8,
                _: *const u8,
                n: usize,
            ) {
                let a = a.cast::<T>();
                // SAFETY: lanes below `n` are there, by the caller's promise, and the sums are this function's.
                unsafe {
                    let side_by_side = if n >= 2 * CHUNK { (1 << (n / 2).ilog2()).min(SIDE_BY_SIDE) } else { 1 };
                    let mut i = side_by_side;
                    let mut sums = [T::default(); SIDE_BY_SIDE];
                    std::ptr::copy_nonoverlapping(a, sums.as_mut_ptr(), i);
                    let start = sums.as_mut_ptr().cast::<u8>();
                    while i + side_by_side <= n && side_by_side > 1 {
                        run::<F, false, false, true>(start, start, a.add(i).cast(), start, side_by_side);
                        i += side_by_side;
                    }
                    let mut width = side_by_side / 2;
                    while width > 0 {
                        let upper = sums.as_ptr().add(width).cast();
                        run::<F, false, false, true>(start, start, upper, start, width);
                        width /= 2;
                    }
                    let mut sum = sums[0];
                    while i < n {
                        sum = F::call::<$fused>(sum, a.add(i).read_unaligned(), sum);
                        i += 1;
                    }
                    out.cast::<T>().write_unaligned(sum);
                }
            }
        }
    };
}

level!(portable, false);
#[cfg(target_arch = "x86_64")]
level!(avx2, true, #[target_feature(enable = "avx2,fma,bmi1,bmi2,f16c")]);
#[cfg(target_arch = "x86_64")]
level!(avx512, true, #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,f16c")]);

/// The loop of a function at a level, for the given pattern of operands that are one value.
macro_rules! at_level {
    ($level:expr, $function:ty, $a:literal, $b:literal, $c:literal) => {
        match $level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::run::<$function, $a, $b, $c> as Loop,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run::<$function, $a, $b, $c>,
            _ => portable::run::<$function, $a, $b, $c>,
        }
    };
}

/// The loop of a function of one operand.
pub(super) fn of_one<F: Function>(level: Level) -> Loop {
    at_level!(level, F, false, true, true)
}

/// The loop of a function of two operands; `one` says which are one value.
pub(super) fn of_two<F: Function>(level: Level, one: [bool; 2]) -> Loop {
    match one {
        [true, false] => at_level!(level, F, true, false, true),
        [false, true] => at_level!(level, F, false, true, true),
        _ => at_level!(level, F, false, false, true),
    }
}

/// The loop of a function of three operands; the first is never one value unless all are.
fn of_three<F: Function>(level: Level, one: [bool; 3]) -> Loop {
    match one {
        [_, true, false] => at_level!(level, F, false, true, false),
        [_, false, true] => at_level!(level, F, false, false, true),
        [false, true, true] => at_level!(level, F, false, true, true),
        _ => at_level!(level, F, false, false, false),
    }
}

/// What all numbers can do, with the meaning the graph's operations give it.
trait Number: Lane {
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
    ($($lane:ty)*) => {$(
        impl Number for $lane {
            #[inline(always)]
            fn add(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self - other }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn div(self, other: Self) -> Self { self / other }
            #[inline(always)]
            fn rem(self, other: Self) -> Self { self % other }
            #[inline(always)]
            fn pow(self, other: Self) -> Self { self.powf(other) }
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
        impl Number for $lane {
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
                    if rest & 1 == 1 { result = Number::mul(result, base); }
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

floats!(f32 f64);
integers!(i32 i64);

/// Defines functions of lanes; the operands that a body doesn't name aren't used.
macro_rules! functions {
    ($($name:ident<$($generic:ident: $bound:ident)?>($a:ty, $b:ty, $c:ty) -> $out:ty = |$x:ident, $y:ident, $z:ident| $body:expr;)*) => {$(
        struct $name$(<$generic>(std::marker::PhantomData<$generic>))?;
        impl$(<$generic: $bound>)? Function for $name$(<$generic>)? {
            type A = $a;
            type B = $b;
            type C = $c;
            type Out = $out;
            #[inline(always)]
            fn call<const FUSED: bool>($x: $a, $y: $b, $z: $c) -> $out { $body }
        }
    )*};
}

functions! {
    Add<T: Number>(T, T, T) -> T = |x, y, _z| x.add(y);
    Sub<T: Number>(T, T, T) -> T = |x, y, _z| x.sub(y);
    Mul<T: Number>(T, T, T) -> T = |x, y, _z| x.mul(y);
    Div<T: Number>(T, T, T) -> T = |x, y, _z| x.div(y);
    Rem<T: Number>(T, T, T) -> T = |x, y, _z| x.rem(y);
    Pow<T: Number>(T, T, T) -> T = |x, y, _z| x.pow(y);
    Larger<T: Number>(T, T, T) -> T = |x, y, _z| x.larger(y);
    Smaller<T: Number>(T, T, T) -> T = |x, y, _z| x.smaller(y);
    Less<T: Number>(T, T, T) -> i32 = |x, y, _z| i32::from(x < y);
    LessOrEqual<T: Number>(T, T, T) -> i32 = |x, y, _z| i32::from(x <= y);
    Equal<T: Number>(T, T, T) -> i32 = |x, y, _z| i32::from(x == y);
    Unequal<T: Number>(T, T, T) -> i32 = |x, y, _z| i32::from(x != y);
    Neg<T: Number>(T, T, T) -> T = |x, _y, _z| x.neg();
    Abs<T: Number>(T, T, T) -> T = |x, _y, _z| x.abs();
    Sign<T: Number>(T, T, T) -> T = |x, _y, _z| x.sign();
    Relu<T: Number>(T, T, T) -> T = |x, _y, _z| x.relu();
    Copy_<T: Lane>(T, T, T) -> T = |x, _y, _z| x;
    Select<T: Lane>(i32, T, T) -> T = |x, y, z| if x != 0 { y } else { z };
    MulAdd<>(f32, f32, f32) -> f32 = |x, y, z| math::ma::<FUSED>(x, y, z);
    MulSub<>(f32, f32, f32) -> f32 = |x, y, z| math::ma::<FUSED>(x, y, -z);
    SubMul<>(f32, f32, f32) -> f32 = |x, y, z| math::ma::<FUSED>(-x, y, z);
    AddRelu<>(f32, f32, f32) -> f32 = |x, y, _z| (x + y).relu();
    And32<>(i32, i32, i32) -> i32 = |x, y, _z| x & y;
    Or32<>(i32, i32, i32) -> i32 = |x, y, _z| x | y;
    Xor32<>(i32, i32, i32) -> i32 = |x, y, _z| x ^ y;
    And64<>(i64, i64, i64) -> i64 = |x, y, _z| x & y;
    Or64<>(i64, i64, i64) -> i64 = |x, y, _z| x | y;
    Xor64<>(i64, i64, i64) -> i64 = |x, y, _z| x ^ y;
    Not<>(i32, i32, i32) -> i32 = |x, _y, _z| x ^ 1;
    Random<>(i64, i64, i64) -> f32 = |x, y, _z| kiln_ir::random::uniform(x, y);

    Exp<>(f32, f32, f32) -> f32 = |x, _y, _z| math::exp::<FUSED>(x);
    ExpM1<>(f32, f32, f32) -> f32 = |x, _y, _z| math::exp_m1::<FUSED>(x);
    Ln<>(f32, f32, f32) -> f32 = |x, _y, _z| math::ln::<FUSED>(x);
    Ln1p<>(f32, f32, f32) -> f32 = |x, _y, _z| math::ln_1p::<FUSED>(x);
    Tanh<>(f32, f32, f32) -> f32 = |x, _y, _z| math::tanh::<FUSED>(x);
    Sigmoid<>(f32, f32, f32) -> f32 = |x, _y, _z| math::sigmoid::<FUSED>(x);
    Erf<>(f32, f32, f32) -> f32 = |x, _y, _z| math::erf::<FUSED>(x);
    Sqrt<>(f32, f32, f32) -> f32 = |x, _y, _z| x.sqrt();
    Rsqrt<>(f32, f32, f32) -> f32 = |x, _y, _z| 1.0 / x.sqrt();
    Recip<>(f32, f32, f32) -> f32 = |x, _y, _z| 1.0 / x;
    Floor<>(f32, f32, f32) -> f32 = |x, _y, _z| x.floor();
    Ceil<>(f32, f32, f32) -> f32 = |x, _y, _z| x.ceil();
    Round<>(f32, f32, f32) -> f32 = |x, _y, _z| x.round_ties_even();

    ExpDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.exp();
    ExpM1Double<>(f64, f64, f64) -> f64 = |x, _y, _z| x.exp_m1();
    LnDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.ln();
    Ln1pDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.ln_1p();
    TanhDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.tanh();
    SigmoidDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| 1.0 / (1.0 + (-x).exp());
    ErfDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| kiln_ir::eval::erf(x);
    SinDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.sin();
    CosDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.cos();
    SqrtDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.sqrt();
    RsqrtDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| 1.0 / x.sqrt();
    RecipDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| 1.0 / x;
    FloorDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.floor();
    CeilDouble<>(f64, f64, f64) -> f64 = |x, _y, _z| x.ceil();
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

/// A function of an angle: of large ones the standard library's.
macro_rules! angles {
    ($($name:ident = $function:ident;)*) => {$(
        struct $name;
        impl Function for $name {
            type A = f32;
            type B = f32;
            type C = f32;
            type Out = f32;
            #[inline(always)]
            fn call<const FUSED: bool>(x: f32, _: f32, _: f32) -> f32 {
                math::$function::<FUSED>(x)
            }
            #[inline(always)]
            fn is_rare(x: f32) -> bool {
                (x.abs() > math::FAST_ANGLE) | x.is_nan()
            }
            fn call_rarely(x: f32, _: f32, _: f32) -> f32 {
                if x.abs() <= math::FAST_ANGLE { math::$function::<false>(x) } else { x.$function() }
            }
        }
    )*};
}

angles! {
    Sin = sin;
    Cos = cos;
}

/// The lane types, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneType {
    /// `F32` and the half types.
    Single,
    /// `F64`.
    Double,
    /// `I32`, `U16`, `U8` and `Bool` (0 or 1).
    Int,
    /// `I64`.
    Long,
}

impl LaneType {
    /// The lanes that a dtype is computed in.
    pub(super) fn of(dtype: kiln_ir::DType) -> LaneType {
        use kiln_ir::DType;
        match dtype {
            DType::F32 | DType::F16 | DType::Bf16 => LaneType::Single,
            DType::F64 => LaneType::Double,
            DType::I32 | DType::U16 | DType::U8 | DType::Bool => LaneType::Int,
            DType::I64 => LaneType::Long,
        }
    }

    /// Bytes of a lane.
    pub(super) fn size(self) -> usize {
        match self {
            LaneType::Single | LaneType::Int => 4,
            LaneType::Double | LaneType::Long => 8,
        }
    }
}

/// One generic function for every lane type.
macro_rules! for_lane {
    ($lane:expr, $choose:ident, $function:ident, $level:expr $(, $one:expr)?) => {
        match $lane {
            LaneType::Single => $choose::<$function<f32>>($level $(, $one)?),
            LaneType::Double => $choose::<$function<f64>>($level $(, $one)?),
            LaneType::Int => $choose::<$function<i32>>($level $(, $one)?),
            LaneType::Long => $choose::<$function<i64>>($level $(, $one)?),
        }
    };
}

/// The loop of a unary operation on lanes of a type.
pub(super) fn unary(op: UnaryOp, lane: LaneType, level: Level) -> Loop {
    macro_rules! float {
        ($single:ident, $double:ident) => {
            if lane == LaneType::Double { of_one::<$double>(level) } else { of_one::<$single>(level) }
        };
    }
    match op {
        UnaryOp::Neg => for_lane!(lane, of_one, Neg, level),
        UnaryOp::Abs => for_lane!(lane, of_one, Abs, level),
        UnaryOp::Sign => for_lane!(lane, of_one, Sign, level),
        UnaryOp::Relu => for_lane!(lane, of_one, Relu, level),
        UnaryOp::Exp => float!(Exp, ExpDouble),
        UnaryOp::ExpM1 => float!(ExpM1, ExpM1Double),
        UnaryOp::Ln => float!(Ln, LnDouble),
        UnaryOp::Ln1p => float!(Ln1p, Ln1pDouble),
        UnaryOp::Sqrt => float!(Sqrt, SqrtDouble),
        UnaryOp::Rsqrt => float!(Rsqrt, RsqrtDouble),
        UnaryOp::Recip => float!(Recip, RecipDouble),
        UnaryOp::Sin => float!(Sin, SinDouble),
        UnaryOp::Cos => float!(Cos, CosDouble),
        UnaryOp::Tanh => float!(Tanh, TanhDouble),
        UnaryOp::Sigmoid => float!(Sigmoid, SigmoidDouble),
        UnaryOp::Erf => float!(Erf, ErfDouble),
        UnaryOp::Floor => float!(Floor, FloorDouble),
        UnaryOp::Ceil => float!(Ceil, CeilDouble),
        UnaryOp::Round => float!(Round, RoundDouble),
        UnaryOp::Not => of_one::<Not>(level),
    }
}

/// The loop of a binary operation on lanes of a type.
pub(super) fn binary(op: BinaryOp, lane: LaneType, level: Level, one: [bool; 2]) -> Loop {
    macro_rules! bits {
        ($int:ident, $long:ident) => {
            if lane == LaneType::Long { of_two::<$long>(level, one) } else { of_two::<$int>(level, one) }
        };
    }
    match op {
        BinaryOp::Add => for_lane!(lane, of_two, Add, level, one),
        BinaryOp::Sub => for_lane!(lane, of_two, Sub, level, one),
        BinaryOp::Mul => for_lane!(lane, of_two, Mul, level, one),
        BinaryOp::Div => for_lane!(lane, of_two, Div, level, one),
        BinaryOp::Rem => for_lane!(lane, of_two, Rem, level, one),
        BinaryOp::Pow => for_lane!(lane, of_two, Pow, level, one),
        BinaryOp::Max => for_lane!(lane, of_two, Larger, level, one),
        BinaryOp::Min => for_lane!(lane, of_two, Smaller, level, one),
        BinaryOp::Lt => for_lane!(lane, of_two, Less, level, one),
        BinaryOp::Le => for_lane!(lane, of_two, LessOrEqual, level, one),
        BinaryOp::Eq => for_lane!(lane, of_two, Equal, level, one),
        BinaryOp::Ne => for_lane!(lane, of_two, Unequal, level, one),
        BinaryOp::And => bits!(And32, And64),
        BinaryOp::Or => bits!(Or32, Or64),
        BinaryOp::Xor => bits!(Xor32, Xor64),
        BinaryOp::Random => of_two::<Random>(level, one),
    }
}

/// The loop that folds one run of lanes into another, lane by lane.
pub(super) fn fold(op: ReduceOp, lane: LaneType, level: Level) -> Loop {
    binary(op.function(), lane, level, [false, false])
}

/// The loop that folds a run of lanes to one.
pub(super) fn fold_line(op: ReduceOp, lane: LaneType, level: Level) -> Loop {
    macro_rules! lines {
        ($function:ident) => {
            match lane {
                LaneType::Single => line_of::<f32, $function<f32>>(level),
                LaneType::Double => line_of::<f64, $function<f64>>(level),
                LaneType::Int => line_of::<i32, $function<i32>>(level),
                LaneType::Long => line_of::<i64, $function<i64>>(level),
            }
        };
    }
    match op {
        ReduceOp::Sum => lines!(Add),
        ReduceOp::Prod => lines!(Mul),
        ReduceOp::Max => lines!(Larger),
        ReduceOp::Min => lines!(Smaller),
    }
}

fn line_of<T: Lane, F: Function<A = T, B = T, C = T, Out = T>>(level: Level) -> Loop {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::line::<T, F>,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::line::<T, F>,
        _ => portable::line::<T, F>,
    }
}

/// The loop of a choice.
pub(super) fn select(lane: LaneType, level: Level, one: [bool; 3]) -> Loop {
    for_lane!(lane, of_three, Select, level, one)
}

/// What becomes of a product and a third operand in one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// `a · b + c`
    Plus,
    /// `a · b - c`
    Minus,
    /// `c - a · b`
    From,
}

/// The loop of a product and a sum in `f32`.
pub(super) fn product(product: Product, level: Level, one: [bool; 3]) -> Loop {
    match product {
        Product::Plus => of_three::<MulAdd>(level, one),
        Product::Minus => of_three::<MulSub>(level, one),
        Product::From => of_three::<SubMul>(level, one),
    }
}

/// `relu(a + b)` in `f32`.
pub(super) fn add_relu(level: Level, one: [bool; 2]) -> Loop {
    of_two::<AddRelu>(level, one)
}

/// The loop that repeats one value, or copies.
pub(super) fn copy(lane: LaneType, level: Level) -> Loop {
    for_lane!(lane, of_one, Copy_, level)
}

/// The loops of a cast: between lanes, and then to what the narrower dtype can hold.
pub(super) fn cast(from: kiln_ir::DType, to: kiln_ir::DType, level: Level) -> Vec<Loop> {
    use LaneType::{Double, Int, Long, Single};
    use kiln_ir::DType;
    let mut loops = Vec::new();
    let (a, b) = (LaneType::of(from), LaneType::of(to));
    let boolean = to == DType::Bool;
    match (a, b) {
        (Single, Int) if boolean => loops.push(of_one::<SingleToBool>(level)),
        (Double, Int) if boolean => loops.push(of_one::<DoubleToBool>(level)),
        (Long, Int) if boolean => loops.push(of_one::<LongToBool>(level)),
        (Int, Int) if boolean && from != DType::Bool => loops.push(of_one::<IntToBool>(level)),
        (Single, Double) => loops.push(of_one::<SingleToDouble>(level)),
        (Single, Int) => loops.push(of_one::<SingleToInt>(level)),
        (Single, Long) => loops.push(of_one::<SingleToLong>(level)),
        (Double, Single) => loops.push(of_one::<DoubleToSingle>(level)),
        (Double, Int) => loops.push(of_one::<DoubleToInt>(level)),
        (Double, Long) => loops.push(of_one::<DoubleToLong>(level)),
        (Long, Single) => loops.push(of_one::<LongToSingle>(level)),
        (Long, Double) => loops.push(of_one::<LongToDouble>(level)),
        (Long, Int) => loops.push(of_one::<LongToInt>(level)),
        (Int, Single) => loops.push(of_one::<IntToSingle>(level)),
        (Int, Double) => loops.push(of_one::<IntToDouble>(level)),
        (Int, Long) => loops.push(of_one::<IntToLong>(level)),
        (Single, Single) | (Double, Double) | (Int, Int) | (Long, Long) => {}
    }
    loops.extend(narrow(to, level));
    if loops.is_empty() {
        loops.push(copy(b, level));
    }
    loops
}

/// The loop that brings lanes to what a dtype narrower than its lane can hold, where there is such.
pub(super) fn narrow(dtype: kiln_ir::DType, level: Level) -> Option<Loop> {
    use kiln_ir::DType;
    match dtype {
        DType::U8 => Some(of_one::<WrapU8>(level)),
        DType::U16 => Some(of_one::<WrapU16>(level)),
        DType::F16 => Some(of_one::<HalfRound>(level)),
        DType::Bf16 => Some(of_one::<BrainRound>(level)),
        DType::Bool | DType::I32 | DType::I64 | DType::F32 | DType::F64 => None,
    }
}
