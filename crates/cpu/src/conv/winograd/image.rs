//! The convolution forward, and its gradient in the image, which is the convolution of the result's gradient with the
//! window turned around.
//!
//! Where there are many tiles, the weights are transformed once, and a block of tiles is transformed, multiplied and
//! transformed back all in one go by one thread: between the steps it stays in cache. Where there are more columns than tiles
//! it is the other way round: the tiles are transformed once, and a panel of the weights stays in cache.

use kiln_compile::program::{Conv, ConvKind};

use super::transform2d::{CellGrid, WinogradTransforms};
use super::{GAP, OutputTiling, Plane, WIDE};
use crate::caches::caches;
use crate::conv::ConvAlgorithm;
use crate::conv::pack::{ColumnStrip, pack_panel};
use crate::gemm::{GemmNumber, Kernels, MicroTile};
use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::Level;
use crate::threads::parallel;

/// Steps of the sum whose weights are transformed by one task.
const STEPS: usize = 64;
/// So many tasks transform the tiles, if there are enough.
const PIECES: usize = 16;
/// Numbers of a result that are handed over together.
const PART: usize = 16 * 1024;

/// The plan of such a convolution.
pub(crate) struct WinogradConv {
    kernels: &'static Kernels<f32>,
    /// Columns of a panel of the weights.
    wide: usize,
    transforms: WinogradTransforms,
    batch: usize,
    source: Plane,
    pad: [isize; 2],
    tiling: OutputTiling,
    /// Lines of tiles in a block; none: panels are shared out instead.
    lines: Option<usize>,
    /// What is summed over, and what is not.
    channels: usize,
    columns: usize,
    weights: WindowStrides,
    /// Whether all weights are transformed before a run.
    ahead: bool,
}

/// How the weight lies in memory.
struct WindowStrides {
    /// From window position (0, 0), as the convolution sees it, to the first element.
    first: isize,
    row: isize,
    column: isize,
    sum_stride: isize,
    column_stride: isize,
}

impl WinogradConv {
    /// The plan.
    pub(in crate::conv) fn new(
        conv: &Conv,
        level: Level,
        transforms: WinogradTransforms,
        invariant: bool,
    ) -> WinogradConv {
        let kernels = f32::KERNELS.at(level);
        let (view, weight) = (&conv.a.strides, &conv.b.strides);
        let pad = [conv.pad[1] as isize, conv.pad[2] as isize];
        let step = [conv.dilation[1], conv.dilation[2]];
        let forward = conv.kind == ConvKind::Forward;
        let plane = |size: [usize; 3]| Plane {
            size: [size[1], size[2]],
            image: view[0],
            line: view[3],
            pixel: view[4],
            step,
        };
        let (source, pad, result, channels, columns, weights) = match forward {
            true => {
                let weights = WindowStrides {
                    first: 0,
                    row: weight[3],
                    column: weight[4],
                    sum_stride: weight[1],
                    column_stride: weight[0],
                };
                (plane(conv.input), pad, conv.output, conv.in_channels, conv.out_channels, weights)
            }
            false => {
                let weights = WindowStrides {
                    first: 2 * (weight[3] + weight[4]),
                    row: -weight[3],
                    column: -weight[4],
                    sum_stride: weight[0],
                    column_stride: weight[1],
                };
                let pad = [0, 1].map(|axis| 2 * step[axis] as isize - pad[axis]);
                (plane(conv.output), pad, conv.input, conv.out_channels, conv.in_channels, weights)
            }
        };
        let tiling = OutputTiling::new(conv, result, &transforms);
        let all = conv.batch * tiling.lines();
        // Before and after the products, a block should fit in a core's own cache.
        let block = caches().second / size_of::<f32>();
        let tiles = (block / (transforms.elements() * (channels + columns))).max(3 * kernels.tall);
        let lines = (tiles / tiling.wide()).min(all.div_ceil(4)).max(1);
        let lines = (all * tiling.wide() >= columns).then_some(lines);
        let ahead = invariant || lines.is_some();
        WinogradConv {
            kernels,
            wide: WIDE * kernels.lanes,
            transforms,
            batch: conv.batch,
            source,
            pad,
            tiling,
            lines,
            channels,
            columns,
            weights,
            ahead,
        }
    }

