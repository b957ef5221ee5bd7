//! Models that are fitted at once instead of descended to: no epochs, no checkpoints, and the same folder, figures and report.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{Dataset, Subset, folds};
use kiln_learn::metrics::History;
use kiln_learn::model::{About, Task};
use kiln_learn::prelude::Sequential;
use kiln_learn::trees::{self, TreeOptions};
use kiln_learn::{Interrupt, Model, Preparation};
use serde_json::{Map, Value, json};

use super::Before;
use super::outcome::{Course, Finished, finish, interrupted};
use super::refit;
use super::say::Say;
use super::time::TimeBudget;
use crate::folder::{CONFIG, Folder};
use crate::measure::Measured;
use crate::out::{self, counted};
use crate::settings::{DEFAULT_SEED, Seed, Settings};
use crate::source::{self, TrainingData};

/// What a model is fitted to.
pub(super) struct Fitting<'f> {
    pub train: &'f dyn Dataset,
    /// Rows that were held out by hand, by group or by time, and so can't be chosen anew.
    pub valid: Option<&'f dyn Dataset>,
    pub task: &'f Task,
    pub preparation: &'f Preparation,
    pub settings: &'f Settings,
    pub seed: u64,
    pub ends: Option<Instant>,
    pub interrupt: &'f (dyn Fn() -> bool + Sync),
}

/// A model that was fitted, and what there is to say of it.
pub(super) struct FittedModel {
    pub layers: Sequential,
    pub said: Vec<String>,
    /// What is kept in the model's file and in result.json.
    pub how: Map<String, Value>,
    /// Numbers by round, where it came about in rounds.
    pub history: History,
    pub was_stopped: bool,
}

/// Fits a model.
pub(super) type Method = fn(&Fitting) -> Result<FittedModel>;

/// Presets that are fitted.
const METHODS: &[(&str, Method)] = &[("trees", grown)];

/// How the settings' preset is fitted; nothing of one that is descended to.
pub(super) fn method(settings: &Settings) -> Option<Method> {
    let name = settings.preset.as_deref()?;
    METHODS.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
}

/// Settings of a training by descent.
const OF_DESCENT: [&str; 22] = [
    "layers",
    "from",
    "freeze",
    "lora",
    "head",
    "epochs",
    "batch-size",
    "lr",
    "optimizer",
    "schedule",
    "weight-decay",
    "label-smoothing",
    "clip",
    "accumulate",
    "ema",
    "sampling",
    "metric",
    "early-stop",
    "checkpoint-dir",
    "checkpoint-every",
    "keep",
    "tensorboard",
];

/// The share of a time limit that a fit may take; the rest is for figures and files.
const FITS: f64 = 0.7;

