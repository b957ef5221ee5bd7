//! A table of series: how often they step, what is missing, which seasons there are.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::data::{ColumnKind, Table};
use kiln_learn::forecast::{Frequency, SeriesColumns, SeriesOptions, SeriesSet, SeriesSummary};
use serde_json::{Value, json};

/// What is said of a table of series.
#[derive(Args, Default)]
pub struct SeriesFlags {
    /// The column of times, where the table is one of series [default: the first of dates that steps regularly]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,

    /// The columns that say which series a row is of, with commas between them [default: the fewest within which a time comes once]
    #[arg(long, value_name = "COLUMNS")]
    series: Option<String>,

    /// The column whose values are looked at [default: the first of numbers]
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,

    /// How often a series has a value: hourly, daily, weekdays, weekly, monthly, quarterly, yearly, every 15 minutes, steps of 1 [default: what
    /// the times show]
    #[arg(long, value_name = "WORDS")]
    frequency: Option<String>,
}

/// What a table of series shows.
pub struct SeriesShown {
    columns: SeriesColumns,
    target: String,
    summary: SeriesSummary,
}

impl SeriesFlags {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let SeriesFlags { time, series, target, frequency } = self;
        [time, series, target, frequency].iter().all(|flag| flag.is_none())
    }

    /// What the series of a table show; nothing where it is none of series, as it seems and nobody says otherwise.
    pub fn shown(&self, table: &Table) -> Result<Option<SeriesShown>> {
        let keys = self.series.as_ref().map(|names| -> Vec<String> {
            names.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect()
        });
        let Some(columns) = SeriesColumns::find(table, self.time.as_deref(), keys.as_deref())? else {
            if self.is_empty() {
                return Ok(None);
            }
            bail!(
                "no column of dates steps regularly; tell the one of times with --time, and with --series which series a row is of"
            );
        };
        let others = |name: &str| name != columns.time && columns.keys.iter().all(|key| key != name);
        let of_numbers = || {
            let mut columns = table.columns().iter();
            let found = columns.find(|column| column.kind() == ColumnKind::Number && others(column.name()));
            found.map(|column| column.name().to_string())
        };
        let Some(target) = self.target.clone().or_else(of_numbers) else {
            match self.is_empty() {
                true => return Ok(None),
                false => bail!(
                    "besides {} there is no column of numbers to be the values of a series",
                    columns.time
                ),
            }
        };
        let mut options = SeriesOptions::new().keys(columns.keys.iter().map(String::as_str));
        if let Some(words) = &self.frequency {
            options = options.frequency(words.parse::<Frequency>().context("--frequency")?);
        }
        match SeriesSet::of(table, &columns.time, &target, &options) {
            Ok(set) => Ok(Some(SeriesShown { columns, target, summary: SeriesSummary::of(&set) })),
            // Nobody said that these are series.
            Err(_) if self.is_empty() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl SeriesShown {
    /// In lines.
    pub fn text(&self) -> String {
        let SeriesShown { columns, target, summary } = self;
        let by =
            if columns.keys.is_empty() { String::new() } else { format!(", by {}", columns.keys.join(", ")) };
        format!("{target} over {}{by}\n{summary}\n", columns.time)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let SeriesShown { columns, target, summary } = self;
        json!({ "time": columns.time, "by": columns.keys, "target": target, "summary": summary })
    }
}
