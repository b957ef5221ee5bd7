//! Images: digits that are made, the files of MNIST, folders and lists of pictures.

use std::path::Path;

use anyhow::{Result, bail};
use kiln_learn::data::{self, Augment, Augmented, Dataset, Gallery, Pictures, Set, stratified};
use kiln_learn::model::{Task, listed};
use kiln_learn::preparation::ImagePreparation;

use super::{Habits, Ties, TrainingData, counts, cut, name_of, shares};
use crate::base::Base;
use crate::out::counted;
use crate::report::Shows;
use crate::settings::{Settings, Share};

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
    clip: None,
};

/// How many digits are made where no data are named.
const DIGITS: usize = 12_000;

pub(super) fn made_digits(settings: &Settings, seed: u64, base: Option<&Base>) -> Result<TrainingData> {
    let set = adopted(data::digits(DIGITS, seed), base)?;
    let parts = stratified(&set.labels()?, &shares(settings, 0.1), seed)?;
    let task = Task::of(&set);
    let [train, valid, test] = cut(set, parts)?;
    let mut said = vec![
        format!("no data named: {DIGITS} handwritten-style digits of 28 × 28, made from seed {seed}"),
        counts(&*train, &*valid, &*test),
    ];
    let images = images(&*train, base)?;
    let train = varied(train, &images, settings, false, &mut said)?;
    Ok(TrainingData {
        ties: Ties::Free,
        name: "digits".to_string(),
        said,
        train,
        valid,
        test,
        task,
        shows: Shows::Images(images.size),
        preparation: images.into(),
        front: String::new(),
        habits: IMAGES,
    })
}

pub(super) fn mnist(
    path: &Path,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let found = "the files of MNIST (or a set like it)";
    known(path, found, data::mnist(path)?, IMAGES, settings, seed, base)
}

pub(super) fn cifar10(
    path: &Path,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let habits = Habits { epochs: 15, ..IMAGES };
    known(path, "CIFAR-10", data::cifar10(path)?, habits, settings, seed, base)
}

/// A set that has a part to test with.
fn known(
    path: &Path,
    found: &str,
    (set, test): (Set, Set),
    habits: Habits,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let (set, test) = (adopted(set, base)?, adopted(test, base)?);
    let valid = settings.val_fraction.unwrap_or(Share(0.1)).0;
    let parts = stratified(&set.labels()?, &[1.0 - valid, valid, 0.0], seed)?;
    let task = Task::of(&set);
    let [train, valid, _] = cut(set, parts)?;
    let &[_, height, width] = train.x().shape.as_slice() else { bail!("images have three axes") };
    let classes = test.y().codes().unwrap_or(0);
    let mut said = vec![
        format!("{found}: images of {height} × {width}, {}", counted(classes, "class")),
        counts(&*train, &*valid, &test),
    ];
    let images = images(&*train, base)?;
    let train = varied(train, &images, settings, false, &mut said)?;
    Ok(TrainingData {
        ties: Ties::Free,
        name: name_of(path),
        said,
        train,
        valid,
        test: Box::new(test),
        task,
        shows: Shows::Images(images.size),
        preparation: images.into(),
        front: String::new(),
        habits,
    })
}

/// How pictures become rows: their size and channels, how bright the ground of these is, and what only the model knows that a training
/// starts from.
fn images(set: &dyn Dataset, base: Option<&Base>) -> Result<ImagePreparation> {
    let crop = base.and_then(|base| base.images().ok()).and_then(|images| images.crop);
    Ok(ImagePreparation { crop, ..ImagePreparation::fit(set)? })
}

/// A set as the model takes it that a training starts from.
fn adopted(set: Set, base: Option<&Base>) -> Result<Set> {
    match base {
        Some(base) => base.adopt(set),
        None => Ok(set),
    }
}

/// Training images, varied as is asked for; photos, which come as files with colours, a little where nothing is said.
fn varied(
    train: Box<dyn Dataset>,
    images: &ImagePreparation,
    settings: &Settings,
    are_files: bool,
    said: &mut Vec<String>,
) -> Result<Box<dyn Dataset>> {
    let augment = match settings.augment.as_deref() {
        Some("none") => return Ok(train),
        Some(text) => text.parse::<Augment>()?,
        // What is frozen sees the same in each epoch then, and is computed once.
        None if settings.freeze.is_some() => return Ok(train),
        None if are_files && images.size.channels == 3 => images.light_changes(),
        None => return Ok(train),
    };
    let ground = images.ground.unwrap_or_default();
    let mend = if settings.augment.is_none() { " (--augment says otherwise, or none)" } else { "" };
    said.push(format!("training images are varied: {augment}{mend}"));
    Ok(Box::new(Augmented::new(train, augment, ground.round() as u8)?))
}

/// How pictures are read.
pub(super) fn pictures(settings: &Settings, base: Option<&Base>) -> Result<Pictures> {
    let mut pictures = match base {
        Some(base) => base.images()?.pictures(),
        None => Pictures::new(),
    };
    if let Some(side) = settings.image_size {
        pictures = pictures.side(side.0);
    }
    if settings.grey == Some(true) {
        pictures = pictures.grey();
    }
    if settings.strict == Some(true) {
        pictures = pictures.strict();
    }
    Ok(pictures)
}

/// A folder of images for each class, in a folder or an archive.
pub(super) fn by_class(
    kind: &str,
    path: &Path,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let known = ["test-fraction", "val-fraction", "image-size", "grey", "strict", "augment"];
    settings.only(kind, &known)?;
    gallery(path, pictures(settings, base)?.folder(path)?, settings, seed, base)
}

pub(super) fn gallery(
    path: &Path,
    gallery: Gallery,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let left_out = gallery.left_out();
    let (set, size) = (adopted(gallery.set, base)?, gallery.size);
    let mut said = vec![format!(
        "{} of {} ({}), used as {} × {} {}",
        counted(set.len(), "image"),
        counted(set.names().len(), "class"),
        listed(set.names()),
        size.width,
        size.height,
        if size.channels == 1 { "in grey" } else { "in colour" },
    )];
    said.extend(left_out);
    let parts = stratified(&set.labels()?, &shares(settings, 0.1), seed)?;
    let task = Task::of(&set);
    let [train, valid, test] = cut(set, parts)?;
    let images = images(&*train, base)?;
    said.push(counts(&*train, &*valid, &*test));
    let train = varied(train, &images, settings, true, &mut said)?;
    let habits = Habits { epochs: 20, ..IMAGES };
    Ok(TrainingData {
        ties: Ties::Free,
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        shows: Shows::Images(images.size),
        preparation: images.into(),
        front: String::new(),
        habits,
    })
}
