//! The loop: batches in, steps, epochs, callbacks.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kiln_data::{Batch, Cursor, Dataset, Prefetch};
use kiln_nn::loss::Loss;
use kiln_nn::metrics::{History, Metric};
use kiln_nn::optim::Optimizer;
use kiln_nn::schedule::{RateFinder, ReduceOnPlateau, Schedule};
use kiln_nn::{Context, DType, Input, Layer, Step, StepOptions, Tensor, Variable};
use serde_json::Value;

use super::callback::{Callback, Moment, Wish};
use super::evaluate::{Evaluate, Truth, evaluator, target};
use super::identity::{Identity, of_batching};
use super::monitor::no_such_number;
use super::nan::Anchor;
use super::progress::Progress;
use super::state::{put_weights, set_weights};
use super::{ClassWeights, Length, Planned, Settings};
use crate::inputs::{all, blank, meant};
use crate::note::note;
use crate::store::Store;
use crate::terminal::Interrupt;
use crate::{Error, Result};

/// What is trained, on what.
pub(super) struct Parts<'p, 'a> {
    pub(super) model: &'p dyn Layer,
    pub(super) loss: Rc<dyn Loss + 'a>,
    pub(super) train: &'p dyn Dataset,
    pub(super) valid: Option<&'p dyn Dataset>,
}

/// What is known of a training when it is over.
pub(super) struct Fitted {
    pub(super) history: History,
    pub(super) steps: u64,
    pub(super) elapsed: Duration,
    /// Why it ended before its time.
    pub(super) stopped: Option<String>,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
}

/// Trains the model in place. `N` is 3 where rows have weights, else 2.
pub(super) fn fit<const N: usize>(
    parts: Parts,
    optimizer: &dyn Optimizer,
    settings: &mut Settings,
) -> Result<Fitted> {
    let Parts { ref model, ref loss, train, valid } = parts;
    let batching = settings.batching.clone();
    batching.check(train.len())?;
    let batches = batching.count(train.len());
    let steps = match settings.length {
        Length::Epochs(epochs) => epochs.saturating_mul(batches),
        Length::Steps(steps) => steps,
    };
    build(*model, train)?;
    if let Some(device) = &settings.device {
        model.to(device)?;
    }
    check_metrics(&settings.metrics, train)?;
    let class_weights = settings.class_weights.as_ref().map(|weights| weigh(weights, train)).transpose()?;
    let options = std::mem::take(&mut settings.options);
    let planned = settings.schedule.take();
    let schedule = planned.as_ref().map(|planned| planned.of(steps.div_ceil(settings.accumulate)));
    let identity = Identity {
        model: *model,
        loss: loss.clone(),
        optimizer,
        train,
        valid,
        metrics: settings.metrics.iter().map(|metric| metric.name().to_string()).collect(),
        said: said(settings),
        known: OnceCell::new(),
    };
    if settings.progress {
        settings.callbacks.push(Box::new(Progress::new()));
    }
    let interrupt = if settings.interruptible { Interrupt::listen() } else { Interrupt::deaf() };
    let mut session = Session {
        model: *model,
        train,
        step: step::<N>(model, loss.clone(), optimizer, options, train, class_weights, &settings.metrics),
        valid: valid.map(|set| (set, evaluator(*model, loss.clone(), set, batching.size))),
        base_rate: optimizer.rate(),
        rate: f64::NAN,
        planned: planned.as_ref(),
        schedule,
        identity,
        plateau: settings.plateau.take(),
        truth: Truth::new(&train.y()),
        metrics: settings.metrics.clone(),
        valid_metrics: settings.metrics.clone(),
        callbacks: std::mem::take(&mut settings.callbacks),
        settings,
        steps,
        batches,
        cursor: Cursor::default(),
        done: 0,
        from: 0,
        epoch: 1,
        batch: 0,
        sums: Sums::default(),
        loss: f64::NAN,
        numbers: Vec::new(),
        history: History::default(),
        before: Duration::ZERO,
        began: Instant::now(),
        wishes: Vec::with_capacity(8),
        best: None,
        restores_best: false,
        stopped: None,
        signal: None,
        failed: false,
        anchor: None,
    };
    if let Some(state) = session.settings.resume.take() {
        session.restore(&state)?;
    }
    session.notify(|callback, at| callback.before(at))?;
    session.grant_all()?;
    let outcome = session.epochs(&interrupt);
    session.failed = outcome.is_err();
    if session.failed {
        // A checkpoint that was wished for would say that an epoch is over whose numbers not everybody has written.
        session.wishes.clear();
    }
    let told = session.notify(|callback, at| callback.after(at)).and_then(|()| session.grant_all());
    outcome.and(told).map_err(|error| session.rescue(error))?;
    if session.signal.is_some() && !session.settings.quiet {
        session.say_how_to_go_on();
    }
    session.finish()
}

