//! A training step as one program: forward, gradients, clipping, optimizer and averages, traced once for each shape of its
//! inputs, compiled together, and run many times.

mod options;
mod update;

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_device::Device;
use kiln_ir::{Data, Error, ErrorKind, Result};

use crate::function::{ANY, Function, InputList, array};
use crate::module::{Context, Module, named};
use crate::optim::{Optimizer, Slots};
use crate::tensor::Tensor;
use crate::variable::Variable;

pub use options::{Clip, StepOptions};
pub use update::Update;

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
pub struct Step<'a, const N: usize = ANY> {
    /// Updates the parameters.
    update: Function<'a, N>,
    /// Only adds to the accumulated gradients.
    gather: Option<Function<'a, N>>,
    rate: Variable,
    count: Variable,
    slots: Arc<Mutex<Slots>>,
    /// Runs since the last update, and how many make one.
    runs: usize,
    every: usize,
    /// Whether the last run was an update.
    updated: bool,
}

/// A forward pass: the loss first.
type Forward<'a> = dyn FnMut(&Context, &[Tensor]) -> Result<Vec<Tensor>> + Send + 'a;

/// What a step of one's own builds, and what it gives.
type CustomStep<'a> = dyn FnMut(&mut Update, &[Tensor]) -> Result<Vec<Tensor>> + Send + 'a;

