//! Packed files: unpacked as they are read, whichever way they are packed, which their first bytes say.

use std::io::{BufRead, BufReader, Read, Result};

#[cfg(feature = "gzip")]
use crate::gzip;
#[cfg(not(feature = "gzip"))]
use crate::no_gzip as gzip;
#[cfg(not(feature = "zstd"))]
use crate::no_zstd as zstd;
#[cfg(feature = "zstd")]
use crate::zstd;

/// How often one packed file may be packed again.
const LAYERS: usize = 4;

/// What is in a file, and whether it was packed.
pub(crate) fn unpacked<'a>(
    packed: Box<dyn BufRead + Send + 'a>,
) -> Result<(Box<dyn BufRead + Send + 'a>, bool)> {
    let mut reader = packed;
    for layer in 0..LAYERS {
        let start = reader.fill_buf()?;
        let inner = match (start.starts_with(&gzip::MAGIC), start.starts_with(&zstd::MAGIC)) {
            (true, _) => gzip::unpacked(reader)?,
            (_, true) => zstd::unpacked(reader)?,
            (false, false) => return Ok((reader, layer > 0)),
        };
        reader = buffered(inner);
    }
    Ok((reader, true))
}

pub(crate) fn buffered<'a>(reader: Box<dyn Read + Send + 'a>) -> Box<dyn BufRead + Send + 'a> {
    Box::new(BufReader::with_capacity(64 << 10, reader))
}
