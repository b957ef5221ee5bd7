//! Texts: long ones, to learn what comes next, and many short ones with a class each.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use kiln_learn::Preparation;
use kiln_learn::data::{self, ColumnKind, Cut, Dataset, Tokens, Windows, stratified};
use kiln_learn::model::Task;
use kiln_learn::preparation::TextPreparation;
use kiln_learn::presets::{self, Preset, Suits};

use super::cuts::keys;
use super::{Habits, Ties, TrainingData, counts, cut, name_of, shares};
use crate::base::Base;
use crate::out::counted;
use crate::reading::ReadingFlags;
use crate::report::Shows;
use crate::settings::{Settings, Share};

pub(super) const TEXTS: Habits = Habits {
    preset: "gru",
    epochs: 10,
    batch_size: 8,
    rate: 3e-3,
    optimizer: "adamw",
    schedule: "warmup 50, cosine",
    decay: 0.01,
    early_stop: 5,
    smoothing: 0.0,
    clip: Some(1.0),
};

/// Different characters that are kept.
const CHARACTERS: usize = 1000;

/// Pieces of a text that goes on that are seen at once, unless told otherwise: as many, or so small a share of a text that its parts have some
/// windows each.
const WINDOW: usize = 256;
const SHARES: usize = 80;

/// About how many pieces make one step.
const PIECES: usize = 1024;

/// Pieces that are read of texts with classes.
const READ: usize = 128;

/// Words that are kept, of a text cut in words.
const WORDS: usize = 20_000;

/// The pieces of a text, as the settings say.
pub(super) fn tokens(text: &str, settings: &Settings, habit: Cut) -> Result<Tokens> {
    let (cut, most) = match settings.pieces.as_deref() {
        None if habit == Cut::Words => (habit, WORDS),
        None => (habit, CHARACTERS),
        Some("characters") => (Cut::Characters, CHARACTERS),
        Some("bytes") => (Cut::Bytes, 256),
        Some("words") => (Cut::Words, WORDS),
        Some(other) => match other.strip_prefix("learned ").and_then(|count| count.trim().parse().ok()) {
            Some(count) => (Cut::Merged, count),
            None => bail!("--pieces {other}: characters, bytes, words, or learned 1000 are known"),
        },
    };
    Ok(Tokens::fit(text, cut, most)?)
}

/// How pieces are called, where there are several.
pub(super) fn called(tokens: &Tokens) -> &'static str {
    match tokens.cut() {
        Cut::Characters => "characters",
        Cut::Bytes => "bytes",
        Cut::Words => "words",
        Cut::Merged => "learned pieces",
    }
}

/// Whether the layers that will be trained know where sequences end.
pub(super) fn is_padded(settings: &Settings, suits: Suits, habit: &str, tokens: &Tokens) -> Result<bool> {
    let layers = match &settings.layers {
        Some(layers) => layers.clone(),
        None => {
            let preset = settings.preset.as_deref().unwrap_or(habit);
            presets::layers(preset, suits, &[WINDOW], tokens.count())?
        }
    };
    Ok(layers.split([',', ' ', '(', ')', ';']).any(|word| word == "padded"))
}

