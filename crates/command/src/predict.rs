//! `kiln predict`: what a model says of new data.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::model::Task;
use kiln_learn::{Prediction, Predictor, Preparation};
use serde_json::{Map, Value, json};

use super::generate::GenerateFlags;
use super::out;
use super::rows::{self, Questions};

/// Predict with a trained model
///
/// A table comes out as CSV: the columns as they came in, the prediction, and the probability of each class. Of images each is a line.
/// What was fitted in training (means, words, sizes) is applied unchanged. A picture that can't be read is named on the standard error, the
/// others go on, and the exit code is then 1.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln predict runs/heart-1/model.kiln new.csv > predicted.csv
  cat new.csv | kiln predict model.kiln -
  kiln predict runs/mnist-1/model.kiln seven.png photos/ --top 3
  kiln predict model.kiln image.raw             exactly as many bytes as the input has
  curl …/seven.jpg | kiln predict model.kiln -  a picture from the standard input
  kiln predict runs/novel-1/model.kiln --prompt \"It was\" --tokens 500 --top-p 0.95
  kiln predict runs/novel-1/model.kiln chapter.txt --score
  kiln predict model.kiln new.csv --json        an object for each row")]
pub struct PredictFlags {
    /// The model's file
    model: PathBuf,

    /// A table, pictures (PNG, JPEG, BMP, WebP, GIF, TIFF, PNM, ICO), folders of them, raw bytes, a text to go on with, or - for the standard input
    inputs: Vec<PathBuf>,

    #[command(flatten)]
    text: GenerateFlags,

    /// How many classes are shown of each image
    #[arg(long, value_name = "N", default_value_t = 1)]
    top: usize,

    #[command(flatten)]
    seen: rows::ViewFlags,

    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
}

pub fn run(flags: PredictFlags) -> Result<ExitCode> {
    let model = rows::asked(&flags.model)?;
    let predictor = Predictor::new(model)?;
    let about = predictor.model().about();
    if let Preparation::Text(text) = &about.preparation
        && text.columns.is_none()
    {
        return flags.text.run(&predictor, &flags.inputs, flags.json).map(|()| ExitCode::SUCCESS);
    }
    if flags.inputs.is_empty() {
        bail!("name a table, pictures, or - for the standard input");
    }
    let views = flags.seen.views(about)?;
    let questions = rows::without_answers(about, &flags.inputs)?;
    for note in &questions.notes {
        out::note(note);
    }
    for failed in &questions.failed {
        out::note(format_args!("error: {failed}"));
    }
    let answers = match &views {
        Some(views) => predictor.predict_views(&questions.rows, views)?,
        None => predictor.predict(&questions.rows)?,
    };
    let mut out = out::RowWriter::new();
    for (row, answer) in answers.iter().enumerate() {
        if flags.json {
            writeln!(out, "{}", object(&questions, answer, row))?;
        } else if questions.table.is_none() {
            let file = questions.files.get(row).map(|file| file.display().to_string()).unwrap_or_default();
            writeln!(out, "{file}  {}", best(answer, flags.top))?;
        }
    }
    if let (Some(table), false) = (&questions.table, flags.json) {
        let names: Vec<&str> = table.names().collect();
        let header = names.iter().map(|name| quoted(name)).chain(header(&about.task));
        writeln!(out, "{}", header.collect::<Vec<_>>().join(","))?;
        for (row, answer) in answers.iter().enumerate() {
            let cell = |column: &kiln_learn::data::Column| {
                column.cell(row).text().map_or(String::new(), |text| quoted(&text))
            };
            let cells = table.columns().iter().map(cell).chain(cells(answer));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))?;
        }
    }
    out.flush()?;
    Ok(if questions.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was predicted, as JSON has it.
fn value(answer: &Prediction) -> Value {
    match (answer, answer.number()) {
        (Prediction::Classes { .. }, _) => answer.class().into(),
        (_, Some(number)) => number.into(),
        (_, None) => answer.numbers().map(|(_, number)| number).collect::<Vec<_>>().into(),
    }
}

/// The likeliest classes, or the numbers.
fn best(answer: &Prediction, count: usize) -> String {
    let mut all: Vec<(&str, f32)> = answer.probabilities().collect();
    if all.is_empty() {
        return value(answer).to_string();
    }
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown = all.iter().take(count.max(1)).map(|(name, p)| format!("{name} {:.2} %", 100.0 * p));
    shown.collect::<Vec<_>>().join("  ")
}

/// The names of the columns that are added to a table.
fn header(task: &Task) -> Vec<String> {
    match task {
        Task::Classes { names } => {
            let each = names.iter().map(|name| quoted(&format!("p({name})")));
            std::iter::once("prediction".to_string()).chain(each).collect()
        }
        Task::Numbers { names, .. } => {
            names.iter().map(|name| quoted(&format!("predicted {name}"))).collect()
        }
        Task::Text { .. } => Vec::new(),
    }
}

/// What stands in them.
fn cells(answer: &Prediction) -> Vec<String> {
    let class = answer.class().map(quoted);
    let probabilities = answer.probabilities().map(|(_, p)| format!("{p:.6}"));
    let numbers = answer.numbers().map(|(_, number)| number.to_string());
    class.into_iter().chain(probabilities).chain(numbers).collect()
}

fn object(questions: &Questions, answer: &Prediction, row: usize) -> Value {
    let mut object = json!({ "row": row, "prediction": value(answer) });
    if let Some(file) = questions.files.get(row) {
        object["input"] = file.display().to_string().into();
    }
    if let Prediction::Classes { .. } = answer {
        let each = answer.probabilities().map(|(name, p)| (name.to_string(), p.into()));
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
