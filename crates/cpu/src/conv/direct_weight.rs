//! The gradient of a convolution in its weight: for every window position and pair of channels a sum over pixels.
//!
//! A row of a tile is an in channel at a window position, found at a constant offset from each pixel; the sum walks
//! along the lines of the result's gradient. Where the weight is small the batch is cut into fixed parts, each with sums
//! of its own that are added up in order; where it is large, every task has its own rows of it for the whole batch.

use kiln_compile::program::Conv;

use super::ConvAlgorithm;
use super::microkernel::{ConvMicrokernel, ConvTile, Segment};
use super::padding::PaddedImage;
use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::threads::parallel;

/// Weights of up to this many numbers are summed in parts of the batch, which alters sums: no cache decides over it.
const SMALL: usize = 64 * 1024;
/// Into so many parts at the most.
const PARTS: usize = 8;
/// Pixels that are summed before the sums go back to memory.
const PIXELS: usize = 512;

/// The plan of a weight gradient.
pub(crate) struct DirectWeightGradient {
    kernel: ConvMicrokernel,
    batch: usize,
    image: PaddedImage,
    image_stride: isize,
    /// The result's gradient: from image to image, and whether its lines follow each other without gaps.
    gradient_stride: isize,
    gradient_source: [isize; 3],
    out_channels: usize,
    /// Images whose pixels are summed in one go.
    images: usize,
    /// Where each row's channel and window position is, from a pixel's window.
    rows: Vec<isize>,
    /// The lines of one go.
    segments: Vec<Segment>,
    a_step: isize,
    groups: usize,
    group_in: usize,
    group_out: usize,
    /// How many parts the batch is cut into; 1: tasks share out the rows instead.
    parts: usize,
}

impl DirectWeightGradient {
    /// The plan of a weight gradient.
    pub(super) fn new(conv: &Conv, kernel: ConvMicrokernel) -> DirectWeightGradient {
        let mut outer = [0; 3];
        for axis in 0..3 {
            let reach = (conv.window[axis] - 1) * conv.dilation[axis];
            let last = (conv.output[axis] - 1) * conv.stride[axis] + reach + 1;
            outer[axis] = last.max(conv.input[axis] + conv.pad[axis]);
        }
        let (a, b) = (&conv.a.strides, &conv.b.strides);
        let image = PaddedImage {
            channels: conv.in_channels,
            inner: conv.input,
            before: conv.pad,
            outer,
            source: [a[2], a[3], a[4]],
        };
        let strides = if image.is_plain() { image.source } else { image.strides() };
        let between = if image.is_plain() { a[0] } else { image.len() as isize };
        let group_in = conv.in_channels / conv.groups;
        let group_out = conv.out_channels / conv.groups;
        let mut rows = Vec::new();
        for d in 0..conv.window[0] {
            for h in 0..conv.window[1] {
                for w in 0..conv.window[2] {
                    let offset: isize = [d, h, w]
                        .iter()
                        .zip(conv.dilation)
                        .zip(strides)
                        .map(|((&k, d), s)| (k * d) as isize * s)
                        .sum();
                    rows.extend((0..group_in).map(|channel| offset + channel as isize));
                }
            }
        }
        let pixels: usize = conv.output.iter().product();
        let weight = rows.len() * conv.out_channels;
        let parts = if weight <= SMALL { conv.batch.clamp(1, PARTS) } else { 1 };
        // Parts hold whole goes.
        let most = conv.batch.div_ceil(parts).max(1);
        let images = PIXELS.div_ceil(pixels.max(1)).clamp(1, most);
        let mut segments = Vec::new();
        for n in 0..images {
            for z in 0..conv.output[0] {
                for y in 0..conv.output[1] {
                    segments.push(Segment {
                        a: n as isize * between
                            + (z * conv.stride[0]) as isize * strides[0]
                            + (y * conv.stride[1]) as isize * strides[1],
                        b: n as isize * b[0] + z as isize * b[2] + y as isize * b[3],
                        count: conv.output[2],
                    });
                }
            }
        }
        DirectWeightGradient {
            kernel,
            batch: conv.batch,
            image,
            image_stride: a[0],
            gradient_stride: b[0],
            gradient_source: [b[2], b[3], b[4]],
            out_channels: conv.out_channels,
            images,
            rows,
            segments,
            a_step: conv.stride[2] as isize * strides[2],
            groups: conv.groups,
            group_in,
            group_out,
            parts,
        }
    }

    /// The padded images `first..end` one behind the other (or the source itself where there is no padding).
    fn padded(&self, first: usize, end: usize, image: SendPtr<*const f32>, body: impl FnOnce(*const f32)) {
        let source = |n: usize| image.get().wrapping_offset(n as isize * self.image_stride);
        if self.image.is_plain() {
            return body(source(first));
        }
        let len = self.image.len();
        scratch::with(Purpose::Images, (end - first) * len, |padded: *mut f32| {
            let target = SendPtr(padded);
            // SAFETY: each image goes to its own part of the scratch. Inside of a region this is a plain loop.
            let fill =
                |n: usize| unsafe { self.image.fill(source(first + n), target.get().wrapping_add(n * len)) };
            parallel(end - first, &fill);
            body(padded);
        });
    }

