//! A training step as one program: forward, gradients, clipping, optimizer and averages, traced once for each shape of its
//! inputs, compiled together, and run many times.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use kiln_device::Device;
use kiln_ir::{DType, Data, Error, ErrorKind, Result, line};

use crate::function::{Function, Input};
use crate::module::{Context, Module};
use crate::optim::{Optimizer, Slots, Trained};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::{Param, Variable};

/// What a step does besides.
///
/// ```
/// use kiln_nn::{Clip, StepOptions};
///
/// let options = StepOptions::new().seed(7).clip(Clip::GlobalNorm(1.0)).accumulate(4).ema(0.999);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct StepOptions {
    seed: u64,
    clip: Option<Clip>,
    accumulate: usize,
    average: Option<Average>,
    l1: f64,
    l2: f64,
}

/// How gradients are kept small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Each number within plus and minus this.
    Value(f64),
    /// Each parameter's gradient scaled down to this norm.
    Norm(f64),
    /// All gradients scaled down together, to this norm of all of them.
    GlobalNorm(f64),
}

/// A second set of weights, averaged over steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Average {
    /// Decays by this a step.
    Exponential(f64),
    /// The mean of the weights after step `start` and every `every` steps from then on.
    Stochastic { start: u64, every: u64 },
}

impl StepOptions {
    /// Seed 0, and nothing besides.
    pub fn new() -> StepOptions {
        StepOptions::default()
    }

    /// Where the randomness of dropout and the like starts from.
    pub fn seed(self, seed: u64) -> StepOptions {
        StepOptions { seed, ..self }
    }

    /// Keeps gradients small before they reach the optimizer.
    pub fn clip(self, clip: Clip) -> StepOptions {
        StepOptions { clip: Some(clip), ..self }
    }

    /// Changes the parameters after every so many runs only, by the mean of their gradients: batches as large as memory
    /// doesn't allow.
    pub fn accumulate(self, runs: usize) -> StepOptions {
        StepOptions { accumulate: runs, ..self }
    }

    /// Keeps an exponential moving average of the weights; see [`Step::swap_averages`].
    pub fn ema(self, decay: f64) -> StepOptions {
        StepOptions { average: Some(Average::Exponential(decay)), ..self }
    }

    /// Keeps the mean of the weights after step `start` and every `every` steps from then on; see [`Step::swap_averages`].
    pub fn swa(self, start: u64, every: u64) -> StepOptions {
        StepOptions { average: Some(Average::Stochastic { start, every: every.max(1) }), ..self }
    }

    /// Adds this times the sum of all parameters' sizes to the loss that is lowered (not to the one that is shown).
    pub fn l1(self, penalty: f64) -> StepOptions {
        StepOptions { l1: penalty, ..self }
    }

    /// Adds this times the sum of all parameters' squares to the loss that is lowered (not to the one that is shown).
    pub fn l2(self, penalty: f64) -> StepOptions {
        StepOptions { l2: penalty, ..self }
    }
}

/// A training step: forward, gradients, optimizer, as one program that updates parameters in place.
///
/// The learning rate, the step count and the randomness are variables that the program reads; nothing of the host's is
/// frozen into it.
///
/// ```
/// use kiln_nn::{Dense, Input, Key, Layer, Sgd, Step};
///
/// let model = Dense::new(2, 1, Key::new(1));
/// let mut step = Step::train(&model, Sgd::new(0.1), |m, cx, [x, y]| (m.forward(&x, cx) - y).square().mean(..));
/// let (x, y) = ([0.0f32, 1.0, 1.0, 0.0], [1.0f32, 2.0]);
/// let first = step.run([Input::new(&x, &[2, 2]), Input::new(&y, &[2, 1])])?;
/// let second = step.run([Input::new(&x, &[2, 2]), Input::new(&y, &[2, 1])])?;
/// assert!(second < first);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Step<'a, const N: usize> {
    /// Updates the parameters.
    update: Function<'a, N>,
    /// Only adds to the accumulated gradients.
    gather: Option<Function<'a, N>>,
    rate: Variable,
    count: Variable,
    slots: Rc<RefCell<Slots>>,
    /// Runs since the last update, and how many make one.
    runs: usize,
    every: usize,
    /// Whether the last run was an update.
    updated: bool,
}

