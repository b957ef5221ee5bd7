//! A sheet of a workbook, row by row.

use std::sync::Arc;

use super::dates::moment;
use super::parts::{SharedStrings, Styles};
use super::xml::{PartReader, XmlElement, XmlPiece};
use crate::error::{Error, Result};
use crate::table::cell;
use crate::table::source::{longest_row, too_long};

/// What Excel has at most.
const MOST_COLUMNS: usize = 16_384;
const MOST_ROWS: u64 = 1 << 20;

/// A cell with a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SheetCell {
    Number(f64),
    Truth(bool),
    Text(String),
}

impl SheetCell {
    pub fn text(&self) -> String {
        match self {
            SheetCell::Number(value) => cell::word(*value),
            SheetCell::Truth(truth) => truth.to_string(),
            SheetCell::Text(text) => text.clone(),
        }
    }
}

/// A row with a value in it: each with its column, counted from 0, in order.
#[derive(Clone, Debug)]
pub(super) struct SheetRow {
    pub number: u64,
    pub cells: Vec<(usize, SheetCell)>,
}

/// A sheet that is read.
pub(super) struct SheetReader {
    part: PartReader,
    strings: Arc<SharedStrings>,
    styles: Arc<Styles>,
    number: u64,
    pub formulas_without_values: u64,
}

/// A cell while it is read.
#[derive(Default)]
struct OpenCell {
    column: usize,
    kind: String,
    style: usize,
    value: String,
    has_formula: bool,
}

impl SheetReader {
    pub fn new(part: PartReader, strings: Arc<SharedStrings>, styles: Arc<Styles>) -> SheetReader {
        SheetReader { part, strings, styles, number: 0, formulas_without_values: 0 }
    }

    /// The next row with a value; nothing at the end.
    pub fn row(&mut self) -> Result<Option<SheetRow>> {
        let mut row: Option<SheetRow> = None;
        let (mut open, mut in_text, mut size) = (None::<OpenCell>, false, 0);
        let (mut spoken, mut formula) = (0usize, false);
        while let Some(piece) = self.part.next()? {
            match piece {
                XmlPiece::Begin(element) => match element.name() {
                    "row" => {
                        let number = element.number("r").unwrap_or(self.number + 1);
                        if number <= self.number || number > MOST_ROWS {
                            return Err(Error::new(format!(
                                "the sheet has a row {number} behind row {}; the file is damaged",
                                self.number
                            )));
                        }
                        self.number = number;
                        row = Some(SheetRow { number, cells: Vec::new() });
                    }
                    "c" => {
                        let last = row.as_ref().and_then(|row| row.cells.last());
                        let after = open
                            .as_ref()
                            .map_or(last.map_or(0, |(column, _)| column + 1), |open: &OpenCell| {
                                open.column + 1
                            });
                        open = Some(begun(&element, after).map_err(|error| error.at_line(self.number))?);
                    }
                    "v" | "t" => in_text = spoken == 0,
                    "f" => {
                        formula = true;
                        open.iter_mut().for_each(|open| open.has_formula = true);
                    }
                    "rPh" => spoken += 1,
                    _ => {}
                },
                XmlPiece::Text(text) if in_text && !formula => {
                    if let Some(open) = &mut open {
                        size += text.len() as u64;
                        if size > longest_row() {
                            return Err(row_too_long(self.number));
                        }
                        open.value.push_str(&text);
                    }
                }
                XmlPiece::Text(_) => {}
                XmlPiece::End(end) => match end.name() {
                    "v" | "t" => in_text = false,
                    "f" => formula = false,
                    "rPh" => spoken = spoken.saturating_sub(1),
                    "c" => {
                        if let (Some(cell), Some(row)) = (open.take(), &mut row) {
                            let column = cell.column;
                            if row.cells.last().is_some_and(|(last, _)| *last >= column) {
                                let message = "two cells of a row stand in one place; the file is damaged";
                                return Err(Error::new(message).at_line(self.number));
                            }
                            let missing = cell.value.is_empty() && cell.has_formula;
                            self.formulas_without_values += u64::from(missing);
                            let value = settled(cell, &self.strings, &self.styles)
                                .map_err(|error| error.at_line(self.number))?;
                            if let Some(SheetCell::Text(text)) = &value {
                                size += text.len() as u64;
                            }
                            if size > longest_row() {
                                return Err(row_too_long(self.number));
                            }
                            row.cells.extend(value.map(|value| (column, value)));
                        }
                    }
                    "row" => match row.take() {
                        Some(row) if !row.cells.is_empty() => return Ok(Some(row)),
                        _ => size = 0,
                    },
                    _ => {}
                },
            }
        }
        Ok(None)
    }
}

fn row_too_long(number: u64) -> Error {
    Error::new(too_long().to_string()).at_line(number)
}

/// A cell that begins, in the place it says or behind the one before.
fn begun(element: &XmlElement<'_>, after: usize) -> Result<OpenCell> {
    let told = element.attribute("r");
    let column = match &told {
        Some(told) => column_of(told),
        None => Some(after).filter(|column| *column < MOST_COLUMNS),
    };
    let column = column.ok_or_else(|| {
        let told = told.unwrap_or_default();
        Error::new(format!("a cell says that its place is \"{told}\"; the file is damaged"))
    })?;
    let (kind, style) = (element.attribute("t").unwrap_or_default(), element.number("s").unwrap_or(0));
    Ok(OpenCell { column, kind, style, ..OpenCell::default() })
}

/// What a cell says; nothing where it is empty.
fn settled(cell: OpenCell, strings: &SharedStrings, styles: &Styles) -> Result<Option<SheetCell>> {
    let OpenCell { kind, style, value, .. } = cell;
    let damaged =
        |what: &str| Error::new(format!("a cell says \"{value}\", which is no {what}; the file is damaged"));
    let text = |text: &str| (!text.trim().is_empty()).then(|| SheetCell::Text(text.to_string()));
    if value.trim().is_empty() {
        return Ok(None);
    }
    Ok(match kind.as_str() {
        "s" => {
            let place = value.trim().parse().map_err(|_| damaged("number of a text"))?;
            text(strings.get(place).ok_or_else(|| damaged("number of a text"))?)
        }
        "str" | "inlineStr" | "d" | "e" => text(&value),
        "b" => match value.trim() {
            "1" | "true" => Some(SheetCell::Truth(true)),
            "0" | "false" => Some(SheetCell::Truth(false)),
            _ => return Err(damaged("boolean")),
        },
        _ => {
            let number: f64 = value.trim().parse().map_err(|_| damaged("number"))?;
            let shown = styles.shows_date(style).then(|| moment(number, styles.since_1904)).flatten();
            Some(shown.map_or(SheetCell::Number(number), SheetCell::Text))
        }
    })
}

/// The column of a place such as `AB12`, counted from 0.
fn column_of(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_alphabetic);
    let column = letters.fold(0usize, |column, letter| {
        column.saturating_mul(26).saturating_add(usize::from(letter.to_ascii_uppercase() - b'A') + 1)
    });
    column.checked_sub(1).filter(|column| *column < MOST_COLUMNS)
}

/// The letters of a column.
pub(super) fn column_letters(column: usize) -> String {
    let (mut rest, mut letters) = (column + 1, Vec::new());
    while rest > 0 {
        letters.insert(0, char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    letters.into_iter().collect()
}