    /// Transforms all tiles, and then goes through the weights panel by panel.
    ///
    /// # Safety
    /// As [`ConvAlgorithm::run`].
    unsafe fn panels(
        &self,
        source: SendPtr<*const f32>,
        weight: SendPtr<*const f32>,
        output: &ResultSink<f32>,
    ) {
        let all = self.batch * self.tiling.lines();
        let tiles = all * self.tiling.wide();
        let wide = self.wide;
        let (from, to) = (tiles * self.channels + GAP, tiles * wide + GAP);
        let compute = |out: *mut f32, stride: isize| {
            let out = SendPtr(out);
            scratch::with(Purpose::Images, self.transforms.elements() * from, |image: *mut f32| {
                let image = SendPtr(image);
                // Few pieces, so that threads rarely write side by side.
                let pieces = all.min(PIECES);
                parallel(pieces, &|piece| {
                    for index in tiles * piece / pieces..tiles * (piece + 1) / pieces {
                        // SAFETY: each tile has its own place.
                        unsafe { self.transform_tile(source.get(), 0, index, image.get(), from) };
                    }
                });
                parallel(self.panel_count(), &|panel| {
                    let columns = wide.min(self.columns - panel * wide);
                    scratch::with(Purpose::Parts, self.transforms.elements() * to, |products: *mut f32| {
                        // SAFETY: the tiles are transformed, the weights complete, and the scratch has room for the panel's products.
                        unsafe { self.products(image.get(), from, weight.get(), panel, products, to) };
                        let out = out.get().wrapping_add(panel * wide);
                        for index in 0..tiles {
                            let products = products.wrapping_add(index * wide);
                            // SAFETY: each panel has its own columns of the output.
                            unsafe { self.transform_back(products, to, (0, index, 0), columns, out, stride) };
                        }
                    });
                });
            });
        };
        match output {
            ResultSink::Store { start, stride } => compute(*start, *stride),
            output => {
                let pixels = self.tiling.first_pixel(all);
                scratch::with(Purpose::Sums, pixels * self.columns, |sums: *mut f32| {
                    compute(sums, self.columns as isize);
                    let (sums, together) = (SendPtr(sums), (PART / self.columns).max(1));
                    parallel(pixels.div_ceil(together), &|part| {
                        let rows = part * together..((part + 1) * together).min(pixels);
                        let sums = sums.get().wrapping_add(rows.start * self.columns);
                        let block =
                            ResultBlock { sums, stride: self.columns, rows, columns: 0..self.columns };
                        // SAFETY: each part of the sums is handed over once.
                        unsafe { output.hand_over(block) };
                    });
                });
            }
        }
    }

    /// From one element of a panel of transformed weights to the next.
    fn between(&self) -> usize {
        self.channels * self.wide + GAP
    }

    /// The products of all tiles with a panel of the weights. Where these weren't transformed ahead some steps of the panel are
    /// transformed, and used while they are in cache.
    ///
    /// # Safety
    /// The image is transformed and the weights are as [`ConvAlgorithm::run`] gets them; `products` has room for a panel's columns of every
    /// tile for every element of the transform domain.
    unsafe fn products(
        &self,
        image: *const f32,
        from: usize,
        weight: *const f32,
        panel: usize,
        products: *mut f32,
        to: usize,
    ) {
        let (wide, elements) = (self.wide, self.transforms.elements());
        let columns = wide.min(self.columns - panel * wide);
        let tiles = self.batch * self.tiling.lines() * self.tiling.wide();
        let multiply = |transformed: *const f32, between: usize, first: usize, steps: usize| {
            for element in 0..elements {
                let a = image.wrapping_add(element * from + first);
                let (b, out) =
                    (transformed.wrapping_add(element * between), products.wrapping_add(element * to));
                // SAFETY: these steps are transformed; the rest is the caller's promise.
                unsafe { self.product(a, b, (tiles, steps, columns), out, wide, first > 0) };
            }
        };
        if self.ahead {
            let transformed = weight.wrapping_add(panel * elements * self.between());
            return multiply(transformed, self.between(), 0, self.channels);
        }
        let between = STEPS.min(self.channels) * wide + GAP;
        scratch::with(Purpose::Weights, elements * between, |transformed: *mut f32| {
            for first in (0..self.channels).step_by(STEPS) {
                // SAFETY: the scratch has room for these steps of the panel.
                unsafe { self.transform_weight(weight, panel, first, transformed, between) };
                multiply(transformed, between, first, STEPS.min(self.channels - first));
            }
        });
    }

