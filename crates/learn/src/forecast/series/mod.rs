//! The series of a table. The rule for what comes twice or not at all stands here:
//!
//! - Rows of one series and one step are one value: their mean, or their sum where that is told ([`Duplicates`]).
//! - Steps between the first and the last value of a series that have none stay without: nothing is scored there, and what needs a value
//!   takes the one a season before, or the last ([`TimeSeries::filled`]); or they are zeros where that is told ([`Gaps`]).
//! - Rows without a time are left out. Rows behind the last value of their series say what is known of the future.

mod columns;
mod rows;

use kiln_data::{Cell, Column, ColumnKind, Table};
use kiln_map::counted;
use serde::{Deserialize, Serialize};

pub use self::columns::SeriesColumns;
use self::rows::TimedRows;
use super::frequency::Frequency;
use crate::{Error, Result};

/// What several rows of one series and one step are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// One value, their mean: they measure the same.
    #[default]
    Mean,
    /// One value, their sum: each is a part, as of sales.
    Sum,
}

/// What steps without a value are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gaps {
    /// Unknown.
    #[default]
    Missing,
    /// Zero: what isn't listed wasn't sold.
    Zero,
}

/// A series on the grid of a frequency.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    /// What it goes by: a word for each column of the key, none where there is but one series.
    pub key: Vec<String>,
    /// The number of the step of its first value ([`Frequency::begin`] says its time).
    pub first: i64,
    /// A value for each step from its first to its last; `NaN` where there is none. Neither the first nor the last is.
    pub values: Vec<f64>,
    /// The row of each step in its table, of several the last; it goes on behind the values where the table does.
    pub rows: Vec<Option<usize>>,
}

/// What was found of the series of a table, and what the rule for gaps and duplicates did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SeriesFindings {
    /// Rows of the table.
    pub rows: usize,
    /// Rows without a time, which are left out.
    pub without_time: usize,
    /// Rows beyond the first of their series and step.
    pub duplicates: usize,
    /// Steps within a series that have no value.
    pub gaps: usize,
    /// Series that have such steps.
    pub with_gaps: usize,
    /// Series without any value, which are left out.
    pub empty: usize,
    /// Rows behind the last value of their series.
    pub future: usize,
}

/// How series are made of a table, where it isn't as usual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesOptions {
    keys: Vec<String>,
    frequency: Option<Frequency>,
    duplicates: Duplicates,
    gaps: Gaps,
}

impl SeriesOptions {
    /// As usual: one series, its frequency found, duplicates their mean, gaps unknown.
    pub fn new() -> SeriesOptions {
        SeriesOptions::default()
    }

    /// The columns that say which series a row is of.
    pub fn keys<'n>(self, keys: impl IntoIterator<Item = &'n str>) -> SeriesOptions {
        SeriesOptions { keys: keys.into_iter().map(str::to_string).collect(), ..self }
    }

    /// The frequency, of which the times show the phase.
    pub fn frequency(self, frequency: Frequency) -> SeriesOptions {
        SeriesOptions { frequency: Some(frequency), ..self }
    }

    /// What several rows of one step are.
    pub fn duplicates(self, duplicates: Duplicates) -> SeriesOptions {
        SeriesOptions { duplicates, ..self }
    }

    /// What steps without a value are.
    pub fn gaps(self, gaps: Gaps) -> SeriesOptions {
        SeriesOptions { gaps, ..self }
    }
}

/// The series of a table.
///
/// ```
/// use kiln::data::Table;
/// use kiln::forecast::{SeriesOptions, SeriesSet};
///
/// let table = Table::read(b"day,shop,sold\n2024-01-01,a,3\n2024-01-02,a,4\n2024-01-04,a,6\n2024-01-01,b,1\n2024-01-02,b,2\n2024-01-02,b,4\n")?;
/// let set = SeriesSet::of(&table, "day", "sold", &SeriesOptions::new().keys(["shop"]))?;
/// assert_eq!(set.frequency.to_string(), "daily");
/// assert_eq!(set.series[1].values, [1.0, 3.0]);
/// assert_eq!((set.findings.gaps, set.findings.duplicates), (1, 1));
/// assert_eq!(set.series[0].filled(1), [3.0, 4.0, 4.0, 6.0]);
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSet {
    /// How often each has a value.
    pub frequency: Frequency,
    /// Each, in the order in which they first come.
    pub series: Vec<TimeSeries>,
    /// What was found.
    pub findings: SeriesFindings,
    /// The share of times that suit the frequency.
    pub suits: f64,
}