/// Settings that change numbers, as they are said.
fn said(settings: &Settings) -> BTreeMap<&'static str, Value> {
    let plateau = settings.plateau.as_ref().map(|(plateau, number)| format!("{plateau:?} of {number}"));
    let weights = settings.class_weights.as_ref().map(|weights| format!("{weights:?}"));
    let own = [
        ("accumulated batches", settings.accumulate.into()),
        ("plateau", plateau.into()),
        ("class weights", weights.into()),
    ];
    let batching = of_batching(&settings.batching);
    settings.said.clone().into_iter().chain(batching).chain(own).collect()
}

/// Layers are made by the first tensor that reaches them, and a checkpoint needs to know them.
fn build(model: &dyn Layer, train: &dyn Dataset) -> Result<()> {
    let prediction = model.forward(&blank(train, 1), &Context::inference());
    match prediction.error() {
        Some(error) => Err(error.into()),
        None => check_outputs(&prediction, train),
    }
}

/// See [`Trainer::find_rate`](super::Trainer::find_rate).
pub(super) fn find_rate<const N: usize>(
    parts: Parts,
    optimizer: &dyn Optimizer,
    settings: &Settings,
    mut finder: RateFinder,
) -> Result<RateFinder> {
    let Parts { ref model, ref loss, train, .. } = parts;
    build(*model, train)?;
    if let Some(device) = &settings.device {
        model.to(device)?;
    }
    let class_weights = settings.class_weights.as_ref().map(|weights| weigh(weights, train)).transpose()?;
    let mut weights = Store::default();
    put_weights(&mut weights, "", *model)?;
    let options = settings.options.clone();
    let mut step = step::<N>(model, loss.clone(), optimizer, options, train, class_weights, &[]);
    let swept = std::thread::scope(|scope| {
        let end = Cursor { epoch: u64::MAX, batch: 0 };
        let mut batches = Prefetch::start(scope, train, settings.batching.clone(), Cursor::default(), end)?;
        while let Some(rate) = finder.rate()
            && let Some(batch) = batches.next()?
        {
            step.set_rate(rate)?;
            finder.observe(f64::from(step.run(all::<N>(batch))?));
        }
        Ok(finder)
    });
    set_weights(&weights, "", *model)?;
    swept
}

/// The training step: the loss first, and the predictions if a metric wants them.
fn step<'s, const N: usize>(
    model: &'s &'s dyn Layer,
    loss: Rc<dyn Loss + 's>,
    optimizer: &'s dyn Optimizer,
    options: StepOptions,
    train: &dyn Dataset,
    class_weights: Option<Tensor>,
    metrics: &[Metric],
) -> Step<'s, N> {
    let (x_form, y_form, shows) = (train.x(), train.y(), !metrics.is_empty());
    let build = move |model: &&'s dyn Layer, context: &Context, inputs: [Tensor; N]| {
        let prediction = model.forward(&meant(&inputs[0], &x_form), context);
        let y = target(&inputs[1], &y_form, &prediction);
        let of_class = class_weights.as_ref().map(|weights| weights.gather(0, &inputs[1].cast(DType::I64)));
        let weights = match (inputs.get(2), of_class) {
            (Some(rows), Some(classes)) => Some(rows * classes),
            (Some(rows), None) => Some(rows.clone()),
            (None, classes) => classes,
        };
        let mut results = vec![loss.weighted(&prediction, &y, weights.as_ref()).mean(..)];
        if shows {
            results.push(prediction.cast(DType::F32));
        }
        results
    };
    Step::train_with(model, optimizer, options, build)
}

/// Sums over the epoch so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) loss: f64,
    pub(super) rows: f64,
}

