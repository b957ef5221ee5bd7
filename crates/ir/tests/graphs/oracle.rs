//! The oracle against numbers worked out by hand, where the meaning in `op.rs` could be misread.

use std::sync::Arc;

use kiln_ir::error::ErrorKind;
use kiln_ir::eval::evaluate;
use kiln_ir::half::f16;
use kiln_ir::op::{ArgOp, BinaryOp, ConvSpec, ReduceOp, ScatterMode, Shared, UnaryOp, WindowSpec};
use kiln_ir::{DType, Data, Error, Expr, Graph, Op, Result, Shape};
use kiln_testkit::{Problem, Tolerance, assert_close};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn floats(values: &[f64]) -> Expr {
    Expr::constant(Data::F64(values.to_vec()), [values.len()])
}

fn ints(values: &[i64]) -> Expr {
    Expr::constant(Data::I64(values.to_vec()), [values.len()])
}

fn value(x: &Expr) -> Result<Data> {
    Ok(Problem::trace("value", &[], std::slice::from_ref(x))?.oracle()?.outputs.remove(0))
}

#[track_caller]
fn assert_floats(x: &Expr, expected: &[f64]) {
    let found = value(x).unwrap_or_else(|error| panic!("{error}"));
    assert_close("value", &found.cast(DType::F64), &Data::F64(expected.to_vec()), Tolerance::of(DType::F64));
}

#[track_caller]
fn assert_ints(x: &Expr, expected: &[i64]) {
    assert_eq!(
        value(x).map(|data| data.cast(DType::I64)).unwrap_or_else(|e| panic!("{e}")),
        Data::I64(expected.to_vec())
    );
}

#[test]
fn integers_wrap_and_survive_division_by_zero() {
    let binary = |f, a: &[i64], b: &[i64]| ints(a).binary(f, &ints(b));
    assert_ints(&binary(BinaryOp::Div, &[7, -7, 7, i64::MIN], &[2, 2, 0, -1]), &[3, -3, 0, i64::MIN]);
    assert_ints(&binary(BinaryOp::Rem, &[7, -7, 7, i64::MIN], &[4, 4, 0, -1]), &[3, -3, 0, 0]);
    assert_ints(
        &binary(BinaryOp::Pow, &[2, 2, -3, 0, 3], &[10, -1, 3, 0, 64]),
        &[1024, 0, -27, 1, 3i64.wrapping_pow(64)],
    );
    assert_ints(&(ints(&[200]).cast(DType::U8) + ints(&[100]).cast(DType::U8)), &[44]);
    assert_ints(&-ints(&[1]).cast(DType::U16), &[65535]);
    assert_ints(&ints(&[i64::MIN, -5]).unary(UnaryOp::Abs), &[i64::MIN, 5]);
    assert_ints(&ints(&[i64::from(i32::MAX)]).cast(DType::I32).binary_scalar(BinaryOp::Mul, 2i64), &[-2]);
}

#[test]
fn casts_truncate_saturate_and_wrap() {
    let x = floats(&[2.9, -2.9, NAN, 1e30, -1e30, 300.0, -1.0]);
    assert_ints(&x.cast(DType::I64), &[2, -2, 0, i64::MAX, i64::MIN, 300, -1]);
    assert_ints(&x.cast(DType::U8), &[2, 254, 0, 255, 0, 44, 255]);
    assert_ints(&floats(&[0.0, -0.0, 0.2, NAN]).cast(DType::Bool), &[0, 0, 1, 1]);
    assert_floats(&floats(&[2049.0, 65520.0, 1e-9]).cast(DType::F16), &[2048.0, INF, 0.0]);
}

