//! One trial of a search: its hyper-parameters, and what it hears of the others.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::super::callback::{Callback, Moment};
use crate::Result;

/// The value of a hyper-parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting {
    Number(f64),
    Text(String),
}

/// One trial: its hyper-parameters, and how long it may train.
#[derive(Clone, Debug)]
pub struct Trial {
    pub(super) settings: Vec<(String, Setting)>,
    pub(super) epochs: Option<u64>,
    pub(super) maximise: bool,
    pub(super) curve: Rc<RefCell<Vec<f64>>>,
    pub(super) others: Rc<RefCell<Vec<Vec<f64>>>>,
}

impl Trial {
    /// The number of this name. `NaN` of a name that was never chosen for, or is a word's.
    pub fn number(&self, name: &str) -> f64 {
        match self.setting(name) {
            Some(Setting::Number(number)) => *number,
            _ => f64::NAN,
        }
    }

    /// The word of this name; nothing of a name that was never chosen for.
    pub fn word(&self, name: &str) -> &str {
        match self.setting(name) {
            Some(Setting::Text(word)) => word,
            _ => "",
        }
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, setting)| setting)
    }

    /// How many epochs a halving gives it; `otherwise` in other searches.
    pub fn epochs(&self, otherwise: u64) -> u64 {
        self.epochs.unwrap_or(otherwise)
    }

    /// A callback that ends the trial when a number of an epoch (`val_loss`) is worse than the median of the earlier trials in the
    /// same epoch. The first three trials, and the first epochs, are left alone.
    pub fn prune(&self, number: &str) -> impl Callback + use<> {
        Pruning { trial: self.clone(), number: number.to_string() }
    }

    pub(super) fn about(&self) -> Map<String, Value> {
        as_map(&self.settings)
    }

    /// What tells it from other trials.
    pub(super) fn key(&self) -> String {
        let parts = self.settings.iter().map(|(name, setting)| format!("{name}={setting}"));
        let epochs = self.epochs.map(|epochs| format!("epochs={epochs}"));
        parts.chain(epochs).collect::<Vec<_>>().join(" ")
    }
}

/// Settings by name.
pub(super) fn as_map(settings: &[(String, Setting)]) -> Map<String, Value> {
    let value = |setting: &Setting| match setting {
        Setting::Number(number) => (*number).into(),
        Setting::Text(text) => text.as_str().into(),
    };
    settings.iter().map(|(name, setting)| (name.clone(), value(setting))).collect()
}

/// The settings of a map.
pub(super) fn of_map(settings: &Map<String, Value>) -> Vec<(String, Setting)> {
    let setting = |value: &Value| match value.as_f64() {
        Some(number) => Setting::Number(number),
        None => Setting::Text(value.as_str().unwrap_or_default().to_string()),
    };
    settings.iter().map(|(name, value)| (name.clone(), setting(value))).collect()
}

/// See [`Trial::prune`].
struct Pruning {
    trial: Trial,
    number: String,
}

const LEFT_ALONE: usize = 3;

impl Callback for Pruning {
    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        let Some(number) = at.number(&self.number) else {
            return Err(super::super::monitor::no_such_number(&self.number, at.numbers));
        };
        let epoch = self.trial.curve.borrow().len();
        self.trial.curve.borrow_mut().push(number);
        let others = self.trial.others.borrow();
        let mut same: Vec<f64> = others.iter().filter_map(|curve| curve.get(epoch).copied()).collect();
        if same.len() < LEFT_ALONE || epoch == 0 || at.is_last() {
            return Ok(());
        }
        same.sort_by(f64::total_cmp);
        let median = same[same.len() / 2];
        let worse = if self.trial.maximise { number < median } else { number > median };
        if worse || number.is_nan() {
            at.stop(format!("pruned: {} {number:.4} is worse than the median {median:.4}", self.number));
        }
        Ok(())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Number(number) => write!(f, "{number}"),
            Setting::Text(text) => f.write_str(text),
        }
    }
}
