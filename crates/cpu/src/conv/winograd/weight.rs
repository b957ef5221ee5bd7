//! The gradient in the weight: the adjoint of the transform from window to result. Image and gradient are transformed,
//! multiplied there over all tiles, and what was summed for each element of the transform domain is brought back to the window.
//!
//! Small weights are summed in fixed parts of the batch, each by one thread with memory of its own: what one core has
//! written another needn't fetch. Large ones would need too much of that; there all tiles are transformed, and the weight is
//! shared out.

use std::ops::Range;

use kiln_compile::program::Conv;

use super::transform2d::{CellGrid, WinogradTransforms};
use super::{GAP, OutputTiling, Plane, WIDE};
use crate::caches::caches;
use crate::conv::ConvAlgorithm;
use crate::gemm::{GemmNumber, Kernels, MicroTile};
use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::Level;
use crate::threads::parallel;

/// Fewer tiles than this aren't worth adding to the sums in memory.
const TILES: usize = 128;
/// So many tasks share out the sums, if there are enough.
const TASKS: usize = 16;
/// Sums in the transform domain of up to this many numbers are kept for each part of the batch. Parts alter sums, so that no
/// cache decides over them.
const SMALL: usize = 192 * 1024;
/// Into so many parts.
const PARTS: usize = 8;
/// Numbers of a result that are handed over together.
const PART: usize = 16 * 1024;

/// The plan of a weight gradient.
pub(crate) struct WinogradWeightGradient {
    kernels: &'static Kernels<f32>,
    /// Columns of a panel of the weight.
    wide: usize,
    transforms: WinogradTransforms,
    batch: usize,
    image: Plane,
    gradient: Plane,
    pad: [isize; 2],
    tiling: OutputTiling,
    /// Lines of tiles that are transformed before they are summed up.
    lines: usize,
    /// Whether the batch is summed in parts.
    in_parts: bool,
    channels: usize,
    columns: usize,
}

impl WinogradWeightGradient {
    /// The plan.
    pub(in crate::conv) fn new(
        conv: &Conv,
        level: Level,
        transforms: WinogradTransforms,
    ) -> WinogradWeightGradient {
        let kernels = f32::KERNELS.at(level);
        let plane = |size: [usize; 3], strides: &[isize]| Plane {
            size: [size[1], size[2]],
            image: strides[0],
            line: strides[3],
            pixel: strides[4],
            step: [1; 2],
        };
        let tiling = OutputTiling::new(conv, conv.output, &transforms);
        let (channels, columns) = (conv.in_channels, conv.out_channels);
        let all = conv.batch * tiling.lines();
        let each = transforms.elements() * (channels + columns);
        let in_parts = transforms.elements() * channels * columns <= SMALL && all >= PARTS;
        // Numbers in the transform domain that are made before they are summed up: by one core for itself, or by all.
        let numbers = caches().second / size_of::<f32>();
        let tiles = if in_parts { numbers / 8 * 5 / each } else { (2 * numbers / each).max(TILES) };
        let lines = (tiles / tiling.wide()).clamp(1, all.max(1));
        WinogradWeightGradient {
            kernels,
            wide: WIDE * kernels.lanes,
            transforms,
            batch: conv.batch,
            image: plane(conv.input, &conv.a.strides),
            gradient: plane(conv.output, &conv.b.strides),
            pad: [conv.pad[1] as isize, conv.pad[2] as isize],
            tiling,
            lines,
            in_parts,
            channels,
            columns,
        }
    }

