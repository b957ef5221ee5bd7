//! Rules for large models and batches: Lion, LAMB, Muon.

use super::{AdamW, Optimizer, ParameterSlots, options};
use crate::tensor::Tensor;

/// Steps of one size, in the direction of the sign of a mean of gradients.
#[derive(Clone, Copy, Debug)]
pub struct Lion {
    rate: f64,
    betas: (f64, f64),
    weight_decay: f64,
}

impl Lion {
    /// With this learning rate (the paper's is a tenth to a third of Adam's), betas 0.9 and 0.99.
    pub fn new(rate: f64) -> Lion {
        Lion { rate, betas: (0.9, 0.99), weight_decay: 0.0 }
    }

    /// How much of the mean is in a step, and how much of it stays from step to step.
    pub fn betas(self, step: f64, mean: f64) -> Lion {
        Lion { betas: (step, mean), ..self }
    }
}

options! {
    Lion {
        /// Times the learning rate is taken from the parameter.
        weight_decay: f64,
    }
}

impl Optimizer for Lion {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Lion { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let (step, keep) = self.betas;
        let mean = slots.get("mean", parameter);
        let direction = (&mean * step + gradient * (1.0 - step)).sign();
        slots.set("mean", &(mean * keep + gradient * (1.0 - keep)));
        parameter * (1.0 - &slots.rate * self.weight_decay) - direction * &slots.rate
    }
}

/// Adam's direction with a step of the parameter's own size, layer by layer.
#[derive(Clone, Copy, Debug)]
pub struct Lamb {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
}

impl Lamb {
    /// With this learning rate; betas 0.9 and 0.999, epsilon 1e-6, no weight decay.
    pub fn new(rate: f64) -> Lamb {
        Lamb { rate, betas: (0.9, 0.999), epsilon: 1e-6, weight_decay: 0.0 }
    }

    /// How much of the first and second moment stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> Lamb {
        Lamb { betas: (first, second), ..self }
    }
}

options! {
    Lamb {
        /// What is added to the root of the second moment.
        epsilon: f64,
        /// Times the parameter is added to the direction.
        weight_decay: f64,
    }
}

impl Optimizer for Lamb {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Lamb { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let (first, second) = self.betas;
        let mean = slots.get("mean", parameter) * first + gradient * (1.0 - first);
        let square = slots.get("square", parameter) * second + gradient.square() * (1.0 - second);
        slots.set("mean", &mean);
        slots.set("square", &square);
        let corrected = |moment: Tensor, beta: f64| moment / -(&slots.step * libm::log(beta)).exp_m1();
        let direction = corrected(mean, first) / (corrected(square, second).sqrt() + self.epsilon)
            + parameter * self.weight_decay;
        let (length, step) = (parameter.norm(.., 2.0), direction.norm(.., 2.0));
        let both = length.gt(0.0) & step.gt(0.0);
        let trust = both.select(&length / both.select(&step, 1.0), 1.0);
        parameter - direction * (&slots.rate * trust)
    }
}

/// Momentum made orthogonal by Newton and Schulz's iteration, for weights that are matrices; AdamW for everything else.
#[derive(Clone, Copy, Debug)]
pub struct Muon {
    rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    others: AdamW,
}

impl Muon {
    /// With this learning rate for matrices; momentum 0.95 and weight decay 0.1, as PyTorch's. What isn't a matrix gets AdamW at
    /// the same rate.
    pub fn new(rate: f64) -> Muon {
        Muon { rate, momentum: 0.95, nesterov: true, weight_decay: 0.1, others: AdamW::new(rate) }
    }
}

options! {
    Muon {
        /// How much of the momentum stays from step to step.
        momentum: f64,
        /// Whether it looks one step ahead.
        nesterov: bool,
        /// Times the learning rate is taken from the parameter.
        weight_decay: f64,
        /// The rule for what isn't a matrix; its rate is this one's.
        others: AdamW,
    }
}

/// The nearest matrix with orthogonal rows or columns, roughly: singular values between 0.7 and 1.2.
fn orthogonal(matrix: &Tensor) -> Tensor {
    let wide = matrix.size(0) <= matrix.size(1);
    let mut x = if wide { matrix.clone() } else { matrix.t() };
    x = &x / x.norm(.., 2.0).maximum(1e-7);
    for _ in 0..5 {
        let square = x.matmul(&x.t());
        let step = &square * -4.775 + square.matmul(&square) * 2.0315;
        x = &x * 3.4445 + step.matmul(&x);
    }
    if wide { x } else { x.t() }
}

impl Optimizer for Muon {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Muon { weight_decay: 0.0, others: self.others.weight_decay(0.0), ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        if parameter.rank() != 2 {
            return self.others.update(slots, parameter, gradient);
        }
        let mean = slots.get("mean", parameter) * self.momentum + gradient * (1.0 - self.momentum);
        slots.set("mean", &mean);
        let step = match self.nesterov {
            true => gradient * (1.0 - self.momentum) + &mean * self.momentum,
            false => mean,
        };
        // A weight is [inputs, outputs]; more outputs than inputs take longer steps.
        let ratio = parameter.size(1) as f64 / parameter.size(0).max(1) as f64;
        let step = orthogonal(&step) * ratio.max(1.0).sqrt();
        parameter * (1.0 - &slots.rate * self.weight_decay) - step * &slots.rate
    }
}
