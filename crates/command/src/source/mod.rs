//! What the data are: found from the path, said aloud, and cut in parts to train on, to validate with and to test with.

mod cuts;
mod frame;
mod image;
mod pairs;
mod series;
mod skew;
mod table;
mod tags;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln_learn::Preparation;
use kiln_learn::data::{self, Dataset, FileKind, PictureArchive, Set};
use kiln_learn::model::Task;
use kiln_learn::presets::{Preset, Suits};

pub use series::{SeriesData, load as series};
pub use table::{NUMBERS, numbers};

use super::base::Base;
use super::folder::scratch;
use super::large::{self, LargeTable, PipedTable};
use super::reading::{READING, ReadingFlags};
use super::report::Shows;
use super::rows::is_standard_input;
use super::settings::{Settings, Share};

/// Data that are ready to train on.
pub struct TrainingData {
    /// A short name, for the run's folder.
    pub name: String,
    /// What was found, a line each.
    pub said: Vec<String>,
    pub train: Box<dyn Dataset>,
    pub valid: Box<dyn Dataset>,
    pub test: Box<dyn Dataset>,
    pub task: Task,
    /// How raw data become rows, for the model's file.
    pub preparation: Preparation,
    /// What stands in front of the layers that are chosen: vectors for columns of codes.
    pub front: String,
    /// How rows of the test part are shown to people.
    pub shows: Shows,
    pub habits: Habits,
    /// Which of the training rows belong together.
    pub ties: Ties,
}

/// Which rows belong together, in folds too.
pub enum Ties {
    /// None do.
    Free,
    /// Those of the same number.
    Groups(Vec<i64>),
    /// Earlier ones come before later ones.
    Times(Vec<f64>),
    /// Some do, and it isn't known which.
    Unknown,
}

impl Ties {
    /// The part of each row where rows that belong together are to stay so, of so many parts; nothing where they may be cut anywhere.
    pub fn parts(&self, count: usize) -> Option<Vec<u8>> {
        let in_order = |order: Vec<usize>| {
            let mut parts = vec![0; order.len()];
            order.iter().enumerate().for_each(|(at, &row)| parts[row] = (at * count / order.len()) as u8);
            parts
        };
        match self {
            Ties::Free | Ties::Unknown => None,
            Ties::Groups(keys) => {
                let folds = data::grouped_folds(keys, count, super::settings::DEFAULT_SEED).ok()?;
                let mut parts = vec![0; keys.len()];
                for (part, (_, held)) in (0..).zip(&folds) {
                    held.iter().for_each(|&row| parts[row] = part);
                }
                Some(parts)
            }
            Ties::Times(times) => {
                let mut order: Vec<usize> = (0..times.len()).collect();
                order.sort_by(|&a, &b| times[a].total_cmp(&times[b]));
                (order.len() >= count).then(|| in_order(order))
            }
        }
    }
}

impl TrainingData {
    /// For each of some folds the training rows that are trained on and those that are held out, as rows belong together.
    pub fn folds(&self, count: usize, seed: u64) -> Result<Vec<(Vec<usize>, Vec<usize>)>> {
        Ok(match &self.ties {
            Ties::Free => {
                let form = self.train.y();
                let is_classes = form.codes().is_some() && form.width() == 1;
                let labels = is_classes.then(|| self.train.labels()).transpose()?;
                data::folds(self.train.len(), labels.as_deref(), count, seed)?
            }
            Ties::Groups(keys) => data::grouped_folds(keys, count, seed)?,
            Ties::Times(times) => data::folds_forward(times, count)?,
            Ties::Unknown => bail!(
                "folds of a table that takes more memory than a file may don't keep rows together as --group and --time say; leave --k-fold out, \
                 or give it more memory (--limit bytes=…)"
            ),
        })
    }
}

/// What suits such data, where nothing else is said.
pub struct Habits {
    pub preset: &'static str,
    pub epochs: u64,
    pub batch_size: usize,
    pub rate: f64,
    pub optimizer: &'static str,
    pub schedule: &'static str,
    pub decay: f64,
    pub early_stop: u64,
    pub smoothing: f64,
    /// The most the norm of gradients may be, where that helps.
    pub clip: Option<f64>,
}

