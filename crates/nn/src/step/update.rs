//! A step while it is traced: what its closure asks for, in tensor arithmetic.

use std::collections::HashSet;
use std::panic::Location;

use kiln_ir::{DType, Error, ErrorKind, Result, Shape, line};

use super::options::{Clip, StepOptions, WeightAverage};
use crate::function::Updates;
use crate::module::{Context, Module, Share, between, call_by_paths, joined, kept, unpacked_pairs};
use crate::optim::{Optimizer, Slots, Trained};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::{Param, Variable};

/// A step of one's own while it is traced, see [`Step::custom`](super::Step::custom): its closure computes losses and says what is to
/// become of parameters.
///
/// What is asked for happens in the order in which it is asked for, as far as new values go: an average that follows after
/// [`Update::minimise`] follows the new weights. Values that are computed with ([`Param::tensor`]) are those from before the step.
pub struct Update<'u> {
    context: Context,
    slots: &'u mut Slots,
    options: &'u StepOptions,
    /// Whether this run changes parameters; otherwise it only adds to their gradients.
    updates: bool,
    /// The rate that the step began with, to which those of optimizers are in proportion.
    rate: f64,
    /// What counts runs, from which randomness is drawn.
    runs: Variable,
    /// Whether this run is counted.
    counted: bool,
    /// The line that asks for training.
    at: &'static Location<'static>,
    /// Paths that optimizers keep something under.
    seen: HashSet<String>,
}

