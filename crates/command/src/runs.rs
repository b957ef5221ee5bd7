//! `kiln runs`: the runs of a folder beside each other.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::trainer::sparkline;
use serde_json::{Value, json};

use super::out;

/// Compare runs
///
/// A line for each run: how long it was, its best epoch, what came out on the test set, and its validation loss from epoch to epoch.
#[derive(Args)]
pub struct RunsFlags {
    /// The folder the runs are in
    #[arg(default_value = "runs")]
    folder: PathBuf,

    /// Print a JSON object for each run
    #[arg(long)]
    json: bool,
}

pub fn run(flags: RunsFlags) -> Result<()> {
    let mut rows = Vec::new();
    let entries = std::fs::read_dir(&flags.folder).map_err(|error| {
        anyhow::anyhow!("{}: {error}; runs are made by `kiln train`", flags.folder.display())
    })?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("config.toml").exists()) {
        rows.push(row(folder));
    }
    if rows.is_empty() {
        bail!("{}: there is no run in this folder", flags.folder.display());
    }
    if flags.json {
        return rows.iter().try_for_each(out::line);
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or(f64::NAN)),
        Value::Null => "-".to_string(),
        other => other.to_string(),
    };
    let columns = ["run", "epochs", "seconds", "val_loss", "figure", "test", "curve"];
    let mut table = vec![columns.map(str::to_string).to_vec()];
    table.extend(rows.iter().map(|row| columns.iter().map(|name| text(&row[*name])).collect::<Vec<_>>()));
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out::line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn row(folder: &Path) -> Value {
    let log = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    let epochs: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let series = |name: &str| epochs.iter().filter_map(|epoch| epoch[name].as_f64()).collect::<Vec<f64>>();
    let losses = match series("val_loss") {
        empty if empty.is_empty() => series("loss"),
        losses => losses,
    };
    let result: Value = std::fs::read_to_string(folder.join("result.json"))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let figure = ["accuracy", "r2"].into_iter().find(|name| result["test"][*name].is_number());
    json!({
        "run": folder.file_name().map(|name| name.to_string_lossy().into_owned()),
        "epochs": epochs.len(),
        "seconds": epochs.last().map(|epoch| epoch["seconds"].clone()),
        "val_loss": losses.iter().copied().reduce(f64::min),
        "figure": figure,
        "test": figure.map(|name| result["test"][name].clone()),
        "curve": sparkline(&losses, 24),
    })
}
