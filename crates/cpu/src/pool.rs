//! Pooling and its adjoints for floats: for every window the places of its elements are worked out once, and then all
//! channels go through them, a vector at a time where they lie side by side.

use std::ops::{Add, Range};

use kiln_compile::program::{View, Window, WindowKind};
use kiln_ir::DType;

use super::bases::Bases;
use super::call::KernelCall;
use super::naive;
use super::simd::{level, one_chunk_at_a_time, stamp};
use super::threads::parallel;
use super::window_geometry::WindowGeometry;

/// The most elements of a window that is done here.
const MOST_TAPS: usize = 32;
/// Elements that are worth a task of their own.
const GRAIN: usize = 8 * 1024;

/// A pooling operation made ready.
pub(super) fn window(work: &Window) -> KernelCall {
    match work.out.dtype {
        _ if work.window.iter().product::<usize>() > MOST_TAPS => naive::window(work),
        DType::F32 if work.operands.iter().all(|view| view.dtype == DType::F32) => run::<f32>(work),
        DType::F64 if work.operands.iter().all(|view| view.dtype == DType::F64) => run::<f64>(work),
        _ => naive::window(work),
    }
}

fn run<T: Float>(work: &Window) -> KernelCall {
    let plan = PoolPlan::new(work);
    let some_lines = lines_of::<T>().at(level());
    let lines = work.output[0] * work.output[1];
    let size = work.input.iter().product::<usize>() * work.channels;
    // The gradients of one image may overlap; results don't.
    let whole_images = plan.spreads() && !(plan.disjoint && plan.covering);
    let parts = if whole_images { 1 } else { (size / GRAIN).clamp(1, lines.max(1)) };
    let together = (GRAIN / size.max(1)).max(1);
    Box::new(move |bases| {
        let images = plan.work.batch;
        if parts > 1 {
            parallel(images * parts, &|task| {
                let (image, part) = (task / parts, task % parts);
                // SAFETY: the program was checked when it was loaded; each task has lines of its own.
                unsafe { some_lines(&plan, bases, image, part * lines / parts..(part + 1) * lines / parts) };
            });
        } else {
            parallel(images.div_ceil(together), &|task| {
                for image in task * together..((task + 1) * together).min(images) {
                    // SAFETY: as above; each task has images of its own.
                    unsafe { some_lines(&plan, bases, image, 0..lines) };
                }
            });
        }
        Ok(())
    })
}

/// Float elements.
trait Float: Copy + PartialOrd + Add<Output = Self> + Default + Send + Sync + 'static {
    fn is_nan(self) -> bool;
}

impl Float for f32 {
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

impl Float for f64 {
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

stamp! {
    fn lines_of<T: Float>(plan: &PoolPlan, bases: &Bases, image: usize, range: Range<usize>) = lines::<T, LANES>;
}

/// An element of a window that isn't padding: where it lies from the window's first in the image that is read, in the
/// other one (the values that are picked), and in the result where that is an image.
#[derive(Clone, Copy, Default)]
struct PoolTap {
    x: isize,
    values: isize,
    out: isize,
}

/// A pooling operation and what is known of its windows.
struct PoolPlan {
    work: Window,
    windows: WindowGeometry,
    /// All elements of a window inside of the image.
    whole: Vec<PoolTap>,
    /// No element is in two windows.
    disjoint: bool,
    /// Every element is in a window.
    covering: bool,
    /// The channels of all views lie side by side.
    dense: bool,
    /// The values that are picked are those that are compared.
    same: bool,
}

impl PoolPlan {
    fn new(work: &Window) -> PoolPlan {
        let sizes = [work.window, work.stride, work.pad, work.dilation];
        let windows = WindowGeometry::new([work.input, work.output], sizes);
        let (disjoint, covering) = (windows.disjoint(), windows.covering());
        let dense = work.operands.iter().chain([&work.out]).all(|view| view.strides[1] == 1);
        let same = work.operands.first() == work.operands.last();
        let mut plan =
            PoolPlan { work: work.clone(), windows, whole: Vec::new(), disjoint, covering, dense, same };
        plan.whole = (0..plan.windows.taps()).map(|number| plan.tap(number)).collect();
        plan
    }

    fn spreads(&self) -> bool {
        matches!(self.work.kind, WindowKind::Spread | WindowKind::SumGrad)
    }

