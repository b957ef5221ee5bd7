//! What gradients promise beside being right: whose they are, what they refuse, and how they compose.

use std::sync::Arc;

use kiln_ir::checkpoint::checkpoint;
use kiln_ir::grad::{gradients, hessian_vector, jvp};
use kiln_ir::op::{BinaryOp, GradientRule, ScatterMode, UnaryOp};
use kiln_ir::simplify::simplify;
use kiln_ir::{DType, Data, Expr, Op, Result};
use kiln_testkit::problem::HeldVariable;
use kiln_testkit::{Problem, Tolerance, assert_close};

fn vector(values: &[f64]) -> Expr {
    Expr::constant(Data::F64(values.to_vec()), [values.len()])
}

fn sum(x: &Expr) -> Expr {
    x.sum(&(0..x.rank()).collect::<Vec<_>>()).reshape(())
}

#[track_caller]
fn assert_values(outputs: &[Expr], expected: &[&[f64]]) {
    let problem = Problem::trace("test", &[], outputs).unwrap_or_else(|error| panic!("{error}"));
    let outcome = problem.oracle().unwrap_or_else(|error| panic!("{error}"));
    for (found, &expected) in outcome.outputs.iter().zip(expected) {
        assert_close(
            "value",
            &found.cast(DType::F64),
            &Data::F64(expected.to_vec()),
            Tolerance::of(DType::F64),
        );
    }
}

fn message(x: &Expr) -> String {
    x.error().map_or(String::new(), |error| error.to_string())
}

#[test]
fn a_value_that_is_not_a_scalar_needs_an_upstream() {
    let x = vector(&[1.0, 2.0]);
    let refused = gradients(&(&x * &x), std::slice::from_ref(&x), None).remove(0);
    assert!(message(&refused).contains("a non-scalar [2] needs an upstream gradient, or sum() it"));
    assert!(message(&refused).contains("gradients.rs"), "the error is at the caller's line");
    let weighted = gradients(&(&x * &x), std::slice::from_ref(&x), Some(&vector(&[1.0, 10.0])));
    assert_values(&weighted, &[&[2.0, 40.0]]);
    let wrong = gradients(&(&x * &x), &[x], Some(&vector(&[1.0])));
    assert!(message(&wrong[0]).contains("upstream [1] doesn't fit the value [2]"));
}

#[test]
fn only_floats_have_gradients() {
    let x = vector(&[1.5, 2.5]);
    let index = Expr::constant(Data::I64(vec![1, 1, 0]), [3]);
    let picked = x.gather(&index, 0);
    assert_values(&gradients(&sum(&picked), &[x.clone(), index], None), &[&[1.0, 2.0], &[0.0, 0.0, 0.0]]);
    assert_values(&gradients(&sum(&x.unary(UnaryOp::Floor)), std::slice::from_ref(&x), None), &[&[0.0, 0.0]]);
    let refused = gradients(&sum(&x.cast(DType::I64)), &[x], None).remove(0);
    assert!(message(&refused).contains("i64 values have no gradient"));
}

#[test]
fn what_is_not_reached_has_a_gradient_of_zeros() {
    let (x, y) = (vector(&[1.0, 2.0]), vector(&[3.0]));
    let stopped = sum(&(x.stop_gradient() * &x));
    assert_values(&gradients(&stopped, &[x, y], None), &[&[1.0, 2.0], &[0.0]]);
}

#[test]
fn gradients_in_intermediate_values_and_in_the_value_itself() {
    let x = vector(&[1.0, 2.0]);
    let y = &x * 3.0;
    let z = sum(&(&y * &y));
    assert_values(&gradients(&z, &[y, x, z.clone()], None), &[&[6.0, 12.0], &[18.0, 36.0], &[1.0]]);
}

#[test]
fn a_variable_is_one_however_many_nodes_read_it() {
    let (variable, first) = HeldVariable::new("w", [2], Data::F64(vec![1.0, 2.0]));
    let second = Expr::variable(variable.clone());
    let slope = gradients(&sum(&(&first * &second)), &[Expr::variable(variable)], None);
    assert_values(&slope, &[&[2.0, 4.0]]);
}

#[test]
fn only_what_reaches_a_wanted_value_is_built() -> Result<()> {
    let (x, weight) = (Expr::input(0, [3, 4], DType::F32), Expr::input(1, [4, 2], DType::F32));
    let loss = sum(&x.matmul(&weight).unary(UnaryOp::Relu));
    let slope = gradients(&loss, &[weight], None);
    let declared = [([3, 4].into(), DType::F32), ([4, 2].into(), DType::F32)];
    let (graph, _) = kiln_ir::Graph::trace(&declared, &slope, &[])?;
    assert_eq!(graph.nodes.iter().filter(|node| node.op == Op::Matmul).count(), 2, "{graph}");
    Ok(())
}