/// A step's memory, whatever became of a thread that held it: a trace that fails leaves nothing half done in it.
fn held(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, const N: usize> Step<'a, N> {
    /// A step that lowers the loss `f` builds from the model and its inputs. The model may be a part of a larger one, which `f` brings
    /// along: only this part is trained.
    #[track_caller]
    pub fn train<M: Module + ?Sized>(
        model: &'a M,
        optimizer: impl Optimizer + 'a,
        mut f: impl FnMut(&M, &Context, [Tensor; N]) -> Tensor + Send + 'a,
    ) -> Step<'a, N> {
        let f = move |model: &M, context: &Context, inputs| vec![f(model, context, inputs)];
        Step::train_with(model, optimizer, StepOptions::new(), f)
    }

    /// As [`Step::train`], with options, and with more results than the loss, which comes first.
    #[track_caller]
    pub fn train_with<M: Module + ?Sized>(
        model: &'a M,
        optimizer: impl Optimizer + 'a,
        options: StepOptions,
        mut f: impl FnMut(&M, &Context, [Tensor; N]) -> Vec<Tensor> + Send + 'a,
    ) -> Step<'a, N> {
        let results = move |context: &Context, inputs: &[Tensor]| Ok(f(model, context, array(inputs)?));
        Step::lowering(Box::new(model), Box::new(optimizer), options, Box::new(results))
    }

    /// A step of one's own: `f` computes what it likes, says by [`Update`] what becomes of parameters, and gives the results, of which
    /// the first is shown as the loss. `rate` is the learning rate that the step begins with; those of the optimizers that `f` uses
    /// stay in proportion to it.
    ///
    /// ```
    /// use kiln_nn::optim::{Adam, RmsProp};
    /// use kiln_nn::{Dense, Input, Key, Layer, Module, Step, StepOptions};
    ///
    /// // Two critics with optimizers of their own, one of which is clipped, and a slow copy of the other, in one program.
    /// let [a, b, c] = Key::new(1).split().map(|key| Dense::new(2, 1, key));
    /// let (fast, slow) = (RmsProp::new(1e-2), Adam::new(1e-3));
    /// let mut step = Step::custom(1e-2, StepOptions::new(), |step, [x, y]| {
    ///     let losses = [&a, &b].map(|critic| critic.forward(&x, step.context()).mse(&y));
    ///     step.minimise("a", &a, &fast, &losses[0])?;
    ///     step.minimise("b", &b, &slow, &losses[1])?;
    ///     for (_, param) in a.parameters() {
    ///         step.set(&param, &step.value(&param).clamp(-0.01, 0.01))?;
    ///     }
    ///     step.lerp(&c, &b, 0.05)?;
    ///     Ok(losses.to_vec())
    /// });
    /// let (x, y) = ([0.0f32, 1.0, 1.0, 0.0], [1.0f32, 2.0]);
    /// step.run([Input::new(&x, &[2, 2]), Input::new(&y, &[2, 1])])?;
    /// assert!(a.weight.tensor().abs().max(..).item()? <= 0.0101);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn custom(
        rate: f64,
        options: StepOptions,
        mut f: impl FnMut(&mut Update, [Tensor; N]) -> Result<Vec<Tensor>> + Send + 'a,
    ) -> Step<'a, N> {
        Step::new(rate, options, Box::new(move |update, inputs| f(update, array(inputs)?)))
    }

    /// Lowers the first of the results.
    #[track_caller]
    fn lowering(
        model: Box<dyn Module + 'a>,
        optimizer: Box<dyn Optimizer + 'a>,
        options: StepOptions,
        mut results: Box<Forward<'a>>,
    ) -> Step<'a, N> {
        let rate = optimizer.rate();
        let lower = move |update: &mut Update, inputs: &[Tensor]| {
            let results = named(&*model, || results(update.context(), inputs))?;
            let Some(loss) = results.first() else {
                return Err(Error::new(ErrorKind::Value, "step", "the closure gives no loss").nowhere());
            };
            update.minimise_part("", &*model, &*optimizer, loss)?;
            Ok(results)
        };
        Step::new(rate, options, Box::new(lower))
    }

    #[track_caller]
    fn new(rate: f64, options: StepOptions, build: Box<CustomStep<'a>>) -> Step<'a, N> {
        let initial = Variable::scalar("learning rate", rate as f32);
        let count = Variable::scalar("step count", 0i64);
        let slots = Arc::new(Mutex::new(Slots::new(initial.clone(), count.clone())));
        let (at, every) = (Location::caller(), options.accumulate.max(1));
        let shared = Arc::new(Mutex::new((build, options)));
        let traced = |updates: bool| {
            let (shared, slots) = (shared.clone(), slots.clone());
            Function::traced(Box::new(move |inputs| {
                let (build, options) = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
                let mut slots = held(&slots);
                let mut update = Update::begin(&mut slots, options, rate, at, updates)?;
                let results = build(&mut update, inputs)?;
                Ok((results, update.end()?))
            }))
        };
        let (update, gather) = (traced(true), (every > 1).then(|| traced(false)));
        Step { update, gather, rate: initial, count, slots, runs: 0, every, updated: true }
    }

    /// The same step among those of any number of inputs.
    pub fn any(self) -> Step<'a> {
        let Step { update, gather, rate, count, slots, runs, every, updated } = self;
        let (update, gather) = (update.any(), gather.map(Function::any));
        Step { update, gather, rate, count, slots, runs, every, updated }
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
        for (_, variable) in held(&self.slots).state() {
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
    pub fn run<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<f32> {
        let outputs = self.run_all(inputs)?;
        Ok(outputs.first().and_then(|loss| loss.get(0)).map_or(f32::NAN, |loss| loss.as_f64() as f32))
    }

    /// Runs one step and gives everything the closure returned, the loss first.
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn run_all<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<&[Data]> {
        self.start(inputs)?;
        self.results()
    }

    /// Starts a step and doesn't wait for it where the device works by itself; [`Step::results`] waits.
    ///
    /// # Errors
    /// As [`Step::run`], but for what is only known when the work is done.
    pub fn start<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<()> {
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
    pub fn upload<'i>(&mut self, inputs: impl InputList<'i, N>) -> Result<Option<Vec<Variable>>> {
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
        for (name, variable) in held(&self.slots).state() {
            state.push((name, variable.read()?));
        }
        let mut slots = held(&self.slots);
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
        held(&self.slots).restore(&others)
    }

    /// Exchanges the model's weights with their averages, for evaluation; and back. Does nothing before the first run, nor to
    /// parts that go by names of their own ([`Update::minimise`]) before the first one after [`Step::restore`].
    ///
    /// # Errors
    /// Where the step keeps no averages, or the device fails.
    pub fn swap_averages(&self, model: &(impl Module + ?Sized)) -> Result<()> {
        let mut slots = held(&self.slots);
        let mut swapped = false;
        for (path, param) in model.parameters() {
            let name = slots.name_of(&path, "average");
            let variable = param.variable()?;
            let weights = variable.read()?;
            // By the variable: a part may go by a name of its own, which stands in front of its paths here.
            let average = match (slots.average_of(variable).cloned(), slots.pending().get_mut(&name)) {
                (Some(kept), _) => {
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
            // Of which parameters they are, only the trace says where parts go by names of their own.
            let message = match slots.pending().keys().any(|name| name.ends_with("average")) {
                true => "whose averages were restored is only known after a run; run the step once before",
                false => "the step keeps no averages; ask for them with StepOptions::ema or swa",
            };
            return Err(Error::new(ErrorKind::Value, "swap_averages", message).nowhere());
        }
        Ok(())
    }

    /// The function underneath: its program, and the times of its kernels.
    pub fn function(&mut self) -> &mut Function<'a, N> {
        &mut self.update
    }
}

impl<'a> Step<'a> {
    /// As [`Step::train_with`], of any number of inputs.
    #[track_caller]
    pub fn train_many<M: Module + ?Sized>(
        model: &'a M,
        optimizer: impl Optimizer + 'a,
        options: StepOptions,
        mut f: impl FnMut(&M, &Context, &[Tensor]) -> Vec<Tensor> + Send + 'a,
    ) -> Step<'a> {
        let results = move |context: &Context, inputs: &[Tensor]| Ok(f(model, context, inputs));
        Step::lowering(Box::new(model), Box::new(optimizer), options, Box::new(results))
    }

    /// As [`Step::custom`], of any number of inputs.
    #[track_caller]
    pub fn custom_many(
        rate: f64,
        options: StepOptions,
        f: impl FnMut(&mut Update, &[Tensor]) -> Result<Vec<Tensor>> + Send + 'a,
    ) -> Step<'a> {
        Step::new(rate, options, Box::new(f))
    }
}
