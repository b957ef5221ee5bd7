//! The convolution forward, and its gradient in the image: for every pixel a sum over window positions and channels.
//!
//! Both are one thing. Forward reads the image through the window; the gradient in the image reads the result's
//! gradient through the mirrored window. With strides, pixels fall into classes that see different window positions:
//! for stride 2 the even ones see every second position of the window and the odd ones the others.

mod plan;

pub(super) use plan::seen;

use super::ConvAlgorithm;
use super::microkernel::{ConvMicrokernel, ConvTile, Segment};
use super::pack::{ColumnStrip, pack_panel};
use super::padding::PaddedImage;
use crate::epilogue::Epilogue;
use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::threads::parallel;

/// Tasks that few images are shared out as.
const TASKS: usize = 8;

/// The plan of such a sum.
pub(crate) struct DirectConv {
    kernel: ConvMicrokernel,
    image: PaddedImage,
    /// From image to image in the source.
    image_stride: isize,
    /// Tasks, each of so many whole images.
    chunks: usize,
    images: usize,
    /// Result pixels of one image.
    pixels: usize,
    blocks: Vec<BlockPlan>,
    classes: Vec<Vec<Segment>>,
    weights: WeightLayout,
    group_columns: usize,
    /// Few images: the padding is put around all of them first, and blocks are shared out instead of images,
    split: bool,
    /// or each block in so many parts of its columns.
    parts: usize,
    panels: Vec<ColumnPanel>,
    /// Whether the weight stays in cache while tiles are walked: then each is finished before the next.
    tiles_first: bool,
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
struct WeightLayout {
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

impl WeightLayout {
    /// Where a window position starts in a panel.
    fn position(&self, k: [usize; 3]) -> isize {
        let [_, height, width] = self.window;
        match self.packed {
            true => (((k[0] * height + k[1]) * width + k[2]) * self.sum * self.wide) as isize,
            false => k.iter().zip(self.window_strides).map(|(&k, stride)| k as isize * stride).sum(),
        }
    }

    /// Numbers of a panel: window positions, then summed channels, then columns.
    fn panel_len(&self) -> usize {
        self.window.iter().product::<usize>() * self.sum * self.wide
    }

    /// From one step of the sum to the next.
    fn step(&self) -> isize {
        if self.packed { self.wide as isize } else { self.sum_stride }
    }
}

/// Where sums go: the first of them, from row to row, and what is done with them before they are stored.
struct SumTarget<'a> {
    out: *mut f32,
    stride: isize,
    epilogue: Option<&'a Epilogue>,
}

/// Columns that the kernel computes together.
struct ColumnPanel {
    /// Their group's first channel in the image.
    channel: usize,
    /// Where they are in the weight, or in the panels laid out.
    b: isize,
    columns: std::ops::Range<usize>,
}

/// Where the rows of a tile are in the result, and in what is added to it.
#[derive(Default)]
struct RowOffsets {
    out: [isize; 32],
    other: [isize; 32],
}

impl RowOffsets {
    fn fill(&mut self, rows: &[usize], stride: isize, other_stride: isize) {
        for (position, &row) in rows.iter().enumerate() {
            self.out[position] = row as isize * stride;
            self.other[position] = row as isize * other_stride;
        }
    }
}

impl DirectConv {
    /// Pads the images of a chunk and runs all of its blocks.
    ///
    /// # Safety
    /// As [`ConvAlgorithm::run`]; no other thread writes this chunk's rows.
    unsafe fn chunk(&self, source: *const f32, packed: *const f32, chunk: usize, output: &ResultSink<f32>) {
        let first = source.wrapping_offset((chunk * self.images) as isize * self.image_stride);
        // SAFETY: the caller's promise; the scratch is this thread's.
        unsafe {
            if self.image.is_plain() {
                for block in &self.blocks {
                    self.block(first, packed, chunk, block, 0, output);
                }
                return;
            }
            let len = self.image.len();
            scratch::with(Purpose::Images, self.images * len, |padded: *mut f32| {
                for image in 0..self.images {
                    let from = first.wrapping_offset(image as isize * self.image_stride);
                    self.image.fill(from, padded.wrapping_add(image * len));
                }
                for block in &self.blocks {
                    self.block(padded, packed, chunk, block, 0, output);
                }
            });
        }
    }

