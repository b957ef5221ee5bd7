//! What the feature `excel` brings: workbooks of Excel (.xlsx) as tables. `no_workbook.rs` stands in for it where the feature is off.
//!
//! A reader of its own, on the crate `quick-xml` alone: `calamine` brings 24 packages more, unpacks whole parts without a bound and makes a
//! sheet with two far cells a list of all cells between them.

mod dates;
mod parts;
mod sheet;
mod xml;

use kiln_map::{ArchiveEntry, Budget, shown};

use self::parts::Sheet;
use self::sheet::{SheetCell, SheetReader, SheetRow};
use super::header::{FirstRow, SHOWN, first_row};
use super::named::chosen;
use super::typed::{RowSource, TypedBlock, TypedCell, TypedRows};
use crate::archive::WholeFile;
use crate::error::{Error, Result};
use crate::table::reading::Reading;

/// The rows of the sheet that was chosen, or of the first that has some.
pub(super) fn rows(
    whole: &WholeFile,
    entries: Vec<ArchiveEntry>,
    reading: &Reading,
    notes: &mut Vec<String>,
) -> Result<TypedRows> {
    let budget = Budget::default();
    let parts = parts::WorkbookParts::new(whole, entries);
    let book = parts.workbook(&budget)?;
    let styles = std::sync::Arc::new(parts.styles(book.since_1904, &budget)?);
    let strings = std::sync::Arc::new(parts.strings(&budget)?);
    let names: Vec<&str> = book.sheets.iter().map(|sheet| sheet.name.as_str()).collect();
    let listed = || names.iter().take(20).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    let told = reading.file.sheet.as_deref().map(|told| (told, chosen(told, &names)));
    let place = match told {
        Some((_, Some(place))) => Some(place),
        Some((told, None)) if !reading.is_of_another_file() => {
            return Err(Error::new(format!("there is no sheet {told} in the workbook; it has {}", listed())));
        }
        _ => None,
    };
    let open = |sheet: &Sheet| -> Result<Option<OpenSheet>> {
        let reader = parts.sheet(sheet)?;
        OpenSheet::new(SheetReader::new(reader, strings.clone(), styles.clone()))
            .map_err(|error| in_sheet(error, sheet, names.len()))
    };
    let (sheet, opened) = match place.and_then(|place| book.sheets.get(place)) {
        Some(sheet) => {
            let empty = || {
                Error::new(format!(
                    "the sheet {} is empty; the workbook has {}",
                    shown(&sheet.name),
                    listed()
                ))
            };
            (sheet, open(sheet)?.ok_or_else(empty)?)
        }
        None => {
            // What is hidden comes after what isn't.
            let order = |hidden: bool| book.sheets.iter().filter(move |sheet| sheet.is_hidden == hidden);
            let mut found = None;
            for sheet in order(false).chain(order(true)) {
                if let Some(opened) = open(sheet)? {
                    found = Some((sheet, opened));
                    break;
                }
            }
            found.ok_or_else(|| Error::new("all sheets of the workbook are empty"))?
        }
    };
    if names.len() > 1 && place.is_none() {
        notes.push(format!(
            "read from the sheet {}, of {}; --sheet says another",
            shown(&sheet.name),
            listed()
        ));
    }
    opened.table(reading)
}

/// The same fault, with the sheet it is in where there are several.
fn in_sheet(error: Error, sheet: &Sheet, count: usize) -> Error {
    match count {
        1 => error,
        _ => Error { message: format!("sheet {}: {}", shown(&sheet.name), error.message), ..error },
    }
}

/// A sheet whose first rows are read.
struct OpenSheet {
    reader: SheetReader,
    /// Those with a value in them.
    head: Vec<SheetRow>,
    whole: bool,
}

impl OpenSheet {
    /// None where the sheet has no value.
    fn new(mut reader: SheetReader) -> Result<Option<OpenSheet>> {
        let mut head = Vec::new();
        let mut whole = false;
        while head.len() <= SHOWN && !whole {
            match reader.row()? {
                Some(row) => head.push(row),
                None => whole = true,
            }
        }
        Ok((!head.is_empty()).then_some(OpenSheet { reader, head, whole }))
    }

