//! The tables of micro-kernels: which tiles there are for each level and element type, and how one is found.

use std::marker::PhantomData;

use super::microkernel::{MicroTile, tile};
use crate::simd::{Avx2, Avx512, Neon, Number, Portable, Simd, Stamped, Vector, stamp};

/// A tile's kernel.
pub type TileKernel<T> = unsafe fn(&MicroTile<T>);

/// The micro-kernels of a level.
#[derive(Debug)]
pub struct Kernels<T: 'static> {
    /// Lanes of a vector.
    pub lanes: usize,
    /// Rows of the tallest tile that is two vectors wide.
    pub tall: usize,
    /// `tiles[rows - 1]` lists the kernels of that many rows, by their width in vectors less one; `None` where the tile wouldn't fit the registers.
    pub tiles: &'static [[Option<TileKernel<T>>; WIDEST]],
}

/// The widest tile, in vectors.
pub const WIDEST: usize = 16;

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
unsafe fn nothing<T>(_: &MicroTile<T>) {}

stamp! {
    fn tile_of<T: Number>[const ROWS: usize, const WIDTH: usize](job: &MicroTile<T>)
        = tile::<T::Vector<Here>, ROWS, WIDTH>;
}

/// The tables of a level.
struct Tables<T, S>(PhantomData<(T, S)>);

/// Tables of the tiles that fit a level's registers.
macro_rules! kernels {
    (tall $tall:literal, tiles { $($rows:literal: [$($width:literal),*]),* $(,)? }) => {
        Kernels {
            lanes: <T::Vector<S> as Vector>::LANES,
            tall: $tall,
            tiles: &[$({
                let mut widths: [Option<TileKernel<T>>; WIDEST] = [None; WIDEST];
                $(widths[$width - 1] = Some(tile_of::<T, $rows, $width>().of::<S>());)*
                widths
            }),*],
        }
    };
}

impl<T: Number, S: Simd> Tables<T, S> {
    const ALL: Kernels<T> = match S::REGISTERS {
        // Of numbers that products are seldom of, the tiles that most products come to.
        32 if size_of::<T>() == 8 => kernels! {
            tall 13, tiles {
                1: [1, 2, 4, 8], 2: [1, 2], 3: [1, 2], 4: [1, 2], 5: [1, 2], 6: [1, 2], 7: [1, 2], 8: [1, 2], 9: [1, 2],
                10: [1, 2], 11: [1, 2], 12: [1, 2], 13: [1, 2],
            }
        },
        32 => kernels! {
            tall 13, tiles {
                1: [1, 2, 3, 4, 8, 16], 2: [1, 2, 3, 4, 8], 3: [1, 2, 3, 4, 6], 4: [1, 2, 3, 4, 6], 5: [1, 2, 3, 4],
                6: [1, 2, 3, 4], 7: [1, 2, 3], 8: [1, 2, 3], 9: [1, 2], 10: [1, 2], 11: [1, 2], 12: [1, 2],
                13: [1, 2],
            }
        },
        _ => kernels! {
            tall 6, tiles {
                1: [1, 2, 3, 4, 8], 2: [1, 2, 3, 4], 3: [1, 2, 3], 4: [1, 2], 5: [1, 2], 6: [1, 2],
            }
        },
    };
    const INTEGERS: Kernels<T> = kernels! {
        tall 4, tiles { 1: [1, 2, 4], 2: [1, 2], 3: [1, 2], 4: [1, 2] }
    };
}

/// The tables of all levels.
struct Levels<T>(PhantomData<T>);

impl<T: Number> Levels<T> {
    const FLOATS: Stamped<&'static Kernels<T>> = Stamped {
        portable: &Tables::<T, Portable>::ALL,
        avx2: &Tables::<T, Avx2>::ALL,
        avx512: &Tables::<T, Avx512>::ALL,
        neon: &Tables::<T, Neon>::ALL,
    };
    /// AVX-512 and NEON have no tables of integers.
    const INTEGERS: Stamped<&'static Kernels<T>> = Stamped {
        portable: &Tables::<T, Portable>::INTEGERS,
        avx2: &Tables::<T, Avx2>::INTEGERS,
        avx512: &Tables::<T, Avx2>::INTEGERS,
        neon: &Tables::<T, Portable>::INTEGERS,
    };
}

/// A number that has micro-kernels.
pub trait GemmNumber: Number {
    /// Those of each level.
    const KERNELS: Stamped<&'static Kernels<Self>>;
}

impl GemmNumber for f32 {
    const KERNELS: Stamped<&'static Kernels<f32>> = Levels::<f32>::FLOATS;
}

impl GemmNumber for f64 {
    const KERNELS: Stamped<&'static Kernels<f64>> = Levels::<f64>::FLOATS;
}

impl GemmNumber for i32 {
    const KERNELS: Stamped<&'static Kernels<i32>> = Levels::<i32>::INTEGERS;
}

impl GemmNumber for i64 {
    const KERNELS: Stamped<&'static Kernels<i64>> = Levels::<i64>::INTEGERS;
}
