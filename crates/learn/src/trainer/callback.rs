//! What joins a training: the trait, and what it sees and may ask for.

use std::path::PathBuf;
use std::time::Duration;

use kiln_nn::{Data, Module};

use super::metrics::NamedMetric;
use crate::Result;

/// Something that is told of each step and epoch of a training, and may stop it or have it saved.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::trainer::{Callback, Moment};
///
/// /// Stops as soon as the loss is small.
/// struct GoodEnough(f64);
///
/// impl Callback for GoodEnough {
///     fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
///         if at.number("loss").is_some_and(|loss| loss < self.0) {
///             at.stop("good enough");
///         }
///         Ok(())
///     }
/// }
///
/// let model = Sequential::new().dense(16).relu().dense(2);
/// let run = Trainer::new(model, CrossEntropy::new(), Adam::new(0.01))
///     .epochs(200)
///     .quiet()
///     .callback(GoodEnough(0.3))
///     .fit(&data::moons(200, 0.1, 1))?;
/// assert!(run.history().len() < 200);
/// # Ok::<(), kiln::Error>(())
/// ```
pub trait Callback {
    /// Before the first step, also of a training that goes on from a checkpoint.
    ///
    /// # Errors
    /// What keeps the training from beginning.
    fn before(&mut self, _at: &mut Moment) -> Result<()> {
        Ok(())
    }

    /// After each step. It runs between two steps, so it should be quick.
    ///
    /// # Errors
    /// What ends the training.
    fn after_step(&mut self, _at: &mut Moment) -> Result<()> {
        Ok(())
    }

    /// While the model has the weights it is evaluated with (averages, where they are kept): at the end of each epoch, before its numbers are
    /// known, and where [`Moment::evaluate`] asked for it.
    ///
    /// # Errors
    /// What ends the training.
    fn evaluate(&mut self, _at: &mut Moment) -> Result<()> {
        Ok(())
    }

    /// After each epoch, when its numbers are known.
    ///
    /// # Errors
    /// What ends the training.
    fn after_epoch(&mut self, _at: &mut Moment) -> Result<()> {
        Ok(())
    }

    /// When the training is over, also after an error in it.
    ///
    /// # Errors
    /// What couldn't be finished.
    fn after(&mut self, _at: &mut Moment) -> Result<()> {
        Ok(())
    }

    /// The name its state has in checkpoints. Two callbacks with a state need two names.
    fn name(&self) -> &str {
        ""
    }

    /// What must be remembered for going on from a checkpoint.
    fn state(&self) -> Vec<(String, Data)> {
        Vec::new()
    }

    /// Goes on from what [`Callback::state`] gave.
    ///
    /// # Errors
    /// Where it can't be read.
    fn restore(&mut self, _state: &[(&str, &Data)]) -> Result<()> {
        Ok(())
    }
}

/// A moment of a training, as callbacks see it.
pub struct Moment<'s> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// How many epochs there will be at most; the last may be cut short by a number of steps.
    pub epochs: u64,
    /// Steps that are done, in all epochs.
    pub step: u64,
    /// How many steps there will be at most.
    pub steps: u64,
    /// Batches of this epoch that are done.
    pub batch: u64,
    /// How many batches an epoch has.
    pub batches: u64,
    /// Rows of this epoch that are done.
    pub rows: u64,
    /// The loss of this step's batch.
    pub loss: f64,
    /// The mean loss of this epoch so far.
    pub mean_loss: f64,
    /// The metrics of the training set, as far as this epoch has come.
    pub metrics: &'s [NamedMetric],
    /// After an epoch its numbers: `loss`, metrics, `val_loss`, `val_` metrics, `rate`.
    pub numbers: &'s [(String, f64)],
    /// The learning rate of this step.
    pub rate: f64,
    /// Time spent in training, of all sessions of it.
    pub elapsed: Duration,
    /// Whether the training ended with an error.
    pub failed: bool,
    /// The model.
    pub model: &'s dyn Module,
    /// Metrics of which more is better.
    pub(super) larger: &'s [String],
    pub(super) texts: &'s mut Vec<(String, String)>,
    pub(super) requests: &'s mut Vec<Request>,
}

/// What callbacks ask for. It is done when all of them were told.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Stop(String),
    Save(PathBuf),
    /// In a folder that is there.
    SaveThere(PathBuf),
    Remove(PathBuf),
    KeepBest,
    RestoreBest,
    Plan(u64),
    Evaluate,
}

impl Moment<'_> {
    /// A number of the epoch by its name.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }

    /// Whether more of a number is better, as its metric says; of losses less is.
    pub fn larger_is_better(&self, name: &str) -> bool {
        let name = name.strip_prefix("val_").unwrap_or(name);
        self.larger.iter().any(|known| known == name)
    }

    /// Adds a text of a name to what is shown of this epoch: below its line, in logs of JSON. One that is added before the epoch's end is shown
    /// after the next step, and not kept.
    pub fn add_text(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.texts.push((name.into(), text.into()));
    }

    /// Texts that were added and not shown yet, by their names.
    pub fn texts(&self) -> &[(String, String)] {
        self.texts
    }

    /// Asks that [`Callback::evaluate`] be called after this step.
    pub fn evaluate(&mut self) {
        self.requests.push(Request::Evaluate);
    }

    /// Ends the training after this step; the reason is found in the run.
    pub fn stop(&mut self, reason: impl Into<String>) {
        self.requests.push(Request::Stop(reason.into()));
    }

    /// Saves everything to a file from which the training can go on.
    pub fn save(&mut self, path: impl Into<PathBuf>) {
        self.requests.push(Request::Save(path.into()));
    }

    /// Removes a file saved before.
    pub fn remove(&mut self, path: impl Into<PathBuf>) {
        self.requests.push(Request::Remove(path.into()));
    }

    /// Keeps the weights as they are now as the best so far.
    pub fn keep_best(&mut self) {
        self.requests.push(Request::KeepBest);
    }

    /// Gives the model the best weights when the training ends.
    pub fn restore_best(&mut self) {
        self.requests.push(Request::RestoreBest);
    }

    /// Ends the training after so many steps, of all sessions: after the next at the earliest, and no later than was planned at first. A schedule that was made for the number
    /// of steps is made anew for these.
    pub fn plan(&mut self, steps: u64) {
        self.requests.push(Request::Plan(steps));
    }

    /// Whether this is the last step of all.
    pub fn is_last(&self) -> bool {
        self.step == self.steps
    }
}
