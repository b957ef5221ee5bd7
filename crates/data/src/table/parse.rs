//! A block of rows to cells. Lines without quotes are cut by hand, where most of the time of a large file goes; those with
//! quotes come cut by the `csv` crate, which the tests hold the fast way against.

use kiln_map::Budget;

use super::builder::{ColumnBuilder, ColumnLayout, Layout, Misfit};
use super::cell::plain_number;
use super::column::{Cells, ColumnKind};
use super::objects;
use super::raw::RawCell;
use super::source::Chunk;
use crate::error::{Error, Result};

/// The cells of some rows, one column after the other.
pub(super) struct TablePart {
    pub cells: Vec<Cells>,
    /// The layout that they have.
    pub layout: Layout,
    pub lines: LineNumbers,
    pub rows: usize,
    pub notes: Vec<String>,
}

/// The line of each row, in runs of rows that stand on lines in turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LineNumbers {
    /// The first row and line of each run.
    runs: Vec<(usize, u64)>,
    rows: usize,
}

impl LineNumbers {
    pub fn push(&mut self, line: u64) {
        let expected = self.runs.last().map(|(row, start)| start + (self.rows - row) as u64);
        if expected != Some(line) {
            self.runs.push((self.rows, line));
        }
        self.rows += 1;
    }

    pub fn append(&mut self, other: &LineNumbers, budget: &Budget) -> Result<()> {
        budget.reserve(&mut self.runs, other.runs.len())?;
        for (row, line) in &other.runs {
            let expected = self.runs.last().map(|(first, start)| start + (self.rows + row - first) as u64);
            if expected != Some(*line) {
                self.runs.push((self.rows + row, *line));
            }
        }
        self.rows += other.rows;
        Ok(())
    }

    pub fn get(&self, row: usize) -> Option<u64> {
        let run = self.runs.partition_point(|(first, _)| *first <= row).checked_sub(1)?;
        let (first, line) = self.runs.get(run)?;
        (row < self.rows).then_some(line + (row - first) as u64)
    }
}

/// The columns of a part while it is parsed.
pub(super) struct Parsing<'a> {
    budget: &'a Budget,
    pub layout: Layout,
    pub builders: Vec<ColumnBuilder>,
    /// Columns that turned out to be of another kind than thought, and so are read again.
    widened: Vec<bool>,
    pub rows: usize,
    pub lines: LineNumbers,
    notes: Vec<String>,
    /// How many rows there may be.
    room: usize,
}

/// What a cell takes at most, a word of its own apart.
const CELL: u64 = 8;

/// What a column takes without a cell.
const COLUMN: u64 = 512;

