//! A file of a table, block by block: unpacked, its delimiter and header found, each block of whole rows.

mod archive;
#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "feather")]
mod feather;
mod file;
#[cfg_attr(not(any(feature = "csv", feature = "excel")), expect(dead_code))]
mod header;
mod named;
#[cfg(not(feature = "csv"))]
mod no_csv;
#[cfg(not(feature = "feather"))]
mod no_feather;
#[cfg(not(feature = "parquet"))]
mod no_parquet;
#[cfg(not(feature = "excel"))]
mod no_workbook;
#[cfg(feature = "parquet")]
mod parquet;
mod typed;
#[cfg(feature = "excel")]
mod workbook;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use kiln_map::{Exceeded, Limits, Resource};

use super::array::ArrayLines;
use super::builder::Layout;
use super::encoding::{self, TextEncoding};
use super::findings::FileFindings;
use super::reading::Reading;
use super::unknown;
#[cfg(not(feature = "csv"))]
use no_csv as csv;

use self::csv::{Records, header, sniff};
use self::file::TableFile;
use self::header::FirstRow;
use self::typed::TypedRows;
pub(super) use self::typed::{TypedBlock, typed};
use super::kind::ColumnKind;
use crate::error::{Error, Result};
use crate::known;
use crate::packing;

/// How much is looked at to find the delimiter and the header.
const HEAD: usize = 64 << 10;
/// What a block of rows takes at most.
const BLOCK: usize = 2 << 20;

/// What a block of rows takes: several are held at once, cut in cells.
pub(super) fn block_size() -> usize {
    usize::try_from(Limits::current().bytes / 64).map_or(BLOCK, |share| share.clamp(HEAD, BLOCK))
}

/// Where a table is read from; it can be opened again.
#[derive(Clone, Copy)]
pub(super) enum TableInput<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

impl<'a> TableInput<'a> {
    /// The bytes as they stand in the file.
    fn buffered(self) -> std::io::Result<Box<dyn BufRead + Send + 'a>> {
        Ok(match self {
            TableInput::File(path) => Box::new(BufReader::with_capacity(256 << 10, File::open(path)?)),
            TableInput::Bytes(bytes) => Box::new(bytes),
        })
    }

    /// What a packed text holds; any other as it is.
    pub fn unpacked(self, packed: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn BufRead + Send + 'a>> {
        let (reader, _) = packing::unpacked(packed).map_err(|error| self.fault(error))?;
        Ok(reader)
    }

    /// The same fault, in this file.
    pub fn place(self, error: Error) -> Error {
        match self {
            TableInput::File(path) if error.file.is_none() => error.in_file(path),
            _ => error,
        }
    }

    /// What the system said of it.
    pub fn fault(self, error: std::io::Error) -> Error {
        match self {
            TableInput::File(path) => Error::io(path, error),
            TableInput::Bytes(_) => Error { source: None, ..Error::new(error.to_string()) },
        }
    }
}

/// A file that is text, from its beginning.
pub(super) fn text<'a>(input: TableInput<'a>, reading: &Reading) -> Result<Box<dyn Read + Send + 'a>> {
    match file::open(input, reading, &mut Vec::new())? {
        TableFile::Text(reader) => Ok(reader),
        TableFile::Typed(_) => Err(Error::new("the file is no text")),
    }
}

/// A file that was opened to see how large its table is.
pub(super) enum FirstPart<'a> {
    /// Text, and how many bytes it is, where the file says so.
    Text { reader: Box<dyn Read + Send + 'a>, length: Option<u64> },
    /// Typed cells, and how many rows there are, where the file says so.
    Typed { source: TableReader<'a>, rows: Option<u64> },
}

/// Opens a file to see how large its table is.
pub(super) fn first_part<'a>(input: TableInput<'a>, reading: &Reading) -> Result<FirstPart<'a>> {
    let mut notes = Vec::new();
    Ok(match file::open(input, reading, &mut notes)? {
        TableFile::Text(reader) => FirstPart::Text { reader, length: file::text_length(input, reading)? },
        TableFile::Typed(typed) => {
            let rows = typed.count;
            FirstPart::Typed { source: TableReader::of_typed(input, reading, typed, notes)?, rows }
        }
    })
}

/// Some whole rows of a file.
pub(super) enum Chunk {
    /// Lines without quotes, each a row.
    Lines { bytes: Vec<u8>, line: u64 },
    /// Rows cut in cells: where each cell ends, how many cells each row has, the line it is at.
    #[cfg_attr(not(feature = "csv"), expect(dead_code))]
    Records { bytes: Vec<u8>, ends: Vec<usize>, counts: Vec<usize>, lines: Vec<u64> },
    /// Objects of JSON, each a line and a row.
    Objects { bytes: Vec<u8>, line: u64 },
    /// Cells that have types.
    Typed(TypedBlock),
}

