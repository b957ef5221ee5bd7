//! A file of a table, block by block: unpacked, its delimiter and header found, each block of whole rows.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_map::{Exceeded, Limits, Resource};

use super::array::ArrayLines;
use super::builder::{Known, Layout};
use super::reading::Reading;
use super::{cell, date, unknown};
use crate::error::{Error, Result};

/// How much is looked at to find the delimiter and the header.
const HEAD: usize = 64 << 10;
/// What a block of rows takes.
pub(super) const BLOCK: usize = 2 << 20;
/// Put after a file with quotes. It comes back as a row of its own, unless a quote was never closed.
const LAST_RECORD: &[u8] = b"\n\x1fthe end of the table\x1f";

/// Where a table is read from; it can be opened again.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

impl<'a> Input<'a> {
    fn open(self) -> Result<Box<dyn Read + Send + 'a>> {
        let packed: Box<dyn BufRead + Send + 'a> = match self {
            Input::File(path) => {
                let file = File::open(path).map_err(|error| Error::io(path, error))?;
                Box::new(BufReader::with_capacity(256 << 10, file))
            }
            Input::Bytes(bytes) => Box::new(bytes),
        };
        let mut packed = packed;
        let start = packed.fill_buf().map_err(|error| self.fault(error))?;
        match start.starts_with(&[0x1f, 0x8b]) {
            true => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(packed))),
            false => Ok(Box::new(packed)),
        }
    }

    /// The same fault, in this file.
    pub fn place(self, error: Error) -> Error {
        match self {
            Input::File(path) if error.file.is_none() => error.in_file(path),
            _ => error,
        }
    }

    fn fault(self, error: std::io::Error) -> Error {
        match self {
            Input::File(path) => Error::io(path, error),
            Input::Bytes(_) => Error { source: None, ..Error::new(error.to_string()) },
        }
    }
}

/// Some whole rows of a file.
pub(super) enum Block {
    /// Lines without quotes, each a row.
    Lines { bytes: Vec<u8>, line: u64 },
    /// Rows cut in cells by the `csv` crate: where each cell ends, how many cells each row has, the line it is at.
    Records { bytes: Vec<u8>, ends: Vec<usize>, counts: Vec<usize>, lines: Vec<u64> },
    /// Objects of JSON, each a line and a row.
    Objects { bytes: Vec<u8>, line: u64 },
}

