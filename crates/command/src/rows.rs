//! What a person names on the command line as rows for a model: files, folders, the standard input.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use kiln_learn::data::{
    self, Augment, Dataset, Framing, ImageSize, Picture, PictureArchive, PictureFile, PictureFiles, Set,
    Table,
};
use kiln_learn::model::{About, Answered, Views};
use kiln_learn::preparation::{ImagePreparation, Unanswered};
use kiln_learn::{Error, Model, Preparation};
use kiln_map::Budget;

use super::large::{self, LargeTable, PipedTable};
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
            match large::standard_input(&std::env::temp_dir())? {
                PipedTable::File(file) => with_answers(about, Some(file.path())),
                PipedTable::Bytes(bytes) => {
                    let table = plan.reading().read(&bytes)?;
                    let target = plan
                        .target()
                        .context("the model's file doesn't say which column holds the answers")?;
                    Ok(Box::new(plan.apply(&table, &table.rows_with_all(&target.columns())?)?))
                }
            }
        }
        (Preparation::Table(plan), Some(path)) if let Some(large) = LargeTable::of(path, &plan.reading()) => {
            Ok(Box::new(large.frame(
                Framing::prepared((**plan).clone()),
                path,
                &std::env::temp_dir(),
                false,
            )?))
        }
        (Preparation::Images(_), Some(path)) if is_standard_input(path) => {
            bail!("pictures with their classes come in a folder or an archive, not by the standard input")
        }
        (Preparation::Text(_) | Preparation::Tags(_) | Preparation::Pairs(_), Some(path))
            if is_standard_input(path) =>
        {
            let file = large::piped(&std::env::temp_dir())?;
            let called = file.path().display().to_string();
            let named = |error: Error| anyhow!(error.to_string().replace(&called, "the standard input"));
            noted(about.answered(file.path()).map_err(named)?)
        }
        (_, Some(path)) => noted(about.answered(path)?),
        (Preparation::Images(images), None) if images.size == digits => {
            let seed = about.training.get("seed").and_then(|seed| seed.as_u64()).unwrap_or(0);
            out::note("no data named: 5000 digits, made anew");
            Ok(Box::new(data::digits(5000, seed.wrapping_add(1_000_003))))
        }
        (_, None) => bail!("say which data to evaluate on: kiln eval MODEL DATA"),
    }
}

/// Data with what a person should know of them said.
fn noted(answered: Answered) -> Result<Box<dyn Dataset>> {
    answered.notes.iter().for_each(out::note);
    Ok(answered.set)
}

/// How images are seen several times, of a model of images.
#[derive(Args)]
pub struct ViewFlags {
    /// See each image so often, varied after the first time, and answer by the mean
    #[arg(long, value_name = "N")]
    views: Option<usize>,

    /// How images are varied between views, as in training [default: moved a little; in colour also mirrored, brighter or darker]
    #[arg(long, value_name = "CHANGES", requires = "views")]
    augment: Option<String>,
}

impl ViewFlags {
    /// An error where views are asked of a model that takes something else than images, or prepares them by itself.
    pub fn check_none(&self) -> Result<()> {
        match self.views {
            Some(_) => bail!("--views is for models of images that kiln trained or imported"),
            None => Ok(()),
        }
    }

    /// The views that were asked for, if any were.
    pub fn views(&self, about: &About) -> Result<Option<Views>> {
        let Some(count) = self.views else { return Ok(None) };
        let Preparation::Images(images) = &about.preparation else {
            bail!("--views is for a model of images, and this one takes something else");
        };
        let augment = self.augment.as_deref().map(str::parse::<Augment>).transpose()?;
        let ground = images.ground.unwrap_or_default().round() as u8;
        Ok(Some(Views::new(count, augment.unwrap_or_else(|| images.light_changes()), ground)?))
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
    /// What is wrong with files that were left out.
    pub failed: Vec<String>,
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
    of_table(about, table, input)
}

/// The rows of a table that was read.
pub fn of_table(about: &About, table: Table, input: &Path) -> Result<Questions> {
    let Unanswered { rows, notes } = about.of_table(&table).map_err(|error| match error {
        // Faults in data say where they are.
        Error::Preparation(message) => anyhow!("{}: {message}", input.display()),
        other => other.into(),
    })?;
    Ok(Questions { rows, files: Vec::new(), table: Some(table), notes, failed: Vec::new() })
}

/// Pictures as rows. One that can't be read is left out, and the others go on.
fn of_pictures(images: &ImagePreparation, inputs: &[PathBuf]) -> Result<Questions> {
    let (mut pixels, mut files, mut notes, mut failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for file in pictures(inputs, &mut notes)? {
        match image(&file, images) {
            Ok((image, note)) => {
                pixels.extend(image);
                notes.extend(note.map(|note| format!("{}: {note}", file.path().display())));
                files.push(file.path().to_path_buf());
            }
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    let Unanswered { rows, .. } = images.rows(pixels)?;
    Ok(Questions { rows, files, table: None, notes, failed })
}

/// Whether a path stands for the standard input.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

pub fn standard_input() -> Result<Vec<u8>> {
    Budget::default().read(std::io::stdin().lock()).context("the standard input can't be read")
}

/// The text of a file or of the standard input, which is unpacked where it is packed.
pub fn text(input: &Path) -> Result<String> {
    match is_standard_input(input) {
        true => data::text_of(standard_input()?).context("the standard input"),
        false => Ok(data::read_text(input)?),
    }
}

/// The files, those in folders and the folders in them, and those in archives.
pub fn pictures(inputs: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<PictureFile>> {
    let mut all = Vec::new();
    for input in inputs {
        let (found, place) = match (is_standard_input(input), input.is_dir()) {
            (true, _) => {
                let bytes = standard_input()?;
                if !kiln_map::is_zip(&bytes) {
                    all.push(PictureFile::held("the standard input", bytes));
                    continue;
                }
                (PictureArchive::held("the standard input", bytes)?.map(|archive| archive.files()), "archive")
            }
            (false, true) => (Some(PictureFiles::in_folder(input)?), "folder"),
            // What can't be opened, or isn't what it seems, is said with the others.
            (false, false) => (archive(input).map(|archive| archive.files()), "archive"),
        };
        let Some(found) = found else {
            all.push(PictureFile::on_disk(input));
            continue;
        };
        if found.pictures.is_empty() {
            bail!("{}: there are no pictures in this {place}", input.display());
        }
        notes.extend(found.left_out());
        all.extend(found.pictures);
    }
    Ok(all)
}

/// An archive of pictures, where a file is one.
pub fn archive(input: &Path) -> Option<PictureArchive> {
    PictureArchive::open(input).ok().flatten().filter(PictureArchive::holds_pictures)
}

/// An image as the model takes it, and what was done to it: a picture, or exactly as many bytes as it has.
fn image(file: &PictureFile, images: &ImagePreparation) -> Result<(Vec<u8>, Option<String>)> {
    let bytes = file.contents()?;
    match bytes.len() == images.form().width() {
        true => Ok((images.raw(bytes)?, None)),
        false => Ok(images.pixels(&Picture::read(&bytes).map_err(|error| error.in_file(file.path()))?)),
    }
}
