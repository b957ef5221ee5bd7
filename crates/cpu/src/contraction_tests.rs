//! Bits of contractions: the same for any batch, instructions and threads, prepacked or not, whatever follows.

use kiln_compile::program::{ConvKind, Instruction, Operation, Store};
use kiln_ir::op::{BinaryOp, UnaryOp};

use super::*;
use crate::gemm::gemm_at;
use crate::simd::Number;
use crate::threads::{self, with_threads};

/// Numbers whose sums depend on their order.
const LASTING: [Lasting; 3] = [Lasting::Call, Lasting::Steps, Lasting::Runs];

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The levels that round a product and the sum behind it once.
fn levels() -> Vec<Level> {
    let x = 1.0 + f32::EPSILON;
    let (a, b) = ([-1.0, x], [x * x, x]);
    let mat = |from: &[f32; 2]| Mat { ptr: from.as_ptr(), batch: 0, row: 1, col: 1 };
    let once = |level: &Level| {
        let mut sum = 0f32;
        let out = ResultSink::Store { start: &mut sum, stride: 1 };
        // SAFETY: one sum of two products.
        unsafe { gemm_at(*level, Gemm { batch: 1, m: 1, n: 1, k: 2 }, mat(&a), mat(&b), &out) };
        sum != 0.0
    };
    Level::all_here().filter(once).collect()
}

/// What follows a product.
const TAILS: [&[Operation]; 4] = [
    &[Operation::Accumulator],
    // Fused: a scale and shift of columns, what is added to each element, and a clamp.
    &[
        Operation::Accumulator,
        Operation::Load(0),
        Operation::Binary(BinaryOp::Mul, 0, 1),
        Operation::Load(0),
        Operation::Binary(BinaryOp::Add, 2, 3),
        Operation::Load(1),
        Operation::Binary(BinaryOp::Add, 4, 5),
        Operation::Unary(UnaryOp::Relu, 6),
    ],
    // Fused: a residual connection, activated.
    &[
        Operation::Accumulator,
        Operation::Load(1),
        Operation::Binary(BinaryOp::Add, 1, 0),
        Operation::Unary(UnaryOp::Sigmoid, 2),
        Operation::Binary(BinaryOp::Mul, 3, 2),
    ],
    // Interpreted.
    &[
        Operation::Accumulator,
        Operation::Load(0),
        Operation::Binary(BinaryOp::Mul, 0, 1),
        Operation::Load(1),
        Operation::Binary(BinaryOp::Sub, 2, 3),
        Operation::Unary(UnaryOp::Abs, 4),
    ],
];

fn view(buffer: usize, dtype: DType, strides: &[isize]) -> View {
    View { buffer, dtype, offset: 0, strides: strides.to_vec() }
}

/// Buffers 0 and 1 are the operands, 2 the result, 3 has a number for each column and 4 one for each element.
fn epilogue(dtype: DType, rows: usize, columns: usize, tail: &[Operation]) -> Fused {
    let full = |operation: &Operation| Instruction { operation: operation.clone(), dtype, full: true };
    let across = columns as isize;
    Fused {
        loops: vec![rows, columns],
        reduced: vec![false, false],
        loads: vec![view(3, dtype, &[0, 1]), view(4, dtype, &[across, 1])],
        body: tail.iter().map(full).collect(),
        stores: vec![Store { value: tail.len() - 1, view: view(2, dtype, &[across, 1]) }],
    }
}

