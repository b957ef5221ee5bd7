//! How a table is read, where a person says so: the same flags for training and for looking.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::data::{DateFormat, Reading, Table};

use super::rows::{is_standard_input, standard_input};
use super::settings::Settings;

/// What is said of a file.
#[derive(Args, Default)]
pub struct ReadingFlags {
    /// Whether the first row of a table names its columns: yes or no [default: what the rows below show]
    #[arg(long, value_name = "YES|NO")]
    pub header: Option<String>,

    /// Words that say in any column that its value is missing, with commas between them, besides the usual ones
    #[arg(long, value_name = "WORDS")]
    pub missing: Option<String>,

    /// What stands before decimals: . or , [default: what the numbers show]
    #[arg(long, value_name = "SIGN")]
    pub decimal: Option<String>,

    /// What stands between thousands: , . ' or space [default: what the numbers show]
    #[arg(long, value_name = "SIGN")]
    pub thousands: Option<String>,

    /// How dates such as 03/04/2024 are meant: dmy, mdy or ymd [default: what the dates show]
    #[arg(long, value_name = "ORDER")]
    pub dates: Option<String>,
}

impl ReadingFlags {
    /// Those of a training.
    pub fn of(settings: &Settings) -> ReadingFlags {
        let Settings { header, missing, decimal, thousands, dates, .. } = settings;
        ReadingFlags {
            header: header.clone(),
            missing: missing.clone(),
            decimal: decimal.clone(),
            thousands: thousands.clone(),
            dates: dates.clone(),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let ReadingFlags { header, missing, decimal, thousands, dates } = self;
        [header, missing, decimal, thousands, dates].iter().all(|flag| flag.is_none())
    }

    /// As the library says it.
    pub fn reading(&self) -> Result<Reading> {
        let mut reading = Reading::new();
        match self.header.as_deref() {
            None => {}
            Some("yes") => reading = reading.header(true),
            Some("no") => reading = reading.header(false),
            Some(other) => bail!("--header is yes or no, not {other}"),
        }
        for word in self.missing.iter().flat_map(|words| words.split(',')) {
            reading = reading.missing(word.trim());
        }
        match self.decimal.as_deref() {
            None => {}
            Some("." | "point") => reading = reading.decimal('.'),
            Some("," | "comma") => reading = reading.decimal(','),
            Some(other) => bail!("--decimal is . or , and not {other}"),
        }
        match self.thousands.as_deref() {
            None => {}
            Some("," | "comma") => reading = reading.thousands(','),
            Some("." | "point") => reading = reading.thousands('.'),
            Some("'") => reading = reading.thousands('\''),
            Some(" " | "space") => reading = reading.thousands(' '),
            Some(other) => bail!("--thousands is , or . or ' or space, and not {other}"),
        }
        match self.dates.as_deref() {
            None => {}
            Some("dmy") => reading = reading.dates(DateFormat::DayFirst),
            Some("mdy") => reading = reading.dates(DateFormat::MonthFirst),
            Some("ymd") => reading = reading.dates(DateFormat::YearFirst),
            Some(other) => bail!("--dates is dmy, mdy or ymd, not {other}"),
        }
        Ok(reading)
    }
}

/// A table in a file, or `-` for what comes in by the standard input.
pub fn open(reading: &Reading, path: &Path) -> Result<Table> {
    match is_standard_input(path) {
        true => Ok(reading.read(&standard_input()?)?),
        false => Ok(reading.open(path)?),
    }
}
