//! Convolutions of 3 × 3 windows by Winograd's minimal filtering: pixels and weights are brought into a transform domain,
//! where a matrix product over channels replaces the sum over window and channels, and brought back. A tile of 4 × 4 results takes 36
//! products a pair of channels instead of 144, one of 2 × 2 takes 16 instead of 36.

mod image;
#[cfg(test)]
mod tests;
mod transform2d;
mod transforms;
mod weight;

use kiln_compile::program::{Conv, ConvKind};

use super::direct;
use crate::simd::Level;
pub(super) use image::WinogradConv;
use transform2d::{CellGrid, WinogradTransforms};
pub(super) use weight::WinogradWeightGradient;

/// Between the numbers of one element of the transform domain and those of the next, so that they don't fall on the same
/// lines of the cache.
const GAP: usize = 16;

/// Vectors of a panel's columns.
const WIDE: usize = 2;

/// Cycles that a line of weights takes to come, and to be transformed or to come transformed.
const LINE: f64 = 3.0;
const TRANSFORMED_LINE: f64 = 3.5;

/// Images that a layer is taken to have when its transforms are chosen: whatever it has, they and their rounding stay the same.
const NOMINAL_BATCH: usize = 8;

/// The transforms that make a convolution cheapest, if they beat the direct sum. The choice alters sums, so that it is made by
/// the layer alone; but for the gradient in the weight, whose sums are over the batch.
pub(super) fn transforms(conv: &Conv, level: Level) -> Option<WinogradTransforms> {
    let square = conv.window == [1, 3, 3]
        && conv.stride == [1; 3]
        && (conv.dilation == [1; 3] || conv.kind != ConvKind::GradWeight)
        && conv.groups == 1
        && conv.pad[0] == 0
        && conv.input[0] == 1;
    if !square {
        return None;
    }
    let (batch, result) = match conv.kind {
        ConvKind::Forward => (NOMINAL_BATCH, conv.output),
        ConvKind::GradInput => (NOMINAL_BATCH, conv.input),
        ConvKind::GradWeight => (conv.batch, conv.output),
    };
    // In cycles, for registers of 16 numbers: what the products take, what is transformed and brought back, and reading the
    // weights, which come from afar where they are more than a cache holds.
    let (from, to) = (conv.in_channels as f64 / 16.0, conv.out_channels as f64 / 16.0);
    let pixels = (batch * result[1] * result[2]) as f64;
    let products = |count: f64| count * from * to * 8.0;
    let direct = products(9.0 * pixels * direct::seen(conv)) + 9.0 * LINE * 16.0 * from * to;
    let cost = |transforms: &WinogradTransforms| {
        let tiling = OutputTiling::new(conv, result, transforms);
        let tiles = (batch * tiling.lines() * tiling.wide()) as f64;
        let elements = transforms.elements() as f64;
        let moved = elements * (3.5 * tiles * (from + to) + TRANSFORMED_LINE * 16.0 * from * to);
        products(elements * tiles) + moved
    };
    WinogradTransforms::all(level)
        .into_iter()
        .filter(|transforms| cost(transforms) < 0.8 * direct)
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
}

/// An image of runs of channels.
struct Plane {
    /// Height and width.
    size: [usize; 2],
    /// How far apart images, lines and pixels are.
    image: isize,
    line: isize,
    pixel: isize,
    /// How many pixels apart the cells of a grid are.
    step: [usize; 2],
}

impl Plane {
    /// The grid whose cell (0, 0) is the pixel `corner` of the image at `start`; the corner may lie outside.
    fn grid(&self, start: *mut f32, corner: [isize; 2]) -> CellGrid {
        let inside = |axis: usize| {
            let cells = |pixels: isize| (pixels.max(0) as usize).div_ceil(self.step[axis]);
            let first = cells(-corner[axis]);
            first..cells(self.size[axis] as isize - corner[axis]).max(first)
        };
        CellGrid {
            start: start.wrapping_offset(corner[0] * self.line + corner[1] * self.pixel),
            row: self.step[0] as isize * self.line,
            column: self.step[1] as isize * self.pixel,
            rows: inside(0),
            columns: inside(1),
        }
    }
}

/// The results of all images cut into tiles. Pixels of a tile are as far apart as those of a window; a line of tiles is as many whole
/// lines of pixels as its tiles reach over (the last of an image may have fewer), so that consecutive lines of tiles are consecutive pixels.
struct OutputTiling {
    size: [usize; 2],
    outputs: usize,
    step: [usize; 2],
}

/// One tile: its image, and its first pixel there.
#[derive(Clone, Copy)]
struct OutputTile {
    image: usize,
    corner: [isize; 2],
}

impl OutputTiling {
    fn new(conv: &Conv, result: [usize; 3], transforms: &WinogradTransforms) -> OutputTiling {
        let step = [0, 1].map(|axis| conv.dilation[axis + 1].min(result[axis + 1]));
        OutputTiling { size: [result[1], result[2]], outputs: transforms.outputs, step }
    }

    /// Pixels along an axis that a tile reaches over, with those between its own.
    fn reach(&self, axis: usize) -> usize {
        self.outputs * self.step[axis]
    }

    /// Lines of tiles in an image.
    fn lines(&self) -> usize {
        self.size[0].div_ceil(self.reach(0))
    }

    /// Tiles in a line.
    fn wide(&self) -> usize {
        self.step[0] * self.across()
    }

    /// Tiles that start in a line of pixels.
    fn across(&self) -> usize {
        self.step[1] * self.size[1].div_ceil(self.reach(1))
    }

    /// Tile `index` of those from line `first` on, lines counted through all images.
    fn tile(&self, first: usize, index: usize) -> OutputTile {
        let (line, index) = (first + index / self.wide(), index % self.wide());
        let (row, column) = (index / self.across(), index % self.across());
        let corner = [
            line % self.lines() * self.reach(0) + row,
            column / self.step[1] * self.reach(1) + column % self.step[1],
        ];
        OutputTile { image: line / self.lines(), corner: corner.map(|at| at as isize) }
    }

    /// The number of the first pixel in a line of tiles, through all images.
    fn first_pixel(&self, line: usize) -> usize {
        let (image, line) = (line / self.lines(), line % self.lines());
        (image * self.size[0] + line * self.reach(0)) * self.size[1]
    }
}
