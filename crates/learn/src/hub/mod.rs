//! Models in the public layout of a model hub's folder: `config.json`, `model.safetensors` (or its index and parts),
//! `tokenizer.json`. Read, run, and written back so that other systems read them. And language models in GGUF files, which hold all of it in one.

mod classes;
mod config;
mod encoder;
mod fields;
mod folder;
pub mod gguf;
mod layout;
mod names;
mod network;
mod open;
mod seq2seq;
mod texts;
mod tuning;
mod vision;

use std::path::Path;

use kiln_data::Tokenizer;
use kiln_nn::models::{Decoder, DecoderConfig};
use kiln_nn::{DType, Function, Input, Key};
use serde_json::{Map, Value};

use crate::embeddings::{Embeddings, mean_of_steps};
use crate::generate::{GenerateOptions, Generation, Pieces, Speaker, TextScore};
use crate::onnx::export::ExportedFile;
use crate::onnx::{Checked, Export, StepsExport};
use crate::text_rows::{TextPrograms, TextRows, each_text};
use crate::{Error, Result};
pub use encoder::{EncoderModel, MaskedPiece, PieceAggregation};
use folder::HubFolder;
use names::Naming;
pub use network::TextNetwork;
pub use open::{HubModel, is_folder, is_model, open};
pub use seq2seq::Seq2SeqModel;
pub use texts::TextPair;
use texts::coded;
pub use tuning::TrainedDecoder;
pub use vision::VisionModel;

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
    /// Why there is no tokenizer.
    no_pieces: String,
    window: usize,
    ends: Vec<u32>,
    /// What `config.json` holds, to write back.
    described: Map<String, Value>,
    programs: TextPrograms,
}

impl LanguageModel {
    /// Of a folder, or of a GGUF file. Without `tokenizer.json`, or pieces in the file, it takes and gives codes alone.
    ///
    /// # Errors
    /// Where a file is missing or damaged, the model is of a kind that isn't known, or tensors don't fit what `config.json` says; it names them.
    pub fn open(path: impl AsRef<Path>) -> Result<LanguageModel> {
        if gguf::is_gguf(&path) {
            return gguf::open(path.as_ref());
        }
        let folder = HubFolder::open(path)?;
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
            no_pieces: format!("the model's folder has no {}", folder::TOKENIZER),
            window: read.window,
            ends: ends.flatten().unwrap_or(read.ends),
            described: folder.described,
            programs: TextPrograms::default(),
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

    /// Writes the GGUF file that [`LanguageModel::open`] and other systems read, and reads it back: matrices in `format`, or as they are; all else
    /// in 32 bits.
    ///
    /// # Errors
    /// Where such files have no words for what the model is, a number is too large for the format, or the system refuses.
    pub fn save_gguf(
        &self,
        path: impl AsRef<Path>,
        format: Option<gguf::WeightFormat>,
    ) -> Result<gguf::WrittenGguf> {
        gguf::save(self, path.as_ref(), format)
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

    /// Why it has no pieces, where it has none.
    pub fn no_pieces(&self) -> &str {
        &self.no_pieces
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

    /// What texts mean: the mean over the pieces of each of what the last block gives, behind the last norm. Longer ones than it can see
    /// are cut.
    ///
    /// # Errors
    /// As [`LanguageModel::generate`].
    pub fn embed<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> Result<Embeddings> {
        let texts = coded(self.pieces()?, self.window, texts)?;
        let width = self.config.width;
        let mut all = vec![0.0; texts.len() * width];
        let run = |rows: &TextRows| {
            let shape = [rows.rows, rows.steps];
            let program = self.programs.get("features", rows, || {
                // What stands behind a piece changes nothing of it, so padding needs no mask.
                let mut function = Function::inference(&self.decoder, |decoder, cx, [codes]| {
                    decoder.features(&codes, cx).cast(DType::F32)
                });
                Ok(function.compile(&[(shape.into(), DType::I64)])?)
            })?;
            let found = program.run(&[Input::new(&rows.codes, &shape)])?;
            Ok(found.first().and_then(|found| found.as_slice::<f32>()).unwrap_or_default().to_vec())
        };
        each_text(&texts, self.window, 0, run, |text, steps| {
            let mean = mean_of_steps(steps, width, texts[text].codes.len());
            all[text * width..(text + 1) * width].copy_from_slice(&mean);
        })?;
        Ok(Embeddings::new(all, width))
    }

    fn pieces(&self) -> Result<&Tokenizer> {
        self.tokenizer
            .as_ref()
            .ok_or_else(|| Error::Preparation(format!("{}, so it takes codes and no texts", self.no_pieces)))
    }

    fn speaker(&self) -> Result<Speaker<'_>> {
        let pieces = self.pieces()?;
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