pub(super) struct Session<'s, 'a, const N: usize> {
    pub(super) model: &'s dyn Layer,
    pub(super) train: &'s dyn Dataset,
    pub(super) step: Step<'s, N>,
    pub(super) valid: Option<(&'s dyn Dataset, Box<dyn Evaluate + 's>)>,
    pub(super) base_rate: f64,
    /// The rate the step has now.
    pub(super) rate: f64,
    pub(super) planned: Option<&'s Planned<'a>>,
    pub(super) schedule: Option<Box<dyn Schedule + 's>>,
    pub(super) identity: Identity<'s>,
    pub(super) plateau: Option<(ReduceOnPlateau, String)>,
    pub(super) truth: Truth,
    pub(super) metrics: Vec<Metric>,
    pub(super) valid_metrics: Vec<Metric>,
    pub(super) callbacks: Vec<Box<dyn Callback + 'a>>,
    pub(super) settings: &'s mut Settings<'a>,
    /// How many steps there will be, and batches in an epoch.
    pub(super) steps: u64,
    pub(super) batches: u64,
    /// The batch that comes next.
    pub(super) cursor: Cursor,
    /// Steps that are done.
    pub(super) done: u64,
    /// Steps that were done before this session.
    pub(super) from: u64,
    /// The epoch of the last step, from 1, and its batches that are done.
    pub(super) epoch: u64,
    pub(super) batch: u64,
    pub(super) sums: Sums,
    /// Of the last step.
    pub(super) loss: f64,
    /// Of the last epoch.
    pub(super) numbers: Vec<(String, f64)>,
    pub(super) history: History,
    /// Time of earlier sessions, and the start of this one.
    pub(super) before: Duration,
    pub(super) began: Instant,
    pub(super) wishes: Vec<Wish>,
    pub(super) best: Option<Store>,
    pub(super) restores_best: bool,
    pub(super) stopped: Option<String>,
    /// The signal that ended the training.
    pub(super) signal: Option<i32>,
    pub(super) failed: bool,
    /// Where to look from, should a loss be no number.
    pub(super) anchor: Option<Anchor>,
}

impl<const N: usize> Session<'_, '_, N> {
    /// Trains from the cursor to the end.
    fn epochs(&mut self, interrupt: &Interrupt) -> Result<()> {
        let last =
            self.cursor.epoch * self.batches + self.cursor.batch + (self.steps.saturating_sub(self.done));
        let end = Cursor { epoch: last / self.batches, batch: last % self.batches };
        let (train, batching) = (self.train, self.settings.batching.clone());
        std::thread::scope(|scope| {
            let mut batches = Prefetch::start(scope, train, batching, self.cursor, end)?;
            let (mut coming, mut uploaded) = (batches.take(), None);
            while self.stopped.is_none()
                && let Some(batch) = coming?
            {
                self.start_step(&batch, uploaded.take())?;
                // While a device works by itself, what comes next goes there.
                coming = batches.take();
                if let Ok(Some(next)) = &coming {
                    uploaded = self.step.upload(all::<N>(next))?;
                }
                self.end_step(&batch)?;
                batches.give_back(batch);
                self.notify(|callback, at| callback.after_step(at))?;
                if self.cursor.batch == 0 || self.done == self.steps {
                    self.end_epoch()?;
                }
                // Only now, so that a checkpoint of an epoch's last step knows that the epoch is over.
                self.grant_all()?;
                if let Some(signal) = interrupt.asked()
                    && self.stopped.is_none()
                    && self.done < self.steps
                {
                    self.signal = Some(signal);
                    self.stopped.get_or_insert_with(|| "interrupted".to_string());
                }
            }
            Ok(())
        })
    }

    /// Starts a step on a batch, whose numbers may be on the device already.
    fn start_step(&mut self, batch: &Batch, uploaded: Option<[Variable; N]>) -> Result<()> {
        if self.cursor.batch == 0 || self.done == self.from {
            self.anchor = Anchor::drop_at(self)?;
        }
        (self.epoch, self.batch) = (self.cursor.epoch + 1, self.cursor.batch + 1);
        self.set_rate(self.done)?;
        let inputs = match &uploaded {
            Some(uploaded) => std::array::from_fn(|at| Input::variable(&uploaded[at])),
            None => all::<N>(batch),
        };
        Ok(self.step.start(inputs)?)
    }

    /// Takes a step's results and counts it.
    fn end_step(&mut self, batch: &Batch) -> Result<()> {
        let out = self.step.results()?;
        self.loss = out[0].get(0).map_or(f64::NAN, |loss| loss.as_f64());
        if !self.loss.is_finite() {
            return Err(self.no_number(batch));
        }
        if let Some(outputs) = out.get(1) {
            self.truth.take(&batch.y);
            self.truth.show(outputs, batch.rows(), &mut self.metrics)?;
        }
        self.sums.loss += self.loss * batch.rows() as f64;
        self.sums.rows += batch.rows() as f64;
        self.cursor = self.settings.batching.after(self.cursor, self.train.len());
        self.done += 1;
        Ok(())
    }

