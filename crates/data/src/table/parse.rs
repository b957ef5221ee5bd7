//! A block of rows to cells. Lines without quotes are cut by hand, where most of the time of a large file goes; those with
//! quotes come cut by the `csv` crate, which the tests hold the fast way against.

use kiln_map::Budget;

use super::builder::Layout;
use super::cell::plain_number;
use super::objects::objects;
use super::part::{Parsing, TablePart, no_text};
use super::raw::RawCell;
use super::reading::Reading;
use super::source::{Chunk, typed};
use crate::error::{Error, Result};

/// The cells of a block, in the columns known so far; kinds that don't fit are widened, and names that come up added.
pub(super) fn parse(
    block: &Chunk,
    delimiter: u8,
    layout: &Layout,
    reading: &Reading,
    budget: &Budget,
) -> Result<TablePart> {
    let mut layout = layout.clone();
    let mut misfits = Vec::new();
    loop {
        let mut parsing = match block {
            Chunk::Lines { bytes, line } => lines(bytes, *line, delimiter, layout, budget)?,
            Chunk::Records { bytes, ends, counts, lines } => {
                let width = layout.columns.len();
                // A row of another width is refused before it is filled in.
                let room = counts.len().min(ends.len() / width.max(1) + 1);
                let parsing = Parsing::new(layout, room, budget)?;
                records(bytes, ends, counts, lines, parsing)?
            }
            Chunk::Objects { bytes, line } => {
                objects(bytes, *line, Parsing::new(layout, 0, budget)?, reading)?
            }
            Chunk::Typed(block) => typed(block, Parsing::new(layout, block.rows.len(), budget)?)?,
        };
        misfits.append(&mut parsing.misfits);
        // Words take anything, so a second time is the last.
        if !parsing.widened.contains(&true) {
            return Ok(TablePart { misfits, ..parsing.finish() });
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
    let text = text(bytes, first_line, delimiter, |at| Some(layout.columns.get(at)?.name.as_str()))?;
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
pub(super) fn cell_end(bytes: &[u8], start: usize, delimiter: u8) -> usize {
    let ends = |byte: &u8| *byte == delimiter || *byte == b'\n' || *byte == b'\r';
    bytes.get(start..).unwrap_or_default().iter().position(ends).map_or(bytes.len(), |length| start + length)
}

pub(super) fn count_cells(bytes: &[u8], row: usize, delimiter: u8) -> usize {
    let rest = bytes.get(row..).unwrap_or_default();
    let line = memchr::memchr(b'\n', rest).and_then(|end| rest.get(..end)).unwrap_or(rest);
    memchr::memchr_iter(delimiter, line).count() + 1
}

pub(super) fn ragged(found: usize, width: usize, line: u64) -> Error {
    let cells = if found == 1 { "cell" } else { "cells" };
    let mend = match found > width {
        true => "a cell that holds the delimiter needs quotes around it",
        false => "write every cell, the missing ones empty, and close every quote",
    };
    Error::new(format!("the row has {found} {cells} and the first row {width}; {mend}")).at_line(line)
}

/// The bytes as text, or where they aren't.
pub(super) fn text<'a, 'n>(
    bytes: &'a [u8],
    first_line: u64,
    delimiter: u8,
    name: impl Fn(usize) -> Option<&'n str>,
) -> Result<&'a str> {
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
        no_text(cell, line, name(column))
    })
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
            let text = text.map_err(|_| no_text(cell, *line, parsing.layout.names().nth(column)))?;
            parsing.push(column, RawCell::Text(text), *line)?;
            start = end;
        }
        parsing.end_row(*line)?;
    }
    Ok(parsing)
}
