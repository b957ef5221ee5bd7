//! A vector register of numbers, as kernels see it: one type for each level and element type.
//!
//! All methods are `#[inline(always)]` and compiled into functions that have the level's instructions (`stamp!`), so the
//! intrinsics inside become single instructions.

use super::{Simd, fused};

/// A number that products add up in.
pub trait Number: Copy + PartialOrd + Default + Send + Sync + std::fmt::Debug + 'static {
    /// A level's register of these.
    type Vector<S: Simd>: Vector<Number = Self>;

    /// `self * by + plus`, rounded once; integers wrap.
    fn multiply_add(self, by: Self, plus: Self) -> Self;

    /// The sum; integers wrap.
    fn plus(self, other: Self) -> Self;

    /// One.
    const ONE: Self;
}

impl Number for f32 {
    type Vector<S: Simd> = S::F32;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        fused::multiply_add(self, by, plus)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Number for f64 {
    type Vector<S: Simd> = S::F64;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self.mul_add(by, plus)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Number for i32 {
    type Vector<S: Simd> = S::I32;
    const ONE: Self = 1;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self.wrapping_mul(by).wrapping_add(plus)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Number for i64 {
    type Vector<S: Simd> = S::I64;
    const ONE: Self = 1;

    #[inline(always)]
    fn multiply_add(self, by: Self, plus: Self) -> Self {
        self.wrapping_mul(by).wrapping_add(plus)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
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

    /// `self * by + plus`, rounded once; integers wrap.
    ///
    /// # Safety
    /// As for all methods.
    unsafe fn multiply_add(self, by: Self, plus: Self) -> Self;

    /// The sum, lane by lane; integers wrap.
    ///
    /// # Safety
    /// As for all methods.
    unsafe fn plus(self, other: Self) -> Self;

    /// Lanes below `low` become that, then those above `high` become that. What is no number stays.
    ///
    /// # Safety
    /// As for all methods.
    unsafe fn clamp(self, low: Self::Number, high: Self::Number) -> Self;

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
        let mut sums = plus;
        for lane in 0..LANES {
            sums.0[lane] = self.0[lane].multiply_add(by.0[lane], plus.0[lane]);
        }
        sums
    }

    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        let mut sums = self;
        for lane in 0..LANES {
            sums.0[lane] = self.0[lane].plus(other.0[lane]);
        }
        sums
    }

    #[inline(always)]
    unsafe fn clamp(self, low: T, high: T) -> Self {
        let mut clamped = self;
        for x in &mut clamped.0 {
            *x = if *x < low { low } else { *x };
            *x = if *x > high { high } else { *x };
        }
        clamped
    }
}

/// Implements [`Vector`] by intrinsics: names of functions, and expressions of what a method is given.
macro_rules! register {
    ($(
        $(#[$meta:meta])*
        $name:ident: $inner:ty, $number:ty, $lanes:literal,
        splat: $splat:ident, load: $load:ident, store: $store:ident, plus: $add:ident,
        multiply_add: |$left:ident, $right:ident, $plus:ident| $fused:expr,
        clamp: |$x:ident, $low:ident, $high:ident| $clamped:expr,
        load_first: |$from:ident, $count:ident| $load_first:expr,
        store_first: |$to:ident, $value:ident, $number_of:ident| $store_first:expr;
    )*) => { $(
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

            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                // SAFETY: the caller says that the machine has the instruction.
                $name(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            unsafe fn clamp(self, low: $number, high: $number) -> Self {
                // SAFETY: the caller says that the machine has the instructions.
                unsafe {
                    let ($x, $low, $high) = (self.0, $splat(low), $splat(high));
                    $name($clamped)
                }
            }
        }
    )* };
}

pub(super) use register;

#[cfg(test)]
mod tests {
    use super::super::{Level, stamp};
    use super::*;

    /// Sums of products, clamped, of the first `count` numbers, a register at a time.
    #[inline(always)]
    unsafe fn clamped<V: Vector>(
        a: &[V::Number],
        b: &[V::Number],
        out: &mut [V::Number],
        (low, high): (V::Number, V::Number),
    ) -> V::Number {
        let mut total = V::Number::default();
        for at in (0..a.len()).step_by(V::LANES) {
            let count = (a.len() - at).min(V::LANES);
            // SAFETY: so many numbers are left; the level is the caller's promise.
            unsafe {
                let full = count == V::LANES;
                let load = |from: &[V::Number]| match full {
                    true => V::load(from[at..].as_ptr()),
                    false => V::load_first(from[at..].as_ptr(), count),
                };
                let (x, y) = (load(a), load(b));
                let value = x.multiply_add(y, x.plus(y)).clamp(low, high);
                match full {
                    true => value.store(out[at..].as_mut_ptr()),
                    false => value.store_first(out[at..].as_mut_ptr(), count),
                }
                total = total.plus(x.multiply_add(V::splat(V::Number::ONE), y).sum());
            }
        }
        total
    }

    stamp! {
        fn clamped_of<T: Number>(a: &[T], b: &[T], out: &mut [T], range: (T, T)) -> T
            = clamped::<T::Vector<Here>>;
    }

    fn check<T: Number>(from: impl Fn(i8) -> T) {
        for count in [1, 3, 4, 7, 8, 15, 16, 33] {
            let numbers =
                |step: usize| -> Vec<T> { (0..count).map(|at| from((at * step % 7) as i8 - 3)).collect() };
            let (a, b, end) = (numbers(3), numbers(5), from(99));
            let range = (from(-5), from(4));
            let clamp = |x: T| if x < range.0 { range.0 } else { x };
            let clamp = |x: T| if clamp(x) > range.1 { range.1 } else { clamp(x) };
            let value = |(&x, &y): (&T, &T)| clamp(x.multiply_add(y, x.plus(y)));
            let expected: Vec<T> = a.iter().zip(&b).map(value).chain([end]).collect();
            let total = a.iter().chain(&b).fold(T::default(), |total, &x| total.plus(x));
            for level in Level::all_here() {
                let mut out = vec![end; count + 1];
                // SAFETY: `at` gives a copy that this machine can run; all have so many numbers.
                let sum = unsafe { clamped_of::<T>().at(level)(&a, &b, &mut out, range) };
                assert_eq!(out, expected, "{count} at {}", level.name());
                assert_eq!(sum, total, "{count} at {}", level.name());
            }
        }
    }

    #[test]
    fn registers_of_every_level_and_type_do_what_numbers_do() {
        check(f32::from);
        check(f64::from);
        check(i32::from);
        check(i64::from);
    }

    #[test]
    fn what_is_no_number_is_not_clamped() {
        for level in Level::all_here() {
            let (a, mut out) = ([f32::NAN, -0.0, f32::INFINITY], [0.0; 3]);
            // SAFETY: as above.
            unsafe { clamped_of::<f32>().at(level)(&a, &[0.0, -0.0, 1.0], &mut out, (-1.0, 1.0)) };
            assert!(out[0].is_nan() && out[1..] == [0.0, 1.0], "{out:?} at {}", level.name());
        }
    }
}
