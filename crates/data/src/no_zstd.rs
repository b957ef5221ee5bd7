//! Stands in for `zstd.rs` where the feature is off.

use std::io::{BufRead, Error, ErrorKind, Read, Result};

pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(crate) fn unpacked<'a>(_packed: impl BufRead + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let message = "the file is packed with zstd, and kiln was built without its feature `zstd`";
    Err(Error::new(ErrorKind::Unsupported, message))
}
