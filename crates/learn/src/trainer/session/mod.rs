//! The loop: batches in, steps, epochs, callbacks.

mod nan;
mod resume;

use std::time::{Duration, Instant};

use kiln_data::{Batch, Cursor, Dataset, Prefetch};
use kiln_nn::metrics::History;
use kiln_nn::schedule::{ReduceOnPlateau, Schedule};
use kiln_nn::{Input, Module, Variable};

use super::callback::{Callback, Moment, Request};
use super::evaluate::Evaluator;
use super::identity::TrainingIdentity;
use super::method::Steps;
use super::metrics::Metrics;
use super::monitor::no_such_number;
use super::settings::{Planned, Settings};
use crate::inputs::all;
use crate::note::note;
use crate::store::{TensorFile, put_weights, set_weights};
use crate::terminal::Interrupt;
use crate::{Error, Result};
use nan::Anchor;

/// Sums over the epoch so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) loss: f64,
    pub(super) rows: f64,
}

impl Sums {
    /// Adds the mean loss of so many rows.
    fn add(&mut self, loss: f64, rows: usize) {
        self.loss += loss * rows as f64;
        self.rows += rows as f64;
    }

    fn mean(&self) -> f64 {
        self.loss / self.rows
    }
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

/// A training that goes on.
pub(super) struct Session<'s, 'a> {
    pub(super) model: &'s dyn Module,
    pub(super) train: &'s dyn Dataset,
    pub(super) program: Steps<'s>,
    pub(super) valid: Option<(&'s dyn Dataset, Evaluator<'s>)>,
    pub(super) base_rate: f64,
    /// The rate the step has now.
    pub(super) rate: f64,
    pub(super) planned: Option<&'s Planned<'a>>,
    pub(super) schedule: Option<Box<dyn Schedule + 's>>,
    pub(super) identity: TrainingIdentity<'s>,
    pub(super) plateau: Option<(ReduceOnPlateau, String)>,
    pub(super) metrics: Metrics,
    /// Metrics of which more is better.
    pub(super) larger: Vec<String>,
    pub(super) callbacks: Vec<Box<dyn Callback + 'a>>,
    pub(super) settings: &'s mut Settings<'a>,
    /// How many steps there will be, and batches in an epoch.
    pub(super) steps: u64,
    /// As they were planned at first.
    pub(super) most: u64,
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
    /// The same for each loss, where there are several.
    pub(super) loss_sums: Vec<Sums>,
    /// Of the last step.
    pub(super) loss: f64,
    /// Of the last epoch.
    pub(super) numbers: Vec<(String, f64)>,
    /// What callbacks added to it, until it is shown.
    pub(super) texts: Vec<(String, String)>,
    pub(super) history: History,
    /// Time of earlier sessions, and the start of this one.
    pub(super) before: Duration,
    pub(super) began: Instant,
    pub(super) requests: Vec<Request>,
    pub(super) best: Option<TensorFile>,
    pub(super) restores_best: bool,
    pub(super) stopped: Option<String>,
    /// The signal that ended the training.
    pub(super) signal: Option<i32>,
    pub(super) failed: bool,
    /// Where to look from, should a loss be no number.
    pub(super) anchor: Option<Anchor>,
}

impl Session<'_, '_> {
    /// Trains from the cursor to the end.
    pub(super) fn epochs(&mut self, interrupt: &Interrupt) -> Result<()> {
        let last =
            self.cursor.epoch * self.batches + self.cursor.batch + (self.steps.saturating_sub(self.done));
        let end = Cursor { epoch: last / self.batches, batch: last % self.batches };
        self.most = self.steps;
        let (train, batching) = (self.train, self.settings.batching.clone());
        std::thread::scope(|scope| {
            let mut batches = Prefetch::start(scope, train, batching, self.cursor, end)?;
            let (mut coming, mut uploaded) = (batches.take(), None);
            while self.stopped.is_none()
                && self.done < self.steps
                && let Some(batch) = coming?
            {
                self.start_step(&batch, uploaded.take())?;
                // While a device works by itself, what comes next goes there.
                coming = batches.take();
                if let Ok(Some(next)) = &coming {
                    uploaded = self.program.upload(self.done + 1, &all(next))?;
                }
                self.end_step(&batch)?;
                batches.give_back(batch);
                self.notify(|callback, at| callback.after_step(at))?;
                self.texts.clear();
                if self.cursor.batch == 0 || self.done == self.steps {
                    self.end_epoch()?;
                }
                // Only now, so that a checkpoint of an epoch's last step knows that the epoch is over.
                self.carry_out_all()?;
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
    fn start_step(&mut self, batch: &Batch, uploaded: Option<Vec<Variable>>) -> Result<()> {
        if self.cursor.batch == 0 || self.done == self.from {
            self.anchor = Anchor::drop_at(self)?;
        }
        (self.epoch, self.batch) = (self.cursor.epoch + 1, self.cursor.batch + 1);
        self.set_rate(self.done)?;
        let inputs = match &uploaded {
            Some(uploaded) => uploaded.iter().map(Input::variable).collect(),
            None => all(batch),
        };
        self.program.start(self.done, &inputs)
    }

    /// Takes a step's results and counts it.
    fn end_step(&mut self, batch: &Batch) -> Result<()> {
        let outcome = self.program.finish(self.done)?;
        self.loss = outcome.loss;
        if !self.loss.is_finite() {
            return Err(self.no_number(batch));
        }
        self.metrics.update(batch, outcome.outputs())?;
        for (place, loss) in outcome.each() {
            self.loss_sums[place].add(loss, batch.rows());
        }
        self.sums.add(self.loss, batch.rows());
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
            self.program.set_rate(rate)?;
            self.rate = rate;
        }
        Ok(())
    }

    /// The numbers of the epoch that is over, and what follows from them.
    fn end_epoch(&mut self) -> Result<()> {
        let mut numbers = vec![("loss".to_string(), self.sums.mean())];
        let losses = self.program.losses.iter().zip(&self.loss_sums);
        numbers.extend(losses.map(|(name, sums)| (format!("{name}.loss"), sums.mean())));
        numbers.extend(self.metrics.numbers());
        let due = self.epoch.is_multiple_of(self.settings.validate_every) || self.done == self.steps;
        self.with_averages(|session| {
            if due {
                session.validate(&mut numbers)?;
            }
            session.notify(|callback, at| callback.evaluate(at))
        })?;
        if let Some(derived) = &self.settings.derived {
            let further = derived(&numbers);
            numbers.extend(further);
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
        self.texts.clear();
        // Also where that failed: what is rescued then begins with the next epoch.
        self.sums = Sums::default();
        self.loss_sums.fill(Sums::default());
        self.metrics.reset();
        told
    }

    /// What is done with the weights that are evaluated, of a training that keeps averages.
    fn with_averages(&mut self, what: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.swap_averages()?;
        let done = what(self);
        self.swap_averages()?;
        done
    }

    fn validate(&mut self, numbers: &mut Vec<(String, f64)>) -> Result<()> {
        let Some((set, evaluator)) = &mut self.valid else { return Ok(()) };
        let evaluated = evaluator.run(*set)?.into_iter();
        numbers.extend(evaluated.map(|(name, number)| (format!("val_{name}"), number)));
        Ok(())
    }

    fn swap_averages(&self) -> Result<()> {
        match self.settings.averages {
            true => self.program.swap_averages(self.model),
            false => Ok(()),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.before + self.began.elapsed()
    }

    /// Tells all callbacks; what they ask for waits.
    pub(super) fn notify(
        &mut self,
        what: impl Fn(&mut dyn Callback, &mut Moment) -> Result<()>,
    ) -> Result<()> {
        let mut moment = Moment {
            epoch: self.epoch,
            epochs: self.steps.div_ceil(self.batches),
            step: self.done,
            steps: self.steps,
            batch: self.batch,
            batches: self.batches,
            rows: self.sums.rows as u64,
            loss: self.loss,
            mean_loss: self.sums.mean(),
            metrics: &self.metrics.all,
            numbers: &self.numbers,
            rate: self.rate,
            elapsed: self.before + self.began.elapsed(),
            failed: self.failed,
            model: self.model,
            larger: &self.larger,
            texts: &mut self.texts,
            requests: &mut self.requests,
        };
        self.callbacks.iter_mut().try_for_each(|callback| what(&mut **callback, &mut moment))
    }

    /// Does what callbacks asked for.
    pub(super) fn carry_out_all(&mut self) -> Result<()> {
        let mut requests = std::mem::take(&mut self.requests);
        // What is saved knows the best weights of the epoch that is over, whoever asked first.
        requests.sort_by_key(|request| {
            matches!(request, Request::Save(_) | Request::SaveThere(_) | Request::Remove(_))
        });
        let outcome = requests.drain(..).try_for_each(|request| self.carry_out(request));
        // What callbacks asked for meanwhile waits; else the memory is kept.
        if self.requests.is_empty() {
            self.requests = requests;
        }
        outcome
    }

    fn carry_out(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Stop(reason) => {
                self.stopped.get_or_insert(reason);
            }
            Request::Save(path) => self.capture()?.save(path)?,
            Request::SaveThere(path) => self.capture()?.0.save_there(&path)?,
            Request::Remove(path) => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file(path)(error));
                }
                _ => {}
            },
            Request::KeepBest => {
                let mut best = TensorFile::default();
                self.with_averages(|session| Ok(put_weights(&mut best, "", session.model)?))?;
                self.best = Some(best);
            }
            Request::Evaluate => {
                self.with_averages(|session| session.notify(|callback, at| callback.evaluate(at)))?;
            }
            Request::RestoreBest => self.restores_best = true,
            Request::Plan(steps) => {
                self.steps = steps.max(self.done + 1).min(self.most);
                let updates = self.steps.div_ceil(self.settings.accumulate);
                self.schedule = self.planned.map(|planned| planned.of(updates));
            }
        }
        Ok(())
    }

    pub(super) fn say_how_to_go_on(&self) {
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
    pub(super) fn rescue(&self, error: Error) -> Error {
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
    pub(super) fn finish(self) -> Result<Fitted> {
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
