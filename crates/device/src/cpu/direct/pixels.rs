//! The convolution forward, and its gradient in the image: for every pixel a sum over window positions and channels.
//!
//! Both are one thing. Forward reads the image through the window; the gradient in the image reads the result's
//! gradient through the mirrored window. With strides, pixels fall into classes that see different window positions:
//! for stride 2 the even ones see every second position of the window and the odd ones the others.

use kiln_compile::program::Conv;

use super::image::Padded;
use super::panel::{Strip, lay_out};
use super::scratch::{self, Purpose};
use super::tile::{Kernel, Segment, Tile};
use crate::cpu::block::{Block, Output};
use crate::cpu::threads::parallel;

/// For so few pixels laying out the weights isn't worth it, where they can be read as they lie.
const FEW_PIXELS: usize = 1024;

/// The plan of such a sum.
pub(crate) struct Pixels {
    kernel: Kernel,
    image: Padded,
    /// From image to image in the source.
    image_stride: isize,
    /// Tasks, each of so many whole images.
    chunks: usize,
    images: usize,
    /// Result pixels of one image, and columns.
    pixels: usize,
    columns: usize,
    blocks: Vec<BlockPlan>,
    classes: Vec<Vec<Segment>>,
    weights: Weights,
    groups: usize,
    group_columns: usize,
    /// Summed channels of a group, which is also how far groups are apart in the image.
    group_channels: usize,
    /// Few images: the padding is put around all of them first, and blocks are shared out instead of images.
    split: bool,
}

/// Rows of the result that are finished together.
struct BlockPlan {
    first: usize,
    rows: usize,
    tiles: Vec<TilePlan>,
}

struct TilePlan {
    class: usize,
    /// Where each row's window starts in the chunk's images.
    starts: Vec<isize>,
    /// Which row of the block each is.
    rows: Vec<usize>,
}

/// How the weight lies in memory, and in the panels that the kernel reads.
struct Weights {
    window: [usize; 3],
    window_strides: [isize; 3],
    sum: usize,
    sum_stride: isize,
    column_stride: isize,
    group_stride: isize,
    /// Columns of a panel.
    wide: usize,
    /// Whether panels are laid out for the kernel; else it reads the weight where it is.
    packed: bool,
}

impl Weights {
    /// Where a window position starts in a panel.
    fn position(&self, k: [usize; 3]) -> isize {
        let [_, height, width] = self.window;
        match self.packed {
            true => (((k[0] * height + k[1]) * width + k[2]) * self.sum * self.wide) as isize,
            false => k.iter().zip(self.window_strides).map(|(&k, stride)| k as isize * stride).sum(),
        }
    }

    /// From one step of the sum to the next.
    fn step(&self) -> isize {
        if self.packed { self.wide as isize } else { self.sum_stride }
    }
}

/// What tells the two uses apart.
struct Geometry {
    source: [usize; 3],
    channels: usize,
    result: [usize; 3],
    columns: usize,
    sum_stride: isize,
    column_stride: isize,
    /// Padding in front of the source.
    before: [usize; 3],
    /// The padded source.
    outer: [usize; 3],
    /// For each axis, residue classes: the pixels in it and the window positions they see, as (window position, offset
    /// in padded pixels from the pixel's own).
    axes: [Vec<AxisClass>; 3],
}

/// Along one axis: pixels, each with where it stands in the padded source, and the window positions they see.
#[derive(Clone)]
struct AxisClass {
    pixels: Vec<(usize, isize)>,
    positions: Vec<(usize, isize)>,
}

