//! Limited-memory BFGS: Newton's direction from the last gradients and steps, for whole batches.

use kiln_ir::{DType, Result, Shape};

use super::{Optimizer, ParameterSlots, Slots, Trained};
use crate::tensor::Tensor;

/// One iteration a step, without a line search: PyTorch's with `max_iter` 1. Each step must see the whole set.
#[derive(Clone, Copy, Debug)]
pub struct Lbfgs {
    rate: f64,
    history: usize,
}

impl Lbfgs {
    /// With this learning rate (PyTorch's default is 1), and 10 steps remembered.
    pub fn new(rate: f64) -> Lbfgs {
        Lbfgs { rate, history: 10 }
    }

    /// How many steps are remembered.
    pub fn history(self, history: usize) -> Lbfgs {
        Lbfgs { history: history.max(1), ..self }
    }
}

impl Optimizer for Lbfgs {
    fn rate(&self) -> f64 {
        self.rate
    }

    /// Only all parameters together have a direction; one by itself is simply followed down.
    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        parameter - gradient * &slots.rate
    }

    fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let flat = |of: fn(&Trained) -> &Tensor| {
            let parts: Vec<Tensor> = all.iter().map(|trained| of(trained).flatten(..)).collect();
            Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
        };
        let gradient = flat(|trained| &trained.gradient);
        let (len, dtype) = (gradient.elements(), gradient.dtype());
        let mut kept = |name: &str, shape: Vec<usize>, start: f64| {
            slots.variable(&format!("lbfgs.{name}"), &Shape::from(shape), dtype, start)
        };
        let before = kept("gradient", vec![len], 0.0)?;
        let last_step = kept("step", vec![len], 0.0)?;
        let changes = kept("changes", vec![self.history, len], 0.0)?;
        let steps = kept("steps", vec![self.history, len], 0.0)?;
        let scale = kept("scale", vec![], 1.0)?;

        let first = slots.step().eq(1i64);
        let dot = |a: &Tensor, b: &Tensor| (a * b).sum(..);
        let change = &gradient - before.tensor();
        let step = last_step.tensor();
        let curvature = dot(&change, &step);
        // What curves the wrong way isn't remembered.
        let fits = !&first & curvature.gt(1e-10);
        let pushed = |rows: Tensor, row: &Tensor| {
            let newer = Tensor::concat(&[&rows.narrow(0, 1, self.history - 1), &row.unsqueeze(0)], 0);
            fits.select(newer, rows)
        };
        let all_changes = pushed(changes.tensor(), &change);
        let all_steps = pushed(steps.tensor(), &step);
        let new_scale = fits.select(&curvature / fits.select(dot(&change, &change), 1.0), scale.tensor());

        // The two loops; rows that aren't filled yet are zero and do nothing.
        let rows: Vec<(Tensor, Tensor, Tensor)> = (0..self.history)
            .map(|row| {
                let (y, s) = (all_changes.at(row as isize), all_steps.at(row as isize));
                let curvature = dot(&y, &s);
                let there = curvature.gt(0.0);
                let inverse = there.select(there.select(&curvature, 1.0).recip(), 0.0);
                (y, s, inverse)
            })
            .collect();
        let mut direction = -&gradient;
        let mut shares = Vec::with_capacity(rows.len());
        for (y, s, inverse) in rows.iter().rev() {
            let share = dot(s, &direction) * inverse;
            direction -= y * &share;
            shares.push(share);
        }
        direction *= &new_scale;
        for ((y, s, inverse), share) in rows.iter().zip(shares.iter().rev()) {
            direction += s * (share - dot(y, &direction) * inverse);
        }
        // The first step is no longer than the gradient is large.
        let rate = slots.rate().cast(dtype);
        let careful = gradient.abs().sum(..).maximum(1.0).recip() * &rate;
        let length = first.select(careful, rate);
        // Uphill, or nowhere to go: stay.
        let downhill = dot(&gradient, &direction).lt(-1e-9) & gradient.abs().max(..).gt(1e-7);
        let step = downhill.select(direction * length, 0.0);

        slots.keep(&before, &gradient);
        slots.keep(&last_step, &step);
        slots.keep(&changes, &all_changes);
        slots.keep(&steps, &all_steps);
        slots.keep(&scale, &new_scale);
        let mut at = 0;
        let mut values = Vec::with_capacity(all.len());
        for Trained { parameter, .. } in all {
            let own = step.narrow(0, at as isize, parameter.elements()).reshape(parameter.shape());
            at += parameter.elements();
            values.push(parameter + own.cast(if dtype == DType::F64 { dtype } else { parameter.dtype() }));
        }
        Ok(values)
    }
}
