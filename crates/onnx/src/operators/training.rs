//! Steps of optimisers as files that train carry them: new values of tensors from their gradients.

use kiln_nn::Tensor;

use crate::call::{Call, Operator};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Adagrad" => |call| each(call, 1, adagrad),
        "Adam" => |call| each(call, 2, adam),
        "Momentum" => |call| each(call, 1, momentum),
        _ => return None,
    })
}

/// What a step is given of one tensor.
struct TensorStep<'a, 'b> {
    call: &'a Call<'b>,
    rate: Tensor,
    count: Tensor,
    x: Tensor,
    /// The gradient, and that of the penalty on large weights.
    gradient: Tensor,
    states: Vec<Tensor>,
}

/// A step for each tensor: all of them come in, then all gradients, then the first state of each, …; and go out likewise.
fn each(call: &Call, states: usize, step: fn(&TensorStep) -> Vec<Tensor>) -> Result<Vec<Value>> {
    let kinds = states + 2;
    let given = call.count().checked_sub(2).filter(|given| *given > 0 && given.is_multiple_of(kinds));
    let count = given.ok_or_else(|| call.fault(format!("{} inputs for steps", call.count())))? / kinds;
    let penalty = call.float("norm_coefficient", 0.0);
    let mut all = vec![Vec::with_capacity(count); states + 1];
    for at in 0..count {
        let own = |kind: usize| call.tensor(2 + kind * count + at);
        let x = own(0)?;
        let gradient = own(1)? + &x * penalty;
        let states = (2..kinds).map(own).collect::<Result<Vec<_>>>()?;
        let given = TensorStep { call, rate: call.tensor(0)?, count: call.tensor(1)?, x, gradient, states };
        let element = call.element(2 + at)?;
        for (all, value) in all.iter_mut().zip(step(&given)) {
            all.push(Value::Numbers(value.cast(given.x.dtype()), element));
        }
    }
    Ok(all.concat())
}

fn adagrad(step: &TensorStep) -> Vec<Tensor> {
    let count = step.count.cast(step.x.dtype());
    let rate = &step.rate / (count * step.call.float("decay_factor", 0.0) + 1.0);
    let sum = &step.states[0] + step.gradient.square();
    let x = &step.x - rate * &step.gradient / (sum.sqrt() + step.call.float("epsilon", 1e-6));
    vec![x, sum]
}

fn adam(step: &TensorStep) -> Vec<Tensor> {
    let (alpha, beta) = (step.call.float("alpha", 0.9), step.call.float("beta", 0.999));
    let mean = &step.states[0] * alpha + &step.gradient * (1.0 - alpha);
    let square = &step.states[1] * beta + step.gradient.square() * (1.0 - beta);
    // Both start at zero, which is made up for from the first step on.
    let count = step.count.cast(step.x.dtype());
    let rest = |factor: f64| 1.0 - (&count * libm::log(factor)).exp();
    let started = count.gt(0.0);
    let correction = started.select(rest(beta).sqrt() / started.select(rest(alpha), 1.0), 1.0);
    let x = &step.x - &step.rate * correction * &mean / (square.sqrt() + step.call.float("epsilon", 1e-6));
    let x = x * (1.0 - step.call.float("norm_coefficient_post", 0.0));
    vec![x, mean, square]
}

fn momentum(step: &TensorStep) -> Vec<Tensor> {
    let (alpha, beta) = (step.call.float("alpha", 0.0), step.call.float("beta", 0.0));
    // The first gradient counts whole.
    let factor = step.count.gt(0).select(beta, 1.0).cast(step.x.dtype());
    let mean = &step.states[0] * alpha + factor * &step.gradient;
    let change = match step.call.text("mode", "standard").as_str() {
        "nesterov" => &step.gradient + &mean * alpha,
        _ => mean.clone(),
    };
    vec![&step.x - &step.rate * change, mean]
}