impl Pixels {
    /// The plan of a convolution.
    pub(super) fn forward(conv: &Conv, kernel: Kernel) -> Pixels {
        let mut outer = [0; 3];
        let axes = std::array::from_fn(|axis| {
            let reach = (conv.window[axis] - 1) * conv.dilation[axis];
            let last = (conv.output[axis] - 1) * conv.stride[axis] + reach + 1;
            outer[axis] = last.max(conv.input[axis] + conv.pad[axis]);
            vec![AxisClass {
                pixels: (0..conv.output[axis]).map(|o| (o, (o * conv.stride[axis]) as isize)).collect(),
                positions: (0..conv.window[axis]).map(|k| (k, (k * conv.dilation[axis]) as isize)).collect(),
            }]
        });
        let geometry = Geometry {
            source: conv.input,
            channels: conv.in_channels,
            result: conv.output,
            columns: conv.out_channels,
            sum_stride: conv.b.strides[1],
            column_stride: conv.b.strides[0],
            before: conv.pad,
            outer,
            axes,
        };
        Pixels::plan(conv, kernel, geometry)
    }

    /// The plan of the gradient in the image.
    pub(super) fn grad_input(conv: &Conv, kernel: Kernel) -> Pixels {
        let (mut before, mut outer) = ([0; 3], [0; 3]);
        let axes = std::array::from_fn(|axis| {
            let (stride, dilation, pad) =
                (conv.stride[axis] as isize, conv.dilation[axis] as isize, conv.pad[axis] as isize);
            // Input pixel i gets the gradient of output pixel (i + pad - k·dilation) / stride where that is whole.
            let mut classes = Vec::new();
            let (mut lowest, mut highest) = (0isize, conv.output[axis] as isize - 1);
            for first in 0..stride.min(conv.input[axis] as isize) {
                let positions: Vec<(usize, isize)> = (0..conv.window[axis])
                    .map(|k| (k, first + pad - k as isize * dilation))
                    .filter(|(_, numerator)| numerator.rem_euclid(stride) == 0)
                    .map(|(k, numerator)| (k, numerator.div_euclid(stride)))
                    .collect();
                let pixels: Vec<(usize, isize)> = (first as usize..conv.input[axis])
                    .step_by(stride as usize)
                    .enumerate()
                    .map(|(index, pixel)| (pixel, index as isize))
                    .collect();
                for (_, offset) in &positions {
                    lowest = lowest.min(*offset);
                    highest = highest.max(offset + pixels.len() as isize - 1);
                }
                classes.push(AxisClass { pixels, positions });
            }
            before[axis] = (-lowest) as usize;
            outer[axis] = (highest - lowest + 1) as usize;
            for class in &mut classes {
                for pixel in &mut class.pixels {
                    pixel.1 += before[axis] as isize;
                }
            }
            classes
        });
        let geometry = Geometry {
            source: conv.output,
            channels: conv.out_channels,
            result: conv.input,
            columns: conv.in_channels,
            sum_stride: conv.b.strides[0],
            column_stride: conv.b.strides[1],
            before,
            outer,
            axes,
        };
        Pixels::plan(conv, kernel, geometry)
    }

