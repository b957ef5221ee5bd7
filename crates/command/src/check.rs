//! `kiln check`: whether new rows are like those that a model was trained on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use kiln_learn::data::{ColumnKind, Reading};
use kiln_learn::drift::{ColumnDrift, Drift, NewRows};
use serde_json::json;

use super::large::{self, LargeTable, PipedTable};
use super::out::counted;
use super::reading::ReadingFlags;
use super::rows::is_standard_input;
use super::{out, rows};

/// Say whether new rows are like those that a model was trained on
///
/// A training keeps how each column is spread, and what the model says of rows that were held out. New rows are held against that, column by
/// column: how amounts and kinds are spread, how often a value is missing, amounts beyond all of the training's, words that it didn't have; and
/// what the model says of them. What differs by more than chance is named, the most first.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln check runs/heart-1/model.kiln new.csv
  kiln check model.kiln today.parquet --fail-on-drift   the exit code is 4 where anything differs
  cat new.csv | kiln check model.kiln - --json
  kiln check model.kiln new.csv --rate 0.01             name less by chance: in 1 of 100 tables in which nothing differs")]
pub struct CheckFlags {
    /// The model's file
    model: PathBuf,

    /// A table as for predicting, or - for the standard input
    data: PathBuf,

    /// How likely it may be that anything is named where nothing differs
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    rate: f64,

    /// End with the exit code 4 where anything differs
    #[arg(long)]
    fail_on_drift: bool,

