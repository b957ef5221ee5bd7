//! Tables, where nobody says which model: linear models, trees and networks on the same folds, the best of them or their blend, and all that the
//! folder of a run has.

mod candidates;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kiln_learn::Interrupt;
use kiln_learn::metrics::History;
use kiln_learn::prelude::*;
use kiln_learn::selection::{FitRecord, FoldRows, Selected, Selection, SelectionProgress};
use serde_json::{Map, Value, json};

use super::calibration;
use super::chosen::Decider;
use super::evidence::{self, SelectionEvidence};
use super::fitted::model_of;
use super::outcome::{Finished, TrainingResult, finish};
use super::plan::environment;
use super::say::Say;
use super::threshold::Threshold;
use super::time::TimeBudget;
use super::{Before, refit};
use crate::folder::{CONFIG, Folder};
use crate::out::{self, counted};
use crate::report::Shows;
use crate::settings::{DEFAULT_SEED, Seconds, Seed, Settings};
use crate::source::TrainingData;

/// Where a run's folder keeps its fits.
pub(super) const FITS: &str = "candidates";

/// Fewer rows than this don't tell which of several models is the best.
pub const ROWS: usize = 50;

/// In how many folds rows are cut.
const FOLDS: usize = 5;

/// Why models aren't chosen among, where they could be; nothing where they are.
pub fn why_not(settings: &Settings, rows: usize) -> Option<String> {
    if let Some(name) = settings.one_model() {
        let of_itself = ["quick", "preset", "layers", "from"].contains(&name);
        return (!of_itself).then(|| format!("--{name} is of one model, and no others are tried beside it"));
    }
    let few =
        || format!("{} don't tell which model is the best: one network is trained", counted(rows, "row"));
    (rows < ROWS).then(few)
}

/// Whether models are chosen among: of a table in memory, where nothing says which.
pub(super) fn is_asked(settings: &Settings, source: &TrainingData) -> bool {
    let rows = rows_cut(settings, source);
    matches!(source.shows, Shows::Table { .. }) && settings.one_model().is_none() && rows >= ROWS
}

/// How many rows there were before some were held out.
fn rows_cut(settings: &Settings, source: &TrainingData) -> usize {
    let own = |file: bool, part: &dyn Dataset| if file { 0 } else { part.len() };
    source.train.len()
        + own(settings.val.is_some(), &*source.valid)
        + own(settings.test.is_some(), &*source.test)
}

/// A run that chose among models, by its folder.
pub(super) fn was_here(folder: &Path) -> bool {
    folder.join(FITS).is_dir()
}

/// The settings of a run and what its clock decided, from its `result.json`.
pub(super) fn repeated(path: &Path) -> Result<(Settings, Repeated)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let read = || -> Result<(Settings, Repeated)> {
        let result: Value = serde_json::from_str(&text)?;
        let settings = result.get("settings").and_then(Value::as_str);
        let fits = result.get("fits").cloned();
        let (Some(settings), Some(fits)) = (settings, fits) else {
            bail!("this run chose among no models; the same settings repeat it (config.toml beside it)");
        };
        let records: Vec<FitRecord> = serde_json::from_value(fits)?;
        let measured = result.get("measured_rows").and_then(Value::as_u64);
        let measured = measured.map_or(usize::MAX, |rows| rows as usize);
        Ok((Settings::from_toml(settings)?, Repeated { records, measured }))
    };
    read().with_context(|| path.display().to_string())
}

/// What was decided before.
pub(super) struct Repeated {
    pub(super) records: Vec<FitRecord>,
    /// How many rows of each part its figures are of.
    measured: usize,
}

/// A sensible limit: about the root of how many numbers there are, from a quarter of a minute to ten.
fn limit_for(rows: usize, width: usize) -> Duration {
    let numbers = (rows * width.max(1)) as f64;
    let seconds = 15.0 * (numbers / 10_000.0).sqrt();
    // A round number is what people remember.
    let step = if seconds < 60.0 { 5.0 } else { 30.0 };
    Duration::from_secs_f64(((seconds / step).round() * step).clamp(15.0, 600.0))
}

