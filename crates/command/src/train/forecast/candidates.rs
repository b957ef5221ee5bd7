//! What is tried of series: a linear model of all steps, trees that see step by step, networks.

use anyhow::Result;
use kiln_learn::data::{Dataset, Subset};
use kiln_learn::forecast::{ForecastPreparation, ForecastWindows, StepRows, taken};
use kiln_learn::linear::{self, LinearOptions};
use kiln_learn::model::Task;
use kiln_learn::prelude::*;
use kiln_learn::selection::{Candidate, Job};
use kiln_learn::trees::{self, TreeOptions};
use kiln_learn::{Interrupt, Places};

use super::super::fitted::STEPS;
use super::super::plan::TrainingPlan;
use crate::choices;
use crate::settings::Settings;
use crate::source::SeriesData;

/// Tried where nothing is said of the model.
const USUAL: [&str; 3] = ["linear", "trees", "mlp"];

/// Their names, and they.
pub(super) type SeriesCandidates<'c> = (Vec<String>, Vec<Box<dyn Candidate + 'c>>);

/// Those that are asked for: one by its preset or its layers, or all that are usual.
pub(super) fn all<'c>(settings: &Settings, source: &'c SeriesData) -> Result<SeriesCandidates<'c>> {
    let names: Vec<String> = match (&settings.preset, &settings.layers, settings.one_model()) {
        (Some(name), ..) => vec![name.clone()],
        (None, Some(_), _) => vec!["layers".to_string()],
        // What says how a network is trained asks for one.
        (None, None, Some(_)) => vec!["mlp".to_string()],
        (None, None, None) => USUAL.map(str::to_string).to_vec(),
    };
    let mut all: Vec<Box<dyn Candidate + 'c>> = Vec::new();
    if let Some(kind @ ("linear" | "trees")) = settings.preset.as_deref() {
        settings.without(&format!("--preset {kind}, which is fitted at once"), &STEPS)?;
    }
    for name in &names {
        all.push(match name.as_str() {
            "linear" => Box::new(LinearCandidate(source)),
            "trees" => Box::new(TreesCandidate(source)),
            other => {
                let preset = settings.layers.is_none().then(|| other.to_string());
                let own = Settings {
                    preset,
                    time_limit: None,
                    threshold: None,
                    target_scale: None,
                    ..settings.clone()
                };
                let plan = TrainingPlan::new(own, None, &source.data)?;
                Box::new(ForecastNetwork { name: name.clone(), plan, source })
            }
        });
    }
    Ok((names, all))
}

/// A fault in the words of the library.
fn told(error: anyhow::Error) -> kiln_learn::Error {
    match error.downcast::<kiln_learn::Error>() {
        Ok(error) => error,
        Err(error) => kiln_learn::Error::Training(format!("{error:#}")),
    }
}

/// Least squares of all steps at once, of the past and of what is told of the steps.
struct LinearCandidate<'c>(&'c SeriesData);

/// Parts of time in which a strength is chosen, each a horizon long at least.
const PARTS: usize = 10;

impl Candidate for LinearCandidate<'_> {
    fn name(&self) -> &str {
        "linear"
    }

    fn fit(&self, job: &Job) -> kiln_learn::Result<Sequential> {
        let plan: &ForecastPreparation = &self.0.plan;
        let places: Vec<usize> = plan.straight_places().collect();
        let rows = taken(job.train, &places)?;
        let options = LinearOptions::new().seed(job.seed).fold_of(parts(&self.0.windows, job.rows));
        let (dense, strength) = linear::fit_together(&rows, &options, true)?;
        job.find(serde_json::json!({ "strength": strength }));
        let front = Sequential::new().take(places.into_iter().collect::<Places>());
        Ok(front.then(dense))
    }

    fn refits(&self) -> bool {
        true
    }
}

/// The part of time of each row; neighbours overlap and stay together.
fn parts(windows: &ForecastWindows, rows: &[usize]) -> Vec<u8> {
    let origins: Vec<i64> = rows.iter().map(|&row| windows.moment(row)).collect();
    let (least, most) =
        (origins.iter().min().copied().unwrap_or(0), origins.iter().max().copied().unwrap_or(0));
    let span = most.saturating_sub(least);
    let count = (span / windows.plan().horizon.max(1) as i64).clamp(4, PARTS as i64);
    let size = span / count + 1;
    origins.iter().map(|origin| (origin.saturating_sub(least) / size) as u8).collect()
}

