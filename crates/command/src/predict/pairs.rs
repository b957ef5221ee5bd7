//! Texts that are read, and what a model of pairs writes for each: from the command line, of a table's column, or the lines of a text.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use kiln_learn::Predictor;
use kiln_learn::data::Table;
use kiln_learn::generate::GenerateOptions;
use kiln_learn::preparation::PairPreparation;
use serde_json::json;

use super::lines::quoted;
use crate::source::TABLES;
use crate::{out, rows};

/// Writes what the model writes: a line for each text or line of a text, or a table with one column more.
pub(super) fn run(
    predictor: &Predictor,
    pairs: &PairPreparation,
    texts: &[String],
    inputs: &[PathBuf],
    options: &GenerateOptions,
    json: bool,
) -> Result<()> {
    let written = |sources: &[String]| {
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        predictor.predict_targets(&sources, options)
    };
    let mut out = out::RowWriter::new();
    let mut lines = |sources: &[String]| -> Result<()> {
        for (source, target) in sources.iter().zip(written(sources)?) {
            match json {
                true => writeln!(out, "{}", json!({ "source": source, "target": target }))?,
                false => writeln!(out, "{target}")?,
            }
        }
        Ok(out.flush()?)
    };
    let input = match (texts, inputs) {
        ([], [input]) => input,
        ([], _) => {
            bail!("name a table or a text (or - for the standard input), or give what is read: --text TEXT")
        }
        (texts, _) => return lines(texts),
    };
    let name = input.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    let is_table = name.rsplit_once('.').is_some_and(|(_, extension)| TABLES.contains(&extension));
    if !is_table {
        let text = rows::text(input)?;
        return lines(&text.lines().map(str::to_string).collect::<Vec<_>>());
    }
    let table = pairs.reading().open(input)?;
    let column = table.column(&pairs.source)?;
    let sources: Vec<String> =
        (0..table.len()).map(|row| column.cell(row).text().unwrap_or_default().into_owned()).collect();
    if json {
        return lines(&sources);
    }
    let cells = |row: usize, table: &Table| {
        let cell = |column: &kiln_learn::data::Column| {
            column.cell(row).text().map_or(String::new(), |text| quoted(&text).into_owned())
        };
        table.columns().iter().map(cell).collect::<Vec<_>>().join(",")
    };
    let predicted = format!("predicted {}", pairs.target);
    let header = table.names().map(|name| quoted(name).into_owned()).chain([quoted(&predicted).into_owned()]);
    writeln!(out, "{}", header.collect::<Vec<_>>().join(","))?;
    for (row, target) in written(&sources)?.iter().enumerate() {
        writeln!(out, "{},{}", cells(row, &table), quoted(target))?;
    }
    Ok(out.flush()?)
}