enum Mode<'a> {
    Lines(Box<dyn Read + Send + 'a>),
    Records(Records<'a>),
    Objects(Box<dyn Read + Send + 'a>),
    Typed(Box<TypedRows>),
    End,
}

/// A file that is being read.
pub(super) struct TableReader<'a> {
    pub input: TableInput<'a>,
    pub delimiter: u8,
    pub layout: Layout,
    pub found: FileFindings,
    mode: Mode<'a>,
    /// Read and not handed out yet.
    rest: Vec<u8>,
    line: u64,
}

impl<'a> TableReader<'a> {
    /// Opens a file and reads its header.
    pub fn open(input: TableInput<'a>, reading: &Reading, encoding: TextEncoding) -> Result<TableReader<'a>> {
        let opened = || {
            let mut notes = Vec::new();
            match file::open(input, reading, &mut notes)? {
                TableFile::Text(reader) => TableReader::start(reader, notes, input, reading, encoding),
                TableFile::Typed(rows) => TableReader::of_typed(input, reading, rows, notes),
            }
        };
        opened().map_err(|error| input.place(error))
    }

    /// Reads the header of a text that is open already.
    pub fn of(
        reader: Box<dyn Read + Send + 'a>,
        input: TableInput<'a>,
        reading: &Reading,
        encoding: TextEncoding,
    ) -> Result<TableReader<'a>> {
        TableReader::start(reader, Vec::new(), input, reading, encoding)
    }

    fn start(
        mut reader: Box<dyn Read + Send + 'a>,
        notes: Vec<String>,
        input: TableInput<'a>,
        reading: &Reading,
        encoding: TextEncoding,
    ) -> Result<TableReader<'a>> {
        let mut rest = Vec::new();
        let mut found = FileFindings { notes, ..FileFindings::default() };
        fill(&mut reader, &mut rest, encoding::SHOWN).map_err(|error| input.fault(error))?;
        let shown = TextEncoding::of_start(&rest)
            .filter(|_| reading.file.encoding.is_none() || reading.is_of_another_file());
        // Another file than the one it was told of may be in UTF-8, which has no zeros.
        let wide = matches!(encoding, TextEncoding::Utf16Little | TextEncoding::Utf16Big);
        let is_other = wide && reading.is_of_another_file() && memchr::memchr(0, &rest).is_none();
        let told = (encoding != TextEncoding::Utf8 && !is_other).then_some(encoding);
        if let Some(encoding) = shown.or(told) {
            if reading.file.encoding.is_none() {
                found.notes.push(format!("the text is {encoding}; --encoding says another"));
            }
            reader = encoding.decoded(std::io::Cursor::new(std::mem::take(&mut rest)).chain(reader));
        }
        let mut ended = fill(&mut reader, &mut rest, HEAD).map_err(|error| input.fault(error))?;
        while !ended && memchr::memchr(b'\n', &rest).is_none() {
            let more = rest.len() + HEAD;
            ended = fill(&mut reader, &mut rest, more).map_err(|error| input.fault(error))?;
        }
        // Files that were joined or saved twice have several, and the reader of rows would leave out another one unseen.
        let marks = rest.chunks_exact(3).take_while(|chunk| *chunk == [0xef, 0xbb, 0xbf]).count();
        rest.drain(..3 * marks);
        if reading.file.delimiter.is_none()
            && let Some(binary) = known::binary(rest.get(..512).unwrap_or(&rest))
        {
            return Err(Error::new(binary));
        }
        let Some(first) = rest.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return Err(Error::new("the file is empty; a table has a header and rows"));
        };
        if *first == b'[' {
            // What was read comes first again, now as lines.
            let list = ArrayLines::new(std::io::Cursor::new(rest).chain(reader));
            let mode = Mode::Objects(Box::new(list));
            let (layout, rest) = (Layout::default(), Vec::new());
            return Ok(TableReader { input, delimiter: 0, layout, found, mode, rest, line: 1 });
        }
        if *first == b'{' {
            let mode = Mode::Objects(reader);
            let layout = Layout::default();
            return Ok(TableReader { input, delimiter: 0, layout, found, mode, rest, line: 1 });
        }
        let whole =
            if ended { rest.len() } else { memchr::memrchr(b'\n', &rest).map_or(rest.len(), |at| at + 1) };
        let head = rest.get(..whole).unwrap_or_default();
        // Spreadsheets say in a line of its own what stands between cells.
        let told = separator_line(head);
        let head = head.get(told.map_or(0, |(_, end)| end)..).unwrap_or_default();
        // Another file of a model's may have another sign.
        let of_file = |sign: &u8| !reading.is_of_another_file() || memchr::memchr(*sign, head).is_some();
        let of_reading = reading.file.delimiter().filter(of_file);
        let delimiter = of_reading.or(told.map(|(sign, _)| sign)).unwrap_or_else(|| sniff(head));
        let (FirstRow { names, found: of_header, is_guess, .. }, end, line) =
            header(head, delimiter, reading)?;
        found.notes.extend(of_header.notes);
        found.unnamed = of_header.unnamed;
        found.guessed_header = is_guess;
        let mut layout = Layout { columns: names.into_iter().map(|name| reading.column(name)).collect() };
        check_told(&layout, reading)?;
        if reading.tells_numbers() {
            // All cells are looked at: what seems plain may mean something else.
            for known in
                layout.columns.iter_mut().filter(|known| !known.told && known.format.number.is_none())
            {
                known.kind = Some(ColumnKind::Category);
            }
        }
        let (before, line) = told.map_or((0, line), |(_, end)| (end, line + 1));
        rest.drain(..before + end);
        Ok(TableReader { input, delimiter, layout, found, mode: Mode::Lines(reader), rest, line })
    }

    fn of_typed(
        input: TableInput<'a>,
        reading: &Reading,
        rows: TypedRows,
        notes: Vec<String>,
    ) -> Result<TableReader<'a>> {
        let layout = rows.layout(reading);
        check_told(&layout, reading)?;
        let FileFindings { notes: own, unnamed, guessed_header } = rows.found.clone();
        let found = FileFindings { notes: [notes, own].concat(), unnamed, guessed_header };
        let (mode, rest) = (Mode::Typed(Box::new(rows)), Vec::new());
        Ok(TableReader { input, delimiter: 0, layout, found, mode, rest, line: 1 })
    }

    /// The next whole rows, about so many bytes of them.
    pub fn block(&mut self, size: usize) -> Result<Option<Chunk>> {
        let input = self.input;
        let (Mode::Lines(reader) | Mode::Objects(reader)) = &mut self.mode else {
            return match &mut self.mode {
                Mode::Records(records) => records.block(size, input),
                Mode::Typed(rows) => Ok(rows.block(size)?.map(Chunk::Typed)),
                Mode::Lines(_) | Mode::Objects(_) | Mode::End => Ok(None),
            };
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
            let Mode::Lines(reader) = std::mem::replace(&mut self.mode, Mode::End) else {
                return Ok(None);
            };
            let all = std::io::Cursor::new(bytes).chain(reader);
            let mut records = Records::new(self.delimiter, all, self.line - 1)?;
            let block = records.block(size, input);
            self.mode = Mode::Records(records);
            return block;
        }
        self.rest = bytes.split_off(end);
        if bytes.is_empty() {
            self.mode = Mode::End;
            return Ok(None);
        }
        let line = self.line;
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Ok(Some(if objects { Chunk::Objects { bytes, line } } else { Chunk::Lines { bytes, line } }))
    }
}

