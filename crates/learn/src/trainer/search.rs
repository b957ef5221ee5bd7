//! Search for good hyper-parameters: trials one after the other, from a grid, at random, or by halves of which the better go on.
//! A journal on disk lets a search go on where it was; trials that fall behind are ended early.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use kiln_data::Rng;
use serde_json::{Map, Value, json};

use super::callback::{Callback, Moment};
use super::progress::time;
use crate::{Error, Result};

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
    plan: Plan,
    choices: Vec<(String, Choice)>,
    maximise: bool,
    journal: Option<PathBuf>,
    verbose: bool,
}

#[derive(Clone, Copy, Debug)]
enum Plan {
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

/// The value of a hyper-parameter.
#[derive(Clone, Debug, PartialEq)]
enum Setting {
    Number(f64),
    Text(String),
}

/// One trial: its hyper-parameters, and how long it may train.
#[derive(Clone, Debug)]
pub struct Trial {
    settings: Vec<(String, Setting)>,
    epochs: Option<u64>,
    maximise: bool,
    curve: Rc<RefCell<Vec<f64>>>,
    others: Rc<RefCell<Vec<Vec<f64>>>>,
}

/// What became of a trial.
#[derive(Clone, Debug)]
pub struct Outcome {
    trial: Trial,
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
    outcomes: Vec<Outcome>,
}

impl Search {
    fn new(plan: Plan) -> Search {
        Search { plan, choices: Vec::new(), maximise: false, journal: None, verbose: false }
    }

    /// Every combination of the choices.
    pub fn grid() -> Search {
        Search::new(Plan::Grid)
    }

    /// So many combinations, drawn.
    pub fn random(trials: usize, seed: u64) -> Search {
        Search::new(Plan::Random { trials, seed })
    }

    /// So many combinations, drawn, of which each trains for `first` epochs; the best third then for three times as many, and so on
    /// until one is left. The closure asks [`Trial::epochs`].
    pub fn halving(trials: usize, seed: u64, first: u64) -> Search {
        Search::new(Plan::Halving { trials, seed, first: first.max(1), factor: 3 })
    }

    /// In a halving one in so many goes on, for so many times as long; 3 unless told otherwise.
    pub fn factor(mut self, by: usize) -> Search {
        if let Plan::Halving { factor, .. } = &mut self.plan {
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
        let (mut candidates, mut budget) = match self.plan {
            Plan::Halving { first, .. } => (self.drawn(), Some(first)),
            Plan::Random { .. } => (self.drawn(), None),
            Plan::Grid => (self.combinations(), None),
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
                    Some((score, seconds, failed, curve)) => {
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
            let Plan::Halving { factor, .. } = self.plan else {
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
            match (choice, self.plan) {
                (Choice::Of(settings), _) if settings.is_empty() => {
                    return mistake(format!("{name} has nothing to choose from"));
                }
                (Choice::Uniform(..) | Choice::Logarithmic(..), Plan::Grid) => {
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
        let (trials, seed) = match self.plan {
            Plan::Random { trials, seed } | Plan::Halving { trials, seed, .. } => (trials, seed),
            Plan::Grid => (0, 0),
        };
        let draw = |number: usize| {
            let mut rng = Rng::new(seed).derive(number as u64);
            let mut one = |choice: &Choice| match choice {
                Choice::Of(settings) => settings[rng.below(settings.len())].clone(),
                Choice::Uniform(least, most) => Setting::Number(least + (most - least) * rng.uniform()),
                Choice::Logarithmic(least, most) => {
                    Setting::Number((least.ln() + (most / least).ln() * rng.uniform()).exp())
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

    fn write_journal(&self, outcome: &Outcome) -> Result<()> {
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

    #[allow(clippy::type_complexity)]
    fn read_journal(&self) -> Result<BTreeMap<String, (f64, f64, Option<String>, Vec<f64>)>> {
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
            known.insert(trial.to_string(), (score, seconds, text("failed").map(str::to_string), curve));
        }
        Ok(known)
    }
}

/// A number as a text that reads back the same, also where JSON has no word for it.
fn exact(number: f64) -> String {
    number.to_string()
}

impl Trial {
    /// The number of this name. `NaN` of a name that was never chosen for, or is a word's.
    pub fn number(&self, name: &str) -> f64 {
        match self.setting(name) {
            Some(Setting::Number(number)) => *number,
            _ => f64::NAN,
        }
    }

    /// The word of this name; nothing of a name that was never chosen for.
    pub fn word(&self, name: &str) -> &str {
        match self.setting(name) {
            Some(Setting::Text(word)) => word,
            _ => "",
        }
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, setting)| setting)
    }

    /// How many epochs a halving gives it; `otherwise` in other searches.
    pub fn epochs(&self, otherwise: u64) -> u64 {
        self.epochs.unwrap_or(otherwise)
    }

    /// A callback that ends the trial when a number of an epoch (`val_loss`) is worse than the median of the earlier trials in the
    /// same epoch. The first three trials, and the first epochs, are left alone.
    pub fn prune(&self, number: &str) -> impl Callback + use<> {
        Pruning { trial: self.clone(), number: number.to_string() }
    }

    fn about(&self) -> Map<String, Value> {
        let value = |setting: &Setting| match setting {
            Setting::Number(number) => (*number).into(),
            Setting::Text(text) => text.as_str().into(),
        };
        self.settings.iter().map(|(name, setting)| (name.clone(), value(setting))).collect()
    }

    /// What tells it from other trials.
    fn key(&self) -> String {
        let parts = self.settings.iter().map(|(name, setting)| format!("{name}={setting}"));
        let epochs = self.epochs.map(|epochs| format!("epochs={epochs}"));
        parts.chain(epochs).collect::<Vec<_>>().join(" ")
    }
}

/// See [`Trial::prune`].
struct Pruning {
    trial: Trial,
    number: String,
}

const LEFT_ALONE: usize = 3;

impl Callback for Pruning {
    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        let Some(number) = at.number(&self.number) else {
            return Err(super::monitor::no_such_number(&self.number, at.numbers));
        };
        let epoch = self.trial.curve.borrow().len();
        self.trial.curve.borrow_mut().push(number);
        let others = self.trial.others.borrow();
        let mut same: Vec<f64> = others.iter().filter_map(|curve| curve.get(epoch).copied()).collect();
        if same.len() < LEFT_ALONE || epoch == 0 || at.is_last() {
            return Ok(());
        }
        same.sort_by(f64::total_cmp);
        let median = same[same.len() / 2];
        let worse = if self.trial.maximise { number < median } else { number > median };
        if worse || number.is_nan() {
            at.stop(format!("pruned: {} {number:.4} is worse than the median {median:.4}", self.number));
        }
        Ok(())
    }
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

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Number(number) => write!(f, "{number}"),
            Setting::Text(text) => f.write_str(text),
        }
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
