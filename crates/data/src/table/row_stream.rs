//! Raw rows of a table's text in a stream: blocks are read one after the other, and each is cut in cells and encoded as inputs on any
//! thread, while its cells are kept as they stood, for whoever writes them out again. Nothing is held but the blocks in hand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use kiln_map::Budget;

use super::Table;
use super::cell::plain_number;
use super::encoding::{TextEncoding, windows_text};
use super::parse::{cell_end, count_cells, parse, ragged, text};
use super::part::no_text;
use super::preparation::TablePreparation;
use super::raw::RawCell;
use super::reading::Reading;
use super::row::RowPlan;
use super::source::{Chunk, FirstPart, TableInput, TableReader, block_size, first_part};
use super::stream::TableBuilder;
use crate::error::{Error, Result};
use crate::known::format_of;

/// The text of a table that is being read, if it is one that has a row in each line.
pub enum TableText<'a> {
    /// Rows of cells with a delimiter between them.
    Rows(RowStream<'a>),
    /// Something else: lines of JSON, a container. It is still whole.
    Other(Box<dyn Read + Send + 'a>),
}

/// Blocks of raw rows, in their order.
///
/// ```
/// use kiln_data::{Choices, RowEncoder, RowStream, Table, TablePreparation, TableText};
///
/// let table = Table::read(b"age,sex,ill\n63,male,yes\n41,female,no\n,male,no\n55,female,yes\n")?;
/// let plan = TablePreparation::fit(&table, &[0, 1, 2, 3], &Choices::new().target("ill"))?;
///
/// let new: &[u8] = b"sex;age;name\nmale;53;\"Li, An\"\nfemale;;Bo\n";
/// let TableText::Rows(mut rows) = RowStream::of(new, &plan.reading())? else { unreachable!() };
/// let encoder = RowEncoder::new(&rows, &plan)?;
/// let block = rows.next_block()?.expect("two rows");
/// let encoded = encoder.encode(&block)?;
/// assert_eq!(encoded.inputs, plan.apply_inputs(&Table::read(new)?)?.values);
/// assert_eq!(encoded.written(0), b"male,53,\"Li, An\"");
/// assert!(rows.next_block()?.is_none());
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub struct RowStream<'a> {
    source: TableReader<'a>,
    /// What bytes are that aren't UTF-8, once some were seen; until then every text is ASCII.
    encoding: Option<TextEncoding>,
}

impl Reading {
    /// The first rows of a file, and how many it has, about: what a table larger than memory is known by before it is read. Nothing of a
    /// workbook, and nothing of a list of lines that are longer than what is looked at.
    ///
    /// # Errors
    /// Where the file can't be read, or its first rows are no table.
    pub fn first_rows(&self, path: impl AsRef<Path>) -> Result<Option<FirstRows>> {
        let path = path.as_ref();
        let input = TableInput::File(path);
        let of_file = |error: Error| if error.file.is_none() { error.in_file(path) } else { error };
        let file = std::fs::metadata(path).map_err(|error| Error::io(path, error))?.len();
        match first_part(input, self).map_err(of_file)? {
            FirstPart::Text { reader, length } => {
                let mut start = Vec::new();
                let read = reader.take(SHOWN as u64).read_to_end(&mut start);
                read.map_err(|error| Error::io(path, error))?;
                // What is all there is has its last line too.
                let is_all = start.len() < SHOWN;
                let end = memchr::memrchr(b'\n', &start).filter(|_| !is_all);
                let whole = end.map_or(start.len(), |end| end + 1);
                let rows = start.get(..whole).unwrap_or_default();
                let table = self.read(rows).map_err(of_file)?;
                let length = length.unwrap_or(file.saturating_mul(PACKED));
                let rows = length.saturating_mul(table.len() as u64) / (whole as u64).max(1);
                Ok(Some(FirstRows { table, rows }))
            }
            FirstPart::Typed { rows: None, .. } => Ok(None),
            FirstPart::Typed { mut source, rows: Some(rows) } => {
                let Some(block) = source.block(SHOWN).map_err(of_file)? else { return Ok(None) };
                let part = parse(&block, 0, &source.layout, self, &Budget::default()).map_err(of_file)?;
                let layout = part.layout.clone();
                let mut gathered = TableBuilder::default();
                gathered.append(part)?;
                Ok(Some(FirstRows { table: gathered.table(&layout, input), rows }))
            }
        }
    }
}

/// The first rows of a file that wasn't read yet.
pub struct FirstRows {
    /// The rows.
    pub table: Table,
    /// How many the file has, about.
    pub rows: u64,
}

/// How much larger a packed file is when it is unpacked, about.
const PACKED: u64 = 6;

/// Some rows of a stream, as they were read.
pub struct RawBlock(Chunk);

/// How much of a stream shows what it is.
const SHOWN: usize = 64 << 10;

