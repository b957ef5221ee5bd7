//! `kiln inspect`: what a model or data are made of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use kiln::data::{self, Cell, Column, ColumnKind, Dataset, Frame, ImageSize, Pictures, Table, Target};
use kiln::model::Task;
use kiln::prelude::*;
use kiln::{Model, Summary};

use super::rows::Way;

/// Look at a model or at data
///
/// Of a model: its layers with sizes, parameters and operations, what goes in, what comes out, how it was trained. Of a table: its columns
/// with kinds, ranges and missing values, the classes, the first rows; of a frame of prepared rows the same. Of images: sizes, classes, and
/// some of them drawn. Of a text: its length, its characters, how it begins.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln inspect runs/heart-1/model.kiln
  kiln inspect model.kiln --show program        the kernels of one prediction, with times
  kiln inspect model.kiln --show dot | dot -Tsvg > model.svg
  kiln inspect heart.csv
  kiln inspect data/mnist")]
pub struct Flags {
    /// A model's file, a table, a frame, a text, or a folder of images
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
    let is_model = matches!(extension.as_str(), "kiln" | "json");
    let text = match (is_model, flags.show) {
        (true, Some(what)) => show(&Model::load(path)?, what, flags.batch.max(1))?,
        (true, None) => model(&Model::load(path)?, flags.batch.max(1))?,
        (false, Some(_)) => bail!("--show is for models, and {} is none", path.display()),
        (false, None) if path.is_dir() => images(path)?,
        (false, None) => match extension.as_str() {
            "kdf" => frame(&Frame::open(path)?)?,
            "txt" | "text" | "md" => prose(&data::read_text(path)?),
            _ => table(&Table::open(path)?),
        },
    };
    print!("{text}");
    Ok(())
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

fn frame(frame: &Frame) -> Result<String> {
    let names = frame.feature_names();
    let (x, y) = (frame.x(), frame.y());
    let mut text =
        format!("{} prepared rows of {} numbers, stored as {:?}\n", frame.len(), x.width(), x.kind);
    if let Some(plan) = frame.preparation() {
        let columns: Vec<String> = plan.groups().into_iter().map(|(name, _)| name).collect();
        writeln!(text, "columns   {}", columns.join(", "))?;
        match plan.target() {
            Some(Target::Classes { column, names }) => {
                writeln!(text, "target    {column}, classes: {}", names.join(", "))?;
            }
            Some(target) => writeln!(text, "target    {}, a number", target.column())?,
            None => {}
        }
    }
    let shown: Vec<usize> = (0..frame.len().min(5)).collect();
    let rows = frame.gather(&shown)?;
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    writeln!(text)?;
    for (at, name) in names.iter().enumerate() {
        let cell = |&row: &usize| format!("{:>9.4}", rows.x.get(row * x.width() + at).unwrap_or(f64::NAN));
        let pad = " ".repeat(width - name.chars().count());
        writeln!(text, "{name}{pad}  {}", shown.iter().map(cell).collect::<String>())?;
    }
    let answer = |&row: &usize| format!("{:>9}", rows.y.get(row * y.width()).unwrap_or(f64::NAN));
    writeln!(
        text,
        "{}  {}",
        "→".to_string() + &" ".repeat(width.max(1) - 1),
        shown.iter().map(answer).collect::<String>()
    )?;
    Ok(text)
}

fn prose(text: &str) -> String {
    let mut counts = std::collections::HashMap::<char, usize>::new();
    text.chars().for_each(|c| *counts.entry(c).or_default() += 1);
    let total: usize = counts.values().sum();
    let mut counts: Vec<(char, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let kinds = counts.len();
    let frequent: Vec<String> = counts
        .iter()
        .take(12)
        .map(|(c, count)| format!("{c:?} {:.1} %", 100.0 * *count as f64 / total as f64))
        .collect();
    let first: Vec<&str> = text.lines().take(5).collect();
    format!(
        "{total} characters of {kinds} kinds, {} words, {} lines\nmost frequent: {}\n\n{}\n",
        text.split_whitespace().count(),
        text.lines().count(),
        frequent.join(", "),
        first.join("\n")
    )
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
