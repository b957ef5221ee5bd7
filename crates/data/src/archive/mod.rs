//! What lies in zip archives: the bytes of an entry, held to what the archive promises of them.

mod whole;

use std::io::Read;

use kiln_map::{ArchiveEntry, ArchivePlace, shown};

pub(crate) use whole::WholeFile;

use crate::error::{Error, Result};

/// Whether an entry is a folder, or what systems put beside files.
pub(crate) fn is_beside(name: &str) -> bool {
    let own = name.rsplit('/').next().unwrap_or_default();
    own.is_empty() || own.starts_with('.') || name.starts_with("__MACOSX/")
}

/// The bytes of an entry, as many as it promises.
pub(crate) fn entry_reader(whole: &WholeFile, entry: &ArchiveEntry) -> Result<Box<dyn Read + Send>> {
    let fault = |what: &str| Error::new(format!("{}: {what}", shown(&entry.name)));
    let ArchivePlace { range, unpacked, crc } = entry.place.clone().map_err(|what| fault(&what))?;
    let promised = unpacked.unwrap_or(range.len()) as u64;
    open_entry(whole, range, unpacked.is_some(), promised, crc).map_err(|error| fault(&error.message))
}

#[cfg(feature = "gzip")]
fn open_entry(
    whole: &WholeFile,
    range: std::ops::Range<usize>,
    is_packed: bool,
    promised: u64,
    crc: u32,
) -> Result<Box<dyn Read + Send>> {
    let part = whole.part(range);
    let inner: Box<dyn Read + Send> = match is_packed {
        true => Box::new(flate2::bufread::DeflateDecoder::new(part)),
        false => Box::new(part),
    };
    // One more than is promised shows where there is more.
    Ok(Box::new(CheckedEntry {
        inner: inner.take(promised.saturating_add(1)),
        sum: flate2::Crc::new(),
        left: promised,
        crc,
    }))
}

#[cfg(not(feature = "gzip"))]
fn open_entry(
    _whole: &WholeFile,
    _range: std::ops::Range<usize>,
    _is_packed: bool,
    _promised: u64,
    _crc: u32,
) -> Result<Box<dyn Read + Send>> {
    Err(Error::new("the file is in a zip archive, and kiln was built without its feature `gzip`"))
}

/// An entry that is held to its size and its checksum when it ends.
#[cfg(feature = "gzip")]
struct CheckedEntry<R> {
    inner: R,
    sum: flate2::Crc,
    left: u64,
    crc: u32,
}

#[cfg(feature = "gzip")]
impl<R: Read> Read for CheckedEntry<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..read).unwrap_or_default());
        let ended = read == 0 && !buffer.is_empty();
        let left = self.left.checked_sub(read as u64);
        let fault = |what| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
        match left {
            None => fault("an entry of the archive is longer than it says; the file is damaged"),
            Some(left) if ended && left > 0 => fault("an entry of the archive is cut off"),
            Some(_) if ended && self.sum.sum() != self.crc => {
                fault("the checksum of an entry of the archive is wrong; the file is damaged")
            }
            Some(left) => {
                self.left = left;
                Ok(read)
            }
        }
    }
}
