//! Which vector instructions the machine has, and how a kernel is written once and compiled for each set of them.
//!
//! A kernel is a plain generic function over lane arrays, marked `#[inline(always)]`; [`stamp!`] compiles it once for
//! each [`Level`] and puts the copies into a table, from which the caller takes the one of the machine.

use std::sync::OnceLock;

/// A set of vector instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of this architecture has.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 32-byte vectors.
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

/// The level kernels run at: the machine's best, or a lower one that the environment variable `KILN_SIMD` names.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    // A wrong name was an error when the device was opened.
    *LEVEL.get_or_init(|| crate::environment::level().ok().flatten().unwrap_or_else(Level::best))
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    macro_rules! have {
        ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
    }
    if !have!("avx2" "fma" "f16c") {
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

/// A kernel compiled for each level; `F` is a pointer to an unsafe function.
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
        match level.or_best() {
            Level::Portable => self.portable,
            Level::Avx2 => self.avx2,
            Level::Avx512 => self.avx512,
            Level::Neon => self.neon,
        }
    }

    /// The copy for the level kernels run at now.
    pub fn get(&self) -> F {
        self.at(level())
    }
}

/// Compiles a kernel for each level and makes the table of the copies. The kernel is given the number of 4-byte lanes
/// of a vector as its first generic argument (after `=`, with any fixed arguments behind it); between it and the
/// arithmetic everything must be `#[inline(always)]`, or it is compiled without the level's instructions.
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
///     static SCALE: fn(values: &mut [f32], factor: f32) = scale;
/// }
///
/// let mut values = [1.0, 2.0];
/// // SAFETY: `at` gives a copy that this machine can run, and the function asks nothing else.
/// unsafe { SCALE.at(level())(&mut values, 3.0) };
/// assert_eq!(values, [3.0, 6.0]);
/// ```
#[macro_export]
macro_rules! stamp {
    ($(
        $(#[$meta:meta])*
        $visibility:vis static $name:ident: fn($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident;
    )*) => { $(
        $(#[$meta])*
        $visibility static $name: $crate::simd::Stamped<unsafe fn($($type),*) $(-> $result)?> = {
            $crate::stamp!(@copy portable, 4, [], $body, ($($argument: $type),*) $(-> $result)?);
            $crate::stamp!(@copy avx2, 8, [#[target_feature(enable = "avx2,fma,f16c")]
                #[cfg(target_arch = "x86_64")]], $body, ($($argument: $type),*) $(-> $result)?);
            $crate::stamp!(@copy avx512, 16, [#[target_feature(
                enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                #[cfg(target_arch = "x86_64")]], $body, ($($argument: $type),*) $(-> $result)?);
            $crate::stamp!(@copy neon, 4, [#[target_feature(enable = "neon")]
                #[cfg(target_arch = "aarch64")]], $body, ($($argument: $type),*) $(-> $result)?);
            #[cfg(not(target_arch = "x86_64"))]
            use portable as avx2;
            #[cfg(not(target_arch = "x86_64"))]
            use portable as avx512;
            #[cfg(not(target_arch = "aarch64"))]
            use portable as neon;
            $crate::simd::Stamped { portable, avx2, avx512, neon }
        };
    )* };
    (@copy $level:ident, $lanes:literal, [$($attribute:tt)*], $body:ident,
        ($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {
        $($attribute)*
        #[allow(unused_unsafe, clippy::undocumented_unsafe_blocks)]
        unsafe fn $level($($argument: $type),*) $(-> $result)? {
            // The caller has taken this copy for a machine that has its level.
            unsafe { $body::<$lanes>($($argument),*) }
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
        static PRODUCTS: fn(left: &[f32], right: &[f32]) -> f32 = sum_of_products;
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

    #[test]
    fn levels_the_machine_lacks_give_way_to_its_best() {
        for level in [Level::Portable, Level::Avx2, Level::Avx512, Level::Neon] {
            assert!(level.or_best().is_here());
            assert!(level.is_here() == (level.or_best() == level));
        }
    }
}
