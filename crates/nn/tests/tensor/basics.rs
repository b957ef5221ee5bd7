//! What people meet first: making, arithmetic, dtypes, indexing, printing.

use kiln_nn::{Axes, ConvOptions, Correction, DType, ErrorKind, Index, Tensor, eval_all, strided};

use super::{f64s, i64s, message, near};

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
    assert_eq!(x.sum(0..).rank(), 0);
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
    assert_eq!(half.norm(.., 2.0).item().unwrap(), 3840.0);
    assert_eq!(half.var(.., Correction::POPULATION).item().unwrap(), 0.0);
    let flags = Tensor::from([[true, false], [false, false]]);
    assert_eq!(i64s(&flags.sum(..)), [1]);
    assert_eq!(flags.any(1).to_vec::<bool>().unwrap(), [true, false]);
    assert_eq!(flags.all(0).to_vec::<bool>().unwrap(), [false, false]);
    assert_eq!(i64s(&Tensor::from([0.0, -2.0, f64::NAN]).count_nonzero(..)), [2]);
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
    assert!(i64s(&x.diagonal(5)).is_empty());
    assert_eq!(i64s(&Tensor::arange(1..3).diagonal_matrix()), [1, 0, 0, 2]);
    let [rows, columns] = Tensor::meshgrid([&Tensor::arange(0..2), &Tensor::arange(5..7)]);
    assert_eq!((i64s(&rows), i64s(&columns)), (vec![0, 0, 1, 1], vec![5, 6, 5, 6]));
    assert_eq!(x.split_every(1, 2).iter().map(|part| part.size(1)).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(i64s(&x.unbind(1)[2]), [2, 5]);
    near(&Tensor::eye(2), &[1.0, 0.0, 0.0, 1.0]);
    near(&Tensor::linspace(0.0, 1.0, 3), &[0.0, 0.5, 1.0]);
    assert_eq!(i64s(&Tensor::arange_step(5, 0, -2)), [5, 3, 1]);
    assert!(i64s(&Tensor::arange_step(3, 0, 1)).is_empty());
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

#[test]
fn parts_of_an_axis_are_taken_by_any_type_of_whole_number() {
    let x = Tensor::arange(0..24).reshape([2, 3, 4]);
    let rows = |tensor: Tensor| (tensor.shape().sizes().to_vec(), tensor.to_vec::<i64>().unwrap());
    let expected = rows(x.narrow(2, 1, 2));
    assert_eq!(rows(x.narrow(2usize, 1usize, 2)), expected);
    assert_eq!(rows(x.narrow(-1i32, -3i64, 2)), expected);
    assert_eq!(rows(x.slice(-1, 1..3)), expected);
    assert_eq!(rows(x.slice(2usize, 1usize..=2)), expected);
    assert_eq!(rows(x.slice(1, 2)), rows(x.at((.., 2))));
    assert_eq!(rows(x.slice(0, strided(.., -1))), rows(x.flip(0)));
    for wrong in [
        x.slice(3, ..),
        x.slice(0, 2),
        x.slice(1, 1..9),
        x.narrow(usize::MAX, 0, 1),
        x.narrow(0, 2u8 as usize, 1),
    ] {
        assert!(wrong.error().is_some());
    }
    assert!(x.slice(3, ..).error().unwrap().to_string().starts_with("slice: there is no axis 3"));
}
