//! Where the operands of attention lie, which rows are worked on together, and how they come near.

use std::ops::Range;

use kiln_compile::program::{Attention, View};
use kiln_ir::DType;

use super::number::{AttentionElement, Score};
use super::product::{Product, Products, pieces};
use super::rows::{
    BLOCK, Bias, Dropped, FinishedRows, MaskElements, MaskRows, RunningSums, Scaled, Tile, bias_of,
    finish_of, log_sum_of, scale_of, slope_of, weigh_of,
};
use super::{FEW, TILE};
use crate::bases::Bases;
use crate::gemm::{Pack, Packer, packer};
use crate::simd::Level;

/// Turns the scores of a tile and the gradients of weights into weights and the gradients of scores; see [`slope_of`].
type SlopeKernel<T> = unsafe fn(&Tile<T>, *mut T, [*const T; 2]);

/// What is known before a run.
pub(super) struct Operands<E: AttentionElement> {
    pub(super) work: Attention,
    /// Heads of queries that share one of keys.
    pub(super) each: usize,
    /// The rows of each tile, of all rows of the heads of queries that share a head of keys.
    pub(super) tiles: Vec<Range<usize>>,
    pub(super) scale: E::Sum,
    pub(super) products: Products<E::Sum>,
    pub(super) weigh: unsafe fn(&Tile<E::Sum>, &RunningSums<E::Sum>),
    pub(super) slope: SlopeKernel<E::Sum>,
    pub(super) log_sum: unsafe fn(usize, &RunningSums<E::Sum>),
    pub(super) finish: unsafe fn(&FinishedRows<E>),
    scale_rows: unsafe fn(&Scaled<E>),
    bias: unsafe fn(&MaskRows<E>, *mut E::Sum),
    packer: Packer<E>,
}

/// A head of keys: of which batch, and which there.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) batch: usize,
    pub(super) shared: usize,
}

/// Rows of a matrix whose columns are contiguous.
#[derive(Clone, Copy)]
pub(super) struct Matrix<T> {
    pub(super) first: *const T,
    pub(super) row: isize,
}

impl<E: AttentionElement> Operands<E> {
    pub(super) fn new(work: &Attention, level: Level) -> Operands<E> {
        let sizes = work.sizes;
        let each = sizes.heads / sizes.shared.max(1);
        // Heads with few queries, as one after a cache of keys, share a tile; others have their own.
        let together = if sizes.queries < FEW { (TILE / sizes.queries.max(1)).max(1) } else { 1 };
        let rows = |heads: Range<usize>| heads.start * sizes.queries..heads.end * sizes.queries;
        let heads = (0..each).step_by(together).map(|head| rows(head..(head + together).min(each)));
        let tiles = heads.flat_map(|Range { start, end }| {
            (start..end).step_by(TILE).map(move |row| row..(row + TILE).min(end))
        });
        Operands {
            each,
            tiles: tiles.collect(),
            scale: E::Sum::of(work.spec.scale.as_f64()),
            products: Products::new(level),
            weigh: weigh_of::<E::Sum>().at(level),
            slope: slope_of::<E::Sum>().at(level),
            log_sum: log_sum_of::<E::Sum>().at(level),
            finish: finish_of::<E>().at(level),
            scale_rows: scale_of::<E>().at(level),
            bias: bias_of::<E>().at(level),
            packer: packer::<E>().at(level),
            work: work.clone(),
        }
    }

    /// The head of keys with this number.
    pub(super) fn head(&self, number: usize) -> Head {
        let shared = self.work.sizes.shared;
        Head { batch: number / shared, shared: number % shared }
    }

    /// The keys of a block.
    pub(super) fn keys(&self, block: usize) -> Range<usize> {
        block * BLOCK..((block + 1) * BLOCK).min(self.work.sizes.keys)
    }

    /// The place of the first query of a batch among the keys.
    pub(super) fn place(&self, bases: &Bases, head: Head) -> i64 {
        let spec = &self.work.spec;
        let first = self.work.places.as_ref().map_or(0, |places| {
            let at = head.batch as isize * places.strides[0];
            // SAFETY: places lie inside of their buffer, one for each of the batch.
            unsafe { bases.origin::<i64>(places).offset(at).read() }
        });
        first.saturating_add(spec.offset)
    }