/// The share of a limit that is for fits; figures, importances and the report come behind them.
const FITTED: f64 = 0.85;

/// Chooses, evaluates and writes what a run's folder has.
pub(super) fn run(
    mut settings: Settings,
    source: &TrainingData,
    (flags, before, resumed, repeated): (&Settings, Option<&Before>, Option<Folder>, Option<Repeated>),
    print_config: bool,
    budget: &TimeBudget,
    say: &Say,
) -> Result<ExitCode> {
    let seed = settings.seed.get_or_insert(Seed(DEFAULT_SEED)).0;
    let all = refit::rows(source)?;
    let is_default = settings.time_limit.is_none();
    let limit = settings.time_limit.get_or_insert(Seconds(limit_for(all.len(), all.x().width()))).0;
    let decider = Decider::of(settings.metric.as_deref(), &source.task)?;
    Threshold::of(&settings, &source.task, true)?;
    let folds = folds(source, seed)?;
    let held = folds.iter().map(|(_, held)| held.len()).sum();
    calibration::options(&settings, &source.task, held, true)?;
    if let Some(before) = before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        settings.only_as_before(flags, &before.settings, &allowed)?;
    }
    if print_config {
        out::text(settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    source.said.iter().for_each(|line| say.line(line));
    let folder = match resumed {
        Some(folder) => folder,
        None => Folder::new(settings.out.as_deref(), &source.name)?,
    };
    // First, for it tells a run that chooses from others.
    folder.make(FITS)?;
    folder.write(CONFIG, settings.to_toml())?;
    folder.write("environment.json", format!("{:#}\n", environment(seed)))?;
    let mut selection = Selection::new(source.task.clone())
        .folds(folds)
        .ordered(settings.time.is_some())
        .seed(seed)
        .limit(Some(limit.mul_f64(FITTED).saturating_sub(budget.began.elapsed())))
        .journal(folder.at(FITS))
        .watch(|progress| told(say, progress));
    if let Decider::Figure(figure) = &decider {
        let larger = figure.larger_is_better();
        selection = selection.decided_by(figure.name(), larger, evidence::score_of(figure, &all)?);
    }
    let (named, candidates) = candidates::all(&settings, source)?;
    say.line(&begins(&named, limit, is_default, repeated.is_some()));
    say.event(json!({
        "event": "begin", "run": folder.path(), "candidates": named, "time_limit": limit.as_secs_f64(), "seed": seed,
        "train_rows": source.train.len(), "val_rows": source.valid.len(), "test_rows": source.test.len(),
    }));
    for candidate in candidates {
        selection = selection.candidate(candidate);
    }
    let measured = repeated.as_ref().map(|repeated| repeated.measured);
    if let Some(repeated) = repeated {
        selection = selection.repeat(repeated.records);
    }
    let began = Instant::now();
    let signals = Interrupt::listen();
    let selected = match (selection.run(&all), signals.asked()) {
        (Err(_), Some(signal)) => {
            out::note(format!(
                "interrupted before any model was fitted. Go on with: {}",
                folder.resume_hint()
            ));
            return Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)));
        }
        (selected, _) => selected?,
    };
    let Selected { layers, board, held, said, records, interrupted } = selected;
    // Also where it came between two fits.
    let interrupted = interrupted.or(signals.asked());
    drop(signals);
    let elapsed = began.elapsed();
    let model = model_of(source, layers)?;
    say.line(&format!("\n{board}"));
    said.iter().for_each(|line| say.line(line));
    if let Some(signal) = interrupted {
        let mut about = super::plan::about(seed, source, &model);
        about.training.insert("interrupted".to_string(), true.into());
        folder.check()?;
        model.save_as(&about, folder.at("model.kiln"))?;
        let hint = folder.resume_hint();
        match say.json {
            true => say.event(json!({
                "event": "interrupted", "run": folder.path(), "signal": signal, "leaderboard": board, "resume": hint,
            })),
            false => out::note(format!("interrupted; the best by now is model.kiln. Go on with: {hint}")),
        }
        return Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)));
    }
    say.event(json!({ "event": "leaderboard", "leaderboard": board }));
    let mut afterwards = TimeBudget { began: budget.began, limit: Some(limit) }.afterwards(source, &model)?;
    afterwards.rows = measured.unwrap_or(afterwards.rows);
    let shares = board.standings.iter().filter(|standing| standing.share > 0.0);
    let shares = shares.map(|standing| (standing.name.clone(), standing.share.into()));
    let training = [
        ("rows".to_string(), all.len().into()),
        ("models".to_string(), Value::Object(shares.collect::<Map<_, _>>())),
    ];
    let trained = TrainingResult {
        training: Map::from_iter(training),
        how: Map::new(),
        history: History::default(),
        elapsed,
        stopped: None,
        said,
        refit_rows: None,
        evidence: Some(SelectionEvidence { board, held, records }),
    };
    let finished = Finished {
        settings: &settings,
        seed,
        source,
        model: &model,
        folder: &folder,
        trained,
        best: None,
        first: None,
    };
    let budget = TimeBudget { began: budget.began, limit: Some(limit.max(budget.began.elapsed() + LEAST)) };
    finish(&finished, &budget, &afterwards, say)
}

