//! Whether the first row of a table names its columns, and the names.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::table::cell;
use crate::table::date_forms::DateFormat;
use crate::table::findings::FileFindings;
use crate::table::format::{CellFormat, NumberFormat};
use crate::table::part::{not_text, shown_bytes};
use crate::table::raw::RawCell;
use crate::table::reading::Reading;

/// The first rows of a table, as many as show whether one of them names the columns.
pub(super) const SHOWN: usize = 500;

/// What the first row says.
pub(in crate::table) struct FirstRow {
    pub names: Vec<String>,
    pub found: FileFindings,
    /// Whether it names the columns.
    pub is_header: bool,
    /// Whether only that its words don't come again speaks for it.
    pub is_guess: bool,
}

/// What the first row says, by those below it; all cells without the space around them.
pub(super) fn first_row(first: &[&[u8]], below: &[Vec<&[u8]>], reading: &Reading) -> Result<FirstRow> {
    // Some write an index of rows and no name above it.
    let width = first.len() + 1;
    let shifted = !below.is_empty() && below.iter().all(|row| row.len() == width);
    let evidence = match (reading.header, shifted) {
        (Some(told), _) => Evidence::told(told),
        (None, true) => Evidence::Names,
        (None, false) => names_columns(first, below, reading),
    };
    let mut found = FileFindings::default();
    if evidence == Evidence::Data {
        let names = (1..=first.len()).map(|number| format!("column{number}")).collect();
        if reading.header.is_none() && !reading.lenient {
            let note = "the first row is read as data, and the columns are column1, column2, …; --header yes says that it names them";
            found.notes.push(note.to_string());
        }
        return Ok(FirstRow { names, found, is_header: false, is_guess: false });
    }
    let valued = first.iter().find(|cell| is_value(cell));
    if let (Some(valued), None, false) = (valued, reading.header, reading.lenient) {
        let shown = String::from_utf8_lossy(valued);
        found.notes.push(format!(
            "the first row names the columns, though one is named \"{shown}\"; --header no reads it as data"
        ));
    }
    let mut texts = Vec::with_capacity(width);
    texts.extend(shifted.then_some(""));
    for (at, cell) in first.iter().enumerate() {
        texts.push(std::str::from_utf8(cell).map_err(|_| {
            let (number, shown) = (at + 1, shown_bytes(cell));
            not_text(format!(
                "the name of column {number} {shown}; save the file as UTF-8, or say its encoding with --encoding"
            ))
        })?);
    }
    let names = distinct_names(&texts, &mut found);
    Ok(FirstRow { names, found, is_header: true, is_guess: evidence == Evidence::Guess })
}

/// Whether the first row names the columns.
#[derive(Clone, Copy, PartialEq)]
enum Evidence {
    Names,
    /// Nothing speaks against it.
    Guess,
    Data,
}

impl Evidence {
    fn told(is_header: bool) -> Evidence {
        if is_header { Evidence::Names } else { Evidence::Data }
    }
}

/// What a cell says that is no word.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Number,
    Date,
}

/// Whether a cell is a number or a date, in whatever way it is written.
fn is_value(cell: &[u8]) -> bool {
    value(cell).is_some()
}

fn value(cell: &[u8]) -> Option<Written> {
    // "inf" is a name too.
    let text = std::str::from_utf8(cell).ok().filter(|text| text.contains(|c: char| c.is_ascii_digit()))?;
    let number = |decimal, thousands| {
        let unit = crate::table::format::split(text).map_or("", |(unit, ..)| unit);
        let format = NumberFormat { decimal, thousands: Some(thousands), unit: unit.to_string() };
        format.parse(text).is_some()
    };
    if number('.', ',') || number(',', '.') {
        return Some(Written::Number);
    }
    let dates = [DateFormat::YearFirst, DateFormat::DayFirst, DateFormat::MonthFirst];
    dates.iter().any(|format| format.parse(text).is_some()).then_some(Written::Date)
}

/// The letters behind a number: what is read as its unit may be the name of a column, such as 5km.
fn unit(cell: &[u8]) -> &str {
    let text = std::str::from_utf8(cell).unwrap_or_default();
    crate::table::format::split(text).map_or("", |(unit, ..)| unit)
}

fn is_missing(cell: &[u8]) -> bool {
    let text = std::str::from_utf8(cell).unwrap_or_default();
    CellFormat::PLAIN.settled(RawCell::Text(text)) == RawCell::Missing || cell::is_missing_amount(text)
}

/// What a column says of its first cell.
#[derive(PartialEq)]
enum Sign {
    /// A word above numbers or dates.
    Name,
    /// A number above numbers.
    Number,
    /// A word that comes again below.
    Again,
    /// A word above words that all come again, and it doesn't.
    Alone,
    Nothing,
}

