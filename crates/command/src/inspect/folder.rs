//! What `kiln inspect` says of a model of a hub's folder.

use std::fmt::Write as _;

use std::path::Path;

use anyhow::Result;
use kiln_learn::hub::{self, EncoderModel, HubModel, LanguageModel, Seq2SeqModel, VisionModel, gguf};
use kiln_learn::model::listed;
use kiln_learn::models::{EncoderHead, VisionHead};
use kiln_learn::prelude::*;

use crate::out::counted;

/// What it is, of whichever kind.
fn about(model: &HubModel) -> Result<String> {
    match model {
        HubModel::Language(model) => language_model(model),
        HubModel::Encoder(model) => encoder(model),
        HubModel::Seq2Seq(model) => seq2seq(model),
        HubModel::Vision(model) => vision(model),
    }
}

/// The same of what lies at a path; of a GGUF file also what it says of itself.
pub(super) fn of_model(path: &Path) -> Result<String> {
    if !gguf::is_gguf(path) {
        return about(&hub::open(path)?);
    }
    let told = gguf::about(path)?;
    // What a file says can be looked at, whether or not kiln computes it.
    match hub::open(path) {
        Ok(model) => Ok(format!("{told}\n{}", about(&model)?)),
        Err(error) => Ok(format!("{told}\n{error}\n")),
    }
}

fn encoder(model: &EncoderModel) -> Result<String> {
    let config = model.config();
    let steps = config.window().min(SHOWN_STEPS);
    let mut text = format!("{}\n\n", Summary::of_type(model.encoder(), [1, steps], DType::I64)?);
    let each = match config.head {
        EncoderHead::Steps | EncoderHead::Pooler => "what each piece of a text means".to_string(),
        EncoderHead::Classes(..) => classes(model.labels(), ""),
        EncoderHead::StepClasses(_) => classes(model.labels(), ", of each piece"),
        EncoderHead::Pieces { .. } => "what stands where a piece is masked".to_string(),
    };
    let (window, vocabulary) = (config.window(), counted(config.vocabulary, "piece"));
    writeln!(text, "tells     {each}; of {vocabulary}, seeing {window} at once")?;
    writeln!(
        text,
        "blocks    {} of {} features: {} heads, {} in the middle",
        config.blocks, config.width, config.block.heads, config.block.feedforward
    )?;
    text += &pieces(model.tokenizer().is_some());
    Ok(text)
}

fn seq2seq(model: &Seq2SeqModel) -> Result<String> {
    let config = model.config();
    let mut text = String::new();
    for (path, parameter) in model.model().parameters() {
        writeln!(text, "has       {path} {}", parameter.shape())?;
    }
    let numbers = counted(model.model().parameter_count(), "parameter");
    writeln!(
        text,
        "\n{numbers}\n\ntells     what follows from a text, of {}",
        counted(config.vocabulary, "piece")
    )?;
    writeln!(
        text,
        "blocks    {} that read and {} that write, of {} features: {} heads of {}, {} in the middle",
        config.encoder_blocks,
        config.decoder_blocks,
        config.width,
        config.heads,
        config.head_width,
        config.feedforward
    )?;
    text += &pieces(model.tokenizer().is_some());
    Ok(text)
}

fn vision(model: &VisionModel) -> Result<String> {
    let config = model.config();
    let [channels, height, width] = config.picture;
    let mut text = format!("{}\n\n", Summary::of(model.model(), [1, channels, height, width])?);
    writeln!(text, "takes     pictures of {channels} × {height} × {width}")?;
    let told = match config.head {
        VisionHead::Classes(_) => classes(model.labels(), ""),
        VisionHead::Steps | VisionHead::Pooler => "what each patch of a picture means".to_string(),
    };
    writeln!(text, "tells     {told}")?;
    writeln!(
        text,
        "blocks    {} of {} features: {} heads, {} in the middle, over patches of {} × {}",
        config.blocks,
        config.width,
        config.block.heads,
        config.block.feedforward,
        config.patch[0],
        config.patch[1]
    )?;
    Ok(text)
}

fn classes(names: &[String], of_what: &str) -> String {
    format!("{}{of_what}: {}", counted(names.len(), "class"), listed(names))
}

/// Whether there are pieces.
fn pieces(has_tokenizer: bool) -> String {
    let pieces = if has_tokenizer { "tokenizer.json" } else { "none: it takes codes, not texts" };
    format!("pieces    {pieces}\n")
}

/// A language model of a hub's folder.
fn language_model(model: &LanguageModel) -> Result<String> {
    let (config, window) = (model.config(), model.window());
    let steps = window.min(SHOWN_STEPS);
    let mut text = format!("{}\n", Summary::of_type(model.decoder(), [1, steps], DType::I64)?);
    let block = &config.block;
    writeln!(
        text,
        "\ntells     what comes next, of {}, seeing {window} at once",
        counted(config.vocabulary, "piece")
    )?;
    let heads = match block.kv_heads == block.heads {
        true => format!("{} heads", block.heads),
        false => format!("{} heads of queries, {} of keys", block.heads, block.kv_heads),
    };
    writeln!(
        text,
        "blocks    {} of {} features: {heads} of {}, {} in the middle",
        config.blocks, config.width, block.head_width, block.feedforward
    )?;
    text += &match model.no_pieces() {
        _ if model.tokenizer().is_none() => {
            format!("pieces    none: it takes codes, not texts ({})\n", model.no_pieces())
        }
        "" => "pieces    in the file\n".to_string(),
        _ => pieces(true),
    };
    Ok(text)
}

/// Steps of a language model's summary.
const SHOWN_STEPS: usize = 64;
