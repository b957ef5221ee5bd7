//! What comes out of a training: the model, what is known of it, and what it says of other sets.

use kiln_map::counted;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use kiln_data::{Dataset, Form};
use kiln_nn::metrics::{Confusion, History};
use kiln_nn::{Layer, Module, Sequential};

use super::evaluate::{Evaluation, Evaluator, outputs};
use super::method::Method;
use super::metrics::Asked;
use super::progress::{thousands, time};
use super::session::Fitted;
use crate::inputs::{each_batch, input};
use crate::model::{About, Task};
use crate::predictions::Predictions;
use crate::preparation::Preparation;
use crate::programs::inference;
use crate::{Error, Model, Result};

/// A trained model.
pub struct Run<'a, M> {
    model: M,
    method: Method<'a, M>,
    metrics: Vec<Asked>,
    batch_size: usize,
    x_form: Form,
    task: Task,
    rows: usize,
    fitted: Fitted,
}

impl<'a, M: Module> Run<'a, M> {
    pub(super) fn new(
        model: M,
        method: Method<'a, M>,
        train: &impl Dataset,
        metrics: Vec<Asked>,
        batch_size: usize,
        fitted: Fitted,
    ) -> Run<'a, M> {
        let task = Task::of(train);
        Run { model, method, metrics, batch_size, x_form: train.x(), task, rows: train.len(), fitted }
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model, as one's own.
    pub fn into_model(self) -> M {
        self.model
    }

    /// The numbers of each epoch.
    pub fn history(&self) -> &History {
        &self.fitted.history
    }

    /// Steps that were done.
    pub fn steps(&self) -> u64 {
        self.fitted.steps
    }

    /// Time spent, of all sessions of the training.
    pub fn elapsed(&self) -> Duration {
        self.fitted.elapsed
    }

    /// Why it ended before its time, if it did.
    pub fn stopped(&self) -> Option<&str> {
        self.fitted.stopped.as_deref()
    }

    /// The signal that ended it, if one did: 2 for Ctrl-C, 15 for SIGTERM. It can go on from its checkpoint.
    pub fn interrupted(&self) -> Option<i32> {
        self.fitted.signal
    }

    /// The loss and the metrics on a set.
    ///
    /// # Errors
    /// Where the set doesn't fit the model, or a row can't be read.
    pub fn evaluate(&self, set: &impl Dataset) -> Result<Evaluation> {
        if set.is_empty() {
            return Err(Error::Training("the set to evaluate is empty".to_string()));
        }
        self.check(set)?;
        let goal = self.method.goal()?;
        let (model, size) = (&self.model, self.batch_size);
        let numbers = Evaluator::new(model, goal.clone(), set, size, &self.metrics)?.run(set)?;
        Ok(Evaluation::new(numbers, set.len()))
    }

    /// What the objective shows of each row, in batches: every output by its name.
    ///
    /// # Errors
    /// As [`Run::evaluate`], and where the objective shows nothing.
    pub fn outputs(&self, set: &impl Dataset) -> Result<Vec<(String, Predictions)>> {
        self.check(set)?;
        outputs(&self.model, &**self.method.goal()?, set, self.batch_size)
    }

    /// A few lines: how long, how often, the last and the best numbers.
    pub fn summary(&self) -> String {
        self.to_string()
    }

    /// How it was trained, as a model's file says it.
    pub fn training(&self) -> serde_json::Map<String, serde_json::Value> {
        let history = &self.fitted.history;
        let last = |name: &String| history.series(name).and_then(|series| series.last()).copied();
        let numbers = history.names().iter().filter_map(|name| Some((name.clone(), last(name)?.into())));
        let own = [
            ("epochs", history.len().into()),
            ("steps", self.fitted.steps.into()),
            ("rows", self.rows.into()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_string(), value));
        numbers.chain(own).collect()
    }

    /// A set must look like the one that was trained on.
    fn check(&self, set: &impl Dataset) -> Result<()> {
        let form = set.x();
        match form.shape == self.x_form.shape && form.meaning == self.x_form.meaning {
            true => Ok(()),
            false => Err(Error::Training(format!(
                "rows of {:?} ({:?}) were trained on, and these are {:?} ({:?})",
                self.x_form.shape, self.x_form.meaning, form.shape, form.meaning
            ))),
        }
    }
}

