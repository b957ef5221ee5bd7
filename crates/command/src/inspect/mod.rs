//! `kiln inspect`: what a model or data are made of.

mod data;
mod folder;
mod forest;
mod series;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use kiln_learn::data::{Curve, Unit};
use kiln_learn::data::{Frame, Table, read_text};
use kiln_learn::forecast::ForecastPreparation;
use kiln_learn::hub;
use kiln_learn::model::{NETWORK, PartMeaning, Task, listed};
use kiln_learn::prelude::*;
use kiln_learn::weights::Weights;
use kiln_learn::{Model, Summary, onnx};
use kiln_map::shown;

use self::series::SeriesFlags;
use super::reading::{READING, ReadingFlags, open};
use super::rows::is_standard_input;
use super::source::holds_pictures;
use super::{import, out};
use crate::out::counted;

/// Look at a model, at weights or at data
///
/// Of a model: its layers with sizes, parameters and operations, what goes in, what comes out, how it was trained. Of a file of weights
/// (safetensors and their index, npz, npy, pt, pth): names, types and shapes. Of an ONNX file: what it takes, gives and has. Of a table: its columns with kinds, ranges and missing
/// values, the classes, the first rows, and where it is one of series how often they step, what is missing, which seasons there are; of a frame of
/// prepared rows the same but series. Of images: sizes, classes, and some of them drawn. Of a
/// text: its length, its characters, how it begins.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln inspect runs/heart-1/model.kiln
  kiln inspect model.kiln --show program        the kernels of one prediction, with times
  kiln inspect model.kiln --show dot | dot -Tsvg > model.svg
  kiln inspect resnet18.pth
  kiln inspect heart.csv
  kiln inspect verkauf.csv --decimal , --dates dmy
  kiln inspect sales.csv --time day --series store,item --target sold
  kiln inspect data/mnist")]
pub struct InspectFlags {
    /// A model's file, weights, an ONNX file, a table (- for the standard input), a frame, a text, a folder of images or of a language model, a GGUF file
    what: PathBuf,

    /// Print what the model's prediction is made of
    #[arg(long, value_name = "WHAT")]
    show: Option<Show>,

    /// How many rows go through the model at once, for its sizes and --show
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,

    #[command(flatten)]
    series: SeriesFlags,

    /// Print what a table holds as JSON, for programs
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reading: ReadingFlags,
}

impl InspectFlags {
    /// What a table holds.
    fn table(&self, table: &Table) -> Result<String> {
        let shown = self.series.shown(table)?;
        if self.json {
            let series = shown.as_ref().map(|shown| shown.json());
            let what =
                serde_json::json!({ "rows": table.len(), "columns": data::columns(table), "series": series });
            return Ok(serde_json::to_string_pretty(&what)? + "\n");
        }
        let series = shown.map_or(String::new(), |shown| format!("\n{}", shown.text()));
        Ok(data::table(table) + &series)
    }
}

/// What can be shown of a model.
#[derive(Clone, Copy, ValueEnum)]
enum Show {
    /// The operations, one a line
    Graph,
    /// The kernels they become, with sizes, bytes and measured times
    Program,
    /// Where intermediate results lie in memory, and when
    Memory,
    /// The graph for Graphviz
    Dot,
}

pub fn run(flags: InspectFlags) -> Result<()> {
    let path = &flags.what;
    let reading = flags.reading.reading()?;
    if is_standard_input(path) {
        return out::text(flags.table(&open(&reading, path)?)?);
    }
    if hub::is_model(path) {
        return out::text(folder::of_model(path)?);
    }
    let extension =
        path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_list = extension == "json" && is_list(path)?;
    let file = match WEIGHTS.contains(&extension.as_str()) && !is_list {
        true => Some(Weights::open(path)?),
        false => None,
    };
    // Models are files of weights too, with a description.
    let is_model = extension == "kiln" || file.as_ref().is_some_and(is_model);
    let text = match (is_model, flags.show, file) {
        (true, Some(what), _) => show(&Model::load(path)?, what, flags.batch.max(1))?,
        (true, None, _) => model(&Model::load(path)?, flags.batch.max(1))?,
        (false, Some(_), _) => bail!("--show is for models, and {} is none", path.display()),
        (false, None, Some(file)) => weights(&file)?,
        (false, None, None) if path.is_dir() || holds_pictures(path) => data::images(path)?,
        (false, None, None) => match extension.as_str() {
            "onnx" => import::about(&onnx::load(path)?),
            "kdf" => data::frame(&Frame::open(path)?)?,
            "txt" | "text" | "md" => data::prose(&read_text(path)?),
            _ => {
                let table = reading.open(path)?;
                return out::text(flags.table(&table)?);
            }
        },
    };
    if flags.json || !flags.series.is_empty() {
        bail!("{}: --json, --time, --series, --target and --frequency are for tables", path.display());
    }
    if !flags.reading.is_empty() {
        bail!("{}: --{} are for tables", path.display(), READING.join(", --"));
    }
    out::text(text)
}

