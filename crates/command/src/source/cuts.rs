//! By what rows of a table are cut in parts: what they have in common, when they were.

use anyhow::{Result, bail};
use kiln_learn::data::{self, Table};

/// A number for each row, the same where the column says the same.
pub(super) fn keys(column: &data::Column, rows: &[usize]) -> Vec<i64> {
    let mut known = std::collections::HashMap::new();
    let mut key = |row: &usize| {
        let next = known.len() as i64;
        *known.entry(column.cell(*row).text().map(|text| text.into_owned())).or_insert(next)
    };
    rows.iter().map(&mut key).collect()
}

/// What a cell says as a time, a number or a date.
pub(super) fn moment(cell: data::Cell) -> Option<f64> {
    match cell {
        data::Cell::Number(number) => Some(number),
        data::Cell::Date { seconds, .. } => Some(seconds as f64),
        data::Cell::Missing | data::Cell::Word(_) => None,
    }
}

/// The time of each row, a number or a date.
pub(super) fn moments(table: &Table, name: &str, rows: &[usize]) -> Result<Vec<f64>> {
    let column = table.column(name)?;
    let moment = |&row: &usize| match moment(column.cell(row)) {
        Some(moment) => Ok(moment),
        None => {
            let shown = column.cell(row).text().unwrap_or("nothing".into()).into_owned();
            let line = table.line(row).map_or(String::new(), |line| format!(" (line {line})"));
            bail!("{name} must be a number or a date in every row to cut by; one says {shown}{line}")
        }
    };
    rows.iter().map(moment).collect()
}
