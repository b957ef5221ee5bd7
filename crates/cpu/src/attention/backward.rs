//! Gradients of attention: for each block of keys the weights of the rows that see it are computed again.

use std::ops::Range;

use kiln_compile::program::{AttentionPass, View};

use super::number::{AttentionElement, Score};
use super::operands::{Head, Matrix, Operands, union};
use super::product::{Product, pieces};
use super::rows::{BLOCK, Factors, FinishedRows, Tile};
use super::{TILE, whole_lines};
use crate::bases::Bases;
use crate::scratch::{Purpose, with};

/// What a task keeps near.
struct Room<T> {
    queries: *mut T,
    gradients: *mut T,
    query_sums: *mut T,
    log_sums: *mut T,
    delta: *mut T,
    key_columns: *mut T,
    value_columns: *mut T,
    key_rows: *mut T,
    key_sums: *mut T,
    value_sums: *mut T,
    scores: *mut T,
    slopes: *mut T,
    bias: *mut T,
}

/// Computes gradients (in query, key, value, mask) from the rows of some tiles and some blocks of keys. Those in queries and in the mask need
/// all blocks, those in keys and values all tiles.
///
/// # Safety
/// The program was checked, and nobody else writes these rows and keys of the gradients that are wanted.
pub(super) unsafe fn run<E: AttentionElement>(
    operands: &Operands<E>,
    bases: &Bases,
    head: usize,
    (tiles, blocks): (Range<usize>, Range<usize>),
    wanted: [bool; 4],
) {
    let sizes = operands.work.sizes;
    let tiles = &operands.tiles[tiles];
    let (Some(first), Some(last)) = (tiles.first(), tiles.last()) else { return };
    let all = first.start..last.end;
    let count = all.len();
    let (width, value_width) = (sizes.width, sizes.value_width);
    let parts = [
        count * width,
        count * value_width,
        if wanted[0] { count * width } else { 0 },
        count,
        count,
        BLOCK * width,
        BLOCK * value_width,
        BLOCK * width,
        BLOCK * width,
        BLOCK * value_width,
        TILE * BLOCK,
        TILE * BLOCK,
        TILE * BLOCK,
    ];
    let parts = parts.map(whole_lines);
    with(Purpose::Attention, parts.iter().sum(), |start: *mut E::Sum| {
        let mut start = start;
        let parts = parts.map(|count| {
            let part = start;
            start = start.wrapping_add(count);
            part
        });
        let [queries, gradients, query_sums, log_sums, delta, rest @ ..] = parts;
        let [key_columns, value_columns, key_rows, key_sums, value_sums, scores, slopes, bias] = rest;
        let room = Room {
            queries,
            gradients,
            query_sums,
            log_sums,
            delta,
            key_columns,
            value_columns,
            key_rows,
            key_sums,
            value_sums,
            scores,
            slopes,
            bias,
        };
        let task = BackwardTask { operands, bases, head: operands.head(head), tiles, all, wanted, room };
        // SAFETY: the parts are as large as what is put into them, and the caller's promise.
        unsafe { task.run(blocks) };
    });
}

/// Some rows of a head of keys.
struct BackwardTask<'a, E: AttentionElement> {
    operands: &'a Operands<E>,
    bases: &'a Bases,
    head: Head,
    tiles: &'a [Range<usize>],
    all: Range<usize>,
    wanted: [bool; 4],
    room: Room<E::Sum>,
}