impl<M: Layer> Run<'_, M> {
    /// What the model says of each row, in batches.
    ///
    /// # Errors
    /// As [`Run::evaluate`].
    pub fn predict(&self, set: &impl Dataset) -> Result<Predictions> {
        self.check(set)?;
        predict(&self.model, set, self.batch_size)
    }

    /// Precision, recall and F1 of each class, and which was taken for which.
    ///
    /// # Errors
    /// As [`Run::evaluate`], and where the targets aren't classes.
    pub fn report(&self, set: &impl Dataset) -> Result<String> {
        let names: Vec<&str> = match &self.task {
            Task::Classes { names } => names.iter().map(String::as_str).collect(),
            Task::Numbers { .. } | Task::Text { .. } | Task::Tags { .. } | Task::Several { .. } => Vec::new(),
        };
        Ok(self.confusion(set)?.report(&names))
    }

    /// Which class was taken for which.
    ///
    /// # Errors
    /// As [`Run::report`].
    pub fn confusion(&self, set: &impl Dataset) -> Result<Confusion> {
        let labels = set.labels()?;
        let predictions = self.predict(set)?;
        let mut confusion = Confusion::new(predictions.width().max(2));
        confusion.add(&labels, &predictions.classes())?;
        Ok(confusion)
    }
}

impl<M> fmt::Display for Run<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fitted { history, steps, elapsed, stopped, signal: _ } = &self.fitted;
        let (epochs, spent) = (history.len(), elapsed.as_secs_f64());
        let speed = thousands((epochs * self.rows) as f64 / spent.max(1e-9));
        let (epochs, steps) = (counted(epochs, "epoch"), counted(*steps as usize, "step"));
        write!(f, "{epochs}, {steps} in {} ({speed} rows/s)", time(spent))?;
        if let Some(reason) = stopped {
            write!(f, "; stopped: {reason}")?;
        }
        for name in history.names().iter().filter(|name| *name != "rate") {
            let own = name.strip_prefix("val_").unwrap_or(name);
            let asked = self.metrics.iter().find(|asked| asked.name() == own);
            let larger = asked.is_some_and(|asked| asked.metric.larger_is_better());
            let last = history.series(name).and_then(|series| series.last()).copied().unwrap_or(f64::NAN);
            write!(f, "\n  {name} {last:.4}")?;
            if let Some((epoch, best)) = history.best(name, larger) {
                write!(f, " (best {best:.4} in epoch {})", epoch + 1)?;
            }
        }
        Ok(())
    }
}

/// A model's outputs for every row of a set, in batches.
///
/// # Errors
/// Where the set doesn't fit the model, or a row can't be read.
pub fn predict(model: &dyn Layer, set: &dyn Dataset, batch_size: usize) -> Result<Predictions> {
    let form = set.x();
    let mut function = inference(model, &form);
    let mut outputs = Vec::new();
    each_batch(set, batch_size, |batch| {
        let out = function.run([input(&batch.x, batch.x_shape())])?;
        outputs.extend_from_slice(out[0].as_slice::<f32>().unwrap_or_default());
        Ok(())
    })?;
    Ok(Predictions::new(outputs, set.len()))
}

impl<M: Module> Run<'_, M> {
    /// Writes the model to a file: rows of layers with their text, for [`Model::load`](crate::Model::load); a struct of one's own, or layers
    /// that are code, for [`Model::load_into`](crate::Model::load_into).
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let about = About::of_module(&self.model, &self.x_form, self.task.clone());
        about.save_module(&self.model, path.as_ref(), self.training())
    }
}

impl Run<'_, Sequential> {
    /// What the model is, as its file says it.
    ///
    /// # Errors
    /// Where layers are code, which has no text.
    pub fn about(&self) -> Result<About> {
        let about = About::new(&self.model, &self.x_form, self.task.clone())?;
        Ok(About { training: self.training(), ..about })
    }

    /// The trained model as one that takes raw data, which become its rows this way; see [`Model::with_preparation`].
    ///
    /// # Errors
    /// As there, and where layers are code, which has no text.
    pub fn with_preparation(self, preparation: impl Into<Preparation>) -> Result<Model> {
        let about = self.about()?;
        Model::new(self.model, about).with_preparation(preparation)
    }
}