impl SeriesSet {
    /// The series of a table with such columns of times and values.
    ///
    /// # Errors
    /// Where there is no such column, times are no dates or numbers, values no numbers, no frequency is told and none is found, or no series
    /// has a value.
    pub fn of(table: &Table, time: &str, target: &str, options: &SeriesOptions) -> Result<SeriesSet> {
        let (column, values) = (table.column(time)?, table.column(target)?);
        let rows = TimedRows::of(table, column, &options.keys)?;
        let (frequency, suits) = match options.frequency {
            Some(told) => (rows.told(told, column)?, 1.0),
            None => rows.frequency(column)?,
        };
        let mut findings = SeriesFindings {
            rows: table.len(),
            without_time: rows.without_time,
            ..SeriesFindings::default()
        };
        rows.check(frequency, table)?;
        let mut series = Vec::with_capacity(rows.series.len());
        for (key, own) in rows.series {
            match gathered(table, values, frequency, &own, options, &mut findings)? {
                Some((first, values, rows)) => series.push(TimeSeries { key, first, values, rows }),
                None => findings.empty += 1,
            }
        }
        if series.is_empty() {
            return Err(Error::Preparation(format!("{target} has no value, so there is no series")));
        }
        Ok(SeriesSet { frequency, series, findings, suits })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.series.iter().map(|series| series.values.iter().filter(|value| value.is_finite()).count()).sum()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be said of how they were made; nothing where all is as it should be.
    pub fn notes(&self, options: &SeriesOptions) -> Vec<String> {
        let found = &self.findings;
        let mut notes = Vec::new();
        let mut say = |count: usize, what: &str, then: &str| {
            if count > 0 {
                notes.push(format!("{}{then}", counted(count, what)));
            }
        };
        say(found.without_time, "row", " without a time left out");
        let is = if found.duplicates == 1 { "is" } else { "are" };
        let (joined, gaps) = match (options.duplicates, options.gaps) {
            (Duplicates::Mean, Gaps::Missing) => ("averaged", "stay without a value and aren't scored"),
            (Duplicates::Mean, Gaps::Zero) => ("averaged", "are zeros"),
            (Duplicates::Sum, Gaps::Missing) => ("summed", "stay without a value and aren't scored"),
            (Duplicates::Sum, Gaps::Zero) => ("summed", "are zeros"),
        };
        say(found.duplicates, "row", &format!(" {is} of a time that their series has already: {joined}"));
        let with = format!(" in {} of {} series: they {gaps}", found.with_gaps, self.series.len());
        say(found.gaps, "gap", &with);
        say(found.empty, "key", " without any value left out");
        notes
    }
}

impl TimeSeries {
    /// One series by its values alone, from this step on.
    pub fn new(first: i64, values: Vec<f64>) -> TimeSeries {
        let rows = vec![None; values.len()];
        TimeSeries { key: Vec::new(), first, values, rows }
    }

    /// The number of the step behind its last value, where a forecast begins.
    pub fn end(&self) -> i64 {
        self.first.saturating_add(self.values.len() as i64)
    }

    /// Its values, those that are missing filled from what was before them: the value a season earlier, or the last one.
    pub fn filled(&self, period: usize) -> Vec<f64> {
        filled(&self.values, period)
    }

