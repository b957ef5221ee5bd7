//! How a table is read, where a person says so: the same flags for training, for looking, and for files that a model is asked of.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::Model;
use kiln_learn::data::{DateFormat, Reading, Table};

use super::rows::{is_standard_input, standard_input};
use super::settings::Settings;

/// The names of these flags, which are settings of a training too.
pub const READING: [&str; 9] =
    ["header", "missing", "decimal", "thousands", "dates", "delimiter", "encoding", "sheet", "member"];

/// Those of cells that aren't texts.
const CELLS: [&str; 4] = ["missing", "decimal", "thousands", "dates"];

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

    /// What stands between cells: , ; | tab, or another sign [default: what the first rows show]
    #[arg(long, value_name = "SIGN")]
    pub delimiter: Option<String>,

    /// How a text is encoded: utf-8, utf-16 or latin-1 (windows-1252) [default: what its bytes show]
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,

    /// The sheet of a workbook, by its name or its number from 1 [default: the first that isn't empty]
    #[arg(long, value_name = "NAME|N")]
    pub sheet: Option<String>,

    /// The table of a zip archive, by its name or its number from 1 [default: the only one]
    #[arg(long, value_name = "NAME|N")]
    pub member: Option<String>,

    /// How dates such as 03/04/2024 are meant: dmy, mdy or ymd [default: what the dates show]
    #[arg(long, value_name = "ORDER")]
    pub dates: Option<String>,
}

impl ReadingFlags {
    /// Those of a training.
    pub fn of(settings: &Settings) -> ReadingFlags {
        let Settings {
            header, missing, decimal, thousands, dates, delimiter, encoding, sheet, member, ..
        } = settings;
        ReadingFlags {
            header: header.clone(),
            missing: missing.clone(),
            decimal: decimal.clone(),
            thousands: thousands.clone(),
            delimiter: delimiter.clone(),
            encoding: encoding.clone(),
            sheet: sheet.clone(),
            member: member.clone(),
            dates: dates.clone(),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.said().iter().all(|flag| flag.is_none())
    }

    /// Each, in the order of [`READING`].
    pub fn said(&self) -> [&Option<String>; READING.len()] {
        let ReadingFlags { header, missing, decimal, thousands, delimiter, encoding, sheet, member, dates } =
            self;
        [header, missing, decimal, thousands, dates, delimiter, encoding, sheet, member]
    }

    /// Tells a model of files that are written otherwise than those it was trained on.
    pub fn tell(&self, model: &mut Model) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let told = self.reading()?;
        let said =
            || READING.iter().zip(self.said()).filter(|(_, said)| said.is_some()).map(|(name, _)| *name);
        let of_cells = said().find(|name| CELLS.contains(name));
        let name = of_cells.or_else(|| said().next()).unwrap_or_default();
        model.about_mut().read_as(&told).with_context(|| match of_cells {
            Some(name) => format!("--{name} is for models of the columns of tables"),
            None => format!("--{name} is for models of tables"),
        })
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
        match self.delimiter.as_deref() {
            None => {}
            Some("tab" | "\\t" | "\t") => reading = reading.delimiter(b'\t'),
            Some("space") => reading = reading.delimiter(b' '),
            Some(other) => match other.as_bytes() {
                [sign] if sign.is_ascii() && !sign.is_ascii_alphanumeric() && *sign != b'"' => {
                    reading = reading.delimiter(*sign);
                }
                _ => bail!("--delimiter is one sign such as , ; | or tab or space, and not {other}"),
            },
        }
        if let Some(encoding) = &self.encoding {
            reading = reading.encoding(encoding.parse().context("--encoding")?);
        }
        if let Some(sheet) = &self.sheet {
            reading = reading.sheet(sheet);
        }
        if let Some(member) = &self.member {
            reading = reading.member(member);
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