    fn plan(conv: &Conv, kernel: Kernel, geometry: Geometry) -> Pixels {
        let Geometry { source, channels, result, columns, before, outer, .. } = geometry;
        let view = &conv.a.strides;
        let image = Padded { channels, inner: source, before, outer, source: [view[2], view[3], view[4]] };
        let strides = if image.is_plain() { image.source } else { image.strides() };
        let image_stride = view[0];
        let between = if image.is_plain() { image_stride } else { image.len() as isize };
        let pixels: usize = result.iter().product();
        let (group_channels, group_columns) = (channels / conv.groups, columns / conv.groups);

        // Small images are taken several at a time, so that tiles are full.
        let mut images = (4 * kernel.rows).div_ceil(pixels.max(1)).clamp(1, conv.batch.max(1));
        while !conv.batch.is_multiple_of(images) {
            images -= 1;
        }
        let chunks = conv.batch / images;
        let split = chunks < 4;

        let weight = &conv.b.strides;
        let weights = Weights {
            window: conv.window,
            window_strides: [weight[2], weight[3], weight[4]],
            sum: group_channels,
            sum_stride: geometry.sum_stride,
            column_stride: geometry.column_stride,
            group_stride: (conv.out_channels / conv.groups) as isize * weight[0],
            wide: kernel.columns,
            packed: geometry.column_stride != 1 || conv.batch * pixels > FEW_PIXELS,
        };
        let mut classes = Vec::new();
        let mut members: Vec<(usize, Vec<(isize, usize)>)> = Vec::new();
        for depth in &geometry.axes[0] {
            for height in &geometry.axes[1] {
                for width in &geometry.axes[2] {
                    let mut segments: Vec<Segment> = Vec::new();
                    for &(kd, od) in &depth.positions {
                        for &(kh, oh) in &height.positions {
                            for &(kw, ow) in &width.positions {
                                segments.push(Segment {
                                    a: od * strides[0] + oh * strides[1] + ow * strides[2],
                                    b: weights.position([kd, kh, kw]),
                                    count: group_channels,
                                });
                            }
                        }
                    }
                    let mut rows = Vec::new();
                    for image in 0..images {
                        for &(z, az) in &depth.pixels {
                            for &(y, ay) in &height.pixels {
                                for &(x, ax) in &width.pixels {
                                    let row = image * pixels + (z * result[1] + y) * result[2] + x;
                                    let start = image as isize * between
                                        + az * strides[0]
                                        + ay * strides[1]
                                        + ax * strides[2];
                                    rows.push((start, row));
                                }
                            }
                        }
                    }
                    members.push((classes.len(), rows));
                    classes.push(joined(segments, weights.step()));
                }
            }
        }

        let rows = images * pixels;
        let block_rows = if classes.len() > 1 {
            rows
        } else {
            let most = (16 * 1024 / columns.max(1)).max(1);
            // Few images: equal blocks, so that nobody waits long for the last one.
            let wanted = if split { rows.div_ceil(4).min(most) } else { most.next_multiple_of(kernel.rows) };
            wanted.clamp(1, rows.max(1))
        };
        let mut blocks: Vec<BlockPlan> = (0..rows)
            .step_by(block_rows.max(1))
            .map(|first| BlockPlan { first, rows: block_rows.min(rows - first), tiles: Vec::new() })
            .collect();
        for (class, list) in members {
            let mut rest = list.as_slice();
            while let Some(&(_, row)) = rest.first() {
                let index = row / block_rows;
                let block = &mut blocks[index];
                let inside = rest.iter().take_while(|(_, row)| row / block_rows == index).count();
                let (now, later) = rest.split_at(inside);
                rest = later;
                // Tiles of nearly equal size instead of full ones and a small rest.
                let tiles = now.len().div_ceil(kernel.rows);
                for tile in 0..tiles {
                    let part = &now[tile * now.len() / tiles..(tile + 1) * now.len() / tiles];
                    block.tiles.push(TilePlan {
                        class,
                        starts: part.iter().map(|(start, _)| *start).collect(),
                        rows: part.iter().map(|(_, row)| row - block.first).collect(),
                    });
                }
            }
        }
        Pixels {
            kernel,
            image,
            image_stride,
            chunks,
            images,
            pixels,
            columns,
            blocks,
            classes,
            weights,
            groups: conv.groups,
            group_columns,
            group_channels,
            split,
        }
    }

