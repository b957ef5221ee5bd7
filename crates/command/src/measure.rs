//! How good predictions are: the figures that suit the task, in the units of the data.

use anyhow::{Result, bail};
use kiln_learn::Model;
use kiln_learn::data::{Batch, Dataset};
use kiln_learn::metrics::{Average, BinaryScores, Confusion, Numbers};
use kiln_learn::model::{Task, Views};
use kiln_learn::prelude::*;
use kiln_learn::trainer::{Judged, mean_loss};
use serde_json::{Map, Value};

/// Figures of a model on a set, and what they were made from.
pub struct Measured {
    /// The figures by name, the most telling first.
    pub numbers: Vec<(String, f64)>,
    pub of: Of,
}

/// What figures were made from.
pub enum Of {
    Classes { names: Vec<String>, rows: Vec<Judged>, confusion: Confusion },
    Numbers { name: String, truth: Vec<f64>, predicted: Vec<f64> },
    Text,
}

impl Measured {
    /// Holds what a model says against what was right.
    pub fn new(task: &Task, model: &Model, set: &dyn Dataset) -> Result<Measured> {
        Measured::seen(task, model, set, None)
    }

    /// As [`Measured::new`], of images that are seen in several views.
    pub fn seen(task: &Task, model: &Model, set: &dyn Dataset, views: Option<&Views>) -> Result<Measured> {
        const ROWS: usize = 256;
        match task {
            Task::Text { .. } => {
                let loss = mean_loss(model.layers(), CrossEntropy::new(), set, ROWS)?;
                let numbers = [
                    ("perplexity", libm::exp(loss)),
                    ("loss", loss),
                    ("bits", loss / std::f64::consts::LN_2),
                ];
                let numbers = numbers.into_iter().map(|(name, number)| (name.to_string(), number)).collect();
                Ok(Measured { numbers, of: Of::Text })
            }
            Task::Classes { names } => classes(names, &AskedModel { model, set, views }),
            Task::Numbers { names, scale, offset } => match (&names[..], &scale[..], &offset[..]) {
                ([name], [scale], [offset]) => {
                    numbers(name, *scale, *offset, &AskedModel { model, set, views })
                }
                _ => bail!("the model predicts {} numbers for a row; figures are of one", names.len()),
            },
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let number = |number: f64| Value::from((number.is_finite()).then_some(number));
        Value::Object(
            self.numbers.iter().map(|(name, value)| (name.clone(), number(*value))).collect::<Map<_, _>>(),
        )
    }

    /// On one line.
    pub fn line(&self) -> String {
        self.numbers.iter().map(|(name, number)| format!("{name} {number:.4}")).collect::<Vec<_>>().join("  ")
    }
}

/// A model and the rows it is asked about.
struct AskedModel<'a> {
    model: &'a Model,
    set: &'a dyn Dataset,
    views: Option<&'a Views>,
}

impl AskedModel<'_> {
    fn each(&self, see: impl FnMut(&Batch, &[f32]) -> kiln_learn::Result<()>) -> Result<()> {
        let seen = match self.views {
            Some(views) => self.model.predict_views(self.set, views, see),
            None => self.model.predict_each(self.set, see),
        };
        Ok(seen?)
    }
}

fn classes(names: &[String], asked: &AskedModel) -> Result<Measured> {
    let count = names.len().max(2);
    let mut rows = Vec::with_capacity(asked.set.len());
    asked.each(|batch, outputs| {
        let width = outputs.len() / batch.rows().max(1);
        let labels = (0..batch.y.len()).filter_map(|at| batch.y.get(at));
        let judged = outputs.chunks(width.max(1)).zip(labels);
        rows.extend(judged.map(|(outputs, label)| Judged::new(outputs, label as i64)));
        Ok(())
    })?;
    let mut confusion = Confusion::new(count);
    let labels: Vec<i64> = rows.iter().map(|row| row.label.into()).collect();
    let classes: Vec<i64> = rows.iter().map(|row| row.class.into()).collect();
    confusion.add(&labels, &classes)?;
    let scores = |of: fn(&Judged) -> (f32, bool)| -> Result<BinaryScores> {
        let mut scores = BinaryScores::default();
        let (said, is): (Vec<f64>, Vec<bool>) = rows.iter().map(of).map(|(p, is)| (f64::from(p), is)).unzip();
        scores.add(&said, &is)?;
        Ok(scores)
    };
    let loss = scores(|row| (row.truth, true))?.log_loss();
    let mut numbers = vec![("accuracy".to_string(), confusion.accuracy()), ("loss".to_string(), loss)];
    let mut add = |name: &str, number: f64| numbers.push((name.to_string(), number));
    if count == 2 {
        let binary = scores(|row| (row.second, row.label == 1))?;
        add("f1", confusion.f1(Average::Binary(1)));
        add("roc-auc", binary.roc_auc());
        add("pr-auc", binary.average_precision());
    } else {
        add("f1 macro", confusion.f1(Average::Macro));
        add("balanced-accuracy", confusion.balanced_accuracy());
        if count > 5 {
            add("top-3", rows.iter().filter(|row| row.ahead < 3).count() as f64 / rows.len() as f64);
        }
    }
    let sure = scores(|row| (row.sure, row.is_right()))?;
    add("calibration-error", sure.calibration_error(10));
    Ok(Measured { numbers, of: Of::Classes { names: names.to_vec(), rows, confusion } })
}

fn numbers(name: &str, scale: f64, offset: f64, asked: &AskedModel) -> Result<Measured> {
    let (mut truth, mut predicted) =
        (Vec::with_capacity(asked.set.len()), Vec::with_capacity(asked.set.len()));
    let unit = |number: f64| number * scale + offset;
    asked.each(|batch, outputs| {
        truth.extend((0..batch.y.len()).filter_map(|at| batch.y.get(at)).map(unit));
        predicted.extend(outputs.iter().map(|&output| unit(f64::from(output))));
        Ok(())
    })?;
    let mut all = Numbers::default();
    all.add(&predicted, &truth)?;
    let numbers = vec![
        ("r2".to_string(), all.r2()),
        ("loss".to_string(), all.mse() / (scale * scale)),
        ("rmse".to_string(), all.rmse()),
        ("mae".to_string(), all.mae()),
        ("pearson".to_string(), all.pearson()),
    ];
    Ok(Measured { numbers, of: Of::Numbers { name: name.to_string(), truth, predicted } })
}
