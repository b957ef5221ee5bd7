//! What came out of a search: its trials, the best first.

use std::fmt;

use super::trial::{Setting, Trial};
use crate::trainer::progress::time;

/// What became of a trial.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(super) trial: Trial,
    /// What the closure gave; `NaN` where it failed.
    pub score: f64,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// The trials, the best first. Prints as a table.
#[derive(Clone, Debug)]
pub struct Ranking {
    pub(super) outcomes: Vec<Outcome>,
}

impl Ranking {
    /// The trials, the best first.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The best trial, if any had a score.
    pub fn best(&self) -> Option<&Trial> {
        self.outcomes.first().filter(|outcome| !outcome.score.is_nan()).map(|outcome| &outcome.trial)
    }
}

impl Outcome {
    /// Its trial.
    pub fn trial(&self) -> &Trial {
        &self.trial
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.trial.key())?;
        match &self.failed {
            Some(error) => write!(f, "failed: {error}"),
            None => write!(f, "{:.5} in {}", self.score, time(self.seconds)),
        }
    }
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.outcomes.first() else { return Ok(()) };
        let names: Vec<&str> = first.trial.settings.iter().map(|(name, _)| name.as_str()).collect();
        let halved = first.trial.epochs.is_some();
        let shown = |setting: &Setting| match setting {
            Setting::Number(number) if number.abs() >= 1e-2 || *number == 0.0 => {
                format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_string()
            }
            Setting::Number(number) => format!("{number:.3e}"),
            Setting::Text(text) => text.clone(),
        };
        let mut table = vec![vec!["rank".to_string(), "score".to_string()]];
        table[0].extend(names.iter().map(|name| name.to_string()));
        table[0].extend(halved.then(|| "epochs".to_string()));
        table[0].push("time".to_string());
        for (rank, outcome) in self.outcomes.iter().enumerate() {
            let score =
                if outcome.failed.is_some() { "failed".to_string() } else { format!("{:.5}", outcome.score) };
            let mut row = vec![(rank + 1).to_string(), score];
            row.extend(outcome.trial.settings.iter().map(|(_, setting)| shown(setting)));
            row.extend(outcome.trial.epochs.map(|epochs| epochs.to_string()));
            row.push(time(outcome.seconds));
            table.push(row);
        }
        let widths: Vec<usize> = (0..table[0].len())
            .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for (number, row) in table.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            write!(f, "{}", cells.collect::<Vec<_>>().join("  "))?;
        }
        for outcome in self.outcomes.iter().filter(|outcome| outcome.failed.is_some()) {
            write!(f, "\n{outcome}")?;
        }
        Ok(())
    }
}