    /// Computes the gradient; a row of it is a channel at a window position.
    ///
    /// # Safety
    /// As [`ConvAlgorithm::run`]; `out` has room for all rows, `stride` from row to row.
    unsafe fn sum(&self, image: *const f32, gradient: *const f32, out: *mut f32, stride: isize) {
        let (image, gradient, out) = (SendPtr(image), SendPtr(gradient), SendPtr(out));
        if self.in_parts {
            // SAFETY: the caller's promise.
            return unsafe { self.sum_parts(image, gradient, out, stride) };
        }
        let (elements, wide) = (self.transforms.elements(), self.wide);
        let panels = self.columns.div_ceil(wide);
        let most = self.lines * self.tiling.wide();
        let all = self.batch * self.tiling.lines();
        // A task has some channels and a panel of columns, in all of the transform domain.
        let parts = self.channels.div_ceil(self.kernels.tall).min(TASKS.div_ceil(panels));
        let parts = parts.max(self.channels.div_ceil(3 * self.kernels.tall));
        let each = self.channels.div_ceil(parts);
        let len = elements * (each * wide + GAP);
        let several = self.lines < all;
        scratch::with(Purpose::Images, elements * (most * self.channels + GAP), |pixels: *mut f32| {
            scratch::with(
                Purpose::Gradients,
                elements * panels * (most * wide + GAP),
                |gradients: *mut f32| {
                    let kept = if several { panels * parts * len } else { 0 };
                    scratch::with(Purpose::Parts, kept, |kept: *mut f32| {
                        let (pixels, gradients, kept) = (SendPtr(pixels), SendPtr(gradients), SendPtr(kept));
                        for first in (0..all).step_by(self.lines) {
                            let lines = self.lines.min(all - first);
                            let tiles = lines * self.tiling.wide();
                            // Few pieces, so that threads rarely write side by side.
                            let pieces = lines.min(TASKS);
                            parallel(pieces, &|piece| {
                                for index in tiles * piece / pieces..tiles * (piece + 1) / pieces {
                                    // SAFETY: each tile has its own place.
                                    unsafe {
                                        self.transform_pixels(image.get(), first, index, tiles, pixels.get());
                                        self.transform_gradient(
                                            gradient.get(),
                                            first,
                                            index,
                                            tiles,
                                            gradients.get(),
                                        );
                                    }
                                }
                            });
                            parallel(panels * parts, &|task| {
                                let (panel, part) = (task / parts, task % parts);
                                let channels = part * each..((part + 1) * each).min(self.channels);
                                let b = gradients.get().wrapping_add(panel * elements * (tiles * wide + GAP));
                                let work = |sums: *mut f32| {
                                    // SAFETY: all tiles are transformed; each task has its own sums and part of the result.
                                    unsafe {
                                        let columns = wide.min(self.columns - panel * wide);
                                        self.product(
                                            pixels.get(),
                                            b,
                                            tiles,
                                            (&channels, columns),
                                            sums,
                                            first > 0,
                                        );
                                        if first + lines == all {
                                            self.transform_back(sums, panel, &channels, out.get(), stride);
                                        }
                                    }
                                };
                                match several {
                                    true => work(kept.get().wrapping_add(task * len)),
                                    // The sums of the only block needn't leave the cache.
                                    false => scratch::with(Purpose::Weights, len, work),
                                }
                            });
                        }
                    });
                },
            );
        });
    }

