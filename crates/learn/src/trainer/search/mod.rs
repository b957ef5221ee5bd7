//! Search for good hyper-parameters: trials one after the other, from a grid, at random, where others were good, or by halves of which the better
//! go on.
//! A journal on disk lets a search go on where it was; trials that fall behind are ended early.

mod journal;
mod ranking;
mod space;
mod trial;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use kiln_data::Rng;
use serde_json::{Map, Value};
use space::{Choice, TrialSettings, drawn, estimated};

use crate::{Error, Result};
use journal::JournalEntry;
pub use ranking::{Outcome, Ranking};
pub use space::Range;
use trial::Setting;
pub use trial::Trial;

/// A search over hyper-parameters.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::trainer::search::Search;
///
/// let (train, valid) = data::moons(200, 0.1, 1).split(0.7);
/// let ranking = Search::grid()
///     .numbers("rate", [0.0001, 0.03])
///     .numbers("neurons", [4.0, 16.0])
///     .run(|trial| {
///         let model = Sequential::new().dense(trial.number("neurons") as usize).relu().dense(2);
///         let trainer = Trainer::new(model, CrossEntropy::new(), Adam::new(trial.number("rate")));
///         let run = trainer.epochs(20).quiet().fit(&train)?;
///         Ok(run.evaluate(&valid)?.number("loss").unwrap_or(f64::NAN))
///     })?;
/// println!("{ranking}");
/// assert_eq!(ranking.best().unwrap().number("rate"), 0.03);
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    strategy: Strategy,
    choices: Vec<(String, Choice)>,
    maximise: bool,
    journal: Option<PathBuf>,
    verbose: bool,
}

#[derive(Clone, Copy, Debug)]
enum Strategy {
    Grid,
    Random { trials: usize, seed: u64 },
    Estimated { trials: usize, seed: u64 },
    Halving { trials: usize, seed: u64, first: u64, factor: usize },
}

impl Search {
    fn new(strategy: Strategy) -> Search {
        Search { strategy, choices: Vec::new(), maximise: false, journal: None, verbose: false }
    }

    /// Every combination of the choices.
    pub fn grid() -> Search {
        Search::new(Strategy::Grid)
    }

    /// So many combinations, drawn.
    pub fn random(trials: usize, seed: u64) -> Search {
        Search::new(Strategy::Random { trials, seed })
    }

    /// So many combinations: a few drawn at random, each other where the good ones before it lie more densely than the bad (tree-structured
    /// Parzen estimators).
    pub fn estimated(trials: usize, seed: u64) -> Search {
        Search::new(Strategy::Estimated { trials, seed })
    }

    /// So many combinations, drawn, of which each trains for `first` epochs; the best third then for three times as many, and so on
    /// until one is left. The closure asks [`Trial::epochs`].
    pub fn halving(trials: usize, seed: u64, first: u64) -> Search {
        Search::new(Strategy::Halving { trials, seed, first: first.max(1), factor: 3 })
    }

    /// In a halving one in so many goes on, for so many times as long; 3 unless told otherwise.
    pub fn factor(mut self, by: usize) -> Search {
        if let Strategy::Halving { factor, .. } = &mut self.strategy {
            *factor = by.max(2);
        }
        self
    }

    fn choose(mut self, name: &str, choice: Choice) -> Search {
        self.choices.push((name.to_string(), choice));
        self
    }

    /// One of these numbers.
    pub fn numbers(self, name: &str, numbers: impl IntoIterator<Item = f64>) -> Search {
        self.choose(name, Choice::Of(numbers.into_iter().map(Setting::Number).collect()))
    }

