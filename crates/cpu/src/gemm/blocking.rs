//! How a product is cut: blocks for tasks, panels for registers, and what is worth packing.

use super::kernels::{Kernels, WIDEST};
use super::{Gemm, GemmElement, Mat};
use crate::caches::caches;

/// Which part of a core's own cache a block of the product may take, beside the rows and columns it is made of.
const BLOCK: usize = 8;
/// Columns that a block may have; an epilogue likes long rows.
const LONGEST: usize = 1024;
/// Rows that share a block's pass over B.
const ROWS: usize = 112;
/// Which part of a core's own cache a panel of B may take for the rows that follow each other over it,
const PANEL: usize = 8;
/// and the fewest and the most products that are added up at a time for it. Sums wait in memory for the rest of theirs, as they are.
const DEPTH: [usize; 2] = [256, 1024];
/// The widest panel of B that is packed, in vectors: what is packed for few rows then stays in the cache until it is read.
const PACKED_WIDEST: usize = 4;
/// Products of no more rows than this are split by columns.
const FEW_ROWS: usize = 28;
/// With no more rows than this, packing B costs more than it saves.
const DIRECT_ROWS: usize = 192;
/// With no more rows than this, a task takes all of them over some columns, which it packs for itself a panel at a time: packed for
/// all, columns would go to the last cache and back for a few passes over them.
const COLUMN_ROWS: usize = 384;
/// Which part of a core's own cache these rows may take for as many products as are added up at a time.
const STRIP: usize = 4;
/// Lines that lie a multiple of so many bytes apart fall into the same few sets of a cache.
const SAME_SETS: usize = 2048;
/// Rows of B that lie no further apart than this many bytes share the cache well enough where they lie.
const DIRECT_STRIDE: usize = 1024;
/// Products of fewer multiplications than this aren't split.
pub const WORTH_SPLITTING: usize = 50_000;
/// Which part of the threads' shares of the last cache may be columns that are packed for all of them at a time.
const SHARED: usize = 4;

/// How a product is blocked.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// Rows of a block, but for the last.
    pub rows: usize,
    /// Columns of a block, but for the last: a multiple of `panel`.
    pub columns: usize,
    /// Products that are added up at a time.
    pub depth: usize,
    /// Columns of a panel of B, but for the last: whole vectors.
    pub panel: usize,
    /// Whether kernels read A where it lies.
    pub direct_a: bool,
    /// Whether kernels read B where it lies.
    pub direct_b: bool,
    /// Whether B is packed once for all tasks. Otherwise each task packs its own columns, for all rows.
    pub shared_b: bool,
    /// Columns that are packed for all tasks at a time: a multiple of `columns`.
    pub slab: usize,
}

impl Blocking {
    /// The plan for a product on so many threads. Any plan gives the same numbers. `packed`: B is already, in panels of so
    /// many columns.
    pub fn new<S: GemmElement>(
        kernels: &Kernels<S::Sum>,
        threads: usize,
        shape: Gemm,
        a: &Mat<S>,
        b: &Mat<S>,
        packed: Option<usize>,
    ) -> Blocking {
        let Gemm { batch, m, n, k } = shape;
        let lanes = kernels.lanes;
        let caches = caches();
        let numbers = |bytes: usize| bytes / size_of::<S::Sum>();
        let work = m.saturating_mul(n).saturating_mul(k);
        let threads = if work.saturating_mul(batch) < WORTH_SPLITTING { 1 } else { threads };
        // Tasks wanted of each product of the batch: two for each thread if they are large, so that a late one weighs less.
        let wanted = if threads == 1 {
            1
        } else if work.saturating_mul(batch) > 64 * WORTH_SPLITTING {
            (2 * threads).div_ceil(batch)
        } else {
            threads.div_ceil(batch)
        };

        let crowded = |stride: isize| (stride.unsigned_abs() * size_of::<S>()).is_multiple_of(SAME_SETS);
        let near = b.row.unsigned_abs() * size_of::<S>() <= DIRECT_STRIDE;
        let few = m <= FEW_ROWS;
        let together = near || m <= if crowded(b.row) { FEW_ROWS } else { DIRECT_ROWS };
        let direct_b = packed.is_none() && S::PLAIN && b.col == 1 && together;
        let tallest = m.div_ceil(m.div_ceil(kernels.tall));
        let vectors = n.div_ceil(lanes);
        // Few rows are split by columns, so a panel is at most a thread's share.
        let share = if few { vectors.div_ceil(wanted).max(1) } else { vectors };
        let most = if direct_b { WIDEST } else { PACKED_WIDEST };
        let panel = packed.unwrap_or_else(|| kernels.width(tallest, share.min(most)) * lanes);

        let far = crowded(a.row) && m > 4;
        let direct_a = S::PLAIN && (a.row == 1 || (a.col == 1 && !(far && k > 16)) || n <= 2 * lanes);
        // Rows that are packed are packed by each task, for all of the sum.
        let light = direct_a || m.saturating_mul(k) <= numbers(caches.second);
        let own = packed.is_none() && !direct_b && !few;
        let by_columns = own && light && m <= COLUMN_ROWS && n >= wanted * panel;
        let mut columns = n.div_ceil(n.div_ceil(LONGEST)).next_multiple_of(panel);
        let mut rows = m;
        if by_columns {
            columns = columns.min(n.div_ceil(wanted).next_multiple_of(panel));
        } else if few {
            columns = columns.min(n.div_ceil(panel).div_ceil(wanted) * panel);
        } else {
            let most = (numbers(caches.second / BLOCK) / columns).clamp(2 * kernels.tall, ROWS);
            let across = n.div_ceil(columns);
            let pieces = m.div_ceil(most).max(wanted.div_ceil(across).min(m.div_ceil(kernels.tall)));
            rows = m.div_ceil(pieces.next_multiple_of(wanted.clamp(1, threads)));
        }

        let shared_b = packed.is_none() && !direct_b && batch < 2 * threads && m > rows;
        let shared = numbers(caches.third.saturating_mul(threads) / SHARED);
        let slab = (shared / k.max(1) / columns).max(1) * columns;
        let depth = match packed {
            // Panels that are read once are read from end to end.
            Some(_) if m <= kernels.tall => k.max(1),
            // In equal parts, since sums go to memory and back for a short one too.
            _ => {
                let most = match by_columns {
                    true => numbers(caches.second / STRIP) / m,
                    false if direct_a && a.row == 1 && crowded(a.col) => DEPTH[0],
                    false => numbers(caches.second / PANEL) / panel,
                };
                let most = most.clamp(DEPTH[0], DEPTH[1]);
                k.div_ceil(k.div_ceil(most).max(1)).max(1)
            }
        };
        Blocking { rows, columns, depth, panel, direct_a, direct_b, shared_b, slab }
    }
}