    /// Which weights of the rows of a tile and the keys of a block are dropped, if any are.
    pub(super) fn dropped(
        &self,
        bases: &Bases,
        head: Head,
        (rows, block): (&Range<usize>, usize),
    ) -> Option<Dropped<E::Sum>> {
        let view = self.work.dropped.as_ref()?;
        let (sizes, spec) = (self.work.sizes, &self.work.spec);
        // SAFETY: the key lies inside of its buffer.
        let key = unsafe { bases.origin::<i64>(view).read() };
        let row = (head.batch * sizes.heads + head.shared * self.each) * sizes.queries + rows.start;
        let share = spec.dropout.map_or(0.0, |share| f64::from(share.as_f64() as f32));
        Some(Dropped {
            key: key as u64,
            first: (row * sizes.keys + self.keys(block).start) as u64,
            row: sizes.keys as u64,
            least: (share * f64::from(1 << 24)).ceil() as u32,
            factor: E::Sum::of(spec.kept_factor()),
        })
    }

    /// The keys of a block that each row of a tile sees, counted from the block's first; whether any sees one.
    pub(super) fn seen(
        &self,
        place: i64,
        rows: &Range<usize>,
        block: usize,
        seen: &mut [Range<usize>; TILE],
    ) -> bool {
        let keys = self.keys(block);
        let mut any = false;
        for (row, seen) in rows.clone().zip(seen) {
            let place = place.saturating_add((row % self.work.sizes.queries) as i64);
            let all = self.work.spec.seen(place, self.work.sizes.keys);
            let first = all.start.clamp(keys.start, keys.end) - keys.start;
            *seen = first..(all.end.clamp(keys.start, keys.end) - keys.start).max(first);
            any |= seen.start < seen.end;
        }
        any
    }

    /// The number of a head of queries, and of a query there.
    fn query(&self, head: Head, row: usize) -> [usize; 2] {
        let queries = self.work.sizes.queries;
        [head.shared * self.each + row / queries, row % queries]
    }