    /// Computes some lines of tiles and hands them over.
    ///
    /// # Safety
    /// As [`ConvAlgorithm::run`]; nobody else writes these lines.
    unsafe fn block(
        &self,
        source: *const f32,
        transformed: *const f32,
        lines: std::ops::Range<usize>,
        output: &ResultSink<f32>,
    ) {
        let tiles = lines.len() * self.tiling.wide();
        let pixels = self.tiling.first_pixel(lines.start)..self.tiling.first_pixel(lines.end);
        let (from, to) = (tiles * self.channels + GAP, tiles * self.columns + GAP);
        let (elements, wide) = (self.transforms.elements(), self.wide);
        let between = self.between();
        scratch::with(Purpose::Images, elements * from, |image: *mut f32| {
            for index in 0..tiles {
                // SAFETY: the scratch has room for all tiles.
                unsafe { self.transform_tile(source, lines.start, index, image, from) };
            }
            scratch::with(Purpose::Parts, elements * to, |products: *mut f32| {
                for (element, panel) in
                    (0..elements).flat_map(|p| (0..self.panel_count()).map(move |q| (p, q)))
                {
                    let a = image.wrapping_add(element * from);
                    let b = transformed.wrapping_add((panel * elements + element) * between);
                    let columns = wide.min(self.columns - panel * wide);
                    let out = products.wrapping_add(element * to + panel * wide);
                    // SAFETY: the element's tiles and weights are transformed, and there is room for the products.
                    unsafe { self.product(a, b, (tiles, self.channels, columns), out, self.columns, false) };
                }
                let hand_over = |out: *mut f32, first: usize, stride: isize| {
                    for index in 0..tiles {
                        let products = products.wrapping_add(index * self.columns);
                        let tile = (lines.start, index, first);
                        // SAFETY: each tile has its own pixels.
                        unsafe { self.transform_back(products, to, tile, self.columns, out, stride) };
                    }
                };
                match output {
                    ResultSink::Store { start, stride } => hand_over(*start, 0, *stride),
                    output => {
                        scratch::with(Purpose::Sums, pixels.len() * self.columns, |sums: *mut f32| {
                            hand_over(sums, pixels.start, self.columns as isize);
                            let columns = 0..self.columns;
                            // SAFETY: these pixels are this task's.
                            unsafe {
                                output.hand_over(ResultBlock {
                                    sums,
                                    stride: self.columns,
                                    rows: pixels,
                                    columns,
                                });
                            }
                        });
                    }
                }
            });
        });
    }

    fn panel_count(&self) -> usize {
        self.columns.div_ceil(self.wide)
    }

    /// Transforms up to [`STEPS`] steps of a panel of the weight, from `first` on: `[element][step][column]`, with `between`
    /// numbers from element to element.
    ///
    /// # Safety
    /// The weight is complete; nobody else writes this part of `transformed`.
    unsafe fn transform_weight(
        &self,
        weight: *const f32,
        panel: usize,
        first: usize,
        transformed: *mut f32,
        between: usize,
    ) {
        let (wide, count) = (self.wide, STEPS.min(self.channels - first));
        let columns = wide.min(self.columns - panel * wide);
        let WindowStrides { row, column, sum_stride, column_stride, .. } = self.weights;
        let corner = weight.wrapping_offset(
            self.weights.first + first as isize * sum_stride + (panel * wide) as isize * column_stride,
        );
        scratch::with(Purpose::Gradients, 9 * count * wide, |rows: *mut f32| {
            for position in 0..9 {
                let from =
                    corner.wrapping_offset(position as isize / 3 * row + position as isize % 3 * column);
                let strip = ColumnStrip { from, sum: count, sum_stride, columns, column_stride };
                // SAFETY: the strip is part of the weight; the scratch has room for nine.
                unsafe { pack_panel(&strip, wide, rows.add(position * count * wide)) };
            }
            for step in 0..count {
                let position = (count * wide) as isize;
                let from = CellGrid::whole(rows.wrapping_add(step * wide), 3 * position, position);
                let start = transformed.wrapping_add(step * wide);
                let to =
                    CellGrid::whole(start, (self.transforms.side() * between) as isize, between as isize);
                // SAFETY: both grids lie inside of their memory.
                unsafe { (self.transforms.filter)(&from, &to, wide) };
            }
        });
    }