impl<'a> Parsing<'a> {
    fn new(layout: Layout, room: usize, budget: &'a Budget) -> Result<Parsing<'a>> {
        let columns = layout.columns.len() as u64;
        budget.bytes(columns.saturating_mul(COLUMN + CELL.saturating_mul(room as u64)))?;
        Ok(Parsing {
            budget,
            builders: layout.columns.iter().map(|known| ColumnBuilder::new(known, room)).collect(),
            widened: vec![false; layout.columns.len()],
            layout,
            rows: 0,
            lines: LineNumbers::default(),
            notes: Vec::new(),
            room,
        })
    }

    /// A column that a row brings along; it is missing in the rows before.
    pub fn add(&mut self, known: ColumnLayout) -> Result<()> {
        self.budget.bytes(COLUMN + CELL * (self.room + self.rows) as u64)?;
        let mut builder = ColumnBuilder::new(&known, self.room);
        for _ in 0..self.rows {
            let _ = builder.push(RawCell::Missing);
        }
        self.builders.push(builder);
        self.widened.push(false);
        self.layout.columns.push(known);
        Ok(())
    }

    #[inline]
    pub fn push(&mut self, column: usize, raw: RawCell<'_>, line: u64) -> Result<()> {
        let (Some(builder), Some(known)) =
            (self.builders.get_mut(column), self.layout.columns.get_mut(column))
        else {
            return Ok(());
        };
        match builder.push(raw) {
            Ok(()) => Ok(()),
            Err(Misfit::Fault(message)) => Err(Error::new(message).at_line(line).in_column(&known.name)),
            Err(Misfit::Kind) => {
                if !std::mem::replace(&mut self.widened[column], true) {
                    let shown = match raw {
                        RawCell::Text(text) | RawCell::Quoted(text) => text.trim().to_string(),
                        RawCell::Number(value) => value.to_string(),
                        RawCell::Truth(truth) => truth.to_string(),
                        RawCell::Missing => String::new(),
                    };
                    let name = &known.name;
                    self.notes.push(format!(
                        "column {name} is read as words, because line {line} says \"{shown}\""
                    ));
                    known.kind = Some(ColumnKind::Category);
                }
                // What is missing keeps the rows in step; all of it is read again.
                let _ = builder.push(RawCell::Missing);
                Ok(())
            }
        }
    }

    /// Ends a row; columns it said nothing of are missing.
    pub fn end_row(&mut self, line: u64) -> Result<()> {
        self.rows += 1;
        self.lines.push(line);
        if self.rows > self.room {
            // Lists grow to twice what is in them.
            self.budget.bytes(2 * CELL * self.builders.len() as u64)?;
        }
        Ok(())
    }

    fn finish(mut self) -> TablePart {
        for (builder, known) in self.builders.iter_mut().zip(&mut self.layout.columns) {
            known.kind = known.kind.or(builder.kind());
        }
        TablePart {
            cells: self.builders.into_iter().map(ColumnBuilder::finish).collect(),
            layout: self.layout,
            lines: self.lines,
            rows: self.rows,
            notes: self.notes,
        }
    }
}

/// The cells of a block, in the columns known so far; kinds that don't fit are widened, and names that come up added.
pub(super) fn parse(
    block: &Chunk,
    delimiter: u8,
    layout: &Layout,
    told: &[(String, ColumnKind)],
    budget: &Budget,
) -> Result<TablePart> {
    let mut layout = layout.clone();
    let mut notes = Vec::new();
    loop {
        let mut parsing = match block {
            Chunk::LineNumbers { bytes, line } => lines(bytes, *line, delimiter, layout, budget)?,
            Chunk::Records { bytes, ends, counts, lines } => {
                let width = layout.columns.len();
                // A row of another width is refused before it is filled in.
                let room = counts.len().min(ends.len() / width.max(1) + 1);
                let parsing = Parsing::new(layout, room, budget)?;
                records(bytes, ends, counts, lines, parsing)?
            }
            Chunk::Objects { bytes, line } => {
                objects::objects(bytes, *line, Parsing::new(layout, 0, budget)?, told)?
            }
        };
        notes.append(&mut parsing.notes);
        // Words take anything, so a second time is the last.
        if !parsing.widened.contains(&true) {
            return Ok(TablePart { notes, ..parsing.finish() });
        }
        layout = parsing.layout;
    }
}

fn lines<'a>(
    bytes: &[u8],
    first_line: u64,
    delimiter: u8,
    layout: Layout,
    budget: &'a Budget,
) -> Result<Parsing<'a>> {
    let text = text(bytes, first_line, delimiter, &layout)?;
    let width = layout.columns.len();
    // Each row has a byte behind each of its cells; a line without anything is no row.
    let rows = (memchr::memchr_iter(b'\n', bytes).count() + 1).min(bytes.len() / width.max(1) + 1);
    let mut parsing = Parsing::new(layout, rows, budget)?;
    let (mut at, mut line) = (0, first_line);
    while at < bytes.len() {
        // A line without anything is no row.
        let blank = if bytes[at] == b'\r' { at + 1 } else { at };
        if bytes.get(blank).is_none_or(|byte| *byte == b'\n') {
            (at, line) = (blank + 1, line + 1);
            continue;
        }
        let row = at;
        for column in 0..width {
            let mut end = None;
            if let Some(values) = parsing.builders[column].numbers()
                && let Some((value, stop)) = plain_number(bytes, at)
                && bytes.get(stop).is_none_or(|byte| *byte == delimiter || *byte == b'\n' || *byte == b'\r')
            {
                values.push(value);
                end = Some(stop);
            }
            let end = match end {
                Some(end) => end,
                None => {
                    let end = cell_end(bytes, at, delimiter);
                    // Cells end at single bytes of ASCII, so that the text is never cut within a letter.
                    let cell = text.get(at..end).unwrap_or_default();
                    parsing.push(column, RawCell::Text(cell), line)?;
                    end
                }
            };
            let more = bytes.get(end) == Some(&delimiter);
            if more != (column + 1 < width) {
                let found = count_cells(bytes, row, delimiter);
                return Err(ragged(found, width, line));
            }
            at = end + 1;
        }
        if bytes.get(at - 1) == Some(&b'\r') {
            at += 1;
        }
        parsing.end_row(line)?;
        line += 1;
    }
    Ok(parsing)
}