impl<E: AttentionElement> BackwardTask<'_, E> {
    /// # Safety
    /// As for the function [`run`].
    unsafe fn run(&self, blocks: Range<usize>) {
        let BackwardTask { operands, bases, head, all, room, .. } = self;
        let sizes = operands.work.sizes;
        let AttentionPass::Backward { log_sum, delta, gradient, of } = &operands.work.pass else { return };
        let (width, value_width, one) = (sizes.width, sizes.value_width, E::Sum::of(1.0));
        // SAFETY: views lie inside of their buffers; there is room for the rows.
        unsafe {
            let view = (&operands.work.query, width, operands.scale);
            operands.read_rows(bases, view, (*head, all.clone()), room.queries);
            let view = (gradient, value_width, one);
            operands.read_rows(bases, view, (*head, all.clone()), room.gradients);
            for row in all.clone() {
                let [from, delta] =
                    [log_sum, delta].map(|view| operands.row::<E::Sum>(bases, view, *head, row));
                room.log_sums.add(row - all.start).write(from.read());
                room.delta.add(row - all.start).write(delta.read());
            }
            if self.wanted[0] {
                std::slice::from_raw_parts_mut(room.query_sums, all.len() * width).fill(E::Sum::default());
            }
            for block in blocks {
                self.block(block, of);
            }
            if let Some(view) = of[0].as_ref().filter(|_| self.wanted[0]) {
                for rows in operands.by_head(all.clone()) {
                    (operands.finish)(&FinishedRows {
                        numbers: room.query_sums.add((rows.start - all.start) * width).cast_const(),
                        width,
                        rows: rows.len(),
                        factors: Factors::All(operands.scale),
                        to: operands.row::<E>(bases, view, *head, rows.start),
                        strides: [view.strides[2], view.strides[3]],
                    });
                }
            }
        }
    }

    /// # Safety
    /// As for the function [`run`].
    unsafe fn block(&self, block: usize, of: &[Option<View>; 4]) {
        let BackwardTask { operands, bases, head, room, wanted, .. } = self;
        let sizes = operands.work.sizes;
        let (width, value_width) = (sizes.width, sizes.value_width);
        let keys = operands.keys(block);
        let (key, value) = (&operands.work.key, &operands.work.value);
        let place = operands.place(bases, *head);
        let mut seen = [const { 0..0 }; TILE];
        let mut packed = None;
        // SAFETY: as for `run`.
        unsafe {
            for (sums, width) in [(room.key_sums, width), (room.value_sums, value_width)] {
                std::slice::from_raw_parts_mut(sums, keys.len() * width).fill(E::Sum::default());
            }
            for rows in self.tiles {
                let some = operands.seen(place, rows, block, &mut seen);
                let bias = match some {
                    true => operands.masked(bases, (*head, rows, block), room.bias),
                    false => None,
                };
                let Some(bias) = bias else {
                    self.put_mask(of, rows, &keys, false);
                    continue;
                };
                let keys_as_rows = *packed.get_or_insert_with(|| {
                    operands.key_columns(bases, (key, width), (*head, block), room.key_columns);
                    operands.key_columns(bases, (value, value_width), (*head, block), room.value_columns);
                    let rows = self.all.len();
                    operands.key_rows(bases, (key, width), (*head, block, rows), room.key_rows)
                });
                let dropped = operands.dropped(bases, *head, (rows, block));
                let tile = Tile { scores: room.scores, seen: &seen[..rows.len()], bias, dropped };
                self.tile(rows, tile, keys_as_rows);
                self.put_mask(of, rows, &keys, true);
            }
            let results = [(1, room.key_sums, width), (2, room.value_sums, value_width)];
            for (part, sums, width) in results {
                let Some(view) = of[part].as_ref().filter(|_| wanted[part]) else { continue };
                (operands.finish)(&FinishedRows {
                    numbers: sums.cast_const(),
                    width,
                    rows: keys.len(),
                    factors: Factors::All(E::Sum::of(1.0)),
                    to: operands.key::<E>(bases, view, *head, keys.start),
                    strides: [view.strides[2], view.strides[3]],
                });
            }
        }
    }

    /// Adds what the rows of a tile and the keys of a block give.
    ///
    /// # Safety
    /// As for the function [`run`].
    unsafe fn tile(&self, rows: &Range<usize>, tile: Tile<E::Sum>, keys: Matrix<E::Sum>) {
        let BackwardTask { operands, room, wanted, .. } = self;
        let sizes = operands.work.sizes;
        let (width, value_width) = (sizes.width, sizes.value_width);
        let (seen, at) = (tile.seen, rows.start - self.all.start);
        let queries = room.queries.wrapping_add(at * width);
        let gradients = room.gradients.wrapping_add(at * value_width);
        let by_keys = |a: *mut E::Sum, width: usize, b: *mut E::Sum, c: *mut E::Sum| Product {
            a: a.cast_const(),
            a_strides: [width, 1],
            b: b.cast_const(),
            b_row: BLOCK as isize,
            c,
            c_row: BLOCK,
            start: true,
        };
        // SAFETY: all these are rows of the tile and keys of the block.
        unsafe {
            operands.by_keys(&by_keys(queries, width, room.key_columns, room.scores), seen, width);
            let needs_slopes = wanted[0] || wanted[1] || wanted[3];
            if needs_slopes {
                let product = by_keys(gradients, value_width, room.value_columns, room.slopes);
                operands.by_keys(&product, seen, value_width);
            }
            let sums = [room.log_sums, room.delta].map(|sums| sums.add(at).cast_const());
            (operands.slope)(&tile, room.slopes, sums);
            if wanted[2] {
                self.over_rows(seen, (room.scores, gradients), (room.value_sums, value_width));
            }
            if wanted[1] {
                self.over_rows(seen, (room.slopes, queries), (room.key_sums, width));
            }
            if wanted[0] {
                let product = Product {
                    a: room.slopes.cast_const(),
                    a_strides: [BLOCK, 1],
                    b: keys.first,
                    b_row: keys.row,
                    c: room.query_sums.add(at * width),
                    c_row: width,
                    start: false,
                };
                operands.over_keys(&product, seen, width);
            }
        }
    }

    /// Adds products of weights, or slopes, and rows to the sums of the keys that the rows see.
    ///
    /// # Safety
    /// As for the function [`run`].
    unsafe fn over_rows(
        &self,
        seen: &[Range<usize>],
        (weights, rows): (*mut E::Sum, *mut E::Sum),
        (sums, width): (*mut E::Sum, usize),
    ) {
        let products = &self.operands.products;
        let job = Product {
            a: weights.cast_const(),
            a_strides: [1, BLOCK],
            b: rows.cast_const(),
            b_row: width as isize,
            c: sums,
            c_row: width,
            start: false,
        };
        let whole = seen.iter().all(|each| *each == (0..BLOCK));
        for keys in pieces(union(seen), products.tall(width)) {
            let sees = |each: &Range<usize>| each.start < keys.end && keys.start < each.end;
            let first = if whole { 0 } else { seen.iter().position(sees).unwrap_or(0) };
            let end =
                if whole { seen.len() } else { seen.iter().rposition(sees).map_or(first, |last| last + 1) };
            // SAFETY: keys of the block and rows of the tile.
            unsafe { products.run(&job, keys, 0..width, first..end) };
        }
    }

    /// Writes the gradient in the mask of a tile and a block: the slopes that are there, or zeros.
    ///
    /// # Safety
    /// As for the function [`run`].
    unsafe fn put_mask(
        &self,
        of: &[Option<View>; 4],
        rows: &Range<usize>,
        keys: &Range<usize>,
        slopes: bool,
    ) {
        let BackwardTask { operands, bases, head, room, .. } = self;
        let Some(view) = of[3].as_ref().filter(|_| self.wanted[3]) else { return };
        for row in rows.clone() {
            let to = operands.row::<E>(bases, view, *head, row);
            for key in keys.clone() {
                // SAFETY: an element of the mask's gradient, which this task alone writes.
                unsafe {
                    let slope = match slopes {
                        true => room.slopes.add((row - rows.start) * BLOCK + key - keys.start).read(),
                        false => E::Sum::default(),
                    };
                    to.offset(key as isize * view.strides[3]).write(E::nearest(slope));
                }
            }
        }
    }
}
