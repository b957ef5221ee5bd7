//! The depthwise convolution itself, a line of pixels at a time. Neighbours share weights, and pixels of the image where their windows
//! overlap; what follows the convolution is done while sums are in registers.

use std::ops::Range;

use super::{Depthwise, DepthwiseTap, MOST_TAPS, along};
use crate::epilogue::{Epilogue, silu};
use crate::output::{ResultBlock, ResultSink};
use crate::scratch::{self, Purpose};
use crate::send_ptr::SendPtr;
use crate::simd::{Simd, Vector, stamp};
use crate::threads::parallel;

/// Multiplications that are worth a task of their own.
const GRAIN: usize = 128 * 1024;
/// Sums that wait together for an epilogue that is interpreted.
const WAITING: usize = 4 * 1024;
/// Pixels of the image that a group of results has along a line, at most.
const MOST_SHARED: usize = 24;

/// Some pixels of a line of results.
pub(super) struct ForwardLine<'a> {
    /// The image, and the weight: `[tap][channel]`.
    image: *const f32,
    weight: *const f32,
    /// Which line of the image's results.
    line: usize,
    pixels: Range<usize>,
    /// Where the line's first pixel goes, and how far the next is.
    out: *mut f32,
    stride: isize,
    /// What is done before they are stored, from the line's first pixel on.
    epilogue: Option<&'a Epilogue>,
}

/// A kernel of such pixels.
pub(super) type ForwardFn = unsafe fn(&Depthwise, &ForwardLine);

impl Depthwise {
    /// # Safety
    /// As [`super::ConvAlgorithm::run`], with the weight laid out.
    pub(super) unsafe fn forward(
        &self,
        source: SendPtr<*const f32>,
        weight: SendPtr<*const f32>,
        output: &ResultSink<f32>,
    ) {
        let [depth, height, width] = self.windows.output;
        let lines = depth * height;
        let parts = (lines * width * self.channels * self.windows.taps() / GRAIN).clamp(1, lines.max(1));
        parallel(self.batch * parts, &|task| {
            let (image, part) = (task / parts, task % parts);
            let start = source.get().wrapping_offset(image as isize * self.image[0]);
            for line in part * lines / parts..(part + 1) * lines / parts {
                let first = (image * lines + line) * width;
                let run = |pixels: Range<usize>, out, stride, epilogue| {
                    let weight = weight.get();
                    let line = ForwardLine { image: start, weight, line, pixels, out, stride, epilogue };
                    // SAFETY: the caller's promise; each line is one task's, and `out` has room for it.
                    unsafe { (self.forward)(self, &line) }
                };
                match output {
                    ResultSink::Store { start, stride } => {
                        run(0..width, start.wrapping_offset(first as isize * stride), *stride, None);
                    }
                    ResultSink::Fused(epilogue) => {
                        let epilogue = epilogue.from(first, 0);
                        run(0..width, epilogue.out, epilogue.stride, Some(&epilogue));
                    }
                    ResultSink::Interpreted(epilogue) => {
                        let stride = self.channels;
                        let together = (WAITING / stride).max(PIXELS);
                        scratch::with(Purpose::Sums, together.min(width) * stride, |sums: *mut f32| {
                            for x in (0..width).step_by(together) {
                                let pixels = x..(x + together).min(width);
                                let rows = first + pixels.start..first + pixels.end;
                                run(pixels, sums.wrapping_sub(x * stride), stride as isize, None);
                                epilogue(ResultBlock { sums, stride, rows, columns: 0..stride });
                            }
                        });
                    }
                }
            }
        });
    }
}

stamp! {
    pub(super) static FORWARD: fn(plan: &Depthwise, at: &ForwardLine) = line::<Here>;
}

/// The most pixels of a line whose sums are computed together, so that a weight is read once for all of them.
const PIXELS: usize = 8;

