//! Callbacks that end a training: when nothing gets better, and when time is up.

use kiln_map::counted;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kiln_nn::Data;
use serde::{Deserialize, Serialize};

use super::callback::{Callback, Moment};
use super::monitor::Monitor;
use crate::Result;

/// Ends the training when a number hasn't become better for some epochs, and gives the model back its best weights.
#[derive(Clone, Debug)]
pub struct EarlyStopping {
    monitor: Monitor,
    patience: u64,
    keep_last: bool,
    waited: u64,
}

impl EarlyStopping {
    /// Watches a number: `val_loss`, `val_accuracy`, …
    pub fn on(number: &str) -> EarlyStopping {
        EarlyStopping { monitor: Monitor::new(number), patience: 5, keep_last: false, waited: 0 }
    }

    /// How many epochs in a row may be no better; 5 unless told otherwise.
    pub fn patience(self, epochs: u64) -> EarlyStopping {
        EarlyStopping { patience: epochs, ..self }
    }

    /// By how much a number must be better to count; anything unless told otherwise.
    pub fn least_change(mut self, change: f64) -> EarlyStopping {
        self.monitor.least_change = change;
        self
    }

    /// Leaves the model as it was in the last epoch (Keras' default; here the best weights are).
    pub fn keep_last(self) -> EarlyStopping {
        EarlyStopping { keep_last: true, ..self }
    }
}

impl Callback for EarlyStopping {
    fn before(&mut self, at: &mut Moment) -> Result<()> {
        if !self.keep_last {
            at.restore_best();
        }
        Ok(())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        if self.monitor.observe(at)? {
            self.waited = 0;
            if !self.keep_last {
                at.keep_best();
            }
            return Ok(());
        }
        self.waited += 1;
        if self.waited >= self.patience.max(1) && !at.is_last() {
            let (name, best, waited) = (self.monitor.name(), self.monitor.best(), self.waited);
            at.stop(format!(
                "{name} is no better than {best:.5} since {}",
                counted(waited as usize, "epoch")
            ));
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "early-stopping"
    }

    fn state(&self) -> Vec<(String, Data)> {
        vec![("best".to_string(), Data::F64(vec![self.monitor.best(), self.waited as f64]))]
    }

    fn restore(&mut self, state: &[(&str, &Data)]) -> Result<()> {
        if let Some(&[best, waited]) = state.first().and_then(|(_, data)| data.as_slice::<f64>()) {
            self.monitor.restore(best);
            self.waited = waited as u64;
        }
        Ok(())
    }
}

/// Ends the training when this session of it has lasted so long, and fits what is left of it to that time: fewer steps are planned where
/// all of them would take longer, so that a schedule comes to its end and not to its middle.
///
/// What it decided can be written down ([`TimeLimit::noting`]) and decided again ([`TimeLimit::repeating`]), with the same weights, however
/// fast the machine is.
#[derive(Clone, Debug)]
pub struct TimeLimit {
    limit: Duration,
    until: Option<Instant>,
    began: Instant,
    /// Steps that were done before this session, and those that were planned for all.
    first: u64,
    planned: u64,
    /// When the steps are counted again.
    again: Duration,
    noted: Option<ClockNotes>,
    /// What was decided elsewhere, and is again.
    repeated: Option<Vec<Decided>>,
}

/// What a clock decided after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Steps that were done.
    pub step: u64,
    /// How many there were to be from then on; nothing where the training ended.
    pub steps: Option<u64>,
}

/// What a clock decided, in turn, shared with whoever asked for it.
pub type ClockNotes = Rc<RefCell<Vec<Decided>>>;

/// Steps are first counted after this share of the time, and then each time that so much more of it is over.
const COUNTED: f64 = 0.02;
const LATER: f64 = 1.25;

impl TimeLimit {
    /// So long at most; the step that is under way is finished.
    pub fn new(limit: Duration) -> TimeLimit {
        let again = Duration::ZERO;
        let began = Instant::now();
        TimeLimit { limit, until: None, began, first: 0, planned: 0, again, noted: None, repeated: None }
    }

    /// Decides what was decided before, and looks at no clock.
    pub fn repeating(decided: Vec<Decided>) -> TimeLimit {
        TimeLimit { repeated: Some(decided), ..TimeLimit::new(Duration::MAX) }
    }

    /// Writes down what it decides.
    pub fn noting(self, notes: &ClockNotes) -> TimeLimit {
        TimeLimit { noted: Some(notes.clone()), ..self }
    }

    /// Until then at most, where what comes before the training counts too.
    pub fn until(end: Instant) -> TimeLimit {
        TimeLimit { until: Some(end), ..TimeLimit::new(end.saturating_duration_since(Instant::now())) }
    }

    /// What is told of it, where it is a part of a longer time.
    pub fn named(self, limit: Duration) -> TimeLimit {
        TimeLimit { limit, ..self }
    }

    fn end(&self, at: &mut Moment) {
        self.note(at.step, None);
        match self.repeated {
            Some(_) => at.stop("a time limit was over here"),
            None => at.stop(format!("the time limit of {:?} is over", self.limit)),
        }
    }

    fn note(&self, step: u64, steps: Option<u64>) {
        if let Some(notes) = &self.noted {
            notes.borrow_mut().push(Decided { step, steps });
        }
    }
}

impl Callback for TimeLimit {
    fn before(&mut self, at: &mut Moment) -> Result<()> {
        (self.began, self.first, self.planned) = (Instant::now(), at.step, at.steps);
        if self.repeated.is_some() {
            return Ok(());
        }
        let end = *self.until.get_or_insert_with(|| self.began + self.limit);
        self.again = end.saturating_duration_since(self.began).mul_f64(COUNTED);
        Ok(())
    }

    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        if let Some(decided) = &self.repeated {
            match decided.iter().find(|decided| decided.step == at.step).map(|decided| decided.steps) {
                Some(Some(steps)) => {
                    self.note(at.step, Some(steps));
                    at.plan(steps);
                }
                Some(None) => self.end(at),
                None => {}
            }
            return Ok(());
        }
        let (spent, end) = (self.began.elapsed(), self.until.unwrap_or(self.began));
        let left = end.saturating_duration_since(Instant::now());
        if at.is_last() {
            if at.steps < self.planned {
                self.end(at);
            }
        } else if left.is_zero() {
            self.end(at);
        } else if spent >= self.again || at.step + 1 >= at.steps.min(self.planned) {
            // Also before the last of them: where the first were slow, there is time for more.
            self.again = spent.mul_f64(LATER);
            let done = at.step - self.first;
            let fit = left.as_secs_f64() / spent.as_secs_f64().max(1e-9) * done as f64;
            let fit = at.step.saturating_add((fit as u64).max(1)).min(self.planned);
            if fit != at.steps {
                self.note(at.step, Some(fit));
                at.plan(fit);
            }
        }
        Ok(())
    }
}