    /// What a column says at each step, also of the future; missing where no row is or it says no number. Dates are seconds, truths 1 and 0.
    pub fn numbers(&self, column: &Column) -> Vec<f64> {
        let said = |row: &Option<usize>| match row.map(|row| column.cell(row)) {
            Some(Cell::Number(number)) => number,
            Some(Cell::Date { seconds, .. }) => seconds as f64,
            Some(Cell::Word(word)) if column.kind() == ColumnKind::Boolean => {
                let is_true = ["true", "yes"].iter().any(|truth| truth.eq_ignore_ascii_case(word));
                f64::from(u8::from(is_true))
            }
            Some(cell @ Cell::Word(_)) => cell.number().unwrap_or(f64::NAN),
            Some(Cell::Missing) | None => f64::NAN,
        };
        self.rows.iter().map(said).collect()
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.key.join(", ")
    }
}

/// Values, those that are missing filled from what was before them: the value a season earlier, or the last one. Before the first nothing is.
pub(super) fn filled(values: &[f64], period: usize) -> Vec<f64> {
    let mut filled: Vec<f64> = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let before = || match at.checked_sub(period.max(1)) {
            Some(at) if filled[at].is_finite() => filled[at],
            _ => filled.last().copied().unwrap_or(f64::NAN),
        };
        filled.push(if value.is_finite() { *value } else { before() });
    }
    filled
}

/// The first step of a series, its values and its rows.
type Gathered = (i64, Vec<f64>, Vec<Option<usize>>);

