//! The loops that fold: a run of lanes to one, or whole chunks into the lanes of one, as the order of all folds says.

use std::ops::Range;

use super::functions::Add;
use super::loops::{Lane, LaneFunction, Loop, SingleFunction, Summand};
use crate::simd::{Level, Simd, one_chunk_at_a_time, stamp};

/// Lanes that points are folded in: number `i` of a part into lane `i % 16`; then the upper half of the lanes into the lower, and so on.
pub(super) const FOLD_LANES: usize = 16;
/// Points that are a part, and the most parts.
const POINTS: usize = 1024;
const MOST_PARTS: usize = 32;

/// In how many parts so many points are folded, one after the other into the first's result. That follows from their number alone: not from how
/// they lie, how many such folds there are or what else is computed on the way.
pub(super) fn parts(points: usize) -> usize {
    (points / POINTS).clamp(1, MOST_PARTS)
}

/// The points of a part.
pub(super) fn part(points: usize, number: usize) -> Range<usize> {
    let parts = parts(points);
    points * number / parts..points * (number + 1) / parts
}

stamp! {
    fn line_of<T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(
        out: *mut u8, a: *const u8, neutral: *const u8, _c: *const u8, n: usize,
    ) = line::<Here, T, F>;
    fn chunks_of<T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(
        sums: *mut u8, a: *const u8, _b: *const u8, _c: *const u8, n: usize,
    ) = chunks::<Here, T, F>;
    fn made_line_of<F: SingleFunction, M: Summand>(
        out: *mut u8, a: *const u8, b: *const u8, sum: *const u8, n: usize,
    ) = made_line::<Here, F, M>;
}

stamp! {
    static PRODUCT_LINE: fn(out: *mut u8, a: *const u8, neutral: *const u8, b: *const u8, n: usize) = product_line::<Here>;
    static PRODUCT_CHUNKS: fn(sums: *mut u8, a: *const u8, b: *const u8, _c: *const u8, n: usize) = product_chunks::<Here>;
}

/// Folds `n` lanes, at least one, to a single one, as [`parts`] says. `chunk` makes the lanes from one on, `lane` a single one.
#[inline(always)]
fn folded<S: Simd, T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(
    neutral: T,
    n: usize,
    chunk: impl Fn(usize) -> [T; FOLD_LANES],
    lane: impl Fn(usize) -> T,
) -> T {
    let mut total = neutral;
    for number in 0..parts(n) {
        let Range { start, end } = part(n, number);
        let mut sums = [neutral; FOLD_LANES];
        let whole = start + (end - start) / FOLD_LANES * FOLD_LANES;
        whole_chunks::<S, T, F>(&mut sums, start..whole, &chunk);
        for (sum, at) in sums.iter_mut().zip(whole..end) {
            *sum = F::call::<S>(*sum, lane(at), *sum);
        }
        // In arrays of their own the halves stay in registers. What the compiler sees of them must not reach into the loop, which it
        // would make of pairs of lanes to suit them.
        let eight = halved::<S, T, F, FOLD_LANES, 8>(std::hint::black_box(sums));
        let four = halved::<S, T, F, 8, 4>(eight);
        let [sum] = halved::<S, T, F, 2, 1>(halved::<S, T, F, 4, 2>(four));
        total = if number == 0 { sum } else { F::call::<S>(total, sum, total) };
    }
    total
}

/// The upper half of some lanes folded into the lower.
#[inline(always)]
fn halved<S: Simd, T: Lane, F, const ALL: usize, const HALF: usize>(lanes: [T; ALL]) -> [T; HALF]
where
    F: LaneFunction<A = T, B = T, C = T, Out = T>,
{
    std::array::from_fn(|lane| F::call::<S>(lanes[lane], lanes[lane + HALF], lanes[lane]))
}

