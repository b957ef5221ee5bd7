//! What the feature `gzip` brings to archives: packed entries. `no_deflate.rs` stands in for it where the feature is off.

use std::io;

use flate2::read::DeflateDecoder;

use super::Read;

/// The checksum of an entry.
pub(super) use flate2::Crc as Crc32;

/// What is packed.
pub(super) fn inflated(packed: &[u8]) -> Read<impl io::Read> {
    Ok(DeflateDecoder::new(packed))
}