/// Fits as the settings say.
pub(super) fn run(
    mut settings: Settings,
    method: Method,
    (flags, before, resumed): (&Settings, Option<Before>, Option<Folder>),
    print_config: bool,
    budget: &TimeBudget,
    say: &Say,
) -> Result<ExitCode> {
    let name = settings.preset.clone().unwrap_or_default();
    settings.without(&format!("--preset {name}, which is fitted at once"), &OF_DESCENT)?;
    let seed = settings.seed.get_or_insert(Seed(DEFAULT_SEED)).0;
    let source = source::load(&settings, None)?;
    check(&settings, &source, &name)?;
    if let Some(before) = &before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        settings.only_as_before(flags, &before.settings, &allowed)?;
    }
    if print_config {
        out::text(settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = match resumed {
        Some(folder) if folder.at("result.json").exists() => {
            bail!(
                "{}: this run is over; {name} are fitted at once and have nothing to go on from",
                folder.path().display()
            )
        }
        Some(folder) => {
            say.line(&format!("{name} are fitted at once, and so from the start again"));
            folder
        }
        None => {
            let folder = Folder::new(settings.out.as_deref(), &source.name)?;
            folder.write(CONFIG, settings.to_toml())?;
            folder
        }
    };
    source.said.iter().for_each(|line| say.line(line));
    let signals = Interrupt::listen();
    let asked = || signals.asked().is_some();
    let fit = Fit { settings: &settings, source: &source, method, seed, budget, asked: &asked };
    say.event(json!({
        "event": "begin", "run": folder.path(), "preset": name, "seed": seed,
        "train_rows": source.train.len(), "val_rows": source.valid.len(), "test_rows": source.test.len(),
    }));
    if let Some(count) = settings.k_fold {
        fit.folds(count.0, say)?;
    }
    let refits = settings.refit == Some(true);
    let (first, mut course) = fit.model(&*source.train, if refits { 2 } else { 1 })?;
    let mut model = first;
    let mut before_refit = None;
    if refits && !asked() {
        model.save_as(&about(&source, &model, seed, &course), folder.at(refit::MODEL))?;
        let all = refit::rows(&source)?;
        let (again, own) = fit.model(&all, 1)?;
        course.elapsed += own.elapsed;
        course.said = own.said;
        course.training = own.training;
        before_refit = Some(std::mem::replace(&mut model, again));
    }
    course.said.iter().for_each(|line| say.line(line));
    if let Some(signal) = signals.asked() {
        return interrupted((seed, &source), &model, &folder, &course, (signal, true), say);
    }
    drop(signals);
    folder.write("metrics.jsonl", lines(&course.history))?;
    let afterwards = budget.afterwards(&source, &model)?;
    let finished = Finished {
        settings: &settings,
        seed,
        source: &source,
        model: &model,
        folder: &folder,
        course: &course,
        best: None,
        first: before_refit.as_ref(),
    };
    finish(&finished, budget, &afterwards, say)
}

/// Refuses data that no such model is for.
fn check(settings: &Settings, source: &TrainingData, name: &str) -> Result<()> {
    let is_table = source.preparation.table().is_some() && source.train.x().shape.len() == 1;
    if !is_table {
        bail!("{name} are for tables, and the data are none");
    }
    if settings.refit == Some(true) && source.valid.is_empty() {
        bail!("--refit trains on the validation rows too, and there are none");
    }
    match settings.class_weights.as_deref() {
        None | Some("none" | "balanced") => Ok(()),
        Some(other) => bail!("class weights are balanced or none, not {other}"),
    }
}

fn about(source: &TrainingData, model: &Model, seed: u64, course: &Course) -> About {
    let mut about = super::plan::about(seed, source, model);
    about.training.extend(course.training.clone());
    about
}

/// An object for each round.
fn lines(history: &History) -> String {
    let line = |round: usize| {
        let mut line = json!({ "epoch": round + 1 });
        for name in history.names() {
            line[name] = history.series(name).and_then(|series| series.get(round)).copied().into();
        }
        format!("{line}\n")
    };
    (0..history.len()).map(line).collect()
}

/// What all fits of a run share.
struct Fit<'f> {
    settings: &'f Settings,
    source: &'f TrainingData,
    method: Method,
    seed: u64,
    budget: &'f TimeBudget,
    asked: &'f (dyn Fn() -> bool + Sync),
}

