//! The file in which a search writes down its trials, so that none is run again.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;

use serde_json::{Value, json};

use super::Search;
use super::ranking::Outcome;
use crate::{Error, Result};

/// What a line says of a trial.
pub(super) struct JournalEntry {
    pub(super) score: f64,
    pub(super) seconds: f64,
    pub(super) failed: Option<String>,
    pub(super) curve: Vec<f64>,
}

impl Search {
    pub(super) fn write_journal(&self, outcome: &Outcome) -> Result<()> {
        let Some(path) = &self.journal else { return Ok(()) };
        let line = json!({
            "trial": outcome.trial.key(),
            "settings": outcome.trial.about(),
            "epochs": outcome.trial.epochs,
            "score": exact(outcome.score),
            "seconds": outcome.seconds,
            "failed": outcome.failed,
            "curve": outcome.trial.curve.borrow().iter().map(|number| exact(*number)).collect::<Vec<_>>(),
        });
        let write = || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        };
        write().map_err(Error::file(path))
    }

    pub(super) fn read_journal(&self) -> Result<BTreeMap<String, JournalEntry>> {
        let mut known = BTreeMap::new();
        let Some(path) = self.journal.as_ref().filter(|path| path.exists()) else { return Ok(known) };
        let text = fs::read_to_string(path).map_err(Error::file(path))?;
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        // A line without an end was being written when the search was ended.
        if let Some(cut) = lines.pop_if(|line| !line.ends_with('\n')) {
            let whole = text.len() - cut.len();
            crate::store::write_atomically(path, &text.as_bytes()[..whole])?;
        }
        for (number, line) in lines.iter().enumerate() {
            let value: Value = serde_json::from_str(line).map_err(|error| {
                Error::format(path, format!("line {} can't be read: {error}; remove it", number + 1))
            })?;
            let Some(trial) = value.get("trial").and_then(Value::as_str) else {
                return Err(Error::format(path, format!("line {} is no trial", number + 1)));
            };
            let text = |name: &str| value.get(name).and_then(Value::as_str);
            let curve = value.get("curve").and_then(Value::as_array).into_iter().flatten();
            let curve = curve.filter_map(Value::as_str).filter_map(|number| number.parse().ok()).collect();
            let score = text("score").and_then(|score| score.parse().ok()).unwrap_or(f64::NAN);
            let seconds = value.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
            let failed = text("failed").map(str::to_string);
            known.insert(trial.to_string(), JournalEntry { score, seconds, failed, curve });
        }
        Ok(known)
    }
}

/// A number as a text that reads back the same, also where JSON has no word for it.
fn exact(number: f64) -> String {
    number.to_string()
}