impl<'a> RowStream<'a> {
    /// The text of a file, also packed with gzip.
    ///
    /// # Errors
    /// Where it can't be read, or has no header that suits.
    pub fn open(path: &'a Path, reading: &Reading) -> Result<TableText<'a>> {
        let input = TableInput::File(path);
        let packed = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
        RowStream::begin(Box::new(BufReader::with_capacity(256 << 10, packed)), input, reading)
            .map_err(|error| input.place(error))
    }

    /// The text that a reader gives, also packed with gzip.
    ///
    /// # Errors
    /// As [`RowStream::open`].
    pub fn of(reader: impl Read + Send + 'a, reading: &Reading) -> Result<TableText<'a>> {
        let reader = BufReader::with_capacity(256 << 10, reader);
        RowStream::begin(Box::new(reader), TableInput::Bytes(b""), reading)
    }

    fn begin(
        packed: Box<dyn BufRead + Send + 'a>,
        input: TableInput<'a>,
        reading: &Reading,
    ) -> Result<TableText<'a>> {
        let fault = |error| input.fault(error);
        let mut reader = input.unpacked(packed)?;
        let mut start = Vec::new();
        reader.by_ref().take(SHOWN as u64).read_to_end(&mut start).map_err(fault)?;
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(byte));
        // What is no text is seen whole, also where it is refused.
        let is_container = format_of(&start).is_some();
        let is_text = TextEncoding::of_start(&start).is_some() || memchr::memchr(0, &start).is_none();
        let is_other = is_container || !is_text || first.is_some_and(|first| b"[{".contains(first));
        // Names of columns are read before any row shows what the text is.
        let shown = match memchr::memrchr(b'\n', &start) {
            Some(end) if is_text && TextEncoding::of_start(&start).is_none() => {
                found(start.get(..end).unwrap_or_default())
            }
            _ => None,
        };
        let encoding = reading.file.encoding.or(shown);
        let reader: Box<dyn Read + Send + 'a> = Box::new(Cursor::new(start).chain(reader));
        if is_other {
            return Ok(TableText::Other(reader));
        }
        let utf8 = TextEncoding::Utf8;
        let (reader, whole, told) = match encoding {
            Some(other @ TextEncoding::Windows1252) => (other.decoded(reader), Some(utf8), utf8),
            Some(told @ (TextEncoding::Utf16Little | TextEncoding::Utf16Big)) => (reader, None, told),
            known => (reader, known, utf8),
        };
        let mut source = TableReader::of(reader, input, reading, told)?;
        if let Some(TextEncoding::Windows1252) = encoding {
            source.found.notes.push(format!("the text is {}", TextEncoding::Windows1252));
        }
        Ok(TableText::Rows(RowStream { source, encoding: whole }))
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.source.layout.names()
    }

    /// What a person should know of how the text is read.
    pub fn notes(&self) -> &[String] {
        &self.source.found.notes
    }

    /// The next rows, two mebibytes of them at most.
    ///
    /// # Errors
    /// Where they can't be read.
    pub fn next_block(&mut self) -> Result<Option<RawBlock>> {
        let input = self.source.input;
        let Some(chunk) = self.source.block(block_size()).map_err(|error| input.place(error))? else {
            return Ok(None);
        };
        Ok(Some(RawBlock(self.as_text(chunk))))
    }

    /// The same rows in UTF-8, where they are in what Windows wrote. What is neither stays, and is refused where it is read.
    fn as_text(&mut self, chunk: Chunk) -> Chunk {
        if self.encoding == Some(TextEncoding::Utf8) {
            return chunk;
        }
        let (Chunk::Lines { bytes, .. } | Chunk::Records { bytes, .. } | Chunk::Objects { bytes, .. }) =
            &chunk
        else {
            return chunk;
        };
        self.encoding = self.encoding.or_else(|| found(bytes));
        if self.encoding != Some(TextEncoding::Windows1252) {
            return chunk;
        }
        let decoded = |bytes: &[u8]| windows_text(bytes).into_bytes();
        match chunk {
            Chunk::Lines { bytes, line } => Chunk::Lines { bytes: decoded(&bytes), line },
            Chunk::Objects { bytes, line } => Chunk::Objects { bytes: decoded(&bytes), line },
            Chunk::Typed(block) => Chunk::Typed(block),
            Chunk::Records { bytes, ends, counts, lines } => {
                let (mut all, mut new, mut start) =
                    (Vec::with_capacity(bytes.len()), Vec::with_capacity(ends.len()), 0);
                for end in ends {
                    all.extend(decoded(bytes.get(start..end).unwrap_or_default()));
                    new.push(all.len());
                    start = end;
                }
                Chunk::Records { bytes: all, ends: new, counts, lines }
            }
        }
    }
}