#[test]
fn errors_pass_through() {
    let x = vector(&[1.0, 2.0]);
    let broken = &x + &vector(&[1.0, 2.0, 3.0]);
    assert!(
        message(&gradients(&broken, std::slice::from_ref(&x), None)[0]).contains("shapes don't broadcast")
    );
    assert!(message(&gradients(&sum(&x), &[broken], None)[0]).contains("shapes don't broadcast"));
}

#[test]
fn ties_share_and_zeros_do_no_harm() {
    let x = vector(&[2.0, 0.0, 2.0]);
    let slope = |y: &Expr| gradients(&sum(y), std::slice::from_ref(&x), None).remove(0);
    assert_values(&[slope(&x.reduce(kiln_ir::op::ReduceOp::Max, &[0]))], &[&[0.5, 0.0, 0.5]]);
    assert_values(&[slope(&x.reduce(kiln_ir::op::ReduceOp::Prod, &[0]))], &[&[0.0, 4.0, 0.0]]);
    assert_values(&[slope(&x.binary_scalar(BinaryOp::Max, 0.0))], &[&[1.0, 0.5, 1.0]]);
    assert_values(&[slope(&x.binary_scalar(BinaryOp::Pow, 0.0))], &[&[0.0, 0.0, 0.0]]);
    let exponent = vector(&[0.0, 3.0, 1.0]);
    let both = gradients(&sum(&x.binary(BinaryOp::Pow, &exponent)), &[x.clone(), exponent], None);
    let ln2 = std::f64::consts::LN_2;
    assert_values(&both, &[&[0.0, 0.0, 1.0], &[ln2, 0.0, 2.0 * ln2]]);
}

#[test]
fn of_a_set_scatter_only_the_last_writer_has_a_gradient() {
    let (base, source) = (vector(&[1.0, 2.0, 3.0]), vector(&[4.0, 5.0, 6.0]));
    let index = Expr::constant(Data::I64(vec![2, 0, 2]), [3]);
    let value = base.scatter(&index, &source, 0, ScatterMode::Set);
    let slopes = gradients(&sum(&(&value * &vector(&[10.0, 20.0, 30.0]))), &[base, source], None);
    assert_values(&slopes, &[&[0.0, 20.0, 0.0], &[0.0, 10.0, 30.0]]);
}

#[test]
fn a_cast_carries_gradients_between_floats() {
    let x = Expr::constant(Data::F16(vec![kiln_ir::half::f16::from_f32(1.5)]), [1]);
    let slope = gradients(&sum(&(x.cast(DType::F32) * 3.0)), &[x], None).remove(0);
    assert_eq!(slope.dtype(), DType::F16);
    assert_values(&[slope], &[&[3.0]]);
}

#[test]
fn forward_mode_and_hessian_products() {
    let x = vector(&[1.0, 2.0]);
    let cube = &x * &x * &x;
    assert_values(&[jvp(&cube, std::slice::from_ref(&x), &[vector(&[1.0, 10.0])])], &[&[3.0, 120.0]]);
    let product = hessian_vector(&sum(&cube), std::slice::from_ref(&x), &[vector(&[1.0, 10.0])]);
    assert_values(&product, &[&[6.0, 120.0]]);
    let third = gradients(&sum(&product[0]), &[x], None);
    assert_values(&third, &[&[6.0, 60.0]]);
}

#[test]
fn a_checkpoint_computes_anew_and_gives_the_same() -> Result<()> {
    let x = vector(&[0.3, -0.7]);
    let (variable, _) = HeldVariable::new("w", [2], Data::F64(vec![1.1, 0.4]));
    let layer = || (&x * &Expr::variable(variable.clone())).unary(UnaryOp::Sin).unary(UnaryOp::Exp);
    let (kept, anew) = (layer(), checkpoint(layer));
    let wanted = [x.clone(), Expr::variable(variable.clone())];
    let slope = |y: &Expr| gradients(&sum(&(y * y)), &wanted, None);
    let (graph, _) = kiln_ir::Graph::trace(&[], &slope(&anew), &[])?;
    let sines =
        |graph: &kiln_ir::Graph| graph.nodes.iter().filter(|n| n.op == Op::Unary(UnaryOp::Sin)).count();
    assert_eq!(sines(&simplify(&graph)), 2, "one for the value, one for the gradient\n{graph}");
    let problem = Problem::trace("both", &[], &[slope(&kept), slope(&anew)].concat())?;
    let outputs = problem.oracle()?.outputs;
    assert_eq!((&outputs[0], &outputs[1]), (&outputs[2], &outputs[3]));

    // Nested, and differentiated twice.
    let nested = checkpoint(|| checkpoint(layer).unary(UnaryOp::Tanh));
    let plain = layer().unary(UnaryOp::Tanh);
    let twice = |y: &Expr| hessian_vector(&sum(y), &wanted, &[x.clone(), x.clone()]);
    let outputs = Problem::trace("nested", &[], &[twice(&plain), twice(&nested)].concat())?.oracle()?.outputs;
    assert_close("nested", &outputs[2], &outputs[0], Tolerance::of(DType::F64));
    assert_close("nested", &outputs[3], &outputs[1], Tolerance::of(DType::F64));
    Ok(())
}

