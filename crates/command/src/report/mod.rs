//! The report of a run: one page that needs nothing else, with curves, figures, mistakes and settings; and its charts as files.

mod chart;
pub mod drawing;
pub mod forecast;
mod insight;
mod predictions;
mod raster;
mod series;
mod tables;
mod time_axis;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use kiln_learn::data::{Dataset, ImageSize, Table, TablePreparation, encode_png};
use kiln_learn::explain::KeptRows;
use kiln_learn::metrics::History;
use kiln_learn::selection::Leaderboard;

use super::folder::Folder;
use super::importance::Importances;
use super::insight::Insight;
use super::measure::{Measured, Of};
use super::out::counted;
use chart::{COLOURS, Chart, STYLE, Series};
use drawing::escape;

/// What a report tells of.
pub struct Told<'a> {
    pub title: String,
    pub said: &'a [String],
    pub layers: &'a str,
    pub parameters: usize,
    pub seconds: f64,
    pub history: &'a History,
    /// The training, validation and test part.
    pub parts: [Option<&'a Measured>; 3],
    pub test: &'a dyn Dataset,
    pub shows: &'a Shows,
    pub config: String,
    pub environment: String,
    pub importances: Option<&'a Importances>,
    /// How far it may be trusted.
    pub insight: Option<&'a Insight>,
    /// How many rows the three parts have.
    pub rows: [usize; 3],
    /// The columns that it takes.
    pub columns: Vec<String>,
    /// What models were chosen by, where there were several.
    pub board: Option<&'a Leaderboard>,
    /// What a model that goes on with texts said, with the epoch after which it did.
    pub samples: &'a [(u64, String)],
}

/// How a row of the test part is shown to people.
pub enum Shows {
    Images(ImageSize),
    Table {
        table: Box<Table>,
        /// The rows of the test part.
        rows: Vec<usize>,
        plan: Box<TablePreparation>,
        /// Rows of the training that the model's file is to keep.
        kept: Option<Box<KeptRows>>,
    },
    /// Words, each with those around it.
    Words(Vec<String>),
    /// By its number alone, of a table whose columns are known.
    Columns(Box<TablePreparation>),
    /// By its number alone.
    Nothing,
}

impl Shows {
    /// Whether rows are of columns, whose importances can be measured.
    pub fn has_columns(&self) -> bool {
        match self {
            Shows::Table { .. } | Shows::Columns(_) => true,
            Shows::Images(_) | Shows::Words(_) | Shows::Nothing => false,
        }
    }
}

/// Writes `report.html`, and the charts to `plots/`.
pub fn write(told: &Told, folder: &Folder) -> Result<()> {
    let mut charts = curves(told.history);
    let measured = told.parts[2].or(told.parts[1]).or(told.parts[0]);
    if let Some(measured) = measured {
        charts.extend(predictions::charts(measured));
    }
    charts.extend(told.insight.map_or(Vec::new(), |insight| insight::charts(&insight.dependences)));
    plots(&charts, folder)?;
    Ok(folder.write("report.html", page(told, &charts, measured)?)?)
}

/// How long a file's name may be, in bytes, before its number and kind.
const NAME: usize = 100;

/// Writes charts to `plots/`, each as SVG and as PNG, by what it is titled; of titles that would be one name the later ones get numbers.
fn plots(charts: &[Chart], folder: &Folder) -> Result<()> {
    folder.make("plots")?;
    let mut taken: Vec<String> = Vec::new();
    for chart in charts {
        let mut name = chart.title.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-");
        name.truncate(name.floor_char_boundary(NAME));
        let alike = taken.iter().filter(|other| **other == name).count();
        taken.push(name.clone());
        if alike > 0 {
            name += &format!("-{}", alike + 1);
        }
        folder.write(Path::new("plots").join(format!("{name}.svg")), chart.file())?;
        let (pixels, size) = chart.pixels();
        folder.write(Path::new("plots").join(format!("{name}.png")), encode_png(&pixels, size)?)?;
    }
    Ok(())
}