    /// Rows that stand above the table: titles of a single cell, where the others have three and more.
    fn titles(&self) -> usize {
        let mut counts: Vec<usize> = self.head.iter().map(|row| row.cells.len()).collect();
        let leading = counts.iter().take_while(|count| **count == 1).count();
        counts.sort_unstable();
        let usual = counts.get(counts.len() / 2).copied().unwrap_or(0);
        if usual >= 3 && leading < counts.len() { leading } else { 0 }
    }

    fn table(mut self, reading: &Reading) -> Result<TypedRows> {
        let titles = self.titles();
        let above: Vec<SheetRow> = self.head.drain(..titles).collect();
        let places = || self.head.iter().flat_map(|row| row.cells.iter().map(|(column, _)| *column));
        let left = places().min().unwrap_or(0);
        let width = places().max().unwrap_or(0) + 1 - left;
        let texts = |row: &SheetRow| -> Vec<String> {
            let mut texts = vec![String::new(); width];
            for (column, cell) in &row.cells {
                if let Some(text) = texts.get_mut(column - left) {
                    *text = cell.text();
                }
            }
            texts
        };
        let all: Vec<Vec<String>> = self.head.iter().map(texts).collect();
        let bytes = |row: &Vec<String>| -> Vec<Vec<u8>> {
            row.iter().map(|text| text.trim().as_bytes().to_vec()).collect()
        };
        let all: Vec<Vec<Vec<u8>>> = all.iter().map(bytes).collect();
        let refs: Vec<Vec<&[u8]>> = all.iter().map(|row| row.iter().map(Vec::as_slice).collect()).collect();
        let (first, below) = refs.split_first().ok_or_else(|| Error::new("the sheet is empty"))?;
        let line = self.head.first().map_or(1, |row| row.number);
        let FirstRow { names, mut found, is_header, .. } =
            first_row(first, below, reading).map_err(|error| error.at_line(line))?;
        if let [first, ..] = above.as_slice() {
            let (_, cell) = first.cells.first().cloned().unwrap_or((0, SheetCell::Truth(false)));
            let (above, many) = (above.len(), if above.len() == 1 { "row" } else { "rows" });
            let shown: String = cell.text().chars().take(40).collect();
            found.notes.push(format!("{above} {many} above the table left out, \"{shown}\" first"));
        }
        if self.reader.formulas_without_values > 0 {
            found.notes.push(
                "cells with formulas have no values in the file and count as missing; open and save it in a program that computes them"
                    .to_string(),
            );
        }
        let mut head = self.head;
        head.drain(..usize::from(is_header));
        let source = SheetRows { head: head.into(), reader: self.reader, whole: self.whole, left, width };
        Ok(TypedRows { names, found, count: None, source: Box::new(source) })
    }
}

/// Rows of a sheet that are as wide as the table.
struct SheetRows {
    head: std::collections::VecDeque<SheetRow>,
    reader: SheetReader,
    whole: bool,
    left: usize,
    width: usize,
}

impl RowSource for SheetRows {
    fn add(&mut self, block: &mut TypedBlock) -> Result<bool> {
        let next = match self.head.pop_front() {
            Some(row) => Some(row),
            None if self.whole => None,
            None => self.reader.row()?,
        };
        let Some(row) = next else { return Ok(false) };
        let mut cells = row.cells.into_iter().peekable();
        for column in 0..self.width {
            match cells.next_if(|(at, _)| *at == self.left + column) {
                None => block.cells.push(TypedCell::Missing),
                Some((_, SheetCell::Number(value))) => block.cells.push(TypedCell::Number(value)),
                Some((_, SheetCell::Truth(truth))) => block.cells.push(TypedCell::Truth(truth)),
                Some((_, SheetCell::Text(text))) => block.push_text(&text),
            }
        }
        if let Some((column, cell)) = cells.next() {
            let text: String = cell.text().chars().take(40).collect();
            return Err(Error::new(format!(
                "\"{text}\" stands in column {}, beside the table; clear the cell, or name its column above",
                sheet::column_letters(column)
            ))
            .at_line(row.number));
        }
        block.rows.push(row.number);
        Ok(true)
    }
}
