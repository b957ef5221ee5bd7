//! Graphs of 100,000 nodes and of shared diamonds go through everything without recursion and without blow-up.
use kiln_ir::{
    DType, Data, Error, Expr, Graph, Scalar, eval::evaluate, grad::gradients, op::BinaryOp, op::UnaryOp,
};

fn scalar(value: f64) -> Expr {
    Expr::full((), value, DType::F64)
}

fn values(outputs: &[Expr]) -> Result<Vec<f64>, Error> {
    let (graph, captured) = Graph::trace(&[], outputs, &[])?;
    let inputs: Vec<&Data> = captured.iter().map(AsRef::as_ref).collect();
    let outcome = evaluate(&graph, &inputs, &|_| unreachable!("no variables here"))?;
    Ok(outcome.outputs.iter().map(|data| data.get(0).map_or(f64::NAN, Scalar::as_f64)).collect())
}

#[test]
fn a_chain_of_100_000_nodes_is_no_deeper_than_one_of_ten() -> Result<(), Error> {
    let x = scalar(0.5);
    let mut y = x.clone();
    for _ in 0..50_000 {
        y = (&y * 0.5).unary(UnaryOp::Sin);
    }
    let slope = gradients(&y, &[x], None).remove(0);
    assert!(values(&[y, slope])?.iter().all(|v| v.is_finite()));
    Ok(())
}

#[test]
fn micrograds_worked_example() -> Result<(), Error> {
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
    let found = values(&[g, slopes[0].clone(), slopes[1].clone()])?;
    for (found, expected) in found.iter().zip([24.7041, 138.8338, 645.5773]) {
        assert!((found - expected).abs() < 5e-5, "{found} instead of {expected}");
    }
    Ok(())
}