/// What importances and the report may take in any case.
const LEAST: Duration = Duration::from_secs(2);

/// What is tried, and for how long.
fn begins(named: &[&str], limit: Duration, is_default: bool, is_repeated: bool) -> String {
    let tried = named.join(", ");
    match (is_repeated, is_default) {
        (true, _) => format!("fitting {tried} once more, as was decided before"),
        (_, true) => format!(
            "trying {tried} for {limit:?} at most, which suits such a table; --time-limit says another time, --quick trains one network at once"
        ),
        (_, false) => format!("trying {tried} for {limit:?} at most; --quick trains one network at once"),
    }
}

/// The folds: of the training rows or, where validation rows are said, those once.
fn folds(source: &TrainingData, seed: u64) -> Result<Vec<FoldRows>> {
    let (train, valid) = (source.train.len(), source.valid.len());
    if valid > 0 {
        return Ok(vec![((0..train).collect(), (train..train + valid).collect())]);
    }
    // Where there are few groups or moments, as many folds as can be made.
    let mut made = source.folds(FOLDS, seed);
    for fewer in (2..FOLDS).rev() {
        if made.is_ok() {
            break;
        }
        made = source.folds(fewer, seed);
    }
    made
}

/// Says how far it is.
pub(super) fn told(say: &Say, progress: SelectionProgress) {
    match progress {
        SelectionProgress::Begins(..) => {}
        SelectionProgress::Ends(record, score) => {
            let place = match record.fold {
                Some(fold) => format!("fold {}", fold + 1),
                None => "all rows".to_string(),
            };
            let outcome = match (&record.failed, score) {
                (Some(why), _) => format!("failed: {why}"),
                (None, Some(score)) => format!("{score:.4}"),
                (None, None) => "fitted".to_string(),
            };
            let cut = if record.decided.is_empty() { "" } else { ", cut to fit the time" };
            say.line(&format!(
                "{:>10}  {place}: {outcome} in {:.1} s{cut}",
                record.candidate, record.seconds
            ));
            let mut event = json!(record);
            (event["event"], event["score"]) = ("fit".into(), score.into());
            say.event(event);
        }
        SelectionProgress::Enough(done, folds) => {
            say.line(&format!(
                "{} of {folds} are done, and there is no time for another",
                counted(done, "fold")
            ));
        }
    }
}