/// Folds whole chunks of lanes into the sums of one.
#[inline(always)]
fn whole_chunks<S: Simd, T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(
    sums: &mut [T; FOLD_LANES],
    lanes: Range<usize>,
    chunk: impl Fn(usize) -> [T; FOLD_LANES],
) {
    if const { !F::NAN_APART } {
        for at in lanes.step_by(FOLD_LANES) {
            one_chunk_at_a_time();
            let x = chunk(at);
            for lane in 0..FOLD_LANES {
                sums[lane] = F::call::<S>(sums[lane], x[lane], sums[lane]);
            }
        }
        return;
    }
    let mut found = *sums;
    for at in lanes.step_by(FOLD_LANES) {
        one_chunk_at_a_time();
        let x = chunk(at);
        for lane in 0..FOLD_LANES {
            sums[lane] = F::of_numbers::<S>(sums[lane], x[lane], sums[lane]);
        }
        for lane in 0..FOLD_LANES {
            found[lane] = if x[lane].is_nan() { x[lane] } else { found[lane] };
        }
    }
    for lane in 0..FOLD_LANES {
        sums[lane] = if found[lane].is_nan() { found[lane] } else { sums[lane] };
    }
}

/// The lanes of a chunk.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn chunk_at<T: Lane>(from: *const T, at: usize) -> [T; FOLD_LANES] {
    // SAFETY: the caller's promise.
    unsafe { from.add(at).cast::<[T; FOLD_LANES]>().read_unaligned() }
}

/// Folds a run of lanes to one; `neutral` is one lane.
///
/// # Safety
/// As [`lanes`]; the function takes and gives one lane type.
#[inline(always)]
unsafe fn line<S: Simd, T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(
    out: *mut u8,
    a: *const u8,
    neutral: *const u8,
    _: *const u8,
    n: usize,
) {
    let a = a.cast::<T>();
    // SAFETY: lanes below `n` are there, by the caller's promise.
    unsafe {
        let neutral = neutral.cast::<T>().read_unaligned();
        let total = folded::<S, T, F>(neutral, n, |at| chunk_at(a, at), |at| a.add(at).read_unaligned());
        out.cast::<T>().write_unaligned(total);
    }
}

/// The sum of the products of two runs of lanes, each product rounded as if it were kept.
///
/// # Safety
/// As [`lanes`].
#[inline(always)]
unsafe fn product_line<S: Simd>(out: *mut u8, a: *const u8, neutral: *const u8, b: *const u8, n: usize) {
    let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
    // SAFETY: lanes below `n` are there, by the caller's promise.
    unsafe {
        let neutral = neutral.cast::<f32>().read_unaligned();
        let total = folded::<S, f32, Add<f32>>(
            neutral,
            n,
            |at| product_chunk(a, b, at),
            |at| a.add(at).read_unaligned() * b.add(at).read_unaligned(),
        );
        out.cast::<f32>().write_unaligned(total);
    }
}

/// # Safety
/// As [`chunk_at`].
#[inline(always)]
unsafe fn product_chunk(a: *const f32, b: *const f32, at: usize) -> [f32; FOLD_LANES] {
    // SAFETY: the caller's promise.
    let (mut x, y) = unsafe { (chunk_at(a, at), chunk_at(b, at)) };
    for lane in 0..FOLD_LANES {
        x[lane] *= y[lane];
    }
    x
}

/// `F` of a run of lanes and one value, which is written; and the sum of what `M` makes of it, into `sum`.
///
/// # Safety
/// As [`lanes`]; `sum` is one lane, apart from the others.
#[inline(always)]
unsafe fn made_line<S: Simd, F: SingleFunction, M: Summand>(
    out: *mut u8,
    a: *const u8,
    b: *const u8,
    sum: *const u8,
    n: usize,
) {
    let (out, a) = (out.cast::<f32>(), a.cast::<f32>());
    // SAFETY: lanes below `n` are there, by the caller's promise.
    unsafe {
        let b = b.cast::<f32>().read_unaligned();
        let total = folded::<S, f32, Add<f32>>(
            // What a sum starts from.
            0.0,
            n,
            |at| {
                let mut x = chunk_at(a, at);
                for lane in 0..FOLD_LANES {
                    x[lane] = F::call::<S>(x[lane], b, b);
                }
                out.add(at).cast::<[f32; FOLD_LANES]>().write_unaligned(x);
                x.map(M::of)
            },
            |at| {
                let x = F::call::<S>(a.add(at).read_unaligned(), b, b);
                out.add(at).write_unaligned(x);
                M::of(x)
            },
        );
        sum.cast_mut().cast::<f32>().write_unaligned(total);
    }
}

