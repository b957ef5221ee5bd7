//! `kiln runs`: the runs of a folder beside each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::metrics::History;
use kiln_learn::trainer::sparkline;
use serde_json::{Map, Value, json};

use super::folder::CONFIG;
use super::{out, report};

/// Compare runs
///
/// A line for each run: how long it was, its best validation loss, what came out on the test set, its validation loss from epoch to epoch,
/// and the settings in which the runs differ.
#[derive(Args)]
pub struct RunsFlags {
    /// The folder the runs are in
    #[arg(default_value = "runs")]
    folder: PathBuf,

    /// Print a JSON object for each run
    #[arg(long)]
    json: bool,

    /// Write a page with the runs' curves drawn over each other
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

/// A run as its folder has it.
struct PastRun {
    name: String,
    /// What was set.
    settings: toml::Table,
    /// The numbers of each epoch.
    epochs: Vec<Map<String, Value>>,
    /// What it came to, if it came to its end.
    result: Value,
}

/// Settings that say where a run is kept, and nothing of what it is.
const PLACES: [&str; 4] = ["out", "resume", "checkpoint-dir", "log-csv"];

/// What is shown of each run, before the settings in which they differ.
const COLUMNS: [&str; 7] = ["run", "epochs", "seconds", "val_loss", "figure", "test", "curve"];

pub fn run(flags: RunsFlags) -> Result<()> {
    let entries = std::fs::read_dir(&flags.folder).map_err(|error| {
        anyhow::anyhow!("{}: {error}; runs are made by `kiln train`", flags.folder.display())
    })?;
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    folders.sort();
    folders.retain(|folder| folder.join(CONFIG).exists());
    if folders.is_empty() {
        bail!("{}: there is no run in this folder", flags.folder.display());
    }
    let runs: Vec<PastRun> = folders.iter().map(|folder| PastRun::read(folder)).collect();
    let differing = differing(&runs);
    let rows: Vec<Value> = runs.iter().map(|run| run.row(&differing)).collect();
    if flags.json {
        return rows.iter().try_for_each(out::line);
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or(f64::NAN)),
        Value::Null => "-".to_string(),
        other => other.to_string(),
    };
    let setting = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        other => text(other),
    };
    let titles = COLUMNS.into_iter().chain(differing.iter().map(String::as_str));
    let mut table: Vec<Vec<String>> = vec![titles.map(str::to_string).collect()];
    table.extend(rows.iter().map(|row| {
        let figures = COLUMNS.iter().map(|name| text(&row[*name]));
        figures.chain(differing.iter().map(|name| setting(&row["settings"][name]))).collect()
    }));
    if let Some(file) = &flags.html {
        let curves: Vec<(String, History)> =
            runs.iter().map(|run| (run.name.clone(), run.history())).collect();
        let page = report::compared(&format!("Runs in {}", flags.folder.display()), &table, &curves);
        kiln_files::write(file, page).with_context(|| file.display().to_string())?;
        out::note(format_args!("{}: {} beside each other", file.display(), out::counted(runs.len(), "run")));
    }
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out::line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// The settings that aren't the same in all runs.
fn differing(runs: &[PastRun]) -> Vec<String> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let differs = |name: &&String| {
        let mut values = runs.iter().map(|run| run.settings.get(*name));
        let first = values.next().flatten();
        !PLACES.contains(&name.as_str()) && values.any(|value| value != first)
    };
    names.into_iter().filter(differs).cloned().collect()
}

/// The numbers of each epoch of a run, as its folder has them.
pub fn past_history(folder: &Path) -> History {
    PastRun::read(folder).history()
}

/// What a model that goes on with texts said in a run, with the epoch after which it did.
pub fn past_samples(folder: &Path) -> Vec<(u64, String)> {
    let said = |epoch: &Map<String, Value>| {
        Some((epoch.get("epoch")?.as_u64()?, epoch.get("sample")?.as_str()?.to_string()))
    };
    PastRun::read(folder).epochs.iter().filter_map(said).collect()
}

impl PastRun {
    /// Of a folder; what can't be read in it is left out.
    fn read(folder: &Path) -> PastRun {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        PastRun {
            name: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            settings: text(CONFIG).parse().unwrap_or_default(),
            epochs: text("metrics.jsonl")
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
            result: serde_json::from_str(&text("result.json")).unwrap_or_default(),
        }
    }

    fn series(&self, name: &str) -> Vec<f64> {
        self.epochs.iter().filter_map(|epoch| epoch.get(name)?.as_f64()).collect()
    }

    /// The numbers of its epochs that are drawn.
    fn history(&self) -> History {
        let mut history = History::default();
        for epoch in &self.epochs {
            let is_drawn = |(name, value): &(&String, &Value)| {
                !["epoch", "step", "seconds"].contains(&name.as_str()) && !value.is_string()
            };
            let own = epoch.iter().filter(is_drawn);
            let numbers = own.map(|(name, value)| (name.clone(), value.as_f64().unwrap_or(f64::NAN)));
            history.record_all(&numbers.collect::<Vec<_>>());
        }
        history
    }

    fn row(&self, differing: &[String]) -> Value {
        let losses = match self.series("val_loss") {
            empty if empty.is_empty() => self.series("loss"),
            losses => losses,
        };
        let test = &self.result["test"];
        let figure = ["accuracy", "r2", "perplexity"].into_iter().find(|name| test[*name].is_number());
        let said = |name: &String| {
            let value = self.settings.get(name).map(|value| json!(value));
            (name.clone(), value.unwrap_or_default())
        };
        json!({
            "run": self.name,
            "epochs": self.epochs.len(),
            "seconds": self.epochs.last().map_or_else(|| self.result["seconds"].clone(), |epoch| epoch["seconds"].clone()),
            "val_loss": losses.iter().copied().reduce(f64::min).or(self.result["val"]["loss"].as_f64()),
            "figure": figure,
            "test": figure.map(|name| test[name].clone()),
            "curve": sparkline(&losses, 24),
            "settings": differing.iter().map(said).collect::<Map<_, _>>(),
        })
    }
}