    /// Runs the plan.
    ///
    /// # Safety
    /// As [`super::Direct::run`].
    pub(super) unsafe fn run(&self, source: *const f32, weight: *const f32, output: &Output<f32>) {
        let panels = if self.weights.packed { self.groups * self.panels() } else { 0 };
        let (source, weight) = (Shared(source), Shared(weight));
        scratch::with(Purpose::Weights, panels * self.panel_len(), |packed| {
            let packed = SharedMut(packed);
            let pack = |panel: usize| {
                // SAFETY: each panel is packed by one task, into its own part of the scratch.
                unsafe { self.pack(weight.get(), panel, packed.get().wrapping_add(panel * self.panel_len())) }
            };
            match panels * self.panel_len() < 64 * 1024 {
                true => (0..panels).for_each(pack),
                false => parallel(panels, &pack),
            }
            let packed = if self.weights.packed { Shared(packed.get()) } else { Shared(weight.get()) };
            if self.split && !self.image.is_plain() {
                let len = self.image.len();
                let count = self.chunks * self.images;
                scratch::with(Purpose::Gradients, count * len, |padded| {
                    let padded = SharedMut(padded);
                    let fill = |image: usize| {
                        let from = source.get().wrapping_offset(image as isize * self.image_stride);
                        // SAFETY: each image goes to its own part of the scratch.
                        unsafe { self.image.fill(from, padded.get().wrapping_add(image * len)) };
                    };
                    match count * len < 32 * 1024 {
                        true => (0..count).for_each(fill),
                        false => parallel(count, &fill),
                    }
                    parallel(self.chunks * self.blocks.len(), &|task| {
                        let (chunk, block) = (task / self.blocks.len(), task % self.blocks.len());
                        let images = padded.get().wrapping_add(chunk * self.images * len);
                        // SAFETY: the images are complete, and each block of the output is one task's.
                        unsafe { self.block(images, packed.get(), chunk, &self.blocks[block], output) };
                    });
                });
            } else if self.split {
                parallel(self.chunks * self.blocks.len(), &|task| {
                    let (chunk, block) = (task / self.blocks.len(), task % self.blocks.len());
                    let images =
                        source.get().wrapping_offset((chunk * self.images) as isize * self.image_stride);
                    // SAFETY: the source is complete, and each block of the output is one task's.
                    unsafe { self.block(images, packed.get(), chunk, &self.blocks[block], output) };
                });
            } else {
                // SAFETY: each chunk of images, and so of the output, is one task's.
                parallel(self.chunks, &|chunk| unsafe {
                    self.chunk(source.get(), packed.get(), chunk, output)
                });
            }
        });
    }

    /// Pads the images of a chunk and runs all of its blocks.
    ///
    /// # Safety
    /// As [`Pixels::run`], with the weights packed; no other thread writes this chunk's rows.
    unsafe fn chunk(&self, source: *const f32, packed: *const f32, chunk: usize, output: &Output<f32>) {
        let first = source.wrapping_offset((chunk * self.images) as isize * self.image_stride);
        // SAFETY: the caller's promise; the scratch is this thread's.
        unsafe {
            if self.image.is_plain() {
                for block in &self.blocks {
                    self.block(first, packed, chunk, block, output);
                }
                return;
            }
            let len = self.image.len();
            scratch::with(Purpose::Images, self.images * len, |padded| {
                for image in 0..self.images {
                    let from = first.wrapping_offset(image as isize * self.image_stride);
                    self.image.fill(from, padded.wrapping_add(image * len));
                }
                for block in &self.blocks {
                    self.block(padded, packed, chunk, block, output);
                }
            });
        }
    }

    /// Computes one block and hands it over.
    ///
    /// # Safety
    /// As [`Pixels::chunk`]; `images` are the chunk's, padded.
    unsafe fn block(
        &self,
        images: *const f32,
        packed: *const f32,
        chunk: usize,
        block: &BlockPlan,
        output: &Output<f32>,
    ) {
        let first = chunk * self.images * self.pixels + block.first;
        match output {
            Output::Store { start, stride } => {
                let out = start.wrapping_offset(first as isize * stride);
                // SAFETY: the caller's promise.
                unsafe { self.sums(images, packed, block, out, *stride) };
            }
            Output::Tail(tail) => scratch::with(Purpose::Sums, block.rows * self.columns, |sums| {
                // SAFETY: the scratch has room for the block.
                unsafe { self.sums(images, packed, block, sums, self.columns as isize) };
                tail(Block {
                    sums,
                    stride: self.columns,
                    rows: first..first + block.rows,
                    columns: 0..self.columns,
                });
            }),
        }
    }

