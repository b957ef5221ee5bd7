//! Steps divided by the size of recent gradients.

use super::{Optimizer, ParameterSlots, options};
use crate::tensor::Tensor;

/// The gradient over the root of a running mean of its square.
#[derive(Clone, Copy, Debug)]
pub struct RmsProp {
    rate: f64,
    alpha: f64,
    epsilon: f64,
    weight_decay: f64,
    momentum: f64,
    centered: bool,
}

impl RmsProp {
    /// With this learning rate (PyTorch's default is 0.01).
    pub fn new(rate: f64) -> RmsProp {
        RmsProp { rate, alpha: 0.99, epsilon: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false }
    }
}

options! {
    RmsProp {
        /// How much of the mean square stays from step to step; 0.99 unless told otherwise.
        alpha: f64,
        /// What is added to the root.
        epsilon: f64,
        /// Times the parameter is added to its gradient.
        weight_decay: f64,
        /// Adds a running sum of steps that decays by this.
        momentum: f64,
        /// Whether the square of the mean is taken from the mean square.
        centered: bool,
    }
}

impl Optimizer for RmsProp {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(RmsProp { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let gradient = gradient + parameter * self.weight_decay;
        let fresh = 1.0 - self.alpha;
        let square = slots.get("square", parameter) * self.alpha + &gradient * &gradient * fresh;
        slots.set("square", &square);
        let mut spread = square;
        if self.centered {
            let mean = slots.get("mean", parameter) * self.alpha + &gradient * fresh;
            slots.set("mean", &mean);
            spread -= mean.square();
        }
        let mut step = gradient / (spread.sqrt() + self.epsilon);
        if self.momentum != 0.0 {
            step += slots.get("momentum", parameter) * self.momentum;
            slots.set("momentum", &step);
        }
        parameter - step * &slots.rate
    }
}

/// The gradient over the root of the sum of all its squares.
#[derive(Clone, Copy, Debug)]
pub struct Adagrad {
    rate: f64,
    rate_decay: f64,
    epsilon: f64,
    weight_decay: f64,
    initial_sum: f64,
}

impl Adagrad {
    /// With this learning rate (PyTorch's default is 0.01).
    pub fn new(rate: f64) -> Adagrad {
        Adagrad { rate, rate_decay: 0.0, epsilon: 1e-10, weight_decay: 0.0, initial_sum: 0.0 }
    }
}

options! {
    Adagrad {
        /// How fast the rate falls: it is divided by one more than so many times the steps so far.
        rate_decay: f64,
        /// What is added to the root.
        epsilon: f64,
        /// Times the parameter is added to its gradient.
        weight_decay: f64,
        /// What the sum starts from.
        initial_sum: f64,
    }
}

impl Optimizer for Adagrad {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Adagrad { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let gradient = gradient + parameter * self.weight_decay;
        let sum = slots.filled("sum", parameter, parameter.shape(), self.initial_sum) + gradient.square();
        slots.set("sum", &sum);
        let rate = &slots.rate / ((&slots.step - 1.0) * self.rate_decay + 1.0);
        parameter - gradient * rate / (sum.sqrt() + self.epsilon)
    }
}

/// Steps in the parameter's own unit: recent steps over recent gradients.
#[derive(Clone, Copy, Debug)]
pub struct Adadelta {
    rate: f64,
    rho: f64,
    epsilon: f64,
    weight_decay: f64,
}

impl Adadelta {
    /// With this learning rate (PyTorch's default is 1).
    pub fn new(rate: f64) -> Adadelta {
        Adadelta { rate, rho: 0.9, epsilon: 1e-6, weight_decay: 0.0 }
    }
}

options! {
    Adadelta {
        /// How much of both mean squares stays from step to step; 0.9 unless told otherwise.
        rho: f64,
        /// What is added under both roots.
        epsilon: f64,
        /// Times the parameter is added to its gradient.
        weight_decay: f64,
    }
}

impl Optimizer for Adadelta {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Adadelta { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let gradient = gradient + parameter * self.weight_decay;
        let fresh = 1.0 - self.rho;
        let square = slots.get("square", parameter) * self.rho + gradient.square() * fresh;
        let steps = slots.get("steps", parameter);
        let step = (&steps + self.epsilon).sqrt() / (&square + self.epsilon).sqrt() * gradient;
        slots.set("square", &square);
        slots.set("steps", &(steps * self.rho + step.square() * fresh));
        parameter - step * &slots.rate
    }
}