/// How names of files of weights end.
const WEIGHTS: [&str; 9] = ["safetensors", "json", "npz", "npy", "pt", "pth", "bin", "ckpt", "state"];

/// Whether a file of JSON is a list, which is a table.
fn is_list(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(4096).read_to_end(&mut start))
        .with_context(|| path.display().to_string())?;
    Ok(start.trim_ascii_start().starts_with(b"["))
}

/// Whether a file describes layers: in the metadata as a whole, or member by member in JSON.
fn is_model(file: &Weights) -> bool {
    let about = |name: &str| file.notes().iter().find(|(note, _)| note == name).map(|(_, text)| text);
    let what = about("kiln").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    what.is_some_and(|what| what["what"] == "model") || about("what").is_some_and(|what| what == "\"model\"")
}

fn weights(file: &Weights) -> Result<String> {
    let (mut text, mut numbers, mut bytes) = (String::new(), 0usize, 0usize);
    let width = file.iter().map(|weight| printed(weight.name(), 72).chars().count()).max().unwrap_or(0);
    for weight in file.iter() {
        let name = printed(weight.name(), 72);
        writeln!(text, "{name:width$}  {:6}  {:?}", weight.element(), weight.shape())?;
        numbers = numbers.saturating_add(weight.elements());
        bytes = bytes.saturating_add(weight.elements().saturating_mul(weight.element().size()));
    }
    writeln!(
        text,
        "\n{}, {}, {}",
        counted(file.len(), "tensor"),
        counted(numbers, "number"),
        counted(bytes, "byte")
    )?;
    for (name, note) in file.notes() {
        writeln!(text, "{}: {}", printed(name, 72), printed(note, 120))?;
    }
    Ok(text)
}

/// A text of a file's on one line, and not too long.
fn printed(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => shown(&text[..end]) + "…",
        None => shown(text),
    }
}

fn model(model: &Model, batch: usize) -> Result<String> {
    let about = model.about();
    let shape: Vec<usize> = std::iter::once(batch).chain(about.input.shape.iter().copied()).collect();
    let mut text = format!(
        "{}\n",
        Summary::of_type(model.layers(), shape.as_slice(), kiln_learn::model::dtype(&about.input.form()))?
    );
    writeln!(text, "\nlayers    {}", about.layers)?;
    writeln!(text, "takes     {} numbers of type {}", shape_text(&about.input.shape), about.input.kind)?;
    match &about.task {
        Task::Classes { names } => {
            writeln!(text, "tells     {}: {}", counted(names.len(), "class"), listed(names))?;
            if let (Some(threshold), Some(second)) = (about.threshold, names.last()) {
                writeln!(text, "decides   {second} above a probability of {threshold:.4}")?;
            }
        }
        Task::Tags { names } => {
            writeln!(text, "gives     each word one of {}: {}", counted(names.len(), "tag"), listed(names))?
        }
        Task::Text { pieces } => {
            writeln!(text, "tells     what comes next, of {} of text", counted(*pieces, "piece"))?
        }
        // A line for each step would say the same as often.
        Task::Numbers { .. } if about.preparation.forecast().is_some() => {}
        Task::Numbers { .. } | Task::Several { .. } => {
            for part in about.task.parts() {
                match part.meaning {
                    PartMeaning::Classes(names) => {
                        let count = counted(names.len(), "class");
                        writeln!(text, "tells     {}, {count}: {}", part.name, listed(names))?;
                    }
                    PartMeaning::Number { unit, interval } => {
                        writeln!(text, "predicts  {}{}", part.name, learned_as(&unit, interval))?;
                    }
                }
            }
        }
    }
    for sets in about.sets.iter().flatten() {
        let (share, kind, rows) = (100.0 * sets.coverage, sets.kind.name(), counted(sets.rows, "row"));
        writeln!(
            text,
            "sets      of classes that hold the right one of {share:.4} % of all ({kind}, by {rows} held out)"
        )?;
    }
    if let Some(plan) = about.preparation.forecast() {
        text += &forecasts(plan);
    }
    if let Some(plan) = about.preparation.table() {
        let columns: Vec<String> = plan.groups().into_iter().map(|(name, _)| name).collect();
        writeln!(text, "columns   {}", columns.join(", "))?;
    }
    if let Some(kept) = &about.kept_rows {
        let kept = out::counted(kept.len(), "row");
        writeln!(
            text,
            "keeps     {kept} of the training with their answers (--keep-neighbours); whoever has the file can read them"
        )?;
    }
    if about.layers == NETWORK {
        // A summary has one row for all of it; these are the names that patterns are held against.
        for (name, param) in model.parameters() {
            writeln!(text, "has       {} {}", printed(&name, 72), param.shape())?;
        }
    }
    text += &forest::lines(model)?;
    let own = about
        .training
        .iter()
        .filter(|(name, _)| !["gains", "chosen", "calibration"].contains(&name.as_str()));
    let trained: Vec<String> = own.map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(text, "trained   {}", trained.join("  "))?;
    Ok(text)
}

