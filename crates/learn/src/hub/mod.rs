//! Language models in the public layout of a model hub's folder: `config.json`, `model.safetensors` (or its index and parts),
//! `tokenizer.json`. Read, run, and written back so that other systems read them.

mod config;
mod layout;

use std::fs;
use std::path::{Path, PathBuf};

use kiln_data::Tokenizer;
use kiln_map::Budget;
use kiln_nn::models::{Decoder, DecoderConfig};
use kiln_nn::{Key, Module};
use serde_json::{Map, Value};

use crate::generate::{GenerateOptions, Generation, Pieces, Speaker, TextScore};
use crate::onnx::export::ExportedFile;
use crate::onnx::{Checked, Export, StepsExport};
use crate::store::safetensors;
use crate::weights::{Weights, write};
use crate::{Error, Result};

/// The file that says what a model is.
pub const CONFIG: &str = "config.json";

/// The file of pieces.
const TOKENIZER: &str = "tokenizer.json";

/// What tensors lie in: one file, or one that names several.
const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// A language model of a hub's folder: a [`Decoder`] with its pieces. Kinds: GPT-2, Llama, Mistral, Qwen 2 and 3, Gemma.
///
/// ```no_run
/// use kiln::generate::GenerateOptions;
/// use kiln::hub::LanguageModel;
///
/// let model = LanguageModel::open("llama-1b")?;
/// for added in model.generate("Once upon a time", &GenerateOptions::new().tokens(100))? {
///     print!("{}", added?);
/// }
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Debug)]
pub struct LanguageModel {
    kind: Naming,
    config: DecoderConfig,
    decoder: Decoder,
    tokenizer: Option<Tokenizer>,
    window: usize,
    ends: Vec<u32>,
    /// What `config.json` holds, to write back.
    described: Map<String, Value>,
}

/// Whose layout the tensors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Gpt2,
    /// Llama's names, which those after it kept.
    Llama,
}

impl LanguageModel {
    /// Whether a path is such a folder.
    pub fn is_folder(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(CONFIG).is_file()
    }

