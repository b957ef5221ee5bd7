//! Each kind of kernel through the device's public face, with results worked out plainly.

mod kit;

use std::sync::Arc;

use kiln_compile::program::{
    Conv, ConvKind, Custom, Fused, Matmul, Operation, Store, View, Window, WindowKind, Work,
};
use kiln_ir::expr::Expr;
use kiln_ir::op::{ArgOp, BinaryOp, CustomOp, ReduceOp, ScatterMode, Shared, UnaryOp};
use kiln_ir::{DType, Data, Error, ErrorKind, Graph, Scalar, Shape};
use kiln_testkit::problem::HeldVariable;
use kit::{
    Build, along, cpu, full, indexed, kept, memory, numbers, plain, pointwise, row_major, run, set_threads,
};

fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7 + 3) % 23) as f32 * 0.25 - 2.5).collect()
}

fn close(found: &Data, expected: &[f32]) {
    let found = found.as_slice::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "element {i}: {a} instead of {b}");
    }
}

#[test]
fn pointwise_work_and_a_reduction_in_one_kernel() {
    // y = relu(a · b + c), s = Σ y along rows, into two outputs.
    let (rows, columns) = (37, 1100);
    let mut build = Build::new();
    let [a, b] = [0; 2].map(|_| build.input(&[rows, columns], DType::F32));
    let c = build.input(&[columns], DType::F32);
    let (y, s) = (build.output(&[rows, columns], DType::F32), build.output(&[rows], DType::F32));
    let across = [columns as isize, 1];
    let fused = Fused {
        loops: vec![rows, columns],
        reduced: vec![false, true],
        loads: vec![build.view(a, &across), build.view(b, &across), build.view(c, &[0, 1])],
        body: vec![
            full(Operation::Load(0), DType::F32),
            full(Operation::Load(1), DType::F32),
            full(Operation::Load(2), DType::F32),
            full(Operation::Binary(BinaryOp::Mul, 0, 1), DType::F32),
            full(Operation::Binary(BinaryOp::Add, 3, 2), DType::F32),
            full(Operation::Unary(UnaryOp::Relu, 4), DType::F32),
            kept(Operation::Reduce(ReduceOp::Sum, 5), DType::F32),
        ],
        stores: vec![
            Store { value: 5, view: build.view(y, &across) },
            Store { value: 6, view: build.view(s, &[1, 0]) },
        ],
    };
    build.kernel("mul+add+relu+sum", Work::Fused(fused));
    let (a, b, c) = (ramp(rows * columns), ramp(rows * columns + 5)[5..].to_vec(), ramp(columns));
    let expected: Vec<f32> = (0..rows * columns).map(|i| (a[i] * b[i] + c[i % columns]).max(0.0)).collect();
    let sums: Vec<f32> = expected.chunks(columns).map(|row| row.iter().sum()).collect();
    let out = build.run(&[&Data::F32(a), &Data::F32(b), &Data::F32(c)]).unwrap();
    close(&out[0], &expected);
    close(&out[1], &sums);
}

#[test]
fn a_softmax_is_three_levels_over_its_rows() {
    let (rows, columns) = (5, 33);
    let mut build = Build::new();
    let (x, y) = (build.input(&[rows, columns], DType::F32), build.output(&[rows, columns], DType::F32));
    let across = [columns as isize, 1];
    let f32 = DType::F32;
    let fused = Fused {
        loops: vec![rows, columns],
        reduced: vec![false, true],
        loads: vec![build.view(x, &across)],
        body: vec![
            full(Operation::Load(0), f32),
            kept(Operation::Reduce(ReduceOp::Max, 0), f32),
            full(Operation::Binary(BinaryOp::Sub, 0, 1), f32),
            full(Operation::Unary(UnaryOp::Exp, 2), f32),
            kept(Operation::Reduce(ReduceOp::Sum, 3), f32),
            full(Operation::Binary(BinaryOp::Div, 3, 4), f32),
        ],
        stores: vec![Store { value: 5, view: build.view(y, &across) }],
    };
    build.kernel("softmax", Work::Fused(fused));
    let x = ramp(rows * columns);
    let mut expected = Vec::new();
    for row in x.chunks(columns) {
        let sum: f32 = row.iter().map(|v| v.exp()).sum();
        expected.extend(row.iter().map(|v| v.exp() / sum));
    }
    close(&build.run(&[&Data::F32(x)]).unwrap()[0], &expected);
}

