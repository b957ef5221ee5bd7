//! Which columns of a table make it one of series, where nobody tells.

use std::collections::{HashMap, HashSet};

use kiln_data::{Cell, Column, ColumnKind, Table};

use super::rows::TimedRows;
use crate::Result;

/// The columns that make a table one of series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesColumns {
    /// The column of times.
    pub time: String,
    /// The columns that say which series a row is of.
    pub keys: Vec<String>,
}

/// How many of the steps from the first to the last must have a row, so that days on which something happened aren't taken for a series.
const FILLED: f64 = 0.5;
/// How many rows may be of a time that their series has already.
const REPEATED: f64 = 0.01;
/// How many rows and columns are looked at for keys.
const ROWS: usize = 50_000;
const KEYS: usize = 8;

impl SeriesColumns {
    /// Those of a table whose rows step regularly; nothing where it is none of series, as it seems. The time is the first column of dates,
    /// or of numbers that is named as a time; the keys are the fewest columns of words or whole numbers within which a time comes once. What is told
    /// of either is taken.
    ///
    /// # Errors
    /// Where there is no such column, or the one that is told isn't of times.
    pub fn find(table: &Table, time: Option<&str>, keys: Option<&[String]>) -> Result<Option<SeriesColumns>> {
        let candidates: Vec<&Column> = match time {
            Some(told) => vec![table.column(told)?],
            None => times(table),
        };
        for column in candidates {
            let keys = match keys {
                Some(told) => Some(told.to_vec()),
                None => found_keys(table, column),
            };
            let name = column.name().to_string();
            match keys {
                Some(keys) if time.is_some() => {
                    TimedRows::of(table, column, &keys)?;
                    return Ok(Some(SeriesColumns { time: name, keys }));
                }
                // Who tells the time means series, whatever repeats.
                None if time.is_some() => return Ok(Some(SeriesColumns { time: name, keys: Vec::new() })),
                Some(keys) if steps_regularly(table, column, &keys) => {
                    return Ok(Some(SeriesColumns { time: name, keys }));
                }
                Some(_) | None => {}
            }
        }
        Ok(None)
    }
}

/// Columns that may be of times, dates first.
fn times(table: &Table) -> Vec<&Column> {
    const NAMES: [&str; 12] = [
        "time",
        "date",
        "day",
        "week",
        "month",
        "year",
        "datetime",
        "timestamp",
        "period",
        "step",
        "t",
        "ds",
    ];
    let is_named = |name: &str| NAMES.iter().any(|other| other.eq_ignore_ascii_case(name));
    let may_be = |column: &&Column| match column.kind() {
        ColumnKind::Date => true,
        ColumnKind::Number => is_named(column.name()),
        ColumnKind::Category | ColumnKind::Boolean => false,
    };
    let mut columns: Vec<&Column> = table.columns().iter().filter(may_be).collect();
    columns.sort_by_key(|column| column.kind() != ColumnKind::Date);
    columns
}

/// Whether the times of each series lie on a grid of which they fill at least half.
fn steps_regularly(table: &Table, time: &Column, keys: &[String]) -> bool {
    let Ok(rows) = TimedRows::of(table, time, keys) else { return false };
    let Ok((frequency, _)) = rows.frequency(time) else { return false };
    let (mut filled, mut steps) = (0, 0i64);
    for (_, own) in &rows.series {
        let numbers: HashSet<i64> = own.iter().map(|(time, _)| frequency.number(*time)).collect();
        if let (Some(least), Some(most)) = (numbers.iter().min(), numbers.iter().max()) {
            filled += numbers.len();
            steps = most.saturating_sub(*least).saturating_add(1).saturating_add(steps);
        }
    }
    filled as f64 >= FILLED * steps as f64
}

