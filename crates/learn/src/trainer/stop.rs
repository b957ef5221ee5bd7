//! Callbacks that end a training: when nothing gets better, and when time is up.

use std::time::{Duration, Instant};

use kiln_nn::Data;

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
            at.stop(format!("{name} is no better than {best:.5} since {waited} epochs"));
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

/// Ends the training when this session of it has lasted so long.
#[derive(Clone, Debug)]
pub struct TimeLimit {
    limit: Duration,
    began: Option<Instant>,
}

impl TimeLimit {
    /// So long at most; the step that is under way is finished.
    pub fn new(limit: Duration) -> TimeLimit {
        TimeLimit { limit, began: None }
    }
}

impl Callback for TimeLimit {
    fn before(&mut self, _at: &mut Moment) -> Result<()> {
        self.began = Some(Instant::now());
        Ok(())
    }

    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        if self.began.is_some_and(|began| began.elapsed() >= self.limit) && !at.is_last() {
            at.stop(format!("the time limit of {:?} is over", self.limit));
        }
        Ok(())
    }
}
