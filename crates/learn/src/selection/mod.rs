//! Which model of rows is the best, by evidence: candidates fitted to the same folds, compared on rows that they didn't learn from, and
//! averaged where that wins by more than noise. What comes out is one row of layers.
//!
//! A time limit makes the result depend on how fast the machine is. What it decided is in the records of a selection ([`Selected::records`]),
//! and [`Selection::repeat`] decides the same again, bit for bit.

mod attempt;
mod board;
mod candidate;
mod clock;
mod fits;
mod journal;
mod score;
#[cfg(test)]
mod tests;
mod weights;

use std::path::PathBuf;
use std::time::Duration;

use kiln_data::Dataset;
use kiln_nn::Sequential;
use serde_json::json;

pub use board::{Leaderboard, Standing};
pub use candidate::{Candidate, Job};
use fits::Fits;
use journal::FitJournal;
pub use journal::FitRecord;
pub use score::{SelectionScore, TaskScore, blended};

use crate::model::Task;
use crate::{Error, Result};

/// The rows that are learned from, and those that are held out.
pub type FoldRows = (Vec<usize>, Vec<usize>);

/// What a selection tells as it goes on.
#[derive(Clone, Copy, Debug)]
pub enum SelectionProgress<'p> {
    /// A fit begins: whose, and to which fold of how many; to none where all rows are seen.
    Begins(&'p str, Option<usize>, usize),
    /// A fit is over, with what it came to on the rows that were held out.
    Ends(&'p FitRecord, Option<f64>),
    /// No more folds are begun, for lack of time: so many of so many were.
    Enough(usize, usize),
}

/// A selection among candidates.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::model::Task;
/// use kiln::selection::{Candidate, Job, Selection};
///
/// /// A network of this many neurons.
/// struct Network(&'static str, usize);
///
/// impl Candidate for Network {
///     fn name(&self) -> &str { self.0 }
///
///     fn fit(&self, job: &Job) -> kiln::Result<Sequential> {
///         let model = Sequential::new().seed(job.seed).dense(self.1).relu().dense(2);
///         let mut trainer = Trainer::new(model, CrossEntropy::new(), Adam::new(0.02)).epochs(20).seed(job.seed).quiet();
///         if let Some(limit) = job.time_limit() {
///             trainer = trainer.callback(limit);
///         }
///         Ok(trainer.fit(&job.train)?.into_model())
///     }
/// }
///
/// let set = data::moons(150, 0.2, 1).named(["upper", "lower"]);
/// let selected = Selection::new(Task::of(&set))
///     .candidate(Network("narrow", 1))
///     .candidate(Network("wide", 16))
///     .folds(data::folds(set.len(), Some(&set.labels()?), 3, 7)?)
///     .run(&set)?;
/// println!("{}", selected.board);
/// assert_eq!(selected.board.standings.last().unwrap().name, "narrow");
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct Selection<'s> {
    candidates: Vec<Box<dyn Candidate + 's>>,
    task: Task,
    folds: Vec<FoldRows>,
    is_ordered: bool,
    seed: u64,
    limit: Option<Duration>,
    figure: Option<DecidingFigure<'s>>,
    journal: Option<PathBuf>,
    repeated: Option<Vec<FitRecord>>,
    watch: Option<WatchSelection<'s>>,
}

/// Who is told how far a selection is.
pub(super) type WatchSelection<'s> = Box<dyn FnMut(SelectionProgress) + 's>;

/// What decides instead of the loss.
struct DecidingFigure<'s> {
    name: String,
    larger_is_better: bool,
    score: Box<dyn SelectionScore + 's>,
}

/// Rows that were held out, and the outputs `[rows, outputs]` of models that didn't learn from them.
#[derive(Clone, Debug, Default)]
pub struct HeldOut {
    /// The rows' numbers.
    pub rows: Vec<usize>,
    /// The outputs.
    pub outputs: Vec<f32>,
}

