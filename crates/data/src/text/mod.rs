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
use std::io::{BufRead, BufReader, Cursor};
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
    let path = path.as_ref();
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    read_from(Box::new(BufReader::new(file))).map_err(|error| error.in_file(path))
}

/// The text that bytes are, as [`read_text`] would read them from a file.
///
/// # Errors
/// As there.
pub fn text_of(bytes: Vec<u8>) -> Result<String> {
    read_from(Box::new(Cursor::new(bytes)))
}

fn read_from(bytes: Box<dyn BufRead + Send>) -> Result<String> {
    let budget = Budget::default();
    let bytes = packing::unpacked(bytes).and_then(|(reader, _)| budget.read(reader));
    let bytes = bytes.map_err(|error| Error::new(error.to_string()))?;
    if let Some(format) = format_of(&bytes) {
        return Err(Error::new(format!("this is {format}, and no text")));
    }
    // It becomes codes, of four bytes each, in a list that grows to twice what is in it.
    let codes = 8 * bytes.len() as u64;
    budget.bytes(codes)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        Error::new(format!("byte {at} isn't UTF-8; save the file as UTF-8")).at_line(line)
    })
}
