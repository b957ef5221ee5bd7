//! Stochastic gradient descent.

use super::{Optimizer, ParameterSlots};
use crate::tensor::Tensor;

/// Stochastic gradient descent, with momentum, Nesterov's variant and weight decay as PyTorch defines them.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    dampening: f64,
}

impl Sgd {
    /// Plain descent with this learning rate.
    pub fn new(rate: f64) -> Sgd {
        Sgd { rate, momentum: 0.0, nesterov: false, weight_decay: 0.0, dampening: 0.0 }
    }

    /// Adds a running sum of gradients that decays by `momentum`.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }

    /// Looks one step ahead along the momentum.
    pub fn nesterov(self, nesterov: bool) -> Sgd {
        Sgd { nesterov, ..self }
    }

    /// Lets this share of each gradient but the first stay out of the running sum.
    pub fn dampening(self, dampening: f64) -> Sgd {
        Sgd { dampening, ..self }
    }

    /// Adds `decay` times the parameter to its gradient.
    pub fn weight_decay(self, decay: f64) -> Sgd {
        Sgd { weight_decay: decay, ..self }
    }
}

impl Optimizer for Sgd {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Sgd { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let mut gradient = gradient.clone();
        if self.weight_decay != 0.0 {
            gradient += parameter * self.weight_decay;
        }
        if self.momentum != 0.0 {
            let fresh = match self.dampening {
                0.0 => gradient.clone(),
                share => &gradient * slots.step.eq(1.0).select(1.0, 1.0 - share).cast(gradient.dtype()),
            };
            let velocity = slots.get("momentum", parameter) * self.momentum + fresh;
            slots.set("momentum", &velocity);
            gradient = if self.nesterov { gradient + velocity * self.momentum } else { velocity };
        }
        parameter - gradient * &slots.rate
    }
}
