//! Depthwise convolutions, where every channel has a window of its own: there is nothing to multiply matrices of, so
//! pixels are walked once, all channels of a few at a time, a vector of them side by side.

use std::ops::Range;

use kiln_compile::program::{Conv, ConvKind};

use super::panel::{Strip, lay_out};
use super::pixels::{Shared, SharedMut};
use super::scratch::{self, Purpose};
use crate::cpu::block::{Block, Output};
use crate::cpu::gemm::vector::{Lanes, Vector};
use crate::cpu::simd::Level;
use crate::cpu::threads::parallel;
use crate::cpu::windows::Windows;

/// Channels that a task has where it can't have pixels of its own.
const CHANNELS: usize = 64;
/// The most elements of a window that is done here.
const MOST_TAPS: usize = 128;
/// Multiplications that are worth a task of their own.
const GRAIN: usize = 128 * 1024;

/// The plan of such a convolution.
pub(crate) struct Depthwise {
    kind: ConvKind,
    windows: Windows,
    batch: usize,
    channels: usize,
    /// From image to image, and along depth, height and width.
    image: [isize; 4],
    /// The same of the result, or of its gradient.
    result: [isize; 4],
    /// From window position (0, 0, 0) of the first channel: along the window, and from channel to channel.
    weight: [isize; 4],
    taps: Vec<Tap>,
    run: Run,
}

/// An element of the window: its row in the laid out weight, and where it lies from the window's first.
#[derive(Clone, Copy, Default)]
struct Tap {
    row: usize,
    offset: isize,
}

/// A kernel: results of a range of lines, for some channels.
type Run = unsafe fn(&Depthwise, &Operands, Range<usize>, Range<usize>);

