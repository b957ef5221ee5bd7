//! What optimizers remember from step to step, in variables of the step.

use std::collections::BTreeMap;

use kiln_ir::{DType, Data, Error, ErrorKind, Result, Scalar, Shape};

use super::Optimizer;
use crate::module::joined;
use crate::tensor::Tensor;
use crate::variable::Variable;

/// A parameter on its way to a new value.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Its path in the model.
    pub path: String,
    /// Its value now, as it is stored.
    pub parameter: Tensor,
    /// The loss' gradient in it.
    pub gradient: Tensor,
}

/// All that a step remembers besides the parameters, by name.
#[derive(Debug)]
pub struct Slots {
    rate: Variable,
    count: Variable,
    kept: BTreeMap<String, Variable>,
    updates: Vec<(Variable, Tensor)>,
    /// The number of this step, counted from one.
    step: Tensor,
    /// What was restored before the variables for it were there.
    pending: BTreeMap<String, Data>,
    /// Parameters' variables with their averages, whatever names these go by.
    averages: Vec<(Variable, Variable)>,
    scope: SlotScope,
}

/// For whom something is remembered.
#[derive(Clone, Debug)]
struct SlotScope {
    /// The part of the model, in front of its parameters' paths.
    part: String,
    /// Those of its parameters that have a rule of their own.
    group: String,
    /// How many times the step's learning rate theirs is.
    factor: f64,
    /// After how many steps they begin to change.
    wait: u64,
}

/// What an optimizer sees beside one parameter and its gradient.
#[derive(Debug)]
pub struct ParameterSlots<'a> {
    all: &'a mut Slots,
    path: &'a str,
    /// The learning rate, a scalar.
    pub rate: Tensor,
    /// The number of this step, counted from one, as `F32`.
    pub step: Tensor,
    error: Option<Error>,
}

impl Slots {
    pub(crate) fn new(rate: Variable, count: Variable) -> Slots {
        let step = Tensor::full((), 1i64);
        let scope = SlotScope { part: String::new(), group: String::new(), factor: 1.0, wait: 0 };
        let (kept, pending) = (BTreeMap::new(), BTreeMap::new());
        Slots { rate, count, kept, updates: Vec::new(), step, pending, averages: Vec::new(), scope }
    }

    /// The variable that counts steps.
    pub(crate) fn counted(&self) -> Variable {
        self.count.clone()
    }

    /// Counts a step.
    pub(crate) fn begin(&mut self) {
        self.step = self.count.tensor() + 1i64;
        self.updates.push((self.count.clone(), self.step.clone()));
    }

    /// The learning rate, a scalar.
    pub fn rate(&self) -> Tensor {
        let rate = match self.scope.factor {
            1.0 => self.rate.tensor(),
            factor => self.rate.tensor() * factor,
        };
        match self.scope.wait {
            0 => rate,
            wait => rate * self.step.gt(wait as i64).cast(DType::F32),
        }
    }

    /// Runs `f` for a part of the model, whose rate is `factor` times the step's.
    pub(crate) fn scoped<R>(&mut self, part: &str, factor: f64, f: impl FnOnce(&mut Slots) -> R) -> R {
        self.under(SlotScope { part: part.to_string(), group: String::new(), factor, wait: 0 }, f)
    }

    /// Runs `f` for some of the parameters, under a name for what is remembered of all of them together, at `factor` times the rate
    /// and after so many steps.
    pub(super) fn grouped<R>(
        &mut self,
        group: &str,
        (factor, wait): (f64, u64),
        f: impl FnOnce(&mut Slots) -> R,
    ) -> R {
        let (part, factor) = (self.scope.part.clone(), self.scope.factor * factor);
        let (group, wait) = (joined(&self.scope.group, group), self.scope.wait.max(wait));
        self.under(SlotScope { part, group, factor, wait }, f)
    }

