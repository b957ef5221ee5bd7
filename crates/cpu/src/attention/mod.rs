//! Attention by blocks: scores of some queries and the keys of a block are computed, turned into weights and used while they are in the
//! nearest caches, so that memory grows with queries and keys alone. Backward scores are computed again.
//!
//! A row's numbers depend on its query, the keys it sees and where these stand, not on what is computed beside it: keys come
//! in blocks counted from the first ([`rows::BLOCK`]), sums in order, and what a query doesn't see adds zeros.

mod backward;
mod forward;
mod number;
mod operands;
mod product;
mod rows;

use std::ops::Range;

use kiln_compile::program::{Attention, AttentionPass};
use kiln_ir::DType;
use kiln_ir::half::{bf16, f16};

use crate::bases::Bases;
use crate::call::KernelCall;
use crate::simd::Level;
use crate::threads::{parallel, threads};
use number::AttentionElement;
use operands::Operands;
use rows::BLOCK;

/// Queries of a tile.
const TILE: usize = 64;
/// Heads with fewer queries share tiles.
const FEW: usize = 16;
/// Tiles that a task works on at most, so that what it keeps of them stays in the second cache.
const MOST_TILES: usize = 4;
/// Tasks that each thread should have, so that all are done at about the same time.
const TASKS: usize = 3;

/// Attention made ready.
pub(crate) fn prepare(work: &Attention, level: Level) -> KernelCall {
    match work.query.dtype {
        DType::F64 => ready::<f64>(work, level),
        DType::F16 => ready::<f16>(work, level),
        DType::Bf16 => ready::<bf16>(work, level),
        DType::F32 | DType::Bool | DType::U8 | DType::U16 | DType::I32 | DType::I64 => {
            ready::<f32>(work, level)
        }
    }
}

fn ready<E: AttentionElement>(work: &Attention, level: Level) -> KernelCall {
    let operands = Operands::<E>::new(work, level);
    let heads = work.sizes.batch * work.sizes.shared;
    let (tiles, blocks) = (operands.tiles.len(), work.sizes.keys.div_ceil(BLOCK));
    match &work.pass {
        AttentionPass::Forward { .. } => Box::new(move |bases| {
            let wanted = (TASKS * threads()).div_ceil(heads.max(1));
            each(heads, tiles, tiles.div_ceil(wanted).min(MOST_TILES), &|head, tiles| {
                // SAFETY: the program was checked when it was loaded; each task has rows of its own.
                unsafe { forward::run(&operands, bases, head, tiles) };
            });
            Ok(())
        }),
        AttentionPass::Backward { of, .. } => {
            let [query, key, value, mask] = &**of;
            let of_rows = [query.is_some(), false, false, mask.is_some()];
            let of_keys = [false, key.is_some(), value.is_some(), false];
            let all = [of_rows[0], of_keys[1], of_keys[2], of_rows[3]];
            let run = move |bases: &Bases,
                            head: usize,
                            tiles: Range<usize>,
                            blocks: Range<usize>,
                            wanted: [bool; 4]| {
                // SAFETY: the program was checked when it was loaded; each task has rows, or keys, of its own.
                unsafe { backward::run(&operands, bases, head, (tiles, blocks), wanted) };
            };
            Box::new(move |bases| {
                // A head's scores serve all gradients where there are heads for all threads. Else they are computed twice: once for the
                // gradients of rows, once for those of keys. Either way each element is summed up in the same order.
                if heads >= threads() {
                    parallel(heads, &|head| run(bases, head, 0..tiles, 0..blocks, all));
                    return Ok(());
                }
                let wanted = (TASKS * threads()).div_ceil(heads.max(1));
                if of_rows.contains(&true) {
                    each(heads, tiles, tiles.div_ceil(wanted).min(MOST_TILES), &|head, tiles| {
                        run(bases, head, tiles, 0..blocks, of_rows);
                    });
                }
                if of_keys.contains(&true) {
                    each(heads, blocks, blocks.div_ceil(wanted), &|head, blocks| {
                        run(bases, head, 0..tiles, blocks, of_keys);
                    });
                }
                Ok(())
            })
        }
    }
}

/// Calls `body` with every head and each piece of as many parts as it has.
fn each(heads: usize, parts: usize, piece: usize, body: &(dyn Fn(usize, Range<usize>) + Sync)) {
    let piece = piece.max(1);
    let pieces = parts.div_ceil(piece);
    parallel(heads * pieces, &|task| {
        // The last pieces first: of causal attention they take longest.
        let (head, at) = (task / pieces, pieces - 1 - task % pieces);
        body(head, at * piece..((at + 1) * piece).min(parts));
    });
}

/// As many numbers as fill whole lines of the cache.
fn whole_lines(numbers: usize) -> usize {
    numbers.next_multiple_of(16)
}