impl Fit<'_> {
    /// The first of so many fits of like length, on these rows.
    fn model(&self, train: &dyn Dataset, of: usize) -> Result<(Model, Course)> {
        let began = Instant::now();
        // Rows of a group or of a time mustn't be held out by chance.
        let settings = self.settings;
        let is_chosen = settings.group.is_some() || settings.time.is_some() || settings.val.is_some();
        let valid = (is_chosen && !self.source.valid.is_empty()).then_some(&*self.source.valid);
        let ends = self.budget.limit.map(|limit| {
            let end = self.budget.began + limit.mul_f64(FITS);
            began + end.saturating_duration_since(began) / of as u32
        });
        let fitting = Fitting {
            train,
            valid: valid.filter(|_| train.len() == self.source.train.len()),
            task: &self.source.task,
            preparation: &self.source.preparation,
            settings,
            seed: self.seed,
            ends,
            interrupt: self.asked,
        };
        let FittedModel { layers, said, how, history, was_stopped } = (self.method)(&fitting)?;
        let mut about = About::new(&layers, &self.source.train.x(), self.source.task.clone())?;
        about.preparation = self.source.preparation.clone();
        let model = Model::new(layers, about);
        model.check().context("what was fitted")?;
        let mut training = how.clone();
        training.insert("rows".to_string(), train.len().into());
        let stopped = match (was_stopped, self.settings.time_limit) {
            (true, Some(limit)) => Some(format!("the time limit of {:?}", limit.0)),
            (true, None) => Some("interrupted".to_string()),
            (false, _) => None,
        };
        Ok((
            model,
            Course { training, how, said, history, elapsed: began.elapsed(), stopped, is_fitted: true },
        ))
    }

    /// Cross-validates, and says how much results vary.
    fn folds(&self, count: usize, say: &Say) -> Result<()> {
        let train = &*self.source.train;
        let labels = match train.y().codes().is_some() && train.y().width() == 1 {
            true => Some(train.labels()?),
            false => None,
        };
        let mut all: Vec<Vec<(String, f64)>> = Vec::new();
        for (at, (rows, held)) in
            folds(train.len(), labels.as_deref(), count, self.seed)?.into_iter().enumerate()
        {
            let (model, _) = self.model(&Subset::new(train, rows), count - at + 1)?;
            if (self.asked)() {
                return Ok(());
            }
            all.push(Measured::new(&self.source.task, &model, &Subset::new(train, held))?.numbers);
        }
        let names = all.first().map(|first| first.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        for (at, name) in names.unwrap_or_default().iter().enumerate() {
            let numbers: Vec<f64> = all.iter().filter_map(|fold| Some(fold.get(at)?.1)).collect();
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            let squares = numbers.iter().map(|number| (number - mean) * (number - mean)).sum::<f64>();
            let deviation = (squares / (numbers.len() as f64 - 1.0).max(1.0)).sqrt();
            say.line(&format!("{count} folds: {name} {mean:.4}, from fold to fold ± {deviation:.4}"));
            say.event(
                json!({ "event": "folds", "folds": count, name: { "mean": mean, "deviation": deviation } }),
            );
        }
        Ok(())
    }
}

/// Trees.
fn grown(fitting: &Fitting) -> Result<FittedModel> {
    let plan = fitting.preparation.table();
    let sizes = plan.map(|plan| plan.vocabularies().iter().map(|(_, words)| words.size()).collect());
    let options = TreeOptions {
        seed: fitting.seed,
        ends: fitting.ends,
        interrupt: Some(fitting.interrupt),
        valid: fitting.valid,
        codes: sizes.unwrap_or_default(),
        balanced: fitting.settings.class_weights.as_deref() == Some("balanced"),
        ..TreeOptions::default()
    };
    let forest = trees::fit(fitting.train, fitting.task, &options)?;
    let groups = plan.map(|plan| plan.groups()).unwrap_or_default();
    let mut gains: Vec<(String, f64)> =
        groups.into_iter().map(|(name, at)| (name, of(&forest.gains, at))).collect();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1));
    let rounds: Vec<usize> = forest.chosen.iter().flat_map(|choice| choice.rounds.clone()).collect();
    let most: Vec<String> =
        gains.iter().take(5).map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
    let said = vec![
        format!(
            "{}, {}; rounds {} in {}",
            counted(forest.trees, "tree"),
            counted(forest.nodes, "node"),
            rounds.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            counted(rounds.len(), "fold"),
        ),
        format!("gained by {}", most.join(", ")),
    ];
    let mut how = Map::new();
    how.insert("trees".to_string(), forest.trees.into());
    how.insert("nodes".to_string(), forest.nodes.into());
    how.insert("chosen".to_string(), serde_json::to_value(&forest.chosen)?);
    how.insert(
        "gains".to_string(),
        gains.into_iter().map(|(name, gain)| (name, json!(gain))).collect::<Map<_, _>>().into(),
    );
    Ok(FittedModel {
        layers: forest.layers,
        said,
        how,
        history: forest.history,
        was_stopped: forest.was_stopped,
    })
}

/// The share of some inputs.
fn of(gains: &[f64], at: Range<usize>) -> f64 {
    gains.get(at).map_or(0.0, |gains| gains.iter().sum())
}
