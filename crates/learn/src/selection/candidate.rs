//! What may become a model of rows, and what it is told when it is fitted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use kiln_data::Dataset;
use kiln_nn::Sequential;

use crate::Result;
use crate::trainer::{ClockNotes, Decided, TimeLimit};

/// A way to make a model of rows: a linear model, trees, a network.
pub trait Candidate {
    /// What it is called, once among others.
    fn name(&self) -> &str;

    /// A model of the rows of a job. It must follow from the job alone, and from what [`Job::time_limit`] or [`Job::end`] said of time.
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
    /// Whether it was heard that the fit should end.
    pub(super) told: Cell<Option<i32>>,
}

/// What a job knows of time.
pub(super) enum JobClock {
    Free,
    Until(Instant, Duration),
    Repeat(Vec<Decided>),
}

impl<'j> Job<'j> {
    /// Without a limit.
    pub fn new(train: &'j dyn Dataset, valid: Option<&'j dyn Dataset>, seed: u64) -> Job<'j> {
        let notes = Rc::new(RefCell::new(Vec::new()));
        Job { train, valid, rows: &[], seed, clock: JobClock::Free, notes, told: Cell::new(None) }
    }

    /// The limit as a callback of a [`Trainer`](crate::trainer::Trainer). What it decides is written down.
    pub fn time_limit(&self) -> Option<TimeLimit> {
        let limit = match &self.clock {
            JobClock::Free => return None,
            JobClock::Until(end, named) => TimeLimit::until(*end).named(*named),
            JobClock::Repeat(decided) => TimeLimit::repeating(decided.clone()),
        };
        Some(limit.noting(&self.notes))
    }

    /// When it must be over, for what has no steps of a trainer. Whoever ends early because of it says so by [`Job::decide`].
    pub fn end(&self) -> Option<Instant> {
        match &self.clock {
            JobClock::Until(end, _) => Some(*end),
            JobClock::Free | JobClock::Repeat(_) => None,
        }
    }

    /// After how many steps (rounds, trees) a clock ended this fit before; whoever has steps of his own ends there again.
    pub fn ended(&self) -> Option<u64> {
        match &self.clock {
            JobClock::Repeat(decided) => decided.iter().find(|one| one.steps.is_none()).map(|one| one.step),
            JobClock::Free | JobClock::Until(..) => None,
        }
    }

    /// Writes down that time was over after so many steps.
    pub fn decide(&self, step: u64) {
        self.notes.borrow_mut().push(Decided { step, steps: None });
    }

    /// Says that a signal ended the fit, which then counts for nothing.
    pub fn interrupted(&self, signal: i32) {
        self.told.set(Some(signal));
    }
}