/// # Safety
/// The operands have these pixels, their windows and all channels, and nobody else uses those that are written; the machine has the
/// level's instructions.
#[inline(always)]
unsafe fn line<S: Simd>(plan: &Depthwise, at: &ForwardLine) {
    let windows = &plan.windows;
    let [_, height, _] = windows.output;
    let [z, y] = [at.line / height, at.line % height];
    let mut rows = [DepthwiseTap::default(); MOST_TAPS];
    let mut count = 0;
    for row in plan.taps.iter().step_by(windows.window[2]) {
        if windows.has_line([z, y], row.row) {
            rows[count] = *row;
            count += 1;
        }
    }
    let inside = windows.inside(2);
    let strides = [plan.image[1], plan.image[2], plan.image[3]];
    let mut x = at.pixels.start;
    while x < at.pixels.end {
        let is_inside = inside.contains(&x);
        let mut columns = 0..windows.window[2];
        if !is_inside {
            columns = windows.columns(x);
        }
        let group = PixelGroup {
            plan,
            rows: &rows[..count],
            columns,
            image: at.image.wrapping_offset(along(windows.corner([z, y, x]), strides)),
            weight: at.weight,
            out: at.out.wrapping_offset(x as isize * at.stride),
            stride: at.stride,
            epilogue: at.epilogue.map(|epilogue| epilogue.from(x, 0)),
        };
        let left = if is_inside { inside.end.min(at.pixels.end) - x } else { 1 };
        // SAFETY: the caller's promise; inside of the image neighbours have the same elements.
        unsafe {
            let count = match left {
                PIXELS.. if S::REGISTERS > 16 => group.pixels::<S::F32, PIXELS>(),
                4.. => group.pixels::<S::F32, 4>(),
                2.. => group.alike::<S::F32, 2>(0),
                _ => group.alike::<S::F32, 1>(0),
            };
            if group.epilogue.is_some_and(|epilogue| epilogue.silu) {
                for place in 0..count {
                    silu::<S>(group.out.wrapping_offset(place as isize * group.stride), plan.channels);
                }
            }
            x += count;
        }
    }
}

/// Neighbouring pixels of a line, whose windows have the same elements inside of the image.
struct PixelGroup<'a> {
    plan: &'a Depthwise,
    /// The first elements of the window's lines that are inside, and which of such a line's are.
    rows: &'a [DepthwiseTap],
    columns: Range<usize>,
    /// The first pixel's window.
    image: *const f32,
    weight: *const f32,
    /// The first pixel's result, and from there to the next.
    out: *mut f32,
    stride: isize,
    /// From the first pixel on.
    epilogue: Option<Epilogue>,
}

