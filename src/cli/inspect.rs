//! `kiln inspect`: what a model or data are made of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use kiln::data::{Cell, Column, ColumnKind, Dataset, ImageSize, Pictures, Table};
use kiln::model::Task;
use kiln::prelude::*;
use kiln::weights::Weights;
use kiln::{Model, Summary};

use super::rows::Way;

/// Look at a model, at weights or at data
///
/// Of a model: its layers with sizes, parameters and operations, what goes in, what comes out, how it was trained. Of a file of weights
/// (safetensors and their index, npz, npy, pt, pth): names, types and shapes. Of a table: its columns
/// with kinds, ranges and missing values, the classes, the first rows. Of images: sizes, classes, and some of them drawn.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln inspect runs/heart-1/model.kiln
  kiln inspect model.kiln --show program        the kernels of one prediction, with times
  kiln inspect model.kiln --show dot | dot -Tsvg > model.svg
  kiln inspect resnet18.pth
  kiln inspect heart.csv
  kiln inspect data/mnist")]
pub struct Flags {
    /// A model's file, weights, a table, or a folder of images
    what: PathBuf,

    /// Print what the model's prediction is made of
    #[arg(long, value_name = "WHAT")]
    show: Option<Show>,

    /// How many rows go through the model at once, for its sizes and --show
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
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

pub fn run(flags: Flags) -> Result<()> {
    let path = &flags.what;
    let extension =
        path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let file = match WEIGHTS.contains(&extension.as_str()) {
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
        (false, None, None) if path.is_dir() => images(path)?,
        (false, None, None) => table(&Table::open(path)?),
    };
    print!("{text}");
    Ok(())
}

/// How names of files of weights end.
const WEIGHTS: [&str; 9] = ["safetensors", "json", "npz", "npy", "pt", "pth", "bin", "ckpt", "state"];

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
    writeln!(text, "\n{} tensors, {numbers} numbers, {bytes} bytes", file.len())?;
    for (name, note) in file.notes() {
        writeln!(text, "{}: {}", printed(name, 72), printed(note, 120))?;
    }
    Ok(text)
}

/// A text of a file's on one line, and not too long.
fn printed(text: &str, most: usize) -> String {
    let plain = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    let cut = text.chars().take(most).map(plain).collect::<String>();
    if cut.len() < text.len() && text.chars().count() > most { cut + "…" } else { cut }
}

fn model(model: &Model, batch: usize) -> Result<String> {
    let about = model.about();
    let shape: Vec<usize> = std::iter::once(batch).chain(about.input.shape.iter().copied()).collect();
    let mut text = format!(
        "{}\n",
        Summary::of_type(model.layers(), shape.as_slice(), kiln::model::dtype(&about.input.form()))?
    );
    writeln!(text, "\nlayers    {}", about.layers)?;
    writeln!(text, "takes     {} numbers of type {}", shape_text(&about.input.shape), about.input.kind)?;
    match &about.task {
        Task::Classes { names } => writeln!(text, "tells     {} classes: {}", names.len(), names.join(", "))?,
        Task::Text { pieces } => writeln!(text, "tells     what comes next, of {pieces} pieces of text")?,
        Task::Numbers { names, .. } => writeln!(text, "predicts  {}", names.join(", "))?,
    }
    if let Way::Table(plan) = Way::of(model)? {
        let columns: Vec<String> = plan.groups().into_iter().map(|(name, _)| name).collect();
        writeln!(text, "columns   {}", columns.join(", "))?;
    }
    let trained: Vec<String> = about.training.iter().map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(text, "trained   {}", trained.join("  "))?;
    Ok(text)
}

fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

