//! `kiln export`: a model in another form.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::data::Tokenizer;
use kiln_learn::hub::gguf::{PiecesForm, WeightFormat};
use kiln_learn::hub::{self, LanguageModel};

use kiln_learn::onnx::export::ExportedFile;
use kiln_learn::onnx::{Checked, Export, NEWEST, OLDEST, Options};
use kiln_learn::weights::{self, Weights};
use kiln_learn::{Model, Module, Preparation};

use super::out;
use super::train::language::MODEL;

/// Write a model in another form
///
/// The form follows from the name: `.json` is text that people can read and change; `.kiln` and `.safetensors` are the compact form,
/// which any reader of safetensors opens; `.npz` holds the weights alone, for NumPy; `tokenizer.json` the pieces of a text, for libraries of
/// tokenizers; a language model becomes the folder of a hub, or `.gguf`; `.onnx` runs anywhere. An ONNX file has the
/// preparation in it: it takes raw columns or pixels, and gives classes, probabilities or numbers in their own unit. It is read back and run
/// beside the model.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln export runs/heart-1/model.kiln heart.json
  kiln export heart.json heart.kiln
  kiln export heart.kiln heart.npz              weights for NumPy: numpy.load(\"heart.npz\")[\"0.weight\"]
  kiln export novel.kiln tokenizer.json         the pieces that a text is cut in
  kiln export runs/novel-1 llama-novel          a language model's folder, adapters among its weights
  kiln export llama-q4_k_m.gguf llama           the same of a GGUF file, unpacked
  kiln export llama-1b llama.gguf --type q8_0   one file, weights in blocks of 32 bytes with a scale
  kiln export heart.kiln heart.onnx             an input for each column; labels and probabilities come out
  kiln export novel.kiln novel.onnx --cache     codes and what was kept in, logits and what is kept out
  kiln export llama-1b/ llama.onnx --cache      a hub's folder likewise
  kiln export cnn.kiln cnn.onnx --half --fold   half the size, norms folded into convolutions")]
pub struct ExportFlags {
    /// The model's file; of a language model its folder, GGUF file, or the folder of a run that went on from one
    model: PathBuf,

    /// Where to write it
    to: PathBuf,

    /// A language model: adapters that become part of its weights, as `kiln train --lora` leaves them
    #[arg(long, value_name = "FILE")]
    adapters: Option<PathBuf>,

    /// GGUF: how matrices lie: f32, f16, bf16, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1 or q4_0; as they are unless told otherwise. Rows that
    /// don't fill the blocks of a type take one with smaller blocks
    #[arg(long = "type", value_name = "TYPE")]
    format: Option<WeightFormat>,

    /// ONNX: the version of the operators
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(OLDEST..=NEWEST))]
    opset: Option<i64>,

    /// ONNX: leave out how raw data become inputs, and outputs answers
    #[arg(long)]
    without_preprocessing: bool,

    /// ONNX: store weights in 16 bits; they are computed with in 32
    #[arg(long)]
    half: bool,

    /// ONNX: make norms over the batch part of the convolutions before them
    #[arg(long)]
    fold: bool,

    /// ONNX of a model that goes on with texts: a graph of any number of next steps, which takes and gives what layers keep of those before
    /// (`past_key_values.0.key`, `present.0.key`, …)
    #[arg(long)]
    cache: bool,
}

pub fn run(flags: ExportFlags) -> Result<()> {
    // A run that went on from a language model has it in a folder of its own.
    let of_run = flags.model.join(MODEL);
    let named = if hub::is_folder(&of_run) { &of_run } else { &flags.model };
    if hub::is_model(named) {
        return language_model(named, &flags);
    }
    if flags.adapters.is_some() || flags.format.is_some() {
        let named = if flags.adapters.is_some() { "--adapters" } else { "--type" };
        bail!("{}: {named} is for a language model of a hub's folder or a GGUF file", flags.model.display());
    }
    let extension = flags.to.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    if !["json", "kiln", "safetensors", "npz", "onnx"].contains(&extension) {
        bail!(
            "{}: the form follows from the name; it ends in .json, .kiln, .safetensors, .npz or .onnx",
            flags.to.display()
        );
    }
    let model = Model::load(&flags.model)?;
    if extension == "onnx" {
        return onnx(&flags, |export| model.save_onnx(&flags.to, export));
    }
    if flags.to.file_name().is_some_and(|name| name == "tokenizer.json") {
        return tokenizer(&model, &flags.to);
    }
    refuse_onnx_flags(&flags, false, &format!(".{extension}"))?;
    // Read back, so that what is said to be there is.
    let parameters = if extension == "npz" {
        weights::save(model.layers(), &flags.to)?;
        let (written, own) = (Weights::open(&flags.to)?, model.layers().parameters());
        own.iter().filter_map(|(path, _)| written.get(path)).map(|weight| weight.elements()).sum()
    } else {
        model.save(&flags.to)?;
        Model::load(&flags.to)?.parameter_count()
    };
    out::line(format_args!("{}: {}", flags.to.display(), out::counted(parameters, "parameter")))
}

