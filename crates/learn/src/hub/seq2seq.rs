//! Encoder-decoders of a hub's folder: texts that follow from other texts, such as translations and summaries.

use std::path::Path;

use kiln_data::Tokenizer;
use kiln_nn::models::{EncoderDecoder, EncoderDecoderConfig, ReadSource};
use kiln_nn::{Compiled, DType, Data, Function, Input, Key, Variable};
use serde_json::{Map, Value};

use super::config::{activation, codes};
use super::fields::Fields;
use super::folder::{self, HubFolder};
use super::layout;
use super::names::Naming;
use super::texts::{TextPair, coded, pieces};
use crate::Result;
use crate::embeddings::{Embeddings, mean_of_steps};
use crate::generate::{GenerateOptions, Generation, Pieces, Speaker};
use crate::text_rows::{TextPrograms, TextRows, each_text};

/// The kinds of encoder-decoders that are read.
pub(super) const KINDS: [&str; 1] = ["t5"];

/// Steps may be any number: what is said of them are distances.
const WINDOW: usize = 1 << 20;

/// An encoder-decoder of a hub's folder with its pieces: T5, with ReLU or a gated GELU (1.1, Flan).
///
/// ```no_run
/// use kiln::generate::GenerateOptions;
/// use kiln::hub::Seq2SeqModel;
///
/// let mut model = Seq2SeqModel::open("t5-small")?;
/// let options = GenerateOptions::new().tokens(100).temperature(0.0);
/// for added in model.generate("translate English to German: The house is wonderful.", &options)? {
///     print!("{}", added?);
/// }
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Debug)]
pub struct Seq2SeqModel {
    naming: Naming,
    model: EncoderDecoder,
    tokenizer: Option<Tokenizer>,
    /// The code that begins what is said.
    start: u32,
    padding: i64,
    ends: Vec<u32>,
    /// The last texts that were read, if any were.
    reading: Option<ReadTexts>,
    programs: TextPrograms,
    /// What `config.json` holds, to write back.
    described: Map<String, Value>,
}

/// Texts that were read, and what is said of them is cut in.
#[derive(Debug)]
struct ReadTexts {
    source: ReadSource,
    pieces: SaidPieces,
}

/// Pieces of what is said, which begins with one code whatever was read.
#[derive(Debug)]
struct SaidPieces {
    tokenizer: Tokenizer,
    start: u32,
}

impl Pieces for SaidPieces {
    fn encode(&self, _: &str) -> Result<Vec<u32>> {
        Ok(vec![self.start])
    }

    fn decode(&self, codes: &[u32]) -> String {
        Pieces::decode(&self.tokenizer, codes)
    }

    fn unknown(&self) -> Option<u32> {
        None
    }
}

impl Seq2SeqModel {
    /// Of a folder. Without `tokenizer.json` it takes codes alone.
    ///
    /// # Errors
    /// Where a file is missing or damaged, the model is of a kind that isn't known, or tensors don't fit what `config.json` says; it names them.
    pub fn open(folder: impl AsRef<Path>) -> Result<Seq2SeqModel> {
        let folder = HubFolder::open(folder)?;
        let config = read(&folder.described).map_err(|message| folder.fault(message))?;
        let weights = folder.weights()?;
        let config = EncoderDecoderConfig { tied: weights.get("lm_head.weight").is_none(), ..config };
        let naming = if config.gated { Naming::T5Gated } else { Naming::T5 };
        let model = folder.within(&weights, || EncoderDecoder::new(&config, Key::new(0)))?;
        layout::load(&model, naming, &weights)?;
        // What another file says of the beginning and the end counts, as it does where the model is run.
        let generation = folder.object("generation_config.json")?.unwrap_or_default();
        let known = |name: &str| {
            let both = [&generation, &folder.described];
            both.iter().find_map(|object| object.get(name).map(codes).filter(|codes| !codes.is_empty()))
        };
        let padding = known("pad_token_id").unwrap_or_else(|| vec![0])[0];
        Ok(Seq2SeqModel {
            naming,
            model,
            tokenizer: folder.tokenizer()?,
            start: known("decoder_start_token_id").map_or(padding, |codes| codes[0]),
            padding: padding.into(),
            ends: known("eos_token_id").unwrap_or_else(|| vec![1]),
            reading: None,
            programs: TextPrograms::default(),
            described: folder.described,
        })
    }

