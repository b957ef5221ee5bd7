//! Which vector instructions the machine has, and how a kernel is written once and compiled for each set of them.
//!
//! A kernel is a plain generic function, marked `#[inline(always)]`, over a level's registers or over arrays of lanes;
//! [`stamp!`] compiles it once for each [`Level`] and puts the copies into a table, from which the caller takes the one of
//! the machine. There is no other way to choose instructions in this crate.

#[cfg(target_arch = "aarch64")]
mod arm;
mod fused;
pub(crate) mod transpose;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
pub use arm::Neon;
pub use vector::{Lanes, Number, Vector};
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// A set of vector instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of this architecture has.
    Portable,
    /// x86-64 with AVX2, FMA, F16C and BMI: 32-byte vectors.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 64-byte vectors.
    Avx512,
    /// Arm's 16-byte vectors.
    Neon,
}

impl Level {
    /// The best the machine has.
    pub fn best() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(detect)
    }

    /// This level where the machine has it, otherwise the machine's best.
    pub fn or_best(self) -> Level {
        if self.is_here() { self } else { Level::best() }
    }

    /// Whether the machine can run it.
    pub fn is_here(self) -> bool {
        match self {
            Level::Portable => true,
            Level::Avx2 => matches!(Level::best(), Level::Avx2 | Level::Avx512),
            Level::Avx512 | Level::Neon => Level::best() == self,
        }
    }

    /// All that the machine can run, the portable one first.
    pub fn all_here() -> impl Iterator<Item = Level> {
        [Level::Portable, Level::Avx2, Level::Avx512, Level::Neon].into_iter().filter(|level| level.is_here())
    }

    /// The one of this name, where the machine has it.
    pub(crate) fn named(name: &str) -> Option<Level> {
        Level::all_here().find(|level| level.name().eq_ignore_ascii_case(name.trim()))
    }

    /// How it is called, in messages and in `KILN_SIMD`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Neon => "neon",
        }
    }
}

/// A level as a type, which kernels are generic over.
pub trait Simd: Copy + Send + Sync + 'static {
    /// The level.
    const LEVEL: Level;
    /// How many registers there are.
    const REGISTERS: usize;
    /// A register of `f32`.
    type F32: Vector<Number = f32>;
    /// A register of `f64`.
    type F64: Vector<Number = f64>;
    /// A register of `i32`.
    type I32: Vector<Number = i32>;
    /// A register of `i64`.
    type I64: Vector<Number = i64>;

    /// `a * b + c`, rounded once, as every level does it.
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// What every machine of this architecture has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    const LEVEL: Level = Level::Portable;
    const REGISTERS: usize = 16;
    type F32 = Lanes<f32, 4>;
    type F64 = Lanes<f64, 2>;
    type I32 = Lanes<i32, 4>;
    type I64 = Lanes<i64, 2>;

    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        fused::multiply_add(a, b, c)
    }
}

/// Elsewhere than on x86-64 nothing of its own.
#[cfg(not(target_arch = "x86_64"))]
pub type Avx2 = Portable;
/// Elsewhere than on x86-64 nothing of its own.
#[cfg(not(target_arch = "x86_64"))]
pub type Avx512 = Portable;
/// Elsewhere than on Arm nothing of its own.
#[cfg(not(target_arch = "aarch64"))]
pub type Neon = Portable;

/// Keeps the compiler from vectorising across chunks (it would gather single lanes of many of them): an empty
/// instruction that it may not repeat or move out of the loop. Within a chunk, lanes lie side by side as they should.
#[inline(always)]
pub fn one_chunk_at_a_time() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("", options(nomem, nostack, preserves_flags));
    }
}

/// Asks for the start of a row to be brought near.
#[inline(always)]
pub fn prefetch<T>(row: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in 0..(len * size_of::<T>()).div_ceil(64).min(16) {
            // SAFETY: a prefetch reads nothing; any address will do.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(row.cast::<i8>().wrapping_add(line * 64)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, len);
}

/// Asks for a line of memory that will be written soon, so that storing needn't wait for it.
#[inline(always)]
pub(crate) fn prefetch_to_write<T>(to: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing; any address will do.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) to as usize, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = to;
}

/// The pointer itself, in a register of its own: the compiler makes no vector of it and its neighbours.
#[allow(
    clippy::pointers_in_nomem_asm_block,
    reason = "there is no instruction, and so none that reads through it"
)]
#[inline(always)]
pub(crate) fn in_a_register<T>(pointer: *const T) -> *const T {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut pointer = pointer;
        // SAFETY: no instruction at all.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
        }
        pointer
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pointer
}

/// The environment's variable that names a level.
pub(crate) const KILN_SIMD: &str = "KILN_SIMD";