    /// As [`WinogradWeightGradient::sum`], in parts of the batch.
    ///
    /// # Safety
    /// As [`WinogradWeightGradient::sum`].
    unsafe fn sum_parts(
        &self,
        image: SendPtr<*const f32>,
        gradient: SendPtr<*const f32>,
        out: SendPtr<*mut f32>,
        stride: isize,
    ) {
        let (elements, wide) = (self.transforms.elements(), self.wide);
        let panels = self.columns.div_ceil(wide);
        let most = self.lines * self.tiling.wide();
        let all = self.batch * self.tiling.lines();
        let between = self.channels * wide + GAP;
        let len = panels * elements * between;
        scratch::with(Purpose::Parts, PARTS * len, |kept: *mut f32| {
            let kept = SendPtr(kept);
            parallel(PARTS, &|part| {
                let sums = kept.get().wrapping_add(part * len);
                let lines = all * part / PARTS..all * (part + 1) / PARTS;
                scratch::with(
                    Purpose::Images,
                    elements * (most * self.channels + GAP),
                    |pixels: *mut f32| {
                        scratch::with(
                            Purpose::Gradients,
                            elements * panels * (most * wide + GAP),
                            |gradients: *mut f32| {
                                for first in lines.clone().step_by(self.lines) {
                                    let tiles = self.lines.min(lines.end - first) * self.tiling.wide();
                                    for index in 0..tiles {
                                        // SAFETY: the scratch has room for all tiles of the block.
                                        unsafe {
                                            self.transform_pixels(image.get(), first, index, tiles, pixels);
                                            self.transform_gradient(
                                                gradient.get(),
                                                first,
                                                index,
                                                tiles,
                                                gradients,
                                            );
                                        }
                                    }
                                    for panel in 0..panels {
                                        let b =
                                            gradients.wrapping_add(panel * elements * (tiles * wide + GAP));
                                        let sums = sums.wrapping_add(panel * elements * between);
                                        let part =
                                            (&(0..self.channels), wide.min(self.columns - panel * wide));
                                        // SAFETY: all tiles are transformed, and each part has sums of its own.
                                        unsafe {
                                            self.product(pixels, b, tiles, part, sums, first > lines.start)
                                        };
                                    }
                                }
                            },
                        );
                    },
                );
            });
            // Each task adds up some channels of a panel, in the order of the parts, and transforms them back.
            let together = self.channels.div_ceil(TASKS.div_ceil(panels)).max(1);
            let chunks = self.channels.div_ceil(together);
            parallel(panels * chunks, &|task| {
                let (panel, chunk) = (task / chunks, task % chunks);
                let channels = chunk * together..((chunk + 1) * together).min(self.channels);
                let own = channels.len() * wide;
                scratch::with(Purpose::Weights, elements * (own + GAP), |sums: *mut f32| {
                    for element in 0..elements {
                        let from = kept
                            .get()
                            .wrapping_add((panel * elements + element) * between + channels.start * wide);
                        // SAFETY: all parts are complete, and the scratch has room for these channels.
                        unsafe {
                            let sums = std::slice::from_raw_parts_mut(sums.add(element * (own + GAP)), own);
                            sums.copy_from_slice(std::slice::from_raw_parts(from, own));
                            for part in 1..PARTS {
                                let more = std::slice::from_raw_parts(from.add(part * len), own);
                                sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                            }
                        }
                    }
                    // SAFETY: the sums are complete; each task has channels and columns of its own.
                    unsafe { self.transform_back(sums, panel, &channels, out.get(), stride) };
                });
            });
        });
    }

    /// Transforms a tile of the image to `[element][tile][channel]`.
    ///
    /// # Safety
    /// The image is complete; nobody else writes this tile of `to`.
    unsafe fn transform_pixels(
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
        let between = (tiles * self.channels + GAP) as isize;
        let to = to.wrapping_add(index * self.channels);
        let to = CellGrid::whole(to, self.transforms.side() as isize * between, between);
        // SAFETY: the caller's promise.
        unsafe { (self.transforms.input)(&self.image.grid(start, corner), &to, self.channels) };
    }

    /// Transforms a tile of the gradient to `[panel][element][tile][column]`.
    ///
    /// # Safety
    /// The gradient is complete; nobody else writes this tile of `to`.
    unsafe fn transform_gradient(
        &self,
        gradient: *const f32,
        first: usize,
        index: usize,
        tiles: usize,
        to: *mut f32,
    ) {
        let wide = self.wide;
        let tile = self.tiling.tile(first, index);
        let between = (tiles * wide + GAP) as isize;
        for (panel, column) in (0..self.columns).step_by(wide).enumerate() {
            let start = tile.image as isize * self.gradient.image + column as isize;
            let from = self.gradient.grid(gradient.wrapping_offset(start).cast_mut(), tile.corner);
            let start = panel * self.transforms.elements() * (tiles * wide + GAP) + index * wide;
            let to = to.wrapping_add(start);
            let to = CellGrid::whole(to, self.transforms.side() as isize * between, between);
            // SAFETY: the caller's promise.
            unsafe { (self.transforms.output_gradient)(&from, &to, wide.min(self.columns - column)) };
        }
    }

