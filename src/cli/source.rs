//! What the data are: found from the path, said aloud, and cut in parts to train on, to watch and to test with.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln::data::{self, Dataset, Form, MNIST_FILES, Set, stratified};
use kiln::model::Task;
use serde_json::Value;

use super::settings::{Settings, Share};

/// Data that are ready to train on.
pub struct Source {
    /// A short name, for the run's folder.
    pub name: String,
    /// What was found, a line each.
    pub said: Vec<String>,
    pub train: Box<dyn Dataset>,
    pub valid: Box<dyn Dataset>,
    pub test: Box<dyn Dataset>,
    pub task: Task,
    /// How raw data become rows, for the model's file.
    pub preparation: Value,
    pub habits: Habits,
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
}

const IMAGES: Habits = Habits {
    preset: "cnn",
    epochs: 5,
    batch_size: 64,
    rate: 2e-3,
    optimizer: "adam",
    schedule: "one-cycle",
    decay: 0.0,
    early_stop: 0,
    smoothing: 0.0,
};

/// How many digits are made where no data are named.
const DIGITS: usize = 12_000;

/// The data of a path; made digits without one.
pub fn load(settings: &Settings) -> Result<Source> {
    let seed = settings.seed.map_or(super::train::SEED, |seed| seed.0);
    let Some(path) = &settings.data else { return made_digits(settings, seed) };
    if !path.exists() {
        bail!("{}: there is no such file or folder", path.display());
    }
    if path.is_dir() {
        let is_mnist = |name: &&str| path.join(name).exists() || path.join(format!("{name}.gz")).exists();
        if MNIST_FILES.iter().any(|name| is_mnist(&name)) {
            return mnist(path, settings, seed);
        }
        bail!(
            "{}: this folder has neither MNIST's files nor a folder of images for each class",
            path.display()
        );
    }
    bail!("{}: this is no table, folder of images, text or TOML file", path.display())
}

/// Shares for training, watching and testing.
fn shares(settings: &Settings, valid: f64) -> [f64; 3] {
    let test = settings.test_fraction.unwrap_or(Share(0.2)).0;
    let valid = settings.val_fraction.unwrap_or(Share(valid)).0 * (1.0 - test);
    [1.0 - test - valid, valid, test]
}

/// A set's parts by row numbers.
fn cut(set: Set, parts: Vec<Vec<usize>>) -> Result<[Box<dyn Dataset>; 3]> {
    let mut parts = parts.into_iter().map(|rows| Box::new(set.clone().subset(rows)) as Box<dyn Dataset>);
    let mut next = || parts.next().context("there are three parts");
    Ok([next()?, next()?, next()?])
}

fn made_digits(settings: &Settings, seed: u64) -> Result<Source> {
    let set = data::digits(DIGITS, seed);
    let parts = stratified(&set.labels()?, &shares(settings, 0.1), seed)?;
    let task = Task::of(&set);
    let [train, valid, test] = cut(set, parts)?;
    let said = vec![
        format!("no data named: {DIGITS} handwritten-style digits of 28 × 28, made from seed {seed}"),
        counts(&*train, &*valid, &*test),
    ];
    let preparation = images(&train.x());
    Ok(Source { name: "digits".to_string(), said, train, valid, test, task, preparation, habits: IMAGES })
}

fn mnist(path: &Path, settings: &Settings, seed: u64) -> Result<Source> {
    let (set, test) = data::mnist(path)?;
    let valid = settings.val_fraction.unwrap_or(Share(0.1)).0;
    let parts = stratified(&set.labels()?, &[1.0 - valid, valid, 0.0], seed)?;
    let task = Task::of(&set);
    let [train, valid, _] = cut(set, parts)?;
    let &[_, height, width] = train.x().shape.as_slice() else { bail!("images have three axes") };
    let classes = test.y().codes().unwrap_or(0);
    let said = vec![
        format!("the files of MNIST (or a set like it): images of {height} × {width}, {classes} classes"),
        counts(&*train, &*valid, &test),
    ];
    let preparation = images(&train.x());
    let name = name_of(path);
    Ok(Source { name, said, train, valid, test: Box::new(test), task, preparation, habits: IMAGES })
}

fn counts(train: &dyn Dataset, valid: &dyn Dataset, test: &dyn Dataset) -> String {
    format!("{} to train on, {} to watch, {} to test with", train.len(), valid.len(), test.len())
}

/// How pictures become rows: their size and channels.
fn images(form: &Form) -> Value {
    match form.shape.as_slice() {
        &[channels, height, width] => {
            serde_json::json!({ "images": { "channels": channels, "height": height, "width": width } })
        }
        _ => Value::Null,
    }
}

/// The file's or folder's own name, without what follows the first point.
fn name_of(path: &Path) -> String {
    let path: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("data").to_string()
}
