//! Pooling and its adjoints for floats, a run of channels at a time: one vector each in channels-last images.

use kiln_compile::program::{View, Window, WindowKind};
use kiln_ir::DType;

use super::bases::Bases;
use super::naive;
use super::prepare::Call;
use super::simd::{Level, level};
use super::threads::parallel;

/// Channels that are read and written together.
const WIDE: usize = 64;
/// The most elements of a window that is done here.
const MOST_TAPS: usize = 32;
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

/// A run of channels: where it lies if that is without gaps, else copied together.
///
/// # Safety
/// The elements exist, and nobody writes them meanwhile.
#[inline(always)]
unsafe fn read<T: Float>(from: *const T, stride: isize, n: usize, room: &mut [T; WIDE]) -> &[T] {
    // SAFETY: the caller's promise; `n` is at most the room.
    unsafe {
        if stride == 1 {
            return std::slice::from_raw_parts(from, n);
        }
        for (lane, value) in room.iter_mut().enumerate().take(n) {
            *value = from.offset(lane as isize * stride).read();
        }
        &room[..n]
    }
}

/// Changes a run of channels in place.
///
/// # Safety
/// They may be read and written.
#[inline(always)]
unsafe fn change<T: Float>(to: *mut T, stride: isize, n: usize, room: &mut [T; WIDE], f: impl Fn(&mut [T])) {
    // SAFETY: the caller's promise; `n` is at most the room.
    unsafe {
        if stride == 1 {
            return f(std::slice::from_raw_parts_mut(to, n));
        }
        for (lane, value) in room.iter_mut().enumerate().take(n) {
            *value = to.offset(lane as isize * stride).read();
        }
        f(&mut room[..n]);
        for (lane, value) in room.iter().enumerate().take(n) {
            to.offset(lane as isize * stride).write(*value);
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
            let mut places = [(0u32, [0usize; 3]); MOST_TAPS];
            let mut count = 0;
            for tap in 0..taps {
                if let Some(at) = place(tap) {
                    places[count] = (tap as u32, at);
                    count += 1;
                }
            }
            let places = &places[..count];
            for channel in (0..work.channels).step_by(WIDE) {
                let n = WIDE.min(work.channels - channel);
                let at = |view: &View, [z, y, x]: [usize; 3]| {
                    pixel(view, z, y, x).wrapping_offset(channel as isize * view.strides[1])
                };
                let step = |view: &View| view.strides[1];
                let out = &work.out;
                let (mut room, mut other) = ([T::default(); WIDE], [T::default(); WIDE]);
                // SAFETY: the elements exist, by the check of the program; operands aren't the result.
                unsafe {
                    match work.kind {
                        WindowKind::Sum => change(at(out, o), step(out), n, &mut other, |sums| {
                            sums.fill(T::default());
                            for &(_, from) in places {
                                let mut room = [T::default(); WIDE];
                                let x = read(at(first, from).cast_const(), step(first), n, &mut room);
                                for (sum, &x) in sums.iter_mut().zip(x) {
                                    *sum = *sum + x;
                                }
                            }
                        }),
                        WindowKind::SumGrad => {
                            let g = read(at(first, o).cast_const(), step(first), n, &mut room);
                            for &(_, to) in places {
                                change(at(out, to), step(out), n, &mut other, |sums| {
                                    for (sum, &g) in sums.iter_mut().zip(g) {
                                        *sum = *sum + g;
                                    }
                                });
                            }
                        }
                        WindowKind::Pick if same => change(at(out, o), step(out), n, &mut other, |best| {
                            best.fill(T::default());
                            for (position, &(_, from)) in places.iter().enumerate() {
                                let mut room = [T::default(); WIDE];
                                let x = read(at(first, from).cast_const(), step(first), n, &mut room);
                                if position == 0 {
                                    best.copy_from_slice(x);
                                    continue;
                                }
                                for (best, &x) in best.iter_mut().zip(x) {
                                    *best = if better(x, *best) { x } else { *best };
                                }
                            }
                        }),
                        WindowKind::Pick | WindowKind::Spread => {
                            let mut best = [T::default(); WIDE];
                            let mut winner = [u32::MAX; WIDE];
                            for (position, &(tap, from)) in places.iter().enumerate() {
                                let x = read(at(first, from).cast_const(), step(first), n, &mut room);
                                if position == 0 {
                                    best[..n].copy_from_slice(x);
                                    winner[..n].fill(tap);
                                    continue;
                                }
                                for ((best, winner), &x) in best.iter_mut().zip(&mut winner).zip(x) {
                                    let wins = better(x, *best);
                                    *best = if wins { x } else { *best };
                                    *winner = if wins { tap } else { *winner };
                                }
                            }
                            let winner = &winner[..n];
                            if work.kind == WindowKind::Pick {
                                change(at(out, o), step(out), n, &mut other, |picked| {
                                    picked.fill(T::default());
                                    for &(tap, from) in places {
                                        let mut room = [T::default(); WIDE];
                                        let v =
                                            read(at(second, from).cast_const(), step(second), n, &mut room);
                                        for ((picked, &winner), &v) in picked.iter_mut().zip(winner).zip(v) {
                                            *picked = if winner == tap { v } else { *picked };
                                        }
                                    }
                                });
                                continue;
                            }
                            let g = read(at(second, o).cast_const(), step(second), n, &mut room);
                            for &(tap, to) in places {
                                change(at(out, to), step(out), n, &mut other, |sums| {
                                    for ((sum, &winner), &g) in sums.iter_mut().zip(winner).zip(g) {
                                        *sum = *sum + if winner == tap { g } else { T::default() };
                                    }
                                });
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