/// `sep=;`: what stands between cells, and where the line ends.
fn separator_line(head: &[u8]) -> Option<(u8, usize)> {
    let start = head.first_chunk::<4>().filter(|start| start.eq_ignore_ascii_case(b"sep="))?;
    let sign = *head.get(start.len())?;
    match head.get(start.len() + 1..)? {
        [b'\r', b'\n', ..] => Some((sign, start.len() + 3)),
        [b'\n', ..] => Some((sign, start.len() + 2)),
        _ => None,
    }
}

/// Refuses kinds that were told of columns that aren't there.
fn check_told(layout: &Layout, reading: &Reading) -> Result<()> {
    let unknown = |(name, _): &&(String, ColumnKind)| layout.names().all(|known| known != name);
    match reading.kinds.iter().find(unknown) {
        Some((name, _)) if !reading.lenient => Err(unknown::unknown_column(name, layout.names())),
        _ => Ok(()),
    }
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
pub(super) fn longest_row() -> u64 {
    Limits::current().bytes / 32
}

pub(super) fn too_long() -> std::io::Error {
    let limit = Limits::current().bytes;
    std::io::Error::other(Exceeded::Limit { resource: Resource::Bytes, limit })
}

/// Whether lines can't simply be cut at line feeds and delimiters: where there are quotes or single carriage returns.
fn needs_care(bytes: &[u8]) -> bool {
    let alone = |at: usize| bytes.get(at + 1).is_some_and(|next| *next != b'\n');
    memchr::memchr(b'"', bytes).is_some() || memchr::memchr_iter(b'\r', bytes).any(alone)
}
