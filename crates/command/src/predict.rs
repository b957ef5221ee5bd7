//! `kiln predict`: what a model says of new data.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::Model;
use kiln_learn::data::{Rng, Tokens};
use kiln_learn::model::Task;
use kiln_learn::prelude::*;
use kiln_learn::trainer::Predictions;
use serde_json::{Map, Value, json};

use super::measure::all_probabilities;
use super::out;
use super::rows::{self, Questions, Way};

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
  kiln predict runs/novel-1/model.kiln --prompt \"It was\" --length 500
  kiln predict model.kiln new.csv --json        an object for each row")]
pub struct Flags {
    /// The model's file
    model: PathBuf,

    /// A table, pictures (PNG, JPEG, BMP), folders of them, raw bytes, a text to go on with, or - for the standard input
    inputs: Vec<PathBuf>,

    /// A text to go on with, instead of a file
    #[arg(long, value_name = "TEXT", conflicts_with = "inputs")]
    prompt: Option<String>,

    /// How many characters a text goes on for
    #[arg(long, value_name = "N", default_value_t = 300)]
    length: usize,

    /// How freely a text goes on: 0 always takes what is likeliest, 1 draws as likely as the model says
    #[arg(long, value_name = "AMOUNT", default_value_t = 0.8)]
    temperature: f64,

    /// Where randomness starts
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    seed: u64,

    /// How many classes are shown of each image
    #[arg(long, value_name = "N", default_value_t = 1)]
    top: usize,

    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
}

pub fn run(flags: Flags) -> Result<()> {
    let model = rows::asked(&flags.model)?;
    if let Way::Text { tokens, window, column: None } = Way::of(&model)? {
        return generate(&model, &tokens, window, &flags);
    }
    if flags.inputs.is_empty() {
        bail!("name a table, pictures, or - for the standard input");
    }
    let questions = rows::without_answers(&model, &flags.inputs)?;
    for note in &questions.notes {
        out::note(note);
    }
    let predictions = model.predict(&questions.rows)?;
    let answers = Answers::new(&model.about().task, &predictions);
    let mut out = out::Rows::new();
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
            let cell = |column: &kiln_learn::data::Column| {
                column.cell(row).text().map_or(String::new(), |text| quoted(&text))
            };
            let cells = table.columns().iter().map(cell).chain(answers.cells(row));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))?;
        }
    }
    Ok(out.flush()?)
}

/// Lets a text go on: again and again the last window through the model, and one more piece drawn.
fn generate(model: &Model, tokens: &Tokens, window: usize, flags: &Flags) -> Result<()> {
    let prompt = match (&flags.prompt, flags.inputs.as_slice()) {
        (Some(prompt), _) => prompt.clone(),
        (None, []) => "\n".to_string(),
        (None, [input]) if input.as_os_str() == "-" => {
            String::from_utf8(rows::standard_input()?).context("the standard input isn't UTF-8")?
        }
        (None, [input]) => kiln_learn::data::read_text(input)?,
        (None, _) => bail!("one text at a time"),
    };
    let mut codes = tokens.encode(&prompt);
    let mut forward = Function::inference(model.layers(), |layers, cx, [x]| layers.forward(&x, cx));
    let mut rng = Rng::new(flags.seed);
    let (count, first) = (tokens.count(), codes.len());
    let mut out = out::Rows::new();
    let mut shown = 0;
    let mut x = vec![0i64; window];
    for _ in 0..flags.length {
        let seen = &codes[codes.len().saturating_sub(window)..];
        x.fill(0);
        seen.iter().enumerate().for_each(|(at, &code)| x[at] = code.into());
        let logits = forward.run([Input::new(&x, &[1, window])])?;
        let logits = logits[0].as_slice::<f32>().context("the model gives numbers")?;
        if logits.len() != count * window {
            bail!("the model gives {} numbers for {window} places in a text of {count} pieces", logits.len());
        }
        // What comes after the last piece: a place for each piece, and in it one for each of the window.
        let last = seen.len().max(1) - 1;
        let own: Vec<f64> = (0..count).map(|piece| f64::from(logits[piece * window + last])).collect();
        codes.push(drawn(&own, flags.temperature, &mut rng));
        // A piece may be half a character: it is shown when the rest is there.
        let text = tokens.decode(&codes);
        let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER).len();
        if !flags.json && whole > shown {
            write!(out, "{}", &text[shown..whole])?;
            out.flush()?;
            shown = whole;
        }
    }
    match flags.json {
        true => writeln!(out, "{}", json!({ "prompt": prompt, "text": tokens.decode(&codes[first..]) }))?,
        false => writeln!(out, "{}", &tokens.decode(&codes)[shown..])?,
    }
    Ok(())
}

/// A piece drawn by its logit; the first, which stands for what isn't known, never.
fn drawn(logits: &[f64], temperature: f64, rng: &mut Rng) -> u32 {
    let most = logits.iter().skip(1).copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |logit: f64| match temperature > 0.0 {
        true => ((logit - most) / temperature).exp(),
        false => f64::from(u8::from(logit == most)),
    };
    let weights: Vec<f64> = logits.iter().skip(1).map(|&logit| weight(logit)).collect();
    let mut place = rng.uniform() * weights.iter().sum::<f64>();
    for (at, weight) in weights.iter().enumerate() {
        place -= weight;
        if place <= 0.0 {
            return at as u32 + 1;
        }
    }
    logits.len() as u32 - 1
}

/// What a model says, in the words of the data.
enum Answers<'a> {
    Classes {
        names: &'a [String],
        classes: Vec<i64>,
        probabilities: Vec<f32>,
    },
    /// `[rows, names]`
    Numbers {
        names: &'a [String],
        numbers: Vec<f64>,
    },
}

impl<'a> Answers<'a> {
    fn new(task: &'a Task, predictions: &Predictions) -> Answers<'a> {
        match task {
            Task::Classes { names } => Answers::Classes {
                names,
                classes: predictions.classes(),
                probabilities: all_probabilities(predictions),
            },
            // Texts go on by themselves; see `generate`.
            Task::Text { .. } => Answers::Numbers { names: &[], numbers: Vec::new() },
            Task::Numbers { names, scale, offset } => {
                let units = scale.iter().zip(offset).cycle();
                let outputs = predictions.outputs().iter().zip(units);
                let numbers = outputs.map(|(&y, (scale, offset))| f64::from(y) * scale + offset).collect();
                Answers::Numbers { names, numbers }
            }
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

    /// What was predicted of a row, if it is numbers.
    fn numbers(&self, row: usize) -> &[f64] {
        match self {
            Answers::Classes { .. } => &[],
            Answers::Numbers { names, numbers } => {
                numbers.chunks(names.len().max(1)).nth(row).unwrap_or_default()
            }
        }
    }

    fn prediction(&self, row: usize) -> Value {
        match (self, self.numbers(row)) {
            (Answers::Classes { names, classes, .. }, _) => names[classes[row] as usize].as_str().into(),
            (_, [number]) => (*number).into(),
            (_, numbers) => numbers.into(),
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
            Answers::Numbers { names, .. } => {
                names.iter().map(|name| quoted(&format!("predicted {name}"))).collect()
            }
        }
    }

    fn cells(&self, row: usize) -> Vec<String> {
        match self {
            Answers::Classes { names, classes, .. } => {
                let each = self.row(row).into_iter().map(|(_, p)| format!("{p:.6}"));
                std::iter::once(quoted(&names[classes[row] as usize])).chain(each).collect()
            }
            Answers::Numbers { .. } => self.numbers(row).iter().map(f64::to_string).collect(),
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
