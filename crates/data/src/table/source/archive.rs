//! Which table of a zip archive is read, and its bytes.

use std::io::Read;

use kiln_map::{ArchiveEntry, ArchivePlace, shown};

use super::named::chosen;
use super::whole::WholeFile;
use crate::error::{Error, Result};
use crate::table::reading::Reading;

/// How names of tables end; each may be packed once more.
const TABLES: [&str; 13] = [
    "csv", "tsv", "tab", "txt", "jsonl", "ndjson", "json", "parquet", "arrow", "feather", "xlsx", "xlsm",
    "zip",
];
/// How names of pictures end.
const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "bmp", "webp", "gif", "tif", "tiff", "ico"];

fn ends_in(name: &str, endings: &[&str]) -> bool {
    let lower = name.to_lowercase();
    let plain = lower.strip_suffix(".gz").or(lower.strip_suffix(".zst")).unwrap_or(&lower);
    plain.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
}

/// The one entry that is a table, or the one that was chosen.
pub(super) fn member(
    whole: &WholeFile,
    entries: Vec<ArchiveEntry>,
    reading: &Reading,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Read + Send>> {
    // Folders, and what systems put beside files.
    let is_file = |entry: &ArchiveEntry| {
        let own = entry.name.rsplit('/').next().unwrap_or_default();
        !own.is_empty() && !own.starts_with('.') && !entry.name.starts_with("__MACOSX/")
    };
    let files: Vec<ArchiveEntry> = entries.into_iter().filter(is_file).collect();
    let tables: Vec<&ArchiveEntry> = match files.as_slice() {
        [one] => vec![one],
        files => files.iter().filter(|entry| ends_in(&entry.name, &TABLES)).collect(),
    };
    let names: Vec<&str> = tables.iter().map(|entry| entry.name.as_str()).collect();
    let told = reading.file.member.as_deref();
    let place = match told.map(|told| chosen(told, &names)) {
        Some(Some(place)) => place,
        Some(None) if !reading.lenient => {
            return Err(Error::new(format!(
                "there is no {} in the archive; --member names one of {}",
                told.unwrap_or_default(),
                listed(&names)
            )));
        }
        _ => match names.as_slice() {
            [_] => 0,
            [] if files.iter().any(|entry| ends_in(&entry.name, &PICTURES)) => {
                return Err(Error::new("the archive holds pictures; unpack it and name the folder"));
            }
            [] => {
                return Err(Error::new(
                    "the archive holds no table (.csv, .tsv, .jsonl, .json, .xlsx, .parquet, .feather)",
                ));
            }
            names => {
                return Err(Error::new(format!(
                    "the archive holds {} tables: {}; --member NAME, or a number from 1, says which",
                    names.len(),
                    listed(names)
                )));
            }
        },
    };
    let Some(entry) = tables.get(place) else { return Err(Error::new("the archive holds no table")) };
    if files.len() > 1 {
        notes.push(format!("read from the archive: {}", shown(&entry.name)));
    }
    entry_reader(whole, entry)
}

fn listed(names: &[&str]) -> String {
    let more = if names.len() > 12 { ", …" } else { "" };
    names.iter().take(12).map(|name| shown(name)).collect::<Vec<_>>().join(", ") + more
}

/// The bytes of an entry, as many as it promises.
pub(super) fn entry_reader(whole: &WholeFile, entry: &ArchiveEntry) -> Result<Box<dyn Read + Send>> {
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