    /// Sets the rate of a step, if it isn't the one before's.
    pub(super) fn set_rate(&mut self, step: u64) -> Result<()> {
        let update = step / self.settings.accumulate;
        let planned = self.schedule.as_ref().map_or(1.0, |schedule| schedule.factor(update));
        let reduced = self.plateau.as_ref().map_or(1.0, |(plateau, _)| plateau.state().factor);
        let rate = self.base_rate * planned * reduced;
        if rate.to_bits() != self.rate.to_bits() {
            self.step.set_rate(rate)?;
            self.rate = rate;
        }
        Ok(())
    }

    /// The numbers of the epoch that is over, and what follows from them.
    fn end_epoch(&mut self) -> Result<()> {
        let mut numbers = vec![("loss".to_string(), self.sums.loss / self.sums.rows)];
        numbers.extend(self.metrics.iter().map(|metric| (metric.name().to_string(), metric.value())));
        let due = self.epoch.is_multiple_of(self.settings.validate_every) || self.done == self.steps;
        if due && self.valid.is_some() {
            self.swap_averages()?;
            let evaluated = self.evaluate(&mut numbers);
            self.swap_averages()?;
            evaluated?;
        }
        numbers.push(("rate".to_string(), self.rate));
        self.numbers = numbers;
        self.history.record_all(&self.numbers);
        if let Some((plateau, number)) = &mut self.plateau {
            match self.numbers.iter().find(|(name, _)| name == number) {
                Some((_, value)) => {
                    plateau.observe(*value);
                }
                // What isn't validated in this epoch has no number.
                None if !due => {}
                None => return Err(no_such_number(number, &self.numbers)),
            }
        }
        let told = self.notify(|callback, at| callback.after_epoch(at));
        // Also where that failed: what is rescued then begins with the next epoch.
        self.sums = Sums::default();
        self.metrics.iter_mut().for_each(Metric::reset);
        told
    }

    fn evaluate(&mut self, numbers: &mut Vec<(String, f64)>) -> Result<()> {
        let Some((set, evaluator)) = &mut self.valid else { return Ok(()) };
        self.valid_metrics.iter_mut().for_each(Metric::reset);
        let loss = evaluator.run(*set, &mut self.valid_metrics)?;
        numbers.push(("val_loss".to_string(), loss));
        numbers.extend(self.valid_metrics.iter().map(|m| (format!("val_{}", m.name()), m.value())));
        Ok(())
    }