    #[inline(always)]
    fn tap(&self, number: usize) -> PoolTap {
        let offset = self.windows.offset(number);
        let along = |view: &View| -> isize { (0..3).map(|a| offset[a] as isize * view.strides[2 + a]).sum() };
        let first = &self.work.operands[0];
        let second = self.work.operands.last().unwrap_or(first);
        PoolTap { x: along(first), values: along(second), out: along(&self.work.out) }
    }

    /// The elements that aren't padding of a window near the border.
    #[inline(always)]
    fn clipped<'a>(&self, o: [usize; 3], taps: &'a mut [PoolTap; MOST_TAPS]) -> &'a [PoolTap] {
        let mut count = 0;
        for number in (0..self.windows.taps().min(MOST_TAPS)).filter(|&number| self.windows.has(o, number)) {
            taps[count] = self.tap(number);
            count += 1;
        }
        &taps[..count]
    }
}

/// Where one window is: its first element in the image that is read and in the other, and its pixel or its first
/// element in the result.
#[derive(Clone, Copy)]
struct WindowPointers<T> {
    x: *const T,
    /// For adjoints the result's gradient.
    second: *const T,
    out: *mut T,
}

/// The windows of some lines of one image.
///
/// # Safety
/// The program was checked; nobody else writes what these windows write.
#[inline(always)]
unsafe fn lines<T: Float, const LANES: usize>(
    plan: &PoolPlan,
    bases: &Bases,
    image: usize,
    range: Range<usize>,
) {
    let work = &plan.work;
    let first = &work.operands[0];
    let second = work.operands.last().unwrap_or(first);
    let out = &work.out;
    let spreads = plan.spreads();
    let from = |view: &View| bases.origin::<T>(view).wrapping_offset(image as isize * view.strides[0]);
    let pixel = |view: &View, at: [isize; 3]| (0..3).map(|a| at[a] * view.strides[2 + a]).sum::<isize>();
    if spreads && !(plan.covering && plan.disjoint) {
        // SAFETY: the caller's promise; where this is needed, all lines of the image are in one call.
        unsafe { zero(work, from(out)) };
    }
    for line in range {
        let (oz, oy) = (line / work.output[1], line % work.output[1]);
        for ox in 0..work.output[2] {
            let o = [oz, oy, ox];
            let result = o.map(|o| o as isize);
            let corner = plan.windows.corner(o);
            let mut room = [PoolTap::default(); MOST_TAPS];
            let taps = match plan.windows.is_inside(o) {
                true => &plan.whole[..],
                false => plan.clipped(o, &mut room),
            };
            // The gradient is read, and the pooled image's own result written, at the window's pixel.
            let (second_at, out_at) = match work.kind {
                WindowKind::Pick => (pixel(second, corner), pixel(out, result)),
                WindowKind::Sum => (0, pixel(out, result)),
                WindowKind::Spread => (pixel(second, result), pixel(out, corner)),
                WindowKind::SumGrad => (pixel(second, result), pixel(out, corner)),
            };
            let places = WindowPointers {
                x: from(first).wrapping_offset(pixel(first, corner)).cast_const(),
                second: from(second).wrapping_offset(second_at).cast_const(),
                out: from(out).wrapping_offset(out_at),
            };
            let full = if plan.dense { work.channels - work.channels % LANES } else { 0 };
            let at = |channel: usize| WindowPointers {
                x: places.x.wrapping_offset(channel as isize * first.strides[1]),
                second: places.second.wrapping_offset(channel as isize * second.strides[1]),
                out: places.out.wrapping_offset(channel as isize * out.strides[1]),
            };
            for channel in (0..full).step_by(LANES) {
                one_chunk_at_a_time();
                // SAFETY: the caller's promise; so many channels lie side by side.
                unsafe { window_of::<T, LANES>(plan, taps, at(channel)) };
            }
            for channel in full..work.channels {
                // SAFETY: the caller's promise.
                unsafe { window_of::<T, 1>(plan, taps, at(channel)) };
            }
        }
    }
}

