//! The rows of a table by series, and the frequency that their times show.

use std::collections::HashMap;

use kiln_data::{Cell, Column, ColumnKind, Table};
use kiln_map::counted;

use crate::forecast::frequency::Frequency;
use crate::{Error, Result};

/// More steps for each row than this, and a few to spare, are taken for a frequency that is far too fine, or a time that is mistaken.
const PER_ROW: i64 = 100;
const SPARE: i64 = 100_000;

/// Numbers beyond this have no next one, and can't be counted in steps.
const FARTHEST: f64 = (1u64 << 53) as f64;

/// A series' key, and the time of each of its rows with the row.
type KeyedTimes = (Vec<String>, Vec<(f64, usize)>);

/// The rows of a table by series, with their times.
pub(super) struct TimedRows {
    /// The key of each series, the time of each of its rows and the row.
    pub series: Vec<KeyedTimes>,
    pub without_time: usize,
}

impl TimedRows {
    pub fn of(table: &Table, time: &Column, keys: &[String]) -> Result<TimedRows> {
        let columns = keys.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        let mut rows = TimedRows { series: Vec::new(), without_time: 0 };
        let mut known: HashMap<Vec<String>, usize> = HashMap::new();
        for row in 0..table.len() {
            let time = match time.cell(row) {
                Cell::Number(number) if number.abs() <= FARTHEST => number,
                Cell::Number(number) => {
                    let line = table.line(row).map_or(String::new(), |line| format!(" (line {line})"));
                    return Err(Error::Preparation(format!(
                        "{} is too far away to be the time of a step: {number}{line}; times are numbers within ±2^53",
                        time.name()
                    )));
                }
                Cell::Date { seconds, .. } => seconds as f64,
                Cell::Missing => {
                    rows.without_time += 1;
                    continue;
                }
                Cell::Word(word) => {
                    let line = table.line(row).map_or(String::new(), |line| format!(" (line {line})"));
                    return Err(Error::Preparation(format!(
                        "{} must be a date or a number in every row to be the time of a series; one says {word}{line}",
                        time.name()
                    )));
                }
            };
            let word =
                |column: &&Column| column.cell(row).text().map_or(String::new(), |text| text.into_owned());
            let key: Vec<String> = columns.iter().map(word).collect();
            let place = *known.entry(key).or_insert_with_key(|key| {
                rows.series.push((key.clone(), Vec::new()));
                rows.series.len() - 1
            });
            rows.series[place].1.push((time, row));
        }
        Ok(rows)
    }

    fn times(&self) -> Vec<Vec<f64>> {
        self.series.iter().map(|(_, own)| own.iter().map(|(time, _)| *time).collect()).collect()
    }

    pub fn frequency(&self, time: &Column) -> Result<(Frequency, f64)> {
        let times = self.times();
        let is_date = time.kind() == ColumnKind::Date;
        Frequency::find(times.iter().map(Vec::as_slice), is_date).ok_or_else(|| {
            let name = time.name();
            Error::Preparation(format!(
                "the times of {name} follow no frequency: fewer than three differ, or they lie on no grid; \
                 tell the frequency, or the columns by which there are several series"
            ))
        })
    }

    pub fn told(&self, frequency: Frequency, time: &Column) -> Result<Frequency> {
        let is_date = time.kind() == ColumnKind::Date;
        if is_date == frequency.is_of_numbers() {
            let (name, kind) = (time.name(), if is_date { "dates" } else { "numbers" });
            return Err(Error::Preparation(format!(
                "the times of {name} are {kind}, and {frequency} is for the other kind; tell one such as {}",
                if is_date { "daily" } else { "steps of 1" }
            )));
        }
        let times: Vec<f64> = self.times().concat();
        Ok(frequency.aligned(&times))
    }

    /// That the steps aren't too many to be meant.
    pub fn check(&self, frequency: Frequency, table: &Table) -> Result<()> {
        let numbers = |own: &[(f64, usize)]| -> Vec<i64> {
            own.iter().map(|(time, _)| frequency.number(*time)).collect()
        };
        let span = |(_, own): &(Vec<String>, Vec<(f64, usize)>)| {
            let numbers = numbers(own);
            let least = numbers.iter().min().copied().unwrap_or(0);
            numbers.iter().max().copied().unwrap_or(0).saturating_sub(least)
        };
        let spans: Vec<i64> = self.series.iter().map(span).collect();
        let steps = spans.iter().copied().fold(0i64, i64::saturating_add);
        let rows: i64 = self.series.iter().map(|(_, own)| own.len() as i64).sum();
        if steps <= PER_ROW * rows + SPARE {
            return Ok(());
        }
        let longest = (0..spans.len()).max_by_key(|&at| spans[at]);
        let outlying = longest.and_then(|at| outlying(&self.series[at].1)).map(|(time, row)| {
            let line = table.line(row).map_or(String::new(), |line| format!(" (line {line})"));
            format!("{}{line} is far from all others: mend that time, or ", frequency.text(time))
        });
        Err(Error::Preparation(format!(
            "{frequency} makes {} of {}; {}tell a coarser frequency",
            counted(usize::try_from(steps).unwrap_or(usize::MAX), "step"),
            counted(rows as usize, "row"),
            outlying.unwrap_or_default(),
        )))
    }
}

/// The first or last time of a series, where it is farther from the next than all the others are apart.
fn outlying(own: &[(f64, usize)]) -> Option<(f64, usize)> {
    let mut times = own.to_vec();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [first, second, .., before, last] = times.as_slice() else { return None };
    let (low, high) = (second.0 - first.0, last.0 - before.0);
    if low > last.0 - second.0 {
        return Some(*first);
    }
    (high > before.0 - first.0).then_some(*last)
}