impl<'a, const N: usize> Step<'a, N> {
    /// A step that lowers the loss `f` builds from the model and its inputs.
    #[track_caller]
    pub fn train<M: Module>(
        model: &'a M,
        optimizer: impl Optimizer + 'a,
        f: impl Fn(&M, &Context, [Tensor; N]) -> Tensor + 'a,
    ) -> Step<'a, N> {
        let f = move |model: &M, context: &Context, inputs| vec![f(model, context, inputs)];
        Step::train_with(model, optimizer, StepOptions::new(), f)
    }

    /// As [`Step::train`], with options, and with more results than the loss, which comes first.
    #[track_caller]
    pub fn train_with<M: Module>(
        model: &'a M,
        optimizer: impl Optimizer + 'a,
        options: StepOptions,
        f: impl Fn(&M, &Context, [Tensor; N]) -> Vec<Tensor> + 'a,
    ) -> Step<'a, N> {
        let rate = Variable::scalar("learning rate", optimizer.rate() as f32);
        let count = Variable::scalar("step count", 0i64);
        let slots = Rc::new(RefCell::new(Slots::new(rate.clone(), count.clone())));
        let every = options.accumulate.max(1);
        let at = Location::caller();
        let (shared, kept) = (Rc::new((f, optimizer, options)), slots.clone());
        let trace = move |inputs: [Tensor; N], updates: bool| {
            let (f, optimizer, options) = &*shared;
            let mut slots = kept.borrow_mut();
            let runs = slots.runs(every)?;
            let key = Key::new(options.seed).derive(runs.tensor());
            let context = Context::training(key);
            let results = f(model, &context, inputs);
            let Some(loss) = results.first() else {
                return Err(Error::new(ErrorKind::Value, "step", "the closure gives no loss").nowhere());
            };
            let trained: Vec<(String, Param)> =
                model.parameters().into_iter().filter(|(_, param)| !param.is_frozen()).collect();
            // Each as it is stored: moments and updates then lie as their parameter does.
            let variables = trained.iter().map(|(_, param)| param.variable()).collect::<Result<Vec<_>>>()?;
            let parameters: Vec<Tensor> = variables.iter().map(|variable| variable.tensor()).collect();
            let gradients = loss.grad(&parameters.iter().collect::<Vec<_>>());
            let mut changes = context.take_updates();
            // What follows belongs to the line that asks for training.
            line::on_behalf_of(at, || {
                let all = trained.iter().zip(&parameters).zip(gradients).map(
                    |(((path, _), parameter), gradient)| Trained {
                        path: path.clone(),
                        parameter: parameter.clone(),
                        gradient,
                    },
                );
                let mut all: Vec<Trained> = all.collect();
                if every > 1 {
                    slots.keep(&runs, &(runs.tensor() + 1i64));
                    accumulate(&mut slots, &mut all, every, updates)?;
                }
                if updates {
                    slots.begin();
                    penalise(&mut all, options);
                    clip(&mut all, options.clip);
                    let values = optimizer.update_all(&mut slots, &all)?;
                    for ((variable, trained), value) in variables.iter().zip(&all).zip(values) {
                        let value = value.cast(variable.dtype());
                        if let Some(average) = options.average {
                            follow(&mut slots, average, variable, trained, &value)?;
                        }
                        changes.push(((*variable).clone(), value));
                    }
                }
                changes.extend(slots.take_updates());
                if updates {
                    slots.settled()?;
                }
                Ok((results, changes))
            })
        };
        let trace = Rc::new(trace);
        let gathering = trace.clone();
        Step {
            update: Function::with_updates(move |inputs| trace(inputs, true)),
            gather: (every > 1).then(|| Function::with_updates(move |inputs| gathering(inputs, false))),
            rate,
            count,
            slots,
            runs: 0,
            every,
            updated: true,
        }
    }

    /// The same step on this device, to which the optimizer's variables go; the model's must be there, or on none yet. Without
    /// this a step runs where the model is, else on the default device.
    pub fn on(mut self, device: &Arc<dyn Device>) -> Step<'a, N> {
        self.update = self.update.on(device);
        self.gather = self.gather.map(|gather| gather.on(device));
        self
    }

    /// Moves the model and all that the step keeps to a device and goes on there: the next run is compiled for it.
    ///
    /// # Errors
    /// Where a device fails.
    pub fn to(&mut self, model: &(impl Module + ?Sized), device: &Arc<dyn Device>) -> Result<()> {
        model.to(device)?;
        for (_, variable) in self.slots.borrow().state() {
            variable.to(device)?;
        }
        self.update.set_device(device);
        self.gather.iter_mut().for_each(|gather| gather.set_device(device));
        Ok(())
    }

    /// Runs one step and gives the loss it started from.
    ///
    /// # Errors
    /// A mistake in what the closure builds, with its line; or an index out of range.
    pub fn run(&mut self, inputs: [Input; N]) -> Result<f32> {
        let outputs = self.run_all(inputs)?;
        Ok(outputs.first().and_then(|loss| loss.get(0)).map_or(f32::NAN, |loss| loss.as_f64() as f32))
    }

    /// Runs one step and gives everything the closure returned, the loss first.
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn run_all(&mut self, inputs: [Input; N]) -> Result<&[Data]> {
        self.start(inputs)?;
        self.results()
    }

    /// Starts a step and doesn't wait for it where the device works by itself; [`Step::results`] waits.
    ///
    /// # Errors
    /// As [`Step::run`], but for what is only known when the work is done.
    pub fn start(&mut self, inputs: [Input; N]) -> Result<()> {
        let updates = self.updates_next();
        self.next().start(inputs)?;
        self.updated = updates;
        self.runs = if updates { 0 } else { self.runs + 1 };
        Ok(())
    }

    /// What the closure returned in the last step, when it is done.
    ///
    /// # Errors
    /// Of the step, if it was started and not waited for.
    pub fn results(&mut self) -> Result<&[Data]> {
        match &mut self.gather {
            Some(gather) if !self.updated => gather.results(),
            _ => self.update.results(),
        }
    }

    /// The inputs of the step after the one that goes on, in variables of the device where that saves time; see [`Function::upload`].
    ///
    /// # Errors
    /// As there.
    pub fn upload(&mut self, inputs: [Input; N]) -> Result<Option<[Variable; N]>> {
        self.next().upload(inputs)
    }

    /// Whether the next run updates the parameters.
    fn updates_next(&self) -> bool {
        self.gather.is_none() || (self.runs + 1).is_multiple_of(self.every)
    }

    /// What the next run runs.
    fn next(&mut self) -> &mut Function<'a, N> {
        let updates = self.updates_next();
        match &mut self.gather {
            Some(gather) if !updates => gather,
            _ => &mut self.update,
        }
    }

    /// Changes the learning rate from the next step on. Nothing is compiled anew.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn set_rate(&self, rate: f64) -> Result<()> {
        self.rate.set(rate as f32)
    }

    /// The learning rate now.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn rate(&self) -> Result<f64> {
        Ok(self.rate.read()?.get(0).map_or(f64::NAN, |rate| rate.as_f64()))
    }

    /// How many times the parameters were updated.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn count(&self) -> Result<u64> {
        Ok(self.count.read()?.get(0).map_or(0, |count| count.as_i64() as u64))
    }

    /// Everything the step keeps besides the model's own parameters and states, by name: learning rate, counts, what the
    /// optimizer remembers, averages, gradients that are being accumulated.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn state(&self) -> Result<Vec<(String, Data)>> {
        let mut state = vec![("runs".to_string(), Data::I64(vec![self.runs as i64]))];
        for (name, variable) in self.slots.borrow().state() {
            state.push((name, variable.read()?));
        }
        let mut slots = self.slots.borrow_mut();
        state.extend(slots.pending().iter().map(|(name, data)| (name.clone(), data.clone())));
        Ok(state)
    }

    /// Goes on from a state that [`Step::state`] gave, also before the first run.
    ///
    /// # Errors
    /// Where a name or size doesn't fit; of what has no place yet, at the first run.
    pub fn restore(&mut self, state: &[(String, Data)]) -> Result<()> {
        let own = state.iter().find(|(name, _)| name == "runs").and_then(|(_, runs)| runs.get(0));
        self.runs = own.map_or(0, |runs| runs.as_i64().max(0) as usize);
        let others: Vec<_> = state.iter().filter(|(name, _)| name != "runs").cloned().collect();
        self.slots.borrow_mut().restore(&others)
    }

    /// Exchanges the model's weights with their averages, for evaluation; and back. Does nothing before the first run.
    ///
    /// # Errors
    /// Where the step keeps no averages, or the device fails.
    pub fn swap_averages(&self, model: &impl Module) -> Result<()> {
        let mut slots = self.slots.borrow_mut();
        let (state, mut swapped) = (slots.state(), false);
        for (path, param) in model.parameters() {
            let name = format!("{path}.average");
            let variable = param.variable()?;
            let weights = variable.read()?;
            let average =
                match (state.iter().find(|(other, _)| *other == name), slots.pending().get_mut(&name)) {
                    (Some((_, kept)), _) => {
                        let average = kept.read()?;
                        kept.write(&weights)?;
                        average
                    }
                    (None, Some(pending)) => std::mem::replace(pending, weights),
                    (None, None) => continue,
                };
            variable.write(&average)?;
            swapped = true;
        }
        if !swapped && self.count()? > 0 {
            let message = "the step keeps no averages; ask for them with StepOptions::ema or swa";
            return Err(Error::new(ErrorKind::Value, "swap_averages", message).nowhere());
        }
        Ok(())
    }

    /// The function underneath: its program, and the times of its kernels.
    pub fn function(&mut self) -> &mut Function<'a, N> {
        &mut self.update
    }
}

