//! Models in the public layout of a model hub's folder: `config.json`, `model.safetensors` (or its index and parts),
//! `tokenizer.json`. Read, run, and written back so that other systems read them.

mod classes;
mod config;
mod encoder;
mod fields;
mod folder;
mod layout;
mod names;
mod open;
mod texts;

use std::path::Path;

use kiln_data::Tokenizer;
use kiln_nn::Key;
use kiln_nn::models::{Decoder, DecoderConfig};
use serde_json::{Map, Value};

use crate::generate::{GenerateOptions, Generation, Pieces, Speaker, TextScore};
use crate::{Error, Result};
pub use encoder::EncoderModel;
use folder::{Folder, TOKENIZER};
use names::Naming;
pub use open::{HubModel, open};
pub use texts::TextPair;

/// The file that says what a model is.
pub const CONFIG: &str = "config.json";

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
        let folder = Folder::open(folder)?;
        let read = config::read(&folder.described).map_err(|message| folder.fault(message))?;
        // What another file says of the end counts, as it does where the model is run.
        let ends = folder
            .object("generation_config.json")?
            .map(|generation| generation.get("eos_token_id").map(config::codes));
        let weights = folder.weights()?;
        let decoder = folder.within(&weights, || Decoder::new(&read.config, Key::new(0)))?;
        layout::load(&decoder, read.kind, &weights)?;
        Ok(LanguageModel {
            kind: read.kind,
            config: read.config,
            decoder,
            tokenizer: folder.tokenizer()?,
            window: read.window,
            ends: ends.flatten().unwrap_or(read.ends),
            described: folder.described,
        })
    }

    /// Writes the folder that [`LanguageModel::open`] and other systems read: weights in one file, or several where they are large.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        folder::save(
            folder.as_ref(),
            &layout::store(&self.decoder, self.kind)?,
            &self.described,
            self.tokenizer.as_ref(),
        )
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
