//! Pooling and its adjoints for floats, a run of channels at a time: one vector each in channels-last images.

use kiln_compile::program::{View, Window, WindowKind};
use kiln_ir::DType;

use super::bases::Bases;
use super::naive;
use super::prepare::Call;
use super::simd::{Level, level, one_chunk_at_a_time};
use super::threads::parallel;

/// Channels that are read and written together.
const LANES: usize = 16;
/// The most elements of a window that is done here.
const MOST_TAPS: usize = 128;
/// Elements that are worth a task of their own.
const GRAIN: usize = 16 * 1024;

/// A pooling operation made ready.
pub(super) fn window(work: &Window) -> Call {
    match work.out.dtype {
        _ if work.window.iter().product::<usize>() > MOST_TAPS => naive::window(work),
        DType::F32 if work.operands.iter().all(|view| view.dtype == DType::F32) => run::<f32>(work),
        DType::F64 if work.operands.iter().all(|view| view.dtype == DType::F64) => run::<f64>(work),
        _ => naive::window(work),
    }
}

fn run<T: Float>(work: &Window) -> Call {
    let work = work.clone();
    let rows = chooser::<T>(level());
    // Gradients of one image overlap; results don't.
    let whole_images = matches!(work.kind, WindowKind::Spread | WindowKind::SumGrad);
    let lines = work.output[0] * work.output[1];
    Box::new(move |bases| {
        let size = work.input.iter().product::<usize>() * work.channels;
        let each = if whole_images { 1 } else { (GRAIN * lines / size.max(1)).clamp(1, lines.max(1)) };
        let parts = if whole_images { 1 } else { lines.div_ceil(each) };
        let together = (GRAIN / size.max(1)).max(1);
        if !whole_images && parts > 1 {
            parallel(work.batch * parts, &|task| {
                let (image, part) = (task / parts, task % parts);
                // SAFETY: the program was checked when it was loaded; each task has lines of its own.
                unsafe { rows(&work, bases, image, part * each..((part + 1) * each).min(lines)) };
            });
        } else {
            parallel(work.batch.div_ceil(together), &|task| {
                for image in task * together..((task + 1) * together).min(work.batch) {
                    // SAFETY: as above; each task has images of its own.
                    unsafe { rows(&work, bases, image, 0..lines) };
                }
            });
        }
        Ok(())
    })
}

/// Float elements.
trait Float: Copy + PartialOrd + std::ops::Add<Output = Self> + Default + Send + Sync + 'static {
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

/// Does some lines of windows of one image.
type Rows = unsafe fn(&Window, &Bases, usize, std::ops::Range<usize>);

