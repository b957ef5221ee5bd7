//! Each rule of the simplifier on the smallest graph that it fits, and graphs that it must leave alone.

use kiln_ir::op::{BinaryOp, ReduceOp, SliceRange, UnaryOp};
use kiln_ir::simplify::simplify;
use kiln_ir::{DType, Expr, Graph, Result, Shape};
use kiln_testkit::rng::Range;
use kiln_testkit::{Problem, Rng, Tolerance, assert_close};

/// The one output's graph, simplified, with `x: f32[3, 5]` and `i: i64[3, 5]` as arguments.
fn simplified(build: impl Fn(&Expr, &Expr) -> Expr) -> Graph {
    let declared = [(Shape::from([3, 5]), DType::F32), (Shape::from([3, 5]), DType::I64)];
    let x = Expr::input(0, [3, 5], DType::F32);
    let i = Expr::input(1, [3, 5], DType::I64);
    match Graph::trace(&declared, &[build(&x, &i)], &[]) {
        Ok((graph, _)) => simplify(&graph),
        Err(error) => panic!("{error}"),
    }
}

/// The operations left, in order, without the arguments.
#[track_caller]
fn assert_left(expected: &[&str], build: impl Fn(&Expr, &Expr) -> Expr) {
    let graph = simplified(build);
    let names: Vec<&str> =
        graph.nodes.iter().map(|node| node.op.name()).filter(|name| *name != "input").collect();
    assert_eq!(names, expected, "\n{graph}");
}

fn range(start: usize, len: usize, step: isize) -> SliceRange {
    SliceRange { start, len, step }
}

#[test]
fn constants_fold() {
    let full = |value: f64| Expr::full([3, 5], value, DType::F32);
    assert_left(&["fill"], |_, _| (full(2.0) * 3.0).unary(UnaryOp::Exp).transpose().sum(&[0]));
    assert_left(&["fill"], |_, _| full(2.0).cast(DType::I64).broadcast_to(&[2, 3, 5].into()));
    assert_left(&["fill"], |_, _| full(0.0).pad(&[1, 1], &[0, 2], 0.0).narrow(0, 1, 2));
    assert_left(&["fill", "pad"], |_, _| full(1.0).pad(&[1, 1], &[0, 2], 0.0));
    assert_left(&["fill"], |x, _| x.narrow(0, 0, 0).reduce(ReduceOp::Max, &[0]));
    assert_left(&["fill"], |x, _| x.narrow(1, 0, 0).matmul(&x.narrow(0, 0, 0)));
    let graph = simplified(|_, _| full(1.5).sum(&[0, 1]));
    assert!(graph.to_string().contains("fill(22.5)"), "{graph}");
}

#[test]
fn neutral_elements_vanish() {
    assert_left(&[], |x, _| (x + 0.0) * 1.0 / 1.0 - 0.0);
    assert_left(&[], |_, i| i.binary_scalar(BinaryOp::Or, 0i64).binary_scalar(BinaryOp::And, -1i64));
    assert_left(&["fill"], |_, i| i.binary_scalar(BinaryOp::Mul, 0i64));
    assert_left(&["fill", "mul"], |x, _| x * 0.0); // NaN · 0 isn't 0
    assert_left(&["sub"], |x, _| x - x); // ∞ − ∞ isn't 0
    assert_left(&["fill"], |_, i| i - i);
    assert_left(&[], |x, _| x.binary(BinaryOp::Max, x));
}

#[test]
fn negations_meet() {
    assert_left(&[], |x, _| -(-x));
    assert_left(&["exp", "sub"], |x, _| x + -x.unary(UnaryOp::Exp));
    assert_left(&["exp", "add"], |x, _| x - -x.unary(UnaryOp::Exp));
    assert_left(&["abs"], |x, _| (-x).unary(UnaryOp::Abs).unary(UnaryOp::Abs));
}

