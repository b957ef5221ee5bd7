//! The convolution forward, and its gradient in the image, which is the convolution of the result's gradient with the
//! window turned around.
//!
//! A block of tiles is mapped to points, multiplied there by the mapped weights, and mapped back, all in one go by one
//! thread: between the steps it stays in cache.

use kiln_compile::program::{Conv, ConvKind};

use super::square::{Maps, Square};
use super::{Plane, Tiling};
use crate::cpu::block::{Block, Output};
use crate::cpu::direct::panel::{Strip, lay_out};
use crate::cpu::direct::pixels::{Shared, SharedMut};
use crate::cpu::direct::scratch::{self, Purpose};
use crate::cpu::direct::tile::{self, Kernel, Segment};
use crate::cpu::threads::parallel;

/// Steps of the sum whose weights are mapped by one task.
const STEPS: usize = 64;
/// Numbers at points that a block of tiles should come to, before and after the products.
const BLOCK: usize = 256 * 1024;
/// Between the numbers of one point and those of the next, so that they don't fall on the same lines of the cache.
const GAP: usize = 16;

/// The plan of such a convolution.
pub(crate) struct Pixels {
    kernel: Kernel,
    maps: Maps,
    batch: usize,
    source: Plane,
    pad: [isize; 2],
    tiling: Tiling,
    /// Lines of tiles in a block.
    lines: usize,
    /// What is summed over, and what is not.
    channels: usize,
    columns: usize,
    weights: Weights,
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
    pub(in crate::cpu::direct) fn new(conv: &Conv, kernel: Kernel, maps: Maps) -> Pixels {
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
        Pixels { kernel, maps, batch: conv.batch, source, pad, tiling, lines, channels, columns, weights }
    }

    /// Runs the plan.
    ///
    /// # Safety
    /// As [`Direct::run`](crate::cpu::direct::Direct::run).
    pub(in crate::cpu::direct) unsafe fn run(
        &self,
        source: *const f32,
        weight: *const f32,
        output: &Output<f32>,
    ) {
        let panels = self.columns.div_ceil(self.kernel.columns);
        let steps = self.channels.div_ceil(STEPS);
        let (source, weight) = (Shared(source), Shared(weight));
        scratch::with(Purpose::Weights, panels * self.maps.points() * self.panel_len(), |mapped| {
            let mapped = SharedMut(mapped);
            parallel(panels * steps, &|task| {
                // SAFETY: each task has its own steps of its own panel.
                unsafe { self.weights(weight.get(), task / steps, task % steps * STEPS, mapped.get()) };
            });
            let all = self.batch * self.tiling.lines();
            parallel(all.div_ceil(self.lines), &|block| {
                let first = block * self.lines;
                let lines = first..(first + self.lines).min(all);
                // SAFETY: all weights are mapped, and each block of the output is one task's.
                unsafe { self.block(source.get(), mapped.get(), lines, output) };
            });
        });
    }

    /// Numbers in one point's panel.
    fn panel_len(&self) -> usize {
        self.channels * self.kernel.columns
    }

    /// Maps some steps of a panel of the weight: `[panel][point][step][column]`.
    ///
    /// # Safety
    /// The weight is complete; nobody else writes this part of `mapped`.
    unsafe fn weights(&self, weight: *const f32, panel: usize, first: usize, mapped: *mut f32) {
        let (wide, count) = (self.kernel.columns, STEPS.min(self.channels - first));
        let columns = wide.min(self.columns - panel * wide);
        let Weights { row, column, sum_stride, column_stride, .. } = self.weights;
        let corner = weight.wrapping_offset(
            self.weights.first + first as isize * sum_stride + (panel * wide) as isize * column_stride,
        );
        scratch::with(Purpose::Gradients, 9 * count * wide, |rows| {
            for position in 0..9 {
                let from = corner.wrapping_offset(position as isize / 3 * row + position as isize % 3 * column);
                let strip = Strip { from, sum: count, sum_stride, columns, column_stride };
                // SAFETY: the strip is part of the weight; the scratch has room for nine.
                unsafe { lay_out(&strip, wide, rows.add(position * count * wide)) };
            }
            let side = self.maps.side() as isize;
            let len = self.panel_len() as isize;
            for step in 0..count {
                let position = (count * wide) as isize;
                let from = Square::whole(rows.wrapping_add(step * wide), 3 * position, position);
                let start = panel * self.maps.points() * self.panel_len() + (first + step) * wide;
                let to = Square::whole(mapped.wrapping_add(start), side * len, len);
                // SAFETY: both squares lie inside of their memory.
                unsafe { (self.maps.window)(&from, &to, wide) };
            }
        });
    }

