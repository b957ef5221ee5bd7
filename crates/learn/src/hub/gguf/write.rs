//! A GGUF file written: what it says of itself, then its tensors in their order, each made when its turn comes.

use std::io::Write;
use std::path::Path;

use kiln_files::AtomicFile;

use super::file::{ALIGNMENT, GgufValue, MAGIC, TensorKind};
use crate::{Error, Result};

/// What files are written as.
const VERSION: u32 = 3;

/// A tensor that is to be written.
pub(super) struct TensorHeader {
    pub(super) name: String,
    /// Outermost axis first.
    pub(super) shape: Vec<usize>,
    pub(super) kind: TensorKind,
}

impl TensorHeader {
    pub(super) fn bytes(&self) -> usize {
        self.kind.bytes(self.shape.iter().product())
    }
}

/// Writes a file beside its place and moves it there if it passes `check`; `bytes` gives the tensors' numbers one after the other.
pub(super) fn write(
    path: &Path,
    metadata: &[(String, GgufValue)],
    tensors: &[TensorHeader],
    mut bytes: impl FnMut(usize) -> Result<Vec<u8>>,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let mut file = AtomicFile::create(path).map_err(Error::file(path))?;
    let head = head(metadata, tensors);
    file.write_all(&head).map_err(Error::file(path))?;
    for (at, tensor) in tensors.iter().enumerate() {
        let mut bytes = bytes(at)?;
        debug_assert_eq!(bytes.len(), tensor.bytes(), "{}", tensor.name);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        file.write_all(&bytes).map_err(Error::file(path))?;
    }
    file.flush().map_err(Error::file(path))?;
    check(file.path())?;
    file.commit().map_err(Error::file(path))
}

/// All in front of the tensors' numbers.
fn head(metadata: &[(String, GgufValue)], tensors: &[TensorHeader]) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    put_count(&mut head, tensors.len());
    put_count(&mut head, metadata.len());
    for (name, value) in metadata {
        put_text(&mut head, name);
        put_value(&mut head, value);
    }
    let mut offset = 0;
    for tensor in tensors {
        put_text(&mut head, &tensor.name);
        head.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|&size| put_count(&mut head, size));
        head.extend(tensor.kind.number().to_le_bytes());
        put_count(&mut head, offset);
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    head
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend((count as u64).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, text.len());
    bytes.extend(text.as_bytes());
}

/// A value behind the number of its type: whole numbers and lists of them in 32 bits, as those who read such files expect them.
fn put_value(bytes: &mut Vec<u8>, value: &GgufValue) {
    let mut typed = |kind: u32| bytes.extend(kind.to_le_bytes());
    match value {
        GgufValue::Whole(whole) => {
            typed(4);
            bytes.extend((*whole as u32).to_le_bytes());
        }
        GgufValue::Number(number) => {
            typed(6);
            bytes.extend((*number as f32).to_le_bytes());
        }
        GgufValue::Flag(flag) => {
            typed(7);
            bytes.push((*flag).into());
        }
        GgufValue::Text(text) => {
            typed(8);
            put_text(bytes, text);
        }
        GgufValue::Texts(texts) => {
            typed(9);
            bytes.extend(8u32.to_le_bytes());
            put_count(bytes, texts.len());
            texts.iter().for_each(|text| put_text(bytes, text));
        }
        GgufValue::Wholes(wholes) => {
            typed(9);
            bytes.extend(5u32.to_le_bytes());
            put_count(bytes, wholes.len());
            wholes.iter().for_each(|&whole| bytes.extend((whole as i32).to_le_bytes()));
        }
        GgufValue::Numbers(numbers) => {
            typed(9);
            bytes.extend(6u32.to_le_bytes());
            put_count(bytes, numbers.len());
            numbers.iter().for_each(|&number| bytes.extend((number as f32).to_le_bytes()));
        }
    }
}
