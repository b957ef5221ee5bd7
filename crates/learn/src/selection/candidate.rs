//! What may become a model of rows, and what it is told when it is fitted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use kiln_data::Dataset;
use kiln_nn::Sequential;
use serde_json::Value;

use super::journal::FitRecord;
use crate::Result;
use crate::trainer::{ClockNotes, TimeLimit};

/// A way to make a model of rows: a linear model, trees, a network.
pub trait Candidate {
    /// What it is called, once among others.
    fn name(&self) -> &str;

    /// A model of the rows of a job. It must follow from the job alone, from what [`Job::time_limit`] or [`Job::end`] said of
    /// time, and from what was found before.
    ///
    /// # Errors
    /// Where there is none; the others are tried all the same.
    fn fit(&self, job: &Job) -> Result<Sequential>;

    /// Whether the answer is fitted once more, to all rows. Otherwise it is the mean of the models of the folds, which saw all rows
    /// between them: what stops by the rows that are held out has none of these where it sees all.
    fn refits(&self) -> bool {
        false
    }
}

impl<C: Candidate + ?Sized> Candidate for Box<C> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn fit(&self, job: &Job) -> Result<Sequential> {
        (**self).fit(job)
    }

    fn refits(&self) -> bool {
        (**self).refits()
    }
}

/// One fit of a candidate.
pub struct Job<'j> {
    /// The rows to learn from.
    pub train: &'j dyn Dataset,
    /// Rows that are held out, to stop by; none where a model is fitted to all of them.
    pub valid: Option<&'j dyn Dataset>,
    /// Places of the rows to learn from, in the set that was given to the selection.
    pub rows: &'j [usize],
    /// Where randomness starts.
    pub seed: u64,
    pub(super) clock: JobClock,
    pub(super) notes: ClockNotes,
    /// What was found in this fit, before and now.
    pub(super) before: Option<Value>,
    pub(super) found: RefCell<Option<Value>>,
    /// Whether it was heard that the fit should end.
    pub(super) told: Cell<Option<i32>>,
}

/// What a job knows of time.
pub(super) enum JobClock {
    Free,
    Until(Instant, Duration),
    Repeat(FitRecord),
}

impl<'j> Job<'j> {
    /// Without a limit.
    pub fn new(train: &'j dyn Dataset, valid: Option<&'j dyn Dataset>, seed: u64) -> Job<'j> {
        let notes = Rc::new(RefCell::new(Vec::new()));
        let (before, found, told) = (None, RefCell::new(None), Cell::new(None));
        Job { train, valid, rows: &[], seed, clock: JobClock::Free, notes, before, found, told }
    }

    /// The limit as a callback of a [`Trainer`](crate::trainer::Trainer). What it decides is written down.
    pub fn time_limit(&self) -> Option<TimeLimit> {
        let limit = match &self.clock {
            JobClock::Free => return None,
            JobClock::Until(end, named) => TimeLimit::until(*end).named(*named),
            JobClock::Repeat(record) => TimeLimit::repeating(record.decided.clone()),
        };
        Some(limit.noting(&self.notes))
    }

    /// When it must be over, for what has no steps of a trainer. Whoever ends early because of it says by [`Job::find`] what makes the same again.
    pub fn end(&self) -> Option<Instant> {
        match &self.clock {
            JobClock::Until(end, _) => Some(*end),
            JobClock::Free | JobClock::Repeat(_) => None,
        }
    }

    /// Writes down what else makes the same model again: what was chosen, after how many rounds it ended.
    pub fn find(&self, found: Value) {
        self.found.replace(Some(found));
    }

    /// What was written down when this fit was done before.
    pub fn found(&self) -> Option<&Value> {
        self.before.as_ref()
    }

    /// Says that a signal ended the fit, which then counts for nothing.
    pub fn interrupted(&self, signal: i32) {
        self.told.set(Some(signal));
    }
}
