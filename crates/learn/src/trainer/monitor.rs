//! A number of each epoch that is monitored for getting better.

use kiln_map::nearest;

use super::callback::Moment;
use crate::{Error, Result};

/// The name of a number, and the best it was so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    name: String,
    /// By how much a number must be better to count.
    pub(super) least_change: f64,
    best: f64,
}

impl Monitor {
    /// Watches `loss`, `val_loss`, `val_accuracy` and so on. Whether more is better is the metric's to say.
    pub fn new(name: &str) -> Monitor {
        Monitor { name: name.to_string(), least_change: 0.0, best: f64::NAN }
    }

    /// The best number so far; `NaN` before the first.
    pub fn best(&self) -> f64 {
        self.best
    }

    /// What is monitored.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the epoch's number; whether it is the best so far.
    ///
    /// # Errors
    /// Where the epoch has no such number.
    pub fn observe(&mut self, at: &Moment) -> Result<bool> {
        let Some(number) = at.number(&self.name) else {
            return Err(no_such_number(&self.name, at.numbers));
        };
        let better = match at.larger_is_better(&self.name) {
            _ if number.is_nan() => false,
            _ if self.best.is_nan() => true,
            true => number > self.best + self.least_change,
            false => number < self.best - self.least_change,
        };
        if better {
            self.best = number;
        }
        Ok(better)
    }

    pub(super) fn restore(&mut self, best: f64) {
        self.best = best;
    }
}

/// An epoch has no number of this name; which it has, and the mend.
pub(super) fn no_such_number(name: &str, numbers: &[(String, f64)]) -> Error {
    let names: Vec<&str> = numbers.iter().map(|(name, _)| name.as_str()).collect();
    let mend = match nearest(name, names.iter().copied()) {
        _ if name.starts_with("val_") && !names.iter().any(|name| name.starts_with("val_")) => {
            "nothing is validated, see Trainer::validate".to_string()
        }
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", names.join(", ")),
    };
    Error::Training(format!("no epoch has a {name}; {mend}"))
}