fn page(told: &Told, charts: &[Chart], measured: Option<&Measured>) -> Result<String> {
    let mut html = head(&told.title);
    for line in told.said {
        write!(html, "<p>{}</p>", escape(line))?;
    }
    html += "<section id=\"figures\"><h2>Figures</h2>";
    let known: Vec<(&str, &Measured)> = ["train", "validation", "test"]
        .into_iter()
        .zip(told.parts)
        .filter_map(|(name, part)| Some((name, part?)))
        .collect();
    html += &tables::figures(&known)?;
    if let Some(board) = told.board {
        html += "</section><section id=\"models\"><h2>Models</h2>";
        html += &tables::board(board)?;
    }
    html += "</section><section id=\"curves\"><h2>Charts</h2><div class=\"charts\">";
    for (place, chart) in charts.iter().enumerate() {
        html += &format!("<figure>{}</figure>", chart.svg());
        // Beside the first curve, that of the loss.
        if place == 0 {
            html += &samples(told.samples);
        }
    }
    html += "</div></section>";
    if let Some(measured) = measured {
        if measured.entities.kinds().next().is_some() {
            let table = escape(&super::figures::entity_table(&measured.entities));
            write!(html, "<section id=\"entities\"><h2>Entities</h2><pre>{table}</pre></section>")?;
        }
        match &measured.of {
            Of::Classes { names, confusion, .. } => html += &tables::classes(names, confusion, None)?,
            Of::Several(each) => {
                for one in each {
                    if let Of::Classes { names, confusion, .. } = &one.measured.of {
                        html += &tables::classes(names, confusion, Some(&one.name))?;
                    }
                }
            }
            Of::Numbers(_) | Of::Text => {}
        }
        html += &tables::mistakes(told, measured)?;
        if let Some(importances) = told.importances {
            html += &tables::importances(importances)?;
        }
    }
    if let Some(insight) = told.insight {
        html += &insight::sections(insight)?;
    }
    html += &insight::card(told, measured)?;
    html += &ending(told.layers, told.parameters, told.seconds, (&told.config, &told.environment))?;
    Ok(html)
}

/// The end of a page: the model, and what repeats the run.
fn ending(
    layers: &str,
    parameters: usize,
    seconds: f64,
    (config, environment): (&str, &str),
) -> Result<String> {
    let mut html = String::new();
    writeln!(
        html,
        "<section id=\"model\"><h2>Model</h2><p>{}, trained in {seconds:.1} s.</p><pre>{}</pre></section>\
         <section id=\"config\"><h2>Settings</h2><pre>{}</pre><details><summary>Environment</summary><pre>{}</pre></details></section>\
         <footer>made by kiln {}</footer></main></body></html>",
        counted(parameters, "parameter"),
        escape(&layers.replace(", ", "\n")),
        escape(config),
        escape(environment),
        env!("CARGO_PKG_VERSION")
    )?;
    Ok(html)
}

/// What a model said from epoch to epoch.
fn samples(samples: &[(u64, String)]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let said =
        |(epoch, text): &(u64, String)| format!("<dt>{epoch}</dt><dd>{}</dd>", escape(text.trim_end()));
    let said: String = samples.iter().map(said).collect();
    format!(
        "<figure class=\"samples\"><figcaption>What it says after each epoch</figcaption><dl>{said}</dl></figure>"
    )
}

/// The page of several runs beside each other: a table that is given, and a chart for each number that any of them has.
pub fn compared(title: &str, table: &[Vec<String>], runs: &[(String, History)]) -> String {
    let mut names: Vec<&String> = runs.iter().flat_map(|(_, history)| history.names()).collect();
    names.sort();
    names.dedup();
    let mut html = head(title) + "<div class=\"scroll\"><table>";
    for (row, cells) in table.iter().enumerate() {
        let cell = if row == 0 { "th" } else { "td" };
        let cells = cells.iter().map(|text| format!("<{cell}>{}</{cell}>", escape(text)));
        html += &format!("<tr>{}</tr>", cells.collect::<String>());
    }
    html += "</table></div><section id=\"curves\"><h2>Charts</h2><div class=\"charts\">";
    for name in names {
        let chart = runs.iter().fold(Chart::new(name, "epoch", name), |chart, (run, history)| {
            chart.with(Series::line(run, by_epoch(history, name)))
        });
        html += &format!("<figure>{}</figure>", chart.svg());
    }
    html + "</div></section></main></body></html>"
}

/// The beginning of a page.
fn head(title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><link rel=\"icon\" href=\"data:,\"><style>{COLOURS}{PAGE}{STYLE}</style></head><body><main><h1>{title}</h1>",
        title = escape(title)
    )
}

