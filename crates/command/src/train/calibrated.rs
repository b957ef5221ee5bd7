//! What comes of a training put right by rows that were held out.

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::calibration::{Calibration, CalibrationOptions, HeldAnswers};
use kiln_learn::data::{Dataset, Subset};
use kiln_learn::model::NETWORK;
use serde_json::{Value, json};

use super::evidence::SelectionEvidence;
use super::refit;
use crate::source::TrainingData;

/// What figures of validation are worth then.
const FOUND_ON: &str = "the figures of validation are of the rows by which outputs or sets were put right: they look a little better than rows to come, \
                        which those of the test stand for";

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
    let mut calibration = Calibration::fit(task, options, &held)?;
    if calibration.changes_nothing() && calibration.sets.iter().all(Option::is_none) {
        return Ok(CalibratedModels { calibration, model: None, first: None });
    }
    calibration.said.push(FOUND_ON.to_string());
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
