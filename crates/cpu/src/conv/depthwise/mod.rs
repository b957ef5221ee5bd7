//! Depthwise convolutions, where every channel has a window of its own: there is nothing to multiply matrices of, so
//! pixels are walked once, all channels of a few at a time, a vector of them side by side.

use std::ops::Range;

use kiln_compile::program::{Conv, ConvKind};

mod forward;

use super::ConvAlgorithm;
use super::pack::{ColumnStrip, pack_panel};
use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::{Level, Simd, Vector, stamp};
use crate::threads::parallel;
use crate::window_geometry::WindowGeometry;
use forward::{FORWARD, ForwardFn};

/// Channels that a task has where it can't have pixels of its own.
const CHANNELS: usize = 64;
/// The most elements of a window that is done here.
const MOST_TAPS: usize = 128;

/// The plan of such a convolution.
pub(crate) struct Depthwise {
    kind: ConvKind,
    windows: WindowGeometry,
    batch: usize,
    channels: usize,
    /// From image to image, and along depth, height and width.
    image: [isize; 4],
    /// The same of the result, or of its gradient.
    result: [isize; 4],
    /// From window position (0, 0, 0) of the first channel: along the window, and from channel to channel.
    weight: [isize; 4],
    taps: Vec<DepthwiseTap>,
    forward: ForwardFn,
    gradients: DepthwiseFn,
}

/// An element of the window: its row in the laid out weight, and where it lies from the window's first.
#[derive(Clone, Copy, Default)]
struct DepthwiseTap {
    row: usize,
    offset: isize,
}

/// A kernel: results of a range of lines, for some channels.
type DepthwiseFn = unsafe fn(&Depthwise, &DepthwiseOperands, Range<usize>, Range<usize>);

/// Where one image's numbers are, the first channel of the first pixel of each. What is written depends on the kind.
struct DepthwiseOperands {
    /// The image, or its gradient, with its strides.
    image: *mut f32,
    strides: [isize; 3],
    /// The result, or its gradient, with its strides.
    result: *mut f32,
    result_strides: [isize; 3],
    /// The weight or its gradient: `[tap][channel]`.
    weight: *mut f32,
}

impl Depthwise {
    /// The plan, if the convolution is of this kind.
    pub(super) fn new(conv: &Conv, level: Level) -> Option<Depthwise> {
        let channels = conv.in_channels;
        let depthwise = conv.groups == channels && conv.out_channels == channels && channels > 1;
        if !depthwise || conv.window.iter().product::<usize>() > MOST_TAPS {
            return None;
        }
        let sizes = [conv.window, conv.stride, conv.pad, conv.dilation];
        let windows = WindowGeometry::new([conv.input, conv.output], sizes);
        let view = |strides: &[isize]| [strides[0], strides[2], strides[3], strides[4]];
        let (a, b) = (&conv.a.strides, &conv.b.strides);
        // What is written lies densely, in scratch or where the epilogue's rows go.
        let (image, result, weight) = match conv.kind {
            ConvKind::Forward => (view(a), [0; 4], [b[2], b[3], b[4], b[0]]),
            ConvKind::GradInput => ([0; 4], view(a), [b[2], b[3], b[4], b[0]]),
            ConvKind::GradWeight => (view(a), view(b), [0; 4]),
        };
        let dense = |size: [usize; 3]| [size[1] * size[2] * channels, size[2] * channels, channels];
        let strides = match conv.kind {
            ConvKind::GradInput => dense(conv.input).map(|stride| stride as isize),
            ConvKind::Forward | ConvKind::GradWeight => [image[1], image[2], image[3]],
        };
        let tap = |row: usize| {
            let offset = windows.offset(row);
            DepthwiseTap { row, offset: (0..3).map(|a| offset[a] as isize * strides[a]).sum() }
        };
        let taps = (0..windows.taps()).map(tap).collect();
        Some(Depthwise {
            kind: conv.kind,
            windows,
            batch: conv.batch,
            channels,
            image,
            result,
            weight,
            taps,
            forward: FORWARD.at(level),
            gradients: GRADIENTS.at(level),
        })
    }

    /// # Safety
    /// As [`ConvAlgorithm::run`], with the weight laid out.
    unsafe fn grad_input(
        &self,
        gradient: SendPtr<*const f32>,
        weight: SendPtr<*const f32>,
        output: &ResultSink<f32>,
    ) {
        let [_, height, width] = self.windows.input;
        let pixels: usize = self.windows.input.iter().product();
        let lines = self.windows.output[0] * self.windows.output[1];
        let line = width * self.channels;
        parallel(self.batch, &|image| {
            scratch::with(Purpose::Sums, pixels * self.channels, |sums: *mut f32| {
                let from = gradient.get().wrapping_offset(image as isize * self.result[0]);
                let operands = DepthwiseOperands {
                    image: sums,
                    strides: [height * line, line, self.channels].map(|stride| stride as isize),
                    result: from.cast_mut(),
                    result_strides: [self.result[1], self.result[2], self.result[3]],
                    weight: weight.get().cast_mut(),
                };
                // SAFETY: the scratch has room for the image, whose rows are nobody else's.
                unsafe {
                    sums.write_bytes(0, pixels * self.channels);
                    (self.gradients)(self, &operands, 0..lines, 0..self.channels);
                    let rows = image * pixels..(image + 1) * pixels;
                    output.hand_over(ResultBlock {
                        sums,
                        stride: self.channels,
                        rows,
                        columns: 0..self.channels,
                    });
                }
            });
        });
    }