#[test]
fn nan_is_never_lost_by_accident() {
    let (a, b) = (floats(&[NAN, 1.0, 2.0]), floats(&[1.0, NAN, 3.0]));
    assert_floats(&a.binary(BinaryOp::Max, &b), &[NAN, NAN, 3.0]);
    assert_floats(&a.binary(BinaryOp::Min, &b), &[NAN, NAN, 2.0]);
    assert_ints(&a.binary(BinaryOp::Lt, &b), &[0, 0, 1]);
    assert_ints(&a.binary(BinaryOp::Eq, &a), &[0, 1, 1]);
    assert_ints(&a.binary(BinaryOp::Ne, &a), &[1, 0, 0]);
    assert_floats(&a.unary(UnaryOp::Relu), &[NAN, 1.0, 2.0]);
    assert_floats(&a.unary(UnaryOp::Sign), &[NAN, 1.0, 1.0]);
    assert_floats(&a.reduce(ReduceOp::Max, &[0]), &[NAN]);
    assert_floats(&b.reduce(ReduceOp::Min, &[0]), &[NAN]);
    let chosen = Expr::full([3], true, DType::Bool).select(&floats(&[1.0, 2.0, 3.0]), &a);
    assert_floats(&chosen, &[1.0, 2.0, 3.0]);
}

#[test]
fn functions_at_their_ends() {
    assert_floats(&floats(&[-800.0, 0.0, 800.0]).unary(UnaryOp::Sigmoid), &[0.0, 0.5, 1.0]);
    assert_floats(&floats(&[0.5, 1.5, 2.5, -0.5]).unary(UnaryOp::Round), &[0.0, 2.0, 2.0, 0.0]);
    assert_floats(&floats(&[0.0, -1.0]).unary(UnaryOp::Ln), &[-INF, NAN]);
    let erf =
        [0.0, 0.1124629160182849, 0.8427007929497149, 0.9999779095030014, 0.9999999845827421, 1.0, -1.0];
    assert_floats(&floats(&[0.0, 0.1, 1.0, 3.0, 4.0, 7.0, -INF]).unary(UnaryOp::Erf), &erf);
    let powers = floats(&[0.0, 0.0, -8.0, 2.0]).binary(BinaryOp::Pow, &floats(&[0.0, -1.0, 0.5, 3.0]));
    assert_floats(&powers, &[1.0, INF, NAN, 8.0]);
}

#[test]
fn folding_nothing_gives_the_neutral_value() {
    let nothing = |dtype, function| Expr::full([2, 0], 0i64, dtype).reduce(function, &[1]);
    assert_floats(&nothing(DType::F32, ReduceOp::Max), &[-INF, -INF]);
    assert_floats(&nothing(DType::F32, ReduceOp::Prod), &[1.0, 1.0]);
    assert_ints(&nothing(DType::U8, ReduceOp::Min), &[255, 255]);
    assert_ints(&nothing(DType::I32, ReduceOp::Max), &[i64::from(i32::MIN); 2]);
    assert_ints(&nothing(DType::Bool, ReduceOp::Max), &[0, 0]);
    assert_ints(&nothing(DType::Bool, ReduceOp::Min), &[1, 1]);
}

#[test]
fn positions_of_the_first_extreme_and_stable_order() {
    let x = floats(&[1.0, NAN, 3.0, NAN, 3.0]);
    assert_ints(&x.arg_reduce(ArgOp::Max, 0), &[1]);
    assert_ints(&x.arg_reduce(ArgOp::Min, 0), &[1]);
    assert_ints(&floats(&[1.0, 3.0, 3.0]).arg_reduce(ArgOp::Max, 0), &[1]);
    assert_ints(&x.argsort(0, false), &[0, 2, 4, 1, 3]);
    assert_ints(&x.argsort(0, true), &[1, 3, 2, 4, 0]);
}

#[test]
fn half_sums_are_gathered_wide() {
    let x = Expr::full([4096], 1.0, DType::F16);
    assert_eq!(value(&x.sum(&[0])).unwrap_or_else(|e| panic!("{e}")), Data::F16(vec![f16::from_f32(4096.0)]));
}