    /// Computes a part of one block and hands it over.
    ///
    /// # Safety
    /// As [`DirectConv::chunk`]; `images` are the chunk's, padded.
    unsafe fn block(
        &self,
        images: *const f32,
        packed: *const f32,
        chunk: usize,
        block: &BlockPlan,
        part: usize,
        output: &ResultSink<f32>,
    ) {
        let first = chunk * self.images * self.pixels + block.first;
        let all = self.panels.len();
        let panels = &self.panels[part * all / self.parts..(part + 1) * all / self.parts];
        let (Some(first_panel), Some(last_panel)) = (panels.first(), panels.last()) else { return };
        let columns = first_panel.columns.start..last_panel.columns.end;
        let sums = |out: *mut f32, stride: isize, epilogue: Option<&Epilogue>| {
            // SAFETY: the caller's promise, and that of the place given here.
            unsafe { self.sums(images, packed, block, panels, &SumTarget { out, stride, epilogue }) }
        };
        match output {
            ResultSink::Store { start, stride } => {
                sums(start.wrapping_offset(first as isize * stride), *stride, None);
            }
            ResultSink::Fused(epilogue) => {
                let epilogue = epilogue.from(first, 0);
                sums(epilogue.out, epilogue.stride, Some(&epilogue));
            }
            ResultSink::Interpreted(epilogue) => {
                scratch::with(Purpose::Sums, block.rows * columns.len(), |room: *mut f32| {
                    sums(room.wrapping_sub(columns.start), columns.len() as isize, None);
                    let rows = first..first + block.rows;
                    epilogue(ResultBlock {
                        sums: room,
                        stride: columns.len(),
                        rows,
                        columns: columns.clone(),
                    });
                })
            }
        }
    }

    /// # Safety
    /// As [`DirectConv::block`]; the place has room for these panels of the block's rows.
    unsafe fn sums(
        &self,
        images: *const f32,
        packed: *const f32,
        block: &BlockPlan,
        panels: &[ColumnPanel],
        &SumTarget { out, stride, epilogue }: &SumTarget,
    ) {
        let mut places = RowOffsets::default();
        let other_stride = epilogue.map_or(0, |epilogue| epilogue.other_stride);
        let b_step = self.weights.step();
        let run = |panel: &ColumnPanel, tile: &TilePlan, places: &RowOffsets| {
            let first = panel.columns.start;
            // SAFETY: rows and segments were planned inside of the padded images, panels are packed whole.
            unsafe {
                self.kernel.run(&ConvTile {
                    a: images.wrapping_add(panel.channel),
                    rows: &tile.starts,
                    a_step: 1,
                    segments: &self.classes[tile.class],
                    b: packed.wrapping_offset(panel.b),
                    b_step,
                    columns: panel.columns.len(),
                    out: out.wrapping_add(first),
                    out_rows: &places.out[..tile.rows.len()],
                    add: false,
                    epilogue,
                    column: first,
                    other_rows: &places.other[..tile.rows.len()],
                });
                if let Some(epilogue) = epilogue {
                    let rows = &places.out[..tile.rows.len()];
                    epilogue.activate(out.wrapping_add(first), rows, panel.columns.len());
                }
            }
        };
        if self.tiles_first {
            for tile in &block.tiles {
                places.fill(&tile.rows, stride, other_stride);
                panels.iter().for_each(|panel| run(panel, tile, &places));
            }
        } else {
            for panel in panels {
                for tile in &block.tiles {
                    places.fill(&tile.rows, stride, other_stride);
                    run(panel, tile, &places);
                }
            }
        }
    }

