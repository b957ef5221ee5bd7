//! What a person names on the command line as rows for a model: files, folders, the standard input.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use kiln_learn::data::{self, Dataset, ImageSize, PICTURES, Picture, Set, Table};
use kiln_learn::model::About;
use kiln_learn::preparation::{ImagePreparation, Unanswered};
use kiln_learn::{Error, Model, Preparation};
use kiln_map::Budget;

use super::out;

/// A model that can be asked: one whose layers give what it is to say of a row.
pub fn asked(path: &Path) -> Result<Model> {
    let model = Model::load(path)?;
    model.check().with_context(|| path.display().to_string())?;
    Ok(model)
}

/// Data with the answers, to evaluate on. Without a path it is what made data would be.
pub fn with_answers(about: &About, path: Option<&Path>) -> Result<Box<dyn Dataset>> {
    let digits = ImageSize { channels: 1, height: 28, width: 28 };
    match (&about.preparation, path) {
        (Preparation::Table(plan), Some(path)) if is_standard_input(path) => {
            let table = plan.reading().read(&standard_input()?)?;
            let target =
                plan.target().context("the model's file doesn't say which column holds the answers")?;
            Ok(Box::new(plan.apply(&table, &table.rows_with(target.column())?)?))
        }
        (_, Some(path)) => {
            let answered = about.answered(path)?;
            answered.notes.iter().for_each(out::note);
            Ok(answered.set)
        }
        (Preparation::Images(images), None) if images.size == digits => {
            let seed = about.training.get("seed").and_then(|seed| seed.as_u64()).unwrap_or(0);
            out::note("no data named: 5000 digits, made anew");
            Ok(Box::new(data::digits(5000, seed.wrapping_add(1_000_003))))
        }
        (_, None) => bail!("say which data to evaluate on: kiln eval MODEL DATA"),
    }
}

/// Rows without answers, and what each of them is.
pub struct Questions {
    pub rows: Set,
    /// The file each row is from, for images.
    pub files: Vec<PathBuf>,
    /// The table the rows are from.
    pub table: Option<Table>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// The rows of some inputs: a table, pictures, folders of them, raw bytes, or `-` for what comes in by the standard input.
pub fn without_answers(about: &About, inputs: &[PathBuf]) -> Result<Questions> {
    if let Preparation::Images(images) = &about.preparation {
        return of_pictures(images, inputs);
    }
    let reading = about.reading()?;
    let [input] = inputs else { bail!("name one table (or - for the standard input)") };
    let table = match input.as_os_str() == "-" {
        true => reading.read(&standard_input()?)?,
        false => reading.open(input)?,
    };
    let Unanswered { rows, notes } = about.of_table(&table).map_err(|error| match error {
        // Faults in data say where they are.
        Error::Preparation(message) => anyhow!("{}: {message}", input.display()),
        other => other.into(),
    })?;
    Ok(Questions { rows, files: Vec::new(), table: Some(table), notes })
}

fn of_pictures(images: &ImagePreparation, inputs: &[PathBuf]) -> Result<Questions> {
    let (mut pixels, mut files, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for path in pictures(inputs)? {
        let (image, note) = image(&path, images)?;
        pixels.extend(image);
        notes.extend(note.map(|note| format!("{}: {note}", path.display())));
        files.push(path);
    }
    let Unanswered { rows, .. } = images.rows(pixels)?;
    Ok(Questions { rows, files, table: None, notes })
}

/// Whether a path stands for the standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

pub fn standard_input() -> Result<Vec<u8>> {
    Budget::default().read(std::io::stdin().lock()).context("the standard input can't be read")
}

/// The files, and those in folders.
fn pictures(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            all.push(input.clone());
            continue;
        }
        let is_picture = |path: &PathBuf| {
            let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
            extension.is_some_and(|extension| PICTURES.contains(&extension.as_str()))
        };
        let entries = std::fs::read_dir(input).with_context(|| input.display().to_string())?;
        let mut found: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_picture).collect();
        if found.is_empty() {
            bail!("{}: there are no pictures in this folder", input.display());
        }
        found.sort();
        all.extend(found);
    }
    Ok(all)
}

/// An image as the model takes it, and what was done to it.
fn image(path: &Path, images: &ImagePreparation) -> Result<(Vec<u8>, Option<String>)> {
    if path.as_os_str() == "-" {
        return Ok((images.raw(standard_input()?)?, None));
    }
    let length = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    match length == images.form().width() as u64 {
        true => Ok((images.raw(std::fs::read(path)?)?, None)),
        false => Ok(images.pixels(&Picture::open(path)?)),
    }
}