/// `out = epilogue(a × b)` where the epilogue adds a bias and clamps.
fn matmul(build: &mut Build, [batch, m, n, k]: [usize; 4], dtype: DType, biased: bool) {
    let (a, b) = (build.input(&[batch, m, k], dtype), build.input(&[batch, k, n], dtype));
    let bias = build.input(&[n], DType::F32);
    let out = build.output(&[batch * m, n], DType::F32);
    let loops = [batch * m, n];
    let out = build.view(out, &[n as isize, 1]);
    let f32 = DType::F32;
    let epilogue = if biased {
        let body = vec![
            full(Operation::Accumulator, f32),
            full(Operation::Load(0), f32),
            full(Operation::Binary(BinaryOp::Add, 0, 1), f32),
            full(Operation::Unary(UnaryOp::Relu, 2), f32),
        ];
        pointwise(&loops, vec![build.view(bias, &[0, 1])], body, vec![(3, out)])
    } else {
        plain(&loops, f32, out)
    };
    let (a, b) = (build.view(a, &row_major(&[batch, m, k])), build.view(b, &row_major(&[batch, k, n])));
    build.kernel("matmul+add+relu", Work::Matmul(Matmul { batch, m, n, k, a, b, packed: None, epilogue }));
}

fn product(a: &[f32], b: &[f32], [batch, m, n, k]: [usize; 4]) -> Vec<f32> {
    let mut out = Vec::new();
    for (row, column) in (0..batch * m).flat_map(|row| (0..n).map(move |column| (row, column))) {
        let at = row / m * k * n;
        out.push((0..k).map(|i| a[row * k + i] * b[at + i * n + column]).sum());
    }
    out
}

#[test]
fn matrix_products_with_and_without_an_epilogue() {
    for sizes in [[1, 1, 1, 1], [1, 7, 5, 3], [3, 17, 33, 19], [1, 70, 40, 300], [2, 4, 9, 0]] {
        let [batch, m, n, k] = sizes;
        let (a, b, bias) = (ramp(batch * m * k), ramp(batch * k * n), ramp(n));
        let exact = product(&a, &b, sizes);
        let clamped: Vec<f32> = exact.iter().enumerate().map(|(i, v)| (v + bias[i % n]).max(0.0)).collect();
        for (dtype, biased) in
            [(DType::F32, false), (DType::F32, true), (DType::F16, true), (DType::Bf16, false)]
        {
            let mut build = Build::new();
            matmul(&mut build, sizes, dtype, biased);
            let [a, b] = [&a, &b].map(|values| Data::F32(values.clone()).cast(dtype));
            let out = build.run(&[&a, &b, &Data::F32(bias.clone())]).unwrap();
            close(&out[0], if biased { &clamped } else { &exact });
        }
    }
}

#[test]
fn a_matrix_product_of_other_dtypes() {
    let sizes @ [batch, m, n, k] = [2, 5, 6, 7];
    let (a, b) = (ramp(batch * m * k), ramp(batch * k * n));
    let whole = |values: &[f32]| -> Vec<f32> { values.iter().map(|v| (v * 4.0).round()).collect() };
    let (a, b) = (whole(&a), whole(&b));
    let exact = product(&a, &b, sizes);
    for dtype in [DType::F64, DType::I32, DType::I64] {
        let mut build = Build::new();
        let (x, y) = (build.input(&[batch, m, k], dtype), build.input(&[batch, k, n], dtype));
        let out = build.output(&[batch, m, n], DType::F32);
        let out = build.view(out, &row_major(&[batch, m, n]));
        let epilogue = plain(&[batch, m, n], dtype, out);
        let (x, y) = (build.view(x, &row_major(&[batch, m, k])), build.view(y, &row_major(&[batch, k, n])));
        build.kernel("matmul", Work::Matmul(Matmul { batch, m, n, k, a: x, b: y, packed: None, epilogue }));
        let [a, b] = [&a, &b].map(|values| Data::F32(values.clone()).cast(dtype));
        close(&build.run(&[&a, &b]).unwrap()[0], &exact);
    }
}