/// One window, for some channels.
///
/// # Safety
/// The elements exist, and nobody else uses those that are written.
#[inline(always)]
unsafe fn window_of<T: Float, const LANES: usize>(
    plan: &PoolPlan,
    taps: &[PoolTap],
    places: WindowPointers<T>,
) {
    let zeros = [T::default(); LANES];
    // SAFETY: the caller's promise; reads and writes need no alignment beyond an element's.
    unsafe {
        let read = |from: *const T| from.cast::<[T; LANES]>().read();
        let read_x = |tap: &PoolTap| read(places.x.wrapping_offset(tap.x));
        let write = |to: *mut T, lanes: [T; LANES]| to.cast::<[T; LANES]>().write(lanes);
        // What an element gets is added to what it got from windows before.
        let give = |to: *mut T, lanes: [T; LANES]| match plan.disjoint {
            true => write(to, lanes),
            false => {
                let before = read(to);
                let mut sum = before;
                for lane in 0..LANES {
                    sum[lane] = sum[lane] + lanes[lane];
                }
                write(to, sum);
            }
        };
        match plan.work.kind {
            WindowKind::Sum => {
                let mut sums = zeros;
                for tap in taps {
                    let x = read_x(tap);
                    for lane in 0..LANES {
                        sums[lane] = sums[lane] + x[lane];
                    }
                }
                write(places.out, sums);
            }
            WindowKind::SumGrad => {
                let gradient = read(places.second);
                for tap in taps {
                    give(places.out.wrapping_offset(tap.out), gradient);
                }
            }
            WindowKind::Pick if plan.same => write(places.out, largest(taps, &read_x)),
            WindowKind::Pick => {
                let best = largest(taps, &read_x);
                let mut found = [false; LANES];
                let mut picked = zeros;
                for tap in taps {
                    let (x, values) = (read_x(tap), read(places.second.wrapping_offset(tap.values)));
                    for lane in 0..LANES {
                        let first = is(x[lane], best[lane]) & !found[lane];
                        picked[lane] = if first { values[lane] } else { picked[lane] };
                        found[lane] |= first;
                    }
                }
                write(places.out, picked);
            }
            WindowKind::Spread => {
                let best = largest(taps, &read_x);
                // The first of equal elements takes the gradient, and leaves nothing.
                let mut gradient = read(places.second);
                for tap in taps {
                    let (x, mut share) = (read_x(tap), zeros);
                    for lane in 0..LANES {
                        let first = is(x[lane], best[lane]);
                        share[lane] = if first { gradient[lane] } else { zeros[lane] };
                        gradient[lane] = if first { zeros[lane] } else { gradient[lane] };
                    }
                    give(places.out.wrapping_offset(tap.out), share);
                }
            }
        }
    }
}

/// The largest element of each lane, `NaN` where there is one; zero in a window of nothing but padding.
#[inline(always)]
fn largest<T: Float, const LANES: usize>(
    taps: &[PoolTap],
    read: &impl Fn(&PoolTap) -> [T; LANES],
) -> [T; LANES] {
    let mut best = taps.first().map_or([T::default(); LANES], read);
    for tap in taps.iter().skip(1) {
        let x = read(tap);
        for lane in 0..LANES {
            best[lane] = if better(x[lane], best[lane]) { x[lane] } else { best[lane] };
        }
    }
    best
}

/// Whether an element is the largest that was found.
#[inline(always)]
fn is<T: Float>(x: T, best: T) -> bool {
    (x == best) | (x.is_nan() & best.is_nan())
}

/// Whether a later element takes over: it is larger, or the first `NaN`.
#[inline(always)]
fn better<T: Float>(x: T, best: T) -> bool {
    (x > best) | (x.is_nan() & !best.is_nan())
}

/// Fills one image of the result with zeros.
///
/// # Safety
/// `start` is the image's first element, and all of them may be written.
#[inline(always)]
unsafe fn zero<T: Float>(work: &Window, start: *mut T) {
    let s = &work.out.strides;
    let size = work.input.iter().product::<usize>() * work.channels;
    // The axes from the smallest stride up: without gaps the image is one run.
    let mut axes =
        [(s[1], work.channels), (s[2], work.input[0]), (s[3], work.input[1]), (s[4], work.input[2])];
    axes.sort_unstable();
    let mut expected = 1;
    let dense = axes.iter().all(|&(stride, size)| {
        let fits = stride == expected || size == 1;
        expected *= size as isize;
        fits
    });
    // SAFETY: the caller's promise.
    unsafe {
        if dense {
            start.write_bytes(0, size);
            return;
        }
        for z in 0..work.input[0] {
            for y in 0..work.input[1] {
                for x in 0..work.input[2] {
                    for channel in 0..work.channels {
                        let at = z as isize * s[2]
                            + y as isize * s[3]
                            + x as isize * s[4]
                            + channel as isize * s[1];
                        start.offset(at).write(T::default());
                    }
                }
            }
        }
    }
}