/// What the first bytes that are no ASCII show: letters of UTF-8, or of Windows where not one of UTF-8 is there.
fn found(bytes: &[u8]) -> Option<TextEncoding> {
    if bytes.is_ascii() {
        return None;
    }
    let has_letters = || bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii());
    match std::str::from_utf8(bytes).is_ok() || has_letters() {
        true => Some(TextEncoding::Utf8),
        false => Some(TextEncoding::Windows1252),
    }
}

/// How the rows of a stream become inputs, for any number of threads.
pub struct RowEncoder {
    plan: RowPlan,
    /// The columns of the text.
    names: Vec<String>,
    /// For each its place among those that are needed.
    places: Vec<Option<usize>>,
    delimiter: u8,
    /// Whether lines are written out as they stand.
    verbatim: bool,
    /// What a fault is in.
    file: Option<std::path::PathBuf>,
    ignored: Vec<String>,
}

/// Rows as inputs, and as they stood.
#[derive(Default)]
pub struct EncodedBlock {
    /// `[rows, width]`
    pub inputs: Vec<f32>,
    /// How many rows there are.
    pub rows: usize,
    written: Vec<u8>,
    ends: Vec<usize>,
    /// Words that training didn't have, for each needed column: how many rows, and the first word.
    unseen: HashMap<usize, (usize, String)>,
}

impl EncodedBlock {
    /// A row's cells as a line of CSV, as they stood; those that were written in a way of their own in the plain one.
    pub fn written(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let span = start.zip(self.ends.get(row).copied());
        span.and_then(|(start, end)| self.written.get(start..end)).unwrap_or_default()
    }
}

/// What training didn't have, of all blocks together.
#[derive(Default)]
pub struct UnseenWords(HashMap<usize, (usize, String)>);

impl UnseenWords {
    /// Takes in those of a block that comes after the others.
    pub fn add(&mut self, block: &EncodedBlock) {
        for (column, (rows, first)) in &block.unseen {
            self.0.entry(*column).or_insert_with(|| (0, first.clone())).0 += rows;
        }
    }
}

impl RowEncoder {
    /// For the columns of a stream.
    ///
    /// # Errors
    /// Where the preparation needs a column that isn't there, or has transforms of one's own.
    pub fn new(stream: &RowStream<'_>, preparation: &TablePreparation) -> Result<RowEncoder> {
        let plan = preparation.row_plan()?;
        let names: Vec<&str> = stream.names().collect();
        let input = stream.source.input;
        preparation.check_names(names.iter().copied(), &[]).map_err(|error| input.place(error))?;
        let places: Vec<Option<usize>> = names.iter().map(|name| plan.place(name)).collect();
        let plain = places.iter().flatten().all(|place| plan.is_plain(*place));
        let file = match input {
            TableInput::File(path) => Some(path.to_path_buf()),
            TableInput::Bytes(_) => None,
        };
        let delimiter = stream.source.delimiter;
        let ignored = preparation.ignored(names.iter().copied());
        let names = names.into_iter().map(str::to_string).collect();
        Ok(RowEncoder { plan, names, places, delimiter, verbatim: plain && delimiter == b',', file, ignored })
    }

    /// How many inputs a row has.
    pub fn width(&self) -> usize {
        self.plan.width()
    }

    /// Columns that aren't used, a line each.
    pub fn notes(&self) -> &[String] {
        &self.ignored
    }

    /// Words that training didn't have, a line for each column.
    pub fn unseen(&self, words: &UnseenWords) -> Vec<String> {
        let columns = self.plan.columns().iter().enumerate();
        let said = columns.filter_map(|(place, name)| {
            let (rows, first) = words.0.get(&place)?;
            Some(format!("column {name} says what training didn't have, \"{first}\" first; rows: {rows}"))
        });
        said.collect()
    }

    /// The rows of a block as inputs.
    ///
    /// # Errors
    /// Where a row has too many or too few cells, or a value is of another kind than in training: with its line and column.
    pub fn encode(&self, block: &RawBlock) -> Result<EncodedBlock> {
        let placed = |error: Error| match &self.file {
            Some(file) if error.file.is_none() => error.in_file(file),
            _ => error,
        };
        self.encoded(&block.0).map_err(placed)
    }

    fn encoded(&self, chunk: &Chunk) -> Result<EncodedBlock> {
        let budget = Budget::default();
        let mut out = EncodedBlock::default();
        match chunk {
            Chunk::Lines { bytes, line } => {
                budget.reserve(&mut out.written, bytes.len())?;
                self.lines(bytes, *line, &mut out)?;
            }
            Chunk::Records { bytes, ends, counts, lines } => {
                budget.reserve(&mut out.written, bytes.len() + 3 * ends.len())?;
                self.records((bytes, ends), counts, lines, &mut out)?;
            }
            Chunk::Objects { line, .. } => {
                return Err(Error::new("lines of JSON are no rows of cells").at_line(*line));
            }
            Chunk::Typed(_) => return Err(Error::new("the file is no text")),
        }
        Ok(out)
    }

