//! Graphs of 100,000 nodes and towers of diamonds go through everything without recursion and without blow-up.

use std::time::Instant;

use kiln_ir::check::check;
use kiln_ir::grad::gradients;
use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::simplify::simplify;
use kiln_ir::{DType, Expr, Graph, Result, Scalar, Shape};
use kiln_testkit::Problem;

fn argument() -> (Vec<(Shape, kiln_ir::Data)>, Expr) {
    (vec![(Shape::scalar(), kiln_ir::Data::F64(vec![0.5]))], Expr::input(0, (), DType::F64))
}

fn values(inputs: &[(Shape, kiln_ir::Data)], outputs: &[Expr]) -> Result<Vec<f64>> {
    let outcome = Problem::trace("deep", inputs, outputs)?.oracle()?;
    Ok(outcome.outputs.iter().map(|data| data.get(0).map_or(f64::NAN, Scalar::as_f64)).collect())
}

#[test]
fn a_chain_of_100_000_nodes_is_no_deeper_than_one_of_ten() -> Result<()> {
    let (inputs, x) = argument();
    let mut y = x.clone();
    for _ in 0..50_000 {
        y = (&y * 0.999).unary(UnaryOp::Sin);
    }
    let slope = gradients(&y, &[x], None).remove(0);
    let problem = Problem::trace("chain", &inputs, &[y, slope])?;
    let simple = problem.with_graph(simplify(&problem.graph));
    assert_eq!(check(&simple.graph), Ok(()));
    assert!(simple.graph.nodes.len() < problem.graph.nodes.len());
    assert_eq!(simple.oracle()?, problem.oracle()?);
    Ok(())
}

#[test]
fn a_chain_of_100_000_nodes_collapses_to_nothing() -> Result<()> {
    let (inputs, x) = argument();
    let y = (0..100_000).fold(x, |y, _| -&y);
    let problem = Problem::trace("negations", &inputs, &[y])?;
    let start = Instant::now();
    let graph = simplify(&problem.graph);
    println!("simplified in {:?}", start.elapsed());
    assert_eq!(graph.nodes.len(), 1);
    Ok(())
}

#[test]
fn shared_diamonds_are_visited_once_each() -> Result<()> {
    // Without sharing this would be 2⁶⁰ additions.
    let (inputs, x) = argument();
    let y = (0..60).fold(x.clone(), |y, _| &y + &y);
    let slope = gradients(&y, &[x], None).remove(0);
    let power = (1u64 << 60) as f64;
    assert_eq!(values(&inputs, &[y, slope])?, [0.5 * power, power]);
    Ok(())
}

#[test]
fn a_wide_sum_gathers_every_gradient() -> Result<()> {
    let (inputs, x) = argument();
    let y = (1..=1000).map(|i| &x * f64::from(i)).reduce(|a, b| a + b).unwrap_or(x.clone());
    let slope = gradients(&y, &[x], None).remove(0);
    assert_eq!(values(&inputs, &[slope])?, [500_500.0]);
    Ok(())
}

#[test]
fn micrograds_worked_example() -> Result<()> {
    let scalar = |value: f64| Expr::full((), value, DType::F64);
    let relu = |x: Expr| x.unary(UnaryOp::Relu);
    let pow = |x: &Expr, n: f64| x.binary_scalar(BinaryOp::Pow, n);
    let (a, b) = (scalar(-4.0), scalar(2.0));
    let mut c = &a + &b;
    let mut d = &a * &b + pow(&b, 3.0);
    c = &c + &(&c + 1.0);
    c = &c + &(&c + 1.0 + -&a);
    d = &d + &(&d * 2.0 + relu(&b + &a));
    d = &d + &(&d * 3.0 + relu(&b - &a));
    let e = &c - &d;
    let f = pow(&e, 2.0);
    let g = &f / 2.0 + scalar(10.0) / &f;
    let slopes = gradients(&g, &[a, b], None);
    let found = values(&[], &[g.clone(), slopes[0].clone(), slopes[1].clone()])?;
    for (found, expected) in found.iter().zip([24.7041, 138.8338, 645.5773]) {
        assert!((found - expected).abs() < 5e-5, "{found} instead of {expected}");
    }
    // With nothing but constants in it, the simplifier is done before anything runs.
    let (graph, _) = Graph::trace(&[], &[g], &[])?;
    assert_eq!(simplify(&graph).nodes.len(), 1);
    Ok(())
}
