//! Above which probability the second of two classes is said: told, or what is best on rows that were held out.

use anyhow::{Result, bail};
use kiln_learn::model::Task;
use kiln_learn::trainer::Judged;

use crate::measure::{Measured, Of};
use crate::settings::Settings;

/// How a threshold comes about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Threshold {
    Told(f64),
    /// The best F1 of the second class.
    F1,
    /// The best mean of both classes' shares that are found.
    Balanced,
}

impl Threshold {
    /// What the settings say, which must suit the task.
    pub(super) fn of(settings: &Settings, task: &Task, has_validation: bool) -> Result<Option<Threshold>> {
        let Some(said) = settings.threshold.as_deref() else { return Ok(None) };
        if !matches!(task, Task::Classes { names } if names.len() == 2) {
            bail!("--threshold is for one target of two classes; leave it out");
        }
        let threshold = match said {
            "f1" => Threshold::F1,
            "balanced" => Threshold::Balanced,
            number => match number.parse::<f64>() {
                Ok(share) if share > 0.0 && share < 1.0 => Threshold::Told(share),
                _ => bail!("--threshold is a probability between 0 and 1, f1 or balanced, not {number}"),
            },
        };
        if !matches!(threshold, Threshold::Told(_)) && !has_validation {
            bail!("--threshold {said} is chosen on validation rows, and there are none; tell a number");
        }
        Ok(Some(threshold))
    }

    /// The probability, by what was said of rows that were held out.
    pub(super) fn on(self, held: Option<&Measured>) -> f64 {
        let score: fn(&Counts) -> f64 = match self {
            Threshold::Told(threshold) => return threshold,
            Threshold::F1 => Counts::f1,
            Threshold::Balanced => Counts::balanced,
        };
        match held.map(|held| &held.of) {
            Some(Of::Classes { rows, .. }) => best(rows, score),
            Some(Of::Numbers(_) | Of::Several(_) | Of::Text) | None => 0.5,
        }
    }
}

/// How many of the rows above a threshold are of the second class, and how many of each there are.
struct Counts {
    found: f64,
    above: f64,
    second: f64,
    first: f64,
}

impl Counts {
    fn f1(&self) -> f64 {
        2.0 * self.found / (self.above + self.second).max(1.0)
    }

    fn balanced(&self) -> f64 {
        let missed = self.above - self.found;
        0.5 * (self.found / self.second.max(1.0) + 1.0 - missed / self.first.max(1.0))
    }
}

/// The middle between two probabilities that parts the rows best; of equal ones that nearest to a half.
fn best(rows: &[Judged], score: fn(&Counts) -> f64) -> f64 {
    let mut sorted: Vec<(f64, bool)> =
        rows.iter().map(|row| (f64::from(row.second), row.label == 1)).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let second = sorted.iter().filter(|(_, is)| *is).count() as f64;
    let mut counts = Counts { found: 0.0, above: 0.0, second, first: sorted.len() as f64 - second };
    let mut best = (f64::NEG_INFINITY, 0.5);
    for (at, (probability, is)) in sorted.iter().enumerate() {
        counts.above += 1.0;
        counts.found += f64::from(u8::from(*is));
        let next = sorted.get(at + 1).map_or(0.0, |(next, _)| *next);
        if next == *probability {
            continue;
        }
        let (own, middle) = (score(&counts), 0.5 * (probability + next));
        let is_nearer = own == best.0 && (middle - 0.5).abs() < (best.1 - 0.5f64).abs();
        if own > best.0 || is_nearer {
            best = (own, middle);
        }
    }
    best.1.clamp(1e-6, 1.0 - 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_threshold_is_found_by_trying_all() {
        let logits = [-3.0f32, -2.5, -2.0, -1.0, -0.5, 0.2, 0.4, 2.0];
        let labels = [0i64, 0, 1, 0, 1, 1, 0, 1];
        let rows: Vec<Judged> =
            logits.iter().zip(labels).map(|(logit, label)| Judged::new(&[*logit], label)).collect();
        for (name, score) in [("f1", Counts::f1 as fn(&Counts) -> f64), ("balanced", Counts::balanced)] {
            let scored = |threshold: f64| {
                let is_above = |row: &&Judged| row.decided(threshold).class == 1;
                let above = rows.iter().filter(is_above).count() as f64;
                let found = rows.iter().filter(is_above).filter(|row| row.label == 1).count() as f64;
                score(&Counts { found, above, second: 4.0, first: 4.0 })
            };
            let own = best(&rows, score);
            let most = (1..1000).map(|at| scored(f64::from(at) / 1000.0)).fold(0.0, f64::max);
            assert!((scored(own) - most).abs() < 1e-12, "{name}: {own}");
        }
        assert_eq!(best(&[], Counts::f1), 0.5);
    }
}