/// What a model forecasts, and of what.
fn forecasts(plan: &ForecastPreparation) -> String {
    let mut text = format!(
        "forecasts {} of {}, {} by {}\n",
        counted(plan.horizon, "step"),
        plan.target,
        plan.frequency,
        plan.time
    );
    if !plan.keys.is_empty() {
        text += &format!("series    by {}\n", plan.keys.join(", "));
    }
    text += &format!("sees      {} of the past\n", counted(plan.window, "step"));
    if plan.period() > 1 {
        text += &format!("seasons   {} long\n", steps_of(&plan.periods));
    }
    let told: Vec<&str> = plan.calendar.iter().map(|part| part.name()).chain(plan.known_columns()).collect();
    if !told.is_empty() {
        text += &format!("is told   {}\n", told.join(", "));
    }
    if plan.log {
        text += "learns    by logarithms\n";
    }
    if let Some(bands) = &plan.bands {
        text += &format!("bounds    {:.4} % of values lie between them\n", 100.0 * bands.interval)
            .replace(".0000", "");
    }
    text
}

/// Lengths of seasons.
fn steps_of(periods: &[usize]) -> String {
    periods.iter().map(|period| counted(*period, "step")).collect::<Vec<_>>().join(", ")
}

fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

fn show(model: &Model, what: Show, batch: usize) -> Result<String> {
    let form = model.about().input.form();
    let shape: Vec<usize> = std::iter::once(batch).chain(form.shape.iter().copied()).collect();
    let x = kiln_learn::Data::filled(kiln_learn::model::dtype(&form), shape.iter().product(), 0i64.into());
    let mut function = Function::inference(model.layers(), |layers, cx, [x]| layers.forward(&x, cx));
    let input = || [Input::from_data(&x, &shape)];
    Ok(match what {
        Show::Graph => function.graph(input())?.to_string(),
        Show::Dot => kiln_learn::ir::print::dot(&function.graph(input())?),
        Show::Memory => function.program(input())?.memory_listing(),
        Show::Program => {
            let program = function.program(input())?;
            function.profile(true);
            let mut runs = Vec::new();
            for _ in 0..51 {
                function.run(input())?;
                runs.push(function.times());
            }
            let kernels = runs.first().map_or(0, Vec::len);
            let median = |kernel: usize| {
                let mut times: Vec<_> = runs.iter().map(|times| times[kernel]).collect();
                times.sort_unstable();
                times[times.len() / 2]
            };
            program.listing(&(0..kernels).map(median).collect::<Vec<_>>())
        }
    })
}

/// How a number is learned, where that isn't the plain way.
pub fn learned_as(unit: &Unit, interval: Option<f64>) -> String {
    let curve = match unit.curve {
        Curve::Straight => "",
        Curve::Log { .. } => ", learned by its logarithm",
        Curve::Count => ", a count",
    };
    match interval {
        Some(share) => {
            format!("{curve}, with an interval that holds {:.4} % of all", 100.0 * share).replace(".0000", "")
        }
        None => curve.to_string(),
    }
}