    /// Lays out one panel: window positions, then summed channels, then columns, padded with zeros.
    ///
    /// # Safety
    /// The weight is complete, and `out` has room for a panel.
    unsafe fn pack(&self, weight: *const f32, panel: usize, mut out: *mut f32) {
        let WeightLayout { window, window_strides, sum, sum_stride, column_stride, group_stride, .. } =
            self.weights;
        let ColumnPanel { columns, .. } = &self.panels[panel];
        let (group, first) = (columns.start / self.group_columns, columns.start % self.group_columns);
        let columns = columns.len();
        let base = weight.wrapping_offset(group as isize * group_stride + first as isize * column_stride);
        for position in 0..window.iter().product() {
            let (d, h, w) =
                (position / (window[1] * window[2]), position / window[2] % window[1], position % window[2]);
            let offset = d as isize * window_strides[0]
                + h as isize * window_strides[1]
                + w as isize * window_strides[2];
            let strip =
                ColumnStrip { from: base.wrapping_offset(offset), sum, sum_stride, columns, column_stride };
            // SAFETY: the caller's promise.
            unsafe { pack_panel(&strip, self.kernel.columns, out) };
            out = out.wrapping_add(sum * self.kernel.columns);
        }
    }
}

impl ConvAlgorithm for DirectConv {
    fn prepacked(&self) -> usize {
        if self.weights.packed { self.panels.len() * self.weights.panel_len() } else { 0 }
    }

    unsafe fn prepack(&self, weight: *const f32, out: *mut f32) {
        let (weight, out) = (SendPtr(weight), SendPtr(out));
        let panels = self.panels.len();
        let pack = |panel: usize| {
            // SAFETY: each panel is packed by one task, into its own part.
            unsafe {
                self.pack(weight.get(), panel, out.get().wrapping_add(panel * self.weights.panel_len()))
            }
        };
        match panels * self.weights.panel_len() < 64 * 1024 {
            true => (0..panels).for_each(pack),
            false => parallel(panels, &pack),
        }
    }

    unsafe fn run(&self, source: *const f32, weight: *const f32, output: &ResultSink<f32>) {
        let (source, weight) = (SendPtr(source), SendPtr(weight));
        if !self.split {
            // SAFETY: each chunk of images, and so of the output, is one task's.
            return parallel(self.chunks, &|chunk| unsafe {
                self.chunk(source.get(), weight.get(), chunk, output)
            });
        }
        let tasks = self.chunks * self.blocks.len() * self.parts;
        let share = |images: SendPtr<*const f32>, between: isize, task: usize| {
            let (rest, part) = (task / self.parts, task % self.parts);
            let (chunk, block) = (rest / self.blocks.len(), &self.blocks[rest % self.blocks.len()]);
            let images = images.get().wrapping_offset((chunk * self.images) as isize * between);
            // SAFETY: the images are complete, and each part of a block of the output is one task's.
            unsafe { self.block(images, weight.get(), chunk, block, part, output) };
        };
        if self.image.is_plain() {
            return parallel(tasks, &|task| share(source, self.image_stride, task));
        }
        let len = self.image.len();
        let count = self.chunks * self.images;
        scratch::with(Purpose::Gradients, count * len, |padded: *mut f32| {
            let padded = SendPtr(padded);
            // Lines are shared out, since there may be one image alone.
            let pieces = (len / (8 * 1024)).clamp(1, TASKS);
            let fill = |task: usize| {
                let (image, piece) = (task / pieces, task % pieces);
                let from = source.get().wrapping_offset(image as isize * self.image_stride);
                let lines = self.image.lines();
                let lines = piece * lines / pieces..(piece + 1) * lines / pieces;
                // SAFETY: each line of each image goes to its own part of the scratch.
                unsafe { self.image.fill_lines(from, padded.get().wrapping_add(image * len), lines) };
            };
            parallel(count * pieces, &fill);
            let images = SendPtr(padded.get().cast_const());
            parallel(tasks, &|task| share(images, len as isize, task));
        });
    }
}
