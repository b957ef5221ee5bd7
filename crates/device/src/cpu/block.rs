//! How a contraction hands over its result: straight to memory, or a block at a time to the tail that follows.

use std::ops::Range;

/// A finished block of a contraction, still in cache: `rows × columns`, row-major, `stride` from row to row.
#[derive(Debug)]
pub(crate) struct Block<T> {
    pub(crate) sums: *mut T,
    pub(crate) stride: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// Where a contraction's result goes. Columns are contiguous.
pub(crate) enum Output<'a, T> {
    /// To memory: row `r` starts `r · stride` elements behind the start.
    Store { start: *mut T, stride: isize },
    /// Through the tail, on whatever thread finishes a block; blocks are disjoint and cover everything once.
    Tail(&'a (dyn Fn(Block<T>) + Sync)),
}

// SAFETY: the addresses are only followed by the contraction they are given to, whose threads write disjoint blocks.
unsafe impl<T> Sync for Output<'_, T> {}