macro_rules! level {
    ($module:ident $(, #[$feature:meta])?) => {
        mod $module {
            /// # Safety
            /// As [`super::lines`], on a processor with this level.
            $(#[$feature])?
            pub(super) unsafe fn run<T: super::Float>(
                work: &super::Window,
                bases: &super::Bases,
                image: usize,
                range: std::ops::Range<usize>,
            ) {
                // SAFETY: the caller's promise.
                unsafe { super::lines::<T>(work, bases, image, range) }
            }
        }
    };
}

level!(portable);
#[cfg(target_arch = "x86_64")]
level!(avx2, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
level!(avx512, #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]);

fn chooser<T: Float>(level: Level) -> Rows {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::run::<T>,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::run::<T>,
        _ => portable::run::<T>,
    }
}

/// Reads up to [`LANES`] elements.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn load<T: Float>(from: *const T, stride: isize, n: usize) -> [T; LANES] {
    // SAFETY: the caller's promise.
    unsafe {
        if stride == 1 && n == LANES {
            return from.cast::<[T; LANES]>().read_unaligned();
        }
        let mut values = [T::default(); LANES];
        for (lane, value) in values.iter_mut().enumerate().take(n) {
            *value = from.offset(lane as isize * stride).read();
        }
        values
    }
}

/// Writes up to [`LANES`] elements.
///
/// # Safety
/// They may be written.
#[inline(always)]
unsafe fn store<T: Float>(to: *mut T, stride: isize, n: usize, values: [T; LANES]) {
    // SAFETY: the caller's promise.
    unsafe {
        if stride == 1 && n == LANES {
            to.cast::<[T; LANES]>().write_unaligned(values);
            return;
        }
        for (lane, value) in values.into_iter().enumerate().take(n) {
            to.offset(lane as isize * stride).write(value);
        }
    }
}

/// The windows of some lines of one image; for adjoints of all of its lines, after it was filled with zeros.
///
/// # Safety
/// The program was checked; nobody else writes the image's result (or these lines of it).
#[inline(always)]
unsafe fn lines<T: Float>(work: &Window, bases: &Bases, image: usize, range: std::ops::Range<usize>) {
    let first = &work.operands[0];
    let second = work.operands.last().unwrap_or(first);
    let same = first == second;
    let pixel = |view: &View, z: usize, y: usize, x: usize| {
        let s = &view.strides;
        bases.origin::<T>(view).wrapping_offset(
            image as isize * s[0] + z as isize * s[2] + y as isize * s[3] + x as isize * s[4],
        )
    };
    let spreads = matches!(work.kind, WindowKind::Spread | WindowKind::SumGrad);
    if spreads {
        // SAFETY: the caller's promise.
        unsafe { zero::<T>(work, bases, image) };
    }
    let taps = work.window.iter().product::<usize>().min(MOST_TAPS);
    for line in range {
        let (oz, oy) = (line / work.output[1], line % work.output[1]);
        for ox in 0..work.output[2] {
            let o = [oz, oy, ox];
            // Where a window position lies in the image, if it isn't padding.
            let place = |tap: usize| -> Option<[usize; 3]> {
                let (w1, w2) = (work.window[1], work.window[2]);
                let k = [tap / (w1 * w2), tap / w2 % w1, tap % w2];
                let mut at = [0; 3];
                for a in 0..3 {
                    at[a] = (o[a] * work.stride[a] + k[a] * work.dilation[a]).wrapping_sub(work.pad[a]);
                    if at[a] >= work.input[a] {
                        return None;
                    }
                }
                Some(at)
            };
            // Worked out once for all channels; wider windows go the plain way.
            let mut places = [None; MOST_TAPS];
            for (tap, slot) in places.iter_mut().enumerate().take(taps) {
                *slot = place(tap);
            }
            for channel in (0..work.channels).step_by(LANES) {
                one_chunk_at_a_time();
                let n = LANES.min(work.channels - channel);
                let at = |view: &View, [z, y, x]: [usize; 3]| {
                    pixel(view, z, y, x).wrapping_offset(channel as isize * view.strides[1])
                };
                // SAFETY: the elements exist, by the check of the program.
                unsafe {
                    let read = |view: &View, place: [usize; 3]| {
                        load(at(view, place).cast_const(), view.strides[1], n)
                    };
                    let write = |place: [usize; 3], values: [T; LANES]| {
                        store(at(&work.out, place), work.out.strides[1], n, values);
                    };
                    match work.kind {
                        WindowKind::Pick => {
                            let mut best = [T::default(); LANES];
                            let mut picked = [T::default(); LANES];
                            let mut any = false;
                            for tap in 0..taps {
                                let Some(from) = places[tap] else { continue };
                                let x = read(first, from);
                                let v = if same { x } else { read(second, from) };
                                if !any {
                                    (best, picked, any) = (x, v, true);
                                    continue;
                                }
                                for lane in 0..LANES {
                                    let wins = better(x[lane], best[lane]);
                                    best[lane] = if wins { x[lane] } else { best[lane] };
                                    picked[lane] = if wins { v[lane] } else { picked[lane] };
                                }
                            }
                            write(o, picked);
                        }
                        WindowKind::Sum => {
                            let mut sum = [T::default(); LANES];
                            for tap in 0..taps {
                                let Some(from) = places[tap] else { continue };
                                let x = read(first, from);
                                for lane in 0..LANES {
                                    sum[lane] = sum[lane] + x[lane];
                                }
                            }
                            write(o, sum);
                        }
                        WindowKind::SumGrad => {
                            let g = read(first, o);
                            for tap in 0..taps {
                                let Some(to) = places[tap] else { continue };
                                let mut sum = read(&work.out, to);
                                for lane in 0..LANES {
                                    sum[lane] = sum[lane] + g[lane];
                                }
                                write(to, sum);
                            }
                        }
                        WindowKind::Spread => {
                            let g = read(second, o);
                            let mut best = [T::default(); LANES];
                            let mut winner = [usize::MAX as u32; LANES];
                            for tap in 0..taps {
                                let Some(from) = places[tap] else { continue };
                                let x = read(first, from);
                                for lane in 0..LANES {
                                    let wins = winner[lane] == u32::MAX || better(x[lane], best[lane]);
                                    best[lane] = if wins { x[lane] } else { best[lane] };
                                    winner[lane] = if wins { tap as u32 } else { winner[lane] };
                                }
                            }
                            for tap in 0..taps {
                                let Some(to) = places[tap] else { continue };
                                let mut sum = read(&work.out, to);
                                for lane in 0..LANES {
                                    let share =
                                        if winner[lane] == tap as u32 { g[lane] } else { T::default() };
                                    sum[lane] = sum[lane] + share;
                                }
                                write(to, sum);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a later element takes over: it is larger, or the first `NaN`.
#[inline(always)]
fn better<T: Float>(x: T, best: T) -> bool {
    x > best || (x.is_nan() && !best.is_nan())
}

/// Fills one image of the result with zeros.
///
/// # Safety
/// As [`lines`].
#[inline(always)]
unsafe fn zero<T: Float>(work: &Window, bases: &Bases, image: usize) {
    let s = &work.out.strides;
    let start = bases.origin::<T>(&work.out).wrapping_offset(image as isize * s[0]);
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
