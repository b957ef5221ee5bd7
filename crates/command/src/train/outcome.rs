//! What comes of a training: its model and report, what a signal left, and what could be saved elsewhere.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use kiln_learn::Model;
use kiln_learn::data::{Subset, TablePreparation};
use kiln_learn::metrics::History;
use kiln_learn::model::{DataProfile, Task};
use kiln_learn::prelude::*;
use kiln_learn::trainer::Run;
use serde_json::{Map, Value, json};

use super::CHECKPOINTS;
use super::calibrated::{self, CalibratedModels};
use super::calibration;
use super::evidence::SelectionEvidence;
use super::features::TrainedLayers;
use super::plan::{TrainingPlan, about, environment, levelled};
use super::refit::{self, BestEpoch};
use super::say::Say;
use super::threshold::Threshold;
use super::time::{Afterwards, TimeBudget};
use crate::folder::{CONFIG, Folder};
use crate::importance::Importances;
use crate::insight::{Insight, TestedRows};
use crate::measure::Measured;
use crate::report::Shows;
use crate::runs::{past_history, past_samples};
use crate::settings::Settings;
use crate::source::TrainingData;
use crate::{out, report};

/// Writes the model as far as it has come, and nothing that takes long: whoever sent the signal waits. `is_unsaid` where nobody else says so.
pub(super) fn interrupted(
    (seed, source): (u64, &TrainingData),
    model: &Model,
    folder: &Folder,
    (training, steps): (Map<String, Value>, u64),
    (signal, is_unsaid): (i32, bool),
    say: &Say,
) -> Result<ExitCode> {
    let mut about = about(seed, source, model);
    about.training.extend(training);
    folder.check()?;
    model.save_as(&about, folder.at("model.kiln"))?;
    let hint = folder.resume_hint();
    match (say.json, is_unsaid) {
        (true, _) => say.event(json!({
            "event": "interrupted", "run": folder.path(), "signal": signal, "steps": steps, "resume": hint,
        })),
        (false, true) => out::note(format!("interrupted; saved. Go on with: {hint}")),
        (false, false) => {}
    }
    Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)))
}

/// A training that came to its end.
pub(super) struct Finished<'f> {
    pub(super) settings: &'f Settings,
    pub(super) seed: u64,
    pub(super) source: &'f TrainingData,
    pub(super) model: &'f Model,
    pub(super) folder: &'f Folder,
    pub(super) trained: TrainingResult,
    /// The best epoch, where one is known.
    pub(super) best: Option<&'f BestEpoch>,
    /// The model before it was trained once more on all rows, if it was.
    pub(super) first: Option<&'f Model>,
}

/// What a training was.
pub(super) struct TrainingResult {
    /// As a model's file says it.
    pub(super) training: Map<String, Value>,
    /// What result.json says besides, of what was fitted.
    pub(super) how: Map<String, Value>,
    /// The numbers of its epochs, or of the rounds of what is fitted in rounds.
    pub(super) history: History,
    pub(super) elapsed: Duration,
    /// Why it ended early.
    pub(super) stopped: Option<String>,
    /// What was said of the model.
    pub(super) said: Vec<String>,
    /// How many rows a second fit was to, validation included.
    pub(super) refit_rows: Option<usize>,
    /// What it was chosen by, if among others.
    pub(super) evidence: Option<SelectionEvidence>,
}

impl TrainingResult {
    /// A training step by step.
    pub(super) fn of(run: &Run<TrainedLayers>) -> TrainingResult {
        TrainingResult {
            training: run.training(),
            how: Map::new(),
            history: run.history().clone(),
            elapsed: run.elapsed(),
            stopped: run.stopped().map(str::to_string),
            said: Vec::new(),
            refit_rows: None,
            evidence: None,
        }
    }
}