#[test]
fn a_gradient_is_added_straight_into_its_variable() {
    // w -= 0.5 · xᵀ g
    let (batch, m, n) = (9, 20, 6);
    let mut build = Build::new();
    let (x, g) = (build.input(&[batch, m], DType::F32), build.input(&[batch, n], DType::F32));
    let w = build.variable("fc.weight", &[m, n], DType::F32, true);
    let f32 = DType::F32;
    let rows = [n as isize, 1];
    let body = vec![
        full(Operation::Accumulator, f32),
        full(Operation::Literal(Scalar::Float(0.5)), f32),
        full(Operation::Binary(BinaryOp::Mul, 0, 1), f32),
        full(Operation::Load(0), f32),
        full(Operation::Binary(BinaryOp::Sub, 3, 2), f32),
    ];
    let epilogue = pointwise(&[m, n], vec![build.view(w, &rows)], body, vec![(4, build.view(w, &rows))]);
    let (a, b) = (build.view(x, &[0, 1, m as isize]), build.view(g, &[0, n as isize, 1]));
    build.kernel("sgd", Work::Matmul(Matmul { batch: 1, m, n, k: batch, a, b, packed: None, epilogue }));
    let (x, g, start) = (ramp(batch * m), ramp(batch * n), ramp(m * n));
    let weight = [memory(&start)];
    let mut executable = build.load().unwrap();
    for _ in 0..2 {
        run(&mut *executable, &build.0, &[&Data::F32(x.clone()), &Data::F32(g.clone())], &weight).unwrap();
    }
    let gradient = |i: usize, j: usize| -> f32 { (0..batch).map(|b| x[b * m + i] * g[b * n + j]).sum() };
    let expected: Vec<f32> = (0..m * n).map(|e| start[e] - gradient(e / n, e % n)).collect();
    close(&Data::F32(numbers(&weight[0])), &expected);
}

/// Strides for `[batch, channel, 1, height, width]` of channels-last memory.
fn channels_last(channels: usize, [h, w]: [usize; 2]) -> [isize; 5] {
    let (c, w) = (channels as isize, w as isize);
    [h as isize * w * c, 1, h as isize * w * c, w * c, c]
}

