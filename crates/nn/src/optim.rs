//! Optimizers: what becomes of a parameter, given its gradient. Written in tensor arithmetic, so that the compiler
//! fuses an update into the kernel that makes the gradient.

use std::collections::BTreeMap;

use kiln_ir::{Data, Result, Scalar};

use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::{Param, Variable};

/// A rule for updating parameters.
pub trait Optimizer {
    /// The learning rate at the start.
    fn rate(&self) -> f64;

    /// The parameter's new value. What must be remembered from step to step is kept in `slots`.
    fn update(&self, slots: &mut Slot, parameter: &Tensor, gradient: &Tensor) -> Tensor;
}

/// What an optimizer remembers, in variables of the step.
#[derive(Debug)]
pub struct Slots {
    rate: Variable,
    count: Variable,
    kept: BTreeMap<String, Variable>,
    updates: Vec<(Variable, Tensor)>,
}

/// What an optimizer sees beside one parameter and its gradient.
#[derive(Debug)]
pub struct Slot<'a> {
    slots: &'a mut Slots,
    path: &'a str,
    /// The learning rate, a scalar.
    pub rate: Tensor,
    /// The number of this step, counted from one, as `F32`.
    pub step: Tensor,
    error: Option<kiln_ir::Error>,
}

impl Slots {
    pub(crate) fn new(rate: Variable, count: Variable) -> Slots {
        Slots { rate, count, kept: BTreeMap::new(), updates: Vec::new() }
    }

    /// The key of this step's randomness.
    pub(crate) fn key(&self, seed: &Key) -> Key {
        seed.derive(self.count.tensor())
    }

    pub(crate) fn update(
        &mut self,
        optimizer: &dyn Optimizer,
        trained: &[(String, Param)],
        parameters: &[Tensor],
        gradients: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let count = self.count.tensor() + 1i64;
        let step = count.cast(kiln_ir::DType::F32);
        self.updates = vec![(self.count.clone(), count)];
        let mut values = Vec::with_capacity(trained.len());
        for (((path, _), parameter), gradient) in trained.iter().zip(parameters).zip(gradients) {
            let rate = self.rate.tensor();
            let mut slot = Slot { slots: self, path, rate, step: step.clone(), error: None };
            let value = optimizer.update(&mut slot, parameter, gradient);
            if let Some(error) = slot.error {
                return Err(error);
            }
            values.push(value.cast(parameter.dtype()));
        }
        Ok(values)
    }

    pub(crate) fn take_updates(&mut self) -> Vec<(Variable, Tensor)> {
        std::mem::take(&mut self.updates)
    }
}

impl Slot<'_> {
    /// The tensor kept under `name` for this parameter; zeros of its shape at first.
    pub fn get(&mut self, name: &str, parameter: &Tensor) -> Tensor {
        let path = format!("{}.{name}", self.path);
        if let Some(variable) = self.slots.kept.get(&path) {
            return variable.tensor();
        }
        let zeros = Data::filled(parameter.dtype(), parameter.elements(), Scalar::Int(0));
        match Variable::new(&path, zeros, parameter.shape()) {
            Ok(variable) => {
                let tensor = variable.tensor();
                self.slots.kept.insert(path, variable);
                tensor
            }
            Err(error) => {
                self.error = Some(error);
                parameter.clone()
            }
        }
    }

    /// Keeps a tensor under `name` for the next step.
    pub fn set(&mut self, name: &str, value: &Tensor) {
        if let Some(variable) = self.slots.kept.get(&format!("{}.{name}", self.path)) {
            self.slots.updates.push((variable.clone(), value.clone()));
        }
    }
}

/// Stochastic gradient descent, with momentum, Nesterov's variant and weight decay as PyTorch defines them.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

impl Sgd {
    /// Plain descent with this learning rate.
    pub fn new(rate: f64) -> Sgd {
        Sgd { rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// Adds a running sum of gradients that decays by `momentum`.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }

    /// Looks one step ahead along the momentum.
    pub fn nesterov(self, nesterov: bool) -> Sgd {
        Sgd { nesterov, ..self }
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

    fn update(&self, slot: &mut Slot, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let mut gradient = gradient.clone();
        if self.weight_decay != 0.0 {
            gradient += parameter * self.weight_decay;
        }
        if self.momentum != 0.0 {
            let velocity = slot.get("momentum", parameter) * self.momentum + &gradient;
            slot.set("momentum", &velocity);
            gradient = if self.nesterov { gradient + velocity * self.momentum } else { velocity };
        }
        parameter - gradient * &slot.rate
    }
}

/// Adam, and AdamW where the weight decay is decoupled. PyTorch's defaults: moments decay by 0.9 and 0.999, epsilon 1e-8.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    weight_decay: f64,
    decoupled: bool,
}

impl Adam {
    /// Adam with this learning rate.
    pub fn new(rate: f64) -> Adam {
        Adam { rate, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0, decoupled: false }
    }

    /// AdamW with this learning rate and PyTorch's weight decay of 0.01.
    pub fn decoupled(rate: f64) -> Adam {
        Adam { weight_decay: 0.01, decoupled: true, ..Adam::new(rate) }
    }

    /// How much of the first and second moment stays from step to step.
    pub fn betas(self, first: f64, second: f64) -> Adam {
        Adam { betas: (first, second), ..self }
    }

    /// What is added to the root of the second moment.
    pub fn epsilon(self, epsilon: f64) -> Adam {
        Adam { epsilon, ..self }
    }

    /// Weight decay: added to the gradient, or (decoupled) taken from the parameter.
    pub fn weight_decay(self, decay: f64) -> Adam {
        Adam { weight_decay: decay, ..self }
    }
}

impl Optimizer for Adam {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn update(&self, slot: &mut Slot, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        let (first, second) = self.betas;
        let (mut parameter, mut gradient) = (parameter.clone(), gradient.clone());
        if self.weight_decay != 0.0 && self.decoupled {
            parameter = &parameter * (1.0 - &slot.rate * self.weight_decay);
        } else if self.weight_decay != 0.0 {
            gradient += &parameter * self.weight_decay;
        }
        let mean = slot.get("mean", &parameter) * first + &gradient * (1.0 - first);
        let square = slot.get("square", &parameter) * second + &gradient * &gradient * (1.0 - second);
        slot.set("mean", &mean);
        slot.set("square", &square);
        // Both corrections are scalars, computed once a step.
        let correct = |beta: f64| 1.0 - (&slot.step * beta.ln()).exp();
        let size = &slot.rate / correct(first);
        let scale = correct(second).sqrt().recip();
        parameter - mean * size / (square.sqrt() * scale + self.epsilon)
    }
}
