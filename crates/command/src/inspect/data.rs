//! Data for looking at: tables, frames, texts, images.

use std::fmt::Write as _;
use std::path::Path;

use crate::out::counted;
use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{
    Cell, Column, ColumnKind, Dataset, Frame, ImageSize, Pictures, Table, TargetColumn, is_mnist, mnist,
};

pub fn frame(frame: &Frame) -> Result<String> {
    let names = frame.feature_names();
    let (x, y) = (frame.x(), frame.y());
    let mut text = format!(
        "{} of {}, stored as {:?}\n",
        counted(frame.len(), "prepared row"),
        counted(x.width(), "number"),
        x.kind
    );
    if let Some(plan) = frame.preparation() {
        let columns: Vec<String> = plan.groups().into_iter().map(|(name, _)| name).collect();
        writeln!(text, "columns   {}", columns.join(", "))?;
        match plan.target() {
            Some(TargetColumn::Classes { column, names, .. }) => {
                writeln!(text, "target    {column}, classes: {}", names.join(", "))?;
            }
            Some(TargetColumn::Number { column, .. }) => writeln!(text, "target    {column}, a number")?,
            Some(several) => writeln!(text, "targets   {}", several.columns().join(", "))?,
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
    for target in 0..y.width() {
        let answer = |&row: &usize| {
            // A class is a whole number; several targets are shown as inputs are.
            let value = rows.y.get(row * y.width() + target).unwrap_or(f64::NAN);
            if y.width() > 1 { format!("{value:>9.4}") } else { format!("{value:>9}") }
        };
        let answers = shown.iter().map(answer).collect::<String>();
        writeln!(text, "→{}  {answers}", " ".repeat(width.max(1) - 1))?;
    }
    Ok(text)
}

pub fn prose(text: &str) -> String {
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
        "{} of {}, {}, {}\nmost frequent: {}\n\n{}\n",
        counted(total, "character"),
        counted(kinds, "kind"),
        counted(text.split_whitespace().count(), "word"),
        counted(text.lines().count(), "line"),
        frequent.join(", "),
        first.join("\n")
    )
}

pub fn table(table: &Table) -> String {
    let mut text =
        format!("{}, {}\n\n", counted(table.len(), "row"), counted(table.columns().len(), "column"));
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

/// The columns of a table, for programs.
pub fn columns(table: &Table) -> Vec<serde_json::Value> {
    let one = |column: &Column| {
        let missing = (0..table.len()).filter(|&row| column.cell(row) == Cell::Missing).count();
        serde_json::json!({ "name": column.name(), "kind": column.kind(), "missing": missing })
    };
    table.columns().iter().map(one).collect()
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
                (numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / numbers.len() as f64).sqrt();
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

pub fn images(path: &Path) -> Result<String> {
    let mut text = String::new();
    let set = if is_mnist(path) {
        let (train, test) = mnist(path)?;
        writeln!(text, "{} to train on, {} to test with", counted(train.len(), "image"), test.len())?;
        train
    } else {
        let gallery = Pictures::new().folder(path)?;
        writeln!(text, "{}", counted(gallery.set.len(), "image"))?;
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
