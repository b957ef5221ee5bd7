//! The sum in the transform domain against the plain sum, on sizes that leave every kind of rest, at every level of this machine.

use kiln_compile::program::{Conv, ConvKind, Fused, View};
use kiln_ir::DType;

use super::transform2d::WinogradTransforms;
use super::{WinogradConv, WinogradWeightGradient};
use crate::conv::ConvAlgorithm;
use crate::output::ResultSink;
use crate::simd::Level;

/// Images, channels in and out, height, width, padding above and to the left, dilation, height and width of the result.
type Sizes = (usize, usize, usize, [usize; 2], [usize; 2], [usize; 2], [usize; 2]);

const SIZES: [Sizes; 9] = [
    (1, 1, 1, [1, 1], [1, 1], [1, 1], [1, 1]),
    (2, 3, 5, [6, 7], [1, 1], [1, 1], [6, 7]),
    (3, 17, 33, [5, 4], [0, 0], [1, 1], [3, 2]),
    (2, 40, 70, [9, 8], [2, 1], [1, 1], [11, 8]),
    (1, 70, 31, [4, 13], [0, 2], [1, 1], [4, 15]),
    (9, 65, 3, [8, 8], [1, 1], [1, 1], [8, 8]),
    (2, 20, 33, [9, 11], [2, 2], [2, 2], [9, 11]),
    (3, 6, 17, [13, 7], [3, 0], [4, 3], [11, 1]),
    (1, 9, 40, [5, 6], [7, 12], [7, 12], [5, 6]),
];

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A channels-last image, or a window-first weight, as the convolution sees it.
fn view(strides: [usize; 4]) -> View {
    let [first, second, row, column] = strides.map(|stride| stride as isize);
    View { buffer: 0, dtype: DType::F32, offset: 0, strides: vec![first, second, 0, row, column] }
}

fn conv(kind: ConvKind, (batch, from, to, image, pad, dilation, result): Sizes) -> Conv {
    let channels_last = |size: [usize; 2], channels: usize| {
        view([size[0] * size[1] * channels, 1, size[1] * channels, channels])
    };
    let (x, y) = (channels_last(image, from), channels_last(result, to));
    let weight = view([1, to, 3 * from * to, from * to]);
    let (a, b) = match kind {
        ConvKind::Forward => (x, weight),
        ConvKind::GradInput => (y, weight),
        ConvKind::GradWeight => (x, y),
    };
    Conv {
        kind,
        batch,
        input: [1, image[0], image[1]],
        in_channels: from,
        output: [1, result[0], result[1]],
        out_channels: to,
        window: [1, 3, 3],
        stride: [1; 3],
        pad: [0, pad[0], pad[1]],
        dilation: [1, dilation[0], dilation[1]],
        groups: 1,
        a,
        b,
        epilogue: Fused { loops: vec![1], reduced: vec![false], loads: vec![], body: vec![], stores: vec![] },
    }
}

/// Calls `each` with the elements of image, weight and result that are multiplied and summed with each other.
fn pairs((batch, from, to, image, pad, dilation, result): Sizes, mut each: impl FnMut(usize, usize, usize)) {
    for n in 0..batch {
        for (y, x) in (0..result[0]).flat_map(|y| (0..result[1]).map(move |x| (y, x))) {
            for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                let row = (y + i * dilation[0]).wrapping_sub(pad[0]);
                let column = (x + j * dilation[1]).wrapping_sub(pad[1]);
                if row >= image[0] || column >= image[1] {
                    continue;
                }
                for (c, k) in (0..from).flat_map(|c| (0..to).map(move |k| (c, k))) {
                    let pixel = ((n * image[0] + row) * image[1] + column) * from + c;
                    let weight = ((i * 3 + j) * from + c) * to + k;
                    each(pixel, weight, ((n * result[0] + y) * result[1] + x) * to + k);
                }
            }
        }
    }
}

