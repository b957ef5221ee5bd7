//! Adam and its family: a running mean of gradients over the root of a running mean of their squares.

use super::{Optimizer, ParameterSlots, options};
use crate::tensor::Tensor;

/// Adam. PyTorch's defaults: moments decay by 0.9 and 0.999, epsilon 1e-8.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
    amsgrad: bool,
}

impl Adam {
    /// Adam with this learning rate.
    pub fn new(rate: f64) -> Adam {
        Adam { rate, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0, amsgrad: false }
    }

    /// How much of the first and second moment stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> Adam {
        Adam { betas: (first, second), ..self }
    }
}

options! {
    Adam {
        /// What is added to the root of the second moment.
        epsilon: f64,
        /// Times the parameter is added to its gradient.
        weight_decay: f64,
        /// Whether the second moment never shrinks.
        amsgrad: bool,
    }
}

/// `1 − beta^step`, a scalar computed once a step.
fn correction(slots: &ParameterSlots, beta: f64) -> Tensor {
    -(&slots.step * libm::log(beta)).exp_m1()
}

/// Parameter and gradient with the weight decay in one of them.
fn decayed(
    slots: &ParameterSlots,
    parameter: &Tensor,
    gradient: &Tensor,
    decay: f64,
    decoupled: bool,
) -> (Tensor, Tensor) {
    match (decay, decoupled) {
        (0.0, _) => (parameter.clone(), gradient.clone()),
        (decay, true) => (parameter * (1.0 - &slots.rate * decay), gradient.clone()),
        (decay, false) => (parameter.clone(), gradient + parameter * decay),
    }
}

/// Both moments with this gradient in them.
fn moments(
    slots: &mut ParameterSlots,
    parameter: &Tensor,
    gradient: &Tensor,
    (first, second): (f64, f64),
) -> [Tensor; 2] {
    let mean = slots.get("mean", parameter) * first + gradient * (1.0 - first);
    let square = slots.get("square", parameter) * second + gradient * gradient * (1.0 - second);
    slots.set("mean", &mean);
    slots.set("square", &square);
    [mean, square]
}

impl Optimizer for Adam {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Adam { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let mut gradient = gradient.clone();
        if self.weight_decay != 0.0 {
            gradient += parameter * self.weight_decay;
        }
        let [mean, mut square] = moments(slots, parameter, &gradient, self.betas);
        if self.amsgrad {
            square = slots.get("largest", parameter).maximum(square);
            slots.set("largest", &square);
        }
        let size = &slots.rate / correction(slots, self.betas.0);
        let scale = correction(slots, self.betas.1).sqrt().recip();
        parameter - mean * size / (square.sqrt() * scale + self.epsilon)
    }
}

/// Adam with decoupled weight decay, 0.01 unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    adam: Adam,
    decay: f64,
}

impl AdamW {
    /// AdamW with this learning rate.
    pub fn new(rate: f64) -> AdamW {
        AdamW { adam: Adam::new(rate), decay: 0.01 }
    }

    /// How much of the first and second moment stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> AdamW {
        AdamW { adam: self.adam.betas(first, second), ..self }
    }

    /// What is added to the root of the second moment.
    pub fn epsilon(self, epsilon: f64) -> AdamW {
        AdamW { adam: self.adam.epsilon(epsilon), ..self }
    }

    /// Times the learning rate is taken from the parameter.
    pub fn weight_decay(self, decay: f64) -> AdamW {
        AdamW { decay, ..self }
    }

    /// Whether the second moment never shrinks.
    pub fn amsgrad(self, amsgrad: bool) -> AdamW {
        AdamW { adam: self.adam.amsgrad(amsgrad), ..self }
    }
}

