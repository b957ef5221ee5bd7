//! The tables of micro-kernels: which tiles there are for each level and element type, and how one is found.

use super::tile::{Dots, Tile, dot, tile};
use super::vector::{Lanes, Number, Vector};
use crate::simd::Level;

/// A tile's kernel.
pub type TileKernel<T> = unsafe fn(&Tile<T>);

/// A kernel for dot products.
pub type DotKernel<T> = unsafe fn(&Dots<T>);

/// The micro-kernels of a level.
#[derive(Debug)]
pub struct Kernels<T: 'static> {
    /// Lanes of a vector.
    pub lanes: usize,
    /// Rows of the tallest tile that is two vectors wide.
    pub tall: usize,
    /// `tiles[rows - 1]` lists the kernels of that many rows, by their width in vectors less one; `None` where the tile wouldn't fit the registers.
    pub tiles: &'static [[Option<TileKernel<T>>; WIDEST]],
    /// Kernels for 1 to 4 rows by [`DOT_COLUMNS`] columns; empty where products are integers.
    pub dots: &'static [DotKernel<T>],
    /// Kernels for 1 to 4 rows by one column.
    pub single_dots: &'static [DotKernel<T>],
}

/// The widest tile, in vectors.
pub const WIDEST: usize = 16;
/// Columns of a wide dot kernel.
pub const DOT_COLUMNS: usize = 4;

impl<T> Kernels<T> {
    /// The widest tile of that many rows, in vectors, no wider than `most`.
    pub fn width(&self, rows: usize, most: usize) -> usize {
        let widths = &self.tiles[rows - 1];
        (0..most.min(WIDEST)).rev().find(|&width| widths[width].is_some()).map_or(1, |width| width + 1)
    }

    /// The kernel for a tile of that many rows and vectors.
    pub fn tile(&self, rows: usize, vectors: usize) -> TileKernel<T> {
        debug_assert!(self.tiles[rows - 1][vectors - 1].is_some());
        self.tiles[rows - 1][vectors - 1].unwrap_or(self.tiles[0][0].unwrap_or(nothing::<T>))
    }
}

/// Stands in the place of a kernel that no table lacks.
unsafe fn nothing<T>(_: &Tile<T>) {}

