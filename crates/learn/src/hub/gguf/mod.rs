//! Language models in GGUF files: one file with what the model is, its pieces, and weights that may be packed. Packed ones stay so in memory;
//! products unpack them a part at a time. Read, and written by the same tables.

mod config;
mod factors;
mod file;
mod layout;
mod pieces;
mod store;
mod write;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use kiln_ir::packed::BlockFormat;
use kiln_map::shown;
use kiln_nn::Key;
use kiln_nn::models::Decoder;
use kiln_nn::variable::{with_parameter_budget, with_unfilled_parameters};
use serde_json::Value;

use self::file::{GgufFile, GgufTensor, GgufValue, TensorKind};
use self::layout::TensorNaming;
pub use self::pieces::PiecesForm;
use self::store::TensorContents;
use self::write::TensorHeader;
use super::{LanguageModel, config as hub_config};
use crate::text_rows::TextPrograms;
use crate::{Error, Result};

/// Whether a path is such a file, by its first bytes.
pub fn is_gguf(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let mut start = [0; 4];
    path.is_file()
        && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *file::MAGIC
}

/// The model of a file.
pub(super) fn open(path: &Path) -> Result<LanguageModel> {
    let file = GgufFile::open(path)?;
    let (kind, described) = config::described(&file)?;
    let read = hub_config::read(&described).map_err(|message| file.fault(message))?;
    let naming = TensorNaming::of(&kind, &read.config.block);
    // What a file says isn't believed before it was held against the numbers that are there.
    let numbers = file.tensors().iter().map(|tensor| tensor.shape.iter().product::<usize>());
    let numbers = numbers.fold(0usize, usize::saturating_add);
    let decoder = with_parameter_budget(numbers.saturating_mul(2), || {
        with_unfilled_parameters(|| Decoder::new(&read.config, Key::new(0)))
    });
    if super::folder::first_error(&decoder).is_some() {
        return Err(
            file.fault(format!("it speaks of a model with far more than the {numbers} numbers that it has"))
        );
    }
    layout::load(&decoder, &naming, &file)?;
    let (tokenizer, no_pieces) = match pieces::tokenizer(&file) {
        None => (None, "the file holds no pieces".to_string()),
        Some(Ok(tokenizer)) => (Some(tokenizer), String::new()),
        Some(Err(why)) => (None, format!("the file's pieces aren't understood: {why}")),
    };
    Ok(LanguageModel {
        kind: read.kind,
        config: read.config,
        decoder,
        tokenizer,
        no_pieces,
        window: read.window,
        ends: read.ends,
        described,
        programs: TextPrograms::default(),
    })
}

/// How matrices of a file lie, where it isn't as the model has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// Each number in 32 bits.
    Single,
    /// In blocks. Rows that aren't whole blocks of 256 take a format of 32 that is as exact, and such as aren't whole blocks of 32 take
    /// half precision.
    Packed(BlockFormat),
}

impl WeightFormat {
    /// Every one.
    pub const ALL: [WeightFormat; 11] = {
        let mut all = [WeightFormat::Single; 11];
        let mut at = 0;
        while at < BlockFormat::ALL.len() {
            all[at + 1] = WeightFormat::Packed(BlockFormat::ALL[at]);
            at += 1;
        }
        all
    };

    /// What files call it.
    pub fn name(self) -> &'static str {
        TensorKind::from(self).name()
    }

    /// How files number what most of their weights are.
    fn of_file(self) -> u32 {
        match self {
            WeightFormat::Single => 0,
            WeightFormat::Packed(format) => match format {
                BlockFormat::F16 => 1,
                BlockFormat::Q4_0 => 2,
                BlockFormat::Q4_1 => 3,
                BlockFormat::Q8_0 => 7,
                BlockFormat::Q5_0 => 8,
                BlockFormat::Q5_1 => 9,
                BlockFormat::Q4K => 14,
                BlockFormat::Q5K => 16,
                BlockFormat::Q6K => 18,
                BlockFormat::Bf16 => 32,
            },
        }
    }
}

impl FromStr for WeightFormat {
    type Err = String;

    /// By what files call it, in small letters or capitals.
    fn from_str(name: &str) -> std::result::Result<WeightFormat, String> {
        let found = WeightFormat::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let known = WeightFormat::ALL.map(|format| format.name().to_lowercase());
            format!("{} is no type of weights; there are {}", shown(name), known.join(", "))
        })
    }
}