    /// Transforms a tile, counted from line `first` on: `[element][tile][channel]`, with `between` numbers from element to element.
    ///
    /// # Safety
    /// The source is complete; nobody else writes this tile of `image`.
    unsafe fn transform_tile(
        &self,
        source: *const f32,
        first: usize,
        index: usize,
        image: *mut f32,
        between: usize,
    ) {
        let tile = self.tiling.tile(first, index);
        let start = source.wrapping_offset(tile.image as isize * self.source.image).cast_mut();
        let corner = [tile.corner[0] - self.pad[0], tile.corner[1] - self.pad[1]];
        let to = image.wrapping_add(index * self.channels);
        let to = CellGrid::whole(to, (self.transforms.side() * between) as isize, between as isize);
        // SAFETY: the caller's promise.
        unsafe { (self.transforms.input)(&self.source.grid(start, corner), &to, self.channels) };
    }

    /// Transforms a tile's products, `between` numbers from element to element, to its pixels. The tile is given by a line, its
    /// number from there on, and the pixel that lies at `out`.
    ///
    /// # Safety
    /// The products are complete; nobody else writes these columns of the tile's pixels.
    unsafe fn transform_back(
        &self,
        products: *mut f32,
        between: usize,
        (line, index, first): (usize, usize, usize),
        columns: usize,
        out: *mut f32,
        stride: isize,
    ) {
        let [height, width] = self.tiling.size;
        let tile = self.tiling.tile(line, index);
        let image = (tile.image * height * width) as isize - first as isize;
        let plane = Plane {
            size: self.tiling.size,
            image: (height * width) as isize * stride,
            line: width as isize * stride,
            pixel: stride,
            step: self.tiling.step,
        };
        let pixels = plane.grid(out.wrapping_offset(image * stride), tile.corner);
        let from = CellGrid::whole(products, (self.transforms.side() * between) as isize, between as isize);
        // SAFETY: the caller's promise.
        unsafe { (self.transforms.output)(&from, &pixels, columns) };
    }

    /// A product of one element of the transform domain: tiles × steps by steps × a panel's columns.
    ///
    /// # Safety
    /// `a` has the tiles from the first of these steps on, `b` the weights, and `out` room for the result, `stride` from
    /// tile to tile, holding what is added to.
    unsafe fn product(
        &self,
        a: *const f32,
        b: *const f32,
        (tiles, steps, columns): (usize, usize, usize),
        out: *mut f32,
        stride: usize,
        add: bool,
    ) {
        let parts = tiles.div_ceil(self.kernels.tall);
        for part in 0..parts {
            let range = tiles * part / parts..tiles * (part + 1) / parts;
            let first = range.start as isize;
            let tile = MicroTile {
                depth: steps,
                a: a.wrapping_offset(first * self.channels as isize),
                a_row: self.channels as isize,
                a_column: 1,
                b,
                b_row: self.wide as isize,
                c: out.wrapping_offset(first * stride as isize),
                c_row: stride as isize,
                last: columns - (columns - 1) / self.kernels.lanes * self.kernels.lanes,
                start: !add,
            };
            // SAFETY: the caller's promise; the kernels are of a level that the machine has.
            unsafe { self.kernels.tile(range.len(), columns.div_ceil(self.kernels.lanes))(&tile) };
        }
    }
}

impl ConvAlgorithm for WinogradConv {
    fn prepacked(&self) -> usize {
        if self.ahead { self.panel_count() * self.transforms.elements() * self.between() } else { 0 }
    }

    /// Transforms all weights.
    unsafe fn prepack(&self, weight: *const f32, transformed: *mut f32) {
        let (weight, transformed) = (SendPtr(weight), SendPtr(transformed));
        let steps = self.channels.div_ceil(STEPS);
        parallel(self.panel_count() * steps, &|task| {
            let (panel, first) = (task / steps, task % steps * STEPS);
            let start = panel * self.transforms.elements() * self.between() + first * self.wide;
            let transformed = transformed.get().wrapping_add(start);
            // SAFETY: each task has its own steps of its own panel.
            unsafe { self.transform_weight(weight.get(), panel, first, transformed, self.between()) };
        });
    }

    unsafe fn run(&self, source: *const f32, weight: *const f32, output: &ResultSink<f32>) {
        let all = self.batch * self.tiling.lines();
        let (source, weight) = (SendPtr(source), SendPtr(weight));
        let Some(lines) = self.lines else {
            // SAFETY: the caller's promise.
            return unsafe { self.panels(source, weight, output) };
        };
        parallel(all.div_ceil(lines), &|block| {
            let lines = block * lines..((block + 1) * lines).min(all);
            // SAFETY: all weights are transformed, and each block of the output is one task's.
            unsafe { self.block(source.get(), weight.get(), lines, output) };
        });
    }
}