/// The data of a path; made digits without one.
pub fn load(settings: &Settings, base: Option<&Base>) -> Result<TrainingData> {
    if base.is_some() {
        // How raw data become rows is the model's.
        let own =
            ["ignore", "embed", "columns", "numbers", "frame", "image-size", "grey", "pieces", "window"];
        settings.only_without_base(&[&own[..], &READING].concat())?;
    }
    let seed = settings.seed.map_or(super::settings::DEFAULT_SEED, |seed| seed.0);
    let Some(path) = &settings.data else {
        settings.only("the digits", &["test-fraction", "val-fraction", "augment"])?;
        return image::made_digits(settings, seed, base);
    };
    if is_standard_input(path) {
        let piped = large::standard_input(&scratch(settings.out.as_deref()))?;
        if is_text_that_goes_on(settings) {
            let text = match piped {
                PipedTable::Bytes(bytes) => data::text_of(bytes).context("the standard input")?,
                PipedTable::File(file) => data::read_text(file.path()).context("the standard input")?,
            };
            settings.only("a text", &TEXT)?;
            return text::text(path, &text, settings, base);
        }
        return match piped {
            PipedTable::Bytes(bytes) => tabular(path, Some(&bytes), settings, seed, base),
            PipedTable::File(file) => {
                let source = tabular(file.path(), None, settings, seed, base)?;
                Ok(TrainingData { name: name_of(path), ..source })
            }
        };
    }
    if !path.exists() {
        bail!("{}: there is no such file or folder", path.display());
    }
    if path.is_dir() {
        let ready = ["val-fraction", "augment"];
        if data::is_mnist(path) {
            settings.only("a folder of MNIST's files", &ready)?;
            return image::mnist(path, settings, seed, base);
        }
        if data::is_cifar10(path) {
            settings.only("a folder of CIFAR-10's files", &ready)?;
            return image::cifar10(path, settings, seed, base);
        }
        return image::by_class("a folder of images", path, settings, seed, base);
    }
    if settings.member.is_none() && holds_pictures(path) {
        return image::by_class("an archive of images", path, settings, seed, base);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    match plain.rsplit_once('.').map_or("", |(_, extension)| extension) {
        extension if TABLES.contains(&extension) => tabular(path, None, settings, seed, base),
        "kdf" => {
            one_place_for_each_part(settings)?;
            settings.only("a frame", &["test-fraction", "val-fraction", "test", "val"])?;
            if base.is_some() {
                bail!(
                    "{}: a frame has a preparation of its own, and --from another; name the table",
                    path.display()
                );
            }
            frame::frame(path, settings, seed)
        }
        "conll" | "conllu" | "conllx" | "bio" | "iob" | "iob2" => tagged(path, settings, seed, base),
        "txt" | "text" | "md" if tags::is_tagged(path)? => tagged(path, settings, seed, base),
        "txt" | "text" | "md" => {
            settings.only("a text", &TEXT)?;
            text::text(path, &data::read_text(path)?, settings, base)
        }
        _ => match data::file_kind(path)? {
            FileKind::Table => tabular(path, None, settings, seed, base),
            FileKind::Known(kind) => bail!("{}: this is {kind}, {NONE}", path.display()),
            FileKind::Unknown => bail!("{}: this is {NONE}", path.display()),
        },
    }
}

/// Whether a file is a zip archive of pictures. What is wrong with one is said where it is read.
pub fn holds_pictures(path: &Path) -> bool {
    let archive = PictureArchive::open(path).ok().flatten();
    archive.is_some_and(|archive| archive.holds_pictures())
}

/// What can be said of a text that goes on.
const TEXT: [&str; 4] = ["pieces", "window", "test-fraction", "val-fraction"];

/// Whether what comes in is a text, which no name tells from a table: where something is said that is of texts that go on alone.
fn is_text_that_goes_on(settings: &Settings) -> bool {
    let is_for_texts =
        settings.preset.as_deref().is_some_and(|name| Preset::of(name, Suits::Texts).is_some());
    settings.text.is_none() && (settings.pieces.is_some() || settings.window.is_some() || is_for_texts)
}

/// Sentences with a tag for each word.
fn tagged(path: &Path, settings: &Settings, seed: u64, base: Option<&Base>) -> Result<TrainingData> {
    one_place_for_each_part(settings)?;
    let known = ["pieces", "window", "test-fraction", "val-fraction", "test", "val"];
    settings.only("sentences with tags", &known)?;
    tags::tags(path, settings, seed, base)
}

/// What could be trained on.
const NONE: &str = "no table (.csv, .tsv, .jsonl, .json, .xlsx, .parquet, .feather, also .gz, .zst, .zip), no frame (.kdf), no text (.txt, .md), no sentences with tags (.conll, .conllu), no folder of images (or .zip of one) and no TOML file";

/// How names of tables end.
pub const TABLES: [&str; 14] = [
    "csv", "tsv", "tab", "jsonl", "ndjson", "json", "parquet", "feather", "arrow", "arrows", "xlsx", "xlsm",
    "zip", "psv",
];

/// A table of texts, of paths of images, or of what is predicted from its columns; of a file, or of bytes that came in.
fn tabular(
    path: &Path,
    piped: Option<&[u8]>,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let parts = ["target", "test-fraction", "val-fraction"];
    one_place_for_each_part(settings)?;
    if settings.pairs == Some(true) {
        let own = ["text", "pairs", "pieces", "window"];
        settings.only("pairs of texts", &[&parts[..], &own, &READING].concat())?;
        return pairs::pairs(path, piped, settings, seed, base);
    }
    if settings.text.is_some() {
        settings.only("a table of texts", &[&parts[..], &["text", "pieces", "window"], &READING].concat())?;
        return text::texts(path, piped, settings, seed, base);
    }
    if let Some(column) = &settings.images {
        let pictures = ["images", "image-size", "grey", "strict", "augment"];
        settings.only("a table of images", &[&parts[..], &pictures, &READING].concat())?;
        let labels = settings.target.as_deref().context("--images needs --target, the column of labels")?;
        let reading = ReadingFlags::of(settings).reading()?;
        let gallery = image::pictures(settings, base)?.reading(reading).list(path, column, labels)?;
        return image::gallery(path, gallery, settings, seed, base);
    }
    let columns = [
        &["task", "target-scale", "order", "interval", "ignore", "embed", "columns", "numbers"][..],
        &READING,
    ]
    .concat();
    if let Some(frame) = &settings.frame {
        settings
            .only("a table by way of a frame", &[&parts[..], &columns, &["frame", "test", "val"]].concat())?;
        return frame::framed(path, frame, settings, seed);
    }
    let reading = ReadingFlags::of(settings).reading()?;
    if let (None, Some(large)) = (piped, LargeTable::of(path, &reading)) {
        settings.only(
            "a table that takes more memory than a file may (--limit bytes=…)",
            &[&parts[..], &columns, &["group", "time", "test", "val"]].concat(),
        )?;
        return frame::unasked(path, &large, settings, seed, base);
    }
    settings.only("a table", &[&parts[..], &columns, &["group", "time", "test", "val"]].concat())?;
    table::table(path, piped, settings, seed, base)
}

/// Refuses what says twice where a part comes from.
fn one_place_for_each_part(settings: &Settings) -> Result<()> {
    if let (Some(_), Some(_)) = (&settings.test, settings.test_fraction) {
        bail!("--test and --test-fraction both say what is tested with; leave one out");
    }
    if let (Some(_), Some(_)) = (&settings.val, settings.val_fraction) {
        bail!("--val and --val-fraction both say what is validated with; leave one out");
    }
    Ok(())
}

/// Shares for training, validation and testing; none of a part that comes from a file of its own.
pub fn shares(settings: &Settings, valid: f64) -> [f64; 3] {
    let own = |file: &Option<PathBuf>, share: f64| if file.is_some() { 0.0 } else { share };
    let test = own(&settings.test, settings.test_fraction.unwrap_or(Share(0.2)).0);
    let valid = own(&settings.val, settings.val_fraction.unwrap_or(Share(valid)).0 * (1.0 - test));
    [1.0 - test - valid, valid, test]
}

/// A set's parts by row numbers.
fn cut(set: Set, parts: Vec<Vec<usize>>) -> Result<[Box<dyn Dataset>; 3]> {
    let mut parts = parts.into_iter().map(|rows| Box::new(set.clone().subset(rows)) as Box<dyn Dataset>);
    let mut next = || parts.next().context("there are three parts");
    Ok([next()?, next()?, next()?])
}

pub fn counts(train: &dyn Dataset, valid: &dyn Dataset, test: &dyn Dataset) -> String {
    format!("{} to train on, {} to validate with, {} to test with", train.len(), valid.len(), test.len())
}

/// The file's or folder's own name, without what follows the first point.
pub fn name_of(path: &Path) -> String {
    if is_standard_input(path) {
        return "stdin".to_string();
    }
    let path: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("data").to_string()
}
