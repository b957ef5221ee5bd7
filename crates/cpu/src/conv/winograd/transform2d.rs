//! A transform applied to two_sided sides of grids in memory, one for each channel, many channels at a time.

use super::transforms::{
    FilterGradientTransform, FilterTransform, InputTransform, LinearTransform, MOST, OutputGradientTransform,
    OutputTransform,
};
use crate::simd::{Level, Simd, Vector, stamp};
use std::ops::Range;

/// A grid of runs of channels in memory. Cells outside of `rows × columns` aren't there: zeros to a reader, nothing
/// to a writer.
pub(super) struct CellGrid {
    /// The first channel of cell (0, 0), whether that is there or not.
    pub(super) start: *mut f32,
    /// From row to row, and from column to column.
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl CellGrid {
    /// A grid whose cells are all there: elements of the transform domain, window positions.
    pub(super) fn whole(start: *mut f32, row: isize, column: isize) -> CellGrid {
        CellGrid { start, row, column, rows: 0..MOST, columns: 0..MOST }
    }

    fn cell(&self, row: usize, column: usize) -> *mut f32 {
        self.start.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }

    fn has(&self, size: usize) -> bool {
        let all = |range: &Range<usize>| range.start == 0 && range.end >= size;
        all(&self.rows) && all(&self.columns)
    }
}

/// Transforms a grid to another, for so many channels.
pub(super) type Transform2d = unsafe fn(from: &CellGrid, to: &CellGrid, channels: usize);

/// The transforms of tiles of `m` by `m` outputs, for a level of the processor.
#[derive(Clone, Copy)]
pub(in crate::conv) struct WinogradTransforms {
    /// Outputs along a side.
    pub(super) outputs: usize,
    pub(super) input: Transform2d,
    pub(super) filter: Transform2d,
    pub(super) output: Transform2d,
    pub(super) output_gradient: Transform2d,
    pub(super) filter_gradient: Transform2d,
}

impl WinogradTransforms {
    /// Elements of the transform domain along a side.
    pub(super) fn side(&self) -> usize {
        self.outputs + 2
    }

    /// Elements of a tile in the transform domain.
    pub(super) fn elements(&self) -> usize {
        self.side() * self.side()
    }

    /// Those of tiles of 2 × 2 and of 4 × 4 outputs.
    pub(super) fn all(level: Level) -> [WinogradTransforms; 2] {
        [transforms::<2>(level), transforms::<4>(level)]
    }
}

fn transforms<const OUTPUTS: usize>(level: Level) -> WinogradTransforms
where
    InputTransform<OUTPUTS>: LinearTransform,
    FilterTransform<OUTPUTS>: LinearTransform,
    OutputTransform<OUTPUTS>: LinearTransform,
    OutputGradientTransform<OUTPUTS>: LinearTransform,
    FilterGradientTransform<OUTPUTS>: LinearTransform,
{
    WinogradTransforms {
        outputs: OUTPUTS,
        input: two_sided_of::<InputTransform<OUTPUTS>>().at(level),
        filter: two_sided_of::<FilterTransform<OUTPUTS>>().at(level),
        output: two_sided_of::<OutputTransform<OUTPUTS>>().at(level),
        output_gradient: two_sided_of::<OutputGradientTransform<OUTPUTS>>().at(level),
        filter_gradient: two_sided_of::<FilterGradientTransform<OUTPUTS>>().at(level),
    }
}

stamp! {
    fn two_sided_of<M: LinearTransform>(from: &CellGrid, to: &CellGrid, channels: usize) = two_sided::<<Here as Simd>::F32, M>;
}

/// # Safety
/// The cells that are there have so many channels, readable or writable, and the machine has the vector's instructions.
#[inline(always)]
unsafe fn two_sided<V: Vector<Number = f32>, M: LinearTransform>(
    from: &CellGrid,
    to: &CellGrid,
    channels: usize,
) {
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
/// As [`two_sided`].
#[inline(always)]
unsafe fn lanes<V: Vector<Number = f32>, M: LinearTransform, const WHOLE: bool, const FULL: bool>(
    from: &CellGrid,
    to: &CellGrid,
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
