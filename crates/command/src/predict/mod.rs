//! `kiln predict`: what a model says of new data.

mod forecasts;
mod generate;
mod masked;
mod pairs;
mod pictures;
mod stream;
mod tags;
mod texts;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::hub::{self, EncoderModel, HubModel, TextNetwork};
use kiln_learn::models::EncoderHead;
use kiln_learn::preparation::TextPreparation;
use kiln_learn::{Predictor, Preparation};

use self::generate::GenerateFlags;
use self::masked::print_masked;
use self::texts::{GivenText, TextFlags, is_text, print_predictions};
use super::out;
use super::reading::ReadingFlags;
use super::rows;
pub use kiln_learn::lines;
pub use kiln_learn::lines::task as task_of;

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
  kiln predict llama-1b-q4_k_m.gguf --prompt \"Once upon a time\"
  kiln predict model.kiln new.csv --decimal ,   numbers are written otherwise than in the training's file
  kiln predict model.kiln photos.zip            the pictures of an archive, which isn't unpacked
  kiln predict runs/reviews-1/model.kiln --text \"a fine story\"
  kiln predict dates.kiln --text \"3 May 2021\"
  kiln predict dates.kiln new.csv               a column more, with what is written for each text
  kiln predict ner.kiln --text \"Ada lives in London\"
  kiln predict ner.kiln new.conll > tagged.conll
  kiln predict reviews-bert/ \"a fine film\" \"a waste of time\" --top 3
  kiln predict bert-base/ \"Paris is the [MASK] of France.\"
  kiln predict ner-bert/ \"Ada lives in London.\" --json
  kiln predict sentences-bert/ lines.txt --embed --normalize > meanings.csv
  kiln predict net.onnx \"a fine film\"             with tokenizer.json beside it
  kiln predict vit-base/ cat.jpg photos/ --top 5
  kiln predict t5-small/ --prompt \"translate English to German: Good day\" --temperature 0
  kiln predict model.kiln new.csv --json        an object for each row")]
pub struct PredictFlags {
    /// The model's file, a folder of a model hub's (config.json, model.safetensors, tokenizer.json), a GGUF file, or an ONNX file with its tokenizer.json
    model: PathBuf,

    /// A table, pictures (PNG, JPEG, BMP, WebP, GIF, TIFF, PNM, ICO), folders and zip archives of them, raw bytes, a text to go on with, a text itself of a model of texts, or - for the standard input
    inputs: Vec<PathBuf>,

    /// Adapters beside the weights of a language model, as `kiln train --lora` leaves them
    #[arg(long, value_name = "FILE")]
    adapters: Option<PathBuf>,

    #[command(flatten)]
    generate: GenerateFlags,

    #[command(flatten)]
    given: TextFlags,

    /// How many classes are shown of each image or text [default: 1], or pieces for each masked one [default: 5]
    #[arg(long, value_name = "N")]
    top: Option<usize>,

    #[command(flatten)]
    seen: rows::ViewFlags,

    #[command(flatten)]
    reading: ReadingFlags,

    /// Print a JSON object for each row
    #[arg(long)]
    json: bool,
}