enum Mode<'a> {
    Lines(Box<dyn Read + Send + 'a>),
    /// With how many lines stand before those it counts.
    Records(Box<csv::Reader<Box<dyn Read + Send + 'a>>>, u64),
    Objects(Box<dyn Read + Send + 'a>),
    End,
}

/// A file that is being read.
pub(super) struct Source<'a> {
    pub input: Input<'a>,
    pub delimiter: u8,
    pub layout: Layout,
    mode: Mode<'a>,
    /// Read and not handed out yet.
    rest: Vec<u8>,
    line: u64,
    /// What is left for the row that is read, where rows are cut by the `csv` crate.
    left: Arc<AtomicU64>,
}

impl<'a> Source<'a> {
    /// Opens a file and reads its header.
    pub fn open(input: Input<'a>, reading: &Reading) -> Result<Source<'a>> {
        Source::start(input, reading).map_err(|error| input.place(error))
    }

    fn start(input: Input<'a>, reading: &Reading) -> Result<Source<'a>> {
        let mut reader = input.open()?;
        let mut rest = Vec::new();
        let mut ended = fill(&mut reader, &mut rest, HEAD).map_err(|error| input.fault(error))?;
        while !ended && memchr::memchr(b'\n', &rest).is_none() {
            let more = rest.len() + HEAD;
            ended = fill(&mut reader, &mut rest, more).map_err(|error| input.fault(error))?;
        }
        if rest.starts_with(&[0xff, 0xfe]) || rest.starts_with(&[0xfe, 0xff]) {
            return Err(Error::new("the text is UTF-16; save it as UTF-8"));
        }
        if rest.starts_with(&[0xef, 0xbb, 0xbf]) {
            rest.drain(..3);
        }
        let Some(first) = rest.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return Err(Error::new("the file is empty; a table has a header and rows"));
        };
        if *first == b'[' {
            // What was read comes first again, now as lines.
            let list = ArrayLines::new(std::io::Cursor::new(rest).chain(reader));
            let mode = Mode::Objects(Box::new(list));
            return Ok(Source {
                input,
                delimiter: 0,
                layout: Layout::default(),
                mode,
                rest: Vec::new(),
                line: 1,
                left: Arc::default(),
            });
        }
        if *first == b'{' {
            let mode = Mode::Objects(reader);
            return Ok(Source {
                input,
                delimiter: 0,
                layout: Layout::default(),
                mode,
                rest,
                line: 1,
                left: Arc::default(),
            });
        }
        let whole =
            if ended { rest.len() } else { memchr::memrchr(b'\n', &rest).map_or(rest.len(), |at| at + 1) };
        let head = rest.get(..whole).unwrap_or_default();
        let delimiter = reading.delimiter.unwrap_or_else(|| sniff(head));
        let (names, end, line) = header(head, delimiter, reading)?;
        let known = |name| Known { name, kind: None, told: false };
        let mut layout = Layout { columns: names.into_iter().map(known).collect() };
        tell(&mut layout, reading)?;
        rest.drain(..end);
        Ok(Source { input, delimiter, layout, mode: Mode::Lines(reader), rest, line, left: Arc::default() })
    }

    /// The next whole rows, about so many bytes of them.
    pub fn block(&mut self, size: usize) -> Result<Option<Block>> {
        let input = self.input;
        let (Mode::Lines(reader) | Mode::Objects(reader)) = &mut self.mode else {
            return self.records(size);
        };
        let mut bytes = std::mem::take(&mut self.rest);
        let mut wanted = size;
        let end = loop {
            let ended = fill(reader, &mut bytes, wanted).map_err(|error| input.fault(error))?;
            if ended && bytes.len() <= wanted {
                break bytes.len();
            }
            let window = bytes.get(..wanted.min(bytes.len())).unwrap_or(&bytes);
            if let Some(at) = memchr::memrchr(b'\n', window) {
                break at + 1;
            }
            wanted = wanted.saturating_mul(2);
        };
        let objects = matches!(self.mode, Mode::Objects(_));
        if !objects && needs_care(&bytes[..end]) {
            let Mode::Lines(reader) = std::mem::replace(&mut self.mode, Mode::End) else { return Ok(None) };
            let all = std::io::Cursor::new(bytes).chain(reader).chain(LAST_RECORD);
            let all: Box<dyn Read + Send + 'a> = Box::new(Rationed { inner: all, left: self.left.clone() });
            self.mode = Mode::Records(Box::new(csv_reader(self.delimiter, all)), self.line - 1);
            return self.records(size);
        }
        self.rest = bytes.split_off(end);
        if bytes.is_empty() {
            self.mode = Mode::End;
            return Ok(None);
        }
        let line = self.line;
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Ok(Some(if objects { Block::Objects { bytes, line } } else { Block::Lines { bytes, line } }))
    }

    fn records(&mut self, size: usize) -> Result<Option<Block>> {
        let Mode::Records(reader, before) = &mut self.mode else { return Ok(None) };
        let (mut bytes, mut ends, mut counts, mut lines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut record, mut next) = (csv::ByteRecord::new(), csv::ByteRecord::new());
        let mut ahead = false;
        while ahead || bytes.len() < size {
            let fault = |error| csv_fault(error, self.input);
            self.left.store(longest_row().max(BLOCK as u64), Ordering::Relaxed);
            if ahead {
                std::mem::swap(&mut record, &mut next);
            } else if !reader.read_byte_record(&mut record).map_err(fault)? {
                self.mode = Mode::End;
                break;
            }
            // A blank line before the row counts as its line.
            let line = *before + record.position().map_or(0, csv::Position::line);
            let end = LAST_RECORD.trim_ascii();
            ahead = false;
            if record.iter().next_back().is_some_and(|cell| cell.ends_with(end)) {
                // A cell of the file's own may end so too; then something follows it.
                ahead = reader.read_byte_record(&mut next).map_err(fault)?;
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
        Ok((!counts.is_empty()).then_some(Block::Records { bytes, ends, counts, lines }))
    }
}

/// Sets the kinds that were told.
fn tell(layout: &mut Layout, reading: &Reading) -> Result<()> {
    for (name, kind) in &reading.kinds {
        let Some(known) = layout.columns.iter_mut().find(|known| known.name == *name) else {
            if reading.lenient {
                continue;
            }
            return Err(unknown::unknown_column(name, layout.names()));
        };
        (known.kind, known.told) = (Some(*kind), true);
    }
    Ok(())
}

/// Reads until there are so many bytes, and whether the end was reached.
fn fill(reader: &mut dyn Read, bytes: &mut Vec<u8>, wanted: usize) -> std::io::Result<bool> {
    let missing = wanted.saturating_sub(bytes.len());
    // More than usual is wanted where a row doesn't end.
    if wanted > BLOCK && wanted as u64 > longest_row() {
        return Err(too_long());
    }
    bytes.try_reserve(missing).map_err(|_| std::io::Error::other(Exceeded::Memory(missing as u64)))?;
    let read = reader.take(missing as u64).read_to_end(bytes)?;
    Ok(read < missing)
}

/// How long a row may be in the file: it is held several times at once, cut in cells, each with its end.
fn longest_row() -> u64 {
    Limits::current().bytes / 32
}

fn too_long() -> std::io::Error {
    let limit = Limits::current().bytes;
    std::io::Error::other(Exceeded::Limit { resource: Resource::Bytes, limit })
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

/// Whether lines can't simply be cut at line feeds and delimiters: where there are quotes or single carriage returns.
fn needs_care(bytes: &[u8]) -> bool {
    let alone = |at: usize| bytes.get(at + 1).is_some_and(|next| *next != b'\n');
    memchr::memchr(b'"', bytes).is_some() || memchr::memchr_iter(b'\r', bytes).any(alone)
}

fn csv_reader<R: Read>(delimiter: u8, reader: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(reader)
}

fn csv_fault(error: csv::Error, input: Input<'_>) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => input.fault(error),
        other => Error::new(format!("the table can't be read: {other:?}")),
    }
}

/// The delimiter that cuts the first rows in the most cells, as many in each.
fn sniff(head: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let records = csv_reader(delimiter, head).into_byte_records().take(50);
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

/// The names of the columns, where the rows start, and the line that is.
fn header(head: &[u8], delimiter: u8, reading: &Reading) -> Result<(Vec<String>, usize, u64)> {
    let mut reader = csv_reader(delimiter, head);
    let mut first = csv::ByteRecord::new();
    reader.read_byte_record(&mut first).map_err(|error| csv_fault(error, Input::Bytes(head)))?;
    let line = first.position().map_or(1, csv::Position::line);
    let valued =
        |cell: &[u8]| cell::number(cell.trim_ascii()).is_some() || date::parse(cell.trim_ascii()).is_some();
    let empty = |cell: &[u8]| cell::is_missing(cell.trim_ascii());
    let has_header = reading.header.unwrap_or_else(|| !first.iter().any(valued) && !first.iter().all(empty));
    if !has_header {
        return Ok(((1..=first.len()).map(|number| format!("column{number}")).collect(), 0, 1));
    }
    let mut names: Vec<String> = Vec::with_capacity(first.len());
    let mut places = std::collections::HashMap::new();
    for (at, cell) in first.iter().enumerate() {
        let number = at + 1;
        let name = std::str::from_utf8(cell).map_err(|_| {
            let shown = String::from_utf8_lossy(cell);
            Error::new(format!("the name \"{shown}\" of column {number} isn't UTF-8; save the file as UTF-8"))
                .at_line(line)
        })?;
        let name = name.trim().to_string();
        if name.is_empty() {
            let mend = "name it, or leave the column out (an index without a name is often written first)";
            return Err(Error::new(format!("column {number} has an empty name; {mend}")).at_line(line));
        }
        if let Some(other) = places.insert(name.clone(), number) {
            let message =
                format!("columns {other} and {number} are both named \"{name}\"; rename one of them");
            return Err(Error::new(message).at_line(line));
        }
        names.push(name);
    }
    let end = reader.position().byte() as usize;
    // The reader stops between the two bytes of a line's end.
    let end = if head.get(end.wrapping_sub(1)) == Some(&b'\r') && head.get(end) == Some(&b'\n') {
        end + 1
    } else {
        end
    };
    let feeds = memchr::memchr_iter(b'\n', head.get(..end).unwrap_or_default()).count() as u64;
    Ok((names, end, 1 + feeds))
}