    /// One of these words.
    pub fn words<'w>(self, name: &str, words: impl IntoIterator<Item = &'w str>) -> Search {
        self.choose(name, Choice::Of(words.into_iter().map(|word| Setting::Text(word.to_string())).collect()))
    }

    /// A number between two; not for a grid.
    pub fn between(self, name: &str, least: f64, most: f64) -> Search {
        self.range(name, Range::new(least, most))
    }

    /// A number between two whose size is what matters (a learning rate); not for a grid.
    pub fn magnitude(self, name: &str, least: f64, most: f64) -> Search {
        self.range(name, Range::new(least, most).logarithmic())
    }

    /// A number of a range; not for a grid.
    pub fn range(self, name: &str, range: Range) -> Search {
        self.choose(name, Choice::Range(range))
    }

    /// More is better. Otherwise less is, as of a loss.
    pub fn maximise(self) -> Search {
        Search { maximise: true, ..self }
    }

    /// Writes each trial to this file as it ends. Trials that are in it already aren't run again.
    pub fn journal(self, path: impl Into<PathBuf>) -> Search {
        Search { journal: Some(path.into()), ..self }
    }

    /// Prints each trial as it ends, to stderr.
    pub fn verbose(self) -> Search {
        Search { verbose: true, ..self }
    }

    /// Runs the trials. A trial that fails is ranked last, with its error; the search goes on.
    ///
    /// # Errors
    /// Where there is nothing to choose from, or the journal can't be read or written.
    pub fn run(&self, mut trial: impl FnMut(&Trial) -> Result<f64>) -> Result<Ranking> {
        self.check()?;
        let mut known = self.read_journal()?;
        let others = Rc::new(RefCell::new(Vec::new()));
        let mut run = |settings: TrialSettings, epochs: Option<u64>| -> Result<Outcome> {
            let (maximise, curve) = (self.maximise, Rc::default());
            let next = Trial { settings, epochs, maximise, curve, others: others.clone() };
            let outcome = match known.remove(&next.key()) {
                Some(JournalEntry { score, seconds, failed, curve }) => {
                    next.curve.replace(curve);
                    Outcome { trial: next, score, seconds, failed }
                }
                None => {
                    let began = Instant::now();
                    let result = trial(&next);
                    let seconds = began.elapsed().as_secs_f64();
                    let (score, failed) = match result {
                        Ok(score) => (score, None),
                        Err(error) => (f64::NAN, Some(error.to_string())),
                    };
                    let outcome = Outcome { trial: next, score, seconds, failed };
                    self.write_journal(&outcome)?;
                    outcome
                }
            };
            if self.verbose {
                crate::note::note(&outcome);
            }
            others.borrow_mut().push(outcome.trial.curve.borrow().clone());
            Ok(outcome)
        };
        let mut outcomes = Vec::new();
        match self.strategy {
            Strategy::Grid | Strategy::Random { .. } | Strategy::Estimated { .. } => {
                let mut seen: Vec<(TrialSettings, f64)> = Vec::new();
                while let Some(settings) = self.next(seen.len(), &seen) {
                    let outcome = run(settings.clone(), None)?;
                    seen.push((settings, outcome.score));
                    outcomes.push(outcome);
                }
                self.rank(&mut outcomes);
            }
            Strategy::Halving { trials, first, factor, .. } => {
                let mut candidates: Vec<TrialSettings> =
                    (0..trials).map(|number| self.drawn(number)).collect();
                let mut budget = first;
                loop {
                    let each = candidates.into_iter().map(|settings| run(settings, Some(budget)));
                    let mut round = each.collect::<Result<Vec<_>>>()?;
                    self.rank(&mut round);
                    let stay = round.len() / factor;
                    candidates =
                        round.iter().take(stay).map(|outcome| outcome.trial.settings.clone()).collect();
                    budget = budget.saturating_mul(factor as u64);
                    // Those that trained longest come first in the end; the same trials with fewer epochs aren't listed again.
                    let last = candidates.is_empty();
                    round.drain(..if last { 0 } else { stay });
                    round.append(&mut outcomes);
                    outcomes = round;
                    if last {
                        break;
                    }
                    others.borrow_mut().clear();
                }
            }
        }
        Ok(Ranking { outcomes })
    }

    /// The settings of a trial for whoever runs trials himself, several at once or elsewhere: of the trial of this number, when these came to
    /// these scores so far. Nothing when there are no more; of a halving those of its first round.
    ///
    /// ```
    /// use kiln::trainer::search::{Range, Search};
    ///
    /// let search = Search::estimated(20, 7).range("x", Range::new(-5.0, 5.0));
    /// let mut told = Vec::new();
    /// while let Some(settings) = search.ask(told.len(), &told)? {
    ///     let x = settings["x"].as_f64().unwrap();
    ///     told.push((settings, (x - 1.0).powi(2)));
    /// }
    /// assert!(told.iter().any(|(_, score)| *score < 0.1));
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Search::run`].
    pub fn ask(
        &self,
        number: usize,
        told: &[(Map<String, Value>, f64)],
    ) -> Result<Option<Map<String, Value>>> {
        self.check()?;
        let seen = told.iter().map(|(settings, score)| (trial::of_map(settings), *score));
        let seen: Vec<(TrialSettings, f64)> = seen.collect();
        Ok(self.next(number, &seen).map(|settings| trial::as_map(&settings)))
    }

    fn next(&self, number: usize, seen: &[(TrialSettings, f64)]) -> Option<TrialSettings> {
        match self.strategy {
            Strategy::Grid => self.combinations().into_iter().nth(number),
            Strategy::Random { trials, .. } | Strategy::Halving { trials, .. } => {
                (number < trials).then(|| self.drawn(number))
            }
            Strategy::Estimated { trials, seed } => (number < trials).then(|| {
                let sign = if self.maximise { -1.0 } else { 1.0 };
                let seen: Vec<(TrialSettings, f64)> =
                    seen.iter().map(|(settings, score)| (settings.clone(), sign * score)).collect();
                estimated(&self.choices, &seen, &mut Rng::new(seed).derive(number as u64))
            }),
        }
    }

    fn check(&self) -> Result<()> {
        let mistake = |message: String| Err(Error::Training(message));
        if self.choices.is_empty() {
            return mistake(
                "a search needs something to choose: Search::numbers, words, between or magnitude"
                    .to_string(),
            );
        }
        for (name, choice) in &self.choices {
            match (choice, self.strategy) {
                (Choice::Of(settings), _) if settings.is_empty() => {
                    return mistake(format!("{name} has nothing to choose from"));
                }
                (Choice::Range(_), Strategy::Grid) => {
                    return mistake(format!(
                        "{name} is a range, which no grid goes through; list its values, or draw them"
                    ));
                }
                (Choice::Range(range), _) => {
                    if let Some(wrong) = range.mistake() {
                        return mistake(format!("{name} {wrong}"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn combinations(&self) -> Vec<Vec<(String, Setting)>> {
        let mut all = vec![Vec::new()];
        for (name, choice) in &self.choices {
            let Choice::Of(settings) = choice else { continue };
            let with = |before: &Vec<(String, Setting)>, setting: &Setting| {
                before.iter().cloned().chain([(name.clone(), setting.clone())]).collect()
            };
            all = all
                .iter()
                .flat_map(|before| settings.iter().map(move |setting| with(before, setting)))
                .collect();
        }
        all
    }

    /// The settings of a trial that is drawn at random.
    fn drawn(&self, number: usize) -> TrialSettings {
        let seed = match self.strategy {
            Strategy::Random { seed, .. }
            | Strategy::Halving { seed, .. }
            | Strategy::Estimated { seed, .. } => seed,
            Strategy::Grid => 0,
        };
        drawn(&self.choices, &mut Rng::new(seed).derive(number as u64))
    }

    /// The best first; those without a score last.
    fn rank(&self, outcomes: &mut [Outcome]) {
        outcomes.sort_by(|a, b| match (a.score.is_nan(), b.score.is_nan()) {
            (false, false) if self.maximise => b.score.total_cmp(&a.score),
            (false, false) => a.score.total_cmp(&b.score),
            (a, b) => a.cmp(&b),
        });
    }
}