impl Slots {
    /// The variable that counts runs, from which randomness is drawn: the step count itself where each run is a step.
    fn runs(&mut self, every: usize) -> Result<Variable> {
        match every {
            1 => Ok(self.counted()),
            _ => self.variable("run count", &kiln_ir::Shape::scalar(), DType::I64, 0.0),
        }
    }
}

/// Adds to the gradients so far; an update takes their mean and starts anew.
fn accumulate(slots: &mut Slots, all: &mut [Trained], every: usize, updates: bool) -> Result<()> {
    for Trained { path, parameter, gradient } in all {
        let so_far =
            slots.variable(&format!("{path}.gradient"), &parameter.shape(), gradient.dtype(), 0.0)?;
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
                let scale = factor(trained.gradient.norm(2.0, ..), most);
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
    average: Average,
    variable: &Variable,
    trained: &Trained,
    value: &Tensor,
) -> Result<()> {
    let name = format!("{}.average", trained.path);
    let kept = slots.variable_with(&name, variable.shape(), variable.dtype(), || variable.read())?;
    let now = kept.tensor();
    let next = match average {
        Average::Exponential(decay) => &now * decay + value * (1.0 - decay),
        Average::Stochastic { start, every } => {
            let since = slots.step() - start as i64;
            let due = since.ge(0i64) & (&since % every as i64).eq(0i64);
            let averaged = (&since / every as i64).floor().cast(value.dtype());
            due.select(&now + (value - &now) / (averaged + 1.0), &now)
        }
    };
    slots.keep(&kept, &next);
    Ok(())
}
