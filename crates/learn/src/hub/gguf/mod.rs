//! Language models in GGUF files: one file with what the model is, its pieces, and weights that may be packed. Packed ones stay so in memory;
//! products unpack them a part at a time.

mod config;
mod factors;
mod file;
mod layout;
mod pieces;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use kiln_map::shown;
use kiln_nn::Key;
use kiln_nn::models::Decoder;
use kiln_nn::variable::{with_parameter_budget, with_unfilled_parameters};

use self::file::{GgufFile, GgufTensor, GgufValue};
use self::layout::TensorNaming;
use super::{LanguageModel, config as hub_config};
use crate::Result;
use crate::text_rows::TextPrograms;

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
    let naming = TensorNaming {
        paired: (kind == "llama").then_some([read.config.block.heads, read.config.block.kv_heads]),
        joined: kind == "gpt2",
        norms_from_one: kind == "gemma",
    };
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