/// The bits of numbers.
fn bytes<T: Number>(numbers: &[T]) -> &[u8] {
    // SAFETY: numbers have no padding.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Prepacks and runs on so many threads.
fn run<S: Copy, T: Number>(
    prepared: Result<PreparedKernel>,
    [a, b]: [&[S]; 2],
    [columns, elements]: [&[T]; 2],
    count: usize,
    threads: usize,
) -> Vec<T> {
    let prepared = prepared.unwrap();
    let _threads = with_threads(threads);
    let mut out = vec![T::ONE; count];
    let mut bases = Bases::new(5);
    let starts = [a.as_ptr().cast::<u8>(), b.as_ptr().cast(), out.as_mut_ptr().cast_const().cast()];
    for (buffer, start) in
        starts.into_iter().chain([columns.as_ptr().cast(), elements.as_ptr().cast()]).enumerate()
    {
        bases.set(buffer, start.cast_mut());
    }
    if let Some(prepack) = &prepared.prepack {
        prepack(&bases).unwrap();
    }
    (prepared.run)(&bases).unwrap();
    out
}

/// Rows around every limit of a plan: tiles, few rows, blocks, rows for which B is read where it lies.
const ROWS: [usize; 12] = [1, 2, 4, 5, 13, 28, 29, 112, 113, 192, 193, 300];

/// Strides of a matrix by whether it is transposed, and whether its rows lie a page and more apart.
fn lies(rows: usize, columns: usize) -> [[isize; 2]; 3] {
    [[columns as isize, 1], [1, rows as isize], [columns.next_multiple_of(1024) as isize, 1]]
}

/// Products of every number of rows and layout, at every level, and the chain that each element is said to be.
fn products<S: GemmElement>(
    dtype: DType,
    rows: &[usize],
    from: impl Fn(f32) -> S,
    multiply_add: impl Fn(S::Sum, S::Sum, S::Sum) -> S::Sum,
) {
    let _turn = threads::tests::turn();
    let sum_dtype = kiln_compile::program::accumulator(dtype).unwrap();
    for (number, (n, k)) in
        [(1, 70), (5, 3), (64, 16), (33, 300), (130, 270), (520, 40)].into_iter().enumerate()
    {
        let most = *rows.last().unwrap();
        let filled = |count: usize, seed| numbers(count, seed).into_iter().map(&from).collect::<Vec<S>>();
        let a = filled(most.max(k) * k.next_multiple_of(1024).max(most), 1);
        let b = filled(k.max(n) * n.next_multiple_of(1024).max(k), 2);
        let (columns, elements) = (filled(n, 3), filled(most * n, 4));
        let sums = |values: &[S]| values.iter().map(|value| value.number()).collect::<Vec<S::Sum>>();
        let (columns, elements) = (sums(&columns), sums(&elements));
        for [a_row, a_column] in lies(most, k) {
            for [b_row, b_column] in lies(k, n) {
                let element = |row: usize, column: usize| {
                    (0..k as isize).fold(S::Sum::default(), |sum, k| {
                        let left = a[(row as isize * a_row + k * a_column) as usize].number();
                        let right = b[(k * b_row + column as isize * b_column) as usize].number();
                        multiply_add(left, right, sum)
                    })
                };
                let chain: Vec<S::Sum> = (0..most * n).map(|at| element(at / n, at % n)).collect();
                for (kind, tail) in TAILS.into_iter().enumerate() {
                    let mut expected: Option<Vec<S::Sum>> = (kind == 0).then(|| chain.clone());
                    for &m in rows.iter().rev() {
                        for level in levels() {
                            for lasting in LASTING {
                                let work = Matmul {
                                    batch: 1,
                                    m,
                                    n,
                                    k,
                                    a: view(0, dtype, &[0, a_row, a_column]),
                                    b: view(1, dtype, &[0, b_row, b_column]),
                                    packed: None,
                                    epilogue: epilogue(sum_dtype, m, n, tail),
                                };
                                let threads = 1 + (m + number + kind + lasting as usize) % 8;
                                let kernel = matmul(&work, level, lasting);
                                let found = run(kernel, [&a, &b], [&columns, &elements], m * n, threads);
                                let expected = &expected.get_or_insert_with(|| found.clone())[..m * n];
                                let found = bytes(&found);
                                assert!(
                                    found == bytes(expected),
                                    "{m}×{k}×{n} of {dtype}, {a_row} {a_column} and {b_row} {b_column}, tail {kind}, {}, \
                                     {threads} threads, {lasting:?}",
                                    level.name()
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_of_a_product_has_the_same_bits_among_any_others() {
    products(DType::F32, &ROWS, |x| x, f32::mul_add);
}

#[test]
fn so_it_is_for_the_other_types() {
    products(DType::F64, &[1, 3, 29, 113], f64::from, f64::mul_add);
    products(DType::F16, &[1, 3, 29, 113], f16::from_f32, f32::mul_add);
    products(DType::Bf16, &[1, 3, 29, 113], bf16::from_f32, f32::mul_add);
}

#[test]
fn a_product_has_the_same_bits_in_any_batch() {
    let _turn = threads::tests::turn();
    let (most, m, n, k) = (9, 6, 50, 70);
    let (a, b) = (numbers(most * m * k, 1), numbers(most * n * k, 2));
    let (columns, elements) = (numbers(n, 3), numbers(most * m * n, 4));
    for (tail, shared) in TAILS.into_iter().flat_map(|tail| [(tail, false), (tail, true)]) {
        for [b_row, b_column] in [[n as isize, 1], [1, k as isize]] {
            let mut expected: Option<Vec<f32>> = None;
            for batch in [most, 4, 2, 1] {
                for (level, lasting) in
                    levels().into_iter().flat_map(|level| LASTING.map(|lasting| (level, lasting)))
                {
                    let between = if shared { 0 } else { (n * k) as isize };
                    let work = Matmul {
                        batch,
                        m,
                        n,
                        k,
                        a: view(0, DType::F32, &[(m * k) as isize, k as isize, 1]),
                        b: view(1, DType::F32, &[between, b_row, b_column]),
                        packed: None,
                        epilogue: epilogue(DType::F32, batch * m, n, tail),
                    };
                    let kernel = matmul(&work, level, lasting);
                    let found = run(kernel, [&a, &b], [&columns, &elements], batch * m * n, batch);
                    let expected = &expected.get_or_insert_with(|| found.clone())[..found.len()];
                    assert!(
                        bytes(&found) == bytes(expected),
                        "{batch} at {}, shared: {shared}",
                        level.name()
                    );
                }
            }
        }
    }
}

/// A layer: image, channels in and out, window, stride, padding, dilation, groups.
struct Layer([usize; 3], [usize; 2], [usize; 3], [usize; 3], [usize; 3], [usize; 3], usize);

const ONE: [usize; 3] = [1; 3];
const NONE: [usize; 3] = [0; 3];
const LAYERS: [Layer; 26] = [
    // Winograd's, of small and larger images, few and many channels.
    Layer([1, 4, 4], [64, 64], [1, 3, 3], ONE, [0, 1, 1], ONE, 1),
    Layer([1, 2, 2], [96, 80], [1, 3, 3], ONE, [0, 1, 1], ONE, 1),
    Layer([1, 8, 8], [32, 64], [1, 3, 3], ONE, [0, 1, 1], ONE, 1),
    Layer([1, 9, 7], [70, 40], [1, 3, 3], ONE, [0, 0, 1], ONE, 1),
    Layer([1, 14, 14], [16, 32], [1, 3, 3], ONE, [0, 1, 1], ONE, 1),
    Layer([1, 4, 4], [200, 160], [1, 3, 3], ONE, [0, 1, 1], ONE, 1),
    // Dilated, and larger than the image.
    Layer([1, 9, 7], [64, 64], [1, 3, 3], ONE, [0, 2, 3], [1, 2, 3], 1),
    Layer([1, 14, 14], [40, 48], [1, 3, 3], ONE, [0, 4, 4], [1, 4, 4], 1),
    Layer([1, 4, 5], [64, 80], [1, 3, 3], ONE, [0, 6, 2], [1, 6, 2], 1),
    // Direct: most of the window beside the image,
    Layer([1, 10, 8], [20, 40], [1, 3, 3], [1, 1, 2], [0, 6, 9], [1, 6, 9], 1),
    // the first layer, strides, dilation, groups, a large weight, one position.
    Layer([1, 9, 9], [3, 70], [1, 3, 3], ONE, [0, 1, 1], ONE, 1),
    Layer([1, 9, 8], [20, 33], [1, 3, 3], [1, 2, 2], [0, 1, 1], ONE, 1),
    Layer([1, 8, 8], [17, 16], [1, 1, 1], [1, 2, 2], NONE, ONE, 1),
    Layer([1, 9, 9], [12, 24], [1, 3, 3], ONE, [0, 2, 2], [1, 2, 2], 1),
    Layer([1, 6, 6], [24, 36], [1, 3, 3], ONE, [0, 1, 1], ONE, 3),
    Layer([1, 3, 3], [290, 300], [1, 1, 1], ONE, NONE, ONE, 1),
    Layer([1, 5, 5], [120, 100], [1, 3, 3], [1, 2, 2], [0, 1, 1], ONE, 1),
    // One and three dimensions.
    Layer([1, 1, 30], [5, 40], [1, 1, 5], [1, 1, 2], [0, 0, 3], ONE, 1),
    Layer([4, 5, 6], [6, 20], [2, 3, 3], [1, 2, 1], [1, 0, 1], ONE, 2),
    // Depthwise.
    Layer([1, 7, 9], [37, 37], [1, 3, 3], ONE, [0, 1, 1], ONE, 37),
    Layer([1, 11, 8], [80, 80], [1, 5, 5], [1, 2, 2], [0, 2, 2], ONE, 80),
    Layer([3, 4, 5], [9, 9], [3, 2, 2], ONE, [1, 0, 1], [1, 2, 1], 9),
    Layer([1, 3, 25], [24, 24], [1, 3, 3], [1, 2, 2], [0, 1, 1], ONE, 24),
    Layer([1, 3, 15], [20, 20], [1, 5, 5], ONE, [0, 2, 2], ONE, 20),
    Layer([1, 5, 23], [16, 16], [1, 5, 5], [1, 2, 2], [0, 2, 2], ONE, 16),
    Layer([1, 4, 17], [18, 18], [1, 7, 7], ONE, [0, 3, 3], ONE, 18),
];

impl Layer {
    /// The work on so many images, how many numbers its operands and its result have, and how many images' rows these are.
    fn work(&self, kind: ConvKind, batch: usize, window_first: bool, tail: &[Operation]) -> (Conv, usize) {
        let &Layer(input, [from, to], window, stride, pad, dilation, groups) = self;
        let output =
            [0, 1, 2].map(|a| (input[a] + 2 * pad[a] - (window[a] - 1) * dilation[a] - 1) / stride[a] + 1);
        let image = |buffer: usize, size: [usize; 3], channels: usize| {
            let strides = [size[0] * size[1] * size[2], 0, size[1] * size[2], size[2], 1];
            let mut strides = strides.map(|stride| (stride * channels) as isize);
            strides[1] = 1;
            view(buffer, DType::F32, &strides)
        };
        let (own, taps) = (from / groups, window.iter().product::<usize>());
        let position = [window[1] * window[2], window[2], 1];
        let weight = match window_first {
            true => [1, to, position[0] * own * to, position[1] * own * to, position[2] * own * to],
            false => [own * taps, taps, position[0], position[1], position[2]],
        };
        let weight = view(1, DType::F32, &weight.map(|stride| stride as isize));
        let pixels = |size: [usize; 3]| size.iter().product::<usize>();
        let (a, b, rows, columns) = match kind {
            ConvKind::Forward => (image(0, input, from), weight, batch * pixels(output), to),
            ConvKind::GradInput => (image(0, output, to), weight, batch * pixels(input), from),
            ConvKind::GradWeight => (image(0, input, from), image(1, output, to), taps * own, to),
        };
        let epilogue = epilogue(DType::F32, rows, columns, tail);
        let conv = Conv {
            kind,
            batch,
            input,
            in_channels: from,
            output,
            out_channels: to,
            window,
            stride,
            pad,
            dilation,
            groups,
            a,
            b,
            epilogue,
        };
        (conv, rows * columns)
    }
}

/// Runs a convolution of each layer, at every level and with every tail, and says where bits differ from those of the first batch,
/// whose first rows they are.
fn convolutions(kind: ConvKind, batches: impl Fn(&Layer) -> Vec<usize>) {
    let _turn = threads::tests::turn();
    for (number, layer) in LAYERS.iter().enumerate() {
        let batches = batches(layer);
        let image = |size: [usize; 3], channels: usize| size.iter().product::<usize>() * channels;
        let (largest, elements) = layer.work(kind, batches[0], true, TAILS[0]);
        let (from, to) = (largest.in_channels, largest.out_channels);
        let pixels = image(largest.input, from).max(image(largest.output, to));
        let a = numbers(batches[0] * pixels, 1);
        let b = numbers((batches[0] * pixels).max(image(largest.window, from * to)), 2);
        let (columns, elements) = (numbers(from.max(to), 3), numbers(elements, 4));
        for ((at, tail), window_first) in
            TAILS.into_iter().enumerate().flat_map(|tail| [(tail, false), (tail, true)])
        {
            let mut expected: Option<Vec<f32>> = None;
            for &batch in &batches {
                for (level, lasting) in
                    levels().into_iter().flat_map(|level| LASTING.map(|lasting| (level, lasting)))
                {
                    let (work, count) = layer.work(kind, batch, window_first, tail);
                    let threads = 1 + (number + batch + at + lasting as usize) % 8;
                    let kernel = conv(&work, level, lasting);
                    let found = run(kernel, [&a, &b], [&columns, &elements], count, threads);
                    let expected = &expected.get_or_insert_with(|| found.clone())[..count];
                    assert!(
                        bytes(&found) == bytes(expected),
                        "{kind:?} of layer {number}, batch {batch}, tail {at}, {}, {threads} threads, {lasting:?}",
                        level.name()
                    );
                }
            }
        }
    }
}

/// Batches, the largest first: of small layers a large one.
fn batches(layer: &Layer) -> Vec<usize> {
    let &Layer(input, [from, to], window, .., groups) = layer;
    let work = input.iter().chain(&window).product::<usize>() * from * to / groups;
    if work < 200_000 { vec![256, 7, 2, 1] } else { vec![33, 7, 2, 1] }
}

#[test]
fn an_image_of_a_convolution_has_the_same_bits_among_any_others() {
    convolutions(ConvKind::Forward, batches);
}

#[test]
fn so_has_its_gradient() {
    convolutions(ConvKind::GradInput, batches);
}

#[test]
fn a_weights_gradient_has_the_same_bits_at_every_level_on_any_threads() {
    for batch in [1, 3, 20] {
        convolutions(ConvKind::GradWeight, |_| vec![batch; 3]);
    }
}