    /// # Safety
    /// As [`Pixels::block`]; `out` has room for the block's rows at `stride`.
    unsafe fn sums(
        &self,
        images: *const f32,
        packed: *const f32,
        block: &BlockPlan,
        out: *mut f32,
        stride: isize,
    ) {
        let mut out_rows = [0isize; 32];
        for group in 0..self.groups {
            for panel in 0..self.panels() {
                let column = panel * self.kernel.columns;
                let columns = self.kernel.columns.min(self.group_columns - column);
                let b = match self.weights.packed {
                    true => packed.wrapping_add((group * self.panels() + panel) * self.panel_len()),
                    false => {
                        packed.wrapping_offset(group as isize * self.weights.group_stride + column as isize)
                    }
                };
                for tile in &block.tiles {
                    for (slot, &row) in out_rows.iter_mut().zip(&tile.rows) {
                        *slot = row as isize * stride;
                    }
                    // SAFETY: rows and segments were planned inside of the padded images, panels are packed whole.
                    unsafe {
                        self.kernel.run(&Tile {
                            a: images.wrapping_add(group * self.group_channels),
                            rows: &tile.starts,
                            a_step: 1,
                            segments: &self.classes[tile.class],
                            b,
                            b_step: self.weights.step(),
                            columns,
                            out: out.wrapping_add(group * self.group_columns + column),
                            out_rows: &out_rows[..tile.rows.len()],
                            add: false,
                        });
                    }
                }
            }
        }
    }

    fn panels(&self) -> usize {
        self.group_columns.div_ceil(self.kernel.columns)
    }

    fn panel_len(&self) -> usize {
        self.weights.window.iter().product::<usize>() * self.weights.sum * self.kernel.columns
    }

    /// Lays out one panel: window positions, then summed channels, then columns, padded with zeros.
    ///
    /// # Safety
    /// The weight is complete, and `out` has room for a panel.
    unsafe fn pack(&self, weight: *const f32, panel: usize, mut out: *mut f32) {
        let Weights { window, window_strides, sum, sum_stride, column_stride, group_stride, .. } =
            self.weights;
        let (group, panel) = (panel / self.panels(), panel % self.panels());
        let first = panel * self.kernel.columns;
        let columns = self.kernel.columns.min(self.group_columns - first);
        let base = weight.wrapping_offset(group as isize * group_stride + first as isize * column_stride);
        for position in 0..window.iter().product() {
            let (d, h, w) =
                (position / (window[1] * window[2]), position / window[2] % window[1], position % window[2]);
            let offset = d as isize * window_strides[0]
                + h as isize * window_strides[1]
                + w as isize * window_strides[2];
            let strip = Strip { from: base.wrapping_offset(offset), sum, sum_stride, columns, column_stride };
            // SAFETY: the caller's promise.
            unsafe { lay_out(&strip, self.kernel.columns, out) };
            out = out.wrapping_add(sum * self.kernel.columns);
        }
    }
}

/// Segments that follow on each other become one: the three channels times three positions of a line are nine steps.
fn joined(segments: Vec<Segment>, b_step: isize) -> Vec<Segment> {
    let mut result: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        if let Some(last) = result.last_mut()
            && segment.a == last.a + last.count as isize
            && segment.b == last.b + last.count as isize * b_step
        {
            last.count += segment.count;
        } else {
            result.push(segment);
        }
    }
    result
}

/// An address that several threads read from.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *const f32);
/// An address behind which several threads write, each its own part.
#[derive(Clone, Copy)]
pub(super) struct SharedMut(pub(super) *mut f32);

// SAFETY: only read through.
unsafe impl Sync for Shared {}
// SAFETY: the tasks that share it write disjoint parts.
unsafe impl Sync for SharedMut {}

impl Shared {
    pub(super) fn get(&self) -> *const f32 {
        self.0
    }
}

impl SharedMut {
    pub(super) fn get(&self) -> *mut f32 {
        self.0
    }
}
