//! `kiln predict`: what a model says of new data.

mod generate;
mod lines;
mod stream;
mod tags;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::hub::LanguageModel;
use kiln_learn::{Predictor, Preparation};

use self::generate::GenerateFlags;
use self::lines::{best, object, table_header, table_rows};
use super::out;
use super::reading::ReadingFlags;
use super::rows;

/// Predict with a trained model
///
/// A table comes out as CSV: the columns as they came in, the prediction, and the probability of each class. It is read, predicted and
/// written in a stream, however long it is (workbooks are read whole, and so are JSON, Parquet and Arrow that fit into memory). Of images each is a line.
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
  kiln predict llama-1b/ --prompt \"Once upon a time\" --temperature 0.7 --top-k 40
  kiln predict model.kiln new.csv --decimal ,   numbers are written otherwise than in the training's file
  kiln predict model.kiln photos.zip            the pictures of an archive, which isn't unpacked
  kiln predict runs/reviews-1/model.kiln --text \"a fine story\"
  kiln predict ner.kiln --text \"Ada lives in London\"
  kiln predict ner.kiln new.conll > tagged.conll
  kiln predict model.kiln new.csv --json        an object for each row")]
pub struct PredictFlags {
    /// The model's file, or a folder of a language model (config.json, model.safetensors, tokenizer.json)
    model: PathBuf,

    /// A table, pictures (PNG, JPEG, BMP, WebP, GIF, TIFF, PNM, ICO), folders and zip archives of them, raw bytes, a text to go on with, or - for the standard input
    inputs: Vec<PathBuf>,

    /// A text to tell apart, instead of a table; several are answered in their order
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["inputs", "prompt", "score"])]
    text: Vec<String>,

    #[command(flatten)]
    generate: GenerateFlags,

    /// How many classes are shown of each image or --text
    #[arg(long, value_name = "N", default_value_t = 1)]
    top: usize,

    #[command(flatten)]
    seen: rows::ViewFlags,

    #[command(flatten)]
    reading: ReadingFlags,

    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
}

pub fn run(flags: PredictFlags) -> Result<ExitCode> {
    if LanguageModel::is_folder(&flags.model) {
        let model = LanguageModel::open(&flags.model)?;
        return flags.generate.run(&model, &flags.inputs, flags.json).map(|()| ExitCode::SUCCESS);
    }
    let mut model = rows::asked(&flags.model)?;
    flags.reading.tell(&mut model)?;
    let predictor = Predictor::new(model)?;
    let about = predictor.model().about();
    let goes_on = matches!(&about.preparation, Preparation::Text(text) if text.columns.is_none());
    let tells_texts_apart = matches!(&about.preparation, Preparation::Text(text) if text.columns.is_some());
    if matches!(about.preparation, Preparation::Tags(_)) {
        return tags::run(&predictor, &flags.text, &flags.inputs, flags.json).map(|()| ExitCode::SUCCESS);
    }
    if !flags.text.is_empty() {
        return match tells_texts_apart {
            true => texts(&predictor, &flags).map(|()| ExitCode::SUCCESS),
            false if goes_on => bail!(
                "--text is for a model that tells texts apart; this one goes on with them: --prompt TEXT"
            ),
            false => bail!("--text is for a model that tells texts apart, and this one takes something else"),
        };
    }
    if goes_on {
        return flags.generate.run(&predictor, &flags.inputs, flags.json).map(|()| ExitCode::SUCCESS);
    }
    if flags.inputs.is_empty() {
        match tells_texts_apart {
            true => bail!("name a table, or - for the standard input; or give a text: --text TEXT"),
            false => bail!("name a table, pictures, or - for the standard input"),
        }
    }
    let views = flags.seen.views(about)?;
    let questions = match stream::predict(&predictor, &flags.inputs, flags.json)? {
        None => return Ok(ExitCode::SUCCESS),
        Some(whole) => whole,
    };
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
            writeln!(out, "{}", object(questions.files.get(row), answer, &about.task, row))?;
        } else if questions.table.is_none() {
            let file = questions.files.get(row).map(|file| file.display().to_string()).unwrap_or_default();
            writeln!(out, "{file}  {}", best(answer, &about.task, flags.top))?;
        }
    }
    if let (Some(table), false) = (&questions.table, flags.json) {
        table_header(table, &about.task, &mut out)?;
        table_rows(table, &answers, &about.task, &mut out)?;
    }
    out.flush()?;
    Ok(if questions.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers texts of the command line, a line each.
fn texts(predictor: &Predictor, flags: &PredictFlags) -> Result<()> {
    let task = &predictor.model().about().task;
    let mut out = out::RowWriter::new();
    for (row, text) in flags.text.iter().enumerate() {
        let answer = predictor.predict_text(text)?;
        if flags.json {
            let mut object = object(None, &answer, task, row);
            object["text"] = text.as_str().into();
            writeln!(out, "{object}")?;
        } else {
            writeln!(out, "{text}  {}", best(&answer, task, flags.top))?;
        }
    }
    Ok(out.flush()?)
}