    /// Of a folder. Without `tokenizer.json` it takes and gives codes alone.
    ///
    /// # Errors
    /// Where a file is missing or damaged, the model is of a kind that isn't known, or tensors don't fit what `config.json` says; it names them.
    pub fn open(folder: impl AsRef<Path>) -> Result<LanguageModel> {
        let folder = folder.as_ref();
        let path = folder.join(CONFIG);
        let described = object(&path)?;
        let read = config::read(&described).map_err(|message| Error::format(&path, message))?;
        // What another file says of the end counts, as it does where the model is run.
        let generation = folder.join("generation_config.json");
        let ends = match generation.is_file() {
            true => object(&generation)?.get("eos_token_id").map(config::codes),
            false => None,
        };
        let file =
            WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
                Error::format(
                    folder,
                    format!("there is no {} and no {} in this folder", WEIGHTS[0], WEIGHTS[1]),
                )
            })?;
        let weights = Weights::open(file)?;
        let decoder = within(&path, &weights, || Decoder::new(&read.config, Key::new(0)))?;
        layout::load(&decoder, read.kind, &weights)?;
        let tokenizer = folder.join(TOKENIZER);
        let tokenizer = tokenizer.is_file().then(|| Tokenizer::read(tokenizer)).transpose()?;
        Ok(LanguageModel {
            kind: read.kind,
            config: read.config,
            decoder,
            tokenizer,
            window: read.window,
            ends: ends.unwrap_or(read.ends),
            described,
        })
    }

    /// Writes the folder that [`LanguageModel::open`] and other systems read: weights in one file, or several where they are large.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let store = layout::store(&self.decoder, self.kind)?;
        let bytes: usize =
            store.tensors.values().map(|tensor| tensor.data.len() * tensor.data.dtype().size()).sum();
        let [one, several] = WEIGHTS;
        match bytes > LARGE {
            true => write(&store, folder.join(several))?,
            false => {
                // Without it, some that read such files refuse them.
                let metadata = Map::from_iter([("format".to_string(), "pt".into())]);
                crate::store::write_atomically(&folder.join(one), &safetensors::write(&store, metadata))?;
            }
        }
        let text = serde_json::to_string_pretty(&self.described).unwrap_or_default() + "\n";
        crate::store::write_atomically(&folder.join(CONFIG), text.as_bytes())?;
        match &self.tokenizer {
            Some(tokenizer) => {
                crate::store::write_atomically(&folder.join(TOKENIZER), tokenizer.to_json().as_bytes())
            }
            None => Ok(()),
        }
    }

    /// Writes the model as an ONNX file of its next steps, with what its layers keep as inputs and outputs, reads it back and runs it beside
    /// itself.
    ///
    /// # Errors
    /// Where something of the model has no form in ONNX, or the system refuses.
    pub fn save_onnx(&self, path: impl AsRef<Path>, export: &Export) -> Result<(ExportedFile, Checked)> {
        if !export.cache {
            return Err(Error::Preparation(
                "a language model of a folder is written as a graph of its next steps (`--cache`), which takes any number of codes".to_string(),
            ));
        }
        let kind = self.described.get("model_type").and_then(Value::as_str).unwrap_or_default().to_string();
        let words = vec![("model_type".to_string(), kind)];
        let (layers, pieces) = (&self.decoder, self.config.vocabulary);
        StepsExport { layers, pieces_axis: 2, pieces, window: self.window }.save(path.as_ref(), export, words)
    }

    /// What it is.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Its layers, with their weights.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Its pieces, where the folder has them.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// How many pieces it learned to see at once.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Lets a text go on; see [`Predictor::generate`](crate::Predictor::generate).
    ///
    /// # Errors
    /// As there, and where the folder has no `tokenizer.json`.
    pub fn generate(&self, prompt: &str, options: &GenerateOptions) -> Result<Generation<'_>> {
        self.speaker()?.generate(prompt, options)
    }

    /// What is added to each of several texts; see [`Predictor::generate_many`](crate::Predictor::generate_many).
    ///
    /// # Errors
    /// As [`LanguageModel::generate`].
    pub fn generate_many(&self, prompts: &[&str], options: &GenerateOptions) -> Result<Vec<String>> {
        self.speaker()?.generate_many(prompts, options)
    }

    /// How well the model foresees a text; see [`Predictor::score_text`](crate::Predictor::score_text).
    ///
    /// # Errors
    /// As [`LanguageModel::generate`], and where the text has fewer than two pieces.
    pub fn score_text(&self, text: &str) -> Result<TextScore> {
        self.speaker()?.score(text)
    }

    fn speaker(&self) -> Result<Speaker<'_>> {
        let pieces = self.tokenizer.as_ref().ok_or_else(|| {
            Error::Preparation(format!(
                "the model's folder has no {TOKENIZER}, so it takes codes and no texts"
            ))
        })?;
        Ok(Speaker { layers: &self.decoder, pieces_axis: 2, pieces, window: self.window, ends: &self.ends })
    }
}

/// As many bytes of weights go into one file.
const LARGE: usize = 5_000_000_000;

impl Pieces for Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(Tokenizer::encode(self, text)?.codes)
    }

    fn decode(&self, codes: &[u32]) -> String {
        Tokenizer::decode(self, codes, true).unwrap_or_default()
    }

    fn unknown(&self) -> Option<u32> {
        None
    }
}

/// Makes layers: what a configuration says isn't believed before it was held against the file of weights. Up to twice as many numbers are made, so
/// that it can be said which are missing.
fn within(config: &Path, weights: &Weights, make: impl FnOnce() -> Decoder) -> Result<Decoder> {
    let numbers: usize = weights.iter().map(|weight| weight.elements()).sum();
    let decoder = kiln_nn::variable::with_parameter_budget(numbers.saturating_mul(2), make);
    match decoder.parameters().iter().find_map(|(_, parameter)| parameter.variable().err()) {
        Some(_) => Err(Error::format(
            config,
            format!(
                "it speaks of a model with far more than the {numbers} numbers that {} has",
                weights.path().display()
            ),
        )),
        None => Ok(decoder),
    }
}

/// The object in a file of JSON.
fn object(path: &PathBuf) -> Result<Map<String, Value>> {
    let bytes = Budget::default().read_file(path).map_err(Error::file(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::format(path, format!("it should be an object of JSON: {error}")))
}
