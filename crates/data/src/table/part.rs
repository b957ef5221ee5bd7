//! Part of a table: the cells of some rows, and how they are put together while the rows are parsed.

use kiln_map::Budget;

use super::builder::{ColumnBuilder, ColumnLayout, Layout, Misfit};
use super::column::{Cells, ColumnKind};
use super::raw::RawCell;
use super::survey::Survey;
use crate::error::{Error, Result};

/// The cells of some rows, one column after the other.
pub(super) struct TablePart {
    pub cells: Vec<Cells>,
    /// The layout that they have.
    pub layout: Layout,
    pub lines: LineNumbers,
    pub rows: usize,
    /// What the cells of each column may be besides, for a file that is decided as a whole.
    pub surveys: Vec<Survey>,
    pub misfits: Vec<KindMisfit>,
}

/// The cell that made a column one of words.
#[derive(Clone, Debug)]
pub(super) struct KindMisfit {
    pub column: String,
    pub line: u64,
    pub shown: String,
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
    pub widened: Vec<bool>,
    pub rows: usize,
    pub lines: LineNumbers,
    pub misfits: Vec<KindMisfit>,
    /// How many rows there may be.
    room: usize,
    /// Columns whose texts show no number.
    pub worded: Vec<bool>,
}

/// What a cell takes at most, a word of its own apart.
const CELL: u64 = 8;

/// What a column takes without a cell.
const COLUMN: u64 = 512;

impl<'a> Parsing<'a> {
    pub fn new(layout: Layout, room: usize, budget: &'a Budget) -> Result<Parsing<'a>> {
        let columns = layout.columns.len() as u64;
        budget.bytes(columns.saturating_mul(COLUMN + CELL.saturating_mul(room as u64)))?;
        Ok(Parsing {
            budget,
            builders: layout.columns.iter().map(|known| ColumnBuilder::new(known, room)).collect(),
            widened: vec![false; layout.columns.len()],
            layout,
            rows: 0,
            lines: LineNumbers::default(),
            misfits: Vec::new(),
            room,
            worded: Vec::new(),
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
                    self.misfits.push(KindMisfit { column: known.name.clone(), line, shown });
                    known.kind = Some(ColumnKind::Category);
                    known.format = known.format.of_words();
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

    pub fn finish(mut self) -> TablePart {
        for (builder, known) in self.builders.iter_mut().zip(&mut self.layout.columns) {
            known.kind = known.kind.or(builder.kind());
        }
        let finish = |builder: ColumnBuilder, known: &ColumnLayout| {
            let (cells, skipped) = builder.finish();
            let survey = Survey::of(&cells, skipped, known);
            (cells, survey)
        };
        let finished = self.builders.into_iter().zip(&self.layout.columns);
        let (cells, mut surveys): (Vec<Cells>, Vec<Survey>) =
            finished.map(|(builder, known)| finish(builder, known)).unzip();
        for (survey, _) in surveys.iter_mut().zip(self.worded).filter(|(_, worded)| *worded) {
            survey.numbers.fill(false);
        }
        TablePart {
            cells,
            layout: self.layout,
            lines: self.lines,
            rows: self.rows,
            surveys,
            misfits: self.misfits,
        }
    }
}

/// What a cell is refused with whose bytes are no text.
pub(super) fn no_text(cell: &[u8], line: u64, column: Option<&str>) -> Error {
    let fault = not_text(format!(
        "the cell {}; save the file as UTF-8, or say its encoding with --encoding",
        shown_bytes(cell)
    ))
    .at_line(line);
    match column {
        Some(name) => fault.in_column(name),
        None => fault,
    }
}

/// Bytes that are no text as a person may see them: their letters, and the first of the others by its number.
pub(super) fn shown_bytes(cell: &[u8]) -> String {
    let Some(chunk) = cell.utf8_chunks().find(|chunk| !chunk.invalid().is_empty()) else {
        return "isn't UTF-8".to_string();
    };
    let is_plain = |text: &str| !text.is_empty() && text.chars().all(|letter| !letter.is_control());
    let start: String = chunk.valid().chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
    let behind = if is_plain(&start) { format!(" behind \"{start}\"") } else { String::new() };
    let bytes: Vec<String> = chunk.invalid().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("isn't UTF-8: it has the byte {}{behind}", bytes.join(" "))
}

/// A fault of bytes that are no text in the encoding the file is read in; another may suit.
pub(super) fn not_text(message: String) -> Error {
    Error { source: Some(std::io::ErrorKind::InvalidData.into()), ..Error::new(message) }
}
