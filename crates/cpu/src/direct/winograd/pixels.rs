//! The convolution forward, and its gradient in the image, which is the convolution of the result's gradient with the
//! window turned around.
//!
//! Where there are many tiles, the weights are mapped once, and a block of tiles is mapped to points, multiplied there and
//! mapped back all in one go by one thread: between the steps it stays in cache. Where there are more columns than tiles
//! it is the other way round: the tiles are mapped once, and a panel of the weights stays in cache.

use kiln_compile::program::{Conv, ConvKind};

use super::square::{Maps, Square};
use super::{GAP, Plane, Tiling};
use crate::block::{Block, Output};
use crate::direct::Way;
use crate::direct::panel::{Strip, lay_out};
use crate::direct::tile::{self, Kernel, Segment};
use crate::scratch::{self, Purpose};
use crate::shared::Shared;
use crate::threads::parallel;

/// Steps of the sum whose weights are mapped by one task.
const STEPS: usize = 64;
/// Numbers at points that a block of tiles should come to, before and after the products.
const BLOCK: usize = 256 * 1024;
/// So many tasks map the tiles, if there are enough.
const PIECES: usize = 16;
/// Numbers of a result that are handed over together.
const PART: usize = 16 * 1024;

/// The plan of such a convolution.
pub(crate) struct Pixels {
    kernel: Kernel,
    maps: Maps,
    batch: usize,
    source: Plane,
    pad: [isize; 2],
    tiling: Tiling,
    /// Lines of tiles in a block; none: panels are shared out instead.
    lines: Option<usize>,
    /// What is summed over, and what is not.
    channels: usize,
    columns: usize,
    weights: Weights,
    /// Whether all weights are mapped before a run.
    ahead: bool,
}

/// How the weight lies in memory.
struct Weights {
    /// From window position (0, 0), as the convolution sees it, to the first element.
    first: isize,
    row: isize,
    column: isize,
    sum_stride: isize,
    column_stride: isize,
}