/// Prepacks the second operand and runs.
///
/// # Safety
/// As [`ConvAlgorithm::run`].
unsafe fn run(algorithm: &dyn ConvAlgorithm, a: &[f32], b: &[f32], output: &ResultSink<f32>) {
    let mut prepacked = vec![f32::NAN; algorithm.prepacked()];
    // SAFETY: the caller's promise; there is room for what is prepacked.
    unsafe {
        if prepacked.is_empty() {
            return algorithm.run(a.as_ptr(), b.as_ptr(), output);
        }
        algorithm.prepack(b.as_ptr(), prepacked.as_mut_ptr());
        algorithm.run(a.as_ptr(), prepacked.as_ptr(), output);
    }
}

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    let size = expected.iter().map(|x| x.abs()).fold(1.0, f64::max);
    for (position, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / size;
        assert!(error < 1e-5, "{what}: {found} instead of {expected} at {position}");
    }
}

#[test]
fn winograd_gives_what_the_plain_sum_gives() {
    for sizes in SIZES {
        let (batch, from, to, image, _, dilation, result) = sizes;
        let x = numbers(batch * image[0] * image[1] * from, 1);
        let w = numbers(9 * from * to, 2);
        let y = numbers(batch * result[0] * result[1] * to, 3);
        let (mut forward, mut by_image, mut by_weight) =
            (vec![0f64; y.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
        pairs(sizes, |p, q, r| {
            forward[r] += f64::from(x[p]) * f64::from(w[q]);
            by_image[p] += f64::from(y[r]) * f64::from(w[q]);
            by_weight[q] += f64::from(x[p]) * f64::from(y[r]);
        });
        for level in Level::all_here() {
            for transforms in WinogradTransforms::all(level) {
                let what = |kind| {
                    format!("{kind:?} of {sizes:?}, tiles of {}, {}", transforms.outputs, level.name())
                };
                for (kind, a, expected, columns) in
                    [(ConvKind::Forward, &x, &forward, to), (ConvKind::GradInput, &y, &by_image, from)]
                {
                    let mut out = vec![f32::NAN; expected.len()];
                    let output = ResultSink::Store { start: out.as_mut_ptr(), stride: columns as isize };
                    for invariant in [false, true] {
                        let plan = WinogradConv::new(&conv(kind, sizes), level, transforms, invariant);
                        // SAFETY: operands and output have the sizes the plan was made for.
                        unsafe { run(&plan, a, &w, &output) };
                        assert_close(&out, expected, &what(kind));
                    }
                }
                if dilation != [1; 2] {
                    continue;
                }
                let mut out = vec![f32::NAN; w.len()];
                let output = ResultSink::Store { start: out.as_mut_ptr(), stride: to as isize };
                let plan = WinogradWeightGradient::new(&conv(ConvKind::GradWeight, sizes), level, transforms);
                // SAFETY: as above.
                unsafe { run(&plan, &x, &y, &output) };
                assert_close(&out, &by_weight, &what(ConvKind::GradWeight));
            }
        }
    }
}

/// The claim that `transforms` rests on: tiles of 4 × 4 stay near the direct sum's own error.
#[test]
fn large_tiles_stay_accurate() {
    let sizes = (2, 64, 32, [16, 16], [1, 1], [1, 1], [16, 16]);
    let (batch, from, to, image, ..) = sizes;
    let x = numbers(batch * image[0] * image[1] * from, 5);
    let w = numbers(9 * from * to, 6);
    let mut exact = vec![0f64; batch * 256 * to];
    let mut plain = vec![0f32; batch * 256 * to];
    pairs(sizes, |p, q, r| {
        exact[r] += f64::from(x[p]) * f64::from(w[q]);
        plain[r] = x[p].mul_add(w[q], plain[r]);
    });
    let error = |found: &[f32]| {
        found.iter().zip(&exact).map(|(&found, exact)| (f64::from(found) - exact).powi(2)).sum::<f64>().sqrt()
    };
    let mut out = vec![f32::NAN; exact.len()];
    let output = ResultSink::Store { start: out.as_mut_ptr(), stride: to as isize };
    let level = Level::best();
    let plan =
        WinogradConv::new(&conv(ConvKind::Forward, sizes), level, WinogradTransforms::all(level)[1], false);
    // SAFETY: operands and output have the sizes the plan was made for.
    unsafe { run(&plan, &x, &w, &output) };
    assert!(error(&out) < 3.0 * error(&plain), "{:e} against {:e}", error(&out), error(&plain));
}