/// Where one image's numbers are, the first channel of the first pixel of each. What is written depends on the kind.
struct Operands {
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
        let windows = Windows::new([conv.input, conv.output], sizes);
        let view = |strides: &[isize]| [strides[0], strides[2], strides[3], strides[4]];
        let (a, b) = (&conv.a.strides, &conv.b.strides);
        // What is written lies densely, in scratch or where the tail's rows go.
        let (image, result, weight) = match conv.kind {
            ConvKind::Forward => (view(a), [0; 4], [b[2], b[3], b[4], b[0]]),
            ConvKind::GradInput => ([0; 4], view(a), [b[2], b[3], b[4], b[0]]),
            ConvKind::GradWeight => (view(a), view(b), [0; 4]),
        };
        let dense = |size: [usize; 3]| [size[1] * size[2] * channels, size[2] * channels, channels];
        let strides = match conv.kind {
            ConvKind::GradInput => dense(conv.input).map(|stride| stride as isize),
            _ => [image[1], image[2], image[3]],
        };
        let tap = |row: usize| {
            let offset = windows.offset(row);
            Tap { row, offset: (0..3).map(|a| offset[a] as isize * strides[a]).sum() }
        };
        let taps = (0..windows.taps()).map(tap).collect();
        let run = kernel(level);
        Some(Depthwise {
            kind: conv.kind,
            windows,
            batch: conv.batch,
            channels,
            image,
            result,
            weight,
            taps,
            run,
        })
    }

    /// Runs the plan.
    ///
    /// # Safety
    /// As [`super::Direct::run`].
    pub(super) unsafe fn run(&self, a: *const f32, b: *const f32, output: &Output<f32>) {
        let (a, b) = (Shared(a), Shared(b));
        let rows = self.windows.taps();
        scratch::with(Purpose::Weights, rows * self.channels, |weight| {
            let weight = SharedMut(weight);
            // SAFETY: the caller's promise; the scratch has room for the weight.
            unsafe {
                match self.kind {
                    ConvKind::Forward => {
                        self.lay_out(b.get(), weight.get());
                        self.forward(a, weight, output);
                    }
                    ConvKind::GradInput => {
                        self.lay_out(b.get(), weight.get());
                        self.grad_input(a, weight, output);
                    }
                    ConvKind::GradWeight => {
                        weight.get().write_bytes(0, rows * self.channels);
                        self.grad_weight(a, b, weight);
                        hand_over(weight.get(), 0..rows, self.channels, output);
                    }
                }
            }
        });
    }

    /// Lays the weight out as `[tap][channel]`.
    ///
    /// # Safety
    /// The weight is complete, and `out` has room for it.
    unsafe fn lay_out(&self, weight: *const f32, out: *mut f32) {
        let [_, height, width] = self.windows.window;
        for row in 0..self.windows.taps() {
            let position = [row / (height * width), row / width % height, row % width];
            let offset: isize = (0..3).map(|a| position[a] as isize * self.weight[a]).sum();
            let from = weight.wrapping_offset(offset);
            let strip =
                Strip { from, sum: 1, sum_stride: 0, columns: self.channels, column_stride: self.weight[3] };
            // SAFETY: the caller's promise.
            unsafe { lay_out(&strip, self.channels, out.add(row * self.channels)) };
        }
    }

    /// # Safety
    /// As [`Depthwise::run`], with the weight laid out.
    unsafe fn forward(&self, source: Shared, weight: SharedMut, output: &Output<f32>) {
        let [depth, height, width] = self.windows.output;
        let lines = depth * height;
        let line = width * self.channels;
        let parts = (lines * line * self.windows.taps() / GRAIN).clamp(1, lines.max(1));
        parallel(self.batch * parts, &|task| {
            let (image, part) = (task / parts, task % parts);
            let range = part * lines / parts..(part + 1) * lines / parts;
            scratch::with(Purpose::Sums, range.len() * line, |sums| {
                let strides = [height * line, line, self.channels].map(|stride| stride as isize);
                let operands = Operands {
                    image: source.get().wrapping_offset(image as isize * self.image[0]).cast_mut(),
                    strides: [self.image[1], self.image[2], self.image[3]],
                    result: sums.wrapping_sub(range.start * line),
                    result_strides: strides,
                    weight: weight.get(),
                };
                let first = image * lines * width;
                // SAFETY: the scratch has room for these lines, whose rows are nobody else's.
                unsafe {
                    (self.run)(self, &operands, range.clone(), 0..self.channels);
                    let rows = first + range.start * width..first + range.end * width;
                    hand_over(sums, rows, self.channels, output);
                }
            });
        });
    }

    /// # Safety
    /// As [`Depthwise::run`], with the weight laid out.
    unsafe fn grad_input(&self, gradient: Shared, weight: SharedMut, output: &Output<f32>) {
        let [_, height, width] = self.windows.input;
        let pixels: usize = self.windows.input.iter().product();
        let lines = self.windows.output[0] * self.windows.output[1];
        let line = width * self.channels;
        parallel(self.batch, &|image| {
            scratch::with(Purpose::Sums, pixels * self.channels, |sums| {
                let from = gradient.get().wrapping_offset(image as isize * self.result[0]);
                let operands = Operands {
                    image: sums,
                    strides: [height * line, line, self.channels].map(|stride| stride as isize),
                    result: from.cast_mut(),
                    result_strides: [self.result[1], self.result[2], self.result[3]],
                    weight: weight.get(),
                };
                // SAFETY: the scratch has room for the image, whose rows are nobody else's.
                unsafe {
                    sums.write_bytes(0, pixels * self.channels);
                    (self.run)(self, &operands, 0..lines, 0..self.channels);
                    hand_over(sums, image * pixels..(image + 1) * pixels, self.channels, output);
                }
            });
        });
    }

    /// # Safety
    /// As [`Depthwise::run`]; `weight` holds zeros.
    unsafe fn grad_weight(&self, source: Shared, gradient: Shared, weight: SharedMut) {
        let lines = self.windows.output[0] * self.windows.output[1];
        parallel(self.channels.div_ceil(CHANNELS), &|part| {
            let channels = part * CHANNELS..((part + 1) * CHANNELS).min(self.channels);
            for image in 0..self.batch as isize {
                let operands = Operands {
                    image: source.get().wrapping_offset(image * self.image[0]).cast_mut(),
                    strides: [self.image[1], self.image[2], self.image[3]],
                    result: gradient.get().wrapping_offset(image * self.result[0]).cast_mut(),
                    result_strides: [self.result[1], self.result[2], self.result[3]],
                    weight: weight.get(),
                };
                // SAFETY: each task has channels of its own.
                unsafe { (self.run)(self, &operands, 0..lines, channels.clone()) };
            }
        });
    }
}

