//! Series, of which the next steps are forecast: one model of all of them, chosen by rolling origins among linear models, trees and networks, beside
//! what needs no learning; and all that the folder of a run has.

mod candidates;
mod outcome;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kiln_learn::Interrupt;
use kiln_learn::data::Dataset;
use kiln_learn::forecast::ForecastScore;
use kiln_learn::selection::{FitRecord, Selected, Selection};
use serde_json::json;

use self::outcome::{Forecast, finish};
use super::Before;
use super::decide::{FITS, Repeated, told};
use super::fitted::model_of;
use super::plan::environment;
use super::say::Say;
use super::time::TimeBudget;
use crate::folder::{CONFIG, Folder};
use crate::out;
use crate::settings::{DEFAULT_SEED, Seconds, Seed, Settings, Share};
use crate::source::{self, SeriesData};

/// The share of values between the bounds, where nobody says.
const INTERVAL: f64 = 0.9;

/// A sensible limit: about the root of how many numbers there are, from half a minute to two.
fn limit_for(numbers: usize) -> Duration {
    let seconds = 30.0 * (numbers as f64 / 400_000.0).sqrt();
    Duration::from_secs_f64(((seconds / 5.0).round() * 5.0).clamp(30.0, 120.0))
}

/// The share of a limit that is for fits.
const FITTED: f64 = 0.8;

/// Settings of a training that say nothing here.
const NOT_OURS: [&str; 22] = [
    "from",
    "freeze",
    "lora",
    "head",
    "monotone",
    "k-fold",
    "refit",
    "threshold",
    "metric",
    "class-weights",
    "sampling",
    "label-smoothing",
    "checkpoint-every",
    "checkpoint-dir",
    "keep",
    "tensorboard",
    "log-csv",
    "early-stop",
    "keep-neighbours",
    "calibrate",
    "coverage",
    "sets",
];

/// Chooses, evaluates and writes what a run's folder has.
pub(super) fn run(
    mut settings: Settings,
    (flags, before, resumed, repeated): (&Settings, Option<&Before>, Option<Folder>, Option<Repeated>),
    print_config: bool,
    budget: &TimeBudget,
    say: &Say,
) -> Result<ExitCode> {
    settings.without("forecasts of series", &NOT_OURS)?;
    let source = source::series(&settings)?;
    let seed = settings.seed.get_or_insert(Seed(DEFAULT_SEED)).0;
    let interval = settings.interval.get_or_insert(Share(INTERVAL)).0;
    if interval <= 0.0 {
        bail!("--interval is the share of values between the bounds, such as 0.9");
    }
    let is_default = settings.time_limit.is_none();
    let numbers = source.windows.len() * source.plan.width();
    let limit = settings.time_limit.get_or_insert(Seconds(limit_for(numbers))).0;
    let (named, candidates) = candidates::all(&settings, &source)?;
    if let Some(before) = before {
        let allowed: Vec<&str> = before.allowed.iter().map(String::as_str).collect();
        settings.only_as_before(flags, &before.settings, &allowed)?;
    }
    if print_config {
        out::text(settings.to_toml())?;
        return Ok(ExitCode::SUCCESS);
    }
    source.data.said.iter().for_each(|line| say.line(line));
    let folder = match resumed {
        Some(folder) => folder,
        None => Folder::new(settings.out.as_deref(), &source.data.name)?,
    };
    // First, for it tells a run that chooses from others.
    folder.make(FITS)?;
    folder.write(CONFIG, settings.to_toml())?;
    folder.write("environment.json", format!("{:#}\n", environment(seed)))?;
    say.line(&match (repeated.is_some(), is_default) {
        (true, _) => format!("fitting {} once more, as was decided before", named.join(", ")),
        (_, true) => {
            format!("trying {} for {limit:?} at most; --time-limit says another time", named.join(", "))
        }
        (_, false) => format!("trying {} for {limit:?} at most", named.join(", ")),
    });
    say.event(json!({
        "event": "begin", "run": folder.path(), "candidates": named, "time_limit": limit.as_secs_f64(), "seed": seed,
        "series": source.series.len(), "windows": source.windows.len(), "horizon": source.plan.horizon,
    }));
    let score = score_of(&source);
    let mut selection = Selection::new(source.data.task.clone())
        .folds(source.folds.clone())
        .seed(seed)
        .limit(Some(limit.mul_f64(FITTED).saturating_sub(budget.began.elapsed())))
        .journal(folder.at(FITS))
        .watch(|progress| told(say, progress));
    selection =
        selection.decided_by("MASE", false, |outputs: &[f32], rows: &[usize]| score.of(outputs, rows));
    for candidate in candidates {
        selection = selection.candidate(candidate);
    }
    if let Some(repeated) = repeated {
        selection = selection.repeat(repeated.records);
    }
    let began = Instant::now();
    let signals = Interrupt::listen();
    let selected = match (selection.run(&source.windows), signals.asked()) {
        (Err(_), Some(signal)) => {
            let hint = folder.resume_hint();
            out::note(format!("interrupted before any model was fitted. Go on with: {hint}"));
            return Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)));
        }
        (selected, _) => selected?,
    };
    let interrupted = selected.interrupted.or(signals.asked());
    drop(signals);
    let Selected { layers, board, held, said, records, .. } = selected;
    let model = model_of(&source.data, layers)?;
    let forecast = Forecast {
        settings: &settings,
        seed,
        interval,
        source: &source,
        folder: &folder,
        score: &score,
        model,
        held,
        board,
        records,
    };
    if let Some(signal) = interrupted {
        return forecast.interrupted(signal, say);
    }
    finish(forecast, said, (budget.began, began.elapsed()), say)
}

/// What decides, on all rows that are held out.
fn score_of(source: &SeriesData) -> ForecastScore {
    let held = source.folds.iter().flat_map(|(_, held)| held.iter().copied());
    ForecastScore::new(&source.windows, held, &source.units)
}

/// What repeats a run, for its result.
fn repeats(settings: &Settings, records: &[FitRecord]) -> (String, serde_json::Value) {
    let settings =
        Settings { out: None, resume: None, repeat: None, quiet: None, json: None, ..settings.clone() };
    (settings.to_toml(), json!(records))
}