    #[command(flatten)]
    reading: ReadingFlags,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The exit code where anything differs and that is to fail.
const DRIFTED: u8 = 4;

pub fn run(flags: CheckFlags) -> Result<ExitCode> {
    if !(flags.rate > 0.0 && flags.rate < 1.0) {
        bail!("--rate is a share between 0 and 1, such as 0.05, not {}", flags.rate);
    }
    let mut model = rows::asked(&flags.model)?;
    flags.reading.tell(&mut model)?;
    let mut new = NewRows::of(&model).map_err(|error| anyhow!("{}: {error}", flags.model.display()))?;
    let reading = model.about().reading()?;
    let place = || flags.data.display().to_string();
    match is_standard_input(&flags.data) {
        true => match large::standard_input(&std::env::temp_dir())? {
            PipedTable::Bytes(bytes) => new.add(&reading.read(&bytes)?)?,
            PipedTable::File(file) => read(&mut new, file.path(), reading)?,
        },
        false => read(&mut new, &flags.data, reading).with_context(place)?,
    }
    let drift = new.compared(flags.rate);
    if drift.rows == 0 {
        bail!("{}: the file holds a header and no row", flags.data.display());
    }
    match flags.json {
        true => {
            let mut object = json!(drift);
            (object["model"], object["data"]) = (json!(flags.model), json!(flags.data));
            out::line(object)?;
        }
        false => out::text(table(&drift))?,
    }
    let fails = flags.fail_on_drift && drift.drifted;
    Ok(if fails { ExitCode::from(DRIFTED) } else { ExitCode::SUCCESS })
}

/// Takes the rows of a file, part by part where it is too large to be held.
fn read(new: &mut NewRows, path: &Path, reading: Reading) -> Result<()> {
    let Some(large) = LargeTable::of(path, &reading) else {
        return Ok(new.add(&reading.open(path)?)?);
    };
    // What isn't needed may be anything.
    let reading = large.first.names().fold(reading, |reading, name| match reading.tells(name) {
        true => reading,
        false => reading.kind(name, ColumnKind::Category),
    });
    let mut fault = None;
    let read = reading.each_part(path, |table| {
        new.add(&table).map_err(|error| {
            let message = error.to_string();
            fault = Some(error);
            kiln_learn::data::Error::new(message)
        })
    });
    match fault {
        Some(fault) => Err(fault.into()),
        None => Ok(read?),
    }
}

/// So many columns that differ by no more than chance are shown.
const SHOWN: usize = 5;

/// What there is to say, for people.
fn table(drift: &Drift) -> String {
    let drifted = |columns: &[ColumnDrift]| columns.iter().filter(|column| column.drifted).count();
    let (columns, outputs) = (drifted(&drift.columns), drifted(&drift.outputs));
    let mut text = match drift.drifted {
        false => {
            format!("no drift: {} are like those of the training\n", counted(drift.rows as usize, "row"))
        }
        true => {
            let said = match outputs {
                0 => "what the model says doesn't",
                _ => "so does what the model says",
            };
            let first = match columns {
                0 => format!("drift: no column of {} differs by more than chance", drift.columns.len()),
                1 => format!("drift: 1 of {} differs", counted(drift.columns.len(), "column")),
                many => format!("drift: {many} of {} differ", counted(drift.columns.len(), "column")),
            };
            let join = if columns == 0 { ", but what the model says does" } else { "; " };
            let said = if columns == 0 { "" } else { said };
            format!("{first}{join}{said} ({})\n", counted(drift.rows as usize, "row"))
        }
    };
    let shown: Vec<&ColumnDrift> = drift
        .columns
        .iter()
        .enumerate()
        .filter(|(at, column)| column.drifted || *at < SHOWN)
        .map(|(_, column)| column)
        .chain(&drift.outputs)
        .collect();
    let width = shown.iter().map(|column| column.column.chars().count()).max().unwrap_or(0).max(6);
    text += &format!("\n  {:width$}  {:>6}  {:>6}  {:>8}\n", "column", "effect", "PSI", "p");
    for column in shown {
        let mark = if column.drifted { '!' } else { ' ' };
        let probability = match column.adjusted {
            p if p < 1e-4 => "< 0.0001".to_string(),
            p => format!("{p:.4}"),
        };
        let ColumnDrift { column: name, effect, stability, .. } = column;
        let line = format!(
            "{mark} {name:width$}  {effect:>6.3}  {stability:>6.3}  {probability:>8}  {}",
            told(column)
        );
        text += line.trim_end();
        text += "\n";
    }
    let hidden = drift.columns.len() - drifted(&drift.columns).max(SHOWN.min(drift.columns.len()));
    if hidden > 0 {
        text += &format!("  and {} more that differ by no more than chance\n", counted(hidden, "column"));
    }
    text
}

/// What is different, in words.
fn told(column: &ColumnDrift) -> String {
    let mut said = Vec::new();
    let share = |share: f64| format!("{:.1} %", 100.0 * share);
    if let (Some([before, now]), true) = (column.median, column.drifted) {
        said.push(format!("middle {} in training, {} now", short(before), short(now)));
    }
    if column.drifted && column.missing[0] != column.missing[1] {
        said.push(format!(
            "missing {} in training, {} now",
            share(column.missing[0]),
            share(column.missing[1])
        ));
    }
    if let (Some(trained), Some(now), true) = (column.trained_range, column.range, column.beyond != [0, 0]) {
        let rows = counted((column.beyond[0] + column.beyond[1]) as usize, "row");
        let [low, high] = trained.map(short);
        said.push(format!("{rows} beyond {low} to {high} ({} to {})", short(now[0]), short(now[1])));
    }
    if let Some((word, _)) = column.unseen.first() {
        let rows: u64 = column.unseen.iter().map(|(_, rows)| rows).sum();
        let words: Vec<String> =
            column.unseen.iter().take(3).map(|(word, _)| format!("\"{word}\"")).collect();
        let more = if column.unseen.len() > 3 { ", …" } else { "" };
        let words = if column.unseen.len() == 1 { format!("\"{word}\"") } else { words.join(", ") + more };
        said.push(format!("{} with words that training didn't have: {words}", counted(rows as usize, "row")));
    }
    said.join("; ")
}

/// A number in four digits.
fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let digits = (3 - libm::log10(number.abs()).floor() as i64).clamp(0, 12) as usize;
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_have_four_digits() {
        for (number, said) in
            [(0.0, "0"), (54.25, "54.25"), (123_456.7, "123457"), (0.001_234_56, "0.001235"), (-3.0, "-3")]
        {
            assert_eq!(short(number), said);
        }
    }
}