/// An error where a flag of ONNX files is there and no such file is written.
fn refuse_onnx_flags(flags: &ExportFlags, is_onnx: bool, what: &str) -> Result<()> {
    let given =
        flags.opset.is_some() || flags.without_preprocessing || flags.half || flags.fold || flags.cache;
    if given && !is_onnx {
        bail!(
            "--opset, --without-preprocessing, --half, --fold and --cache are for .onnx; {what} has no such thing"
        );
    }
    Ok(())
}

/// A language model as a hub's folder, with its weights plain and adapters in them, read back.
fn language_model(model: &Path, flags: &ExportFlags) -> Result<()> {
    let ends_in = |form: &str| flags.to.extension().is_some_and(|own| own.eq_ignore_ascii_case(form));
    let (is_onnx, is_gguf) = (ends_in("onnx"), ends_in("gguf"));
    if !is_onnx && !is_gguf && flags.to.extension().is_some_and(|extension| extension != "d") {
        bail!(
            "{}: a language model is written as .gguf, as .onnx (with --cache), or as a folder: name one without an extension",
            flags.to.display()
        );
    }
    refuse_onnx_flags(flags, is_onnx, if is_gguf { ".gguf" } else { "a folder" })?;
    if flags.format.is_some() && !is_gguf {
        bail!("--type is for .gguf");
    }
    let model = LanguageModel::open(model)?;
    if let Some(adapters) = &flags.adapters {
        model.load_adapters(adapters)?;
        // Those beside packed weights aren't merged; what is written has them in it.
        if !is_gguf {
            model.merge_adapters()?;
        }
    }
    if is_onnx {
        return onnx(flags, |export| model.save_onnx(&flags.to, export));
    }
    if is_gguf {
        let written = model.save_gguf(&flags.to, flags.format)?;
        let tensors = out::counted(written.tensors, "tensor");
        out::line(format_args!("{}: {tensors}, {} KB", flags.to.display(), written.bytes.div_ceil(1000)))?;
        return match written.pieces {
            PiecesForm::Named => Ok(()),
            PiecesForm::None => out::line("the model has no pieces: the file takes codes"),
            PiecesForm::Json => out::line(
                "its pieces stand there as tokenizer.huggingface.json, which kiln reads: the format has no other names for their kind",
            ),
        };
    }
    model.save(&flags.to)?;
    let written = LanguageModel::open(&flags.to)?.decoder().parameter_count();
    out::line(format_args!("{}: {}", flags.to.display(), out::counted(written, "parameter")))
}

/// The pieces of a model of texts, read back.
fn tokenizer(model: &Model, to: &Path) -> Result<()> {
    let Preparation::Text(text) = &model.about().preparation else {
        bail!(
            "{}: the model takes no text, so it has no tokenizer; another name ending in .json is the model itself",
            to.display()
        );
    };
    kiln_files::write(to, text.tokens.to_tokenizer_json().as_bytes())?;
    let written = Tokenizer::read(to)?;
    out::line(format_args!("{}: {}", to.display(), out::counted(written.count(), "piece")))
}

/// An ONNX file that is written so, and what is said of it.
fn onnx(
    flags: &ExportFlags,
    save: impl FnOnce(&Export) -> kiln_learn::Result<(ExportedFile, Checked)>,
) -> Result<()> {
    let own = Options::default();
    let options =
        Options { opset: flags.opset.unwrap_or(own.opset), half: flags.half, fold: flags.fold, ..own };
    let opset = options.opset;
    let export = Export { options, preprocessing: !flags.without_preprocessing, cache: flags.cache };
    let (written, checked) = save(&export)?;
    out::line(format_args!(
        "{}: {} nodes, operators of version {opset}, {} KB",
        flags.to.display(),
        written.nodes,
        written.bytes.div_ceil(1000)
    ))?;
    if let Some(weights) = &written.weights {
        out::line(format_args!("weights are in {}, which goes with it", weights.display()))?;
    }
    out::line(checked)?;
    // Half as many bits of a weight give answers that much farther.
    let near = if flags.half { 0.05 } else { 1e-3 };
    let fits = checked.largest <= near * checked.most.max(1.0);
    if !fits {
        bail!("{}: the file doesn't compute what the model computes; please report this", flags.to.display());
    }
    Ok(())
}