fn sign(first: &[u8], below: &[&[u8]]) -> Sign {
    let present: Vec<&[u8]> = below.iter().copied().filter(|cell| !is_missing(cell)).collect();
    let values = present.iter().filter(|cell| is_value(cell)).count();
    // Some of what is no number among many may be words for missing ones that aren't known.
    let of_values = values > 0 && 10 * values >= 8 * present.len();
    if first.is_empty() || present.is_empty() {
        return Sign::Nothing;
    }
    let alike = |cell: &&&[u8]| value(cell) == value(first) && unit(cell) == unit(first);
    match (is_value(first), of_values) {
        // A date above amounts, or a number with a unit above such without one.
        (true, true) if !present.iter().any(|cell| alike(&cell)) => Sign::Name,
        (true, true) => Sign::Number,
        (true, false) => Sign::Name,
        (false, true) if is_missing(first) && below.len() != present.len() => Sign::Nothing,
        (false, true) => Sign::Name,
        (false, false) => {
            let mut counts: HashMap<&[u8], usize> = HashMap::new();
            present.iter().for_each(|cell| *counts.entry(cell).or_default() += 1);
            match counts.get(first) {
                Some(_) => Sign::Again,
                None if present.len() >= 8 && counts.values().all(|count| *count > 1) => Sign::Alone,
                None => Sign::Nothing,
            }
        }
    }
}

/// Whether the first row names the columns, by what stands below it.
fn names_columns(first: &[&[u8]], below: &[Vec<&[u8]>], reading: &Reading) -> Evidence {
    let known = |name: &str| reading.kinds.iter().any(|(known, _)| known == name);
    if reading.lenient && !reading.kinds.is_empty() {
        // What a model was trained on tells.
        if first.iter().any(|cell| std::str::from_utf8(cell).is_ok_and(known)) {
            return Evidence::Names;
        }
        if reading.kinds.iter().all(|(name, _)| number_of(name).is_some()) {
            return Evidence::Data;
        }
    }
    // The same row once more is no data but a file that was put together.
    let rows: Vec<&Vec<&[u8]>> = below.iter().filter(|row| row.len() == first.len()).collect();
    let signs: Vec<Sign> = (0..first.len())
        .map(|at| sign(first[at], &rows.iter().filter_map(|row| row.get(at).copied()).collect::<Vec<_>>()))
        .collect();
    let has = |wanted: Sign| signs.contains(&wanted);
    if has(Sign::Name) {
        return Evidence::Names;
    }
    if first.iter().all(|cell| is_missing(cell)) {
        return Evidence::Data;
    }
    if has(Sign::Number) || first.iter().any(|cell| is_value(cell)) {
        let counted = |row: &[&[u8]]| counts_up(row, &signs);
        return Evidence::told(
            (counted(first) && !rows.iter().any(|row| counted(row)))
                || (has(Sign::Alone)
                    && !has(Sign::Again)
                    && first.iter().collect::<HashSet<_>>().len() == first.len()),
        );
    }
    if has(Sign::Again) { Evidence::Data } else { Evidence::Guess }
}

/// The number in a name that was given to a column without one.
fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix("column")?.parse().ok()
}

/// Whether the numbers of a row, two or more, are whole and follow each other, as years do.
fn counts_up(row: &[&[u8]], signs: &[Sign]) -> bool {
    let numbers = row.iter().zip(signs).filter(|(_, sign)| **sign == Sign::Number);
    let numbers: Option<Vec<i64>> =
        numbers.map(|(cell, _)| std::str::from_utf8(cell).ok()?.parse().ok()).collect();
    numbers.is_some_and(|numbers| {
        numbers.len() > 1
            && numbers.windows(2).all(|pair| matches!(pair, [a, b] if *b == a.saturating_add(1)))
    })
}

/// The name of a column of which the file says none, where it is first: mostly an index of rows.
const INDEX: &str = "index";

/// Each name once: what stands for none, and for one that came before.
fn distinct_names(texts: &[&str], found: &mut FileFindings) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(texts.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    let given: HashSet<&str> = texts.iter().map(|text| text.trim()).collect();
    let mut again = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let text = text.trim();
        let is_index = at == 0 && (text.is_empty() || text == "Unnamed: 0");
        let wanted = match text {
            _ if is_index && !given.contains(INDEX) => INDEX.to_string(),
            "" => format!("column{}", at + 1),
            text => text.to_string(),
        };
        let mut name = wanted.clone();
        let mut count = 1;
        while places.contains_key(&name) || (name != text && name != wanted && given.contains(name.as_str()))
        {
            name = format!("{wanted}.{count}");
            count += 1;
        }
        if let Some(before) = places.get(&wanted) {
            again.push(format!("\"{wanted}\" in columns {before} and {} (now \"{name}\")", at + 1));
        }
        if is_index {
            found.unnamed = Some(name.clone());
        } else if text.is_empty() {
            found.notes.push(format!("column {} has no name and is called {name}", at + 1));
        }
        places.insert(name.clone(), at + 1);
        names.push(name);
    }
    if !again.is_empty() {
        let shown = again.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let more = if again.len() > 4 { ", …" } else { "" };
        found.notes.push(format!("names that stand twice: {shown}{more}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stand_twice_or_nowhere_become_others() {
        let mut found = FileFindings::default();
        assert_eq!(
            distinct_names(&["", "a", "a", "", "a.1"], &mut found),
            ["index", "a", "a.2", "column4", "a.1"]
        );
        assert_eq!(found.unnamed.as_deref(), Some("index"));
        assert!(
            found.notes.iter().any(|note| note.contains("\"a\" in columns 2 and 3 (now \"a.2\")")),
            "{found:?}"
        );
        let mut found = FileFindings::default();
        assert_eq!(distinct_names(&["x", "", "index"], &mut found), ["x", "column2", "index"]);
        assert_eq!(found.unnamed, None);
    }
}