/// A long text, to learn what comes next.
pub(super) fn text(
    path: &Path,
    text: &str,
    settings: &Settings,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let (tokens, given) = match base.map(|base| (base.preparation(), base)) {
        Some((Preparation::Text(text), _)) if text.columns.is_none() => {
            (text.tokens.clone(), Some(text.window))
        }
        Some((_, base)) => bail!("{}, and {} is a text", base.takes(), path.display()),
        None => {
            let tokens =
                tokens(text, settings, Cut::Characters).with_context(|| path.display().to_string())?;
            (tokens, settings.window.map(|window| window.0))
        }
    };
    let codes = tokens.encode(text);
    let preset = settings.preset.as_deref().and_then(|name| Preset::of(name, Suits::Texts));
    let most = preset.and_then(|preset| preset.window).unwrap_or(WINDOW);
    let window = given.unwrap_or((codes.len() / SHARES).clamp(8, most));
    let said = format!(
        "a text of {}: {} {} of {}; learning what comes next",
        counted(text.chars().count(), "character"),
        codes.len(),
        called(&tokens),
        counted(tokens.count(), "kind")
    );
    let all = Windows::new(codes, tokens.count(), window).map_err(|error| error.in_file(path))?;
    let shares = shares(
        &Settings { test_fraction: Some(settings.test_fraction.unwrap_or(Share(0.05))), ..settings.clone() },
        0.05,
    );
    let (first, test) = all.split(1.0 - shares[2])?;
    let (train, valid) = first.split(shares[0] / (shares[0] + shares[1]))?;
    let said = vec![said, format!("windows of {window}: {}", counts(&train, &valid, &test))];
    Ok(TrainingData {
        ties: Ties::Free,
        name: name_of(path),
        said,
        task: Task::of(&train),
        train: Box::new(train.moved()),
        valid: Box::new(valid),
        test: Box::new(test),
        preparation: TextPreparation::new(tokens, window).into(),
        front: String::new(),
        shows: Shows::Nothing,
        habits: Habits { batch_size: (PIECES / window).clamp(8, 32), ..TEXTS },
    })
}

/// A table of texts with classes.
pub(super) fn texts(
    path: &Path,
    piped: Option<&[u8]>,
    settings: &Settings,
    seed: u64,
    base: Option<&Base>,
) -> Result<TrainingData> {
    let (Some(column), Some(target)) = (&settings.text, &settings.target) else {
        bail!("--text needs --target, the column of classes");
    };
    let reading = match base.map(|base| base.preparation()) {
        Some(Preparation::Text(TextPreparation { columns: Some(columns), .. })) => columns.reading(),
        _ => ReadingFlags::of(settings).reading()?.kind(column, ColumnKind::Category),
    };
    let table = match piped {
        Some(bytes) => reading.read(bytes)?,
        None => reading.open(path)?,
    };
    let texts = table.column(column)?;
    let classes = table.column(target)?;
    let (seen, rows) = (table.len(), Vec::from_iter(0..table.len()));
    let known = keys(classes, &rows);
    let parts = stratified(&known, &shares(settings, 0.1), seed)?;
    let (tokens, window) = match base.map(|base| (base.preparation(), base)) {
        Some((Preparation::Text(text), _)) if text.columns.is_some() => (text.tokens.clone(), text.window),
        Some((_, base)) => bail!("{}, and {} has texts with classes", base.takes(), path.display()),
        None => {
            // Words are those of the texts that are trained on.
            let all: String = parts[0]
                .iter()
                .filter_map(|&row| texts.cell(row).text())
                .flat_map(|text| [text, "\n".into()])
                .collect();
            let tokens = tokens(&all, settings, Cut::Words).with_context(|| path.display().to_string())?;
            (tokens, settings.window.map_or(READ, |window| window.0))
        }
    };
    let habits = Habits { preset: "words", epochs: 40, batch_size: 32, rate: 1e-3, clip: None, ..TEXTS };
    let padded = match base.map(|base| base.preparation()) {
        Some(Preparation::Text(text)) => text.padded,
        _ => is_padded(settings, Suits::Sorted, habits.preset, &tokens)?,
    };
    let mut set = data::labelled(&table, column, target, &tokens, window, padded)?;
    if let Some(base) = base {
        set = base.with_classes(set)?;
    }
    let task = Task::of(&set);
    let [train, valid, test] = cut(set, parts)?;
    let mut said = table.notes().to_vec();
    said.extend([
        format!(
            "{} with {} of {target}, {} different {} in training",
            counted(seen, "text"),
            counted(train.names().len(), "class"),
            tokens.count(),
            called(&tokens)
        ),
        counts(&*train, &*valid, &*test),
    ]);
    let preparation = TextPreparation::new(tokens, window).with_columns(column, target).padded(padded);
    let preparation = preparation.of_file(table.file_format()).into();
    Ok(TrainingData {
        ties: Ties::Free,
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        preparation,
        front: String::new(),
        shows: Shows::Nothing,
        habits,
    })
}