/// A number of each epoch that has it, epochs counted from 1.
fn by_epoch(history: &History, name: &str) -> Vec<(f64, f64)> {
    let numbers = history.series(name).unwrap_or_default();
    numbers.iter().enumerate().map(|(epoch, number)| (epoch as f64 + 1.0, *number)).collect()
}

/// What the page looks like.
const PAGE: &str = "*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:1180px;margin:0 auto;padding:1.2rem}h1{font-size:1.6rem;margin:.4rem 0}h2{font-size:1.15rem;margin:2rem 0 .6rem}p{margin:.2rem 0;color:var(--soft)}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:1rem}figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:.6rem}\
svg{width:100%;height:auto;display:block}.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
th{font-weight:600}.matrix td{text-align:center;min-width:2.6rem}.wrong{display:flex;flex-wrap:wrap;gap:.8rem}.wrong figure{text-align:center;font-size:.85rem}\
.wrong img{width:84px;height:84px;image-rendering:pixelated;display:block;margin:0 auto .3rem}pre{overflow-x:auto;background:color-mix(in srgb,var(--line) 35%,transparent);padding:.8rem;border-radius:8px;font-size:.85rem}\
.samples{display:flex;flex-direction:column;min-height:18rem}.samples figcaption{font-size:14px;font-weight:600}\
.samples dl{flex:1 1 0;overflow:auto;margin:.4rem 0 0;display:grid;grid-template-columns:max-content 1fr;gap:.3rem .8rem;align-content:start;font-size:.85rem}\
.samples dt{color:var(--soft);text-align:right;font-variant-numeric:tabular-nums}.samples dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-family:ui-monospace,monospace}\
.board th:first-child{text-align:left}.dots{width:260px;height:18px;display:inline-block;vertical-align:middle}.dots circle{fill:var(--c0);opacity:.55}.dots path{stroke:var(--ink);stroke-width:2}\
.bar{display:inline-block;height:.8em;background:var(--c0);border-radius:2px;vertical-align:middle}.card{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem}.card dt{font-weight:600}.card dd{margin:0}.blank{display:block;border-bottom:1px solid var(--line);height:1.4em}footer{margin:2.5rem 0 1rem;color:var(--soft);font-size:.85rem}";

/// A metric's name as a title; one of a target starts with the target's name, which stays as it is.
fn titled(name: &str) -> String {
    let is_of_target = name.split('.').skip(1).any(|part| part.starts_with(char::is_alphabetic));
    let mut rest = name.chars();
    match rest.next() {
        Some(first) if !is_of_target => first.to_uppercase().chain(rest).collect(),
        _ => name.to_string(),
    }
}

/// Losses, metrics and the rate from epoch to epoch.
fn curves(history: &History) -> Vec<Chart> {
    let mut charts = Vec::new();
    let names = history.names();
    // A target's own name may begin so: `val_x.r2` is of the rows trained on where there is `val_val_x.r2`.
    let of_training = |name: &str| {
        let own = name.strip_prefix("val_").filter(|_| history.series(&format!("val_{name}")).is_none());
        own.unwrap_or(name).to_string()
    };
    for (place, full) in names.iter().enumerate() {
        let (name, held) = (of_training(full), format!("val_{}", of_training(full)));
        // Some numbers are of the validation part alone.
        if names[..place].iter().any(|before| of_training(before) == name) {
            continue;
        }
        let title = match name.as_str() {
            "loss" => "Loss".to_string(),
            "rate" => "Learning rate".to_string(),
            other => titled(other),
        };
        let mut chart = Chart::new(&title, "epoch", &name);
        let has_held = history.series(&held).is_some();
        if history.series(&name).is_some() {
            let called = if has_held { "training" } else { "" };
            chart = chart.with(Series::line(called, by_epoch(history, &name)));
        }
        if has_held {
            chart = chart.with(Series::line("validation", by_epoch(history, &held)));
        }
        charts.push(chart);
    }
    charts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_begin_large_and_leave_the_names_of_targets() {
        for (name, title) in [
            ("accuracy", "Accuracy"),
            ("f0.5", "F0.5"),
            ("übergang", "Übergang"),
            ("kind.accuracy", "kind.accuracy"),
            ("Übergang.f0.5", "Übergang.f0.5"),
            ("", ""),
        ] {
            assert_eq!(titled(name), title);
        }
    }
}
