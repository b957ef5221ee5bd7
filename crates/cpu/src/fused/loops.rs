//! The loops of the block interpreter: one for each function and lane type, compiled for every level of the processor.
//!
//! A loop reads a chunk of lanes before it writes it, so the result may go exactly where an operand is.

use crate::simd::{Level, Portable, Simd, Stamped, one_chunk_at_a_time, stamp};

/// A number type that registers hold.
pub(super) trait Lane: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// Whether loops over it, and not `f32`, take little of the time of any program worth mentioning.
    const SELDOM: bool = true;

    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
}
impl Lane for f32 {
    const SELDOM: bool = false;

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}
impl Lane for f64 {
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}
impl Lane for i32 {}
impl Lane for i64 {}

/// A loop over up to three operands: result, operands, how many lanes. Operands that are one value for all lanes are read
/// at their first lane only.
pub(super) type Loop = unsafe fn(*mut u8, *const u8, *const u8, *const u8, usize);

/// What a loop does with each lane.
pub(super) trait LaneFunction {
    type A: Lane;
    type B: Lane;
    type C: Lane;
    type Out: Lane;
    fn call<S: Simd>(a: Self::A, b: Self::B, c: Self::C) -> Self::Out;

    /// Whether a lane is one of the few that `call` isn't made for. A chunk with such a lane is computed by
    /// [`LaneFunction::call_rarely`], so that the others are free of branches.
    #[inline(always)]
    fn is_rare(_: Self::A) -> bool {
        false
    }

    /// What becomes of a lane in such a chunk.
    #[inline(always)]
    fn call_rarely(a: Self::A, b: Self::B, c: Self::C) -> Self::Out {
        Self::call::<Portable>(a, b, c)
    }

    /// Whether a fold by it looks for `NaN` apart, and takes [`LaneFunction::of_numbers`] for the rest: with both in one choice each
    /// would wait for the last for three times as long.
    const NAN_APART: bool = false;

    /// What it gives for two numbers.
    #[inline(always)]
    fn of_numbers<S: Simd>(a: Self::A, b: Self::B, c: Self::C) -> Self::Out {
        Self::call::<S>(a, b, c)
    }

    /// Whether no level has vectors for it (a call of the mathematical library, a division of integers), so that one
    /// copy of its loop serves all, lane by lane.
    const SCALAR: bool = false;
}

/// A function of `f32` alone.
pub(super) trait SingleFunction: LaneFunction<A = f32, B = f32, C = f32, Out = f32> {}
impl<F: LaneFunction<A = f32, B = f32, C = f32, Out = f32>> SingleFunction for F {}

/// A lane as it is folded into a sum, once it was computed and written.
pub(super) trait Summand {
    fn of(x: f32) -> f32;
}

/// Lanes that are read, computed and written together.
const CHUNK: usize = 16;

stamp! {
    fn lanes_of<F: LaneFunction>[const ONE_A: bool, const ONE_B: bool, const ONE_C: bool](
        out: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize,
    ) = lanes::<Here, F, ONE_A, ONE_B, ONE_C>;
}

stamp! {
    fn seldom_of<F: LaneFunction>[const ONE_A: bool, const ONE_B: bool, const ONE_C: bool](
        out: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize,
    ) = lanes::<Here, F, ONE_A, ONE_B, ONE_C>, at most avx2;
}

/// Whether neither operand nor result of a function is `f32`.
const fn is_seldom<F: LaneFunction>() -> bool {
    F::A::SELDOM && F::Out::SELDOM
}

/// The loops of `F`, as many copies as are worth compiling.
const fn loops_of<F: LaneFunction, const ONE_A: bool, const ONE_B: bool, const ONE_C: bool>() -> Stamped<Loop>
{
    if const { F::SCALAR } {
        let all: Loop = lanes::<Portable, F, ONE_A, ONE_B, ONE_C>;
        Stamped { portable: all, avx2: all, avx512: all, neon: all }
    } else if const { is_seldom::<F>() } {
        seldom_of::<F, ONE_A, ONE_B, ONE_C>()
    } else {
        lanes_of::<F, ONE_A, ONE_B, ONE_C>()
    }
}