impl PixelGroup<'_> {
    /// Computes `COUNT` pixels, and gives their number.
    ///
    /// # Safety
    /// The elements of these pixels are there, in all columns of the window, and nobody else uses their results.
    #[inline(always)]
    unsafe fn pixels<V: Vector<Number = f32>, const COUNT: usize>(&self) -> usize {
        let windows = &self.plan.windows;
        // SAFETY: the caller's promise.
        unsafe {
            let whole = match (windows.window[2], windows.stride[2], windows.dilation[2]) {
                (3, 1, 1) => self.overlapping::<V, COUNT, 3, 1>(),
                (3, 2, 1) => self.overlapping::<V, COUNT, 3, 2>(),
                (5, 1, 1) => self.overlapping::<V, COUNT, 5, 1>(),
                (5, 2, 1) => self.overlapping::<V, COUNT, 5, 2>(),
                (7, 1, 1) => self.overlapping::<V, COUNT, 7, 1>(),
                _ => 0,
            };
            self.alike::<V, COUNT>(whole)
        }
    }

    /// Computes whole vectors of channels, each of the image's pixels read once for every line of the window; says how many channels.
    ///
    /// # Safety
    /// As [`PixelGroup::pixels`]; the windows have these sizes.
    #[inline(always)]
    unsafe fn overlapping<
        V: Vector<Number = f32>,
        const COUNT: usize,
        const WINDOW: usize,
        const STRIDE: usize,
    >(
        &self,
    ) -> usize {
        let channels = self.plan.channels;
        let full = channels - channels % V::LANES;
        let pixel = self.plan.image[3];
        for channel in (0..full).step_by(V::LANES) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut sums = [V::splat(0.0); COUNT];
                for row in self.rows {
                    let image = self.image.wrapping_offset(row.offset).wrapping_add(channel);
                    let weight = self.weight.wrapping_add(row.row * channels + channel);
                    let mut x = [V::splat(0.0); MOST_SHARED];
                    for at in 0..(COUNT - 1) * STRIDE + WINDOW {
                        x[at] = V::load(image.wrapping_offset(at as isize * pixel));
                    }
                    for column in 0..WINDOW {
                        let weight = V::load(weight.wrapping_add(column * channels));
                        for place in 0..COUNT {
                            sums[place] = x[place * STRIDE + column].multiply_add(weight, sums[place]);
                        }
                    }
                }
                self.finish::<V, COUNT>(sums, channel, None);
            }
        }
        full
    }

    /// Computes channels from `first` on, for any window; gives the number of pixels.
    ///
    /// # Safety
    /// As [`PixelGroup::pixels`].
    #[inline(always)]
    unsafe fn alike<V: Vector<Number = f32>, const COUNT: usize>(&self, first: usize) -> usize {
        let channels = self.plan.channels;
        for channel in (first..channels).step_by(V::LANES) {
            let count = channels - channel;
            // SAFETY: the caller's promise.
            unsafe {
                match count < V::LANES {
                    true => self.vector::<V, COUNT>(channel, Some(count)),
                    false => self.vector::<V, COUNT>(channel, None),
                }
            }
        }
        COUNT
    }

    /// # Safety
    /// As [`PixelGroup::pixels`]; a whole vector of channels is there, or so many.
    #[inline(always)]
    unsafe fn vector<V: Vector<Number = f32>, const COUNT: usize>(&self, channel: usize, few: Option<usize>) {
        let channels = self.plan.channels;
        let pixel = self.plan.image[3];
        let step = pixel * self.plan.windows.stride[2] as isize;
        let along = pixel * self.plan.windows.dilation[2] as isize;
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [V::splat(0.0); COUNT];
            for row in self.rows {
                for column in self.columns.clone() {
                    let weight = self.weight.wrapping_add((row.row + column) * channels + channel);
                    let weight = read::<V>(weight, few);
                    let image = self.image.wrapping_offset(row.offset + column as isize * along);
                    for place in 0..COUNT {
                        let image = image.wrapping_offset(place as isize * step).wrapping_add(channel);
                        sums[place] = read::<V>(image, few).multiply_add(weight, sums[place]);
                    }
                }
            }
            self.finish::<V, COUNT>(sums, channel, few);
        }
    }

    /// Finishes sums and stores them.
    ///
    /// # Safety
    /// As [`PixelGroup::vector`].
    #[inline(always)]
    unsafe fn finish<V: Vector<Number = f32>, const COUNT: usize>(
        &self,
        sums: [V; COUNT],
        channel: usize,
        few: Option<usize>,
    ) {
        // SAFETY: the caller's promise, here and below.
        let load = |from: *const f32| unsafe { read::<V>(from.wrapping_add(channel), few) };
        // SAFETY: as above.
        let columns = self.epilogue.as_ref().map(|epilogue| (epilogue, unsafe { epilogue.of_columns(load) }));
        for (place, mut sum) in sums.into_iter().enumerate() {
            let place = place as isize;
            let to = self.out.wrapping_offset(place * self.stride).wrapping_add(channel);
            // SAFETY: as above.
            unsafe {
                if let Some((epilogue, columns)) = &columns {
                    let other = || load(epilogue.other.wrapping_offset(place * epilogue.other_stride));
                    sum = columns.finished(sum, other);
                }
                match few {
                    None => sum.store(to),
                    Some(count) => sum.store_first(to, count),
                }
            }
        }
    }
}

/// # Safety
/// A whole vector is there, or so many numbers; the machine has the vector's instructions.
#[inline(always)]
unsafe fn read<V: Vector<Number = f32>>(from: *const f32, few: Option<usize>) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match few {
            None => V::load(from),
            Some(count) => V::load_first(from, count),
        }
    }
}