impl Optimizer for AdamW {
    fn rate(&self) -> f64 {
        self.adam.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(AdamW { decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        match self.decay {
            0.0 => self.adam.update(slots, parameter, gradient),
            decay => self.adam.update(slots, &(parameter * (1.0 - &slots.rate * decay)), gradient),
        }
    }
}

/// Adam with the largest recent gradient in place of the second moment.
#[derive(Clone, Copy, Debug)]
pub struct Adamax {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
}

impl Adamax {
    /// Adamax with this learning rate (PyTorch's default is 2e-3).
    pub fn new(rate: f64) -> Adamax {
        Adamax { rate, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// How much of the mean and of the largest gradient stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> Adamax {
        Adamax { betas: (first, second), ..self }
    }
}

options! {
    Adamax {
        /// What is added to the size of a gradient.
        epsilon: f64,
        /// Times the parameter is added to its gradient.
        weight_decay: f64,
    }
}

impl Optimizer for Adamax {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(Adamax { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let gradient = gradient + parameter * self.weight_decay;
        let (first, second) = self.betas;
        let mean = slots.get("mean", parameter) * first + &gradient * (1.0 - first);
        let largest = (slots.get("largest", parameter) * second).maximum(gradient.abs() + self.epsilon);
        slots.set("mean", &mean);
        slots.set("largest", &largest);
        let size = &slots.rate / correction(slots, first);
        parameter - mean * size / largest
    }
}

/// Adam that looks one step ahead along its momentum, which grows with the steps.
#[derive(Clone, Copy, Debug)]
pub struct NAdam {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
    momentum_decay: f64,
    decoupled: bool,
}

impl NAdam {
    /// NAdam with this learning rate (PyTorch's default is 2e-3).
    pub fn new(rate: f64) -> NAdam {
        NAdam {
            rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled: false,
        }
    }

    /// How much of the first and second moment stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> NAdam {
        NAdam { betas: (first, second), ..self }
    }
}

options! {
    NAdam {
        /// What is added to the root of the second moment.
        epsilon: f64,
        /// Times the parameter is added to its gradient, or (decoupled) taken from it.
        weight_decay: f64,
        /// How fast the momentum grows.
        momentum_decay: f64,
        /// Whether the decay acts on the parameter by itself.
        decoupled: bool,
    }
}

impl Optimizer for NAdam {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(NAdam { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let (parameter, gradient) = decayed(slots, parameter, gradient, self.weight_decay, self.decoupled);
        // The momentum of a step, and the product of all so far.
        let momentum = |step: Tensor| {
            let grown = (step * (self.momentum_decay * libm::log(0.96))).exp();
            (1.0 - grown * 0.5) * self.betas.0
        };
        let (now, next) = (momentum(slots.step.clone()), momentum(&slots.step + 1.0));
        let product = slots.filled("product", &parameter, (), 1.0) * &now;
        slots.set("product", &product);
        let [mean, square] = moments(slots, &parameter, &gradient, self.betas);
        let scale = correction(slots, self.betas.1).sqrt().recip();
        let size = square.sqrt() * scale + self.epsilon;
        let by_gradient = &slots.rate * (1.0 - &now) / (1.0 - &product);
        let by_mean = &slots.rate * &next / (1.0 - product * &next);
        parameter - (gradient * by_gradient + mean * by_mean) / size
    }
}

/// Adam whose steps are held back while its second moment is known from few gradients.
#[derive(Clone, Copy, Debug)]
pub struct RAdam {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
    decoupled: bool,
}

impl RAdam {
    /// RAdam with this learning rate (PyTorch's default is 1e-3).
    pub fn new(rate: f64) -> RAdam {
        RAdam { rate, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0, decoupled: false }
    }

    /// How much of the first and second moment stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> RAdam {
        RAdam { betas: (first, second), ..self }
    }
}

options! {
    RAdam {
        /// What is added to the root of the second moment.
        epsilon: f64,
        /// Times the parameter is added to its gradient, or (decoupled) taken from it.
        weight_decay: f64,
        /// Whether the decay acts on the parameter by itself.
        decoupled: bool,
    }
}

impl Optimizer for RAdam {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        Some(Box::new(RAdam { weight_decay: 0.0, ..*self }))
    }

    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let (parameter, gradient) = decayed(slots, parameter, gradient, self.weight_decay, self.decoupled);
        let [mean, square] = moments(slots, &parameter, &gradient, self.betas);
        let (first, second) = (correction(slots, self.betas.0), correction(slots, self.betas.1));
        let most = 2.0 / (1.0 - self.betas.1) - 1.0;
        // How many gradients the second moment is worth.
        let worth = most - &slots.step * 2.0 * (1.0 - &second) / &second;
        let known = worth.gt(5.0);
        let safe = known.select(&worth, 6.0);
        let rectified =
            ((&safe - 4.0) * (&safe - 2.0) * most / (&safe * ((most - 4.0) * (most - 2.0)))).sqrt();
        let adaptive = rectified * second.sqrt() / (square.sqrt() + self.epsilon);
        let size = known.select(adaptive, 1.0);
        parameter - mean * (&slots.rate / first) * size
    }
}