    /// # Safety
    /// As [`ConvAlgorithm::run`]; `weight` holds zeros.
    unsafe fn grad_weight(
        &self,
        source: SendPtr<*const f32>,
        gradient: SendPtr<*const f32>,
        weight: SendPtr<*mut f32>,
    ) {
        let lines = self.windows.output[0] * self.windows.output[1];
        parallel(self.channels.div_ceil(CHANNELS), &|part| {
            let channels = part * CHANNELS..((part + 1) * CHANNELS).min(self.channels);
            for image in 0..self.batch as isize {
                let operands = DepthwiseOperands {
                    image: source.get().wrapping_offset(image * self.image[0]).cast_mut(),
                    strides: [self.image[1], self.image[2], self.image[3]],
                    result: gradient.get().wrapping_offset(image * self.result[0]).cast_mut(),
                    result_strides: [self.result[1], self.result[2], self.result[3]],
                    weight: weight.get(),
                };
                // SAFETY: each task has channels of its own.
                unsafe { (self.gradients)(self, &operands, 0..lines, channels.clone()) };
            }
        });
    }
}

impl ConvAlgorithm for Depthwise {
    fn prepacked(&self) -> usize {
        match self.kind {
            ConvKind::Forward | ConvKind::GradInput => self.windows.taps() * self.channels,
            ConvKind::GradWeight => 0,
        }
    }

    /// Lays the weight out as `[tap][channel]`.
    unsafe fn prepack(&self, weight: *const f32, out: *mut f32) {
        let [_, height, width] = self.windows.window;
        for row in 0..self.windows.taps() {
            let position = [row / (height * width), row / width % height, row % width];
            let offset: isize = (0..3).map(|a| position[a] as isize * self.weight[a]).sum();
            let from = weight.wrapping_offset(offset);
            let strip = ColumnStrip {
                from,
                sum: 1,
                sum_stride: 0,
                columns: self.channels,
                column_stride: self.weight[3],
            };
            // SAFETY: the caller's promise.
            unsafe { pack_panel(&strip, self.channels, out.add(row * self.channels)) };
        }
    }

    unsafe fn run(&self, a: *const f32, b: *const f32, output: &ResultSink<f32>) {
        let (a, b) = (SendPtr(a), SendPtr(b));
        // SAFETY: the caller's promise; the scratch has room for the weight's gradient.
        unsafe {
            match self.kind {
                ConvKind::Forward => self.forward(a, b, output),
                ConvKind::GradInput => self.grad_input(a, b, output),
                ConvKind::GradWeight => {
                    let rows = self.windows.taps();
                    scratch::with(Purpose::Weights, rows * self.channels, |weight: *mut f32| {
                        weight.write_bytes(0, rows * self.channels);
                        self.grad_weight(a, b, SendPtr(weight));
                        let columns = 0..self.channels;
                        output.hand_over(ResultBlock {
                            sums: weight,
                            stride: self.channels,
                            rows: 0..rows,
                            columns,
                        });
                    });
                }
            }
        }
    }
}

stamp! {
    static GRADIENTS: fn(plan: &Depthwise, at: &DepthwiseOperands, lines: Range<usize>, channels: Range<usize>)
        = gradients::<<Here as Simd>::F32>;
}

/// The elements of a result's window that are inside of the image.
#[inline(always)]
fn present<'a>(
    plan: &'a Depthwise,
    o: [usize; 3],
    clipped: &'a mut [DepthwiseTap; MOST_TAPS],
) -> &'a [DepthwiseTap] {
    if plan.windows.is_inside(o) {
        return &plan.taps;
    }
    let mut count = 0;
    for &tap in plan.taps.iter().filter(|tap| plan.windows.has(o, tap.row)) {
        clipped[count] = tap;
        count += 1;
    }
    &clipped[..count]
}

/// Where an element is.
#[inline(always)]
fn along(at: [isize; 3], strides: [isize; 3]) -> isize {
    (0..3).map(|a| at[a] * strides[a]).sum()
}

/// What of either gradient comes from some lines.
///
/// # Safety
/// The operands have these lines of results, their windows and channels, and nobody else uses those that are written; the
/// machine has the vector's instructions.
#[inline(always)]
unsafe fn gradients<V: Vector<Number = f32>>(
    plan: &Depthwise,
    at: &DepthwiseOperands,
    lines: Range<usize>,
    channels: Range<usize>,
) {
    let windows = &plan.windows;
    let [_, height, width] = windows.output;
    let mut clipped = [DepthwiseTap::default(); MOST_TAPS];
    for line in lines {
        for x in 0..width {
            let o = [line / height, line % height, x];
            let taps = present(plan, o, &mut clipped);
            let image = at.image.wrapping_offset(along(windows.corner(o), at.strides));
            let result = at.result.wrapping_offset(along(o.map(|o| o as isize), at.result_strides));
            let mut channel = channels.start;
            while channel < channels.end {
                let count = V::LANES.min(channels.end - channel);
                let pixel = image.wrapping_add(channel);
                // SAFETY: the caller's promise; these taps are inside of the image.
                unsafe {
                    let load = |from: *const f32| match count == V::LANES {
                        true => V::load(from),
                        false => V::load_first(from, count),
                    };
                    let gradient = load(result.wrapping_add(channel));
                    for tap in taps {
                        let x = pixel.wrapping_offset(tap.offset);
                        let weight = at.weight.wrapping_add(tap.row * plan.channels + channel);
                        let (to, by) = match plan.kind {
                            ConvKind::GradInput => (x, weight),
                            ConvKind::Forward | ConvKind::GradWeight => (weight, x),
                        };
                        let sum = gradient.multiply_add(load(by), load(to));
                        match count == V::LANES {
                            true => sum.store(to),
                            false => sum.store_first(to, count),
                        }
                    }
                }
                channel += V::LANES;
            }
        }
    }
}
