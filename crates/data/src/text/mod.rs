//! Text: cut in characters, bytes, words or learned pieces, each with a code, and served in windows or as rows with a class.

mod conll;
mod merges;
mod merging;
#[cfg(feature = "tokenizer")]
mod tokenizer;
mod tokens;
mod windows;

pub use conll::{TaggedSentence, conll, is_conll, read_conll};
#[cfg(feature = "tokenizer")]
pub use tokenizer::{EncodedText, Tokenizer};
pub use tokens::{Cut, Tokens};
pub use windows::{Windows, labelled};

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use kiln_map::Budget;

use crate::error::{Error, Result};
use crate::known::format_of;
use crate::packing;

/// The text of a file, which must be UTF-8.
///
/// # Errors
/// Where there is none, or it isn't UTF-8; with the place of the first byte that isn't.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    read_at(path.as_ref())
}

fn read_at(path: &Path) -> Result<String> {
    let budget = Budget::default();
    let open = || packing::unpacked(Box::new(BufReader::new(File::open(path)?)));
    let bytes = open().and_then(|(reader, _)| budget.read(reader)).map_err(|error| Error::io(path, error))?;
    if let Some(format) = format_of(&bytes) {
        return Err(Error::new(format!("this is {format}, and no text")).in_file(path));
    }
    // It becomes codes, of four bytes each, in a list that grows to twice what is in it.
    let codes = 8 * bytes.len() as u64;
    budget.bytes(codes).map_err(|exceeded| Error::from(exceeded).in_file(path))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        Error::new(format!("byte {at} isn't UTF-8; save the file as UTF-8")).in_file(path).at_line(line)
    })
}
