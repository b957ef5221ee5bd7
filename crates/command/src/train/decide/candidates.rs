//! What is tried of a table: a linear model, trees, networks.

use anyhow::Result;
use kiln_learn::Interrupt;
use kiln_learn::prelude::*;
use kiln_learn::selection::{Candidate, Job};

use super::super::fitted::{FittedKind, Fitting};
use super::super::plan::TrainingPlan;
use crate::choices;
use crate::settings::Settings;
use crate::source::{Ties, TrainingData};

/// What is fitted at once.
const FITTED: [(&str, FittedKind); 2] = [("linear", FittedKind::Linear), ("trees", FittedKind::Trees)];

/// Networks, by their presets.
const NETWORKS: [&str; 2] = ["tabm", "realmlp"];

/// Their names, and they.
type NamedCandidates<'c> = (Vec<&'static str>, Vec<Box<dyn Candidate + 'c>>);

/// All of them that suit what is asked for, with their names.
pub(super) fn all<'c>(settings: &Settings, source: &'c TrainingData) -> Result<NamedCandidates<'c>> {
    let mut names = Vec::new();
    let mut all: Vec<Box<dyn Candidate + 'c>> = Vec::new();
    let with = |name: &str| Settings {
        preset: Some(name.to_string()),
        time_limit: None,
        threshold: None,
        coverage: None,
        sets: None,
        calibrate: None,
        ..settings.clone()
    };
    for (name, kind) in FITTED {
        names.push(name);
        // What is too large to be fitted at once is trained step by step, unless signs are told, which only a fit keeps.
        if settings.monotone.is_none() && FittedKind::of(&with(name), source)?.is_none() {
            let plan = TrainingPlan::new(with(name), None, source)?;
            all.push(Box::new(NetworkCandidate { name, plan, source }));
            continue;
        }
        all.push(Box::new(FittedCandidate { name, kind, settings: with(name), source }));
    }
    // No network can be held to signs of columns.
    for name in NETWORKS.into_iter().filter(|_| settings.monotone.is_none()) {
        names.push(name);
        all.push(Box::new(NetworkCandidate {
            name,
            plan: TrainingPlan::new(with(name), None, source)?,
            source,
        }));
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

/// A model that is fitted at once.
struct FittedCandidate<'c> {
    name: &'static str,
    kind: FittedKind,
    settings: Settings,
    source: &'c TrainingData,
}

impl Candidate for FittedCandidate<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn fit(&self, job: &Job) -> kiln_learn::Result<Sequential> {
        let ties = self.source.ties.of_rows(job.rows);
        let signals = Interrupt::listen();
        let fitting = Fitting {
            settings: &self.settings,
            source: self.source,
            rows: job.train,
            valid: job.valid,
            ties: ties.as_ref(),
            seed: job.seed,
            ends: job.end(),
            interrupt: &|| signals.asked().is_some(),
            chosen: job.found().and_then(|found| serde_json::from_value(found.clone()).ok()),
        };
        let fitted = self.kind.fit(&fitting).map_err(told);
        if let Some(signal) = signals.asked() {
            job.interrupted(signal);
        }
        let (layers, how) = fitted?;
        if !how.chosen.is_empty() {
            job.find(serde_json::to_value(&how.chosen).unwrap_or_default());
        }
        Ok(layers)
    }

    /// Trees stop by the rows that are held out; those of all folds saw all rows between them.
    fn refits(&self) -> bool {
        self.kind == FittedKind::Linear
    }
}

/// A network, trained as its preset says.
struct NetworkCandidate<'c> {
    name: &'static str,
    plan: TrainingPlan,
    source: &'c TrainingData,
}

impl Candidate for NetworkCandidate<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn fit(&self, job: &Job) -> kiln_learn::Result<Sequential> {
        let plan = &self.plan;
        let layers = choices::layers(&plan.layers, plan.outputs, job.seed).map_err(told)?;
        let mut trainer = plan.trainer(layers, self.source, job.train, job.seed).map_err(told)?.quiet();
        trainer = trainer.stop_on_ctrl_c();
        let best = plan.decider.number(job.valid.is_some());
        if let Some(valid) = job.valid {
            let patience = if plan.early_stop > 0 { plan.early_stop } else { u64::MAX };
            trainer = trainer.validate(valid).callback(EarlyStopping::on(&best).patience(patience));
        }
        if let Some(limit) = job.time_limit() {
            trainer = trainer.callback(limit);
        }
        let run = trainer.fit(&job.train)?;
        if let Some(signal) = run.interrupted() {
            job.interrupted(signal);
        }
        Ok(run.into_model())
    }
}

impl Ties {
    /// Those of some of the rows; nothing where none belong together, or it isn't known which.
    pub(in crate::train) fn of_rows(&self, rows: &[usize]) -> Option<Ties> {
        match self {
            Ties::Free | Ties::Unknown => None,
            Ties::Groups(keys) => {
                rows.iter().map(|&row| keys.get(row).copied()).collect::<Option<_>>().map(Ties::Groups)
            }
            Ties::Times(times) => {
                rows.iter().map(|&row| times.get(row).copied()).collect::<Option<_>>().map(Ties::Times)
            }
        }
    }
}
