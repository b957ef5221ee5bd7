//! The gradient in the weight: the adjoint of the map from window to result. Image and gradient are mapped to points,
//! multiplied there over all tiles, and what was summed at each point is mapped back to the window.

use kiln_compile::program::Conv;

use super::square::{Maps, Square};
use super::{Plane, Tiling};
use crate::cpu::block::{Block, Output};
use crate::cpu::direct::pixels::{Shared, SharedMut};
use crate::cpu::direct::scratch::{self, Purpose};
use crate::cpu::direct::tile::{self, Kernel, Segment};
use crate::cpu::threads::parallel;

/// Numbers at points that are made before they are summed up.
const BLOCK: usize = 2 * 1024 * 1024;
/// Fewer tiles than this aren't worth adding to the sums in memory.
const TILES: usize = 128;
/// Numbers of a result that are handed over together.
const PART: usize = 16 * 1024;

/// The plan of a weight gradient.
pub(crate) struct WeightGradient {
    kernel: Kernel,
    maps: Maps,
    batch: usize,
    image: Plane,
    gradient: Plane,
    pad: [isize; 2],
    tiling: Tiling,
    /// Lines of tiles that are mapped before they are summed up.
    lines: usize,
    channels: usize,
    columns: usize,
}

impl WeightGradient {
    /// The plan.
    pub(in crate::cpu::direct) fn new(conv: &Conv, kernel: Kernel, maps: Maps) -> WeightGradient {
        let plane = |size: [usize; 3], strides: &[isize]| Plane {
            size: [size[1], size[2]],
            image: strides[0],
            line: strides[3],
            pixel: strides[4],
        };
        let tiling = Tiling { size: [conv.output[1], conv.output[2]], outputs: maps.outputs };
        let (channels, columns) = (conv.in_channels, conv.out_channels);
        let tiles = (BLOCK / (maps.points() * (channels + columns))).max(TILES);
        let lines = (tiles / tiling.wide()).clamp(1, (conv.batch * tiling.lines()).max(1));
        WeightGradient {
            kernel,
            maps,
            batch: conv.batch,
            image: plane(conv.input, &conv.a.strides),
            gradient: plane(conv.output, &conv.b.strides),
            pad: [conv.pad[1] as isize, conv.pad[2] as isize],
            tiling,
            lines,
            channels,
            columns,
        }
    }

    /// Runs the plan.
    ///
    /// # Safety
    /// As [`Direct::run`](crate::cpu::direct::Direct::run).
    pub(in crate::cpu::direct) unsafe fn run(
        &self,
        image: *const f32,
        gradient: *const f32,
        output: &Output<f32>,
    ) {
        let (image, gradient) = (Shared(image), Shared(gradient));
        let (points, wide) = (self.maps.points(), self.kernel.columns);
        let panels = self.columns.div_ceil(wide);
        let most = self.lines * self.tiling.wide();
        let all = self.batch * self.tiling.lines();
        scratch::with(Purpose::Parts, points * self.channels * self.columns, |sums| {
            scratch::with(Purpose::Images, points * most * self.channels, |pixels| {
                scratch::with(Purpose::Gradients, points * most * panels * wide, |gradients| {
                    let (sums, pixels, gradients) = (SharedMut(sums), SharedMut(pixels), SharedMut(gradients));
                    for first in (0..all).step_by(self.lines) {
                        let lines = self.lines.min(all - first);
                        let tiles = lines * self.tiling.wide();
                        parallel(lines, &|line| {
                            let range = line * self.tiling.wide()..(line + 1) * self.tiling.wide();
                            for index in range {
                                // SAFETY: each tile has its own place.
                                unsafe {
                                    self.map_pixels(image.get(), first, index, tiles, pixels.get());
                                    self.map_gradient(gradient.get(), first, index, tiles, gradients.get());
                                }
                            }
                        });
                        parallel(points, &|point| {
                            let a = pixels.get().wrapping_add(point * tiles * self.channels);
                            let b = gradients.get().wrapping_add(point * tiles * wide);
                            let sums = sums.get().wrapping_add(point * self.channels * self.columns);
                            // SAFETY: all tiles are mapped, and each point has sums of its own.
                            unsafe { self.product(a, b, tiles, sums, first > 0) };
                        });
                    }
                });
            });
            // SAFETY: the sums are complete.
            unsafe { self.hand_over(SharedMut(sums), output) };
        });
    }