#[test]
fn the_three_convolutions() {
    for groups in [1, 2] {
        let (batch, cin, cout, [h, w]) = (2, 4, 6, [7usize, 6usize]);
        let (oh, ow) = ((h + 2 - 3) / 2 + 1, (w + 2 - 3) / 2 + 1);
        let gin = cin / groups;
        let (image, weight) = (ramp(batch * h * w * cin), ramp(cout * gin * 9));
        let gradient = ramp(batch * oh * ow * cout);
        let mut forward = vec![0f32; batch * oh * ow * cout];
        let mut to_image = vec![0f32; image.len()];
        let mut to_weight = vec![0f32; weight.len()];
        for n in 0..batch {
            for (y, x, o) in (0..oh * ow * cout).map(|i| (i / cout / ow, i / cout % ow, i % cout)) {
                let r = ((n * oh + y) * ow + x) * cout + o;
                for (dy, dx, c) in (0..9 * gin).map(|i| (i / gin / 3, i / gin % 3, i % gin)) {
                    let (iy, ix) = ((y * 2 + dy).wrapping_sub(1), (x * 2 + dx).wrapping_sub(1));
                    if iy < h && ix < w {
                        let at = ((n * h + iy) * w + ix) * cin + o / (cout / groups) * gin + c;
                        // The weight lies as [out, height, width, in].
                        let k = ((o * 3 + dy) * 3 + dx) * gin + c;
                        forward[r] += image[at] * weight[k];
                        to_image[at] += gradient[r] * weight[k];
                        to_weight[k] += image[at] * gradient[r];
                    }
                }
            }
        }
        let g = gin as isize;
        let of_image = channels_last(cin, [h, w]);
        let of_result = channels_last(cout, [oh, ow]);
        let of_weight = [9 * g, 1, 9 * g, 3 * g, g];
        for kind in [ConvKind::Forward, ConvKind::GradInput, ConvKind::GradWeight] {
            let (a, b, expected) = match kind {
                ConvKind::Forward => (&image, &weight, &forward),
                ConvKind::GradInput => (&gradient, &weight, &to_image),
                ConvKind::GradWeight => (&image, &gradient, &to_weight),
            };
            let mut build = Build::new();
            let (first, second) = (build.input(&[a.len()], DType::F32), build.input(&[b.len()], DType::F32));
            let out = build.output(&[expected.len()], DType::F32);
            let (strides, epilogue) = match kind {
                ConvKind::Forward => (
                    [of_image, of_weight],
                    plain(&[batch * oh * ow, cout], DType::F32, build.view(out, &[cout as isize, 1])),
                ),
                ConvKind::GradInput => (
                    [of_result, of_weight],
                    plain(&[batch * h * w, cin], DType::F32, build.view(out, &[cin as isize, 1])),
                ),
                ConvKind::GradWeight => {
                    let view = build.view(out, &[g, 1, 9 * g]);
                    ([of_image, of_result], plain(&[9, gin, cout], DType::F32, view))
                }
            };
            let conv = Conv {
                kind,
                batch,
                input: [1, h, w],
                in_channels: cin,
                output: [1, oh, ow],
                out_channels: cout,
                window: [1, 3, 3],
                stride: [1, 2, 2],
                pad: [0, 1, 1],
                dilation: [1, 1, 1],
                groups,
                a: build.view(first, &strides[0]),
                b: build.view(second, &strides[1]),
                epilogue,
            };
            build.kernel("conv", Work::Conv(conv));
            let out = build.run(&[&Data::F32(a.clone()), &Data::F32(b.clone())]).unwrap();
            close(&out[0], expected);
        }
    }
}

#[test]
fn pooling_and_its_adjoints() {
    let (channels, [h, w]) = (3, [4usize, 6usize]);
    let (oh, ow) = (h / 2, w / 2);
    let (x, gradient) = (ramp(h * w * channels), ramp(oh * ow * channels));
    let (mut largest, mut sums) = (vec![0f32; oh * ow * channels], vec![0f32; oh * ow * channels]);
    let (mut spread, mut spread_all) = (vec![0f32; x.len()], vec![0f32; x.len()]);
    for (y, xx, c) in (0..oh * ow * channels).map(|i| (i / channels / ow, i / channels % ow, i % channels)) {
        let at =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| ((y * 2 + dy) * w + xx * 2 + dx) * channels + c);
        let first = at.into_iter().reduce(|a, b| if x[b] > x[a] { b } else { a }).unwrap();
        let r = (y * ow + xx) * channels + c;
        (largest[r], sums[r]) = (x[first], at.iter().map(|&i| x[i]).sum());
        spread[first] += gradient[r];
        at.iter().for_each(|&i| spread_all[i] += gradient[r]);
    }
    let (of_image, of_result) = (channels_last(channels, [h, w]), channels_last(channels, [oh, ow]));
    for (kind, expected) in [
        (WindowKind::Pick, &largest),
        (WindowKind::Sum, &sums),
        (WindowKind::Spread, &spread),
        (WindowKind::SumGrad, &spread_all),
    ] {
        let mut build = Build::new();
        let (image, small) =
            (build.input(&[x.len()], DType::F32), build.input(&[gradient.len()], DType::F32));
        let out = build.output(&[expected.len()], DType::F32);
        let (image, small) = (build.view(image, &of_image), build.view(small, &of_result));
        let (operands, of_out) = match kind {
            WindowKind::Pick => (vec![image.clone(), image], of_result),
            WindowKind::Sum => (vec![image], of_result),
            WindowKind::Spread => (vec![image, small], of_image),
            WindowKind::SumGrad => (vec![small], of_image),
        };
        let window = Window {
            kind,
            batch: 1,
            channels,
            input: [1, h, w],
            output: [1, oh, ow],
            window: [1, 2, 2],
            stride: [1, 2, 2],
            pad: [0; 3],
            dilation: [1; 3],
            operands,
            out: build.view(out, &of_out),
        };
        build.kernel("pool", Work::Window(window));
        let out = build.run(&[&Data::F32(x.clone()), &Data::F32(gradient.clone())]).unwrap();
        close(&out[0], expected);
    }
}