#[test]
fn a_convolution_by_hand() {
    let spec = ConvSpec { stride: vec![2], pad: vec![(1, 0)], dilation: vec![1], groups: 1 };
    let image = floats(&[1.0, 2.0, 3.0, 4.0]).reshape([1, 1, 4]);
    let weight = floats(&[10.0, 1.0]).reshape([1, 1, 2]);
    // [0 1] and [2 3] under the window [10 1], which isn't mirrored.
    assert_floats(&image.conv(&weight, &spec), &[1.0, 23.0]);
    assert_floats(
        &image.conv(&weight, &spec).conv_grad_input(&weight, &spec, &[4]),
        &[1.0, 230.0, 23.0, 0.0],
    );
}

#[test]
fn windows_pick_the_first_largest() {
    let spec = WindowSpec { window: vec![2], stride: vec![2], pad: vec![(1, 1)], dilation: vec![1] };
    let x = floats(&[-5.0, 1.0, 1.0, NAN]).reshape([1, 1, 4]);
    let numbers = floats(&[0.0, 1.0, 2.0, 3.0]).reshape([1, 1, 4]);
    assert_floats(&x.window_pick(&numbers, &spec), &[0.0, 1.0, 3.0]);
    assert_floats(
        &x.window_spread(&floats(&[7.0, 8.0, 9.0]).reshape([1, 1, 3]), &spec),
        &[7.0, 8.0, 0.0, 9.0],
    );
    assert_floats(&numbers.window_sum(&spec), &[0.0, 3.0, 3.0]);
}

#[test]
fn scattering_keeps_the_last_or_adds_all() {
    let (base, index, source) = (floats(&[1.0, 2.0, 3.0]), ints(&[2, 0, 2]), floats(&[10.0, 20.0, 30.0]));
    assert_floats(&base.scatter(&index, &source, 0, ScatterMode::Set), &[20.0, 2.0, 30.0]);
    assert_floats(&base.scatter(&index, &source, 0, ScatterMode::Add), &[21.0, 2.0, 43.0]);
}

#[test]
fn an_index_out_of_range_is_named() {
    for (index, name) in [(5, "index 5"), (-1, "index -1")] {
        let index = ints(&[0, index]);
        let x = floats(&[1.0, 2.0, 3.0]);
        for failing in [x.gather(&index, 0), x.scatter(&index, &floats(&[0.0, 0.0]), 0, ScatterMode::Set)] {
            let error = value(&failing).err().unwrap_or_else(|| panic!("{name} should fail"));
            assert_eq!(error.kind, ErrorKind::Index);
            assert!(
                error.to_string().contains(&format!("{name} is out of range for axis 0 of size 3")),
                "{error}"
            );
            assert!(error.to_string().contains("oracle.rs"), "{error}");
        }
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused() -> Result<()> {
    let declared = [([2].into(), DType::F32)];
    let (graph, _) = Graph::trace(&declared, &[Expr::input(0, [2], DType::F32)], &[])?;
    let refused = |inputs: &[&Data]| -> String {
        let outcome = evaluate(&graph, inputs, &|_| unreachable!("no variables"));
        outcome.err().map_or(String::new(), |error: Error| error.to_string())
    };
    assert!(refused(&[]).contains("0 arguments for 1 inputs"));
    assert!(refused(&[&Data::F64(vec![1.0, 2.0])]).contains("2 values of f64 for the input f32[2]"));
    let undeclared = Graph::trace(&[], &[Expr::input(0, [2], DType::F32)], &[]);
    assert!(undeclared.is_err_and(|error| error.to_string().contains("isn't among the 0 declared here")));
    Ok(())
}

#[test]
fn one_block_of_data_may_have_two_shapes() -> Result<()> {
    let data = Shared(Arc::new(Data::F64(vec![1.0, 2.0])));
    let shaped = |shape: Shape| Expr::apply(Op::Const(data.clone()), &[], Some((&shape, DType::F64)));
    assert_floats(&shaped([2, 1].into()).matmul(&shaped([1, 2].into())), &[1.0, 2.0, 2.0, 4.0]);
    let (graph, captured) = Graph::trace(&[], &[shaped([2].into()) + shaped([2].into())], &[])?;
    assert_eq!((graph.inputs.len(), captured.len()), (1, 1));
    Ok(())
}
