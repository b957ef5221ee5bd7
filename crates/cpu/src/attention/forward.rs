//! The result of attention, and the logarithms of its rows' sums.

use std::ops::Range;

use kiln_compile::program::AttentionPass;

use super::number::{AttentionElement, Score};
use super::operands::Operands;
use super::product::Product;
use super::rows::{BLOCK, Factors, FinishedRows, RunningSums, Tile};
use super::{TILE, whole_lines};
use crate::bases::Bases;
use crate::scratch::{Purpose, with};

/// Computes the rows of some tiles of a head of keys.
///
/// # Safety
/// The program was checked, and nobody else writes these rows.
pub(super) unsafe fn run<E: AttentionElement>(
    operands: &Operands<E>,
    bases: &Bases,
    head: usize,
    tiles: Range<usize>,
) {
    let sizes = operands.work.sizes;
    let AttentionPass::Forward { result, log_sum } = &operands.work.pass else { return };
    let head = operands.head(head);
    let tiles = &operands.tiles[tiles];
    let (Some(first), Some(last)) = (tiles.first(), tiles.last()) else { return };
    let all = first.start..last.end;
    let count = all.len();
    let (width, value_width) = (sizes.width, sizes.value_width);
    let parts = [
        count * width,
        count * value_width,
        count,
        count,
        BLOCK * width,
        BLOCK * value_width,
        TILE * BLOCK,
        TILE * BLOCK,
    ];
    let parts = parts.map(whole_lines);
    let room = parts.iter().sum();
    with(Purpose::Attention, room, |start: *mut E::Sum| {
        let mut start = start;
        let [queries, means, most, sum, columns, values, scores, bias] = parts.map(|count| {
            let part = start;
            start = start.wrapping_add(count);
            part
        });
        // SAFETY: the parts are as large as what is put into them; views lie inside of their buffers.
        unsafe {
            let view = (&operands.work.query, width, operands.scale);
            operands.read_rows(bases, view, (head, all.clone()), queries);
            std::slice::from_raw_parts_mut(means, count * value_width).fill(E::Sum::default());
            std::slice::from_raw_parts_mut(most, count).fill(E::Sum::LOWEST);
            std::slice::from_raw_parts_mut(sum, count).fill(E::Sum::default());
            let place = operands.place(bases, head);
            let mut seen = [const { 0..0 }; TILE];
            for block in 0..sizes.keys.div_ceil(BLOCK) {
                let mut packed = None;
                for rows in tiles {
                    if !operands.seen(place, rows, block, &mut seen) {
                        continue;
                    }
                    let Some(bias) = operands.masked(bases, (head, rows, block), bias) else { continue };
                    let values = *packed.get_or_insert_with(|| {
                        operands.key_columns(bases, (&operands.work.key, width), (head, block), columns);
                        operands.key_rows(
                            bases,
                            (&operands.work.value, value_width),
                            (head, block, count),
                            values,
                        )
                    });
                    let (seen, at) = (&seen[..rows.len()], rows.start - all.start);
                    let product = Product {
                        a: queries.add(at * width).cast_const(),
                        a_strides: [width, 1],
                        b: columns.cast_const(),
                        b_row: BLOCK as isize,
                        c: scores,
                        c_row: BLOCK,
                        start: true,
                    };
                    operands.by_keys(&product, seen, width);
                    let running = RunningSums {
                        most: most.add(at),
                        sum: sum.add(at),
                        means: means.add(at * value_width),
                        width: value_width,
                    };
                    let dropped = operands.dropped(bases, head, (rows, block));
                    (operands.weigh)(&Tile { scores, seen, bias, dropped }, &running);
                    if result.is_some() {
                        let product = Product {
                            a: scores.cast_const(),
                            a_strides: [BLOCK, 1],
                            b: values.first,
                            b_row: values.row,
                            c: running.means,
                            c_row: value_width,
                            start: false,
                        };
                        operands.over_keys(&product, seen, value_width);
                    }
                }
            }
            for rows in operands.by_head(all.clone()) {
                let at = rows.start - all.start;
                if let Some(view) = result {
                    (operands.finish)(&FinishedRows {
                        numbers: means.add(at * value_width).cast_const(),
                        width: value_width,
                        rows: rows.len(),
                        factors: Factors::Sums(sum.add(at)),
                        to: operands.row::<E>(bases, view, head, rows.start),
                        strides: [view.strides[2], view.strides[3]],
                    });
                }
                if let Some(view) = log_sum {
                    let (most, sum) = (most.add(at), sum.add(at));
                    let running = RunningSums { most, sum, means, width: 0 };
                    (operands.log_sum)(rows.len(), &running);
                    let to = operands.row::<E::Sum>(bases, view, head, rows.start);
                    for row in 0..rows.len() {
                        to.offset(row as isize * view.strides[2]).write(most.add(row).read());
                    }
                }
            }
        }
    });
}
