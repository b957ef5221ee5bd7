//! All that can be said of a training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{Batching, Dataset, Order};
use kiln_map::nearest;
use kiln_nn::metrics::{Figure, Metric};
use kiln_nn::schedule::{ReduceOnPlateau, Schedule};
use kiln_nn::{Clip, Device, Module, StepOptions};
use serde_json::Value;

use super::Trainer;
use super::callback::Callback;
use super::checkpoint::Checkpoints;
use super::identity::PARTS;
use super::metrics::Asked;
use super::state::TrainState;
use crate::Error;

/// All that was asked of a trainer.
pub(super) struct Settings<'a> {
    pub(super) length: Length,
    pub(super) batching: Batching,
    pub(super) validation: Validation<'a>,
    pub(super) validate_every: u64,
    pub(super) metrics: Vec<Asked>,
    pub(super) schedule: Option<Planned<'a>>,
    pub(super) plateau: Option<(ReduceOnPlateau, String)>,
    pub(super) options: StepOptions,
    pub(super) accumulate: u64,
    pub(super) averages: bool,
    pub(super) class_weights: Option<ClassWeights>,
    /// Numbers of an epoch that follow from its others.
    pub(super) derived: Option<Box<Derived<'a>>>,
    pub(super) callbacks: Vec<Box<dyn Callback + 'a>>,
    pub(super) quiet: bool,
    pub(super) progress: bool,
    pub(super) interruptible: bool,
    pub(super) saves_to: Option<PathBuf>,
    pub(super) hint: Option<String>,
    pub(super) resume: Option<TrainState>,
    /// Where it is computed, if not where the model is.
    pub(super) device: Option<Arc<dyn Device>>,
    /// Parts that may differ from the checkpoint's.
    pub(super) allowed: Vec<String>,
    /// Where the training is saved if a file of it can't be written.
    pub(super) rescue: Vec<PathBuf>,
    /// What was said of the step, by the names of [`PARTS`].
    pub(super) said: BTreeMap<&'static str, Value>,
    /// The first setting that makes no sense.
    pub(super) mistake: Option<Error>,
}

impl Settings<'_> {
    /// Ten epochs of shuffled batches of 32 rows, and nothing besides.
    pub(super) fn new() -> Self {
        Settings {
            length: Length::Epochs(10),
            batching: Batching { order: Order::Shuffled, ..Batching::new(32) },
            validation: Validation::None,
            validate_every: 1,
            metrics: Vec::new(),
            schedule: None,
            plateau: None,
            options: StepOptions::new(),
            accumulate: 1,
            averages: false,
            class_weights: None,
            derived: None,
            callbacks: Vec::new(),
            quiet: false,
            progress: true,
            interruptible: false,
            saves_to: None,
            hint: None,
            resume: None,
            device: None,
            allowed: Vec::new(),
            rescue: Vec::new(),
            said: ["clip", "penalties", "averages"].map(|name| (name, Value::Null)).into(),
            mistake: None,
        }
    }
}

/// Further numbers of an epoch, from those it has.
pub(super) type Derived<'a> = dyn Fn(&[(String, f64)]) -> Vec<(String, f64)> + 'a;

/// A schedule, made when it is known how many steps there will be.
pub(super) enum Planned<'a> {
    Made(Box<dyn Schedule + 'a>),
    Over(Box<dyn Fn(u64) -> Box<dyn Schedule + 'a> + 'a>),
}

impl Planned<'_> {
    /// What the rate is multiplied by in an update, of so many.
    pub(super) fn of(&self, updates: u64) -> Box<dyn Schedule + '_> {
        match self {
            Planned::Made(schedule) => Box::new(|update| schedule.factor(update)),
            Planned::Over(made) => made(updates),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Epochs(u64),
    Steps(u64),
}

pub(super) enum Validation<'a> {
    None,
    Set(&'a dyn Dataset),
    Fraction(f64),
    Stratified(f64),
}

/// How much rows of each class count in the loss.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// So that all classes weigh the same together: `rows / (classes · rows of the class)`, as in scikit-learn.
    Balanced,
    /// One for each class.
    Given(Vec<f32>),
}

