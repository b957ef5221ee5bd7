//! Gradients against central differences of the oracle, in `f64`.

use kiln_ir::grad::gradients;
use kiln_ir::op::BinaryOp;
use kiln_ir::{DType, Data, Expr, Scalar};

use crate::close::{Tolerance, assert_close};
use crate::problem::Problem;
use crate::rng::{Range, Rng};
use crate::table::Case;

/// Panics unless the gradients of a case in all of its `F64` inputs are what moving each element a little shows.
#[track_caller]
pub fn gradcheck(case: &Case) {
    let operands = case.operands();
    let objective = weighted_sum(&(case.build)(&operands), 17);
    let floats: Vec<usize> = (0..operands.len()).filter(|&i| operands[i].dtype() == DType::F64).collect();
    let wanted: Vec<Expr> = floats.iter().map(|&i| operands[i].clone()).collect();
    let slopes = trace(case, "gradient", &gradients(&objective, &wanted, None));
    let found = slopes.oracle().unwrap_or_else(|error| panic!("{}: {error}", case.name)).outputs;

    let mut forward = trace(case, "value", &[objective]);
    for (found, &input) in found.iter().zip(&floats) {
        let expected: Vec<f64> = (0..forward.inputs[input].len())
            .map(|element| {
                let Data::F64(values) = &forward.inputs[input] else { unreachable!("chosen by dtype") };
                let at = values[element];
                let step = 1e-5 * at.abs().max(1.0);
                let above = value_at(&mut forward, input, element, at + step);
                let below = value_at(&mut forward, input, element, at - step);
                value_at(&mut forward, input, element, at);
                (above - below) / (2.0 * step)
            })
            .collect();
        let tolerance = Tolerance { absolute: 1e-6, relative: 1e-6 };
        let what = format!("{}, gradient of input {input}", case.name);
        assert_close(&what, found, &Data::F64(expected), tolerance);
    }
}

/// A case of the same inputs whose value is a mixture of this one's gradients: checking it checks second derivatives.
pub fn derivative_of(case: Case) -> Case {
    let Case { name, inputs, build, .. } = case;
    Case {
        name: format!("derivative of {name}"),
        inputs,
        build: Box::new(move |operands| {
            let objective = weighted_sum(&build(operands), 17);
            let floats: Vec<Expr> = operands.iter().filter(|x| x.dtype().is_float()).cloned().collect();
            let slopes = gradients(&objective, &floats, None);
            slopes
                .iter()
                .zip(23..)
                .map(|(slope, seed)| weighted_sum(slope, seed))
                .reduce(|a, b| a + b)
                .unwrap_or(objective)
        }),
        ..case
    }
}

/// The sum of a value's elements, each times a weight of its own, so that no mistake cancels out.
pub fn weighted_sum(x: &Expr, seed: u64) -> Expr {
    let weights = Rng::new(seed).data(&x.shape(), DType::F64, Range::Between(0.5, 1.5));
    let product = x.binary(BinaryOp::Mul, &Expr::constant(weights, x.shape()));
    let axes: Vec<usize> = (0..product.rank()).collect();
    product.sum(&axes).reshape(())
}

#[track_caller]
fn trace(case: &Case, what: &str, outputs: &[Expr]) -> Problem {
    Problem::trace(&case.name, &case.inputs, outputs)
        .unwrap_or_else(|error| panic!("{}: the {what} doesn't build: {error}", case.name))
}

fn value_at(problem: &mut Problem, input: usize, element: usize, value: f64) -> f64 {
    if let Data::F64(values) = &mut problem.inputs[input] {
        values[element] = value;
    }
    let outcome = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
    outcome.outputs[0].get(0).map_or(f64::NAN, Scalar::as_f64)
}