impl<'u> Update<'u> {
    pub(super) fn begin(
        slots: &'u mut Slots,
        options: &'u StepOptions,
        rate: f64,
        at: &'static Location<'static>,
        updates: bool,
    ) -> Result<Update<'u>> {
        // Of a trace that failed.
        drop(slots.take_updates());
        let every = options.accumulate.max(1);
        // What randomness is drawn from: the step count itself where each run is a step.
        let runs = match every {
            1 => slots.counted(),
            _ => slots.variable("run count", &Shape::scalar(), DType::I64, 0.0)?,
        };
        let context = Context::training(Key::new(options.seed).derive(runs.tensor()));
        let (counted, seen) = (false, HashSet::new());
        Ok(Update { context, slots, options, updates, rate, runs, counted, at, seen })
    }

    /// Counts the run and the step, once.
    fn count(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        line::on_behalf_of(self.at, || {
            if self.options.accumulate > 1 {
                self.slots.keep(&self.runs, &(self.runs.tensor() + 1i64));
            }
            if self.updates {
                self.slots.begin();
            }
        });
    }

    /// All new values, once nothing more is asked for.
    pub(super) fn end(mut self) -> Result<Updates> {
        self.count();
        let mut updates = self.context.take_updates();
        updates.extend(self.slots.take_updates());
        if self.updates {
            self.slots.settled()?;
        }
        Ok(updates)
    }

    /// The circumstances of the forward passes.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Lowers `loss` by changing the parameters of `part` that aren't frozen. What the optimizer remembers goes by `name` and the
    /// parameters' paths (an empty name: by these alone), so that parts need names of their own. Optimizers' rates keep
    /// their proportions when [`Step::set_rate`](super::Step::set_rate) changes the step's; clipping, penalties and averages of the
    /// step's options are for each part by itself.
    ///
    /// # Errors
    /// Where the loss has no gradient or the optimizer doesn't fit; where a part of this name was there already.
    pub fn minimise(
        &mut self,
        name: &str,
        part: &(impl Module + ?Sized),
        optimizer: &dyn Optimizer,
        loss: &Tensor,
    ) -> Result<()> {
        self.minimise_part(name, &part, optimizer, loss)
    }

    pub(super) fn minimise_part(
        &mut self,
        name: &str,
        part: &dyn Module,
        optimizer: &dyn Optimizer,
        loss: &Tensor,
    ) -> Result<()> {
        call_by_paths(name, part);
        // Each as it is stored: moments and updates then lie as their parameter does.
        let parameters = trained(part)
            .iter()
            .map(|(_, param)| Ok(param.variable()?.tensor()))
            .collect::<Result<Vec<Tensor>>>()?;
        // A loss that has no one gradient is the mistake of the line that built it.
        let built = loss.0.node().map_or(self.at, |node| node.at);
        let gradients = line::on_behalf_of(built, || loss.grad(&parameters));
        self.descend(name, part, optimizer, gradients)
    }

    /// As [`Update::minimise`], with gradients of one's own: one for each parameter of `part` that isn't frozen, in order and in its shape.
    ///
    /// # Errors
    /// Where there are more or fewer, or they are of other shapes; as there.
    pub fn apply(
        &mut self,
        name: &str,
        part: &(impl Module + ?Sized),
        optimizer: &dyn Optimizer,
        gradients: &[Tensor],
    ) -> Result<()> {
        let trained = trained(&part);
        if trained.len() != gradients.len() {
            let message = format!("{} gradients for {} parameters", gradients.len(), trained.len());
            return Err(Error::new(ErrorKind::Value, "apply", message).nowhere());
        }
        let stored = |((path, param), gradient): (&(String, Param), &Tensor)| {
            let (shape, given) = (param.shape(), gradient.sound()?.shape());
            if shape != given {
                let message = format!("the gradient of {path} is {given}, and it is {shape}");
                return Err(Error::new(ErrorKind::Shape, "apply", message).nowhere());
            }
            Ok(param.as_stored(gradient))
        };
        let gradients = trained.iter().zip(gradients).map(stored).collect::<Result<_>>()?;
        self.descend(name, &part, optimizer, gradients)
    }

    /// A parameter's value after the step, as far as it was asked for by now.
    #[track_caller]
    pub fn value(&self, param: &Param) -> Tensor {
        match param.variable() {
            Ok(variable) => param.as_seen(&self.context.value(variable)),
            Err(error) => error.into(),
        }
    }

    /// Gives a parameter this value after the step (weights that are clipped, a projection). Nothing where the step only adds to
    /// gradients; see [`StepOptions::accumulate`].
    ///
    /// # Errors
    /// Where `value` is an error or isn't of the parameter's shape, or the parameter is packed.
    #[track_caller]
    pub fn set(&mut self, param: &Param, value: &Tensor) -> Result<()> {
        let (variable, shape) = (param.variable()?, param.shape());
        let given = value.sound()?.shape();
        if given != shape {
            let message = format!("the parameter is {shape}, not {given}");
            return Err(Error::new(ErrorKind::Shape, "set", message).nowhere());
        }
        param.can_change("set")?;
        if self.updates {
            self.context.update(variable, param.as_stored(value).cast(variable.dtype()));
        }
        Ok(())
    }

    /// Moves a module's parameters and states by this share of the way towards those of another after the step: a teacher that
    /// follows its student, a target network. What isn't floating is copied.
    ///
    /// # Errors
    /// Where the modules don't have the same parameters and states, or packed ones; it names which.
    #[track_caller]
    pub fn lerp(
        &mut self,
        module: &(impl Module + ?Sized),
        towards: &(impl Module + ?Sized),
        share: f64,
    ) -> Result<()> {
        let pairs = unpacked_pairs("lerp", kept(module)?, kept(towards)?)?;
        line::on_behalf_of(line::of(Location::caller()), || {
            let share = Share::new(share);
            for (own, other) in pairs.iter().filter(|_| self.updates) {
                let (from, to) = (self.context.value(&own.variable), other.laid_as(own, &self.context));
                self.context.update(&own.variable, between(&from, &to, &share));
            }
        });
        Ok(())
    }

    /// What follows from gradients.
    fn descend(
        &mut self,
        name: &str,
        part: &dyn Module,
        optimizer: &dyn Optimizer,
        gradients: Vec<Tensor>,
    ) -> Result<()> {
        self.count();
        let trained = trained(part);
        let variables = trained.iter().map(|(_, param)| param.variable()).collect::<Result<Vec<_>>>()?;
        let mut all = Vec::with_capacity(trained.len());
        for (((path, _), variable), gradient) in trained.iter().zip(&variables).zip(gradients) {
            // As slots are named: what goes by the same name would share them.
            let full = joined(name, path);
            if self.seen.contains(&full) {
                let message = format!(
                    "{full} is changed twice, now under the name {name:?}; give each part a name of its own"
                );
                return Err(Error::new(ErrorKind::Value, "minimise", message).nowhere());
            }
            self.seen.insert(full);
            all.push(Trained { path: path.clone(), parameter: self.context.value(variable), gradient });
        }
        let Update { context, slots, options, updates, rate, at, .. } = self;
        let factor = if *rate == 0.0 { 1.0 } else { optimizer.rate() / *rate };
        let every = options.accumulate.max(1);
        // This belongs to the line that asks for training.
        line::on_behalf_of(at, || {
            slots.scoped(name, factor, |slots| {
                if every > 1 {
                    accumulate(slots, &mut all, every, *updates)?;
                }
                if !*updates {
                    return Ok(());
                }
                penalise(&mut all, options);
                clip(&mut all, options.clip);
                let values = optimizer.update_all(slots, &all)?;
                if values.len() != all.len() {
                    let message = format!("the optimizer gives {} values for {}", values.len(), all.len());
                    return Err(Error::new(ErrorKind::Value, "minimise", message).nowhere());
                }
                for ((variable, trained), value) in variables.iter().zip(&all).zip(values) {
                    let value = value.cast(variable.dtype());
                    if let Some(average) = options.average {
                        follow(slots, average, variable, trained, &value)?;
                    }
                    context.update(variable, value);
                }
                Ok(())
            })
        })
    }
}

