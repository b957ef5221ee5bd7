//! A map applied to both sides of squares in memory, one for each channel, many channels at a time.

use super::maps::{Gradient, Image, MOST, Map, Product, Window, WindowGradient};
use crate::simd::{Level, Simd, Vector, stamp};
use std::ops::Range;

/// A square of runs of channels in memory. Cells outside of `rows × columns` aren't there: zeros to a reader, nothing
/// to a writer.
pub(super) struct Square {
    /// The first channel of cell (0, 0), whether that is there or not.
    pub(super) start: *mut f32,
    /// From row to row, and from column to column.
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Square {
    /// A square whose cells are all there: points, window positions.
    pub(super) fn whole(start: *mut f32, row: isize, column: isize) -> Square {
        Square { start, row, column, rows: 0..MOST, columns: 0..MOST }
    }

    fn cell(&self, row: usize, column: usize) -> *mut f32 {
        self.start.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }

    fn has(&self, size: usize) -> bool {
        let all = |range: &Range<usize>| range.start == 0 && range.end >= size;
        all(&self.rows) && all(&self.columns)
    }
}

/// Maps a square to another, for so many channels.
pub(super) type Both = unsafe fn(from: &Square, to: &Square, channels: usize);

/// The maps of tiles of `m` by `m` outputs, for a level of the processor.
#[derive(Clone, Copy)]
pub(in crate::direct) struct Maps {
    /// Outputs along a side.
    pub(super) outputs: usize,
    pub(super) image: Both,
    pub(super) window: Both,
    pub(super) product: Both,
    pub(super) gradient: Both,
    pub(super) window_gradient: Both,
}

impl Maps {
    /// Points along a side.
    pub(super) fn side(&self) -> usize {
        self.outputs + 2
    }

    /// Points of a tile.
    pub(super) fn points(&self) -> usize {
        self.side() * self.side()
    }

    /// Those of tiles of 2 × 2 and of 4 × 4 outputs.
    pub(super) fn all(level: Level) -> [Maps; 2] {
        [maps::<2>(level), maps::<4>(level)]
    }
}

fn maps<const OUTPUTS: usize>(level: Level) -> Maps
where
    Image<OUTPUTS>: Map,
    Window<OUTPUTS>: Map,
    Product<OUTPUTS>: Map,
    Gradient<OUTPUTS>: Map,
    WindowGradient<OUTPUTS>: Map,
{
    Maps {
        outputs: OUTPUTS,
        image: both_of::<Image<OUTPUTS>>().at(level),
        window: both_of::<Window<OUTPUTS>>().at(level),
        product: both_of::<Product<OUTPUTS>>().at(level),
        gradient: both_of::<Gradient<OUTPUTS>>().at(level),
        window_gradient: both_of::<WindowGradient<OUTPUTS>>().at(level),
    }
}

stamp! {
    fn both_of<M: Map>(from: &Square, to: &Square, channels: usize) = both::<<Here as Simd>::F32, M>;
}

/// # Safety
/// The cells that are there have so many channels, readable or writable, and the machine has the vector's instructions.
#[inline(always)]
unsafe fn both<V: Vector<Number = f32>, M: Map>(from: &Square, to: &Square, channels: usize) {
    let whole = from.has(M::FROM) && to.has(M::TO);
    let full = channels - channels % V::LANES;
    for channel in (0..full).step_by(V::LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            match whole {
                true => lanes::<V, M, true, true>(from, to, channel, V::LANES),
                false => lanes::<V, M, false, true>(from, to, channel, V::LANES),
            }
        }
    }
    if full < channels {
        // SAFETY: the caller's promise.
        unsafe { lanes::<V, M, false, false>(from, to, full, channels - full) };
    }
}

/// One register's worth of channels. `WHOLE`: all cells are there; `FULL`: so are all lanes.
///
/// # Safety
/// As [`both`].
#[inline(always)]
unsafe fn lanes<V: Vector<Number = f32>, M: Map, const WHOLE: bool, const FULL: bool>(
    from: &Square,
    to: &Square,
    channel: usize,
    count: usize,
) {
    // SAFETY: the caller's promise; cells that aren't there aren't touched.
    unsafe {
        let zero = V::splat(0.0);
        let mut turned = [[zero; MOST]; MOST];
        for column in 0..M::FROM {
            let mut line = [zero; MOST];
            for row in 0..M::FROM {
                if WHOLE || (from.rows.contains(&row) && from.columns.contains(&column)) {
                    let cell = from.cell(row, column).wrapping_add(channel);
                    line[row] = if FULL { V::load(cell) } else { V::load_first(cell, count) };
                }
            }
            let line = M::apply(line);
            for row in 0..M::TO {
                turned[row][column] = line[row];
            }
        }
        for row in 0..M::TO {
            if !WHOLE && !to.rows.contains(&row) {
                continue;
            }
            let line = M::apply(turned[row]);
            for column in 0..M::TO {
                if WHOLE || to.columns.contains(&column) {
                    let cell = to.cell(row, column).wrapping_add(channel);
                    if FULL { line[column].store(cell) } else { line[column].store_first(cell, count) }
                }
            }
        }
    }
}
