//! What came of each candidate, the best first.

use std::fmt;

use kiln_map::counted;
use serde::{Deserialize, Serialize};

use crate::trainer::time;

/// A line of a [`Leaderboard`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The candidate, or `blend`.
    pub name: String,
    /// The mean of what decides; nothing where it failed or wasn't tried.
    pub score: Option<f64>,
    /// How much that differs from fold to fold (or, of a single one, from part to part of it): the deviation of a sample.
    pub spread: Option<f64>,
    /// On each fold, or part of a single one.
    pub each: Vec<f64>,
    /// How long all of its fits took.
    pub seconds: f64,
    /// How much it counts in the answer, from 0 to 1.
    pub share: f64,
    /// Why there is no score.
    pub failed: Option<String>,
}

/// The candidates of a selection and their blend, the best first. Prints as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// What decides.
    pub figure: String,
    /// Whether more of it is better.
    pub larger_is_better: bool,
    /// How many folds every candidate was fitted to.
    pub folds: usize,
    /// The lines.
    pub standings: Vec<Standing>,
}

impl Standing {
    pub(super) fn new(name: &str, each: Vec<f64>, seconds: f64) -> Standing {
        let count = each.len() as f64;
        let mean = each.iter().sum::<f64>() / count;
        let squares: f64 = each.iter().map(|own| (own - mean) * (own - mean)).sum();
        let spread = (each.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        let score = (!each.is_empty()).then_some(mean);
        Standing { name: name.to_string(), score, spread, each, seconds, share: 0.0, failed: None }
    }
}

impl Leaderboard {
    /// In order: the best first, those without a score last.
    pub(super) fn new(
        figure: &str,
        larger_is_better: bool,
        folds: usize,
        mut standings: Vec<Standing>,
    ) -> Leaderboard {
        let sign = if larger_is_better { -1.0 } else { 1.0 };
        let key = |standing: &Standing| standing.score.map_or(f64::INFINITY, |score| sign * score);
        standings.sort_by(|a, b| key(a).total_cmp(&key(b)));
        Leaderboard { figure: figure.to_string(), larger_is_better, folds, standings }
    }

    /// One more line, of what wasn't fitted: what decides of it on each fold.
    pub fn add(&mut self, name: &str, each: Vec<f64>, seconds: f64) {
        let mut standings = std::mem::take(&mut self.standings);
        standings.push(Standing::new(name, each, seconds));
        *self = Leaderboard::new(&self.figure, self.larger_is_better, self.folds, standings);
    }

    /// The line of a candidate.
    pub fn of(&self, name: &str) -> Option<&Standing> {
        self.standings.iter().find(|standing| standing.name == name)
    }

    /// The table: a head, and cells for each line.
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut table = vec![["model", &self.figure, "±", "time", "share"].map(String::from).to_vec()];
        for standing in &self.standings {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
            let score = if standing.failed.is_some() { "failed".to_string() } else { number(standing.score) };
            let share = match standing.share {
                0.0 => String::new(),
                share => format!("{:.0} %", 100.0 * share),
            };
            let spent = if standing.seconds > 0.0 { time(standing.seconds) } else { String::new() };
            table.push(vec![standing.name.clone(), score, number(standing.spread), spent, share]);
        }
        table
    }
}

impl fmt::Display for Leaderboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
        for (number, row) in table.iter().enumerate() {
            let cell = |(at, text): (usize, &String)| match at {
                0 => format!("{text:<w$}", w = widths[0]),
                _ => format!("{text:>w$}", w = widths[at]),
            };
            let line = row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", line.trim_end())?;
            if number == 0 {
                continue;
            }
            if let Some(why) = &self.standings[number - 1].failed {
                writeln!(f, "  {why}")?;
            }
        }
        match self.folds {
            1 => write!(f, "on rows that were held out once; ± from part to part of them"),
            folds => write!(f, "means over {}; ± from fold to fold", counted(folds, "fold")),
        }
    }
}