/// Folds `n` lanes, which are whole chunks, into the sums of one chunk.
///
/// # Safety
/// As [`line`].
#[inline(always)]
unsafe fn chunks<S: Simd, T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(
    sums: *mut u8,
    a: *const u8,
    _: *const u8,
    _: *const u8,
    n: usize,
) {
    let a = a.cast::<T>();
    // SAFETY: the caller's promise.
    unsafe {
        let sums = sums.cast::<[T; FOLD_LANES]>();
        let mut local = sums.read_unaligned();
        whole_chunks::<S, T, F>(&mut local, 0..n, |at| chunk_at(a, at));
        sums.write_unaligned(local);
    }
}

/// Adds the products of `n` lanes, which are whole chunks, to the sums of one chunk.
///
/// # Safety
/// As [`line`].
#[inline(always)]
unsafe fn product_chunks<S: Simd>(sums: *mut u8, a: *const u8, b: *const u8, _: *const u8, n: usize) {
    let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
    // SAFETY: the caller's promise.
    unsafe {
        let sums = sums.cast::<[f32; FOLD_LANES]>();
        let mut local = sums.read_unaligned();
        whole_chunks::<S, f32, Add<f32>>(&mut local, 0..n, |at| product_chunk(a, b, at));
        sums.write_unaligned(local);
    }
}

/// The loop that folds a run of lanes to one by a function.
pub(super) fn line_fold_of<T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(level: Level) -> Loop {
    line_of::<T, F>().at(level)
}

/// The loop that folds whole chunks of lanes into one by a function.
pub(super) fn chunk_fold_of<T: Lane, F: LaneFunction<A = T, B = T, C = T, Out = T>>(level: Level) -> Loop {
    chunks_of::<T, F>().at(level)
}

/// The loop that sums products: of two runs of lanes to one, or of whole chunks into one.
pub(super) fn product_fold(level: Level) -> [Loop; 2] {
    [PRODUCT_LINE.at(level), PRODUCT_CHUNKS.at(level)]
}

/// The loop that writes a function of a run of lanes and one value, and sums what another makes of it.
pub(super) fn made_fold_of<F: SingleFunction, M: Summand>(level: Level) -> Loop {
    made_line_of::<F, M>().at(level)
}

#[cfg(test)]
mod tests {
    use super::super::functions::{Itself, Larger, Smaller, Square, Sub, SubExp};
    use super::super::loops::{of_three, of_two};
    use super::*;
    use crate::fused::functions::MulAdd;

    /// Lengths with and without a rest, of one part and of several.
    const LENGTHS: [usize; 9] = [1, 15, 16, 17, 65, 1000, 1024, 2049, 5000];

    fn numbers(n: usize, seed: i64) -> Vec<f32> {
        (0..n).map(|at| kiln_ir::random::uniform(seed, at as i64) * 4.0 - 2.0).collect()
    }

    /// Runs a loop over `n` lanes.
    fn run(run: Loop, out: &mut [f32], [a, b, c]: [*const f32; 3], n: usize) {
        // SAFETY: the tests give operands of so many lanes, and levels of this machine.
        unsafe { run(out.as_mut_ptr().cast(), a.cast(), b.cast(), c.cast(), n) };
    }

    fn sum(level: Level, x: &[f32]) -> f32 {
        let mut out = [0.0];
        run(line_fold_of::<f32, Add<f32>>(level), &mut out, [x.as_ptr(), &0.0, x.as_ptr()], x.len());
        out[0]
    }