/// What came of a selection.
pub struct Selected {
    /// The answer.
    pub layers: Sequential,
    /// What came of each candidate.
    pub board: Leaderboard,
    /// What such an answer says of rows that were held out.
    pub held: HeldOut,
    /// How the answer came about, a line each.
    pub said: Vec<String>,
    /// All fits in their order, with what a clock decided in them.
    pub records: Vec<FitRecord>,
    /// The signal that ended the selection before its time, if one did; the answer is the best by then.
    pub interrupted: Option<i32>,
}

impl<'s> Selection<'s> {
    /// Of models for a task, by its loss.
    pub fn new(task: Task) -> Selection<'s> {
        Selection {
            candidates: Vec::new(),
            task,
            folds: Vec::new(),
            is_ordered: false,
            seed: 7,
            limit: None,
            figure: None,
            journal: None,
            repeated: None,
            watch: None,
        }
    }

    /// One more to choose from. The first comes first where time is short.
    pub fn candidate(mut self, candidate: impl Candidate + 's) -> Self {
        self.candidates.push(Box::new(candidate));
        self
    }

    /// The folds, each the rows to learn from and those that are held out; a single one holds out once.
    pub fn folds(self, folds: Vec<FoldRows>) -> Self {
        Selection { folds, ..self }
    }

    /// Whether each fold comes later than the one before, so that only models of the last one are of today.
    pub fn ordered(self, is_ordered: bool) -> Self {
        Selection { is_ordered, ..self }
    }

    /// Where randomness starts; 7 unless told otherwise.
    pub fn seed(self, seed: u64) -> Self {
        Selection { seed, ..self }
    }

    /// So long at most, about: the first fold of every candidate is cut to fit, further folds are begun while they fit.
    pub fn limit(self, limit: Option<Duration>) -> Self {
        Selection { limit, ..self }
    }

    /// What decides instead of the loss, by its name. Of one of which more is better `score` gives the negative.
    pub fn decided_by(self, name: &str, larger_is_better: bool, score: impl SelectionScore + 's) -> Self {
        let figure = DecidingFigure { name: name.to_string(), larger_is_better, score: Box::new(score) };
        Selection { figure: Some(figure), ..self }
    }

    /// Keeps each fit in this folder as it ends. What is kept there isn't fitted again.
    pub fn journal(self, folder: impl Into<PathBuf>) -> Self {
        Selection { journal: Some(folder.into()), ..self }
    }

    /// Does what was done before, fit by fit, and looks at no clock.
    pub fn repeat(self, records: Vec<FitRecord>) -> Self {
        Selection { repeated: Some(records), ..self }
    }

    /// Calls this as fits begin and end.
    pub fn watch(self, watch: impl FnMut(SelectionProgress) + 's) -> Self {
        Selection { watch: Some(Box::new(watch)), ..self }
    }

    /// Fits, compares, and puts the answer together. With the feature `terminal` a signal that asks for the end (Ctrl-C) ends the fit under way,
    /// and the answer is the best by then.
    ///
    /// # Errors
    /// Where no candidate comes to a model, a row can't be read, or the journal can't be written or is of another selection.
    pub fn run(mut self, rows: &dyn Dataset) -> Result<Selected> {
        let mistake = |message: &str| Err(Error::Training(message.to_string()));
        if self.candidates.is_empty() || self.folds.is_empty() {
            return mistake("a selection needs candidates and folds: Selection::candidate, Selection::folds");
        }
        let mut names: Vec<&str> = self.candidates.iter().map(|candidate| candidate.name()).collect();
        let about = json!({ "seed": self.seed, "folds": self.folds.len(), "candidates": names });
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return mistake("two candidates of a selection have the same name");
        }
        if self.folds.iter().any(|(train, held)| train.is_empty() || held.is_empty()) {
            return mistake("a fold has no rows to learn from, or none to be judged on");
        }
        let journal = match &self.journal {
            Some(folder) => Some(FitJournal::open(folder, rows, &about)?),
            None => None,
        };
        let watch = self.watch.take();
        Fits::new(&self, rows, journal, watch)?.run()
    }
}