    /// Sums over the pixels of a range of images.
    ///
    /// # Safety
    /// `images` starts with the first of the range, padded; `sums` has room for `rows` and all columns.
    unsafe fn sum(
        &self,
        images: *const f32,
        gradient: *const f32,
        range: std::ops::Range<usize>,
        rows: std::ops::Range<usize>,
        sums: *mut f32,
    ) {
        let between = if self.image.is_plain() { self.image_stride } else { self.image.len() as isize };
        let lines = self.segments.len() / self.images;
        let mut out_rows = [0isize; 32];
        let mut done = 0;
        if range.is_empty() {
            // SAFETY: the caller's promise.
            unsafe { sums.write_bytes(0, rows.len() * self.out_channels) };
        }
        while done < range.len() {
            let count = self.images.min(range.len() - done);
            let a = images.wrapping_offset(done as isize * between);
            let b = gradient.wrapping_offset((range.start + done) as isize * self.gradient_stride);
            for group in 0..self.groups {
                for column in (0..self.group_out).step_by(self.kernel.columns) {
                    let columns = self.kernel.columns.min(self.group_out - column);
                    let column = group * self.group_out + column;
                    let tiles = rows.len().div_ceil(self.kernel.rows);
                    for tile in 0..tiles {
                        let part = rows.len() * tile / tiles..rows.len() * (tile + 1) / tiles;
                        for (slot, row) in out_rows.iter_mut().zip(part.clone()) {
                            *slot = (row * self.out_channels) as isize;
                        }
                        // SAFETY: rows and segments were planned inside of the padded images and the gradient.
                        unsafe {
                            self.kernel.run(&ConvTile {
                                a: a.wrapping_add(group * self.group_in),
                                rows: &self.rows[rows.start + part.start..rows.start + part.end],
                                a_step: self.a_step,
                                segments: &self.segments[..count * lines],
                                b: b.wrapping_add(column),
                                b_step: self.gradient_source[2],
                                columns,
                                out: sums.wrapping_add(column),
                                out_rows: &out_rows[..part.len()],
                                add: done > 0,
                                epilogue: None,
                                column: 0,
                                other_rows: &[],
                            });
                        }
                    }
                }
            }
            done += count;
        }
    }

    /// Finished rows, all columns wide.
    fn finished(&self, sums: *mut f32, rows: std::ops::Range<usize>) -> ResultBlock<f32> {
        ResultBlock { sums, stride: self.out_channels, rows, columns: 0..self.out_channels }
    }
}

impl ConvAlgorithm for DirectWeightGradient {
    unsafe fn run(&self, image: *const f32, gradient: *const f32, output: &ResultSink<f32>) {
        let len = self.rows.len() * self.out_channels;
        let (image, gradient) = (SendPtr(image), SendPtr(gradient));
        if self.parts > 1 {
            scratch::with(Purpose::Parts, self.parts * len, |sums: *mut f32| {
                let sums = SendPtr(sums);
                parallel(self.parts, &|part| {
                    let (first, end) = (self.batch * part / self.parts, self.batch * (part + 1) / self.parts);
                    let sums = sums.get().wrapping_add(part * len);
                    self.padded(first, end, image, |images| {
                        // SAFETY: every part has sums of its own.
                        unsafe { self.sum(images, gradient.get(), first..end, 0..self.rows.len(), sums) };
                    });
                });
                for part in 1..self.parts {
                    // SAFETY: all parts are done, and lie one behind the other.
                    unsafe { add(sums.get(), sums.get().wrapping_add(part * len), len) };
                }
                // SAFETY: the first part now holds the whole.
                unsafe { output.hand_over(self.finished(sums.get(), 0..self.rows.len())) };
            });
            return;
        }
        let tasks = self.rows.len().div_ceil(2 * self.kernel.rows).clamp(1, 8);
        self.padded(0, self.batch, image, |images| {
            let images = SendPtr(images);
            parallel(tasks, &|task| {
                let tiles = self.rows.len().div_ceil(self.kernel.rows);
                let edge = |task: usize| (tiles * task / tasks * self.kernel.rows).min(self.rows.len());
                let rows = edge(task)..edge(task + 1);
                if rows.is_empty() {
                    return;
                }
                scratch::with(Purpose::Sums, rows.len() * self.out_channels, |sums: *mut f32| {
                    // SAFETY: the sums are this task's; its rows of the output are nobody else's.
                    unsafe {
                        self.sum(images.get(), gradient.get(), 0..self.batch, rows.clone(), sums);
                        output.hand_over(self.finished(sums, rows));
                    }
                });
            });
        });
    }
}

/// # Safety
/// Both have `len` numbers and don't overlap.
unsafe fn add(target: *mut f32, source: *const f32, len: usize) {
    // SAFETY: the caller's promise.
    let (target, source) =
        unsafe { (std::slice::from_raw_parts_mut(target, len), std::slice::from_raw_parts(source, len)) };
    for (t, s) in target.iter_mut().zip(source) {
        *t += s;
    }
}