    #[test]
    fn a_sum_made_on_the_way_is_the_sum_of_what_was_made() {
        fn check<F: SingleFunction, M: Summand>(level: Level, n: usize) {
            let (x, one) = (numbers(n, 1), 0.75f32);
            let (mut apart, mut together, mut total) = (vec![0.0; n], vec![0.0; n], 0.0f32);
            run(of_two::<F>(level, [false, true]), &mut apart, [x.as_ptr(), &one, x.as_ptr()], n);
            run(made_fold_of::<F, M>(level), &mut together, [x.as_ptr(), &one, &raw mut total], n);
            let summands: Vec<f32> = apart.iter().map(|&x| M::of(x)).collect();
            assert_eq!(apart, together, "{n} lanes, {}", level.name());
            assert_eq!(sum(level, &summands).to_bits(), total.to_bits(), "{n} lanes, {}", level.name());
        }
        for level in Level::all_here() {
            for n in LENGTHS {
                check::<SubExp, Itself>(level, n);
                check::<Sub<f32>, Square>(level, n);
            }
        }
    }

    #[test]
    fn a_sum_of_products_is_that_of_the_products_kept() {
        for level in Level::all_here() {
            let [line, chunks] = product_fold(level);
            for n in LENGTHS {
                let (a, b) = (numbers(n, 1), numbers(n, 2));
                let products: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
                let mut out = [0.0];
                run(line, &mut out, [a.as_ptr(), &0.0, b.as_ptr()], n);
                assert_eq!(sum(level, &products).to_bits(), out[0].to_bits(), "{n} lanes, {}", level.name());
                let whole = n / FOLD_LANES * FOLD_LANES;
                let [mut kept, mut folded, mut lanes] =
                    [numbers(FOLD_LANES, 3), numbers(FOLD_LANES, 3), numbers(FOLD_LANES, 3)];
                let sums = products.as_ptr();
                run(chunk_fold_of::<f32, Add<f32>>(level), &mut kept, [sums; 3], whole);
                run(chunks, &mut folded, [a.as_ptr(), b.as_ptr(), a.as_ptr()], whole);
                for at in (0..whole).step_by(FOLD_LANES) {
                    let (a, b, before) = (a[at..].as_ptr(), b[at..].as_ptr(), lanes.as_ptr());
                    run(of_three::<MulAdd>(level, [false; 3]), &mut lanes, [a, b, before], FOLD_LANES);
                }
                assert_eq!((&kept, &kept), (&folded, &lanes), "{n} lanes, {}", level.name());
            }
        }
    }

    #[test]
    fn an_extreme_is_nan_wherever_a_lane_is_and_else_the_function_s() {
        fn check<F: SingleFunction>(level: Level, start: f32, n: usize, nan: Option<usize>) {
            let mut x = numbers(n, 1);
            x[0] = -0.0;
            if let Some(at) = nan {
                x[at] = f32::NAN;
            }
            let (mut out, mut chunks) = ([0.0], vec![start; FOLD_LANES]);
            run(line_fold_of::<f32, F>(level), &mut out, [x.as_ptr(), &start, x.as_ptr()], n);
            let expected = x.iter().fold(start, |sum, &x| F::call::<crate::simd::Portable>(sum, x, sum));
            let same = |a: f32, b: f32| a == b || a.is_nan() && b.is_nan();
            assert!(same(out[0], expected), "{} of {n}, {nan:?}, {}", out[0], level.name());
            let whole = n / FOLD_LANES * FOLD_LANES;
            for x in [x.as_ptr(), numbers(n, 2).as_ptr()] {
                run(chunk_fold_of::<f32, F>(level), &mut chunks, [x; 3], whole);
            }
            let lost = nan.is_some_and(|at| at < whole && !chunks[at % FOLD_LANES].is_nan());
            assert!(!lost, "{n}, {nan:?}, {}", level.name());
        }
        for level in Level::all_here() {
            for n in LENGTHS {
                for nan in [None, Some(0), Some(n / 2), Some(n - 1)] {
                    check::<Larger<f32>>(level, f32::NEG_INFINITY, n, nan);
                    check::<Smaller<f32>>(level, f32::INFINITY, n, nan);
                }
            }
        }
    }
}
