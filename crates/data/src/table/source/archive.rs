//! Which table of a zip archive is read, and its bytes.

use std::io::Read;

use kiln_map::{ArchiveEntry, shown};

use super::named::chosen;
use crate::archive::{WholeFile, entry_reader, is_beside};
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
    let (entry, files) = member_entry(&entries, reading)?;
    if files > 1 {
        notes.push(format!("read from the archive: {}", shown(&entry.name)));
    }
    entry_reader(whole, entry)
}

/// The same without its bytes, and how many files there are.
pub(super) fn member_entry<'e>(
    entries: &'e [ArchiveEntry],
    reading: &Reading,
) -> Result<(&'e ArchiveEntry, usize)> {
    let files: Vec<&ArchiveEntry> = entries.iter().filter(|entry| !is_beside(&entry.name)).collect();
    let tables: Vec<&ArchiveEntry> = match files.as_slice() {
        [one] => vec![one],
        files => files.iter().copied().filter(|entry| ends_in(&entry.name, &TABLES)).collect(),
    };
    let names: Vec<&str> = tables.iter().map(|entry| entry.name.as_str()).collect();
    let told = reading.file.member.as_deref();
    let place = match told.map(|told| chosen(told, &names)) {
        Some(Some(place)) => place,
        Some(None) if !reading.is_of_another_file() => {
            return Err(Error::new(format!(
                "there is no {} in the archive; --member names one of {}",
                told.unwrap_or_default(),
                listed(&names)
            )));
        }
        _ => match names.as_slice() {
            [_] => 0,
            [] if files.iter().any(|entry| ends_in(&entry.name, &PICTURES)) => {
                return Err(Error::new("the archive holds pictures and no table"));
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
    let entry = tables.get(place).ok_or_else(|| Error::new("the archive holds no table"))?;
    Ok((entry, files.len()))
}

fn listed(names: &[&str]) -> String {
    let more = if names.len() > 12 { ", …" } else { "" };
    names.iter().take(12).map(|name| shown(name)).collect::<Vec<_>>().join(", ") + more
}