    fn under<R>(&mut self, scope: SlotScope, f: impl FnOnce(&mut Slots) -> R) -> R {
        /// Puts the scope around back, also when `f` panics.
        struct Within<'s>(&'s mut Slots, SlotScope);
        impl Drop for Within<'_> {
            fn drop(&mut self) {
                std::mem::swap(&mut self.0.scope, &mut self.1);
            }
        }
        let around = std::mem::replace(&mut self.scope, scope);
        f(Within(self, around).0)
    }

    /// What goes by `name` of the parameter at a path of the part that is at hand.
    pub(crate) fn name_of(&self, path: &str, name: &str) -> String {
        joined(&joined(&self.scope.part, path), name)
    }

    /// The number of this step, counted from one.
    pub fn step(&self) -> Tensor {
        self.step.clone()
    }

    /// What becomes of one parameter under a rule, at so many times the learning rate.
    ///
    /// # Errors
    /// Where what the rule keeps has no place.
    pub fn one<O: Optimizer + ?Sized>(&mut self, rule: &O, trained: &Trained, factor: f64) -> Result<Tensor> {
        let rate = if factor == 1.0 { self.rate() } else { self.rate() * factor };
        let step = self.step.cast(DType::F32);
        let mut slots = ParameterSlots { all: self, path: &trained.path, rate, step, error: None };
        let value = rule.update(&mut slots, &trained.parameter, &trained.gradient);
        slots.error.map_or(Ok(value), Err)
    }

    /// The variable kept under a name for all parameters that the rule is for; `value` everywhere at first.
    ///
    /// # Errors
    /// Where it couldn't be made, or what was restored for it doesn't fit.
    pub fn variable(&mut self, name: &str, shape: &Shape, dtype: DType, value: f64) -> Result<Variable> {
        let name = joined(&joined(&self.scope.part, &self.scope.group), name);
        self.filled(&name, shape, dtype, value)
    }

    /// The variable kept under a name for the parameter at a path.
    pub(crate) fn variable_of(
        &mut self,
        path: &str,
        name: &str,
        shape: &Shape,
        dtype: DType,
        value: f64,
    ) -> Result<Variable> {
        self.filled(&self.name_of(path, name), shape, dtype, value)
    }

    fn filled(&mut self, name: &str, shape: &Shape, dtype: DType, value: f64) -> Result<Variable> {
        self.variable_with(name, shape, dtype, || {
            let named = |error: Error| Error { message: format!("{} ({name})", error.message), ..error };
            Data::try_filled(dtype, shape.elements(), Scalar::Float(value)).map_err(named)
        })
    }

    /// The variable kept under a name, with what it starts from.
    pub(crate) fn variable_with(
        &mut self,
        name: &str,
        shape: &Shape,
        dtype: DType,
        initial: impl FnOnce() -> Result<Data>,
    ) -> Result<Variable> {
        if let Some(variable) = self.kept.get(name) {
            return Ok(variable.clone());
        }
        let data = match self.pending.remove(name) {
            Some(data) if data.dtype() == dtype && data.len() == shape.elements() => data,
            Some(data) => {
                let message = format!(
                    "{name} was saved as {} values of {}, but is {dtype}{shape} here",
                    data.len(),
                    data.dtype()
                );
                return Err(Error::new(ErrorKind::Shape, "restore", message).nowhere());
            }
            None => initial()?,
        };
        let variable = Variable::new(name, data, shape)?;
        self.kept.insert(name.to_string(), variable.clone());
        Ok(variable)
    }

    /// From now on this is the average of a parameter's variable; of several parts that it is in, the last one's.
    pub(crate) fn averaged(&mut self, variable: &Variable, average: &Variable) {
        match self.averages.iter_mut().find(|(known, _)| known.is(variable)) {
            Some((_, known)) => *known = average.clone(),
            None => self.averages.push((variable.clone(), average.clone())),
        }
    }

    /// The average of a parameter's variable, if one was made.
    pub(crate) fn average_of(&self, variable: &Variable) -> Option<&Variable> {
        self.averages.iter().find(|(known, _)| known.is(variable)).map(|(_, average)| average)
    }

    /// Asks for a variable to have this value after the step.
    pub fn keep(&mut self, variable: &Variable, value: &Tensor) {
        self.updates.push((variable.clone(), value.cast(variable.dtype())));
    }

    pub(crate) fn take_updates(&mut self) -> Vec<(Variable, Tensor)> {
        std::mem::take(&mut self.updates)
    }

    /// Everything that is remembered, by name.
    pub(crate) fn state(&self) -> Vec<(String, Variable)> {
        let own = [("learning rate", &self.rate), ("step count", &self.count)];
        let own = own.into_iter().map(|(name, variable)| (name.to_string(), variable.clone()));
        own.chain(self.kept.iter().map(|(name, variable)| (name.clone(), variable.clone()))).collect()
    }

    /// What was restored and has no variable yet.
    pub(crate) fn pending(&mut self) -> &mut BTreeMap<String, Data> {
        &mut self.pending
    }

    /// Puts back what was remembered; what has no variable yet waits for it.
    pub(crate) fn restore(&mut self, state: &[(String, Data)]) -> Result<()> {
        for (name, data) in state {
            let variable = match name.as_str() {
                "learning rate" => Some(&self.rate),
                "step count" => Some(&self.count),
                name => self.kept.get(name),
            };
            match variable {
                Some(variable) => variable.write(data)?,
                None => drop(self.pending.insert(name.clone(), data.clone())),
            }
        }
        Ok(())
    }

    /// Nothing that was restored may be left without a place.
    pub(crate) fn settled(&self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.pending.keys().map(String::as_str).collect();
        let message = format!(
            "the saved state has {}, which this step doesn't keep: another optimizer, or another model",
            names.join(", ")
        );
        Err(Error::new(ErrorKind::Value, "restore", message).nowhere())
    }
}

impl ParameterSlots<'_> {
    /// The tensor kept under `name` for this parameter; zeros of its shape at first.
    pub fn get(&mut self, name: &str, parameter: &Tensor) -> Tensor {
        self.filled(name, parameter, parameter.shape(), 0.0)
    }

    /// The tensor kept under `name` for this parameter, of any shape and in its dtype; `value` everywhere at first.
    pub fn filled(&mut self, name: &str, parameter: &Tensor, shape: impl Into<Shape>, value: f64) -> Tensor {
        match self.all.variable_of(self.path, name, &shape.into(), parameter.dtype(), value) {
            Ok(variable) => variable.tensor(),
            Err(error) => {
                self.error = Some(error);
                parameter.clone()
            }
        }
    }

    /// Keeps a tensor under `name` for the next step.
    pub fn set(&mut self, name: &str, value: &Tensor) {
        if let Some(variable) = self.all.kept.get(&self.all.name_of(self.path, name)).cloned() {
            self.all.keep(&variable, value);
        }
    }
}