    fn swap_averages(&self) -> Result<()> {
        match self.settings.averages {
            true => Ok(self.step.swap_averages(&self.model)?),
            false => Ok(()),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.before + self.began.elapsed()
    }

    /// Tells all callbacks; what they wish waits.
    fn notify(&mut self, what: impl Fn(&mut dyn Callback, &mut Moment) -> Result<()>) -> Result<()> {
        let mut moment = Moment {
            epoch: self.epoch,
            epochs: self.steps.div_ceil(self.batches),
            step: self.done,
            steps: self.steps,
            batch: self.batch,
            batches: self.batches,
            rows: self.sums.rows as u64,
            loss: self.loss,
            mean_loss: self.sums.loss / self.sums.rows,
            metrics: &self.metrics,
            numbers: &self.numbers,
            rate: self.rate,
            elapsed: self.before + self.began.elapsed(),
            failed: self.failed,
            model: self.model,
            wishes: &mut self.wishes,
        };
        self.callbacks.iter_mut().try_for_each(|callback| what(&mut **callback, &mut moment))
    }

    /// Does what callbacks wished.
    fn grant_all(&mut self) -> Result<()> {
        let mut wishes = std::mem::take(&mut self.wishes);
        let granted = wishes.drain(..).try_for_each(|wish| self.grant(wish));
        self.wishes = wishes;
        granted
    }

    fn grant(&mut self, wish: Wish) -> Result<()> {
        match wish {
            Wish::Stop(reason) => {
                self.stopped.get_or_insert(reason);
            }
            Wish::Save(path) => self.capture()?.save(path)?,
            Wish::SaveThere(path) => self.capture()?.0.save_there(&path)?,
            Wish::Remove(path) => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file(path)(error));
                }
                _ => {}
            },
            Wish::KeepBest => {
                let mut best = Store::default();
                self.swap_averages()?;
                let kept = put_weights(&mut best, "", self.model);
                self.swap_averages()?;
                kept?;
                self.best = Some(best);
            }
            Wish::RestoreBest => self.restores_best = true,
        }
        Ok(())
    }

    fn say_how_to_go_on(&self) {
        let place = format!("interrupted in epoch {} after step {}", self.epoch, self.done);
        match (&self.settings.hint, &self.settings.saves_to) {
            (Some(hint), _) => note(format!("{place}; saved. Go on with: {hint}")),
            (None, Some(path)) => {
                note(format!("{place}; saved. Go on from {} with Trainer::resume", path.display()))
            }
            (None, None) => note(place),
        }
    }

    /// Saves what there is in another place, where a file couldn't be written.
    fn rescue(&self, error: Error) -> Error {
        if !matches!(error, Error::File { .. }) || self.settings.rescue.is_empty() {
            return error;
        }
        let Ok(state) = self.capture() else { return error };
        let saved = |place: &&std::path::PathBuf| {
            let made = |folder: &&std::path::Path| !folder.as_os_str().is_empty() && !folder.exists();
            let made: Vec<_> = place.ancestors().skip(1).take_while(made).collect();
            let is_saved = state.save(place).is_ok();
            if !is_saved {
                // No empty folders are left behind.
                made.iter().for_each(|folder| drop(std::fs::remove_dir(folder)));
            }
            is_saved
        };
        match self.settings.rescue.iter().find(saved) {
            Some(place) => Error::Rescued { cause: Box::new(error), saved: place.clone() },
            None => error,
        }
    }

    /// Gives the model its best or averaged weights, if there are any.
    fn finish(self) -> Result<Fitted> {
        match &self.best {
            Some(best) if self.restores_best => set_weights(best, "", self.model)?,
            _ => self.swap_averages()?,
        }
        let elapsed = self.elapsed();
        Ok(Fitted {
            history: self.history,
            steps: self.done,
            elapsed,
            stopped: self.stopped,
            signal: self.signal,
        })
    }
}

/// Metrics of classes need classes; said before an hour of training, not after.
fn check_metrics(metrics: &[Metric], train: &dyn Dataset) -> Result<()> {
    let classes = train.y().codes().is_some();
    match metrics.iter().find(|metric| !metric.is_of_classes() && classes) {
        Some(metric) => Err(Error::Training(format!(
            "{} is of numbers, and the targets are classes; accuracy or f1 would be of classes",
            metric.name()
        ))),
        None => Ok(()),
    }
}

/// A class beyond the outputs would have no place in the loss.
fn check_outputs(prediction: &Tensor, train: &dyn Dataset) -> Result<()> {
    let form = train.y();
    match (form.codes(), prediction.shape().sizes()) {
        // A single output tells two classes apart.
        (Some(classes), &[_, outputs]) if form.shape.is_empty() && outputs.max(2) < classes => {
            Err(Error::Training(format!(
                "the model has {outputs} outputs for {classes} classes; its last layer needs one for each"
            )))
        }
        (Some(pieces), &[_, outputs, ..]) if !form.shape.is_empty() && outputs < pieces => {
            Err(Error::Training(format!(
                "the model has {outputs} outputs on axis 1, where the loss looks for {pieces} classes; its last layer needs one for each"
            )))
        }
        _ => Ok(()),
    }
}

/// A weight for each class.
fn weigh(weights: &ClassWeights, train: &dyn Dataset) -> Result<Tensor> {
    let Some(classes) = train.y().codes() else {
        return Err(Error::Training("class weights need classes as targets".to_string()));
    };
    let weights = match weights {
        ClassWeights::Given(weights) if weights.len() == classes => weights.clone(),
        ClassWeights::Given(weights) => {
            let count = weights.len();
            return Err(Error::Training(format!("{count} class weights for {classes} classes")));
        }
        ClassWeights::Balanced => {
            let labels = train.labels()?;
            let mut counts = vec![0usize; classes];
            for label in &labels {
                if let Some(count) = usize::try_from(*label).ok().and_then(|class| counts.get_mut(class)) {
                    *count += 1;
                }
            }
            // A class that never occurs weighs nothing in no row.
            let seen = counts.iter().filter(|count| **count > 0).count();
            counts.iter().map(|&count| labels.len() as f32 / (seen * count.max(1)) as f32).collect()
        }
    };
    Ok(Tensor::new(weights, [classes]))
}