impl From<WeightFormat> for TensorKind {
    fn from(format: WeightFormat) -> TensorKind {
        match format {
            WeightFormat::Single => TensorKind::F32,
            WeightFormat::Packed(format) => TensorKind::Packed(format),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WrittenGguf {
    /// How many tensors there are.
    pub tensors: usize,
    /// The bytes of the file.
    pub bytes: u64,
    /// How it has the model's pieces.
    pub pieces: PiecesForm,
}

/// Writes a model, and reads it back.
pub(super) fn save(model: &LanguageModel, path: &Path, format: Option<WeightFormat>) -> Result<WrittenGguf> {
    let unsaid = |message: String| Error::format(path, message);
    let model_type = model.described.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let kind = config::kind_of(model_type);
    let mut metadata = config::metadata(kind, &model.config, model.window).map_err(unsaid)?;
    if let Some(format) = format {
        metadata.push(("general.file_type".to_string(), GgufValue::Whole(format.of_file().into())));
    }
    metadata.push(("general.quantization_version".to_string(), GgufValue::Whole(2)));
    let (said, pieces) = pieces::written(model.tokenizer.as_ref(), model.config.vocabulary);
    metadata.extend(said);
    put_ends(model, &mut metadata);

    let naming = TensorNaming::of(kind, &model.config.block);
    let tensors = store::tensors(&model.decoder, &naming, format.map(TensorKind::from))?;
    let slower =
        model.config.block.rotary.as_ref().map(factors::written).transpose().map_err(unsaid)?.flatten();
    let (mut headers, mut contents): (Vec<TensorHeader>, Vec<TensorContents>) = tensors.into_iter().unzip();
    if let Some(slower) = slower {
        let (name, shape) = ("rope_freqs.weight".to_string(), vec![slower.len()]);
        headers.push(TensorHeader { name, shape, kind: TensorKind::F32 });
        contents.push(TensorContents::Numbers(slower));
    }
    // A file that isn't the model takes no other's place.
    let check = |written: &Path| match open(written)?.config == model.config {
        true => Ok(()),
        false => Err(unsaid("the file doesn't say all that the model is; please report this".to_string())),
    };
    write::write(path, &metadata, &headers, |at| contents[at].bytes(&headers[at]), check)?;
    let bytes = std::fs::metadata(path).map_err(Error::file(path))?.len();
    Ok(WrittenGguf { tensors: headers.len(), bytes, pieces })
}

/// The codes that texts begin and end with, as far as the pieces don't say them.
fn put_ends(model: &LanguageModel, metadata: &mut Vec<(String, GgufValue)>) {
    let begin = model.described.get("bos_token_id").map(hub_config::codes).unwrap_or_default();
    let pad = model.described.get("pad_token_id").map(hub_config::codes).unwrap_or_default();
    let named = |name: &str, code: u32| (format!("tokenizer.ggml.{name}"), GgufValue::Whole(code.into()));
    let said = |metadata: &[(String, GgufValue)], name: &str| {
        let own = metadata.iter().find(|(own, _)| own.strip_prefix("tokenizer.ggml.") == Some(name));
        own.map(|(_, value)| value.clone())
    };
    for (name, code) in [("bos_token_id", begin.first()), ("padding_token_id", pad.first())] {
        let code = code.filter(|_| said(metadata, name).is_none());
        metadata.extend(code.map(|&code| named(name, code)));
    }
    let end = said(metadata, "eos_token_id");
    let names = if end.is_some() { &["eot_token_id"][..] } else { &["eos_token_id", "eot_token_id"] };
    let others = model.ends.iter().filter(|&&code| end != Some(GgufValue::Whole(code.into())));
    metadata.extend(names.iter().zip(others).map(|(name, &code)| named(name, code)));
}

/// What a file says of itself, a line for each name, and which kinds of tensors it holds.
///
/// # Errors
/// Where it can't be read, or isn't a GGUF file.
pub fn about(path: impl AsRef<Path>) -> Result<String> {
    let file = GgufFile::open(path.as_ref())?;
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for tensor in file.tensors() {
        let (count, bytes) = kinds.entry(tensor.kind.name()).or_default();
        *count += 1;
        *bytes += file.bytes(tensor).len();
    }
    let mut text = format!("GGUF version {}\n", file.version());
    for (name, value) in file.metadata() {
        text += &format!("{}: {}\n", shown(name), printed(value));
    }
    for (kind, (count, bytes)) in kinds {
        let tensors = kiln_map::counted(count, "tensor");
        text += &format!("{kind}: {tensors}, {}\n", kiln_map::counted(bytes, "byte"));
    }
    Ok(text)
}

/// A value on a line.
fn printed(value: &GgufValue) -> String {
    match value {
        GgufValue::Whole(whole) => whole.to_string(),
        GgufValue::Number(number) => (*number as f32).to_string(),
        GgufValue::Flag(flag) => flag.to_string(),
        GgufValue::Text(text) => match text.char_indices().nth(MOST_PRINTED) {
            Some((end, _)) => shown(&text[..end]) + "…",
            None => shown(text),
        },
        GgufValue::Texts(texts) => format!("a list of {}", kiln_map::counted(texts.len(), "text")),
        GgufValue::Wholes(wholes) => format!("a list of {}", kiln_map::counted(wholes.len(), "whole number")),
        GgufValue::Numbers(numbers) => format!("a list of {}", kiln_map::counted(numbers.len(), "number")),
    }
}

/// Characters of a text that are printed.
const MOST_PRINTED: usize = 120;

fn numbers(file: &GgufFile, tensor: &GgufTensor) -> Result<Vec<f32>> {
    layout::numbers(file, tensor)
}

/// A tensor of a file, unpacked.
#[derive(Clone, Debug, PartialEq)]
pub struct UnpackedTensor {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub numbers: Vec<f32>,
}

/// The tensors of a file, unpacked: for tests and for who looks at them.
///
/// # Errors
/// As [`about`], and where a tensor lies in a way that kiln doesn't unpack.
pub fn tensors(path: impl AsRef<Path>) -> Result<Vec<UnpackedTensor>> {
    let file = GgufFile::open(path.as_ref())?;
    let unpacked = |tensor: &GgufTensor| {
        let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
        Ok(UnpackedTensor { name, shape, numbers: numbers(&file, tensor)? })
    };
    file.tensors().iter().map(unpacked).collect()
}
