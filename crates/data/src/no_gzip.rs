//! Stands in for `gzip.rs` where the feature is off.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(crate) fn unpacked<'a>(_packed: impl BufRead + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let message = "the file is packed with gzip, and kiln was built without its feature `gzip`";
    Err(Error::new(ErrorKind::Unsupported, message))
}
