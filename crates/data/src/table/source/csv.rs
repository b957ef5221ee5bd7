//! What the feature `csv` brings: the header of a table in text, its delimiter, and rows with quotes cut in cells. `no_csv.rs` stands in
//! for it where the feature is off.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, Position, Reader};

use super::header::{FirstRow, SHOWN, first_row};
use super::{BLOCK, Chunk, TableInput, longest_row, too_long};
use crate::error::{Error, Result};
use crate::table::reading::Reading;

/// Put after a file with quotes. It comes back as a row of its own, unless a quote was never closed.
const LAST_RECORD: &[u8] = b"\n\x1fthe end of the table\x1f";

/// Rows that are cut by the crate `csv`.
pub(super) struct Records<'a> {
    reader: Box<Reader<Rationed<Box<dyn Read + Send + 'a>>>>,
    /// How many lines stand before those it counts.
    before: u64,
    /// What is left for the row that is read.
    left: Arc<AtomicU64>,
}

impl<'a> Records<'a> {
    /// The rows of what is read from here on, which begins after so many lines.
    pub fn new(delimiter: u8, from: impl Read + Send + 'a, before: u64) -> Result<Records<'a>> {
        let left = Arc::<AtomicU64>::default();
        let inner: Box<dyn Read + Send + 'a> = Box::new(from.chain(LAST_RECORD));
        let rationed = Rationed { inner, left: left.clone() };
        Ok(Records { reader: Box::new(reader(delimiter, rationed)), before, left })
    }

    /// The next rows, about so many bytes of them.
    pub fn block(&mut self, size: usize, input: TableInput<'_>) -> Result<Option<Chunk>> {
        let (mut bytes, mut ends, mut counts, mut lines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut record, mut next) = (ByteRecord::new(), ByteRecord::new());
        let mut ahead = false;
        while ahead || bytes.len() < size {
            let fault = |error| fault_of(error, input);
            self.left.store(longest_row().max(BLOCK as u64), Ordering::Relaxed);
            if ahead {
                std::mem::swap(&mut record, &mut next);
            } else if !self.reader.read_byte_record(&mut record).map_err(fault)? {
                break;
            }
            // A blank line before the row counts as its line.
            let line = self.before + record.position().map_or(0, Position::line);
            let end = LAST_RECORD.trim_ascii();
            ahead = false;
            if record.iter().next_back().is_some_and(|cell| cell.ends_with(end)) {
                // A cell of the file's own may end so too; then something follows it.
                ahead = self.reader.read_byte_record(&mut next).map_err(fault)?;
                let alone = record.len() == 1 && record.get(0) == Some(end);
                match (ahead, alone) {
                    (true, _) => {}
                    (false, true) => continue,
                    (false, false) => {
                        let message = "a quote is opened in this row and never closed; close it";
                        return Err(Error::new(message).at_line(line));
                    }
                }
            }
            for cell in &record {
                bytes.extend_from_slice(cell);
                ends.push(bytes.len());
            }
            counts.push(record.len());
            lines.push(line);
        }
        Ok((!counts.is_empty()).then_some(Chunk::Records { bytes, ends, counts, lines }))
    }
}

/// A reader that ends with an error where a row takes more than it may.
struct Rationed<R> {
    inner: R,
    /// What is left for the row that is read.
    left: Arc<AtomicU64>,
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.load(Ordering::Relaxed).checked_sub(read as u64).ok_or_else(too_long)?;
        self.left.store(left, Ordering::Relaxed);
        Ok(read)
    }
}

fn reader<R: Read>(delimiter: u8, reader: R) -> Reader<R> {
    csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(reader)
}

fn fault_of(error: csv::Error, input: TableInput<'_>) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => input.fault(error),
        other => Error::new(format!("the table can't be read: {other:?}")),
    }
}

/// The delimiter that cuts the first rows in the most cells, as many in each.
pub(super) fn sniff(head: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let records = reader(delimiter, head).into_byte_records().take(50);
        let counts: Vec<usize> =
            records.filter_map(|record| record.ok()).map(|record| record.len()).collect();
        let first = counts.first().copied().unwrap_or(0);
        let alike = counts.iter().filter(|&&count| count == first).count();
        if first < 2 { (0, 0) } else { (100 * alike / counts.len(), first) }
    };
    let delimiters = *b",;\t|";
    // The last of the best wins, so the comma stands last.
    delimiters.into_iter().rev().max_by_key(|&delimiter| score(delimiter)).unwrap_or(b',')
}

/// What the first row says, where the rows start, and the line that is.
pub(super) fn header(head: &[u8], delimiter: u8, reading: &Reading) -> Result<(FirstRow, usize, u64)> {
    let mut rows = reader(delimiter, head);
    let mut first = ByteRecord::new();
    rows.read_byte_record(&mut first).map_err(|error| fault_of(error, TableInput::Bytes(head)))?;
    let line = first.position().map_or(1, Position::line);
    let end = rows.position().byte() as usize;
    // The reader stops between the two bytes of a line's end.
    let end = if head.get(end.wrapping_sub(1)) == Some(&b'\r') && head.get(end) == Some(&b'\n') {
        end + 1
    } else {
        end
    };
    let rest: Vec<ByteRecord> = rows.into_byte_records().take(SHOWN).filter_map(|row| row.ok()).collect();
    let cells: Vec<&[u8]> = first.iter().map(<[u8]>::trim_ascii).collect();
    let below: Vec<Vec<&[u8]>> =
        rest.iter().map(|row| row.iter().map(<[u8]>::trim_ascii).collect()).collect();
    let row = first_row(&cells, &below, reading).map_err(|error| error.at_line(line))?;
    if !row.is_header {
        return Ok((row, 0, 1));
    }
    let feeds = memchr::memchr_iter(b'\n', head.get(..end).unwrap_or_default()).count() as u64;
    Ok((row, end, 1 + feeds))
}