/// Evaluates, writes the model and the report, and says what to try next.
pub(super) fn finish(
    Finished { settings, seed, source, model, folder, trained, best, first }: &Finished,
    budget: &TimeBudget,
    afterwards: &Afterwards,
    say: &Say,
) -> Result<ExitCode> {
    // Rows that the last training saw say nothing of it.
    let (best, first) = (*best, *first);
    let mut about = match &trained.evidence {
        Some(evidence) => about(*seed, source, model).levelled(&evidence.levels(source)?),
        None => levelled(*seed, source, model, first.unwrap_or(model))?,
    };
    let task = about.task.clone();
    let options = calibration::options(settings, &task, usize::MAX, trained.evidence.is_some())?;
    let CalibratedModels { calibration, model: right, first: right_first } =
        calibrated::calibrated(&options, source, (model, first), trained.evidence.as_ref(), afterwards.rows)?;
    if let Some(right) = &right {
        (about.layers, about.sets) = (right.about().layers.clone(), right.about().sets.clone());
    }
    calibration.said.iter().for_each(|line| say.line(line));
    let model = right.as_ref().unwrap_or(model);
    let held = right_first.as_ref().or(first).unwrap_or(model);
    let measure = |set: &dyn Dataset, model: &Model| -> Result<Option<Measured>> {
        match set.is_empty() {
            true => Ok(None),
            false => afterwards.measure(&task, model, set).map(Some),
        }
    };
    for (name, part) in [("training", &source.train), ("validation", &source.valid), ("test", &source.test)] {
        if part.len() > afterwards.rows {
            let (rows, all) = (afterwards.rows, part.len());
            say.line(&format!(
                "figures of the {name} part are of {rows} of its {}, for the time limit",
                out::counted(all, "row")
            ));
        }
    }
    let mut parts =
        [measure(&*source.train, held)?, measure(&*source.valid, held)?, measure(&*source.test, model)?];
    if let Some(evidence) = &trained.evidence {
        parts[1] = Some(evidence.measured(&about, source, &calibration)?);
    }
    let threshold = Threshold::of(settings, &task, parts[1].is_some())?;
    about.threshold = threshold.map(|threshold| threshold.on(parts[1].as_ref())).or(about.threshold);
    if let Some(threshold) = about.threshold {
        for part in &mut parts {
            *part = part.take().map(|part| part.decided(threshold)).transpose()?;
        }
    }
    let mut said = [&source.said[..], &trained.said, &calibration.said].concat();
    if !source.valid.is_empty() {
        said.extend(best.map(BestEpoch::line));
    }
    if let (Some(threshold), Task::Classes { names }) = (about.threshold, &task) {
        let line = format!(
            "{} is said above a probability of {threshold:.4}",
            names.last().map_or("", String::as_str)
        );
        say.line(&line);
        said.push(line);
    }
    let refit = match (first, best) {
        (Some(_), Some(best)) => {
            let rows = refit::rows(source)?.len();
            said.push(format!(
                "then trained once more on all {}, validation included, for {}; the figures of training and validation are of the model \
                 before that (first.kiln), those of the test of the one after",
                out::counted(rows, "row"),
                out::counted(best.epoch as usize, "epoch"),
            ));
            json!({ "epochs": trained.history.len(), "rows": rows })
        }
        _ => match trained.refit_rows {
            Some(rows) => {
                said.push(format!(
                    "then fitted once more to all {}, validation included; the figures of training and validation are of the model before \
                     that, those of the test of the one after",
                    out::counted(rows, "row"),
                ));
                json!({ "rows": rows })
            }
            None => Value::Null,
        },
    };
    let history = match (first, best) {
        (Some(_), Some(_)) => past_history(folder.path()),
        _ => trained.history.clone(),
    };
    let [train, valid, test] = parts.each_ref().map(|part| part.as_ref().map_or(Value::Null, Measured::json));
    about.training.extend(trained.training.clone());
    about.training.insert("test".to_string(), test.clone());
    about.profile = profile(source, model, afterwards.rows)?;
    let found = calibrated::found(&calibration);
    if !found.is_null() {
        about.training.insert("calibration".to_string(), found.clone());
    }
    let path = folder.at("model.kiln");
    if let Err(error) = folder.check().and_then(|()| model.save_as(&about, &path)) {
        let mut places = folder.elsewhere().into_iter().map(|folder| folder.join("model.kiln"));
        match places.find(|place| model.save_as(&about, place).is_ok()) {
            Some(place) => bail!("{error}; the trained model is saved in {}", place.display()),
            None => return Err(error.into()),
        }
    }
    let importances = match &source.shows {
        Shows::Table { plan, .. } | Shows::Columns(plan) if !source.test.is_empty() => {
            let limit = budget.importances(trained.elapsed);
            let say = |line: &str| say.line(line);
            Some(Importances::measure(&task, model, plan, &*source.test, limit, say)?)
        }
        Shows::Table { .. } | Shows::Columns(_) | Shows::Images(_) | Shows::Words(_) | Shows::Nothing => None,
    };
    let insight = match (&parts[2], tested(source)) {
        (Some(measured), Some(rows)) => {
            let limit = budget.importances(trained.elapsed);
            let say = |line: &str| say.line(line);
            Some(Insight::measure((model, &about), &rows, measured, importances.as_ref(), limit, say)?)
        }
        _ => None,
    };
    let seconds = budget.began.elapsed().as_secs_f64();
    if let Some(reason) = &trained.stopped {
        say.line(&format!("stopped: {reason}"));
    }
    let mut done = json!({
        "event": "done", "run": folder.path(), "model": path, "seconds": seconds, "epochs": trained.history.len(),
        "stopped": trained.stopped, "best": best, "refit": refit, "said": said, "train": train, "val": valid, "test": test,
        "importances": importances.as_ref().map(Importances::json), "calibration": found,
        "insight": insight.as_ref().map(Insight::json),
    });
    for (name, value) in &trained.how {
        done[name] = value.clone();
    }
    if let Some(evidence) = &trained.evidence {
        evidence.tell(&mut done, settings, afterwards.rows);
    }
    let [on_train, on_valid, on_test] = &parts;
    report::write(
        &report::Told {
            title: format!("{}: a run of kiln", source.name),
            said: &said,
            layers: &about.layers,
            parameters: model.parameter_count(),
            seconds: trained.elapsed.as_secs_f64(),
            history: &history,
            parts: [on_train.as_ref(), on_valid.as_ref(), on_test.as_ref()],
            test: &*source.test,
            shows: &source.shows,
            config: settings.to_toml(),
            environment: format!("{:#}", environment(*seed)),
            importances: importances.as_ref(),
            insight: insight.as_ref(),
            rows: [source.train.len(), source.valid.len(), source.test.len()],
            columns: source.preparation.table().map_or(Vec::new(), columns),
            board: trained.evidence.as_ref().map(|evidence| &evidence.board),
            samples: &past_samples(folder.path()),
        },
        folder,
    )?;
    folder.write("result.json", format!("{done:#}\n"))?;
    say.event(done);
    if say.json {
        out::settle()?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, part) in ["train", "val", "test"].iter().zip(&parts) {
        if let Some(part) = part {
            out::line(format_args!("{name:>5}  {}", part.line()))?;
        }
    }
    out::line(format_args!(
        "{} after {seconds:.1} s; look at {}",
        path.display(),
        folder.at("report.html").display()
    ))?;
    if !say.quiet {
        let model = path.display();
        say.line(&format!(
            "\nnext: `kiln eval {model} DATA`, `kiln predict {model} INPUT`, `kiln inspect {model}`,\n      \
             `kiln train --help` for other models, rates and augmentation"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of the test part, of a table.
fn tested(source: &TrainingData) -> Option<TestedRows<'_>> {
    let (plan, table) = match &source.shows {
        Shows::Table { table, rows, plan, .. } => (plan, Some((&**table, rows.as_slice()))),
        Shows::Columns(plan) => (plan, None),
        Shows::Images(_) | Shows::Words(_) | Shows::Nothing => return None,
    };
    Some(TestedRows { plan, test: &*source.test, table })
}

/// The columns that a prepared table takes.
fn columns(plan: &TablePreparation) -> Vec<String> {
    plan.groups().into_iter().map(|(name, _)| name).collect()
}

/// More rows than this say nothing more of how what a model says is spread.
const SPREAD: usize = 20_000;

/// What the rows of a table were like that was trained on, and what the model says of rows that were held out, of `most` at most.
fn profile(source: &TrainingData, model: &Model, most: usize) -> Result<Option<DataProfile>> {
    let Some(plan) = source.preparation.table() else { return Ok(None) };
    let held = if source.test.is_empty() { &source.valid } else { &source.test };
    let rows = held.len().min(most).min(SPREAD);
    let held = Subset::new(&**held, (0..rows).collect());
    Ok(Some(DataProfile::of(model, plan, &*source.train, &held)?))
}

/// Keeps the model, what repeats the run and, of a second training, what the first came to beside a checkpoint that was saved elsewhere, and
/// says so.
pub(super) fn rescued(
    plan: &TrainingPlan,
    source: &TrainingData,
    (model, first): (&Model, Option<(&Model, &BestEpoch)>),
    cause: &kiln_learn::Error,
    saved: &Path,
) -> String {
    let part = if first.is_some() { refit::PART } else { CHECKPOINTS };
    let folder = saved.ancestors().nth(1 + Path::new(part).components().count()).unwrap_or(Path::new("."));
    let settings =
        Settings { out: None, resume: None, checkpoint_dir: None, log_csv: None, ..plan.settings.clone() };
    let kept = model.save_as(&about(plan.seed, source, model), folder.join("model.kiln")).and_then(|()| {
        let path = folder.join(CONFIG);
        kiln_files::write(&path, settings.to_toml())
            .map_err(|source| kiln_learn::Error::File { path, source })
    });
    let kept = kept.and_then(|()| first.map_or(Ok(()), |(first, best)| best.keep_in(first, folder)));
    let folder = folder.display();
    match kept {
        Ok(()) => format!(
            "{cause}; the training and its model, as far as they have come, are saved in {folder}. Go on with: kiln train --resume {folder}"
        ),
        Err(error) => {
            format!("{cause}; the training as far as it has come is saved in {} ({error})", saved.display())
        }
    }
}