/// The level kernels run at: the machine's best, or a lower one that `KILN_SIMD` names. A wrong name is an error when the
/// device is opened.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    let asked = || std::env::var(KILN_SIMD).ok().and_then(|name| Level::named(&name));
    *LEVEL.get_or_init(|| asked().unwrap_or_else(Level::best))
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    macro_rules! have {
        ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
    }
    if !have!("avx2" "fma" "f16c" "bmi1" "bmi2") {
        Level::Portable
    } else if have!("avx512f" "avx512bw" "avx512dq" "avx512vl") {
        Level::Avx512
    } else {
        Level::Avx2
    }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Level {
    if std::arch::is_aarch64_feature_detected!("neon") { Level::Neon } else { Level::Portable }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Level {
    Level::Portable
}

/// A kernel compiled for each level, or whatever else there is one of for each; `F` is mostly a pointer to an unsafe
/// function.
#[derive(Clone, Copy, Debug)]
pub struct Stamped<F> {
    /// The copy for every machine.
    pub portable: F,
    /// The copy for AVX2; elsewhere than on x86-64 the portable one.
    pub avx2: F,
    /// The copy for AVX-512; elsewhere than on x86-64 the portable one.
    pub avx512: F,
    /// The copy for NEON; elsewhere than on Arm the portable one.
    pub neon: F,
}

impl<F: Copy> Stamped<F> {
    /// The copy for a level, or for the machine's best where it hasn't that level: always one that it can run.
    pub fn at(&self, level: Level) -> F {
        self.exactly(level.or_best())
    }

    /// The copy for a level given as a type: for kernels of that level, which call another.
    #[inline(always)]
    pub const fn of<S: Simd>(&self) -> F {
        self.exactly(S::LEVEL)
    }

    #[inline(always)]
    const fn exactly(&self, level: Level) -> F {
        match level {
            Level::Portable => self.portable,
            Level::Avx2 => self.avx2,
            Level::Avx512 => self.avx512,
            Level::Neon => self.neon,
        }
    }
}

/// Compiles a kernel for each level and makes the table of the copies. In what stands behind the `=`, the function that
/// each copy calls, `Here` is the copy's level and `LANES` the number of 4-byte lanes of its vectors; between that function
/// and the arithmetic everything must be `#[inline(always)]`, or it is compiled without the level's instructions.
///
/// ```
/// use kiln_cpu::simd::{level, stamp};
///
/// #[inline(always)]
/// fn scale<const LANES: usize>(values: &mut [f32], factor: f32) {
///     let (vectors, rest) = values.as_chunks_mut::<LANES>();
///     for value in vectors.iter_mut().flatten().chain(rest) {
///         *value *= factor;
///     }
/// }
///
/// stamp! {
///     /// Multiplies each value by the factor.
///     static SCALE: fn(values: &mut [f32], factor: f32) = scale::<LANES>;
/// }
///
/// let mut values = [1.0, 2.0];
/// // SAFETY: `at` gives a copy that this machine can run, and the function asks nothing else.
/// unsafe { SCALE.at(level())(&mut values, 3.0) };
/// assert_eq!(values, [3.0, 6.0]);
/// ```
///
/// A generic kernel has a function that gives the table; types stand in `<>`, and constants behind them in `[]`:
///
/// ```
/// use kiln_cpu::simd::{Number, Simd, Vector, level, stamp};
///
/// #[inline(always)]
/// unsafe fn first<V: Vector, const COUNT: usize>(numbers: &[V::Number], out: &mut [V::Number]) {
///     assert!(V::LANES >= COUNT && numbers.len() >= COUNT && out.len() >= COUNT);
///     // SAFETY: so many are there; the level is the caller's promise.
///     unsafe { V::load_first(numbers.as_ptr(), COUNT).store_first(out.as_mut_ptr(), COUNT) }
/// }
///
/// stamp! {
///     /// Copies the first numbers.
///     fn first_of<T: Number>[const COUNT: usize](numbers: &[T], out: &mut [T]) = first::<T::Vector<Here>, COUNT>;
/// }
///
/// let mut out = [0.0; 2];
/// // SAFETY: as above.
/// unsafe { first_of::<f64, 2>().at(level())(&[1.0, 2.0, 3.0], &mut out) };
/// assert_eq!(out, [1.0, 2.0]);
/// ```
///
/// Each copy takes its time to compile. One whose wider vectors hardly pay, since it is seldom run or waits for memory, says
/// `, at most avx2` behind the `=`'s function: machines with AVX-512 then run the copy for AVX2.
#[macro_export]
macro_rules! stamp {
    ($(
        $(#[$meta:meta])*
        $visibility:vis static $name:ident: fn($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:expr;
    )+) => { $(
        $(#[$meta])*
        $visibility static $name: $crate::simd::Stamped<unsafe fn($($type),*) $(-> $result)?> =
            $crate::stamp!(@table [] [] [] $body, ($($argument: $type),*) $(-> $result)?);
    )+ };
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident$(<$($parameter:ident: $bound:path),*>)?$([$(const $constant:ident: $of:ty),*])?
            ($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:expr $(, at most $widest:ident)?;
    )+) => { $(
        $(#[$meta])*
        $visibility const fn $name<$($($parameter: $bound,)*)? $($(const $constant: $of,)*)?>()
        -> $crate::simd::Stamped<unsafe fn($($type),*) $(-> $result)?> {
            $crate::stamp!(
                @table [$($widest)?] [$($($parameter: $bound,)*)? $($(const $constant: $of,)*)?]
                [$($($parameter,)*)? $($($constant,)*)?] $body, ($($argument: $type),*) $(-> $result)?
            )
        }
    )+ };
    (@table $widest:tt $generics:tt [$($passed:tt)*] $body:expr, $arguments:tt $(-> $result:ty)?) => {{
        $crate::stamp!(@copy portable, Portable, 4, [], $generics $body, $arguments $(-> $result)?);
        $crate::stamp!(@copy avx2, Avx2, 8, [
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2")]
        ], $generics $body, $arguments $(-> $result)?);
        $crate::stamp!(@avx512 $widest, $generics $body, $arguments $(-> $result)?);
        $crate::stamp!(@copy neon, Neon, 4, [
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
        ], $generics $body, $arguments $(-> $result)?);
        #[cfg(not(target_arch = "x86_64"))]
        use portable as avx2;
        #[cfg(not(target_arch = "aarch64"))]
        use portable as neon;
        $crate::simd::Stamped {
            portable: portable::<$($passed)*>,
            avx2: avx2::<$($passed)*>,
            avx512: avx512::<$($passed)*>,
            neon: neon::<$($passed)*>,
        }
    }};
    (@avx512 [avx2], $($rest:tt)*) => { use avx2 as avx512; };
    (@avx512 [], $generics:tt $body:expr, $arguments:tt $(-> $result:ty)?) => {
        $crate::stamp!(@copy avx512, Avx512, 16, [
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2")]
        ], $generics $body, $arguments $(-> $result)?);
        #[cfg(not(target_arch = "x86_64"))]
        use portable as avx512;
    };
    (@copy $level:ident, $simd:ident, $lanes:literal, [$($attribute:tt)*], [$($generics:tt)*] $body:expr,
        ($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {
        $($attribute)*
        #[allow(unused_unsafe, clippy::undocumented_unsafe_blocks)]
        unsafe fn $level<$($generics)*>($($argument: $type),*) $(-> $result)? {
            #[allow(dead_code, reason = "most kernels are over vectors or over lanes")]
            type Here = $crate::simd::$simd;
            #[allow(dead_code, reason = "as above")]
            const LANES: usize = $lanes;
            let body = $body;
            // The caller has taken this copy for a machine that has its level.
            unsafe { body($($argument),*) }
        }
    };
}

pub use crate::stamp;

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(always)]
    fn sum_of_products<const LANES: usize>(left: &[f32], right: &[f32]) -> f32 {
        let mut sums = [0f32; LANES];
        let (left, left_rest) = left.as_chunks::<LANES>();
        let (right, right_rest) = right.as_chunks::<LANES>();
        for (left, right) in left.iter().zip(right) {
            for lane in 0..LANES {
                sums[lane] += left[lane] * right[lane];
            }
        }
        let rest = left_rest.iter().zip(right_rest).map(|(left, right)| left * right);
        sums.iter().sum::<f32>() + rest.sum::<f32>()
    }

    stamp! {
        static PRODUCTS: fn(left: &[f32], right: &[f32]) -> f32 = sum_of_products::<LANES>;
    }

    #[test]
    fn every_level_here_gives_the_same_sum() {
        let left: Vec<f32> = (0..1000).map(|value| (value % 7) as f32).collect();
        let right: Vec<f32> = (0..1000).map(|value| (value % 5) as f32).collect();
        let exact: f32 = left.iter().zip(&right).map(|(left, right)| left * right).sum();
        for level in Level::all_here() {
            // SAFETY: `at` gives a copy that this machine can run.
            let sum = unsafe { PRODUCTS.at(level)(&left, &right) };
            assert_eq!(sum, exact, "{}", level.name());
        }
    }

    #[inline(always)]
    fn count<T, const LANES: usize>(_: &[T]) -> usize {
        LANES
    }

    stamp! {
        fn wide_of<T: Number>(numbers: &[T]) -> usize = count::<T, LANES>;
        fn narrow_of<T: Number>(numbers: &[T]) -> usize = count::<T, LANES>, at most avx2;
    }

    #[test]
    fn a_kernel_that_stops_at_avx2_runs_that_copy_on_wider_machines() {
        for level in Level::all_here() {
            let (wide, narrow) = (wide_of::<f32>().at(level), narrow_of::<f32>().at(level));
            // SAFETY: `at` gives copies that this machine can run.
            let (wide, narrow) = unsafe { (wide(&[]), narrow(&[])) };
            assert_eq!(narrow, wide.min(8), "{}", level.name());
        }
    }

    #[test]
    fn levels_the_machine_lacks_give_way_to_its_best() {
        for level in [Level::Portable, Level::Avx2, Level::Avx512, Level::Neon] {
            assert!(level.or_best().is_here());
            assert!(level.is_here() == (level.or_best() == level));
        }
    }
}
