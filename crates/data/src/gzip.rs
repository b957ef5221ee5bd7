//! What the feature `gzip` brings: files packed with gzip are read as if they weren't. `no_gzip.rs` stands in for it where the feature
//! is off.

use std::io::{BufRead, Read, Result};

use flate2::bufread::MultiGzDecoder;

/// What a packed file begins with.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What is packed, also in several parts one after the other.
pub(crate) fn unpacked<'a>(packed: impl BufRead + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(Box::new(MultiGzDecoder::new(packed)))
}