fn show(model: &Model, what: Show, batch: usize) -> Result<String> {
    let form = model.about().input.form();
    let shape: Vec<usize> = std::iter::once(batch).chain(form.shape.iter().copied()).collect();
    let x = kiln::Data::filled(kiln::model::dtype(&form), shape.iter().product(), 0i64.into());
    let mut function = Function::inference(model.layers(), |layers, cx, [x]| layers.forward(&x, cx));
    let input = || [Input::from_data(&x, &shape)];
    Ok(match what {
        Show::Graph => function.graph(input())?.to_string(),
        Show::Dot => kiln::ir::print::dot(&function.graph(input())?),
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

fn table(table: &Table) -> String {
    let mut text = format!("{} rows, {} columns\n\n", table.len(), table.columns().len());
    let names = table.names().map(|name| name.chars().count()).max().unwrap_or(0);
    for column in table.columns() {
        let missing = (0..table.len()).filter(|&row| column.cell(row) == Cell::Missing).count();
        let missing = if missing > 0 { format!("  {missing} missing") } else { String::new() };
        let pad = " ".repeat(names - column.name().chars().count());
        let _ = writeln!(
            text,
            "{}{pad}  {:8}  {}{missing}",
            column.name(),
            column.kind().to_string(),
            range(column)
        );
    }
    let _ = write!(text, "\n{}", table.head(5));
    for note in table.notes() {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// The range of numbers, or the most frequent words.
fn range(column: &Column) -> String {
    let cells = || (0..column.len()).map(|row| column.cell(row));
    match column.kind() {
        ColumnKind::Number => {
            let numbers: Vec<f64> = cells().filter_map(|cell| cell.number()).collect();
            if numbers.is_empty() {
                return "no value".to_string();
            }
            let (least, most) =
                numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            let spread =
                (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64).sqrt();
            format!("{least} to {most}, mean {mean:.4} ± {spread:.4}")
        }
        _ => {
            let mut counts = std::collections::BTreeMap::<String, usize>::new();
            for word in cells().filter_map(|cell| cell.text().map(|text| text.into_owned())) {
                *counts.entry(word).or_default() += 1;
            }
            let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
            counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            let shown: Vec<String> =
                counts.iter().take(5).map(|(word, count)| format!("{word} ({count})")).collect();
            let more =
                if counts.len() > 5 { format!(", … {} in all", counts.len()) } else { String::new() };
            shown.join(", ") + &more
        }
    }
}

fn images(path: &Path) -> Result<String> {
    let mut text = String::new();
    let set = if data::is_mnist(path) {
        let (train, test) = data::mnist(path)?;
        writeln!(text, "{} images to train on, {} to test with", train.len(), test.len())?;
        train
    } else {
        let gallery = Pictures::new().folder(path)?;
        writeln!(text, "{} images", gallery.set.len())?;
        for skipped in &gallery.skipped {
            writeln!(text, "left out: {skipped}")?;
        }
        gallery.set
    };
    let &[channels, height, width] = set.x().shape.as_slice() else { bail!("these are no images") };
    writeln!(text, "{width} × {height} pixels, {}", if channels == 1 { "grey" } else { "in colour" })?;
    let labels = set.labels()?;
    for (class, name) in set.names().iter().enumerate() {
        let count = labels.iter().filter(|label| **label == class as i64).count();
        let share = 100.0 * count as f64 / labels.len().max(1) as f64;
        writeln!(
            text,
            "  {name:>12}  {count:>7}  {share:5.1} %  {}",
            "▆".repeat((share / 2.0).round() as usize)
        )?;
    }
    let pixels = set.inputs().as_u8().context("images are bytes")?;
    let size = ImageSize { channels, height, width };
    for (image, label) in pixels.chunks(channels * height * width).zip(&labels).take(3) {
        let name = set.names().get(*label as usize).map_or("", String::as_str);
        writeln!(text, "\n{name}\n{}", drawn(image, size))?;
    }
    Ok(text)
}

/// An image in letters that grow darker, two rows of pixels to a line, at most 60 letters wide.
fn drawn(image: &[u8], size: ImageSize) -> String {
    const INK: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
    let step = size.width.div_ceil(60).max(1);
    let bright = |row: usize, column: usize| {
        let at = |channel: usize| {
            u32::from(image[(channel * size.height + row.min(size.height - 1)) * size.width + column])
        };
        (0..size.channels).map(at).sum::<u32>() / size.channels as u32
    };
    let mut text = String::new();
    for row in (0..size.height).step_by(2 * step) {
        for column in (0..size.width).step_by(step) {
            let value = (bright(row, column) + bright(row + step, column)) / 2;
            text.push(INK[value as usize * (INK.len() - 1) / 255]);
        }
        text = text.trim_end().to_string() + "\n";
    }
    text
}
