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
        && conv.dilation == [1; 3]
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
    let direct = products(9.0 * pixels) + 9.0 * LINE * 16.0 * from * to;
    let cost = |transforms: &WinogradTransforms| {
        let tiles =
            (batch * result[1].div_ceil(transforms.outputs) * result[2].div_ceil(transforms.outputs)) as f64;
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
}

impl Plane {
    /// The grid whose cell (0, 0) is the pixel `corner` of the image at `start`; the corner may lie outside.
    fn grid(&self, start: *mut f32, corner: [isize; 2]) -> CellGrid {
        let inside = |axis: usize| {
            let first = (-corner[axis]).max(0);
            let end = (self.size[axis] as isize - corner[axis]).max(first);
            first as usize..end as usize
        };
        CellGrid {
            start: start.wrapping_offset(corner[0] * self.line + corner[1] * self.pixel),
            row: self.line,
            column: self.pixel,
            rows: inside(0),
            columns: inside(1),
        }
    }
}

/// The results of all images cut into tiles; a line of tiles is as many whole lines of pixels (the last of an image may
/// have fewer), so that consecutive lines of tiles are consecutive pixels.
struct OutputTiling {
    size: [usize; 2],
    outputs: usize,
}

/// One tile: its image, and its first pixel there.
#[derive(Clone, Copy)]
struct OutputTile {
    image: usize,
    corner: [isize; 2],
}

impl OutputTiling {
    /// Lines of tiles in an image.
    fn lines(&self) -> usize {
        self.size[0].div_ceil(self.outputs)
    }

    /// Tiles in a line.
    fn wide(&self) -> usize {
        self.size[1].div_ceil(self.outputs)
    }

    /// Tile `index` of those from line `first` on, lines counted through all images.
    fn tile(&self, first: usize, index: usize) -> OutputTile {
        let line = first + index / self.wide();
        let corner = [line % self.lines() * self.outputs, index % self.wide() * self.outputs];
        OutputTile { image: line / self.lines(), corner: corner.map(|at| at as isize) }
    }

    /// The number of the first pixel in a line of tiles, through all images.
    fn first_pixel(&self, line: usize) -> usize {
        let (image, line) = (line / self.lines(), line % self.lines());
        (image * self.size[0] + line * self.outputs) * self.size[1]
    }
}