#[test]
fn powers_and_divisions_get_cheaper() {
    let pow = |x: &Expr, exponent: f64| x.binary_scalar(BinaryOp::Pow, exponent);
    assert_left(&["mul"], |x, _| pow(x, 2.0));
    assert_left(&["sqrt"], |x, _| pow(x, 0.5));
    assert_left(&["recip"], |x, _| pow(x, -1.0));
    assert_left(&["fill"], |x, _| pow(x, 0.0));
    assert_left(&[], |x, _| pow(x, 1.0));
    assert_left(&["fill", "pow"], |x, _| pow(x, 3.0));
    assert_left(&["fill", "mul"], |x, _| x / 4.0);
    assert_left(&["fill", "div"], |x, _| x / 3.0);
    assert_left(&["recip"], |x, _| x.full_like(1.0) / x);
}

#[test]
fn choices_that_are_none_are_made() {
    let truth = |value: bool| Expr::full([3, 5], value, DType::Bool);
    assert_left(&[], |x, _| truth(true).select(x, &(x * 2.0)));
    assert_left(&["fill", "lt"], |x, _| {
        let condition = x.binary_scalar(BinaryOp::Lt, 1.0);
        condition.select(&truth(true), &truth(false))
    });
    assert_left(&["fill", "lt", "exp", "select"], |x, _| {
        x.binary_scalar(BinaryOp::Lt, 1.0).unary(UnaryOp::Not).select(x, &x.unary(UnaryOp::Exp))
    });
    assert_left(&[], |x, _| x.binary_scalar(BinaryOp::Lt, 1.0).select(x, x));
}

#[test]
fn casts_meet_only_where_nothing_is_lost() {
    assert_left(&[], |x, _| x.cast(DType::F64).cast(DType::F32));
    assert_left(&["cast"], |x, _| x.cast(DType::F64).cast(DType::I64));
    assert_left(&["cast", "cast"], |x, _| x.cast(DType::F16).cast(DType::F32));
    assert_left(&["cast", "cast"], |_, i| i.cast(DType::F32).cast(DType::I64));
}

#[test]
fn movements_meet() {
    assert_left(&[], |x, _| x.reshape([15]).reshape([5, 3]).reshape([3, 5]));
    assert_left(&[], |x, _| x.transpose().transpose());
    assert_left(&[], |x, _| x.flip(&[0, 1]).flip(&[1, 0]));
    assert_left(&["slice"], |x, _| {
        x.slice(&[range(0, 3, 1), range(4, 3, -2)]).slice(&[range(2, 1, 1), range(1, 2, 1)])
    });
    assert_left(&["pad"], |x, _| x.pad(&[1, 0], &[0, 1], 0.0).pad(&[0, 2], &[0, 0], 0.0));
    assert_left(&["pad", "pad"], |x, _| x.pad(&[1, 0], &[0, 1], 0.0).pad(&[0, 2], &[0, 0], 1.0));
    assert_left(&["reshape"], |x, _| x.reshape([3, 1, 5]).permute(&[1, 0, 2]));
    assert_left(&["reshape", "expand"], |x, _| {
        x.reshape([1, 1, 3, 5]).broadcast_to(&[2, 1, 3, 5].into()).broadcast_to(&[2, 7, 3, 5].into())
    });
    assert_left(&[], |x, _| Expr::concat(&[x, &x.narrow(0, 0, 0)], 0));
    assert_left(&["slice"], |x, _| x.narrow(0, 0, 3).narrow(1, 0, 5).narrow(1, 1, 2));
}

#[test]
fn reductions_meet_where_the_order_cannot_matter() {
    let max = |x: &Expr, axis| x.reduce(ReduceOp::Max, &[axis]);
    assert_left(&["max"], |x, _| max(&max(x, 0), 1));
    assert_left(&["max"], |x, _| max(&max(x, 0), 0));
    assert_left(&["sum"], |_, i| i.sum(&[0]).sum(&[1]));
    assert_left(&["sum", "sum"], |x, _| x.sum(&[0]).sum(&[1]));
    assert_left(&["reshape"], |x, _| x.reshape([3, 1, 5]).sum(&[1]));
}