    /// Writes the folder that [`Seq2SeqModel::open`] and other systems read.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let store = layout::store(&self.model, self.naming)?;
        folder::save(folder.as_ref(), &store, &self.described, self.tokenizer.as_ref())
    }

    /// What it is.
    pub fn config(&self) -> &EncoderDecoderConfig {
        self.model.config()
    }

    /// Its layers, with their weights.
    pub fn model(&self) -> &EncoderDecoder {
        &self.model
    }

    /// Its pieces, where the folder has them.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// What follows from a text, piece by piece as it is found; the options are those of [`Predictor::generate`](crate::Predictor::generate). The
    /// text is read once, and what is said goes on step by step.
    ///
    /// # Errors
    /// Where an option makes no sense, or the folder has no `tokenizer.json`.
    pub fn generate(&mut self, text: &str, options: &GenerateOptions) -> Result<Generation<'_>> {
        self.read(&[text])?.generate("", options)
    }

    /// What follows from each of several texts, which are read and said side by side: each as it would alone.
    ///
    /// # Errors
    /// As [`Seq2SeqModel::generate`].
    pub fn generate_many(&mut self, texts: &[&str], options: &GenerateOptions) -> Result<Vec<String>> {
        if options.beams > 1 || texts.is_empty() {
            return texts.iter().map(|text| self.generate(text, options)?.text()).collect();
        }
        self.read(texts)?.generate_many(&vec![""; texts.len()], options)
    }

    /// What texts mean: the mean over the pieces of each of what the encoder gives.
    ///
    /// # Errors
    /// Where the folder has no `tokenizer.json`.
    pub fn embed<'t>(&self, texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>) -> Result<Embeddings> {
        let texts = coded(pieces(self.tokenizer.as_ref())?, WINDOW, texts)?;
        let width = self.config().width;
        let mut all = vec![0.0; texts.len() * width];
        let run = |rows: &TextRows| {
            let found = self.run("encoded", rows)?;
            Ok(found.as_slice::<f32>().unwrap_or_default().to_vec())
        };
        each_text(&texts, WINDOW, self.padding, run, |text, steps| {
            let mean = mean_of_steps(steps, width, texts[text].codes.len());
            all[text * width..(text + 1) * width].copy_from_slice(&mean);
        })?;
        Ok(Embeddings::new(all, width))
    }

    /// Reads texts side by side, and gives what says what follows from them.
    fn read(&mut self, texts: &[&str]) -> Result<Speaker<'_>> {
        let tokenizer = pieces(self.tokenizer.as_ref())?;
        let texts = coded(tokenizer, WINDOW, texts.iter().copied())?;
        let rows = TextRows::all(&texts, WINDOW, self.padding);
        let cross = self.run("cross", &rows)?;
        let shape = [
            2 * self.config().decoder_blocks,
            rows.rows,
            self.config().heads,
            rows.steps,
            self.config().head_width,
        ];
        let cross = Variable::new("cross", cross, shape)?;
        let mask = Variable::new("mask", Data::I64(rows.mask), [rows.rows, rows.steps])?;
        let source = ReadSource::new(&self.model, cross, mask);
        let said = SaidPieces { tokenizer: tokenizer.clone(), start: self.start };
        let reading = self.reading.insert(ReadTexts { source, pieces: said });
        Ok(Speaker {
            layers: &reading.source,
            pieces_axis: 2,
            pieces: &reading.pieces,
            window: WINDOW,
            ends: &self.ends,
        })
    }

    /// What the encoder makes of rows, or the keys and values that the decoder has of that.
    fn run(&self, what: &'static str, rows: &TextRows) -> Result<Data> {
        let program = self.programs.get(what, rows, || self.compile(what, rows))?;
        let shape = [rows.rows, rows.steps];
        let found = program.run(&[&rows.codes, &rows.mask].map(|numbers| Input::new(numbers, &shape)))?;
        Ok(found.first().cloned().unwrap_or_else(|| Data::F32(Vec::new())))
    }

    fn compile(&self, what: &str, rows: &TextRows) -> Result<Compiled> {
        let crosses = what == "cross";
        let mut function = Function::inference(&self.model, |model, cx, [codes, mask]| {
            let encoded = model.encode(&codes, Some(&mask), cx);
            let found = if crosses { model.cross(&encoded, cx) } else { encoded };
            found.cast(DType::F32)
        });
        let input = || ([rows.rows, rows.steps].into(), DType::I64);
        Ok(function.compile(&[input(), input()])?)
    }
}

/// An encoder-decoder as a configuration says it.
fn read(object: &Map<String, Value>) -> std::result::Result<EncoderDecoderConfig, String> {
    let fields = Fields(object);
    let architectures = fields.known("architectures").and_then(Value::as_array);
    let name = architectures.and_then(|names| names.first()).and_then(Value::as_str);
    if let Some(other) = name.filter(|name| *name != "T5ForConditionalGeneration") {
        return Err(format!("its \"architectures\" say \"{other}\"; kiln reads T5ForConditionalGeneration"));
    }
    let (width, heads) = (fields.count("d_model")?, fields.count("num_heads")?);
    let layers = fields.count("num_layers")?;
    let middle = fields.text_or("feed_forward_proj", "relu")?;
    let (gated, function) = match middle {
        // What it says isn't the function that such models are trained with.
        "gated-gelu" => (true, "gelu_new"),
        other => (other.starts_with("gated-"), other.trim_start_matches("gated-")),
    };
    // Of older files, those whose codes are scored by other vectors divide nothing.
    let tied = fields.flag_or("tie_word_embeddings", true)?;
    let config = EncoderDecoderConfig {
        head_width: fields.count("d_kv")?,
        feedforward: fields.count("d_ff")?,
        decoder_blocks: fields.count_or("num_decoder_layers", layers)?,
        buckets: fields.count_or("relative_attention_num_buckets", 32)?,
        max_distance: fields.count_or("relative_attention_max_distance", 128)?,
        activation: activation(function)?,
        gated,
        epsilon: fields.number_or("layer_norm_epsilon", 1e-6)?,
        scaled: fields.flag_or("scale_decoder_outputs", tied)?,
        dropout: fields.share_or("dropout_rate", 0.1)?,
        ..EncoderDecoderConfig::t5(fields.count("vocab_size")?, width, layers, heads)
    };
    let (buckets, most) = (config.buckets, config.max_distance);
    match buckets >= 4 && buckets.is_multiple_of(2) && most > buckets / 2 && most <= MOST_DISTANCE {
        true => Ok(config),
        false => Err(format!(
            "distances up to \"relative_attention_max_distance\" {most} can't be told apart in \
             \"relative_attention_num_buckets\" {buckets}; half of them are one each"
        )),
    }
}

/// Distances are a table.
const MOST_DISTANCE: usize = 1 << 20;