#[test]
fn an_embedding_and_its_gradient() {
    let (words, width, len) = (50, 96, 700);
    let index: Vec<i64> = (0..len).map(|i| (i * i % words) as i64).collect();
    let (table, gradient) = (ramp(words * width), ramp(len * width));
    let rows = [width as isize, 1];
    let mut build = Build::new();
    let (x, i) = (build.input(&[words, width], DType::F32), build.input(&[len], DType::I64));
    let out = build.output(&[len, width], DType::F32);
    let views = |x: View, i: View, out: View| indexed(&[len, width], 0, words, x, i, out);
    let work = views(build.view(x, &rows), build.view(i, &[1, 0]), build.view(out, &rows));
    build.kernel("gather", Work::Gather(work));
    let found = build.run(&[&Data::F32(table.clone()), &Data::I64(index.clone())]).unwrap();
    let expected: Vec<f32> =
        index.iter().flat_map(|&i| table[i as usize * width..][..width].to_vec()).collect();
    close(&found[0], &expected);

    let mut build = Build::new();
    let (x, i) = (build.input(&[len, width], DType::F32), build.input(&[len], DType::I64));
    let w = build.variable("table", &[words, width], DType::F32, true);
    let work = views(build.view(x, &rows), build.view(i, &[1, 0]), build.view(w, &rows));
    build.kernel("scatter", Work::Scatter(work, ScatterMode::Add));
    let mut expected = table.clone();
    for (row, &i) in index.iter().enumerate() {
        (0..width).for_each(|c| expected[i as usize * width + c] += gradient[row * width + c]);
    }
    for threads in [1, 2] {
        set_threads(threads);
        let memory = [memory(&table)];
        let inputs = [&Data::F32(gradient.clone()), &Data::I64(index.clone())];
        run(&mut *build.load().unwrap(), &build.0, &inputs, &memory).unwrap();
        // The order of additions is fixed, so nothing differs by even a bit.
        assert_eq!(numbers(&memory[0]), expected);
    }
}

#[test]
fn work_along_an_axis() {
    let x = Data::F32(vec![3.0, f32::NAN, 1.0, 1.0, 2.0, 5.0, -1.0, 5.0]);
    let rows = [4, 1];
    for (work, expected) in [
        (0, Data::I64(vec![1, 1])),
        (1, Data::I64(vec![1, 2])),
        (2, Data::I64(vec![2, 3, 0, 1, 2, 0, 1, 3])),
        (3, Data::I64(vec![1, 0, 2, 3, 1, 3, 0, 2])),
    ] {
        let mut build = Build::new();
        let (from, to) =
            (build.input(&[2, 4], DType::F32), build.output(&[2, expected.len() / 2], DType::I64));
        let last = expected.len() as isize / 2;
        let nest = along(&[2, 4], build.view(from, &rows), build.view(to, &[last, isize::from(last == 4)]));
        build.kernel(
            "along",
            match work {
                0 => Work::ArgReduce(ArgOp::Max, nest),
                1 => Work::ArgReduce(ArgOp::Min, nest),
                2 => Work::ArgSort(false, nest),
                _ => Work::ArgSort(true, nest),
            },
        );
        assert_eq!(build.run(&[&x]).unwrap()[0], expected);
    }
    let mut build = Build::new();
    let (from, to) = (build.input(&[2, 4], DType::U8), build.output(&[2, 4], DType::U8));
    let nest = along(&[4, 2], build.view(from, &[1, 4]), build.view(to, &[1, 4]));
    build.kernel("cumsum", Work::CumSum(nest));
    let sums = build.run(&[&Data::U8(vec![1, 2, 3, 4, 200, 100, 7, 9])]).unwrap();
    assert_eq!(sums[0], Data::U8(vec![1, 2, 3, 4, 201, 102, 10, 13]));
}