#[test]
fn equal_work_is_done_once_but_not_through_a_barrier() {
    assert_left(&["exp", "add"], |x, _| x.unary(UnaryOp::Exp) + x.unary(UnaryOp::Exp));
    assert_left(&["exp", "barrier", "exp", "add"], |x, _| {
        let first = x.unary(UnaryOp::Exp);
        let again = x.barrier(&[&first]).unary(UnaryOp::Exp);
        first + again
    });
}

#[test]
fn arguments_stay_even_where_nobody_needs_them() -> Result<()> {
    let graph = simplified(|x, _| x.full_like(1.0));
    assert_eq!(graph.inputs.len(), 2);
    assert_eq!(graph.nodes.len(), 1);
    Ok(())
}

type Build = Box<dyn Fn(&Expr, &Expr) -> Expr>;

#[test]
fn rewrites_give_the_same_numbers_however_odd() -> Result<()> {
    let binary = |f: BinaryOp| move |x: &Expr, y: &Expr| x.binary(f, y);
    let literal = |f: BinaryOp, v: f64| move |x: &Expr, _: &Expr| x.binary_scalar(f, v);
    let neg = |x: &Expr| x.unary(UnaryOp::Neg);
    let builders: Vec<Build> = vec![
        Box::new(move |x, y| neg(x) + y),
        Box::new(move |x, y| x + neg(y)),
        Box::new(move |x, y| x - neg(y)),
        Box::new(move |x, y| neg(x) * neg(y)),
        Box::new(move |x, _| x.full_like(0i64) - x),
        Box::new(move |x, _| neg(x).unary(UnaryOp::Abs).unary(UnaryOp::Sign).unary(UnaryOp::Sign)),
        Box::new(|x, _| x.binary(BinaryOp::Lt, &x.full_like(1i64)).unary(UnaryOp::Not).select(x, &(x + x))),
        Box::new(|x, _| x.reduce(ReduceOp::Max, &[0]).reduce(ReduceOp::Max, &[1])),
        Box::new(binary_of_literals),
        Box::new(binary(BinaryOp::Rem)),
        Box::new(literal(BinaryOp::Div, -8.0)),
        Box::new(literal(BinaryOp::Mul, -1.0)),
        Box::new(literal(BinaryOp::Pow, 2.0)),
        Box::new(literal(BinaryOp::Pow, -1.0)),
    ];
    let mut rng = Rng::new(5);
    let shape = Shape::from([7, 31]);
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool) {
        let inputs = [0, 1].map(|_| (shape.clone(), rng.data(&shape, dtype, Range::Odd)));
        let [x, y] = [0, 1].map(|i| Expr::input(i, shape.clone(), dtype));
        for build in &builders {
            assert_same(&Problem::trace(dtype.name(), &inputs, &[build(&x, &y)])?)?;
        }
    }
    Ok(())
}

fn binary_of_literals(x: &Expr, y: &Expr) -> Expr {
    let times = |x: &Expr, v: i64| x.binary_scalar(BinaryOp::Mul, v);
    (times(x, 1) + times(y, 0)).binary_scalar(BinaryOp::Sub, 0i64).binary_scalar(BinaryOp::Div, 1i64)
}

#[test]
fn chains_of_casts_give_the_same_numbers() -> Result<()> {
    let mut rng = Rng::new(6);
    let shape = Shape::from([31]);
    for range in [Range::Odd, Range::Between(-300.0, 300.0)] {
        for from in DType::ALL {
            let inputs = [(shape.clone(), rng.data(&shape, from, range))];
            let x = Expr::input(0, shape.clone(), from);
            for middle in DType::ALL {
                for to in DType::ALL {
                    let name = format!("{from} to {middle} to {to}");
                    assert_same(&Problem::trace(name, &inputs, &[x.cast(middle).cast(to)])?)?;
                }
            }
        }
    }
    Ok(())
}

fn assert_same(problem: &Problem) -> Result<()> {
    let simple = problem.with_graph(simplify(&problem.graph));
    let (found, expected) = (simple.oracle()?, problem.oracle()?);
    let what = format!("{}\n{}{}", problem.name, problem.graph, simple.graph);
    assert_close(&what, &found.outputs[0], &expected.outputs[0], Tolerance::EXACT);
    Ok(())
}