/// A module of kernels for one vector type: functions compiled for its level and their tables.
macro_rules! kernels {
    ($(#[$meta:meta])* $module:ident: $vector:ty, [$($feature:meta)?], tall $tall:literal,
        tiles { $($rows:literal: [$($width:literal),*]),* $(,)? } , dots [$($dot_rows:literal),*]) => {
        $(#[$meta])*
        mod $module {
            use super::*;

            type T = <$vector as Vector>::Number;

            $(#[$feature])?
            unsafe fn tile<const ROWS: usize, const WIDTH: usize>(tile: &Tile<T>) {
                // SAFETY: as the caller says.
                unsafe { super::tile::<$vector, ROWS, WIDTH>(tile) }
            }

            #[allow(dead_code, reason = "integers have no dot kernels")]
            $(#[$feature])?
            unsafe fn dot<const ROWS: usize, const COLUMNS: usize>(dots: &Dots<T>) {
                // SAFETY: as the caller says.
                unsafe { super::dot::<$vector, ROWS, COLUMNS>(dots) }
            }

            /// The tables.
            pub static KERNELS: Kernels<T> = Kernels {
                lanes: <$vector>::LANES,
                tall: $tall,
                tiles: &[$({
                    let mut widths: [Option<TileKernel<T>>; WIDEST] = [None; WIDEST];
                    $(widths[$width - 1] = Some(tile::<$rows, $width>);)*
                    widths
                }),*],
                dots: &[$(dot::<$dot_rows, DOT_COLUMNS>),*],
                single_dots: &[$(dot::<$dot_rows, 1>),*],
            };
        }
    };
}

/// The tiles that fit 32 registers of any kind.
macro_rules! kernels_of_32_registers {
    ($(#[$meta:meta])* $module:ident: $vector:ty, [$($feature:meta)?]) => {
        kernels! {
            $(#[$meta])* $module: $vector, [$($feature)?], tall 13, tiles {
                1: [1, 2, 3, 4, 8, 16], 2: [1, 2, 3, 4, 8], 3: [1, 2, 3, 4, 8], 4: [1, 2, 3, 4, 6], 5: [1, 2, 3, 4],
                6: [1, 2, 3, 4], 7: [1, 2, 3], 8: [1, 2, 3], 9: [1, 2], 10: [1, 2], 11: [1, 2], 12: [1, 2],
                13: [1, 2],
            }, dots [1, 2, 3, 4]
        }
    };
}

/// The tiles that fit 16 registers of any kind.
macro_rules! kernels_of_16_registers {
    ($(#[$meta:meta])* $module:ident: $vector:ty, [$($feature:meta)?] , dots [$($dot_rows:literal),*]) => {
        kernels! {
            $(#[$meta])* $module: $vector, [$($feature)?], tall 6, tiles {
                1: [1, 2, 3, 4, 8], 2: [1, 2, 3, 4], 3: [1, 2, 3], 4: [1, 2], 5: [1, 2], 6: [1, 2],
            } , dots [$($dot_rows),*]
        }
    };
}

kernels_of_16_registers!(portable_f32: Lanes<f32, 4>, [], dots [1, 2]);
kernels_of_16_registers!(portable_f64: Lanes<f64, 2>, [], dots [1, 2]);
kernels_of_16_registers!(portable_i32: Lanes<i32, 4>, [], dots []);
kernels_of_16_registers!(portable_i64: Lanes<i64, 2>, [], dots []);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::vector::{Ymm32, Ymm64, Zmm32, Zmm64};
    use super::*;

    kernels_of_32_registers!( f32_512: Zmm32, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]);
    kernels_of_32_registers!(f64_512: Zmm64, [target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]);
    kernels_of_16_registers!(f32_256: Ymm32, [target_feature(enable = "avx2,fma")], dots [1, 2]);
    kernels_of_16_registers!(f64_256: Ymm64, [target_feature(enable = "avx2,fma")], dots [1, 2]);
    kernels_of_16_registers!(i32_256: Lanes<i32, 8>, [target_feature(enable = "avx2,fma")], dots []);
    kernels_of_16_registers!(i64_256: Lanes<i64, 4>, [target_feature(enable = "avx2,fma")], dots []);

    pub static F32: [&Kernels<f32>; 2] = [&f32_256::KERNELS, &f32_512::KERNELS];
    pub static F64: [&Kernels<f64>; 2] = [&f64_256::KERNELS, &f64_512::KERNELS];
    pub static I32: [&Kernels<i32>; 2] = [&i32_256::KERNELS, &i32_256::KERNELS];
    pub static I64: [&Kernels<i64>; 2] = [&i64_256::KERNELS, &i64_256::KERNELS];
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::super::vector::{Neon32, Neon64};
    use super::*;

    kernels_of_32_registers!(f32_128: Neon32, [target_feature(enable = "neon")]);
    kernels_of_32_registers!(f64_128: Neon64, [target_feature(enable = "neon")]);

    pub static F32: &Kernels<f32> = &f32_128::KERNELS;
    pub static F64: &Kernels<f64> = &f64_128::KERNELS;
}

/// A number that has micro-kernels.
pub trait Kernel: Number {
    /// Those of a level.
    fn kernels(level: Level) -> &'static Kernels<Self>;
}

macro_rules! kernel {
    ($number:ty, $table:ident, $portable:ident, $neon:expr) => {
        impl Kernel for $number {
            fn kernels(level: Level) -> &'static Kernels<$number> {
                match level.or_best() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => x86::$table[0],
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => x86::$table[1],
                    #[cfg(target_arch = "aarch64")]
                    Level::Neon => $neon,
                    _ => &$portable::KERNELS,
                }
            }
        }
    };
}

kernel!(f32, F32, portable_f32, arm::F32);
kernel!(f64, F64, portable_f64, arm::F64);
kernel!(i32, I32, portable_i32, &portable_i32::KERNELS);
kernel!(i64, I64, portable_i64, &portable_i64::KERNELS);
