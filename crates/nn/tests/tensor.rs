//! What people meet first: making, arithmetic, dtypes, indexing, mistakes, printing, randomness.

use kiln_nn::{
    Axes, ConvOptions, CrossEntropyOptions, DType, ErrorKind, Index, Key, PoolOptions, Reduction, Tensor,
    eval_all, strided,
};

fn f64s(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).to_vec().unwrap_or_else(|error| panic!("{error}"))
}

fn i64s(x: &Tensor) -> Vec<i64> {
    x.to_vec().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn near(x: &Tensor, expected: &[f64]) {
    let found = f64s(x);
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!(a == b || (a - b).abs() < 1e-5 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan()), "{found:?}");
    }
}

#[track_caller]
fn message(x: &Tensor) -> String {
    x.error().expect("should be poisoned").to_string()
}

#[test]
fn micrograd_in_four_lines() {
    let a = Tensor::from(2.0);
    let b = (&a * 3.0).tanh();
    let g = b.grad(&[&a]);
    assert_eq!(format!("{} {:.8}", b, g[0]), "0.9999877116507956 0.00007373");
}

#[test]
fn micrograds_worked_example_gives_its_numbers() {
    let (a, b) = (Tensor::from(-4.0), Tensor::from(2.0));
    let mut c = &a + &b;
    let mut d = &a * &b + b.pow(3);
    c += &c + 1;
    c += 1.0 + &c + (-&a);
    d += &d * 2 + (&b + &a).relu();
    d += 3.0 * &d + (&b - &a).relu();
    let e = &c - &d;
    let f = e.pow(2);
    let mut g = &f / 2.0;
    g += 10.0 / &f;
    let gradients = g.grad(&[&a, &b]);
    assert_eq!(format!("{g:.4} {:.4} {:.4}", gradients[0], gradients[1]), "24.7041 138.8338 645.5773");
}

#[test]
fn rust_types_decide_dtypes() {
    assert_eq!(Tensor::from(2.0).dtype(), DType::F64);
    assert_eq!(Tensor::from(2.0f32).dtype(), DType::F32);
    assert_eq!(Tensor::from([[1u8, 2], [3, 4]]).dtype(), DType::U8);
    assert_eq!(Tensor::from(vec![1i64]).dtype(), DType::I64);
    assert_eq!(Tensor::from(&[true, false][..]).dtype(), DType::Bool);
    assert_eq!(*Tensor::from([[[[1.0f32; 5]; 4]; 3]; 2]).shape(), [2, 3, 4, 5]);
    assert_eq!(*Tensor::new([1.0f32, 2.0], [2, 1]).shape(), [2, 1]);
    assert_eq!(Tensor::full([2], 1.5).dtype(), DType::F32);
    assert_eq!(Tensor::full([2], 1).dtype(), DType::I64);
    assert_eq!(Tensor::full([2], true).dtype(), DType::Bool);
}

#[test]
fn literals_take_the_tensors_dtype() {
    let x = Tensor::ones([2]);
    for half in [DType::F16, DType::Bf16, DType::F32, DType::F64] {
        assert_eq!((x.cast(half) * 2.5 + 1).dtype(), half);
        assert_eq!((1.0 - x.cast(half)).dtype(), half);
    }
    let count = Tensor::from([7, 2]);
    assert_eq!((&count * 2).dtype(), DType::I32);
    assert_eq!((&count * 2.0).dtype(), DType::F32);
    assert_eq!((&count / 2).dtype(), DType::F32);
    assert_eq!((&count / &count).dtype(), DType::F32);
    assert_eq!((count.cast(DType::F64) / &count).dtype(), DType::F64);
    assert_eq!(count.div_trunc(2).to_vec::<i32>().unwrap(), [3, 1]);
    assert_eq!((&count % 4).to_vec::<i32>().unwrap(), [3, 2]);
    near(&(&count / 2), &[3.5, 1.0]);
    near(&(2 / &count), &[2.0 / 7.0, 1.0]);
    near(&(1 - &count), &[-6.0, -1.0]);
    near(&(8.0 % Tensor::from([5.0, 3.0])), &[3.0, 2.0]);
}