/// A series of its rows; none where it has no value.
fn gathered(
    table: &Table,
    target: &Column,
    frequency: Frequency,
    own: &[(f64, usize)],
    options: &SeriesOptions,
    findings: &mut SeriesFindings,
) -> Result<Option<Gathered>> {
    let mut steps: Vec<(i64, usize)> =
        own.iter().map(|(time, row)| (frequency.number(*time), *row)).collect();
    steps.sort_unstable();
    let mut with_value = Vec::with_capacity(steps.len());
    for (step, row) in &steps {
        match target.cell(*row) {
            Cell::Number(value) if value.is_finite() => with_value.push((*step, value)),
            Cell::Missing => {}
            cell => {
                let said = cell.text().unwrap_or_default().into_owned();
                let line = table.line(*row).map_or(String::new(), |line| format!(" (line {line})"));
                return Err(Error::Preparation(format!(
                    "{} must be a finite number to be forecast; one cell says {said}{line}",
                    target.name()
                )));
            }
        }
    }
    let (Some(&(first, _)), Some(&(last, _))) = (with_value.first(), with_value.last()) else {
        return Ok(None);
    };
    let length = (last - first + 1) as usize;
    let (mut sums, mut counts) = (vec![0.0; length], vec![0u32; length]);
    for (step, value) in &with_value {
        sums[(step - first) as usize] += value;
        counts[(step - first) as usize] += 1;
    }
    let value = |(sum, count): (&f64, &u32)| match (count, options.duplicates, options.gaps) {
        (0, _, Gaps::Missing) => f64::NAN,
        (0, _, Gaps::Zero) => 0.0,
        (count, Duplicates::Mean, _) => sum / f64::from(*count),
        (_, Duplicates::Sum, _) => *sum,
    };
    let values: Vec<f64> = sums.iter().zip(&counts).map(value).collect();
    let gaps = counts.iter().filter(|count| **count == 0).count();
    findings.gaps += gaps;
    findings.with_gaps += usize::from(gaps > 0);
    findings.duplicates += steps.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
    let end = steps.last().map_or(last, |(step, _)| *step);
    let mut rows = vec![None; (end - first + 1) as usize];
    for (step, row) in steps.into_iter().filter(|(step, _)| *step >= first) {
        rows[(step - first) as usize] = Some(row);
        findings.future += usize::from(step > last);
    }
    Ok(Some((first, values, rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, options: &SeriesOptions) -> Result<SeriesSet> {
        SeriesSet::of(&Table::read(text.as_bytes())?, "day", "sold", options)
    }

    const TWO: &str = "day,shop,sold,price\n2024-01-05,b,5,9\n2024-01-01,a,1,10\n2024-01-02,a,2,11\n2024-01-02,a,4,12\n2024-01-04,a,,14\n\
                       2024-01-05,a,5,15\n2024-01-06,a,,16\n,a,7,17\n2024-01-03,b,3,18\n2024-01-04,b,4,19\n2024-01-01,c,,20\n2024-01-02,c,,20\n";

    #[test]
    fn rows_become_series_by_the_stated_rule() {
        let by_shop = SeriesOptions::new().keys(["shop"]);
        let made = set(TWO, &by_shop).unwrap();
        assert_eq!(made.frequency.to_string(), "daily");
        let [b, a] = &made.series[..] else { panic!("two have values") };
        assert_eq!((b.name().as_str(), &b.values[..]), ("b", &[3.0, 4.0, 5.0][..]));
        assert_eq!((b.first, b.end()), (a.first + 2, a.end()));
        assert_eq!(a.values[..2], [1.0, 3.0]);
        assert!(a.values[2].is_nan() && a.values[3].is_nan() && a.values[4] == 5.0);
        assert_eq!(a.filled(1), [1.0, 3.0, 3.0, 3.0, 5.0]);
        assert_eq!(a.filled(2), [1.0, 3.0, 1.0, 3.0, 5.0]);
        let table = Table::read(TWO.as_bytes()).unwrap();
        let price = a.numbers(table.column("price").unwrap());
        assert_eq!((price[..2].to_vec(), price[3..].to_vec()), (vec![10.0, 12.0], vec![14.0, 15.0, 16.0]));
        assert!(price[2].is_nan());
        let found = SeriesFindings {
            rows: 12,
            without_time: 1,
            duplicates: 1,
            gaps: 2,
            with_gaps: 1,
            empty: 1,
            future: 1,
        };
        assert_eq!(made.findings, found);
        assert_eq!(
            made.notes(&by_shop),
            [
                "1 row without a time left out",
                "1 row is of a time that their series has already: averaged",
                "2 gaps in 1 of 2 series: they stay without a value and aren't scored",
                "1 key without any value left out"
            ]
        );
        let summed = set(TWO, &by_shop.duplicates(Duplicates::Sum).gaps(Gaps::Zero)).unwrap();
        assert_eq!(summed.series[1].values, [1.0, 6.0, 0.0, 0.0, 5.0]);
    }

    #[test]
    fn a_coarser_frequency_that_is_told_joins_steps() {
        let weekly = SeriesOptions::new().frequency("weekly".parse().unwrap()).duplicates(Duplicates::Sum);
        let days: String = (1..=28).map(|day| format!("2024-01-{day:02},{day}\n")).collect();
        let made = set(&format!("day,sold\n{days}"), &weekly).unwrap();
        assert_eq!(made.series[0].values.len(), 4);
        assert_eq!(made.series[0].values[0], (1..=7).sum::<i32>() as f64);
        let one = SeriesOptions::new();
        assert_eq!(set(&format!("day,sold\n{days}"), &one).unwrap().frequency.to_string(), "daily");
    }

    #[test]
    fn what_is_no_series_is_refused_with_the_mend() {
        let error = |text: &str, options: &SeriesOptions| set(text, options).unwrap_err().to_string();
        let plain = SeriesOptions::new();
        assert!(error("day,sold\nmon,1\ntue,2\n", &plain).contains("must be a date or a number"));
        assert!(
            error("day,sold\n2024-01-01,x\n2024-01-02,y\n2024-01-03,z\n", &plain).contains("finite number")
        );
        assert!(error("day,sold\n2024-01-01,1\n2024-01-02,2\n", &plain).contains("tell the frequency"));
        assert!(error("day,sold\n2024-01-01,\n2024-01-02,\n2024-01-03,\n", &plain).contains("no value"));
        let numbers = plain.clone().frequency("steps of 1".parse().unwrap());
        let hourly = plain.clone().frequency("hourly".parse().unwrap());
        let typo = error("day,sold\n2024-01-01,1\n2024-01-02,2\n0001-01-01,3\n2024-01-03,4\n", &hourly);
        assert!(typo.contains("0001-01-01T00:00:00 (line 4)") && typo.contains("mend that time"), "{typo}");
        assert!(error("day,sold\n2024-01-01,1\n2024-01-02,2\n", &numbers).contains("are dates"));
        let fine = plain.clone().frequency("every second".parse().unwrap());
        assert!(error("day,sold\n2020-01-01,1\n2024-01-02,2\n", &fine).contains("coarser"));
        let far = "day,sold\n1,1\n2,2\n3,3\n-1e17,4\n";
        assert!(error(far, &numbers).contains("-100000000000000000 (line 5)"), "{}", error(far, &numbers));
        assert!(error("day,sold\n2024-01-01,1\n", &plain.keys(["shp"])).contains("shp"));
    }
}
