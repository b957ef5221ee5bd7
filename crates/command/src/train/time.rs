//! What a time limit leaves for what: it covers everything from the start of the command to the report, so that what comes after the
//! training is set aside before it, from how long an evaluation takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::data::{Dataset, Subset};
use kiln_learn::model::Task;
use kiln_learn::trainer::TimeLimit;

use crate::measure::Measured;
use crate::source::TrainingData;

/// The time that a command may take.
#[derive(Clone, Copy)]
pub(super) struct TimeBudget {
    pub(super) began: Instant,
    pub(super) limit: Option<Duration>,
}

/// What comes after a training, and how long it may take.
pub(super) struct Afterwards<'s> {
    /// What each epoch is validated with.
    pub(super) valid: Subset<&'s dyn Dataset>,
    /// How many rows of each part the figures are of, at most.
    pub(super) rows: usize,
    /// When the training ends.
    pub(super) training_ends: Option<Instant>,
}

/// The share of a limit that goes to the figures of the three parts, and to the importances of columns.
const FIGURES: f64 = 0.25;
const IMPORTANCES: f64 = 0.1;

/// How many rows are evaluated to see how long that takes.
const TRIED: usize = 256;

/// Bytes a second, of which a model is written and its checksum made, where the disk is slow.
const WRITTEN: f64 = 200e6;

impl TimeBudget {
    /// When all is over.
    fn end(&self) -> Option<Instant> {
        self.limit.map(|limit| self.began + limit)
    }

    /// The first of so many equal shares of the time that is left, for a training.
    pub(super) fn share(&self, count: usize) -> Option<TimeLimit> {
        let left = self.end()?.saturating_duration_since(Instant::now());
        Some(TimeLimit::new(left / u32::try_from(count.max(1)).unwrap_or(u32::MAX)))
    }

    /// How long the importances of columns may take after a training that took so long.
    pub(super) fn importances(&self, trained: Duration) -> Duration {
        match (self.limit, self.end()) {
            (Some(limit), Some(end)) => {
                limit.mul_f64(IMPORTANCES).min(end.saturating_duration_since(Instant::now()))
            }
            _ => trained.mul_f64(0.2).clamp(Duration::from_secs(5), Duration::from_secs(60)),
        }
    }

    /// What a limit sets aside for what comes after the training.
    pub(super) fn afterwards<'s>(&self, source: &'s TrainingData, model: &Model) -> Result<Afterwards<'s>> {
        let (Some(limit), Some(end)) = (self.limit, self.end()) else {
            return Ok(Afterwards {
                valid: first(&*source.valid, usize::MAX),
                rows: usize::MAX,
                training_ends: None,
            });
        };
        let tried = source.train.len().clamp(1, TRIED);
        let few = Subset::new(&source.train, (0..tried.min(source.train.len())).collect());
        // The first compiles the programs.
        Measured::new(&source.task, model, &few)?;
        let once = Instant::now();
        Measured::new(&source.task, model, &few)?;
        let row = once.elapsed().as_secs_f64() / tried as f64;
        let limit = limit.as_secs_f64();
        let rows = ((limit * FIGURES / 3.0 / row.max(1e-12)) as usize).max(tried);
        let lengths =
            [source.train.len(), source.valid.len(), source.test.len()].map(|rows_of| rows_of.min(rows));
        let seconds = lengths.iter().sum::<usize>() as f64 * row * 1.2
            // A validation of the last epoch may have begun.
            + lengths[1] as f64 * row
            + model.parameter_count() as f64 * 4.0 / WRITTEN
            + if source.shows.has_columns() { limit * IMPORTANCES } else { 0.0 }
            + 0.2;
        let aside = Duration::from_secs_f64(seconds.min(limit / 2.0));
        let training_ends = Some(end.checked_sub(aside).unwrap_or(self.began));
        Ok(Afterwards { valid: first(&*source.valid, rows), rows, training_ends })
    }
}

/// The first rows of a part, so many at most.
fn first(part: &dyn Dataset, most: usize) -> Subset<&dyn Dataset> {
    Subset::new(part, (0..part.len().min(most)).collect())
}

impl Afterwards<'_> {
    /// The figures of a part, of its first rows where all of them would take too long.
    pub(super) fn measure(&self, task: &Task, model: &Model, part: &dyn Dataset) -> Result<Measured> {
        match part.len() > self.rows {
            true => Measured::new(task, model, &first(part, self.rows)),
            false => Measured::new(task, model, part),
        }
    }
}
