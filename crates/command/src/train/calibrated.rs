//! How sure a model may be, by rows that were held out: whether and how its outputs are put right, and the sets of classes that hold the truth.

use anyhow::{Result, bail};
use kiln_learn::Model;
use kiln_learn::calibration::{Calibration, CalibrationMethod, CalibrationOptions, HeldAnswers};
use kiln_learn::data::{Dataset, Subset};
use kiln_learn::model::{NETWORK, PartMeaning, SetKind, Task, TaskPart};
use serde_json::{Value, json};

use super::evidence::SelectionEvidence;
use super::refit;
use crate::out::counted;
use crate::settings::Settings;
use crate::source::TrainingData;

/// What settings ask for, which must suit the task and the rows that will be held out.
pub(super) fn options(
    settings: &Settings,
    task: &Task,
    held: usize,
    is_chosen: bool,
) -> Result<CalibrationOptions> {
    let said = settings.calibrate.as_deref();
    let usual = if is_chosen { CalibrationMethod::Auto } else { CalibrationMethod::None };
    let method = said.map_or(Ok(usual), CalibrationMethod::named)?;
    let kind = settings.sets.as_deref().map_or(Ok(SetKind::default()), SetKind::named)?;
    let parts = match task {
        Task::Text { .. } | Task::Tags { .. } => Vec::new(),
        Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. } => task.parts(),
    };
    let is_classes = |part: &TaskPart| matches!(part.meaning, PartMeaning::Classes(_));
    let has_bounds = |part: &TaskPart| matches!(part.meaning, PartMeaning::Number { interval: Some(_), .. });
    if settings.sets.is_some() && settings.coverage.is_none() {
        bail!("--sets says which classes are in a set; --coverage 0.9 says how many rows the sets hold");
    }
    if settings.coverage.is_some() && !parts.iter().any(is_classes) {
        bail!(
            "--coverage is of sets of classes, and none are predicted; numbers have bounds by --interval 0.9"
        );
    }
    if !matches!(said, None | Some("none")) && !parts.iter().any(|part| is_classes(part) || has_bounds(part))
    {
        bail!("--calibrate is of the probabilities of classes and of the bounds of intervals; leave it out");
    }
    if method == CalibrationMethod::Isotonic && !matches!(task, Task::Classes { names } if names.len() == 2) {
        bail!("--calibrate isotonic is of one target of two classes; temperature is of any");
    }
    if held == 0 && (settings.coverage.is_some() || !matches!(said, None | Some("none"))) {
        let flag = if settings.coverage.is_some() { "coverage" } else { "calibrate" };
        bail!("--{flag} goes by validation rows, and there are none; --val-fraction 0.2 holds some out");
    }
    if let Some(share) = settings.coverage.map(|share| share.0) {
        let least = (share / (1.0 - share) - 1e-9).ceil();
        if (held as f64) < least {
            bail!(
                "--coverage {share} takes {least} rows that are held out, and there are {}; ask for less, or hold out more",
                counted(held, "row")
            );
        }
    }
    let sets = settings.coverage.map(|share| (share.0, kind));
    Ok(CalibrationOptions { method, bounds: said != Some("none"), sets })
}

/// What was found, and the models with it.
pub(super) struct CalibratedModels {
    pub(super) calibration: Calibration,
    /// The model that is saved; nothing where it stays as it is.
    pub(super) model: Option<Model>,
    /// The model whose figures of training and validation are said, where that is another.
    pub(super) first: Option<Model>,
}

/// Puts right what a training came to.
pub(super) fn calibrated(
    options: &CalibrationOptions,
    source: &TrainingData,
    (model, first): (&Model, Option<&Model>),
    evidence: Option<&SelectionEvidence>,
    most: usize,
) -> Result<CalibratedModels> {
    let task = &source.task;
    let none = || CalibratedModels { calibration: Calibration::default(), model: None, first: None };
    if options.asks_nothing(task) || (evidence.is_none() && source.valid.is_empty()) {
        return Ok(none());
    }
    if model.about().layers == NETWORK {
        let mut none = none();
        let line = "the network of an ONNX file stays as it is: its outputs aren't calibrated";
        none.calibration.said.push(line.to_string());
        return Ok(none);
    }
    let held = match evidence {
        Some(evidence) => {
            let truths = refit::rows(source)?.gather(&evidence.held.rows)?.y;
            let truths = (0..truths.len()).filter_map(|at| truths.get(at)).collect();
            HeldAnswers { outputs: evidence.held.outputs.clone(), truths }
        }
        None => {
            let rows = source.valid.len().min(most);
            HeldAnswers::of(first.unwrap_or(model), &Subset::new(&*source.valid, (0..rows).collect()))?
        }
    };
    let calibration = Calibration::fit(task, options, &held)?;
    if calibration.changes_nothing() && calibration.sets.iter().all(Option::is_none) {
        return Ok(CalibratedModels { calibration, model: None, first: None });
    }
    Ok(CalibratedModels {
        model: Some(calibration.behind(model)?),
        first: first.map(|first| calibration.behind(first)).transpose()?,
        calibration,
    })
}

/// What was found, as result.json and the model's file say it.
pub(super) fn found(calibration: &Calibration) -> Value {
    let sets: Vec<_> = calibration.sets.iter().flatten().collect();
    if calibration.found.is_empty() && sets.is_empty() {
        return Value::Null;
    }
    json!({ "found": calibration.found, "sets": sets })
}