#[inline]
fn cell_end(bytes: &[u8], start: usize, delimiter: u8) -> usize {
    let ends = |byte: &u8| *byte == delimiter || *byte == b'\n' || *byte == b'\r';
    bytes.get(start..).unwrap_or_default().iter().position(ends).map_or(bytes.len(), |length| start + length)
}

fn count_cells(bytes: &[u8], row: usize, delimiter: u8) -> usize {
    let rest = bytes.get(row..).unwrap_or_default();
    let line = memchr::memchr(b'\n', rest).and_then(|end| rest.get(..end)).unwrap_or(rest);
    memchr::memchr_iter(delimiter, line).count() + 1
}

fn ragged(found: usize, width: usize, line: u64) -> Error {
    let cells = if found == 1 { "cell" } else { "cells" };
    let mend = match found > width {
        true => "a cell that holds the delimiter needs quotes around it",
        false => "write every cell, the missing ones empty, and close every quote",
    };
    Error::new(format!("the row has {found} {cells} and the first row {width}; {mend}")).at_line(line)
}

/// The bytes as text, or where they aren't.
fn text<'a>(bytes: &'a [u8], first_line: u64, delimiter: u8, layout: &Layout) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let line = first_line + memchr::memchr_iter(b'\n', before).count() as u64;
        let column = memchr::memchr_iter(delimiter, before.get(start..).unwrap_or_default()).count();
        let cell = before
            .get(start..)
            .unwrap_or_default()
            .rsplit(|byte| *byte == delimiter)
            .next()
            .unwrap_or_default();
        let from = before.len() - cell.len();
        let cell = bytes.get(from..cell_end(bytes, from, delimiter)).unwrap_or_default();
        no_text(cell, line, layout.columns.get(column))
    })
}

pub(super) fn no_text(cell: &[u8], line: u64, column: Option<&ColumnLayout>) -> Error {
    let shown = String::from_utf8_lossy(cell.get(..80).unwrap_or(cell));
    let fault = Error::new(format!("\"{shown}\" isn't UTF-8; save the file as UTF-8")).at_line(line);
    match column {
        Some(known) => fault.in_column(&known.name),
        None => fault,
    }
}

fn records<'a>(
    bytes: &[u8],
    ends: &[usize],
    counts: &[usize],
    lines: &[u64],
    mut parsing: Parsing<'a>,
) -> Result<Parsing<'a>> {
    let width = parsing.layout.columns.len();
    let mut ends = ends.iter();
    let mut start = 0;
    for (count, line) in counts.iter().zip(lines) {
        if *count != width {
            return Err(ragged(*count, width, *line));
        }
        for column in 0..width {
            let end = ends.next().copied().unwrap_or(start);
            let cell = bytes.get(start..end).unwrap_or_default();
            let text = std::str::from_utf8(cell);
            let text = text.map_err(|_| no_text(cell, *line, parsing.layout.columns.get(column)))?;
            parsing.push(column, RawCell::Text(text), *line)?;
            start = end;
        }
        parsing.end_row(*line)?;
    }
    Ok(parsing)
}