pub fn run(flags: PredictFlags) -> Result<ExitCode> {
    if hub::is_model(&flags.model) {
        return of_folder(&flags);
    }
    if TextNetwork::is_file(&flags.model) {
        return of_network(&flags).map(|()| ExitCode::SUCCESS);
    }
    if flags.adapters.is_some() {
        bail!("{}: --adapters is for a language model", flags.model.display());
    }
    let mut model = rows::asked(&flags.model)?;
    flags.reading.tell(&mut model)?;
    let predictor = Predictor::new(model)?;
    let about = predictor.model().about();
    let goes_on = matches!(&about.preparation, Preparation::Text(text) if text.columns.is_none());
    let views = flags.seen.views(about)?;
    flags.given.check_single()?;
    flags.given.check_words()?;
    if !goes_on {
        flags.generate.check_none()?;
    }
    let given = || flags.given.singles(&flags.inputs);
    if flags.given.embeds() {
        let texts = match &about.preparation {
            Preparation::Text(TextPreparation { columns: Some(columns), .. })
                if !flags.inputs.is_empty() && !flags.names_texts() =>
            {
                of_column(rows::without_answers(about, &flags.inputs)?, &columns.text)?
            }
            _ => given()?,
        };
        let embeddings = predictor.embed(texts.iter().map(GivenText::first))?;
        return flags.given.print_embeddings(&texts, embeddings, flags.json).map(|()| ExitCode::SUCCESS);
    }
    if let Preparation::Pairs(pairs) = &about.preparation {
        let options = flags.generate.options(0.0);
        pairs::run(&predictor, pairs, flags.given.texts(), &flags.inputs, &options, flags.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let tells_texts_apart = matches!(&about.preparation, Preparation::Text(text) if text.columns.is_some());
    if let Preparation::Forecast(plan) = &about.preparation {
        flags.given.check_none()?;
        return forecasts::run(&predictor, plan, &flags.inputs, flags.json).map(|()| ExitCode::SUCCESS);
    }
    if matches!(about.preparation, Preparation::Tags(_)) {
        let texts = flags.given.texts();
        return tags::run(&predictor, texts, &flags.inputs, flags.json).map(|()| ExitCode::SUCCESS);
    }
    if tells_texts_apart && flags.names_texts() {
        let texts = given()?;
        let said = texts.iter().map(|text| predictor.predict_text(text.first()));
        print_predictions(&texts, said.collect(), flags.top(), flags.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if goes_on {
        flags.given.check_none()?;
        return flags
            .generate
            .run(&mut predictor.clone(), &flags.inputs, flags.json)
            .map(|()| ExitCode::SUCCESS);
    }
    if flags.given.names_texts() {
        bail!("--text is for a model that tells texts apart, and this one takes something else");
    }
    if flags.inputs.is_empty() {
        match tells_texts_apart {
            true => bail!("name a table, or - for the standard input; or give a text: --text TEXT"),
            false => bail!("name a table, pictures, or - for the standard input"),
        }
    }
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
            writeln!(
                out,
                "{}",
                lines::object(questions.files.get(row).map(PathBuf::as_path), answer, &about.task, row)
            )?;
        } else if questions.table.is_none() {
            let file = questions.files.get(row).map(|file| file.display().to_string()).unwrap_or_default();
            writeln!(out, "{file}  {}", lines::best(answer, &about.task, flags.top()))?;
        }
    }
    if let (Some(table), false) = (&questions.table, flags.json) {
        lines::table_header(table, about, &mut out)?;
        lines::table_rows(table, &answers, &about.task, &mut out)?;
    }
    out.flush()?;
    Ok(if questions.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// So many pieces are shown for a masked one.
const MASKED: usize = 5;

impl PredictFlags {
    /// How many classes are shown.
    fn top(&self) -> usize {
        self.top.unwrap_or(1)
    }

    /// Whether texts themselves are given, and no file.
    fn names_texts(&self) -> bool {
        self.given.names_texts() || self.inputs.iter().any(|input| is_text(input))
    }
}

/// The texts in a column of a table.
fn of_column(asked: rows::Questions, column: &str) -> Result<Vec<GivenText>> {
    let Some(table) = asked.table else { return Ok(Vec::new()) };
    let column = table.column(column)?;
    Ok((0..table.len()).map(|row| GivenText::of(&column.cell(row).text().unwrap_or_default())).collect())
}

/// What a model of a hub's folder says.
fn of_folder(flags: &PredictFlags) -> Result<ExitCode> {
    let (embeds, json) = (flags.given.embeds(), flags.json);
    let texts = || flags.given.given(&flags.inputs);
    let model = hub::open(&flags.model)?;
    flags.seen.check_none()?;
    if !flags.reading.is_empty() {
        bail!(
            "{}: the model takes no tables, of which such flags say how they are read",
            flags.model.display()
        );
    }
    if !matches!(model, HubModel::Language(_) | HubModel::Seq2Seq(_)) {
        flags.generate.check_none()?;
    }
    if !matches!(model, HubModel::Encoder(_)) {
        flags.given.check_words()?;
    }
    match (&flags.adapters, &model) {
        (Some(adapters), HubModel::Language(model)) => drop(model.load_adapters(adapters)?),
        (Some(_), _) => bail!("{}: --adapters is for a language model", flags.model.display()),
        (None, _) => {}
    }
    if !embeds && matches!(model, HubModel::Language(_) | HubModel::Seq2Seq(_)) {
        flags.given.check_none()?;
    }
    match model {
        HubModel::Language(model) if embeds => {
            let texts = flags.given.singles(&flags.inputs)?;
            flags.given.print_embeddings(&texts, model.embed(texts.iter().map(GivenText::first))?, json)
        }
        HubModel::Language(mut model) => {
            flags.given.check_single()?;
            flags.generate.run(&mut *model, &flags.inputs, json)
        }
        HubModel::Seq2Seq(model) if embeds => {
            let texts = texts()?;
            flags.given.print_embeddings(&texts, model.embed(&texts)?, json)
        }
        HubModel::Seq2Seq(mut model) => flags.generate.run(&mut *model, &flags.inputs, json),
        HubModel::Encoder(model) => of_encoder(flags, &model),
        HubModel::Vision(_) if embeds || flags.given.names_texts() => {
            bail!("--embed and --text are of texts, and the model takes pictures")
        }
        HubModel::Vision(model) => return pictures::predict(&model, &flags.inputs, flags.top(), json),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// What an encoder of a hub's folder says of texts, by what stands on its last block.
fn of_encoder(flags: &PredictFlags, model: &EncoderModel) -> Result<()> {
    let (given, json) = (&flags.given, flags.json);
    if matches!(model.config().head, EncoderHead::StepClasses(_)) && !given.embeds() {
        given.check_single()?;
        return tags::of_encoder(model, given.texts(), &flags.inputs, given.aggregation(), json);
    }
    let texts = given.given(&flags.inputs)?;
    given.check_words()?;
    match model.mask() {
        _ if given.embeds() => given.print_embeddings(&texts, model.embed(&texts)?, json),
        Some(mask) => print_masked(&texts, model.fill(&texts, flags.top.unwrap_or(MASKED))?, mask, json),
        None => print_predictions(&texts, model.predict(&texts), flags.top(), json),
    }
}

/// What a network of an ONNX file says of texts.
fn of_network(flags: &PredictFlags) -> Result<()> {
    let network = TextNetwork::open(&flags.model)?;
    flags.seen.check_none()?;
    flags.generate.check_none()?;
    flags.given.check_words()?;
    let texts = flags.given.given(&flags.inputs)?;
    match flags.given.embeds() {
        true => flags.given.print_embeddings(&texts, network.embed(&texts)?, flags.json),
        false => print_predictions(&texts, network.predict(&texts), flags.top(), flags.json),
    }
}
