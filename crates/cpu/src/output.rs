//! How a contraction hands over its result: straight to memory, or a block at a time to the epilogue that follows.

use std::ops::Range;

use super::epilogue::Epilogue;

/// A finished block of a contraction, still in cache: `rows × columns`, row-major. Its numbers are the consumer's to
/// overwrite.
#[derive(Debug)]
pub struct ResultBlock<T> {
    /// The first number.
    pub sums: *mut T,
    /// From one row to the next.
    pub stride: usize,
    /// Which rows of the result these are, counted through the whole batch.
    pub rows: Range<usize>,
    /// Which columns.
    pub columns: Range<usize>,
}

/// Where a contraction's result goes. Columns are contiguous.
pub enum ResultSink<'a, T> {
    /// To memory.
    Store {
        /// Row zero.
        start: *mut T,
        /// From one row to the next, counted through the whole batch.
        stride: isize,
    },
    /// To memory through the commonest epilogue, which only follows sums in `f32`.
    Fused(Epilogue),
    /// Through the epilogue, on whatever thread finishes a block; blocks are disjoint and cover everything once.
    Interpreted(&'a (dyn Fn(ResultBlock<T>) + Sync)),
}

// SAFETY: the addresses are only followed by the contraction they are given to, whose threads write disjoint blocks.
unsafe impl<T> Sync for ResultSink<'_, T> {}

impl<T: Copy> ResultSink<'_, T> {
    /// Takes a finished block.
    ///
    /// # Safety
    /// The block holds its sums, and it comes once.
    pub(crate) unsafe fn hand_over(&self, block: ResultBlock<T>) {
        // SAFETY: the caller's promise: the output has these rows, and nobody else writes them.
        unsafe {
            match self {
                ResultSink::Store { start, stride } => {
                    for (position, row) in block.rows.enumerate() {
                        let to = start.wrapping_offset(row as isize * stride + block.columns.start as isize);
                        let from = block.sums.add(position * block.stride);
                        std::ptr::copy_nonoverlapping(from, to, block.columns.len());
                    }
                }
                ResultSink::Fused(epilogue) => {
                    epilogue.apply(block.sums.cast(), block.stride, block.rows, block.columns);
                }
                ResultSink::Interpreted(epilogue) => epilogue(block),
            }
        }
    }
}