/// What training may change.
fn trained(part: &dyn Module) -> Vec<(String, Param)> {
    part.parameters().into_iter().filter(|(_, param)| !param.is_frozen()).collect()
}

/// Adds to the gradients so far; an update takes their mean and starts anew.
fn accumulate(slots: &mut Slots, all: &mut [Trained], every: usize, updates: bool) -> Result<()> {
    for Trained { path, parameter, gradient } in all {
        let so_far = slots.variable_of(path, "gradient", &parameter.shape(), gradient.dtype(), 0.0)?;
        let sum = so_far.tensor() + &*gradient * (1.0 / every as f64);
        let rest = if updates { sum.full_like(0.0) } else { sum.clone() };
        slots.keep(&so_far, &rest);
        *gradient = sum;
    }
    Ok(())
}

/// Adds the gradients of the penalties.
fn penalise(all: &mut [Trained], options: &StepOptions) {
    for Trained { parameter, gradient, .. } in all {
        if options.l1 != 0.0 {
            *gradient += parameter.sign() * options.l1;
        }
        if options.l2 != 0.0 {
            *gradient += &*parameter * (2.0 * options.l2);
        }
    }
}

fn clip(all: &mut [Trained], clip: Option<Clip>) {
    // As PyTorch does: what is shorter stays as it is, to the last bit.
    let factor = |norm: Tensor, most: f64| {
        let scale = most / (norm + 1e-6);
        scale.minimum(1.0)
    };
    match clip {
        None => {}
        Some(Clip::Value(most)) => {
            all.iter_mut().for_each(|trained| trained.gradient = trained.gradient.clamp(-most, most));
        }
        Some(Clip::Norm(most)) => {
            for trained in all {
                let scale = factor(trained.gradient.norm(.., 2.0), most);
                trained.gradient = &trained.gradient * scale;
            }
        }
        Some(Clip::GlobalNorm(most)) => {
            let squares = all.iter().map(|trained| trained.gradient.wide().square().sum(..));
            let Some(square) = squares.reduce(|a, b| a + b) else { return };
            let scale = factor(square.sqrt(), most);
            all.iter_mut().for_each(|trained| {
                trained.gradient = (&trained.gradient * &scale).cast(trained.gradient.dtype());
            });
        }
    }
}

/// Moves a parameter's average towards its new value.
fn follow(
    slots: &mut Slots,
    average: WeightAverage,
    variable: &Variable,
    trained: &Trained,
    value: &Tensor,
) -> Result<()> {
    let name = slots.name_of(&trained.path, "average");
    let kept = slots.variable_with(&name, variable.shape(), variable.dtype(), || variable.read())?;
    slots.averaged(variable, &kept);
    let now = kept.tensor();
    let next = match average {
        WeightAverage::Exponential(decay) => &now * decay + value * (1.0 - decay),
        WeightAverage::Stochastic { start, every } => {
            let since = slots.step() - start as i64;
            let due = since.ge(0i64) & (&since % every as i64).eq(0i64);
            let averaged = (&since / every as i64).floor().cast(value.dtype());
            due.select(&now + (value - &now) / (averaged + 1.0), &now)
        }
    };
    slots.keep(&kept, &next);
    Ok(())
}