impl Pixels {
    /// The plan.
    pub(in crate::direct) fn new(conv: &Conv, kernel: Kernel, maps: Maps, steady: bool) -> Pixels {
        let (view, weight) = (&conv.a.strides, &conv.b.strides);
        let pad = [conv.pad[1] as isize, conv.pad[2] as isize];
        let forward = conv.kind == ConvKind::Forward;
        let plane = |size: [usize; 3]| Plane {
            size: [size[1], size[2]],
            image: view[0],
            line: view[3],
            pixel: view[4],
        };
        let (source, pad, result, channels, columns, weights) = match forward {
            true => {
                let weights = Weights {
                    first: 0,
                    row: weight[3],
                    column: weight[4],
                    sum_stride: weight[1],
                    column_stride: weight[0],
                };
                (plane(conv.input), pad, conv.output, conv.in_channels, conv.out_channels, weights)
            }
            false => {
                let weights = Weights {
                    first: 2 * (weight[3] + weight[4]),
                    row: -weight[3],
                    column: -weight[4],
                    sum_stride: weight[0],
                    column_stride: weight[1],
                };
                let pad = pad.map(|pad| 2 - pad);
                (plane(conv.output), pad, conv.input, conv.out_channels, conv.in_channels, weights)
            }
        };
        let tiling = Tiling { size: [result[1], result[2]], outputs: maps.outputs };
        let all = conv.batch * tiling.lines();
        let tiles = (BLOCK / (maps.points() * (channels + columns))).max(3 * kernel.rows);
        let lines = (tiles / tiling.wide()).min(all.div_ceil(4)).max(1);
        let lines = (all * tiling.wide() >= columns).then_some(lines);
        let ahead = steady || lines.is_some();
        Pixels {
            kernel,
            maps,
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

    /// Maps all tiles, and then goes through the weights panel by panel.
    ///
    /// # Safety
    /// As [`Way::run`].
    unsafe fn panels(&self, source: Shared<*const f32>, weight: Shared<*const f32>, output: &Output<f32>) {
        let all = self.batch * self.tiling.lines();
        let tiles = all * self.tiling.wide();
        let wide = self.kernel.columns;
        let (from, to) = (tiles * self.channels + GAP, tiles * wide + GAP);
        let compute = |out: *mut f32, stride: isize| {
            let out = Shared(out);
            scratch::with(Purpose::Images, self.maps.points() * from, |image: *mut f32| {
                let image = Shared(image);
                // Few pieces, so that threads rarely write side by side.
                let pieces = all.min(PIECES);
                parallel(pieces, &|piece| {
                    for index in tiles * piece / pieces..tiles * (piece + 1) / pieces {
                        // SAFETY: each tile has its own place.
                        unsafe { self.map_tile(source.get(), 0, index, image.get(), from) };
                    }
                });
                parallel(self.panel_count(), &|panel| {
                    let columns = wide.min(self.columns - panel * wide);
                    scratch::with(Purpose::Parts, self.maps.points() * to, |products: *mut f32| {
                        // SAFETY: the tiles are mapped, the weights complete, and the scratch has room for the panel's products.
                        unsafe { self.products(image.get(), from, weight.get(), panel, products, to) };
                        let out = out.get().wrapping_add(panel * wide);
                        for index in 0..tiles {
                            let products = products.wrapping_add(index * wide);
                            // SAFETY: each panel has its own columns of the output.
                            unsafe { self.map_back(products, to, (0, index, 0), columns, out, stride) };
                        }
                    });
                });
            });
        };
        match output {
            Output::Store { start, stride } => compute(*start, *stride),
            output => {
                let pixels = self.tiling.first_pixel(all);
                scratch::with(Purpose::Sums, pixels * self.columns, |sums: *mut f32| {
                    compute(sums, self.columns as isize);
                    let (sums, together) = (Shared(sums), (PART / self.columns).max(1));
                    parallel(pixels.div_ceil(together), &|part| {
                        let rows = part * together..((part + 1) * together).min(pixels);
                        let sums = sums.get().wrapping_add(rows.start * self.columns);
                        let block = Block { sums, stride: self.columns, rows, columns: 0..self.columns };
                        // SAFETY: each part of the sums is handed over once.
                        unsafe { output.hand_over(block) };
                    });
                });
            }
        }
    }

    /// From one point of a panel of mapped weights to the next.
    fn between(&self) -> usize {
        self.channels * self.kernel.columns + GAP
    }

    /// The products of all tiles with a panel of the weights. Where these weren't mapped ahead some steps of the panel are
    /// mapped, and used while they are in cache.
    ///
    /// # Safety
    /// The image is mapped and the weights are as [`Way::run`] gets them; `products` has room for a panel's columns of every
    /// tile at every point.
    unsafe fn products(
        &self,
        image: *const f32,
        from: usize,
        weight: *const f32,
        panel: usize,
        products: *mut f32,
        to: usize,
    ) {
        let (wide, points) = (self.kernel.columns, self.maps.points());
        let columns = wide.min(self.columns - panel * wide);
        let tiles = self.batch * self.tiling.lines() * self.tiling.wide();
        let multiply = |mapped: *const f32, between: usize, first: usize, steps: usize| {
            for point in 0..points {
                let a = image.wrapping_add(point * from + first);
                let (b, out) = (mapped.wrapping_add(point * between), products.wrapping_add(point * to));
                // SAFETY: these steps are mapped; the rest is the caller's promise.
                unsafe { self.product(a, b, (tiles, steps, columns), out, wide, first > 0) };
            }
        };
        if self.ahead {
            let mapped = weight.wrapping_add(panel * points * self.between());
            return multiply(mapped, self.between(), 0, self.channels);
        }
        let between = STEPS.min(self.channels) * wide + GAP;
        scratch::with(Purpose::Weights, points * between, |mapped: *mut f32| {
            for first in (0..self.channels).step_by(STEPS) {
                // SAFETY: the scratch has room for these steps of the panel.
                unsafe { self.map_weight(weight, panel, first, mapped, between) };
                multiply(mapped, between, first, STEPS.min(self.channels - first));
            }
        });
    }

    /// Computes some lines of tiles and hands them over.
    ///
    /// # Safety
    /// As [`Way::run`]; nobody else writes these lines.
    unsafe fn block(
        &self,
        source: *const f32,
        mapped: *const f32,
        lines: std::ops::Range<usize>,
        output: &Output<f32>,
    ) {
        let tiles = lines.len() * self.tiling.wide();
        let pixels = self.tiling.first_pixel(lines.start)..self.tiling.first_pixel(lines.end);
        let (from, to) = (tiles * self.channels + GAP, tiles * self.columns + GAP);
        let (points, wide) = (self.maps.points(), self.kernel.columns);
        let between = self.between();
        scratch::with(Purpose::Images, points * from, |image: *mut f32| {
            for index in 0..tiles {
                // SAFETY: the scratch has room for all tiles.
                unsafe { self.map_tile(source, lines.start, index, image, from) };
            }
            scratch::with(Purpose::Parts, points * to, |products: *mut f32| {
                for (point, panel) in (0..points).flat_map(|p| (0..self.panel_count()).map(move |q| (p, q))) {
                    let a = image.wrapping_add(point * from);
                    let b = mapped.wrapping_add((panel * points + point) * between);
                    let columns = wide.min(self.columns - panel * wide);
                    let out = products.wrapping_add(point * to + panel * wide);
                    // SAFETY: the point's tiles and weights are mapped, and there is room for the products.
                    unsafe { self.product(a, b, (tiles, self.channels, columns), out, self.columns, false) };
                }
                let hand_over = |out: *mut f32, first: usize, stride: isize| {
                    for index in 0..tiles {
                        let products = products.wrapping_add(index * self.columns);
                        let tile = (lines.start, index, first);
                        // SAFETY: each tile has its own pixels.
                        unsafe { self.map_back(products, to, tile, self.columns, out, stride) };
                    }
                };
                match output {
                    Output::Store { start, stride } => hand_over(*start, 0, *stride),
                    output => {
                        scratch::with(Purpose::Sums, pixels.len() * self.columns, |sums: *mut f32| {
                            hand_over(sums, pixels.start, self.columns as isize);
                            let columns = 0..self.columns;
                            // SAFETY: these pixels are this task's.
                            unsafe {
                                output.hand_over(Block { sums, stride: self.columns, rows: pixels, columns });
                            }
                        });
                    }
                }
            });
        });
    }

    fn panel_count(&self) -> usize {
        self.columns.div_ceil(self.kernel.columns)
    }

    /// Maps up to [`STEPS`] steps of a panel of the weight, from `first` on: `[point][step][column]`, with `between`
    /// numbers from point to point.
    ///
    /// # Safety
    /// The weight is complete; nobody else writes this part of `mapped`.
    unsafe fn map_weight(
        &self,
        weight: *const f32,
        panel: usize,
        first: usize,
        mapped: *mut f32,
        between: usize,
    ) {
        let (wide, count) = (self.kernel.columns, STEPS.min(self.channels - first));
        let columns = wide.min(self.columns - panel * wide);
        let Weights { row, column, sum_stride, column_stride, .. } = self.weights;
        let corner = weight.wrapping_offset(
            self.weights.first + first as isize * sum_stride + (panel * wide) as isize * column_stride,
        );
        scratch::with(Purpose::Gradients, 9 * count * wide, |rows: *mut f32| {
            for position in 0..9 {
                let from =
                    corner.wrapping_offset(position as isize / 3 * row + position as isize % 3 * column);
                let strip = Strip { from, sum: count, sum_stride, columns, column_stride };
                // SAFETY: the strip is part of the weight; the scratch has room for nine.
                unsafe { lay_out(&strip, wide, rows.add(position * count * wide)) };
            }
            for step in 0..count {
                let position = (count * wide) as isize;
                let from = Square::whole(rows.wrapping_add(step * wide), 3 * position, position);
                let start = mapped.wrapping_add(step * wide);
                let to = Square::whole(start, (self.maps.side() * between) as isize, between as isize);
                // SAFETY: both squares lie inside of their memory.
                unsafe { (self.maps.window)(&from, &to, wide) };
            }
        });
    }

    /// Maps a tile, counted from line `first` on: `[point][tile][channel]`, with `between` numbers from point to point.
    ///
    /// # Safety
    /// The source is complete; nobody else writes this tile of `image`.
    unsafe fn map_tile(
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
        let to = Square::whole(to, (self.maps.side() * between) as isize, between as isize);
        // SAFETY: the caller's promise.
        unsafe { (self.maps.image)(&self.source.square(start, corner), &to, self.channels) };
    }

    /// Maps a tile's products, `between` numbers from point to point, to its pixels. The tile is given by a line, its
    /// number from there on, and the pixel that lies at `out`.
    ///
    /// # Safety
    /// The products are complete; nobody else writes these columns of the tile's pixels.
    unsafe fn map_back(
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
        };
        let pixels = plane.square(out.wrapping_offset(image * stride), tile.corner);
        let from = Square::whole(products, (self.maps.side() * between) as isize, between as isize);
        // SAFETY: the caller's promise.
        unsafe { (self.maps.product)(&from, &pixels, columns) };
    }

    /// A product at one point: tiles × steps by steps × a panel's columns.
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
        let (mut rows, mut out_rows) = ([0isize; 32], [0isize; 32]);
        let parts = tiles.div_ceil(self.kernel.rows);
        let segments = [Segment { a: 0, b: 0, count: steps }];
        for part in 0..parts {
            let range = tiles * part / parts..tiles * (part + 1) / parts;
            let count = range.len();
            for (slot, row) in range.enumerate() {
                rows[slot] = (row * self.channels) as isize;
                out_rows[slot] = (row * stride) as isize;
            }
            // SAFETY: the caller's promise.
            unsafe {
                self.kernel.run(&tile::Tile {
                    a,
                    rows: &rows[..count],
                    a_step: 1,
                    segments: &segments,
                    b,
                    b_step: self.kernel.columns as isize,
                    columns,
                    out,
                    out_rows: &out_rows[..count],
                    add,
                    finish: None,
                    column: 0,
                    other_rows: &[],
                });
            }
        }
    }
}