/// The fewest columns within which a time comes once; none where there are none such.
fn found_keys(table: &Table, time: &Column) -> Option<Vec<String>> {
    let rows = table.len().min(ROWS);
    let codes_of = |column: &Column| {
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut code = |row: usize| {
            let next = known.len() as u32;
            *known.entry(column.cell(row).text().unwrap_or_default().into_owned()).or_insert(next)
        };
        let codes: Vec<u32> = (0..rows).map(&mut code).collect();
        (codes, known.len())
    };
    let (times, _) = codes_of(time);
    let is_once = |keys: &[&Vec<u32>]| {
        let cell = |row: &usize| (times[*row], keys.iter().map(|own| own[*row]).collect::<Vec<u32>>());
        let different: HashSet<_> = (0..rows).map(|row| cell(&row)).collect();
        (rows - different.len()) as f64 <= REPEATED * rows as f64
    };
    if is_once(&[]) {
        return Some(Vec::new());
    }
    let may_be = |column: &&Column| {
        let is_whole = |column: &Column| {
            (0..rows).all(|row| !matches!(column.cell(row), Cell::Number(number) if number.fract() != 0.0))
        };
        column.name() != time.name()
            && match column.kind() {
                ColumnKind::Category => true,
                ColumnKind::Number => is_whole(column),
                ColumnKind::Boolean | ColumnKind::Date => false,
            }
    };
    let columns = table.columns().iter().filter(may_be);
    // A series has some steps.
    let coded = columns.map(|column| (column.name().to_string(), codes_of(column)));
    let keys: Vec<(String, Vec<u32>)> = coded
        .filter(|(_, (_, different))| (2..=rows / 5).contains(different))
        .map(|(name, (codes, _))| (name, codes))
        .take(KEYS)
        .collect();
    if let Some((name, _)) = keys.iter().find(|(_, codes)| is_once(&[codes])) {
        return Some(vec![name.clone()]);
    }
    let pairs = keys
        .iter()
        .enumerate()
        .flat_map(|(at, first)| keys[at + 1..].iter().map(move |second| (first, second)));
    pairs
        .into_iter()
        .find(|(first, second)| is_once(&[&first.1, &second.1]))
        .map(|(first, second)| vec![first.0.clone(), second.0.clone()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Option<(String, Vec<String>)> {
        let table = Table::read(text.as_bytes()).unwrap();
        let found = SeriesColumns::find(&table, None, None).unwrap();
        found.map(|columns| (columns.time, columns.keys))
    }

    #[test]
    fn times_and_keys_are_found_among_the_columns() {
        let days = |row: fn(i32) -> String| (1..=20).map(row).collect::<String>();
        let one = days(|day| format!("{day},2024-01-{day:02},{}\n", day * day % 7));
        assert_eq!(find(&format!("t,when,sold\n{one}")), Some(("when".to_string(), vec![])));
        let shops = days(|day| format!("2024-01-{day:02},a,{day}\n2024-01-{day:02},b,5\n"));
        assert_eq!(
            find(&format!("when,shop,sold\n{shops}")),
            Some(("when".to_string(), vec!["shop".to_string()]))
        );
        let items = days(|day| {
            (0..6).map(|key| format!("2024-01-{day:02},s{},{},{}\n", key % 2, key / 2, day + key)).collect()
        });
        let keys = vec!["store".to_string(), "item".to_string()];
        assert_eq!(find(&format!("when,store,item,sold\n{items}")), Some(("when".to_string(), keys)));
        assert_eq!(find("YEAR,spots\n1700,5\n1701,11\n1702,16\n"), Some(("YEAR".to_string(), vec![])));
    }

    #[test]
    fn tables_that_merely_have_dates_are_none_of_series() {
        assert_eq!(find("age,sold\n1,5\n2,11\n3,16\n"), None);
        let rare: String = (0..60)
            .map(|row| format!("20{:02}-{:02}-{:02},{row}\n", row % 20, row % 12 + 1, row * 7 % 28 + 1))
            .collect();
        assert_eq!(find(&format!("since,bill\n{rare}")), None);
        let repeated: String =
            (0..60).map(|row| format!("2024-01-{:02},{}.5\n", row % 15 + 1, row)).collect();
        assert_eq!(find(&format!("since,bill\n{repeated}")), None);
    }

    #[test]
    fn what_is_told_is_taken() {
        let table = Table::read(b"a,b,c\n2024-01-01,1,x\n2024-01-01,2,x\n2024-01-05,2,y\n").unwrap();
        let told = SeriesColumns::find(&table, Some("a"), Some(&["c".to_string()])).unwrap().unwrap();
        assert_eq!((told.time.as_str(), told.keys), ("a", vec!["c".to_string()]));
        assert!(SeriesColumns::find(&table, Some("aa"), None).is_err());
        assert!(SeriesColumns::find(&table, Some("c"), Some(&[])).is_err());
    }
}