    /// The products in all of the transform domain, over tiles: some channels by a panel's columns, `[element][channel][column]`.
    ///
    /// # Safety
    /// `a` has all tiles, `b` the panel's, and `sums` room for the result, which holds what is added to.
    unsafe fn product(
        &self,
        a: *const f32,
        b: *const f32,
        tiles: usize,
        (channels, columns): (&Range<usize>, usize),
        sums: *mut f32,
        add: bool,
    ) {
        let wide = self.wide;
        let parts = channels.len().div_ceil(self.kernels.tall);
        for element in 0..self.transforms.elements() {
            let a = a.wrapping_add(element * (tiles * self.channels + GAP) + channels.start);
            let out = sums.wrapping_add(element * (channels.len() * wide + GAP));
            for part in 0..parts {
                let range = channels.len() * part / parts..channels.len() * (part + 1) / parts;
                let tile = MicroTile {
                    depth: tiles,
                    a: a.wrapping_add(range.start),
                    a_row: 1,
                    a_column: self.channels as isize,
                    b: b.wrapping_add(element * (tiles * wide + GAP)),
                    b_row: wide as isize,
                    c: out.wrapping_add(range.start * wide),
                    c_row: wide as isize,
                    last: columns - (columns - 1) / self.kernels.lanes * self.kernels.lanes,
                    start: !add,
                };
                // SAFETY: the caller's promise; the kernels are of a level that the machine has.
                unsafe { self.kernels.tile(range.len(), columns.div_ceil(self.kernels.lanes))(&tile) };
            }
        }
    }

    /// Transforms the sums of some channels and a panel's columns back to the window.
    ///
    /// # Safety
    /// The sums are complete; nobody else writes these channels and columns of the result.
    unsafe fn transform_back(
        &self,
        sums: *mut f32,
        panel: usize,
        channels: &Range<usize>,
        out: *mut f32,
        stride: isize,
    ) {
        let wide = self.wide;
        let columns = wide.min(self.columns - panel * wide);
        let (between, position) = ((channels.len() * wide + GAP) as isize, self.channels as isize * stride);
        for (number, channel) in channels.clone().enumerate() {
            let from = sums.wrapping_add(number * wide);
            let from = CellGrid::whole(from, self.transforms.side() as isize * between, between);
            let to = out.wrapping_offset(channel as isize * stride + (panel * wide) as isize);
            let to = CellGrid::whole(to, 3 * position, position);
            // SAFETY: the caller's promise.
            unsafe { (self.transforms.filter_gradient)(&from, &to, columns) };
        }
    }
}

impl ConvAlgorithm for WinogradWeightGradient {
    unsafe fn run(&self, image: *const f32, gradient: *const f32, output: &ResultSink<f32>) {
        match output {
            // SAFETY: the caller's promise.
            ResultSink::Store { start, stride } => unsafe { self.sum(image, gradient, *start, *stride) },
            output => {
                let rows = 9 * self.channels;
                scratch::with(Purpose::Sums, rows * self.columns, |window: *mut f32| {
                    // SAFETY: the scratch has room for all rows.
                    unsafe { self.sum(image, gradient, window, self.columns as isize) };
                    let window = SendPtr(window);
                    let together = (PART / self.columns).max(1);
                    parallel(rows.div_ceil(together), &|part| {
                        let rows = part * together..((part + 1) * together).min(rows);
                        let sums = window.get().wrapping_add(rows.start * self.columns);
                        let block =
                            ResultBlock { sums, stride: self.columns, rows, columns: 0..self.columns };
                        // SAFETY: each part of the sums is handed over once.
                        unsafe { output.hand_over(block) };
                    });
                });
            }
        }
    }
}