/// Doubles numbers below ten, and refuses others.
#[derive(Debug)]
struct Double;

impl CustomOp for Double {
    fn name(&self) -> &str {
        "double"
    }
    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
        Ok((operands[0].0.clone(), operands[0].1))
    }
    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error> {
        let values = operands[0].1.as_slice::<f32>().unwrap_or_default();
        match values.iter().find(|&&v| v >= 10.0) {
            Some(v) => Err(Error::new(ErrorKind::Value, "double", format!("{v} is too much"))),
            None if values[0] == 1.0 => Ok(Data::F32(vec![])),
            None => Ok(Data::F32(values.iter().map(|v| v * 2.0).collect())),
        }
    }
    fn gradient(&self, _: &[Expr], _: &Expr, _: &Expr) -> Vec<Option<Expr>> {
        vec![None]
    }
}

#[test]
fn a_users_own_operation() {
    let mut build = Build::new();
    let (x, y) = (build.input(&[2], DType::F32), build.output(&[2], DType::F32));
    let shape: Shape = [2].as_slice().into();
    build.kernel(
        "double",
        Work::Custom(Custom {
            op: Shared(Arc::new(Double)),
            operands: vec![(shape.clone(), build.view(x, &[1]))],
            out: (shape, build.view(y, &[1])),
        }),
    );
    assert_eq!(build.run(&[&Data::F32(vec![2.0, 3.0])]).unwrap()[0], Data::F32(vec![4.0, 6.0]));
    let error = build.run(&[&Data::F32(vec![2.0, 30.0])]).unwrap_err();
    assert!(error.to_string().starts_with("double: 30 is too much at "), "{error}");
    let error = build.run(&[&Data::F32(vec![1.0, 3.0])]).unwrap_err();
    assert!(error.to_string().starts_with("double: computed 0 elements of f32, not 2 of f32 at "), "{error}");
}

/// The new value is stored before the points are walked once more, which must see what was there before.
#[test]
fn a_variable_that_a_kernel_overwrites_is_read_as_it_was() {
    for (rows, columns) in [(300, 48), (5, 3), (5000, 1)] {
        let shape = Shape::from([rows, columns]);
        let x = Expr::input(0, shape.clone(), DType::F32);
        let (w, old) =
            HeldVariable::new("w", [1, columns], Data::filled(DType::F32, columns, Scalar::Float(2.0)));
        let product = &x * &old.broadcast_to(&shape);
        let sum = product.sum(&[0]);
        let y = &product * &sum.broadcast_to(&shape);
        let declared = [(shape.clone(), DType::F32)];
        let graph = Graph::trace(&declared, &[y], &[(w, &old - &sum)]).unwrap().0;
        let program = kiln_compile::compile(&graph, cpu().target()).unwrap();
        assert_eq!(program.kernels.len(), 1, "{program}");
        let variables = [memory(&vec![2.0; columns])];
        let mut executable = cpu().load(Arc::new(program.clone())).unwrap();
        let x = Data::filled(DType::F32, shape.elements(), Scalar::Float(0.5));
        let found = run(&mut *executable, &program, &[&x], &variables).unwrap();
        close(&found[0], &vec![rows as f32; shape.elements()]);
        assert_eq!(numbers(&variables[0]), vec![2.0 - rows as f32; columns]);
    }
}