    /// Lines without quotes, as [`parse`](super::parse::parse) reads them into columns.
    fn lines(&self, bytes: &[u8], first_line: u64, out: &mut EncodedBlock) -> Result<()> {
        let text = text(bytes, first_line, self.delimiter, |at| self.name(at))?;
        let width = self.places.len();
        let (mut at, mut line) = (0, first_line);
        while at < bytes.len() {
            // A line without anything is no row.
            let blank = if bytes[at] == b'\r' { at + 1 } else { at };
            if bytes.get(blank).is_none_or(|byte| *byte == b'\n') {
                (at, line) = (blank + 1, line + 1);
                continue;
            }
            let row = at;
            let inputs = self.start(out);
            for (column, place) in self.places.iter().enumerate() {
                let start = at;
                let mut end = None;
                if let Some(place) = place
                    && self.plan.takes_plain_numbers(*place)
                    && let Some((value, stop)) = plain_number(bytes, at)
                    && bytes.get(stop).is_none_or(|byte| [self.delimiter, b'\n', b'\r'].contains(byte))
                {
                    self.plan.put_number(*place, value, &mut out.inputs[inputs..]);
                    end = Some(stop);
                }
                let end = match end {
                    Some(end) => end,
                    None => {
                        let end = cell_end(bytes, at, self.delimiter);
                        let cell = text.get(at..end).unwrap_or_default();
                        self.cell(*place, cell, inputs, out).map_err(|error| error.at_line(line))?;
                        end
                    }
                };
                if !self.verbatim {
                    self.write(column, text.get(start..end).unwrap_or_default(), out);
                }
                let more = bytes.get(end) == Some(&self.delimiter);
                if more != (column + 1 < width) {
                    return Err(ragged(count_cells(bytes, row, self.delimiter), width, line));
                }
                at = end + 1;
            }
            if self.verbatim {
                out.written.extend_from_slice(bytes.get(row..at - 1).unwrap_or_default());
            }
            if bytes.get(at - 1) == Some(&b'\r') {
                at += 1;
            }
            out.ends.push(out.written.len());
            line += 1;
        }
        Ok(())
    }

    fn records(
        &self,
        (bytes, ends): (&[u8], &[usize]),
        counts: &[usize],
        lines: &[u64],
        out: &mut EncodedBlock,
    ) -> Result<()> {
        let width = self.places.len();
        let mut ends = ends.iter();
        let mut start = 0;
        for (count, line) in counts.iter().zip(lines) {
            if *count != width {
                return Err(ragged(*count, width, *line));
            }
            let inputs = self.start(out);
            for (column, place) in self.places.iter().enumerate() {
                let end = ends.next().copied().unwrap_or(start);
                let cell = bytes.get(start..end).unwrap_or_default();
                let text = std::str::from_utf8(cell);
                let text = text.map_err(|_| no_text(cell, *line, self.name(column)))?;
                self.cell(*place, text, inputs, out).map_err(|error| error.at_line(*line))?;
                self.write(column, text, out);
                start = end;
            }
            out.ends.push(out.written.len());
        }
        Ok(())
    }

    fn name(&self, column: usize) -> Option<&str> {
        self.names.get(column).map(String::as_str)
    }

    /// Makes room for a row's inputs; where they begin.
    fn start(&self, out: &mut EncodedBlock) -> usize {
        let first = out.inputs.len();
        out.inputs.resize(first + self.plan.width(), 0.0);
        out.rows += 1;
        first
    }

    /// The inputs of a cell.
    fn cell(&self, place: Option<usize>, cell: &str, inputs: usize, out: &mut EncodedBlock) -> Result<()> {
        let Some(place) = place else { return Ok(()) };
        let raw = RawCell::Text(cell);
        if self.plan.put(place, raw, out.inputs.get_mut(inputs..).unwrap_or_default())? {
            return Ok(());
        }
        out.unseen.entry(place).or_insert_with(|| (0, cell.trim().to_string())).0 += 1;
        Ok(())
    }

    /// Writes a cell out.
    fn write(&self, column: usize, cell: &str, out: &mut EncodedBlock) {
        if column > 0 {
            out.written.push(b',');
        }
        let plain =
            self.places.get(column).copied().flatten().and_then(|place| self.plan.plainly(place, cell));
        let cell = plain.map_or(Cow::Borrowed(cell), Cow::Owned);
        if cell.contains([',', '"', '\n', '\r']) {
            out.written.push(b'"');
            out.written.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.written.push(b'"');
        } else {
            out.written.extend_from_slice(cell.as_bytes());
        }
    }
}
