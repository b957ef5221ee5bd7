//! A column of a table, stored compactly: numbers as `f64`, words as codes with a dictionary, dates as seconds.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::format::CellFormat;
pub use super::kind::ColumnKind;
use super::{cell, date};

/// The code of a missing word.
pub(super) const NO_WORD: u32 = u32::MAX;
/// The seconds of a missing date.
pub(super) const NO_DATE: i64 = i64::MIN;

/// One value of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Missing,
    /// An amount.
    Number(f64),
    /// A word, also that of a boolean.
    Word(&'a str),
    /// A moment.
    Date {
        /// Seconds since 1970-01-01, in UTC.
        seconds: i64,
        /// Whether the column says times of the day, not only days.
        timed: bool,
    },
}

impl<'a> Cell<'a> {
    /// The value as text; nothing where it is missing.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Cell::Missing => None,
            Cell::Number(value) => Some(cell::word(value).into()),
            Cell::Word(word) => Some(word.into()),
            Cell::Date { seconds, timed } => Some(date::text(seconds, timed).into()),
        }
    }

    /// The value as a number, where it is one or reads as one.
    pub fn number(self) -> Option<f64> {
        match self {
            Cell::Number(value) => Some(value),
            Cell::Word(word) => cell::number(word.as_bytes()).filter(|value| value.is_finite()),
            Cell::Missing | Cell::Date { .. } => None,
        }
    }
}

/// How the values lie in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cells {
    /// So many rows, in none of which there is a value.
    Missing(usize),
    /// NaN where missing.
    Numbers(Vec<f64>),
    /// [`NO_DATE`] where missing.
    Dates { seconds: Vec<i64>, timed: bool },
    /// [`NO_WORD`] where missing; words in the order in which they came.
    Words { codes: Vec<u32>, words: Vec<String> },
}

/// A column of a [`Table`](crate::Table).
#[derive(Clone, Debug)]
pub struct Column {
    name: String,
    kind: ColumnKind,
    cells: Cells,
    format: Arc<CellFormat>,
}

impl PartialEq for Column {
    /// Columns are the same where their values are, however they were written.
    fn eq(&self, other: &Column) -> bool {
        self.name == other.name && self.kind == other.kind && self.cells == other.cells
    }
}

impl Column {
    /// A column of numbers; NaN where one is missing.
    pub fn numbers(name: impl Into<String>, values: Vec<f64>) -> Column {
        Column::of(name.into(), Cells::Numbers(values), None)
    }

    /// A column of words; nothing where one is missing.
    pub fn words<'a>(name: impl Into<String>, values: impl IntoIterator<Item = Option<&'a str>>) -> Column {
        let mut dictionary = Dictionary::default();
        let codes =
            values.into_iter().map(|word| word.map_or(NO_WORD, |word| dictionary.code(word))).collect();
        Column::of(name.into(), Cells::Words { codes, words: dictionary.words }, None)
    }

    /// The same, of a kind that is known elsewhere.
    #[cfg(feature = "arrow")]
    pub(super) fn of_kind(self, kind: ColumnKind) -> Column {
        Column { kind, ..self }
    }

    /// Cells as a column, of the kind that was told or that they show.
    pub(super) fn of(name: String, cells: Cells, told: Option<ColumnKind>) -> Column {
        let shown = match &cells {
            Cells::Missing(_) | Cells::Numbers(_) => ColumnKind::Number,
            Cells::Dates { .. } => ColumnKind::Date,
            Cells::Words { words, .. } if cell::are_truths(words) => ColumnKind::Boolean,
            Cells::Words { .. } => ColumnKind::Category,
        };
        Column { name, kind: told.unwrap_or(shown), cells, format: Arc::default() }
    }

    /// The same, of cells that are written so.
    pub(super) fn written(self, format: Arc<CellFormat>) -> Column {
        Column { format, ..self }
    }

    /// How its cells were written.
    pub fn format(&self) -> &CellFormat {
        &self.format
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds. A column without any value counts as one of numbers.
    pub fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        match &self.cells {
            Cells::Missing(rows) => *rows,
            Cells::Numbers(values) => values.len(),
            Cells::Dates { seconds, .. } => seconds.len(),
            Cells::Words { codes, .. } => codes.len(),
        }
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value in a row; missing too where there is no such row.
    pub fn cell(&self, row: usize) -> Cell<'_> {
        match &self.cells {
            Cells::Missing(_) => Cell::Missing,
            Cells::Numbers(values) => match values.get(row) {
                Some(value) if !value.is_nan() => Cell::Number(*value),
                _ => Cell::Missing,
            },
            Cells::Dates { seconds, timed } => match seconds.get(row) {
                Some(&seconds) if seconds != NO_DATE => Cell::Date { seconds, timed: *timed },
                _ => Cell::Missing,
            },
            Cells::Words { codes, words } => {
                let word = codes.get(row).and_then(|&code| words.get(code as usize));
                word.map_or(Cell::Missing, |word| Cell::Word(word))
            }
        }
    }

    pub(super) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// What two rows have in common if and only if their values are the same.
    pub(super) fn key(&self, row: usize) -> u64 {
        match &self.cells {
            Cells::Missing(_) => 0,
            Cells::Numbers(values) => values.get(row).map_or(0, |value| match value.is_nan() {
                true => f64::NAN.to_bits(),
                false => (value + 0.0).to_bits(),
            }),
            Cells::Dates { seconds, .. } => seconds.get(row).map_or(0, |&seconds| seconds as u64),
            Cells::Words { codes, .. } => codes.get(row).map_or(0, |&code| code.into()),
        }
    }
}

/// Words and their codes, which count from 0 in the order in which words come.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    pub words: Vec<String>,
    codes: HashMap<String, u32>,
}

impl Dictionary {
    pub fn code(&mut self, word: &str) -> u32 {
        if let Some(&code) = self.codes.get(word) {
            return code;
        }
        let code = self.words.len() as u32;
        self.words.push(word.to_string());
        self.codes.insert(word.to_string(), code);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_put_in() {
        let column = Column::words("a", [Some("x"), None, Some("y"), Some("x")]);
        assert_eq!(column.kind(), ColumnKind::Category);
        assert_eq!(column.cell(3), Cell::Word("x"));
        assert_eq!((column.cell(1), column.cell(9)), (Cell::Missing, Cell::Missing));
        assert_eq!(column.key(0), column.key(3));
        assert_eq!(Column::words("b", [Some("no"), Some("yes")]).kind(), ColumnKind::Boolean);
        let column = Column::numbers("c", vec![-0.0, f64::NAN, 0.0]);
        assert_eq!(column.cell(0).text().unwrap(), "0");
        assert_eq!((column.cell(1), column.key(0) == column.key(2)), (Cell::Missing, true));
    }
}
