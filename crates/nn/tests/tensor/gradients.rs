//! Every composed function's gradient, and the gradient of that gradient, against central differences in `f64`.

use kiln_nn::{
    AttentionOptions, ConvOptions, Correction, CrossEntropyOptions, DType, Index, Key, Padding, PoolOptions,
    Recurrence, Reduction, Tensor, strided,
};

/// What is differentiated: its name, the shape of its operand, the function.
type Row = (&'static str, Vec<usize>, fn(&Tensor) -> Tensor);

/// Numbers away from the kinks of the functions below.
fn smooth(shape: &[usize]) -> Tensor {
    let x = Key::new(5).uniform(shape, 0.15, 0.85).cast(DType::F64);
    let sign = Key::new(6).bernoulli(shape, 0.5).select(1.0, -1.0);
    (x * sign).eval().unwrap()
}

fn fixed(shape: &[usize], seed: u64) -> Tensor {
    Key::new(seed).uniform(shape, -1.0, 1.0).cast(DType::F64).eval().unwrap()
}

fn check(name: &str, shape: &[usize], f: &dyn Fn(&Tensor) -> Tensor) {
    let x = smooth(shape);
    let y = f(&x);
    assert!(y.error().is_none(), "{name}: {}", y.error().unwrap());
    let weights = fixed(&y.shape(), 7);
    let slope = |x: &Tensor| {
        let y = f(x);
        if y.rank() == 0 { y.grad(&[x]).remove(0) * &weights } else { y.grad_with(&weights, &[x]).remove(0) }
    };
    let value = |x: &Tensor| (f(x) * &weights).sum(..);
    compare(name, &x, &value, &slope(&x));
    let direction = fixed(shape, 8);
    let along = |x: &Tensor| (slope(x) * &direction).sum(..);
    compare(&format!("{name}, twice"), &x, &along, &along(&x).grad(&[&x])[0]);
}

fn compare(name: &str, x: &Tensor, value: &dyn Fn(&Tensor) -> Tensor, gradient: &Tensor) {
    let start = x.to_vec::<f64>().unwrap();
    let found = gradient.to_vec::<f64>().unwrap_or_else(|error| panic!("{name}: {error}"));
    let h = 1e-5;
    for element in 0..start.len() {
        let at = |offset: f64| {
            let mut moved = start.clone();
            moved[element] += offset;
            value(&Tensor::new(moved, x.shape())).item().unwrap()
        };
        let expected = (at(h) - at(-h)) / (2.0 * h);
        let tolerance = 1e-6 * (1.0 + expected.abs());
        assert!(
            (found[element] - expected).abs() < tolerance,
            "{name}: element {element}: {} instead of {expected}",
            found[element]
        );
    }
}

fn check_all(rows: Vec<Row>) {
    for (name, shape, f) in rows {
        check(name, &shape, &f);
    }
}

#[test]
fn pointwise() {
    let v = || vec![7];
    check_all(vec![
        ("exp2", v(), |x| x.exp2()),
        ("log2", v(), |x| x.abs().log2()),
        ("log10", v(), |x| x.abs().log10()),
        ("tan", v(), |x| x.tan()),
        ("pow 2", v(), |x| x.pow(2)),
        ("pow 3", v(), |x| x.pow(3)),
        ("pow -1", v(), |x| x.pow(-1.0)),
        ("pow 2.5", v(), |x| x.abs().pow(2.5)),
        ("pow tensor", v(), |x| x.abs().pow(x)),
        ("clamp", v(), |x| x.clamp(-0.5, 0.5)),
        ("maximum", v(), |x| x.maximum(-x)),
        ("minimum", v(), |x| x.minimum(x * 2.0)),
        ("select", v(), |x| x.gt(0.0).select(x.exp(), x.sin())),
        ("masked_fill", v(), |x| x.square().masked_fill(&x.gt(0.0), 3.0)),
        ("lerp", v(), |x| x.lerp(&x.square(), x)),
        ("div", v(), |x| 1.0 / x + x / (x + 3.0)),
        ("broadcast", vec![4, 1], |x| x * fixed(&[1, 4], 1) + x.t()),
    ]);
}

#[test]
fn activations() {
    let v = || vec![7];
    check_all(vec![
        ("relu", v(), |x| (x * 2.0).relu()),
        ("relu6", v(), |x| (x * 9.0).relu6()),
        ("leaky_relu", v(), |x| x.leaky_relu(0.1)),
        ("prelu", v(), |x| x.prelu(&x.square())),
        ("elu", v(), |x| x.elu(0.7)),
        ("celu", v(), |x| x.celu(0.7)),
        ("selu", v(), |x| x.selu()),
        ("gelu", v(), |x| x.gelu()),
        ("gelu_tanh", v(), |x| x.gelu_tanh()),
        ("silu", v(), |x| x.silu()),
        ("softplus", v(), |x| x.softplus()),
        ("log_sigmoid", v(), |x| x.log_sigmoid()),
        ("mish", v(), |x| x.mish()),
        ("hard_sigmoid", v(), |x| (x * 5.0).hard_sigmoid()),
        ("hard_swish", v(), |x| (x * 5.0).hard_swish()),
        ("softsign", v(), |x| x.softsign()),
        ("glu", vec![2, 6], |x| x.glu(-1)),
    ]);
}

#[test]
fn movement() {
    let m = || vec![3, 4];
    check_all(vec![
        ("reshape", m(), |x| x.reshape([2, -1]).square()),
        ("unflatten", m(), |x| x.unflatten(1, [2, 2]).square()),
        ("permute", vec![2, 3, 2], |x| x.permute([2, 0, 1]).square()),
        ("move_axis", vec![2, 3, 2], |x| x.move_axis(0, -1).square()),
        ("at", m(), |x| x.at((strided(.., -2), 1..3)).square()),
        ("at with gaps", m(), |x| x.at((Index::NewAxis, -1, strided(1.., 2))).square()),
        ("concat", m(), |x| Tensor::concat(&[x, &x.square()], 1)),
        ("stack", m(), |x| Tensor::stack(&[x, &x.square()], 1)),
        ("split", m(), |x| {
            let [a, b] = x.split(1, [1, 3]);
            a * b.square()
        }),
        ("repeat", m(), |x| x.repeat([2, 1, 3]).square()),
        ("repeat_interleave", m(), |x| x.repeat_interleave(0, 2).square()),
        ("flip", m(), |x| x.flip(..) * x.square()),
        ("roll", m(), |x| x.roll(1, -3) * x.square()),
        ("pad", m(), |x| x.pad([(1, 2), (0, 1)], 0.5).square()),
        ("pad_reflect", m(), |x| x.pad_reflect([(2, 1), (1, 3)]).square()),
        ("pad_replicate", m(), |x| x.pad_replicate([(2, 1), (1, 3)]).square()),
        ("pad_circular", m(), |x| x.pad_circular([(2, 1), (1, 3)]).square()),
        ("unfold", m(), |x| x.unfold(1, 3, 1).square()),
        ("tril", m(), |x| x.square().tril(1)),
        ("triu", m(), |x| x.square().triu(-1)),
        ("diagonal", m(), |x| x.square().diagonal(1)),
        ("diagonal_matrix", m(), |x| x.square().diagonal_matrix()),
    ]);
}

#[test]
fn reductions() {
    let m = || vec![2, 3, 2];
    check_all(vec![
        ("sum", m(), |x| x.square().sum([0, -1])),
        ("prod", m(), |x| x.prod(1)),
        ("mean", m(), |x| x.square().mean(1..)),
        ("var", m(), |x| x.var(1, Correction::SAMPLE)),
        ("std", m(), |x| x.std([0, 1], Correction::POPULATION)),
        ("max", m(), |x| x.max(1).square()),
        ("min", m(), |x| x.min(..).square()),
        ("logsumexp", m(), |x| x.logsumexp([1, 2])),
        ("norm 1", m(), |x| x.norm(1, 1.0).square()),
        ("norm 2", m(), |x| x.norm(1, 2.0)),
        ("norm 3", m(), |x| x.norm(1, 3.0)),
        ("norm ∞", m(), |x| x.norm(1, f64::INFINITY).square()),
        ("cumsum", m(), |x| x.cumsum(1).square()),
        ("median", m(), |x| x.median(1).square()),
        ("sort", m(), |x| x.sort(1, true).0.square()),
        ("top_k", m(), |x| x.top_k(1, 2).0.square()),
    ]);
}

#[test]
fn contractions() {
    check_all(vec![
        ("matmul", vec![2, 3, 4], |x| x.matmul(&x.t())),
        ("matmul broadcast", vec![2, 1, 3, 2], |x| x.matmul(&fixed(&[3, 2, 2], 1)).square()),
        ("matmul by a matrix", vec![2, 3, 4], |x| {
            fixed(&[5, 3], 1).matmul(x).matmul(&fixed(&[4, 2], 2)).square()
        }),
        ("matmul vectors", vec![3], |x| x.matmul(&fixed(&[3, 3], 1)).dot(x)),
        ("outer", vec![3], |x| x.outer(&x.square())),
        ("einsum", vec![2, 3, 3], |x| Tensor::einsum("bij,bjk,...k->...i", &[x, &x.t(), &fixed(&[4, 3], 1)])),
        ("einsum diagonal", vec![3, 3], |x| Tensor::einsum("ii,ij->j", &[x, x])),
    ]);
}

#[test]
fn convolutions() {
    fn options() -> ConvOptions {
        ConvOptions::new().stride([2, 1]).padding([(1, 0), (2, 1)]).dilation([1, 2]).groups(2)
    }
    check_all(vec![
        ("conv1d image", vec![1, 2, 5], |x| {
            x.conv1d(&fixed(&[2, 2, 3], 1), &ConvOptions::new().padding(Padding::Same))
        }),
        ("conv2d image", vec![1, 4, 5, 4], |x| x.conv2d(&fixed(&[2, 2, 3, 2], 1), &options()).square()),
        ("conv2d weight", vec![2, 2, 3, 2], |w| fixed(&[1, 4, 5, 4], 1).conv2d(w, &options()).square()),
        ("conv3d weight", vec![1, 2, 2, 1, 2], |w| {
            fixed(&[1, 2, 3, 2, 3], 1).conv3d(w, &ConvOptions::new()).square()
        }),
        ("conv_transpose2d image", vec![1, 4, 3, 2], |x| {
            let options = ConvOptions::new().stride(2).padding(1).output_padding([1, 0]).groups(2);
            x.conv_transpose2d(&fixed(&[4, 1, 3, 2], 1), &options).square()
        }),
        ("conv_transpose2d weight", vec![2, 1, 2, 2], |w| {
            fixed(&[1, 2, 2, 3], 1).conv_transpose2d(w, &ConvOptions::new().dilation(2)).square()
        }),
        ("max_pool2d", vec![1, 2, 5, 4], |x| {
            x.max_pool2d(PoolOptions::new(3).stride(2).padding(1).ceil_mode(true)).square()
        }),
        ("avg_pool2d", vec![1, 2, 5, 4], |x| {
            x.avg_pool2d(PoolOptions::new([2, 3]).stride(2).padding([1, 0]).ceil_mode(true)).square()
        }),
        ("avg_pool1d", vec![2, 1, 5], |x| {
            x.avg_pool1d(PoolOptions::new(3).stride(2).padding(1).count_include_pad(false)).square()
        }),
        ("adaptive_avg_pool2d", vec![1, 1, 5, 4], |x| x.adaptive_avg_pool2d([3, 2]).square()),
        ("adaptive_max_pool2d", vec![1, 1, 5, 4], |x| x.adaptive_max_pool2d([3, 2]).square()),
        ("global pools", vec![2, 2, 3], |x| x.global_avg_pool() * x.global_max_pool()),
        ("resize_nearest", vec![1, 1, 2, 4], |x| x.resize_nearest([4, 3]).square()),
        ("resize_linear", vec![1, 1, 2, 4], |x| x.resize_linear([3, 6], false).square()),
        ("resize_linear aligned", vec![1, 1, 2, 4], |x| x.resize_linear([3, 2], true).square()),
    ]);
}

#[test]
fn indexing() {
    check_all(vec![
        ("gather", vec![3, 4], |x| x.gather(1, &Tensor::from([[0, 2], [3, 3], [1, 0]])).square()),
        ("gather fewer rows", vec![3, 4], |x| x.gather(1, &Tensor::from([[0, 0, 2]])).square()),
        ("index_select", vec![3, 4], |x| x.index_select(-1, &Tensor::from([3u8, 0, 3])).square()),
        ("embedding", vec![3, 2], |x| x.embedding(&Tensor::from([[1u16, 2], [1, 1]])).square()),
        ("scatter base", vec![3, 2], |x| x.square().scatter(0, &Tensor::from([[1, 2]]), &fixed(&[1, 2], 1))),
        ("scatter source", vec![2, 2], |x| {
            fixed(&[3, 2], 1).scatter(0, &Tensor::from([[1, 2], [1, 0]]), &x.square())
        }),
        ("scatter_add", vec![2, 2], |x| {
            fixed(&[3, 2], 1).scatter_add(0, &Tensor::from([[1, 2], [1, 0]]), x).square()
        }),
        ("index_add", vec![2, 2], |x| fixed(&[3, 2], 1).index_add(0, &Tensor::from([2, 2]), x).square()),
    ]);
}

#[test]
fn norms() {
    let m = || vec![3, 4];
    check_all(vec![
        ("softmax", m(), |x| (x * 3.0).softmax(0)),
        ("log_softmax", m(), |x| (x * 3.0).log_softmax(1)),
        ("layer_norm", vec![2, 2, 3], |x| x.layer_norm([1, 2], 1e-2)),
        ("rms_norm", m(), |x| x.rms_norm(-1, 1e-2)),
        ("group_norm", vec![2, 4, 2], |x| x.group_norm(2, 1e-2)),
        ("instance_norm", vec![2, 2, 3], |x| x.instance_norm(1e-2)),
        ("batch_norm_train", vec![3, 2, 2], |x| {
            x.batch_norm_train(&Tensor::zeros([2]), &Tensor::ones([2]), 0.1, 1e-2).0
        }),
        ("batch_norm", vec![3, 2], |x| x.batch_norm(&fixed(&[2], 1), &fixed(&[2], 2).exp(), 1e-2).square()),
        ("normalize", m(), |x| x.normalize(1, 2.0, 1e-12)),
        ("dropout", m(), |x| x.square().dropout(0.4, &Key::new(1))),
    ]);
}

#[test]
fn losses() {
    check_all(vec![
        ("cross_entropy", vec![3, 4], |x| x.cross_entropy(&Tensor::from([1, 3, 0]))),
        ("cross_entropy with everything", vec![3, 4], |x| {
            let options = CrossEntropyOptions::new()
                .class_weights(&Tensor::from([0.5, 1.0, 2.0, 1.5]))
                .label_smoothing(0.2)
                .ignore_index(3)
                .reduction(Reduction::Sum);
            x.cross_entropy_with(&Tensor::from([1, 3, 0]), &options)
        }),
        ("cross_entropy positions", vec![2, 3, 2], |x| x.cross_entropy(&Tensor::from([[1, 2], [0, 0]]))),
        ("cross_entropy probabilities", vec![2, 3], |x| {
            x.cross_entropy(&Tensor::from([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]))
        }),
        ("cross_entropy in its target", vec![2, 3], |x| fixed(&[2, 3], 1).cross_entropy(&x.softmax(1))),
        ("nll", vec![2, 3], |x| x.log_softmax(1).nll(&Tensor::from([2, 0]))),
        ("mse", vec![2, 3], |x| x.mse(&fixed(&[2, 3], 1))),
        ("mae", vec![2, 3], |x| x.mae(&fixed(&[2, 3], 1))),
        ("huber", vec![2, 3], |x| (x * 3.0).huber(&fixed(&[2, 3], 1), 1.0)),
        ("bce_with_logits", vec![2, 3], |x| x.bce_with_logits(&fixed(&[2, 3], 1).abs())),
        ("bce_with_logits_weighted", vec![2, 3], |x| {
            x.bce_with_logits_weighted(&fixed(&[2, 3], 1).abs(), &fixed(&[3], 2).abs(), Reduction::None)
        }),
        ("hinge", vec![3], |x| x.hinge(&Tensor::from([1.0, -1.0, 1.0]))),
        ("multi_margin", vec![2, 3], |x| x.multi_margin(&Tensor::from([2, 0]))),
        ("cosine_similarity", vec![2, 3], |x| x.cosine_similarity(&fixed(&[2, 3], 1), 1, 1e-8)),
        ("kl_divergence", vec![2, 3], |x| x.log_softmax(1).kl_divergence(&fixed(&[2, 3], 1).softmax(1))),
    ]);
}

#[test]
fn attention() {
    check_all(vec![
        ("attention queries", vec![2, 3, 2], |x| {
            x.attention(&fixed(&[2, 4, 2], 1), &fixed(&[2, 4, 3], 2), &AttentionOptions::new())
        }),
        ("attention to itself", vec![3, 2], |x| x.attention(x, x, &AttentionOptions::new().causal())),
        ("attention masked", vec![2, 2], |x| {
            let mask = Tensor::from([[true, false], [false, false]]);
            x.attention(x, x, &AttentionOptions::new().mask(&mask).scale(0.5))
        }),
        ("attention grouped", vec![1, 2, 2], |x| {
            let queries = fixed(&[1, 4, 2, 2], 1);
            queries.attention(
                &x.unsqueeze(0).reshape([1, 2, 1, 2]),
                &x.reshape([1, 2, 1, 2]),
                &AttentionOptions::new().grouped(),
            )
        }),
    ]);
}

#[test]
fn checkpoints_and_rules() {
    check_all(vec![
        ("checkpoint", vec![3], |x| Tensor::checkpoint(|| x.sin().exp() * x)),
        ("nested checkpoints", vec![3], |x| {
            Tensor::checkpoint(|| {
                let inner = Tensor::checkpoint(|| x.sin().exp());
                inner.tanh() * x
            })
        }),
        ("with_gradient", vec![3], |x| {
            x.exp().with_gradient(&[x], |_, value, upstream| vec![Some(value * upstream)])
        }),
    ]);
}

/// Two steps of two examples, two inputs and a state of two, by a cell of so many gates.
fn recurrence(gates: usize) -> Recurrence {
    let weight = |seed: u64| fixed(&[gates * 2, 2], seed);
    Recurrence::new(&weight(21), &weight(22)).biases(&fixed(&[gates * 2], 23), &fixed(&[gates * 2], 24))
}

/// All that comes out, in one row.
fn row(parts: &[&Tensor]) -> Tensor {
    Tensor::concat(&parts.iter().map(|part| part.flatten(..)).collect::<Vec<_>>(), 0)
}

fn lstm(x: &Tensor, cell: &Recurrence, start: Option<(&Tensor, &Tensor)>) -> Tensor {
    let (all, h, c) = x.lstm(cell, start);
    row(&[&all, &h, &c])
}

fn gru(x: &Tensor, cell: &Recurrence, start: Option<&Tensor>) -> Tensor {
    let (all, h) = x.gru(cell, start);
    row(&[&all, &h])
}

#[test]
fn recurrences() {
    let x = || fixed(&[2, 3, 2], 30);
    let lengths = || Tensor::from([3i64, 2]);
    let (s, w) = (|| vec![2, 3, 2], || vec![2, 2]);
    check_all(vec![
        ("lstm", s(), |x| lstm(x, &recurrence(4), None)),
        ("lstm reverse", s(), |x| lstm(x, &recurrence(4).reverse().lengths(&Tensor::from([3, 2])), None)),
        ("lstm peepholes", s(), |x| lstm(x, &recurrence(4).peepholes(&fixed(&[6], 25)), None)),
        ("lstm clip", s(), |x| lstm(x, &recurrence(4).clip(0.9), None)),
        ("gru", s(), |x| gru(x, &recurrence(3), None)),
        ("gru reset first", s(), |x| gru(x, &recurrence(3).reset_first(), None)),
        ("rnn", s(), |x| x.rnn(&recurrence(1), None).0),
        ("lstm start", w(), |h| lstm(&fixed(&[2, 3, 2], 30), &recurrence(4), Some((h, &(h * 0.5))))),
        ("gru start", w(), |h| gru(&fixed(&[2, 3, 2], 30), &recurrence(3).reset_first(), Some(h))),
    ]);
    let (input, hidden) = (|gates| fixed(&[gates * 2, 2], 21), |gates| fixed(&[gates * 2, 2], 22));
    let bias =
        |b: &Tensor, gates: usize| Recurrence::new(&input(gates), &hidden(gates)).biases(&(b * 0.3), b);
    check("lstm input weight", &[8, 2], &|w| lstm(&x(), &Recurrence::new(w, &hidden(4)), None));
    check("lstm hidden weight", &[8, 2], &|w| lstm(&x(), &Recurrence::new(&input(4), w), None));
    check("lstm bias", &[8], &|b| lstm(&x(), &bias(b, 4).lengths(&lengths()), None));
    check("lstm peephole weight", &[6], &|p| lstm(&x(), &recurrence(4).peepholes(p), None));
    check("gru hidden weight", &[6, 2], &|w| gru(&x(), &Recurrence::new(&input(3), w), None));
    check("gru bias", &[6], &|b| gru(&x(), &bias(b, 3), None));
    check("gru bias, reset first", &[6], &|b| gru(&x(), &bias(b, 3).reset_first(), None));
}