    /// Maps a tile of the image to `[point][tile][channel]`.
    ///
    /// # Safety
    /// The image is complete; nobody else writes this tile of `to`.
    unsafe fn map_pixels(
        &self,
        image: *const f32,
        first: usize,
        index: usize,
        tiles: usize,
        to: *mut f32,
    ) {
        let tile = self.tiling.tile(first, index);
        let start = image.wrapping_offset(tile.image as isize * self.image.image).cast_mut();
        let corner = [tile.corner[0] - self.pad[0], tile.corner[1] - self.pad[1]];
        let between = (tiles * self.channels) as isize;
        let to = to.wrapping_add(index * self.channels);
        let to = Square::whole(to, self.maps.side() as isize * between, between);
        // SAFETY: the caller's promise.
        unsafe { (self.maps.image)(&self.image.square(start, corner), &to, self.channels) };
    }

    /// Maps a tile of the gradient to `[panel][point][tile][column]`.
    ///
    /// # Safety
    /// The gradient is complete; nobody else writes this tile of `to`.
    unsafe fn map_gradient(
        &self,
        gradient: *const f32,
        first: usize,
        index: usize,
        tiles: usize,
        to: *mut f32,
    ) {
        let wide = self.kernel.columns;
        let tile = self.tiling.tile(first, index);
        let between = (tiles * wide) as isize;
        for (panel, column) in (0..self.columns).step_by(wide).enumerate() {
            let start = tile.image as isize * self.gradient.image + column as isize;
            let from = self.gradient.square(gradient.wrapping_offset(start).cast_mut(), tile.corner);
            let to = to.wrapping_add((panel * self.maps.points() * tiles + index) * wide);
            let to = Square::whole(to, self.maps.side() as isize * between, between);
            // SAFETY: the caller's promise.
            unsafe { (self.maps.gradient)(&from, &to, wide.min(self.columns - column)) };
        }
    }

    /// The product at one point, over tiles: channels × tiles by tiles × columns.
    ///
    /// # Safety
    /// `a` has the point's channels of all tiles, `b` its part of the first panel, and `sums` room for the result.
    unsafe fn product(&self, a: *const f32, b: *const f32, tiles: usize, sums: *mut f32, add: bool) {
        let (mut rows, mut out_rows) = ([0isize; 32], [0isize; 32]);
        let wide = self.kernel.columns;
        let parts = self.channels.div_ceil(self.kernel.rows);
        let segments = [Segment { a: 0, b: 0, count: tiles }];
        for (panel, column) in (0..self.columns).step_by(wide).enumerate() {
            for part in 0..parts {
                let range = self.channels * part / parts..self.channels * (part + 1) / parts;
                let count = range.len();
                for (slot, row) in range.enumerate() {
                    rows[slot] = row as isize;
                    out_rows[slot] = (row * self.columns) as isize;
                }
                // SAFETY: the caller's promise.
                unsafe {
                    self.kernel.run(&tile::Tile {
                        a,
                        rows: &rows[..count],
                        a_step: self.channels as isize,
                        segments: &segments,
                        b: b.wrapping_add(panel * self.maps.points() * tiles * wide),
                        b_step: wide as isize,
                        columns: wide.min(self.columns - column),
                        out: sums.wrapping_add(column),
                        out_rows: &out_rows[..count],
                        add,
                    });
                }
            }
        }
    }

    /// Maps the sums back to the window and hands them over; a row is a channel at a window position.
    ///
    /// # Safety
    /// The sums are complete.
    unsafe fn hand_over(&self, sums: SharedMut, output: &Output<f32>) {
        let between = (self.channels * self.columns) as isize;
        let back = |out: SharedMut, stride: isize| {
            let together = (PART / (9 * self.columns)).max(1);
            parallel(self.channels.div_ceil(together), &|part| {
                for channel in part * together..((part + 1) * together).min(self.channels) {
                    let from = sums.get().wrapping_add(channel * self.columns);
                    let from = Square::whole(from, self.maps.side() as isize * between, between);
                    let to = out.get().wrapping_offset(channel as isize * stride);
                    let position = self.channels as isize * stride;
                    let to = Square::whole(to, 3 * position, position);
                    // SAFETY: the caller's promise; each channel's rows are one task's.
                    unsafe { (self.maps.window_gradient)(&from, &to, self.columns) };
                }
            });
        };
        match output {
            Output::Store { start, stride } => back(SharedMut(*start), *stride),
            Output::Tail(tail) => {
                let rows = 9 * self.channels;
                scratch::with(Purpose::Sums, rows * self.columns, |window| {
                    let window = SharedMut(window);
                    back(window, self.columns as isize);
                    let together = (PART / self.columns).max(1);
                    parallel(rows.div_ceil(together), &|part| {
                        let rows = part * together..((part + 1) * together).min(rows);
                        let sums = window.get().wrapping_add(rows.start * self.columns);
                        tail(Block { sums, stride: self.columns, rows, columns: 0..self.columns });
                    });
                });
            }
        }
    }
}