impl Way for Pixels {
    fn arranged(&self) -> usize {
        if self.ahead { self.panel_count() * self.maps.points() * self.between() } else { 0 }
    }

    /// Maps all weights.
    unsafe fn arrange(&self, weight: *const f32, mapped: *mut f32) {
        let (weight, mapped) = (Shared(weight), Shared(mapped));
        let steps = self.channels.div_ceil(STEPS);
        parallel(self.panel_count() * steps, &|task| {
            let (panel, first) = (task / steps, task % steps * STEPS);
            let start = panel * self.maps.points() * self.between() + first * self.kernel.columns;
            let mapped = mapped.get().wrapping_add(start);
            // SAFETY: each task has its own steps of its own panel.
            unsafe { self.map_weight(weight.get(), panel, first, mapped, self.between()) };
        });
    }

    unsafe fn run(&self, source: *const f32, weight: *const f32, output: &Output<f32>) {
        let all = self.batch * self.tiling.lines();
        let (source, weight) = (Shared(source), Shared(weight));
        let Some(lines) = self.lines else {
            // SAFETY: the caller's promise.
            return unsafe { self.panels(source, weight, output) };
        };
        parallel(all.div_ceil(lines), &|block| {
            let lines = block * lines..((block + 1) * lines).min(all);
            // SAFETY: all weights are mapped, and each block of the output is one task's.
            unsafe { self.block(source.get(), weight.get(), lines, output) };
        });
    }
}