/// Boosted trees that see each step as a row of its own.
struct TreesCandidate<'c>(&'c SeriesData);

/// Steps that trees are grown on, at most.
const GROWN: usize = 120_000;

/// Values of the window that trees see one by one, besides those of the same season and what sums the window up.
const LATE: usize = 14;

impl TreesCandidate<'_> {
    /// The places of the latest of some rows, an eighth of all time.
    fn late(&self, rows: &[usize]) -> Vec<usize> {
        let origin = |row: usize| self.0.windows.moment(row);
        let mut origins: Vec<i64> = rows.iter().map(|&row| origin(row)).collect();
        origins.sort_unstable();
        let from = origins.get(origins.len() * 7 / 8).copied().unwrap_or(0);
        (0..rows.len()).filter(|&at| origin(rows[at]) >= from).collect()
    }
}

impl Candidate for TreesCandidate<'_> {
    fn name(&self) -> &str {
        "trees"
    }

    fn fit(&self, job: &Job) -> kiln_learn::Result<Sequential> {
        let plan: &ForecastPreparation = &self.0.plan;
        let [window, past, steps, each] = plan.sizes();
        let from = window - LATE.min(window);
        let own = |rows: &dyn Dataset, most: usize| StepRows { plan, from, most }.of(rows);
        let train = own(job.train, GROWN)?;
        let late = self.late(job.rows);
        let valid = match job.valid {
            Some(valid) => own(valid, GROWN / 4)?,
            None => own(&Subset::new(job.train, late.clone()), GROWN / 4)?,
        };
        let signals = Interrupt::listen();
        let asked = || signals.asked().is_some();
        let options = TreeOptions {
            seed: job.seed,
            ends: job.end(),
            interrupt: Some(&asked),
            valid: Some(&valid),
            chosen: job.found().and_then(|found| serde_json::from_value(found.clone()).ok()),
            ..TreeOptions::default()
        };
        let task = Task::plain_numbers(vec!["step".to_string()]);
        let mut options = options;
        if job.valid.is_none() && options.chosen.is_none() {
            // How many rounds are enough is seen on the latest rows; then all are grown on.
            let early: Vec<usize> =
                (0..job.rows.len()).filter(|at| late.binary_search(at).is_err()).collect();
            let earlier = own(&Subset::new(job.train, early), GROWN)?;
            options.chosen = Some(trees::fit(&earlier, &task, &options)?.chosen);
        }
        let forest = trees::fit(&train, &task, &options)?;
        if let Some(signal) = signals.asked() {
            job.interrupted(signal);
        }
        job.find(serde_json::to_value(&forest.chosen).unwrap_or_default());
        let seen = Sequential::new().take((from..past + steps * each).collect::<Places>());
        Ok(seen.steps(steps, each).then(forest.layers).flatten())
    }

    fn refits(&self) -> bool {
        true
    }
}

/// A network, trained as its preset says.
struct ForecastNetwork<'c> {
    name: String,
    plan: TrainingPlan,
    source: &'c SeriesData,
}

impl Candidate for ForecastNetwork<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn fit(&self, job: &Job) -> kiln_learn::Result<Sequential> {
        let plan = &self.plan;
        let layers = choices::layers(&plan.layers, plan.outputs, job.seed).map_err(told)?;
        let mut trainer = plan.trainer(layers, &self.source.data, job.train, job.seed).map_err(told)?.quiet();
        trainer = trainer.stop_on_ctrl_c();
        if let Some(limit) = job.time_limit() {
            trainer = trainer.callback(limit);
        }
        let run = trainer.fit(&job.train)?;
        if let Some(signal) = run.interrupted() {
            job.interrupted(signal);
        }
        Ok(run.into_model())
    }

    /// It is trained for as long as it was, on the latest rows too.
    fn refits(&self) -> bool {
        true
    }
}