/// The loop of `F`; `ONE_A` and so on say which operands are one value for all lanes.
///
/// # Safety
/// The processor has the level's features; `n` lanes of the result and of each operand are there (one of those that are
/// one value), and the result is apart from an operand or exactly on it.
#[inline(always)]
unsafe fn lanes<S: Simd, F: LaneFunction, const ONE_A: bool, const ONE_B: bool, const ONE_C: bool>(
    out: *mut u8,
    a: *const u8,
    b: *const u8,
    c: *const u8,
    n: usize,
) {
    let (out, a, b, c) = (out.cast::<F::Out>(), a.cast::<F::A>(), b.cast::<F::B>(), c.cast::<F::C>());
    // SAFETY: lanes below `n` are there, by the caller's promise; chunks end before it.
    unsafe {
        let (one_a, one_b, one_c) = (a.read_unaligned(), b.read_unaligned(), c.read_unaligned());
        let mut i = 0;
        let whole = if F::SCALAR { 0 } else { n - n % CHUNK };
        while i < whole {
            one_chunk_at_a_time();
            let x = if ONE_A { [one_a; CHUNK] } else { a.add(i).cast::<[F::A; CHUNK]>().read_unaligned() };
            let y = if ONE_B { [one_b; CHUNK] } else { b.add(i).cast::<[F::B; CHUNK]>().read_unaligned() };
            let z = if ONE_C { [one_c; CHUNK] } else { c.add(i).cast::<[F::C; CHUNK]>().read_unaligned() };
            let mut r = [F::Out::default(); CHUNK];
            let mut rare = false;
            for lane in 0..CHUNK {
                rare |= F::is_rare(x[lane]);
            }
            if rare {
                for lane in 0..CHUNK {
                    r[lane] = F::call_rarely(x[lane], y[lane], z[lane]);
                }
            } else {
                for lane in 0..CHUNK {
                    r[lane] = F::call::<S>(x[lane], y[lane], z[lane]);
                }
            }
            out.add(i).cast::<[F::Out; CHUNK]>().write_unaligned(r);
            i += CHUNK;
        }
        if !F::SCALAR {
            // Fewer than a chunk: no loop is unrolled for them, nor made vectors wider than a few lanes.
            std::hint::assert_unchecked(n - i < CHUNK);
        }
        while i < n {
            if const { F::SCALAR || is_seldom::<F>() } {
                one_chunk_at_a_time();
            }
            let x = if ONE_A { one_a } else { a.add(i).read_unaligned() };
            let y = if ONE_B { one_b } else { b.add(i).read_unaligned() };
            let z = if ONE_C { one_c } else { c.add(i).read_unaligned() };
            let rare = F::is_rare(x);
            let value = if rare { F::call_rarely(x, y, z) } else { F::call::<S>(x, y, z) };
            out.add(i).write_unaligned(value);
            i += 1;
        }
    }
}

/// A loop of four operands: `a · by · b + c` in `f32`, each operation rounded. In two loops the product in between is stored among results
/// that wait for their lines of the cache, and read again behind them.
pub(super) type ScaledLoop = unsafe fn(*mut u8, *const u8, *const u8, *const u8, *const u8, usize);

stamp! {
    fn scaled_of[const ONE: bool](
        out: *mut u8, a: *const u8, by: *const u8, b: *const u8, c: *const u8, n: usize,
    ) = scaled_lanes::<ONE>;
}

/// The loop of that; `ONE`: `by` is one value for all lanes.
///
/// # Safety
/// As [`lanes`].
#[inline(always)]
unsafe fn scaled_lanes<const ONE: bool>(
    out: *mut u8,
    a: *const u8,
    by: *const u8,
    b: *const u8,
    c: *const u8,
    n: usize,
) {
    let (out, a, by) = (out.cast::<f32>(), a.cast::<f32>(), by.cast::<f32>());
    let (b, c) = (b.cast::<f32>(), c.cast::<f32>());
    // SAFETY: lanes below `n` are there, by the caller's promise; chunks end before it.
    unsafe {
        let one = by.read_unaligned();
        let whole = n - n % CHUNK;
        for i in (0..whole).step_by(CHUNK) {
            one_chunk_at_a_time();
            let chunk = |from: *const f32| from.add(i).cast::<[f32; CHUNK]>().read_unaligned();
            let (mut x, y, z) = (chunk(a), chunk(b), chunk(c));
            let by = if ONE { [one; CHUNK] } else { chunk(by) };
            for lane in 0..CHUNK {
                x[lane] = x[lane] * by[lane] * y[lane] + z[lane];
            }
            out.add(i).cast::<[f32; CHUNK]>().write_unaligned(x);
        }
        std::hint::assert_unchecked(n - whole < CHUNK);
        for i in whole..n {
            let lane = |from: *const f32| from.add(i).read_unaligned();
            let by = if ONE { one } else { lane(by) };
            out.add(i).write_unaligned(lane(a) * by * lane(b) + lane(c));
        }
    }
}

/// The loop of four operands; `one`: the second is one value.
pub(super) fn scaled(level: Level, one: bool) -> ScaledLoop {
    if one { scaled_of::<true>().at(level) } else { scaled_of::<false>().at(level) }
}

