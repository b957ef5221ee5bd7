//! What a file of a table is, by its first bytes: text, or rows of typed cells in a workbook, a Parquet or an Arrow file; each of them also
//! packed, or in an archive.

use std::io::{BufRead, BufReader, Cursor, Read};

use kiln_map::{Budget, MemoryMap, is_zip};

use super::TableInput;
use super::archive::{member, member_entry};
#[cfg(feature = "feather")]
use super::feather;
#[cfg(not(feature = "feather"))]
use super::no_feather as feather;
#[cfg(not(feature = "parquet"))]
use super::no_parquet as parquet;
#[cfg(not(feature = "excel"))]
use super::no_workbook as workbook;
#[cfg(feature = "parquet")]
use super::parquet;
use super::typed::TypedRows;
#[cfg(feature = "excel")]
use super::workbook;
use crate::archive::WholeFile;
use crate::error::{Error, Result};
use crate::known::{self, format_of};
use crate::packing::unpacked;
use crate::table::encoding::TextEncoding;
use crate::table::reading::Reading;

/// A file that is open.
pub(super) enum TableFile<'a> {
    Text(Box<dyn Read + Send + 'a>),
    Typed(TypedRows),
}

/// Archives in archives are read so deep.
const DEPTH: usize = 3;

/// Opens a file; what was decided of it is added to the notes.
pub(super) fn open<'a>(
    input: TableInput<'a>,
    reading: &Reading,
    notes: &mut Vec<String>,
) -> Result<TableFile<'a>> {
    let fault = |error| input.fault(error);
    let (mut reader, packed) = unpacked(input.buffered().map_err(fault)?).map_err(fault)?;
    let start = started(&mut reader).map_err(fault)?;
    if is_text(&start) {
        return Ok(TableFile::Text(text_after(start, reader)?));
    }
    let whole = match (input, packed) {
        (TableInput::File(path), false) => WholeFile::mapped(MemoryMap::open(path).map_err(fault)?),
        _ => {
            let rest = Cursor::new(start.clone()).chain(reader);
            WholeFile::of(Budget::default().read(rest).map_err(fault)?)
        }
    };
    of_whole(whole, &start, reading, notes, 0)
}

/// How many bytes the text of a file is, if that is known: of one that isn't packed all of it, of an archive the one entry's. A file that is no
/// archive and packed doesn't say.
pub(super) fn text_length(input: TableInput<'_>, reading: &Reading) -> Result<Option<u64>> {
    let TableInput::File(path) = input else { return Ok(None) };
    let map = MemoryMap::open(path).map_err(|error| input.fault(error))?;
    if is_zip(&map) {
        let whole = WholeFile::mapped(map);
        let entries = kiln_map::zip_entries(whole.bytes()).map_err(Error::new)?;
        let entry = member_entry(&entries, reading)?.0;
        let is_packed = [".gz", ".zst"].iter().any(|ending| entry.name.to_lowercase().ends_with(ending));
        let place = entry.place.as_ref().ok().filter(|_| !is_packed);
        return Ok(place.map(|place| place.unpacked.unwrap_or(place.range.len()) as u64));
    }
    let is_packed = unpacked(Box::new(&map[..])).map(|(_, packed)| packed).unwrap_or(false);
    Ok((!is_packed).then_some(map.len() as u64))
}

/// A file that isn't text.
fn of_whole<'a>(
    whole: WholeFile,
    start: &[u8],
    reading: &Reading,
    notes: &mut Vec<String>,
    depth: usize,
) -> Result<TableFile<'a>> {
    if is_parquet(start) {
        return Ok(TableFile::Typed(parquet::rows(whole)?));
    }
    if feather::is_arrow(start) {
        return Ok(TableFile::Typed(feather::rows(&whole)?));
    }
    if depth == DEPTH {
        return Err(Error::new(format!("archives stand in archives more than {DEPTH} deep; unpack them")));
    }
    let entries = kiln_map::zip_entries(whole.bytes()).map_err(Error::new)?;
    if entries.iter().any(|entry| entry.name == "xl/workbook.xml") {
        return Ok(TableFile::Typed(workbook::rows(&whole, entries, reading, notes)?));
    }
    let inner = member(&whole, entries, reading, notes)?;
    let fault = |error: std::io::Error| Error { source: None, ..Error::new(error.to_string()) };
    let (mut reader, _) = unpacked(Box::new(BufReader::new(inner))).map_err(fault)?;
    let start = started(&mut reader).map_err(fault)?;
    if is_text(&start) {
        return Ok(TableFile::Text(text_after(start, reader)?));
    }
    let rest = Cursor::new(start.clone()).chain(reader);
    let inner = WholeFile::of(Budget::default().read(rest).map_err(fault)?);
    of_whole(inner, &start, reading, notes, depth + 1)
}

/// The first bytes, which are read then.
fn started(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    reader.by_ref().take(known::SHOWN as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Whether what begins so is read as text.
fn is_text(start: &[u8]) -> bool {
    !(is_zip(start) || is_parquet(start) || feather::is_arrow(start))
}

/// A column of a text may be called PAR1; then no control follows.
fn is_parquet(start: &[u8]) -> bool {
    let behind = start.strip_prefix(b"PAR1").map(|behind| behind.first());
    behind.is_some_and(|next| next.is_none_or(|next| next.is_ascii_control() && !next.is_ascii_whitespace()))
}

/// A text, unless it begins as a file that is known to be something else.
fn text_after<'a>(start: Vec<u8>, reader: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
    match format_of(&start).filter(|_| TextEncoding::of_start(&start).is_none()) {
        Some(format) => Err(Error::new(format!(
            "this is {format}, and no table (.csv, .tsv, .jsonl, .json, .xlsx, .parquet, .feather, also packed)"
        ))),
        None => Ok(Box::new(Cursor::new(start).chain(reader))),
    }
}
