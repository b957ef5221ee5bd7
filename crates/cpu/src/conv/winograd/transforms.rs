//! Winograd's minimal filtering in one dimension: `m` outputs of a window of three by `m + 2` products instead of `3·m`.
//!
//! Image and window are seen as polynomials and evaluated at `m + 2` points; what is multiplied there, point by point,
//! determines the result. They are the elements of the transform domain. Five linear transforms do that: `InputTransform`
//! and `FilterTransform` to the points, `OutputTransform` from the points to the outputs; and for the gradient in the window the adjoints of the last two, `OutputGradientTransform` (to the points) and
//! `FilterGradientTransform` (from them). Applied to the columns and then the rows of a square they do two dimensions.
//!
//! `m = 2` uses the points 0, ±1 and ∞. `m = 4` uses 0, ±√½, ±√2 and ∞: with these its error stays within some two times
//! that of the direct sum, where the usual 0, ±1, ±2, ∞ make it four times as large.

use std::f32::consts::{FRAC_1_SQRT_2 as H, SQRT_2 as R};

use crate::simd::Vector;

/// The most points.
pub(super) const MOST: usize = 6;
/// The most points and outputs fit in a line.
pub(super) type TransformLine<V> = [V; MOST];

/// A linear transform from the first `FROM` of a line to the first `TO` of another.
pub(super) trait LinearTransform {
    const FROM: usize;
    const TO: usize;

    /// Applies it. Lanes are independent of each other.
    ///
    /// # Safety
    /// The machine has the vector's instructions.
    unsafe fn apply<V: Vector<Number = f32>>(x: TransformLine<V>) -> TransformLine<V>;
}

/// Pixels to the transform domain, for tiles of `M`.
pub(super) struct InputTransform<const M: usize>;
/// Window positions to the transform domain.
pub(super) struct FilterTransform<const M: usize>;
/// Products in the transform domain to outputs.
pub(super) struct OutputTransform<const M: usize>;
/// Gradients of the outputs to the transform domain.
pub(super) struct OutputGradientTransform<const M: usize>;
/// Sums in the transform domain to gradients of the window positions.
pub(super) struct FilterGradientTransform<const M: usize>;

/// `y + by · x`
///
/// # Safety
/// The machine has the vector's instructions.
#[inline(always)]
unsafe fn plus<V: Vector<Number = f32>>(y: V, by: f32, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.multiply_add(V::splat(by), y) }
}

/// `by · x`
///
/// # Safety
/// The machine has the vector's instructions.
#[inline(always)]
unsafe fn times<V: Vector<Number = f32>>(by: f32, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { plus(V::splat(0.0), by, x) }
}

/// Implements a transform by what it makes of the first numbers of a line.
macro_rules! transform {
    ($name:ty, $from:literal -> $to:literal, |[$($x:ident),*]| $body:expr) => {
        impl LinearTransform for $name {
            const FROM: usize = $from;
            const TO: usize = $to;

            #[inline(always)]
            unsafe fn apply<V: Vector<Number = f32>>(x: TransformLine<V>) -> TransformLine<V> {
                let [$($x,)* ..] = x;
                // SAFETY: the caller's promise.
                unsafe {
                    let result: [V; $to] = $body;
                    let mut line = [V::splat(0.0); MOST];
                    line[..$to].copy_from_slice(&result);
                    line
                }
            }
        }
    };
}

transform!(InputTransform<2>, 4 -> 4, |[a, b, c, d]| {
    [plus(a, -1.0, c), plus(b, 1.0, c), plus(c, -1.0, b), plus(b, -1.0, d)]
});

transform!(FilterTransform<2>, 3 -> 4, |[a, b, c]| {
    let even = times(0.5, plus(a, 1.0, c));
    [a, plus(even, 0.5, b), plus(even, -0.5, b), c]
});

transform!(OutputTransform<2>, 4 -> 2, |[a, b, c, d]| [plus(plus(a, 1.0, b), 1.0, c), plus(plus(b, -1.0, c), -1.0, d)]);

transform!(OutputGradientTransform<2>, 2 -> 4, |[a, b]| [a, plus(a, 1.0, b), plus(a, -1.0, b), times(-1.0, b)]);

transform!(FilterGradientTransform<2>, 4 -> 3, |[a, b, c, d]| {
    let (even, odd) = (plus(b, 1.0, c), plus(b, -1.0, c));
    [plus(a, 0.5, even), times(0.5, odd), plus(d, 0.5, even)]
});

transform!(InputTransform<4>, 6 -> 6, |[a, b, c, d, e, f]| {
    let (even, odd) = (plus(e, -2.0, c), plus(times(H, d), -R, b));
    let (further_even, further_odd) = (plus(e, -0.5, c), plus(times(R, d), -H, b));
    [
        plus(plus(a, -2.5, c), 1.0, e),
        plus(even, 1.0, odd),
        plus(even, -1.0, odd),
        plus(further_even, 1.0, further_odd),
        plus(further_even, -1.0, further_odd),
        plus(plus(b, -2.5, d), 1.0, f),
    ]
});

transform!(FilterTransform<4>, 3 -> 6, |[a, b, c]| {
    let even = times(-2.0 / 3.0, plus(a, 0.5, c));
    let further = times(1.0 / 6.0, plus(a, 2.0, c));
    [
        a,
        plus(even, -2.0 / 3.0 * H, b),
        plus(even, 2.0 / 3.0 * H, b),
        plus(further, R / 6.0, b),
        plus(further, -R / 6.0, b),
        c,
    ]
});

transform!(OutputTransform<4>, 6 -> 4, |[a, b, c, d, e, f]| {
    let (even, odd) = (plus(b, 1.0, c), plus(b, -1.0, c));
    let (further_even, further_odd) = (plus(d, 1.0, e), plus(d, -1.0, e));
    [
        plus(plus(a, 1.0, even), 1.0, further_even),
        plus(times(H, odd), R, further_odd),
        plus(times(0.5, even), 2.0, further_even),
        plus(plus(f, 0.5 * H, odd), 2.0 * R, further_odd),
    ]
});

transform!(OutputGradientTransform<4>, 4 -> 6, |[a, b, c, d]| {
    let (even, odd) = (plus(a, 0.5, c), plus(times(H, b), 0.5 * H, d));
    let (further_even, further_odd) = (plus(a, 2.0, c), plus(times(R, b), 2.0 * R, d));
    [
        a,
        plus(even, 1.0, odd),
        plus(even, -1.0, odd),
        plus(further_even, 1.0, further_odd),
        plus(further_even, -1.0, further_odd),
        d,
    ]
});

transform!(FilterGradientTransform<4>, 6 -> 3, |[a, b, c, d, e, f]| {
    let (even, odd) = (plus(b, 1.0, c), plus(b, -1.0, c));
    let (further_even, further_odd) = (plus(d, 1.0, e), plus(d, -1.0, e));
    [
        plus(plus(a, -2.0 / 3.0, even), 1.0 / 6.0, further_even),
        plus(times(-2.0 / 3.0 * H, odd), R / 6.0, further_odd),
        plus(plus(f, -1.0 / 3.0, even), 1.0 / 3.0, further_even),
    ]
});