    /// The rows of a range that are of one head of queries, head by head.
    pub(super) fn by_head(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let queries = self.work.sizes.queries.max(1);
        let mut at = rows.start;
        std::iter::from_fn(move || {
            let end = ((at / queries + 1) * queries).min(rows.end);
            let piece = at..end;
            at = end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// The first element of a row of a view of queries or of what is like them.
    pub(super) fn row<T>(&self, bases: &Bases, view: &View, head: Head, row: usize) -> *mut T {
        let [number, query] = self.query(head, row);
        let index = [head.batch, number, query];
        let at: isize = index.iter().zip(&view.strides).map(|(&at, stride)| at as isize * stride).sum();
        bases.origin::<T>(view).wrapping_offset(at)
    }

    /// The first element of a key or value.
    pub(super) fn key<T>(&self, bases: &Bases, view: &View, head: Head, key: usize) -> *mut T {
        let index = [head.batch, head.shared, key];
        let at: isize = index.iter().zip(&view.strides).map(|(&at, stride)| at as isize * stride).sum();
        bases.origin::<T>(view).wrapping_offset(at)
    }

    /// Reads rows of queries, or of what is like them, times a factor.
    ///
    /// # Safety
    /// There is room for the rows.
    pub(super) unsafe fn read_rows(
        &self,
        bases: &Bases,
        (view, width, factor): (&View, usize, E::Sum),
        (head, rows): (Head, Range<usize>),
        to: *mut E::Sum,
    ) {
        for piece in self.by_head(rows.clone()) {
            let job = Scaled {
                from: self.row::<E>(bases, view, head, piece.start),
                strides: [view.strides[2], view.strides[3]],
                rows: piece.len(),
                width,
                factor,
                to: to.wrapping_add((piece.start - rows.start) * width),
            };
            // SAFETY: the view lies inside of its buffer, and the caller's promise.
            unsafe { (self.scale_rows)(&job) };
        }
    }

    /// The keys or values of a block as rows: where they lie, or converted in `room`; there also where many rows are multiplied with them and
    /// they lie apart, since lines that are a projection's rows apart don't fit the first cache's sets.
    ///
    /// # Safety
    /// There is room for a block of rows of `width`.
    pub(super) unsafe fn key_rows(
        &self,
        bases: &Bases,
        (view, width): (&View, usize),
        (head, block, rows): (Head, usize, usize),
        room: *mut E::Sum,
    ) -> Matrix<E::Sum> {
        let keys = self.keys(block);
        let from = self.key::<E>(bases, view, head, keys.start);
        let near = rows < FEW || view.strides[2] == width as isize;
        if E::PLAIN && near && (view.strides[3] == 1 || width == 1) {
            return Matrix { first: from.cast(), row: view.strides[2] };
        }
        let job = Pack {
            from: from.cast_const(),
            lane_stride: view.strides[3],
            step: view.strides[2],
            lanes: width,
            width,
            depth: keys.len(),
            spills: false,
            to: room,
        };
        // SAFETY: the view lies inside of its buffer, and the caller's promise.
        unsafe { (self.packer)(&job) };
        Matrix { first: room, row: width as isize }
    }

    /// The keys or values of a block as columns, [`BLOCK`] numbers for each of their elements; zeros where keys are missing.
    ///
    /// # Safety
    /// There is room for them.
    pub(super) unsafe fn key_columns(
        &self,
        bases: &Bases,
        (view, width): (&View, usize),
        (head, block): (Head, usize),
        to: *mut E::Sum,
    ) {
        let keys = self.keys(block);
        let job = Pack {
            from: self.key::<E>(bases, view, head, keys.start).cast_const(),
            lane_stride: view.strides[2],
            step: view.strides[3],
            lanes: keys.len(),
            width: BLOCK,
            depth: width,
            spills: false,
            to,
        };
        // SAFETY: the view lies inside of its buffer, and the caller's promise.
        unsafe { (self.packer)(&job) };
    }

    /// What the mask adds to the scores of a tile and a block, if there is one. `None`: it hides all of them.
    ///
    /// # Safety
    /// There is room for a tile.
    pub(super) unsafe fn masked(
        &self,
        bases: &Bases,
        (head, rows, block): (Head, &Range<usize>, usize),
        room: *mut E::Sum,
    ) -> Option<Option<Bias<E::Sum>>> {
        let Some(view) = &self.work.mask else { return Some(None) };
        let keys = self.keys(block);
        let one_head = self.query(head, rows.start)[0] == self.query(head, rows.end - 1)[0];
        let same = view.strides[2] == 0 && (view.strides[1] == 0 || one_head);
        let wanted = if same { rows.start..rows.start + 1 } else { rows.clone() };
        for piece in self.by_head(wanted) {
            let at = keys.start as isize * view.strides[3];
            let from = match view.dtype {
                DType::Bool => {
                    let first = self.row::<u8>(bases, view, head, piece.start);
                    MaskElements::Bools(first.wrapping_offset(at).cast_const())
                }
                _ => {
                    let first = self.row::<E>(bases, view, head, piece.start);
                    MaskElements::Floats(first.wrapping_offset(at).cast_const())
                }
            };
            let strides = [view.strides[2], view.strides[3]];
            let mask = MaskRows { from, strides, rows: piece.len(), keys: keys.len() };
            // SAFETY: the view lies inside of its buffer, and the caller's promise.
            unsafe { (self.bias)(&mask, room.add((piece.start - rows.start) * BLOCK)) };
        }
        if same {
            // SAFETY: the line was just written.
            let line = unsafe { std::slice::from_raw_parts(room, keys.len()) };
            if line.iter().all(|&bias| bias == E::Sum::LOWEST) {
                return None;
            }
        }
        Some(Some(Bias { first: room, row: if same { 0 } else { BLOCK } }))
    }

    /// Products of the rows of a tile and the keys of a block, where a row of a micro-kernel's tile sees any: `c = a · b` with a column for
    /// each key.
    ///
    /// # Safety
    /// As for [`Products::run`], for all rows and keys.
    pub(super) unsafe fn by_keys(&self, job: &Product<E::Sum>, seen: &[Range<usize>], depth: usize) {
        let lanes = self.products.lanes();
        for rows in pieces(0..seen.len(), self.products.tall(BLOCK)) {
            let keys = union(&seen[rows.clone()]);
            let columns = keys.start / lanes * lanes..keys.end.next_multiple_of(lanes);
            // SAFETY: the caller's promise; whole vectors end within a block.
            unsafe { self.products.run(job, rows, columns, 0..depth) };
        }
    }

    /// Products of weights and rows of keys or values: `c += a · b` over the keys that are seen.
    ///
    /// # Safety
    /// As for [`Products::run`], for all rows and keys.
    pub(super) unsafe fn over_keys(&self, job: &Product<E::Sum>, seen: &[Range<usize>], width: usize) {
        for rows in pieces(0..seen.len(), self.products.tall(width)) {
            let keys = union(&seen[rows.clone()]);
            // SAFETY: the caller's promise.
            unsafe { self.products.run(job, rows, 0..width, keys) };
        }
    }
}

/// From the first key that one of the rows sees to the last.
pub(super) fn union(seen: &[Range<usize>]) -> Range<usize> {
    let some = || seen.iter().filter(|seen| !seen.is_empty());
    let first = some().map(|seen| seen.start).min().unwrap_or(0);
    first..some().map(|seen| seen.end).max().unwrap_or(first)
}