/// The loop of a function of one operand.
pub(super) fn of_one<F: LaneFunction>(level: Level) -> Loop {
    loops_of::<F, false, true, true>().at(level)
}

/// The loop of a function of two operands; `one` says which are one value.
pub(super) fn of_two<F: LaneFunction>(level: Level, one: [bool; 2]) -> Loop {
    match one {
        [true, false] => loops_of::<F, true, false, true>().at(level),
        [false, true] => loops_of::<F, false, true, true>().at(level),
        _ => loops_of::<F, false, false, true>().at(level),
    }
}

/// The loop of a function of three operands; the first is never one value unless all are.
pub(super) fn of_three<F: LaneFunction>(level: Level, one: [bool; 3]) -> Loop {
    match one {
        [_, true, false] => loops_of::<F, false, true, false>().at(level),
        [_, false, true] => loops_of::<F, false, false, true>().at(level),
        [false, true, true] => loops_of::<F, false, true, true>().at(level),
        _ => loops_of::<F, false, false, false>().at(level),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::super::functions::*;
    use super::*;

    /// Runs of every length up to three chunks, beside as many runs of one lane.
    fn check<F: LaneFunction<A = A, B = A, Out: Debug>, A: Lane>(lanes: impl Fn(usize) -> (A, A)) {
        let (a, b): (Vec<A>, Vec<A>) = (0..3 * CHUNK).map(lanes).unzip();
        for level in Level::all_here() {
            let run = of_two::<F>(level, [false, false]);
            for n in 1..=a.len() {
                let (mut all, mut each) = (vec![F::Out::default(); n], vec![F::Out::default(); n]);
                let (a, b) = (a[..n].as_ptr().cast(), b[..n].as_ptr().cast());
                // SAFETY: so many lanes are there, and the level's features are.
                unsafe { run(all.as_mut_ptr().cast(), a, b, a, n) };
                for (i, out) in each.iter_mut().enumerate() {
                    // SAFETY: as above, for one lane.
                    unsafe {
                        let (a, b) = (a.add(i * size_of::<A>()), b.add(i * size_of::<A>()));
                        run(std::ptr::from_mut(out).cast(), a, b, a, 1);
                    }
                }
                assert_eq!(all, each, "{n} lanes, {}", level.name());
            }
        }
    }

    #[test]
    fn four_operands_in_one_loop_give_what_two_loops_do() {
        let numbers = |seed: i64| -> Vec<f32> {
            (0..3 * CHUNK).map(|at| kiln_ir::random::uniform(seed, at as i64) * 4.0 - 2.0).collect()
        };
        let [a, by, b, c] = [1, 2, 3, 4].map(numbers);
        for level in Level::all_here() {
            for (n, one) in (1..=a.len()).flat_map(|n| [(n, true), (n, false)]) {
                let (mut product, mut apart, mut together) = (vec![0f32; n], vec![0f32; n], vec![0f32; n]);
                let [a, by, b, c] = [&a, &by, &b, &c].map(|x| x.as_ptr().cast::<u8>());
                // SAFETY: so many lanes are there, and the level's features are.
                unsafe {
                    of_two::<Mul<f32>>(level, [false, one])(product.as_mut_ptr().cast(), a, by, a, n);
                    let add = of_three::<MulAdd>(level, [false; 3]);
                    add(apart.as_mut_ptr().cast(), product.as_ptr().cast(), b, c, n);
                    scaled(level, one)(together.as_mut_ptr().cast(), a, by, b, c, n);
                }
                assert_eq!(apart, together, "{n} lanes, {}", level.name());
            }
        }
    }

    #[test]
    fn whole_chunks_and_what_is_left_of_one_give_the_same_numbers() {
        let single = |i: usize| (i as f32 * 0.37 - 6.0, (i % 7) as f32 * 0.5 - 1.0);
        let double = |i: usize| (i as f64 * 0.37 - 6.0, (i % 7) as f64 * 0.5 - 1.0);
        let int = |i: usize| (i as i32 * 7 - 90, i as i32 % 5 - 2);
        let long = |i: usize| (i as i64 * 7 - 90, i as i64 % 5 - 2);
        check::<Add<f32>, _>(single);
        check::<Exp, _>(single);
        check::<Less<f32>, _>(single);
        check::<Random, _>(long);
        // Those of which there are fewer copies.
        check::<Larger<f64>, _>(double);
        check::<Mul<i32>, _>(int);
        check::<Less<i64>, _>(long);
        check::<IntToLong, _>(int);
        // Those of which there is one.
        check::<Pow<f32>, _>(|i| (i as f32 * 0.37 + 0.1, (i % 7) as f32));
        check::<Div<i32>, _>(int);
        check::<Rem<i64>, _>(long);
        check::<TanhDouble, _>(double);
    }
}
