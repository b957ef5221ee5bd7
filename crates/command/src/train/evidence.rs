//! What models were chosen by: figures on rows that were held out, and what is kept of all that.

use anyhow::Result;
use kiln_learn::calibration::Calibration;
use kiln_learn::data::{Dataset, Subset};
use kiln_learn::metrics::{Metric, Seen, Targets};
use kiln_learn::model::About;
use kiln_learn::selection::{FitRecord, HeldOut, Leaderboard, SelectionScore};
use serde_json::{Value, json};

use super::chosen::TaskFigure;
use super::refit;
use crate::measure::Measured;
use crate::settings::Settings;
use crate::source::TrainingData;

/// What a choice rests on.
pub(super) struct SelectionEvidence {
    pub(super) board: Leaderboard,
    pub(super) held: HeldOut,
    pub(super) records: Vec<FitRecord>,
}

impl SelectionEvidence {
    /// The answer's figures on rows that were held out, after its outputs were put right.
    pub(super) fn measured(
        &self,
        about: &About,
        source: &TrainingData,
        calibration: &Calibration,
    ) -> Result<Measured> {
        let all = refit::rows(source)?;
        let mut outputs = self.held.outputs.clone();
        if !calibration.changes_nothing() {
            calibration.apply(&mut outputs);
        }
        Measured::of_outputs(about, &Subset::new(&all, self.held.rows.clone()), &outputs)
    }

    /// What predictions are multiplied by so that their mean is right, by rows that were held out.
    pub(super) fn levels(&self, source: &TrainingData) -> Result<Vec<f64>> {
        let truths = refit::rows(source)?.gather(&self.held.rows)?.y;
        let truths: Vec<f64> = (0..truths.len()).filter_map(|at| truths.get(at)).collect();
        Ok(source.task.levels_of(&self.held.outputs, &truths))
    }

    /// Adds to a run's result what came of each candidate, and what repeats the run.
    pub(super) fn tell(&self, result: &mut Value, settings: &Settings, measured: usize) {
        result["leaderboard"] = json!(self.board);
        result["fits"] = json!(self.records);
        result["measured_rows"] = measured.into();
        // Where it is and how it is shown is another's affair.
        let settings =
            Settings { out: None, resume: None, repeat: None, quiet: None, json: None, ..settings.clone() };
        result["settings"] = settings.to_toml().into();
    }
}

/// Targets of rows.
enum HeldTruth {
    Classes(Vec<i64>),
    /// So many a row.
    Numbers(Vec<f32>, usize),
}

/// A figure as what decides: less is better.
struct FigureScore {
    figure: TaskFigure,
    truth: HeldTruth,
}

/// A figure of these rows.
pub(super) fn score_of(figure: &TaskFigure, rows: &dyn Dataset) -> Result<impl SelectionScore + use<>> {
    let form = rows.y();
    let truth = match form.codes() {
        Some(_) => HeldTruth::Classes(rows.labels()?),
        None => {
            let y = rows.all()?.y;
            let numbers = (0..y.len()).filter_map(|at| y.get(at)).map(|value| value as f32).collect();
            HeldTruth::Numbers(numbers, form.width().max(1))
        }
    };
    Ok(FigureScore { figure: figure.clone(), truth })
}

impl SelectionScore for FigureScore {
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        let mut figure = self.figure.clone();
        figure.reset();
        let width = outputs.len() / rows.len().max(1);
        let seen = match &self.truth {
            HeldTruth::Classes(labels) => {
                let labels: Vec<i64> = rows.iter().map(|&row| labels[row]).collect();
                figure.update(&Seen { outputs, width, targets: Targets::Classes(&labels) })
            }
            HeldTruth::Numbers(numbers, each) => {
                let own = |&row: &usize| numbers[row * each..][..*each].iter().copied();
                let numbers: Vec<f32> = rows.iter().flat_map(own).collect();
                figure.update(&Seen { outputs, width, targets: Targets::Numbers(&numbers) })
            }
        };
        match seen {
            Ok(()) if figure.larger_is_better() => -figure.value(),
            Ok(()) => figure.value(),
            Err(_) => f64::NAN,
        }
    }
}
