//! What models were chosen by: figures on rows that were held out, and what is kept of all that.

use anyhow::Result;
use kiln_learn::data::Dataset;
use kiln_learn::metrics::{Metric, Seen, Targets};
use kiln_learn::selection::{FitRecord, Leaderboard, Score};
use serde_json::{Value, json};

use super::super::chosen::TaskFigure;
use crate::settings::Settings;

/// What a choice rests on.
pub(crate) struct Evidence {
    pub(crate) board: Leaderboard,
    pub(crate) records: Vec<FitRecord>,
}

impl Evidence {
    /// Adds to a run's result what came of each candidate, and what repeats the run.
    pub(crate) fn tell(&self, result: &mut Value, settings: &Settings, measured: usize) {
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
enum Truth {
    Classes(Vec<i64>),
    /// So many a row.
    Numbers(Vec<f32>, usize),
}

/// A figure as what decides: less is better.
struct FigureScore {
    figure: TaskFigure,
    truth: Truth,
}

/// A figure of these rows.
pub(super) fn score_of(figure: &TaskFigure, rows: &dyn Dataset) -> Result<impl Score + use<>> {
    let form = rows.y();
    let truth = match form.codes() {
        Some(_) => Truth::Classes(rows.labels()?),
        None => {
            let y = rows.all()?.y;
            let numbers = (0..y.len()).filter_map(|at| y.get(at)).map(|value| value as f32).collect();
            Truth::Numbers(numbers, form.width().max(1))
        }
    };
    Ok(FigureScore { figure: figure.clone(), truth })
}

impl Score for FigureScore {
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        let mut figure = self.figure.clone();
        figure.reset();
        let width = outputs.len() / rows.len().max(1);
        let seen = match &self.truth {
            Truth::Classes(labels) => {
                let labels: Vec<i64> = rows.iter().map(|&row| labels[row]).collect();
                figure.update(&Seen { outputs, width, targets: Targets::Classes(&labels) })
            }
            Truth::Numbers(numbers, each) => {
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
