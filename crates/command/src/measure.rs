//! How good predictions are: the figures that suit the task, in the units of the data.

use anyhow::{Result, bail};
use kiln_learn::Model;
use kiln_learn::data::Dataset;
use kiln_learn::metrics::{Average, BinaryScores, ClassScores, Confusion, Numbers};
use kiln_learn::model::Task;
use kiln_learn::prelude::*;
use kiln_learn::trainer::{Predictions, mean_loss};
use serde_json::{Map, Value};

/// Figures of a model on a set, and what they were made from.
pub struct Measured {
    /// The figures by name, the most telling first.
    pub numbers: Vec<(String, f64)>,
    pub of: Of,
}

/// What figures were made from.
pub enum Of {
    Classes {
        names: Vec<String>,
        labels: Vec<i64>,
        /// `[rows, classes]`
        probabilities: Vec<f32>,
        confusion: Confusion,
    },
    Numbers {
        name: String,
        truth: Vec<f64>,
        predicted: Vec<f64>,
    },
    Text,
}

impl Measured {
    /// Holds what a model says against what was right.
    pub fn new(task: &Task, model: &Model, set: &dyn Dataset) -> Result<Measured> {
        const ROWS: usize = 256;
        let predictions = || model.predict(set);
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
            Task::Classes { names } => classes(names, &predictions()?, set),
            Task::Numbers { names, scale, offset } => match (&names[..], &scale[..], &offset[..]) {
                ([name], [scale], [offset]) => numbers(name, *scale, *offset, &predictions()?, set),
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

fn classes(names: &[String], predictions: &Predictions, set: &dyn Dataset) -> Result<Measured> {
    let labels = set.labels()?;
    let probabilities = predictions.all_probabilities();
    let count = names.len().max(2);
    let mut confusion = Confusion::new(count);
    confusion.add(&labels, &predictions.classes())?;
    let wide: Vec<f64> = probabilities.iter().map(|&p| f64::from(p)).collect();
    let mut scores = ClassScores::new(count);
    scores.add(&wide, &labels)?;
    let mut numbers =
        vec![("accuracy".to_string(), confusion.accuracy()), ("loss".to_string(), scores.log_loss())];
    let mut add = |name: &str, number: f64| numbers.push((name.to_string(), number));
    if count == 2 {
        let mut binary = BinaryScores::default();
        let second: Vec<f64> = wide.chunks(2).map(|row| row[1]).collect();
        binary.add(&second, &labels.iter().map(|label| *label == 1).collect::<Vec<_>>())?;
        add("f1", confusion.f1(Average::Binary(1)));
        add("roc-auc", binary.roc_auc());
        add("pr-auc", binary.average_precision());
    } else {
        add("f1 macro", confusion.f1(Average::Macro));
        add("balanced-accuracy", confusion.balanced_accuracy());
        if count > 5 {
            add("top-3", scores.top_k(3));
        }
    }
    add("calibration-error", scores.calibration_error(10));
    Ok(Measured { numbers, of: Of::Classes { names: names.to_vec(), labels, probabilities, confusion } })
}

fn numbers(
    name: &str,
    scale: f64,
    offset: f64,
    predictions: &Predictions,
    set: &dyn Dataset,
) -> Result<Measured> {
    let mut scaled = Vec::with_capacity(set.len());
    let rows: Vec<usize> = (0..set.len()).collect();
    for rows in rows.chunks(1024) {
        let batch = set.gather(rows)?;
        scaled.extend((0..batch.y.len()).filter_map(|at| batch.y.get(at)));
    }
    let outputs = predictions.outputs().iter().map(|&output| f64::from(output));
    let predicted: Vec<f64> = outputs.map(|output| output * scale + offset).collect();
    let truth: Vec<f64> = scaled.iter().map(|y| y * scale + offset).collect();
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
