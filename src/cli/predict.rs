//! `kiln predict`: what a model says of new data.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use kiln::Model;
use kiln::data::Dataset;
use kiln::model::Task;
use kiln::trainer::Predictions;
use serde_json::{Map, Value, json};

use super::measure::all_probabilities;
use super::rows::{self, Questions};

/// Predict with a trained model
///
/// A table comes out as CSV: the columns as they came in, the prediction, and the probability of each class. Of images each is a line.
/// What was fitted in training (means, words, sizes) is applied unchanged.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln predict runs/heart-1/model.kiln new.csv > predicted.csv
  cat new.csv | kiln predict model.kiln -
  kiln predict runs/mnist-1/model.kiln seven.png photos/ --top 3
  kiln predict model.kiln image.raw             exactly as many bytes as the input has
  kiln predict model.kiln new.csv --json        an object for each row")]
pub struct Flags {
    /// The model's file
    model: PathBuf,

    /// A table, pictures (PNG, JPEG, BMP), folders of them, raw bytes, or - for the standard input
    #[arg(required = true)]
    inputs: Vec<PathBuf>,

    /// How many classes are shown of each image
    #[arg(long, value_name = "N", default_value_t = 1)]
    top: usize,

    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
}

pub fn run(flags: Flags) -> Result<()> {
    let model = Model::load(&flags.model)?;
    let questions = rows::without_answers(&model, &flags.inputs)?;
    for note in &questions.notes {
        eprintln!("{note}");
    }
    let predictions = model.predict(&questions.rows)?;
    let answers = Answers::new(&model.about().task, &predictions);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for row in 0..questions.rows.len() {
        if flags.json {
            writeln!(out, "{}", object(&questions, &answers, row))?;
        } else if questions.table.is_none() {
            let file = questions.files.get(row).map(|file| file.display().to_string()).unwrap_or_default();
            writeln!(out, "{file}  {}", answers.best(row, flags.top))?;
        }
    }
    if let (Some(table), false) = (&questions.table, flags.json) {
        let names: Vec<&str> = table.names().collect();
        let header = names.iter().map(|name| quoted(name)).chain(answers.header());
        writeln!(out, "{}", header.collect::<Vec<_>>().join(","))?;
        for row in 0..table.len() {
            let cell = |column: &kiln::data::Column| {
                column.cell(row).text().map_or(String::new(), |text| quoted(&text))
            };
            let cells = table.columns().iter().map(cell).chain(answers.cells(row));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))?;
        }
    }
    Ok(out.flush()?)
}

/// What a model says, in the words of the data.
enum Answers<'a> {
    Classes { names: &'a [String], classes: Vec<i64>, probabilities: Vec<f32> },
    Numbers { name: &'a str, numbers: Vec<f64> },
}

impl<'a> Answers<'a> {
    fn new(task: &'a Task, predictions: &Predictions) -> Answers<'a> {
        match task {
            Task::Classes { names } => Answers::Classes {
                names,
                classes: predictions.classes(),
                probabilities: all_probabilities(predictions),
            },
            Task::Numbers { names, scale, offset } => Answers::Numbers {
                name: &names[0],
                numbers: predictions.outputs().iter().map(|&y| f64::from(y) * scale[0] + offset[0]).collect(),
            },
        }
    }

    /// The probabilities of a row, by class.
    fn row(&self, row: usize) -> Vec<(&str, f32)> {
        match self {
            Answers::Classes { names, probabilities, .. } => {
                let own = probabilities.chunks(names.len().max(1)).nth(row).unwrap_or_default();
                names.iter().map(String::as_str).zip(own.iter().copied()).collect()
            }
            Answers::Numbers { .. } => Vec::new(),
        }
    }

    fn prediction(&self, row: usize) -> Value {
        match self {
            Answers::Classes { names, classes, .. } => names[classes[row] as usize].as_str().into(),
            Answers::Numbers { numbers, .. } => numbers[row].into(),
        }
    }

    /// The likeliest classes.
    fn best(&self, row: usize, count: usize) -> String {
        let mut all = self.row(row);
        if all.is_empty() {
            return self.prediction(row).to_string();
        }
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        let shown = all.iter().take(count.max(1)).map(|(name, p)| format!("{name} {:.2} %", 100.0 * p));
        shown.collect::<Vec<_>>().join("  ")
    }

    fn header(&self) -> Vec<String> {
        match self {
            Answers::Classes { names, .. } => {
                let each = names.iter().map(|name| quoted(&format!("p({name})")));
                std::iter::once("prediction".to_string()).chain(each).collect()
            }
            Answers::Numbers { name, .. } => vec![quoted(&format!("predicted {name}"))],
        }
    }

    fn cells(&self, row: usize) -> Vec<String> {
        match self {
            Answers::Classes { names, classes, .. } => {
                let each = self.row(row).into_iter().map(|(_, p)| format!("{p:.6}"));
                std::iter::once(quoted(&names[classes[row] as usize])).chain(each).collect()
            }
            Answers::Numbers { numbers, .. } => vec![numbers[row].to_string()],
        }
    }
}

fn object(questions: &Questions, answers: &Answers, row: usize) -> Value {
    let mut object = json!({ "row": row, "prediction": answers.prediction(row) });
    if let Some(file) = questions.files.get(row) {
        object["input"] = file.display().to_string().into();
    }
    if let Answers::Classes { .. } = answers {
        let each = answers.row(row).into_iter().map(|(name, p)| (name.to_string(), p.into()));
        object["probabilities"] = Value::Object(each.collect::<Map<_, _>>());
    }
    object
}

/// A cell of CSV, in quotes where it needs them.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}