#[derive(Debug)]
struct Wrong(Vec<Option<Expr>>);

impl GradientRule for Wrong {
    fn gradient(&self, _: &[Expr], _: &Expr, _: &Expr) -> Vec<Option<Expr>> {
        self.0.clone()
    }
}

#[test]
fn a_users_rule_is_checked() {
    let x = vector(&[1.0, 2.0]);
    let slope = |given: Vec<Option<Expr>>| {
        let y = (&x * 2.0).with_rule(&[&x], Arc::new(Wrong(given)));
        gradients(&sum(&y), std::slice::from_ref(&x), None).remove(0)
    };
    assert!(message(&slope(vec![])).contains("gradient rule: 0 gradients for 1 operands"));
    assert!(message(&slope(vec![Some(vector(&[1.0]))])).contains("a gradient [1] for an operand [2]"));
    assert_values(&[slope(vec![None])], &[&[0.0, 0.0]]);
}

/// How many nodes of this kind the gradient of `value` in `x` has.
fn count(value: &Expr, x: &Expr, name: &str) -> usize {
    let gradient = gradients(value, std::slice::from_ref(x), None);
    let graph = Problem::trace("test", &[], &gradient).unwrap_or_else(|error| panic!("{error}")).graph;
    graph.nodes.iter().filter(|node| node.op.name() == name).count()
}

#[test]
fn what_cuts_hand_back_is_put_side_by_side() {
    let x = vector(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let part = |start, len| x.narrow(0, start, len);
    // In no order, with a gap, and with something else that arrives at the same value.
    let cut = sum(&(&part(3, 2) * &part(3, 2))) + sum(&(part(0, 2) * 3.0)) + sum(&x);
    assert_values(&gradients(&cut, std::slice::from_ref(&x), None), &[&[4.0, 4.0, 1.0, 9.0, 11.0]]);
    assert_eq!((count(&cut, &x, "concat"), count(&cut, &x, "pad")), (1, 0));
    // Parts that overlap are added up.
    let overlapping = sum(&(part(0, 3) * 2.0)) + sum(&(part(2, 3) * 5.0));
    assert_values(&gradients(&overlapping, std::slice::from_ref(&x), None), &[&[2.0, 2.0, 7.0, 5.0, 5.0]]);
    assert_eq!(count(&overlapping, &x, "concat"), 0);
    // As are those along different axes.
    let x = x.narrow(0, 0, 4).reshape([2, 2]);
    let crossed = sum(&(x.narrow(0, 0, 1) * 2.0)) + sum(&(x.narrow(1, 1, 1) * 5.0));
    assert_values(&gradients(&crossed, &[x], None), &[&[2.0, 7.0, 0.0, 5.0]]);
}

#[test]
fn a_weight_that_is_used_again_and_again_gets_one_product() {
    let weight = Expr::constant(Data::F64((0..64).map(|x| f64::from(x) * 0.01).collect()), [8, 8]);
    let row = |seed: f64| Expr::constant(Data::F64((0..8).map(|x| seed - f64::from(x)).collect()), [1, 8]);
    let uses: Vec<Expr> = [1.0, 2.0, 3.0].map(|seed| row(seed).matmul(&weight)).to_vec();
    let value = uses.iter().map(|y| sum(&(y * y))).reduce(|sum, more| sum + more).unwrap();
    assert_eq!(count(&value, &weight, "matmul"), 3 + 1);
    let alone: Vec<Expr> = uses
        .iter()
        .map(|y| gradients(&sum(&(y * y)), std::slice::from_ref(&weight), None).remove(0))
        .collect();
    let expected = alone.into_iter().reduce(|sum, more| sum + more).unwrap();
    let found = gradients(&value, &[weight], None).remove(0);
    let difference = &found - &expected;
    assert_values(&[sum(&(&difference * &difference))], &[&[0.0]]);
    // Where joining the operands would move more than the products have, they stay.
    let small = Expr::constant(Data::F64(vec![0.5, 0.25]), [2, 1]);
    let value = sum(&row(1.0).reshape([4, 2]).matmul(&small)) + sum(&row(2.0).reshape([4, 2]).matmul(&small));
    assert_eq!(count(&value, &small, "concat"), 0);
}