#[test]
fn widening_reads_are_done_and_narrowing_ones_refused() {
    let x = Tensor::from([1.0f32, 2.0]);
    assert_eq!(x.to_vec::<f64>().unwrap(), [1.0, 2.0]);
    let error = Tensor::from([1.0f64]).to_vec::<f32>().unwrap_err();
    assert_eq!(error.kind, ErrorKind::DType);
    assert!(error.message.contains("cast to f32"));
    assert_eq!(Tensor::from([true, false]).to_vec::<u8>().unwrap(), [1, 0]);
    assert_eq!(Tensor::from(7u8).item().unwrap(), 7.0);
    assert_eq!(Tensor::from(7u8).to_scalar::<i32>().unwrap(), 7);
    assert!(Tensor::ones([2]).item().unwrap_err().message.contains("[2]"));
}

#[test]
fn mistakes_name_the_users_line() {
    let x = Tensor::zeros([2, 3]);
    let here = |tensor: Tensor, line: u32, part: &str| {
        let error = tensor.error().expect("should be poisoned");
        let at = error.at.expect("should know its line");
        assert!(at.file().ends_with("tensor.rs"), "{error}");
        assert_eq!(at.line(), line, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        // The first mistake stays while the tensor is used further.
        let further = (tensor + 1.0).sum(..).softmax(-1).reshape([7, -1]).error();
        assert_eq!(further.map(|error| error.to_string()), Some(error.to_string()));
    };
    here(&x + Tensor::zeros([4]), line!(), "[2, 3] and [4]");
    here(2.0 * &x - Tensor::zeros([4, 1]), line!(), "[2, 3] and [4, 1]");
    here(x.matmul(&x), line!(), "inner sizes differ, [2, 3] × [2, 3]");
    here(x.softmax(2), line!(), "softmax: there is no axis 2 in [2, 3]");
    here(x.sum([0, 0]), line!(), "axis 0 is named twice");
    here(x.mean(-3), line!(), "mean: there is no axis -3");
    here(x.reshape([4, -1]), line!(), "6 elements");
    here(x.reshape([4, 2]), line!(), "reshape");
    here(x.reshape([-1, -1]), line!(), "only one size may be -1");
    here(x.permute([0]), line!(), "permut");
    here(x.at((0, 3)), line!(), "index 3 is outside of axis 1");
    here(x.at(1..4), line!(), "1..4 is outside of axis 0");
    here(x.at((0, 0, 0)), line!(), "3 indices");
    here(x.narrow(1, 2, 2), line!(), "2 elements from 2");
    here(x.squeeze(0), line!(), "axis 0 of [2, 3] has size 2");
    here(x.broadcast_to([3, 3]), line!(), "doesn't broadcast to [3, 3]");
    here(Tensor::concat(&[&x, &Tensor::zeros([2, 2])], 0), line!(), "differ outside of axis 0");
    here(Tensor::stack(&[&x, &Tensor::zeros([2, 2])], 0), line!(), "shapes differ");
    here(x.cross_entropy(&Tensor::from([0, 1, 2])), line!(), "should be [2]");
    here(x.mse(&Tensor::zeros([2])), line!(), "differ");
    here(x.layer_norm(5, 1e-5), line!(), "layer_norm: there is no axis 5");
    here(x.dropout(1.5, &Key::new(0)), line!(), "1.5");
    here(x.max_pool2d(2), line!(), "4 axes");
    here(x.conv2d(&x, &ConvOptions::new()), line!(), "conv2d");
    here(Tensor::zeros([1, 2, 4, 4]).max_pool2d(PoolOptions::new(2).stride(0)), line!(), "at least 1");
    here(Tensor::einsum("ij,jk", &[&x]), line!(), "2 terms for 1");
    here(Tensor::einsum("ij,jk->ik", &[&x, &x]), line!(), "'j' is 3 in one operand and 2");
    here(Tensor::einsum("ijk->k", &[&x]), line!(), "doesn't name the 2 axes");
    here(Tensor::einsum("ij->ik", &[&x]), line!(), "'k' is in no operand");
    here(Tensor::new([1.0f32, 2.0], [3]), line!(), "[3]");
    here(x.gather(0, &Tensor::from([[0.5, 1.0, 0.0]])), line!(), "indices are integers");
    here(x.clamp(1.0, -1.0), line!(), "above the maximum");
    here(!&x, line!(), "not");
    here(x.topk(4, 1).0, line!(), "4 elements");
    here(x.grad(&[&x]).remove(0), line!(), "sum() it");
    let [a, b] = x.split(1, [1, 1]);
    assert!(message(&a).contains("sum to axis 1") && message(&b) == message(&a));
    let [_, part] = x.chunk(1);
    assert!(message(&part).contains("2 equal parts"));
}

#[test]
fn a_poisoned_tensor_answers_without_panicking() {
    let x = Tensor::zeros([2, 3]) + Tensor::zeros([4]);
    assert_eq!((x.rank(), x.elements(), x.size(0), x.size(-1)), (0, 1, 1, 1));
    assert_eq!(x.to_vec::<f32>().unwrap_err().to_string(), message(&x));
    assert_eq!(format!("{x}"), format!("error: {}", message(&x)));
    assert_eq!(format!("{x:?}"), format!("error: {}", message(&x)));
    for part in x.split_every(0, 2).iter().chain(&x.unbind(1)).chain(&x.grad(&[&x])) {
        assert_eq!(message(part), message(&x));
    }
    let (y, mean, var) = x.batch_norm_train(&Tensor::zeros([1]), &Tensor::zeros([1]), 0.1, 1e-5);
    for part in [y, mean, var, x.sort(0, false).0, Tensor::einsum("i->i", &[&x]), x.max_pool2d(2)] {
        assert_eq!(message(&part), message(&x));
    }
    let weight = Tensor::zeros([1, 1, 1]);
    assert_eq!(message(&weight.conv1d(&x, &ConvOptions::new())), message(&x));
    assert_eq!(message(&x.attention(&weight, &weight, &Default::default())), message(&x));
    assert_eq!(message(&weight.cross_entropy(&x)), message(&x));
    assert_eq!(message(&Tensor::concat(&[&weight, &x], 0)), message(&x));
}

#[test]
fn ranges_and_steps_index_as_in_numpy() {
    let x = Tensor::arange(0..24).reshape([2, 3, 4]);
    assert_eq!(i64s(&x.at((1, -1))), [20, 21, 22, 23]);
    assert_eq!(i64s(&x.at((Index::Rest, 0))), [0, 4, 8, 12, 16, 20]);
    assert_eq!(i64s(&x.at((0, 1.., strided(..-1, 2)))), [4, 6, 8, 10]);
    assert_eq!(i64s(&x.at((0, 0, strided(.., -1)))), [3, 2, 1, 0]);
    assert_eq!(i64s(&x.at((0, 0, strided(1.., -2)))), [3, 1]);
    assert_eq!(*x.at((.., Index::NewAxis, 1..1)).shape(), [2, 1, 0, 4]);
    assert_eq!(*x.at((Index::NewAxis, Index::Rest, -2..)).shape(), [1, 2, 3, 2]);
    assert_eq!(i64s(&x.at((-1, ..1, 2usize))), [14]);
    assert_eq!(x.at((1, 2, 3)).item().unwrap(), 23.0);
}

#[test]
fn axes_are_written_in_many_ways() {
    let x = Tensor::ones([2, 3, 4]);
    assert_eq!(*x.sum(1).shape(), [2, 4]);
    assert_eq!(*x.sum(-1).shape(), [2, 3]);
    assert_eq!(*x.sum([0, -1]).shape(), [3]);
    assert_eq!(*x.sum(1..).shape(), [2]);
    assert_eq!(*x.sum(..2).shape(), [4]);
    assert_eq!(*x.sum(0..).shape(), []);
    assert_eq!(*x.sum_keepdim(..).shape(), [1, 1, 1]);
    assert_eq!(*x.sum(vec![0usize, 2]).shape(), [3]);
    assert_eq!(*x.sum(Axes::Listed(vec![])).shape(), [2, 3, 4]);
    assert_eq!(*x.flatten(1..).shape(), [2, 12]);
    assert_eq!(*x.flatten(..).shape(), [24]);
    assert_eq!(*x.permute([2, 0, 1]).shape(), [4, 2, 3]);
    assert_eq!(*x.transpose(0, -1).shape(), [4, 3, 2]);
    assert_eq!(*x.t().shape(), [2, 4, 3]);
    assert_eq!(*x.unsqueeze(1).squeeze(1).shape(), [2, 3, 4]);
    assert_eq!(*x.unsqueeze(1).squeeze(..).shape(), [2, 3, 4]);
    assert!(message(&x.sum(1..9)).contains("no axis 3"));
}

#[test]
fn reductions_count_in_wide_types() {
    let pixels = Tensor::new(vec![200u8; 1000], [1000]);
    assert_eq!(pixels.sum(..).item().unwrap(), 200_000.0);
    assert_eq!(pixels.mean(..).item().unwrap(), 200.0);
    assert_eq!(pixels.cumsum(0).at(-1).item().unwrap(), 200_000.0);
    let half = Tensor::full([4096], 60.0).cast(DType::F16);
    assert_eq!(half.mean(..).item().unwrap(), 60.0);
    assert_eq!(half.norm(2.0, ..).item().unwrap(), 3840.0);
    assert_eq!(half.var(0, ..).item().unwrap(), 0.0);
    let flags = Tensor::from([[true, false], [false, false]]);
    assert_eq!(i64s(&flags.sum(..)), [1]);
    assert_eq!(flags.any(1).to_vec::<bool>().unwrap(), [true, false]);
    assert_eq!(flags.all(0).to_vec::<bool>().unwrap(), [false, false]);
    assert_eq!(i64s(&Tensor::from([0.0, -2.0, f64::NAN]).count_nonzero(..)), [2]);
}

#[test]
fn empty_tensors_fold_to_neutral_values() {
    let x = Tensor::zeros([2, 0]);
    near(&x.sum(1), &[0.0, 0.0]);
    near(&x.prod(1), &[1.0, 1.0]);
    near(&x.mean(1), &[f64::NAN, f64::NAN]);
    near(&x.max(1), &[f64::NEG_INFINITY, f64::NEG_INFINITY]);
    assert_eq!(*x.matmul(&Tensor::zeros([0, 3])).shape(), [2, 3]);
    near(&x.matmul(&Tensor::zeros([0, 3])), &[0.0; 6]);
    assert!(message(&x.argmax(1)).contains("empty"));
    assert!(x.reshape([0, 5]).to_vec::<f32>().unwrap().is_empty());
    assert_eq!(x.unbind(1).len(), 0);
}

#[test]
fn extreme_logits_stay_finite() {
    let x = Tensor::from([1e4, -1e4, 0.0]);
    near(&x.softmax(0), &[1.0, 0.0, 0.0]);
    near(&x.log_softmax(0), &[0.0, -2e4, -1e4]);
    near(&x.logsumexp(0), &[1e4]);
    near(&x.softplus(), &[1e4, 0.0, std::f64::consts::LN_2]);
    near(&x.log_sigmoid(), &[0.0, -1e4, -std::f64::consts::LN_2]);
    near(&x.bce_with_logits(&Tensor::from([1.0, 0.0, 1.0])), &[std::f64::consts::LN_2 / 3.0]);
    near(&x.elu(1.0).sum(..).grad(&[&x])[0], &[1.0, 0.0, 1.0]);
    let infinite = Tensor::from([f64::NEG_INFINITY, 1.0]);
    near(&infinite.logsumexp(0), &[1.0]);
    near(&infinite.softmax(0), &[0.0, 1.0]);
    near(&Tensor::from([f64::NEG_INFINITY]).logsumexp(0), &[f64::NEG_INFINITY]);
    assert_eq!(Tensor::from([70_000.0]).sigmoid().item().unwrap(), 1.0);
}

#[test]
fn zero_variance_gives_no_nan() {
    let x = Tensor::full([2, 4], 3.0);
    near(&x.layer_norm(-1, 1e-5), &[0.0; 8]);
    near(&x.layer_norm(-1, 1e-5).square().sum(..).grad(&[&x])[0], &[0.0; 8]);
    near(&x.std(1, ..).grad(&[&x])[0], &[0.0; 8]);
    near(&Tensor::zeros([3]).norm(2.0, ..).item().map(Tensor::from).unwrap(), &[0.0]);
    let zero = Tensor::zeros([3]);
    near(&zero.norm(2.0, ..).grad(&[&zero])[0], &[0.0; 3]);
}

#[test]
fn labels_that_are_no_class_show_as_nan_and_ignored_ones_do_not_count() {
    let logits = Tensor::from([[1.0, 2.0], [3.0, 1.0]]);
    assert!(logits.cross_entropy(&Tensor::from([0, 2])).item().unwrap().is_nan());
    assert!(logits.cross_entropy(&Tensor::from([0, -1])).item().unwrap().is_nan());
    let alone = logits.at(..1).cross_entropy(&Tensor::from([0])).item().unwrap();
    near(&logits.cross_entropy(&Tensor::from([0, -100])), &[alone]);
    let none = CrossEntropyOptions::new().reduction(Reduction::None).ignore_index(1);
    near(&logits.cross_entropy_with(&Tensor::from([0, 1]), &none), &[alone, 0.0]);
    near(&logits.at(0).cross_entropy(&Tensor::from(0)), &[alone]);
    let by_probability = logits.cross_entropy(&Tensor::from([[1.0, 0.0], [0.0, 1.0]]));
    near(&logits.cross_entropy(&Tensor::from([0u8, 1])), &[by_probability.item().unwrap()]);
}

#[test]
fn pooling_ties_give_the_gradient_to_the_first() {
    let x = Tensor::ones([1, 1, 2, 2]);
    near(&x.max_pool2d(2).sum(..).grad(&[&x])[0], &[1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn padding_modes() {
    let x = Tensor::from([[1, 2, 3]]);
    assert_eq!(i64s(&x.pad([(1, 2)], -1)), [-1, 1, 2, 3, -1, -1]);
    assert_eq!(i64s(&x.pad_reflect([(2, 2)])), [3, 2, 1, 2, 3, 2, 1]);
    assert_eq!(i64s(&x.pad_replicate([(2, 1)])), [1, 1, 1, 2, 3, 3]);
    assert_eq!(i64s(&x.pad_circular([(1, 2)])), [3, 1, 2, 3, 1, 2]);
    assert!(message(&x.pad_reflect([(3, 0)])).contains("below the size"));
}

#[test]
fn rearranging() {
    let x = Tensor::arange(0..6).reshape([2, 3]);
    assert_eq!(i64s(&x.roll(1, 1)), [2, 0, 1, 5, 3, 4]);
    assert_eq!(i64s(&x.roll(1, -4)), [1, 2, 0, 4, 5, 3]);
    assert_eq!(i64s(&x.flip(0)), [3, 4, 5, 0, 1, 2]);
    assert_eq!(i64s(&x.repeat([1, 2]).at(0)), [0, 1, 2, 0, 1, 2]);
    assert_eq!(i64s(&x.repeat_interleave(1, 2).at(0)), [0, 0, 1, 1, 2, 2]);
    assert_eq!(i64s(&x.tril(0)), [0, 0, 0, 3, 4, 0]);
    assert_eq!(i64s(&x.triu(1)), [0, 1, 2, 0, 0, 5]);
    assert_eq!(i64s(&x.diagonal(0)), [0, 4]);
    assert_eq!(i64s(&x.diagonal(-1)), [3]);
    assert_eq!(i64s(&x.diagonal(5)), []);
    assert_eq!(i64s(&Tensor::arange(1..3).diagonal_matrix()), [1, 0, 0, 2]);
    let [rows, columns] = Tensor::meshgrid([&Tensor::arange(0..2), &Tensor::arange(5..7)]);
    assert_eq!((i64s(&rows), i64s(&columns)), (vec![0, 0, 1, 1], vec![5, 6, 5, 6]));
    assert_eq!(x.split_every(1, 2).iter().map(|part| part.size(1)).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(i64s(&x.unbind(1)[2]), [2, 5]);
    near(&Tensor::eye(2), &[1.0, 0.0, 0.0, 1.0]);
    near(&Tensor::linspace(0.0, 1.0, 3), &[0.0, 0.5, 1.0]);
    assert_eq!(i64s(&Tensor::arange_step(5, 0, -2)), [5, 3, 1]);
    assert_eq!(i64s(&Tensor::arange_step(3, 0, 1)), []);
    assert!(message(&Tensor::arange_step(0, 3, 0)).contains("step of 0"));
    let mixed = Tensor::concat(&[&x, &Tensor::ones([2, 1])], 1);
    assert_eq!((mixed.dtype(), mixed.size(1)), (DType::F32, 4));
}

#[test]
fn sorting_is_stable_and_puts_nan_last() {
    let x = Tensor::from([2.0, f64::NAN, 1.0, 2.0]);
    let (sorted, order) = x.sort(0, false);
    assert_eq!(i64s(&order), [2, 0, 3, 1]);
    near(&sorted, &[1.0, 2.0, 2.0, f64::NAN]);
    assert_eq!(i64s(&x.argmax(0)), [1]);
    assert_eq!(x.median(0).item().unwrap(), 2.0);
}

#[test]
fn conditions_combine() {
    let x = Tensor::from([-1.0, 0.0, 1.0, f64::NAN]);
    let bools = |x: Tensor| x.to_vec::<bool>().unwrap();
    assert_eq!(bools(x.gt(-0.5) & x.le(0)), [false, true, false, false]);
    assert_eq!(bools(x.lt(0.0) | x.ge(1.0)), [true, false, true, false]);
    assert_eq!(bools(x.ne(0) ^ x.eq(1)), [true, false, false, true]);
    assert_eq!(bools(!x.is_nan()), [true, true, true, false]);
    assert_eq!(bools(x.is_finite()), [true, true, true, false]);
    assert_eq!(bools(x.logical_and(&Tensor::from(2)).logical_not()), [false, true, false, false]);
    assert_eq!((Tensor::from([6, 3]) & 2).to_vec::<i32>().unwrap(), [2, 2]);
    near(&x.is_nan().select(7, &x), &[-1.0, 0.0, 1.0, 7.0]);
    near(&x.trunc(), &[-1.0, 0.0, 1.0, f64::NAN]);
    near(&Tensor::from([-1.7, 1.7, 2.5, 3.5]).trunc(), &[-1.0, 1.0, 2.0, 3.0]);
    near(&Tensor::from([-1.7, 1.7, 2.5, 3.5]).round(), &[-2.0, 2.0, 2.0, 4.0]);
}

#[test]
fn keys_draw_the_same_on_the_host_and_in_a_graph() {
    let host = Key::new(42).derive(3);
    let graph = Key::from_tensor(&Key::new(42).tensor()).derive(Tensor::from(3i64));
    assert_eq!(i64s(&host.tensor()), i64s(&graph.tensor()));
    let draws = host.uniform([100], -1.0, 1.0);
    assert_eq!(f64s(&draws), f64s(&graph.uniform([100], -1.0, 1.0)));
    assert!(f64s(&draws).iter().all(|x| (-1.0..1.0).contains(x)));
    assert_ne!(f64s(&draws), f64s(&Key::new(42).derive(4).uniform([100], -1.0, 1.0)));
    assert_ne!(f64s(&draws), f64s(&Key::new(43).derive(3).uniform([100], -1.0, 1.0)));
    let [a, b] = Key::new(1).split();
    assert_ne!(i64s(&a.tensor()), i64s(&b.tensor()));
}

#[test]
fn draws_have_the_moments_they_should() {
    let key = Key::new(9);
    let normal = key.derive(0).normal([20_000], 2.0, 3.0);
    assert!((normal.mean(..).item().unwrap() - 2.0).abs() < 0.06);
    assert!((normal.std(1, ..).item().unwrap() - 3.0).abs() < 0.06);
    let uniform = key.derive(1).uniform([20_000], 0.0, 1.0);
    assert!((uniform.var(0, ..).item().unwrap() - 1.0 / 12.0).abs() < 0.002);
    let dice = key.derive(2).randint([6_000], 1, 7);
    assert_eq!((dice.min(..).item().unwrap(), dice.max(..).item().unwrap()), (1.0, 6.0));
    assert!((dice.eq(4).sum(..).item().unwrap() - 1000.0).abs() < 120.0);
    let mut order = i64s(&key.derive(3).permutation(500));
    assert!(order.windows(2).any(|pair| pair[0] > pair[1]));
    order.sort_unstable();
    assert_eq!(order, (0..500).collect::<Vec<_>>());
    let logits = Tensor::from([0.0, 3f64.ln()]).broadcast_to([4000, 2]);
    assert!((key.derive(4).categorical(&logits).sum(..).item().unwrap() - 3000.0).abs() < 120.0);
}

#[test]
fn values_are_computed_once_and_detached() {
    let x = Tensor::from([1.0, 2.0]);
    let y = x.exp().eval().unwrap();
    assert_eq!(f64s(&y.sum(..).grad(&[&x])[0]), [0.0, 0.0]);
    let both = eval_all(&[&x.sum(..), &x.prod(0)]).unwrap();
    assert_eq!((both[0].item().unwrap(), both[1].item().unwrap()), (3.0, 2.0));
}

#[test]
fn one_matrix_for_a_batch_is_one_product() {
    let product = Tensor::ones([2, 5, 3]).matmul(&Tensor::ones([3, 4]));
    let node = product.expr().node().unwrap();
    assert_eq!(*node.inputs[0].shape, [10, 4]);
    near(&product.sum(..), &[120.0]);
}

#[test]
fn an_image_without_its_batch_axis_keeps_its_rank() {
    let (image, weight) = (Tensor::ones([2, 5, 5]), Tensor::ones([3, 2, 3, 3]));
    let y = image.conv2d(&weight, &ConvOptions::new());
    assert_eq!(*y.shape(), [3, 3, 3]);
    near(&y.at((0, 0, 0)), &[18.0]);
    assert_eq!(*y.max_pool2d(3).shape(), [3, 1, 1]);
    assert_eq!(*image.cast(DType::U8).conv2d(&weight, &ConvOptions::new()).shape(), [3, 3, 3]);
}

#[test]
fn numbers_print_as_in_numpy() {
    assert_eq!(Tensor::from([1.0, 2.5, -3.0]).to_string(), "[ 1.   2.5 -3. ]");
    assert_eq!(Tensor::from([[1, 20], [300, 4]]).to_string(), "[[  1  20]\n [300   4]]");
    assert_eq!(Tensor::from([true, false]).to_string(), "[ true false]");
    assert_eq!(Tensor::from(0.1f32).to_string(), "0.1");
    assert_eq!(Tensor::from(3.0).to_string(), "3.0");
    assert_eq!(Tensor::from([0.1f32, 1.0 / 3.0]).to_string(), "[0.1        0.33333334]");
    assert_eq!(Tensor::from([1e-7, 2.5]).to_string(), "[1.0e-7  2.5e0]");
    assert_eq!(Tensor::from([f64::NAN, f64::INFINITY, 1.5]).to_string(), "[NaN inf 1.5]");
    assert_eq!(Tensor::from([[[1], [2]], [[3], [4]]]).to_string(), "[[[1]\n  [2]]\n\n [[3]\n  [4]]]");
    assert_eq!(Tensor::zeros([0]).to_string(), "[]");
    assert_eq!(Tensor::arange(0..2000).to_string(), "[   0    1    2 ... 1997 1998 1999]");
    let grid = Tensor::arange(0..1100).reshape([1100, 1]).to_string();
    assert_eq!(grid, "[[   0]\n [   1]\n [   2]\n ...\n [1097]\n [1098]\n [1099]]");
    assert_eq!(format!("{:?}", Tensor::from([[1.0f32], [2.0]])), "f32[2, 1]\n[[1.]\n [2.]]");
    assert_eq!(format!("{:?}", Tensor::from(2i64)), "i64[] 2");
    let long = Tensor::arange(1000..1030).to_string();
    assert!(long.lines().count() == 2 && long.lines().all(|line| line.len() <= 88), "{long}");
    assert!(long.lines().nth(1).is_some_and(|line| line.starts_with(" 1")));
}