/// Gives finished rows to the output.
///
/// # Safety
/// `sums` holds them, all `columns` wide.
unsafe fn hand_over(sums: *mut f32, rows: Range<usize>, columns: usize, output: &Output<f32>) {
    match output {
        Output::Store { start, stride } => {
            for (position, row) in rows.enumerate() {
                let to = start.wrapping_offset(row as isize * stride);
                // SAFETY: the output has this row.
                unsafe { std::ptr::copy_nonoverlapping(sums.add(position * columns), to, columns) };
            }
        }
        Output::Tail(tail) => tail(Block { sums, stride: columns, rows, columns: 0..columns }),
    }
}

fn kernel(level: Level) -> Run {
    match level.or_best() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2,
        #[cfg(target_arch = "aarch64")]
        Level::Neon => neon,
        _ => portable,
    }
}

macro_rules! level {
    ($name:ident, $vector:ty $(, #[$feature:meta])?) => {
        /// # Safety
        /// As [`lines`].
        $(#[$feature])?
        unsafe fn $name(plan: &Depthwise, at: &Operands, lines: Range<usize>, channels: Range<usize>) {
            // SAFETY: the caller's promise.
            unsafe { self::lines::<$vector>(plan, at, lines, channels) }
        }
    };
}

level!(portable, Lanes<f32, 4>);
#[cfg(target_arch = "x86_64")]
level!(avx2, crate::cpu::gemm::vector::Ymm32, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
level!(
    avx512,
    crate::cpu::gemm::vector::Zmm32,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
);
#[cfg(target_arch = "aarch64")]
level!(neon, crate::cpu::gemm::vector::Neon32, #[target_feature(enable = "neon")]);

/// # Safety
/// The operands have these lines of results, their windows and channels, and nobody else uses those that are written; the
/// machine has the vector's instructions.
#[inline(always)]
unsafe fn lines<V: Vector<Number = f32>>(
    plan: &Depthwise,
    at: &Operands,
    lines: Range<usize>,
    channels: Range<usize>,
) {
    let windows = &plan.windows;
    let [_, height, width] = windows.output;
    let along = |at: [isize; 3], strides: [isize; 3]| (0..3).map(|a| at[a] * strides[a]).sum::<isize>();
    let mut clipped = [Tap::default(); MOST_TAPS];
    for line in lines {
        for x in 0..width {
            let o = [line / height, line % height, x];
            let taps = if windows.is_inside(o) {
                &plan.taps[..]
            } else {
                let mut count = 0;
                for &tap in plan.taps.iter().filter(|tap| windows.has(o, tap.row)) {
                    clipped[count] = tap;
                    count += 1;
                }
                &clipped[..count]
            };
            let image = at.image.wrapping_offset(along(windows.corner(o), at.strides));
            let result = at.result.wrapping_offset(along(o.map(|o| o as isize), at.result_strides));
            let mut channel = channels.start;
            while channel < channels.end {
                let count = V::LANES.min(channels.end - channel);
                let pixel = image.wrapping_add(channel);
                let weight = |tap: &Tap| at.weight.wrapping_add(tap.row * plan.channels + channel);
                // SAFETY: the caller's promise; these taps are inside of the image.
                unsafe {
                    let load = |from: *const f32| match count == V::LANES {
                        true => V::load(from),
                        false => V::load_first(from, count),
                    };
                    let store = |value: V, to: *mut f32| match count == V::LANES {
                        true => value.store(to),
                        false => value.store_first(to, count),
                    };
                    let result = result.wrapping_add(channel);
                    match plan.kind {
                        ConvKind::Forward => {
                            let mut sum = V::splat(0.0);
                            for tap in taps {
                                let x = load(pixel.wrapping_offset(tap.offset));
                                sum = x.multiply_add(load(weight(tap)), sum);
                            }
                            store(sum, result);
                        }
                        ConvKind::GradInput => {
                            let gradient = load(result);
                            for tap in taps {
                                let to = pixel.wrapping_offset(tap.offset);
                                store(gradient.multiply_add(load(weight(tap)), load(to)), to);
                            }
                        }
                        ConvKind::GradWeight => {
                            let gradient = load(result);
                            for tap in taps {
                                let (x, to) = (load(pixel.wrapping_offset(tap.offset)), weight(tap));
                                store(x.multiply_add(gradient, load(to)), to);
                            }
                        }
                    }
                }
                channel += V::LANES;
            }
        }
    }
}
