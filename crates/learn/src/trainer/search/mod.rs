//! Search for good hyper-parameters: trials one after the other, from a grid, at random, or by halves of which the better go on.
//! A journal on disk lets a search go on where it was; trials that fall behind are ended early.

mod journal;
mod ranking;
mod trial;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use kiln_data::Rng;

use crate::{Error, Result};
use journal::JournalEntry;
pub use ranking::{Outcome, Ranking};
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
    Halving { trials: usize, seed: u64, first: u64, factor: usize },
}

/// What a hyper-parameter may be.
#[derive(Clone, Debug)]
enum Choice {
    Of(Vec<Setting>),
    Uniform(f64, f64),
    Logarithmic(f64, f64),
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
        self.choose(name, Choice::Uniform(least, most))
    }

    /// A number between two whose size is what matters (a learning rate); not for a grid.
    pub fn magnitude(self, name: &str, least: f64, most: f64) -> Search {
        self.choose(name, Choice::Logarithmic(least, most))
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
        let mut outcomes = Vec::new();
        let (mut candidates, mut budget) = match self.strategy {
            Strategy::Halving { first, .. } => (self.drawn(), Some(first)),
            Strategy::Random { .. } => (self.drawn(), None),
            Strategy::Grid => (self.combinations(), None),
        };
        loop {
            let mut round = Vec::with_capacity(candidates.len());
            for settings in candidates {
                let next = Trial {
                    settings,
                    epochs: budget,
                    maximise: self.maximise,
                    curve: Rc::default(),
                    others: others.clone(),
                };
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
                round.push(outcome);
            }
            self.rank(&mut round);
            let Strategy::Halving { factor, .. } = self.strategy else {
                outcomes = round;
                break;
            };
            let stay = round.len() / factor;
            candidates = round.iter().take(stay).map(|outcome| outcome.trial.settings.clone()).collect();
            budget = budget.map(|epochs| epochs.saturating_mul(factor as u64));
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
        Ok(Ranking { outcomes })
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
                (Choice::Uniform(..) | Choice::Logarithmic(..), Strategy::Grid) => {
                    return mistake(format!(
                        "{name} is a range, which no grid goes through; list its values, or draw them"
                    ));
                }
                (Choice::Logarithmic(least, most), _) if !(*least > 0.0 && least < most) => {
                    return mistake(format!(
                        "{name} from {least} to {most}: it needs to start above 0 and end above that"
                    ));
                }
                (Choice::Uniform(least, most), _)
                    if least.partial_cmp(most) != Some(std::cmp::Ordering::Less) =>
                {
                    return mistake(format!("{name} from {least} to {most} is no range"));
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

    fn drawn(&self) -> Vec<Vec<(String, Setting)>> {
        let (trials, seed) = match self.strategy {
            Strategy::Random { trials, seed } | Strategy::Halving { trials, seed, .. } => (trials, seed),
            Strategy::Grid => (0, 0),
        };
        let draw = |number: usize| {
            let mut rng = Rng::new(seed).derive(number as u64);
            let mut one = |choice: &Choice| match choice {
                Choice::Of(settings) => settings[rng.below(settings.len())].clone(),
                Choice::Uniform(least, most) => Setting::Number(least + (most - least) * rng.uniform()),
                Choice::Logarithmic(least, most) => {
                    Setting::Number(libm::exp(libm::log(*least) + libm::log(most / least) * rng.uniform()))
                }
            };
            self.choices.iter().map(|(name, choice)| (name.clone(), one(choice))).collect()
        };
        (0..trials).map(draw).collect()
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