    /// Computes some lines of tiles and hands them over.
    ///
    /// # Safety
    /// As [`Pixels::run`], with the weights mapped; nobody else writes these lines.
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
        let (points, side) = (self.maps.points(), self.maps.side() as isize);
        scratch::with(Purpose::Images, points * from, |image| {
            scratch::with(Purpose::Parts, points * to, |products| {
                // SAFETY: the caller's promise; tiles and points lie inside of the scratch.
                unsafe {
                    for index in 0..tiles {
                        let tile = self.tiling.tile(lines.start, index);
                        let start = source.wrapping_offset(tile.image as isize * self.source.image);
                        let corner = [tile.corner[0] - self.pad[0], tile.corner[1] - self.pad[1]];
                        let pixels = self.source.square(start.cast_mut(), corner);
                        let start = image.wrapping_add(index * self.channels);
                        let to = Square::whole(start, side * from as isize, from as isize);
                        (self.maps.image)(&pixels, &to, self.channels);
                    }
                    for point in 0..points {
                        let (a, out) = (image.add(point * from), products.add(point * to));
                        self.product(a, mapped.add(point * self.panel_len()), tiles, out);
                    }
                    let hand_over = |out: *mut f32, first: usize, stride: isize| {
                        let [height, width] = self.tiling.size;
                        let plane = Plane {
                            size: self.tiling.size,
                            image: (height * width) as isize * stride,
                            line: width as isize * stride,
                            pixel: stride,
                        };
                        for index in 0..tiles {
                            let tile = self.tiling.tile(lines.start, index);
                            let start = tile.image as isize * plane.image - first as isize * stride;
                            let pixels = plane.square(out.wrapping_offset(start), tile.corner);
                            let start = products.wrapping_add(index * self.columns);
                            let from = Square::whole(start, side * to as isize, to as isize);
                            (self.maps.product)(&from, &pixels, self.columns);
                        }
                    };
                    match output {
                        Output::Store { start, stride } => hand_over(*start, 0, *stride),
                        Output::Tail(tail) => {
                            scratch::with(Purpose::Sums, pixels.len() * self.columns, |sums| {
                                hand_over(sums, pixels.start, self.columns as isize);
                                let columns = 0..self.columns;
                                tail(Block { sums, stride: self.columns, rows: pixels.clone(), columns });
                            });
                        }
                    }
                }
            });
        });
    }

    /// The product at one point: tiles × channels by channels × columns.
    ///
    /// # Safety
    /// `a` has the tiles, `b` the point's part of the first panel, and `out` room for the result.
    unsafe fn product(&self, a: *const f32, b: *const f32, tiles: usize, out: *mut f32) {
        let (mut rows, mut out_rows) = ([0isize; 32], [0isize; 32]);
        let parts = tiles.div_ceil(self.kernel.rows);
        let segments = [Segment { a: 0, b: 0, count: self.channels }];
        for (panel, column) in (0..self.columns).step_by(self.kernel.columns).enumerate() {
            for part in 0..parts {
                let range = tiles * part / parts..tiles * (part + 1) / parts;
                let count = range.len();
                for (slot, row) in range.enumerate() {
                    rows[slot] = (row * self.channels) as isize;
                    out_rows[slot] = (row * self.columns) as isize;
                }
                // SAFETY: the caller's promise.
                unsafe {
                    self.kernel.run(&tile::Tile {
                        a,
                        rows: &rows[..count],
                        a_step: 1,
                        segments: &segments,
                        b: b.wrapping_add(panel * self.maps.points() * self.panel_len()),
                        b_step: self.kernel.columns as isize,
                        columns: self.kernel.columns.min(self.columns - column),
                        out: out.wrapping_add(column),
                        out_rows: &out_rows[..count],
                        add: false,
                    });
                }
            }
        }
    }
}
