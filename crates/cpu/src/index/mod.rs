//! Kernels that move elements by index, or find indices: gather, scatter, positions of extremes, running sums, sorting
//! permutations, and operations of the user's own.

pub(super) mod arg_reduce;
pub(super) mod arg_sort;
pub(super) mod cum_sum;
pub(super) mod custom;
pub(super) mod gather;
mod lines;
mod loops;
#[cfg(test)]
mod naive;
pub(super) mod scatter;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::panic::Location;

use kiln_ir::{Error, ErrorKind};

use super::threads;

/// The least bytes a chunk of streaming work has: less isn't worth handing to another thread.
const LEAST_BYTES: usize = 64 << 10;

/// The most chunks work is split into.
const MOST_CHUNKS: usize = 64;

/// A bool as memory holds it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct BoolByte(u8);

/// Runs `work` over ranges that together are `0..points`, perhaps on several threads; `bytes` is what a point moves.
fn chunks(points: usize, bytes: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
    let total = points.saturating_mul(bytes.max(1));
    let count = (total / LEAST_BYTES).clamp(1, MOST_CHUNKS).min(points.max(1));
    if count == 1 {
        return work(0..points);
    }
    let start = |chunk: usize| (points as u128 * chunk as u128 / count as u128) as usize;
    threads::parallel(count, &|chunk| work(start(chunk)..start(chunk + 1)));
}

/// The error for an index that isn't below the size of its axis.
#[cold]
fn out_of_range(operation: &str, index: i64, size: usize, at: Option<&'static Location<'static>>) -> Error {
    let message = format!("index {index} is out of range for an axis of {size}");
    let mut error = Error::new(ErrorKind::Index, operation, message);
    error.at = at;
    error
}

/// Runs one expression with `$type` bound to an unsigned integer of `$size` bytes: moving elements doesn't need to know
/// more of them.
macro_rules! each_size {
    ($size:expr, $type:ident => $body:expr) => {
        match $size {
            1 => {
                type $type = u8;
                $body
            }
            2 => {
                type $type = u16;
                $body
            }
            4 => {
                type $type = u32;
                $body
            }
            _ => {
                type $type = u64;
                $body
            }
        }
    };
}
use each_size;