impl<'a, M: Module> Trainer<'a, M> {
    /// How often to go through the training set; 10 unless told otherwise.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.settings.length = Length::Epochs(epochs);
        self
    }

    /// How many batches to train on, instead of a number of epochs.
    pub fn steps(mut self, steps: u64) -> Self {
        self.settings.length = Length::Steps(steps);
        self
    }

    /// How many rows make a step; 32 unless told otherwise. The last batch of an epoch may be smaller.
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.settings.batching.size = rows;
        self
    }

    /// The order of the training rows; shuffled unless told otherwise.
    pub fn order(mut self, order: Order) -> Self {
        self.settings.batching.order = order;
        self
    }

    /// Leaves out a last batch that would be smaller.
    pub fn drop_last(mut self) -> Self {
        self.settings.batching.drop_last = true;
        self
    }

    /// Where randomness starts: order of rows, dropout, splits. The weights start from the model's own seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.batching.seed = seed;
        self
    }

    /// Evaluates on this set after each epoch.
    pub fn validate(mut self, set: &'a dyn Dataset) -> Self {
        self.settings.validation = Validation::Set(set);
        self
    }

    /// Keeps a random share of the training set out of training, and evaluates on it after each epoch.
    pub fn validate_fraction(mut self, share: f64) -> Self {
        self.settings.validation = Validation::Fraction(share);
        self
    }

    /// As [`Trainer::validate_fraction`], with the same share of each class.
    pub fn validate_stratified(mut self, share: f64) -> Self {
        self.settings.validation = Validation::Stratified(share);
        self
    }

    /// Evaluates only after every so many epochs, and after the last.
    pub fn validate_every(mut self, epochs: u64) -> Self {
        self.settings.validate_every = epochs.max(1);
        self
    }

    /// Figures besides the loss, by name: `accuracy`, `top-5`, `f1 macro`, `roc-auc`, `r2`; see [`Figure`]. They are of the first output.
    pub fn metrics<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        for name in names {
            match name.parse::<Figure>() {
                Ok(figure) => self = self.metric(figure),
                Err(error) => self.mistaken(error.into()),
            }
        }
        self
    }

    /// A metric of one's own.
    pub fn metric(mut self, metric: impl Metric + Clone + 'static) -> Self {
        self.settings.metrics.push(Asked { output: None, metric: Box::new(metric) });
        self
    }

    /// A metric of one of several outputs, by its name in the [`Objective`](super::Objective). Its numbers are called so:
    /// `kind.accuracy`, `val_kind.accuracy`. Those of the field are made of their names: `"accuracy".parse::<Figure>()?`.
    pub fn metric_of(mut self, output: &str, metric: impl Metric + Clone + 'static) -> Self {
        self.settings.metrics.push(Asked { output: Some(output.to_string()), metric: Box::new(metric) });
        self
    }

    /// Numbers that follow from an epoch's others. They stand with them wherever an epoch's numbers do, and can be watched as they are.
    ///
    /// ```
    /// use kiln::prelude::*;
    ///
    /// let set = data::moons(60, 0.1, 1);
    /// let model = Sequential::new().dense(8).relu().dense(2);
    /// let trainer = Trainer::new(model, CrossEntropy::new(), Adam::new(0.02)).epochs(2).quiet();
    /// let run = trainer.derive(|numbers| vec![("perplexity".to_string(), numbers[0].1.exp())]).fit(&set)?;
    /// let of = |name: &str| run.history().series(name).unwrap()[1];
    /// assert_eq!(of("perplexity"), of("loss").exp());
    /// # Ok::<(), kiln::Error>(())
    /// ```
    pub fn derive(mut self, numbers: impl Fn(&[(String, f64)]) -> Vec<(String, f64)> + 'a) -> Self {
        self.settings.derived = Some(Box::new(numbers));
        self
    }

    /// How the learning rate changes from step to step; see [`kiln_nn::schedule`].
    pub fn schedule(mut self, schedule: impl Schedule + 'a) -> Self {
        self.settings.schedule = Some(Planned::Made(Box::new(schedule)));
        self
    }

    /// As [`Trainer::schedule`], made from the number of steps there will be: `.schedule_over(Cosine::new)`.
    pub fn schedule_over<S: Schedule + 'a>(mut self, schedule: impl Fn(u64) -> S + 'a) -> Self {
        self.settings.schedule = Some(Planned::Over(Box::new(move |steps| Box::new(schedule(steps)))));
        self
    }

    /// Lowers the rate when a number of the epochs (`val_loss`) stops getting better; on top of a schedule.
    pub fn reduce_on_plateau(mut self, plateau: ReduceOnPlateau, number: &str) -> Self {
        self.settings.plateau = Some((plateau, number.to_string()));
        self
    }

    /// Keeps gradients small.
    pub fn clip(mut self, clip: Clip) -> Self {
        self.say("clip", format!("{clip:?}"));
        self.settings.options = self.settings.options.clip(clip);
        self
    }

    /// Changes the weights after every so many batches only, by the mean of their gradients.
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.settings.options = self.settings.options.accumulate(batches);
        self.settings.accumulate = batches.max(1) as u64;
        self
    }

    /// Keeps a moving average of the weights, evaluates with it, and gives it to the model in the end.
    pub fn ema(mut self, decay: f64) -> Self {
        self.say("averages", format!("exponential, {decay}"));
        self.settings.options = self.settings.options.ema(decay);
        self.settings.averages = true;
        self
    }

    /// Keeps the mean of the weights after step `start` and every `every` steps from then on, evaluates with it, and gives it to
    /// the model in the end.
    pub fn swa(mut self, start: u64, every: u64) -> Self {
        self.say("averages", format!("from step {start}, every {every}"));
        self.settings.options = self.settings.options.swa(start, every);
        self.settings.averages = true;
        self
    }

    /// Adds this times the sum of all weights' sizes to what is lowered.
    pub fn l1(mut self, penalty: f64) -> Self {
        self.penalise("l1", penalty);
        self.settings.options = self.settings.options.l1(penalty);
        self
    }

    /// Adds this times the sum of all weights' squares to what is lowered.
    pub fn l2(mut self, penalty: f64) -> Self {
        self.penalise("l2", penalty);
        self.settings.options = self.settings.options.l2(penalty);
        self
    }

    /// How much rows of each class count in the training loss. Steps of one's own weigh what they lower by
    /// [`Rows::weights`](super::Rows::weights).
    pub fn class_weights(mut self, weights: ClassWeights) -> Self {
        self.settings.class_weights = Some(weights);
        self
    }

    /// Adds something that is told of each step and epoch.
    pub fn callback(mut self, callback: impl Callback + 'a) -> Self {
        self.settings.callbacks.push(Box::new(callback));
        self
    }

    /// Saves the training as it goes. With the feature `terminal`, Ctrl-C and other signals that ask for the end (SIGTERM, SIGHUP) then
    /// finish the step, save, and say how to go on; a second one does what it does by default, which is to end the program.
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.settings.saves_to = Some(checkpoints.last_path());
        self.settings.interruptible = true;
        self.callback(checkpoints)
    }

    /// What is said of going on after Ctrl-C, instead of the place of the checkpoint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.settings.hint = Some(hint.into());
        self
    }

    /// Ctrl-C finishes the step and ends the training, with the model as far as it has come.
    #[cfg(feature = "terminal")]
    pub fn stop_on_ctrl_c(mut self) -> Self {
        self.settings.interruptible = true;
        self
    }

    /// Where the training is saved, as a checkpoint to go on from, if a file of it can't be written any more: its folder is gone, or
    /// the disk is full. The first of these places that can be written is taken, and the error says which: [`Error::Rescued`].
    pub fn rescue_to(mut self, places: impl IntoIterator<Item = PathBuf>) -> Self {
        self.settings.rescue.extend(places);
        self
    }

    /// Lets a training go on from a checkpoint though these parts of it differ, by the names of [`PARTS`]: `rate`, `schedule`, `data`.
    pub fn allow_changes<'n>(mut self, parts: impl IntoIterator<Item = &'n str>) -> Self {
        for part in parts {
            if !PARTS.contains(&part) {
                let mend = match nearest(part, PARTS) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", PARTS.join(", ")),
                };
                self.mistaken(Error::Training(format!("no part of a training is called {part}; {mend}")));
            }
            self.settings.allowed.push(part.to_string());
        }
        self
    }

    /// Goes on from a checkpoint, with everything bit for bit as it would have been. Other data, layers, or settings that change numbers
    /// are refused by name, unless they are [allowed](Trainer::allow_changes).
    pub fn resume(mut self, path: impl AsRef<Path>) -> Self {
        match TrainState::load(path) {
            Ok(state) => self.settings.resume = Some(state),
            Err(error) => self.mistaken(error),
        }
        self
    }

    /// As [`Trainer::resume`], where there is a checkpoint; else from the beginning.
    pub fn resume_if_there(self, path: impl AsRef<Path>) -> Self {
        if path.as_ref().exists() { self.resume(path) } else { self }
    }

    /// Goes on from a state in memory.
    pub fn resume_from(mut self, state: TrainState) -> Self {
        self.settings.resume = Some(state);
        self
    }

    /// Trains on this device, to which the model goes; otherwise where the model is, or on the default device.
    ///
    /// ```
    /// use kiln::prelude::*;
    ///
    /// let set = data::moons(60, 0.1, 1);
    /// let model = Sequential::new().dense(8).relu().dense(2);
    /// let trainer = Trainer::new(model, CrossEntropy::new(), Adam::new(0.02)).epochs(1).quiet();
    /// let run = trainer.device(&kiln::device("reference")?).fit(&set)?;
    /// let weight = run.model().parameters().remove(0).1;
    /// assert_eq!(weight.variable()?.device().unwrap().name(), "reference");
    /// # Ok::<(), kiln::Error>(())
    /// ```
    pub fn device(mut self, device: &Arc<dyn Device>) -> Self {
        self.settings.device = Some(device.clone());
        self
    }

    /// Says nothing: no line for each epoch, no bar, no event of `tracing`. Otherwise lines are events at the level INFO, and go to
    /// the standard error where the program has no `tracing` subscriber and the feature `terminal` is on. [Callbacks](super::Callback) are
    /// told all the same.
    pub fn quiet(mut self) -> Self {
        self.settings.quiet = true;
        self.settings.progress = false;
        self
    }

    fn say(&mut self, part: &'static str, what: impl Into<Value>) {
        self.settings.said.insert(part, what.into());
    }

    fn penalise(&mut self, name: &str, penalty: f64) {
        let penalties = self.settings.said.entry("penalties").or_default();
        if !penalties.is_object() {
            *penalties = serde_json::json!({});
        }
        penalties[name] = penalty.into();
    }

    pub(super) fn mistaken(&mut self, error: Error) {
        self.settings.mistake.get_or_insert(error);
    }
}
