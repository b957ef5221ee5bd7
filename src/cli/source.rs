//! What the data are: found from the path, said aloud, and cut in parts to train on, to watch and to test with.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln::data::{
    self, Augment, Augmented, Choices, Cut, Dataset, Frame, Framing, Gallery, ImageSize, Pictures,
    Preparation, Rng, Set, Table, Target, TargetKind, Tokens, Treatment, Windows, by_time, edge_brightness,
    fractions, grouped, stratified,
};
use kiln::model::Task;
use serde_json::Value;

use super::report::Shows;
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
    /// What stands in front of the layers that are chosen: vectors for columns of codes.
    pub front: String,
    /// How rows of the test part are shown to people.
    pub shows: Shows,
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

const TABLES: Habits = Habits {
    preset: "mlp",
    epochs: 150,
    batch_size: 32,
    rate: 3e-3,
    optimizer: "adamw",
    schedule: "cosine",
    decay: 0.01,
    early_stop: 60,
    smoothing: 0.0,
};

const TEXTS: Habits = Habits {
    preset: "wavenet",
    epochs: 10,
    batch_size: 32,
    rate: 3e-3,
    optimizer: "adamw",
    schedule: "warmup 50, cosine",
    decay: 0.01,
    early_stop: 0,
    smoothing: 0.0,
};

/// Pieces of a text that are seen at once, unless told otherwise.
const WINDOW: usize = 64;

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
        if data::is_mnist(path) {
            return mnist(path, settings, seed);
        }
        return gallery(path, pictures(settings).folder(path)?, settings, seed);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    match plain.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "csv" | "tsv" | "tab" | "jsonl" | "ndjson" if settings.text.is_some() => texts(path, settings, seed),
        "csv" | "tsv" | "tab" | "jsonl" | "ndjson" => table(path, settings, seed),
        "txt" | "text" | "md" => text(path, settings),
        _ => bail!(
            "{}: this is no table (.csv, .tsv, .jsonl, also .gz), no text (.txt, .md), no folder of images and no TOML file",
            path.display()
        ),
    }
}

/// Names a column to predict usually has.
const TARGETS: [&str; 5] = ["target", "label", "class", "y", "species"];

/// How a table's columns are read and used, as the settings say.
fn choices(table: &Table, settings: &Settings, said: &mut Vec<String>) -> Result<(String, Choices)> {
    let target = match &settings.target {
        Some(target) => target.clone(),
        None => {
            let named = TARGETS
                .iter()
                .find_map(|wanted| table.names().find(|name| name.eq_ignore_ascii_case(wanted)));
            let target = named.or(table.names().last()).context("a table has columns")?;
            said.push(format!("predicting the column {target}; --target says another"));
            target.to_string()
        }
    };
    let choices = with_flags(Choices::new().target(&target), settings)?;
    Ok((target, choices))
}

/// What flags say of columns.
fn with_flags(mut choices: Choices, settings: &Settings) -> Result<Choices> {
    match settings.task.as_deref() {
        None => {}
        Some("classes") => choices = choices.target_kind(TargetKind::Classes),
        Some("number") => choices = choices.target_kind(TargetKind::Number),
        Some(other) => bail!("--task is classes or number, not {other}"),
    }
    for column in settings.ignore.iter().flat_map(|columns| columns.split(',')) {
        choices = choices.treat(column.trim(), Treatment::Drop);
    }
    for column in settings.embed.iter().flat_map(|columns| columns.split(',')) {
        choices = choices.treat(column.trim(), Treatment::Codes);
    }
    Ok(choices)
}

fn table(path: &Path, settings: &Settings, seed: u64) -> Result<Source> {
    if let Some(column) = &settings.images {
        let labels = settings.target.as_deref().context("--images needs --target, the column of labels")?;
        return gallery(path, pictures(settings).list(path, column, labels)?, settings, seed);
    }
    if let Some(frame) = &settings.frame {
        return framed(path, frame, settings, seed);
    }
    let table = Table::open(path)?;
    let mut said = vec![format!("a table of {} rows and {} columns", table.len(), table.columns().len())];
    said.extend(table.notes().iter().cloned());
    let (target, choices) = choices(&table, settings, &mut said)?;
    let column = table.column(&target)?;
    let rows = table.rows_with(&target)?;
    if rows.len() < table.len() {
        let missing = table.len() - rows.len();
        said.push(format!("{missing} rows are left out, because {target} is missing in them"));
    }
    // What the target is follows from all rows; what inputs are scaled by from those that are trained on.
    let whole = Preparation::fit(&table, &rows, &choices)?;
    let of_target = whole.target().context("a column to predict was chosen")?.clone();
    let shares = shares(settings, 0.2);
    let parts = match (&settings.group, &settings.time, &of_target) {
        (Some(_), Some(_), _) => bail!("--group and --time both say how rows are cut; leave one out"),
        (Some(name), ..) => {
            said.push(format!("rows with the same {name} stay in one part"));
            grouped(&keys(table.column(name)?, &rows), &shares, seed)?
        }
        (_, Some(name), _) => {
            said.push(format!("cut by {name}: the latest rows are tested with"));
            by_time(&moments(&table, name, &rows)?, &shares)?
        }
        (.., Target::Classes { names, .. }) => {
            let label = |&row: &usize| {
                let text = column.cell(row).text().unwrap_or_default();
                names.iter().position(|name| *name == text).unwrap_or(0) as i64
            };
            stratified(&rows.iter().map(label).collect::<Vec<_>>(), &shares, seed)?
        }
        (.., Target::Number { .. }) => fractions(rows.len(), &shares, seed)?,
    };
    let parts: Vec<Vec<usize>> = parts.iter().map(|part| part.iter().map(|&at| rows[at]).collect()).collect();
    if let Some(empty) =
        ["training", "validation", "test"].iter().zip(&parts).find(|(_, part)| part.is_empty())
    {
        bail!("{}: no row is left for the {} part", path.display(), empty.0);
    }
    let [first, watched, last] = parts.as_slice() else { bail!("a table is cut in three parts") };
    let mut preparation = Preparation::fit(&table, first, &choices)?;
    if let Target::Classes { .. } = of_target {
        preparation = preparation.with_target(of_target);
    }
    said.extend(preparation.notes().iter().cloned());
    let repeated = table.repeated(last, &[&first[..], watched].concat()).len();
    if repeated > 0 {
        said.push(format!(
            "{repeated} of the {} test rows also stand among the others: the test is easier for it",
            last.len()
        ));
    }
    let (task, found) = task_of(&preparation)?;
    said.push(found);
    let set = |rows: &[usize]| -> Result<Box<dyn Dataset>> { Ok(Box::new(preparation.apply(&table, rows)?)) };
    let (train, valid, test) = (set(first)?, set(watched)?, set(last)?);
    said.push(format!("{} columns become {} numbers a row", preparation.groups().len(), preparation.width()));
    said.push(counts(&*train, &*valid, &*test));
    let front = front(&preparation);
    let stored = serde_json::json!({ "table": serde_json::from_str::<Value>(&preparation.to_json()?)? });
    let rows = last.clone();
    let shows = Shows::Table { table: Box::new(table), rows, plan: Box::new(preparation) };
    Ok(Source {
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        preparation: stored,
        front,
        shows,
        habits: TABLES,
    })
}

/// A table of any size, by way of a frame. Which part a row is of follows from its number and the seed.
fn framed(path: &Path, to: &Path, settings: &Settings, seed: u64) -> Result<Source> {
    let target = settings.target.as_deref().context("--frame needs --target, the column to predict")?;
    let shares = shares(settings, 0.1);
    let part = move |row: u64| {
        let place = Rng::new(seed).derive(row).uniform();
        usize::from(place >= shares[0]) + usize::from(place >= shares[0] + shares[1])
    };
    let changed = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified()).ok();
    let mut said = Vec::new();
    let frame = if to.exists() && changed(to) >= changed(path) {
        said.push(format!("{}: the frame is younger than the table and used as it is", to.display()));
        Frame::open(to)?
    } else {
        let choices = with_flags(Choices::new().target(target), settings)?;
        Framing::new(choices).train(move |row| part(row) == 0).make(path, to)?
    };
    let plan = frame.preparation().context("the frame doesn't say how its rows were made")?.clone();
    let (task, found) = task_of(&plan)?;
    said.push(found);
    said.extend(plan.notes().iter().cloned());
    let mut parts = vec![Vec::new(); 3];
    (0..frame.len()).for_each(|row| parts[part(row as u64)].push(row));
    let frame = std::sync::Arc::new(frame);
    let mut parts = parts.into_iter().map(|rows| Box::new(frame.clone().subset(rows)) as Box<dyn Dataset>);
    let mut next = || parts.next().context("there are three parts");
    let (train, valid, test) = (next()?, next()?, next()?);
    said.push(counts(&*train, &*valid, &*test));
    let preparation = serde_json::json!({ "table": serde_json::from_str::<Value>(&plan.to_json()?)? });
    let front = front(&plan);
    let habits = Habits { epochs: 10, batch_size: 256, early_stop: 0, ..TABLES };
    Ok(Source {
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        preparation,
        front,
        shows: Shows::Nothing,
        habits,
    })
}

/// What is predicted, and how that is said.
fn task_of(plan: &Preparation) -> Result<(Task, String)> {
    match plan.target() {
        Some(Target::Classes { column, names }) => {
            Ok((Task::Classes { names: names.clone() }, format!("classes of {column}: {}", listed(names))))
        }
        Some(Target::Number { column, mean, deviation }) => {
            let (scale, offset) = (vec![*deviation], vec![*mean]);
            let said = format!("{column} is a number, {mean:.4} ± {deviation:.4}");
            Ok((Task::Numbers { names: vec![column.clone()], scale, offset }, said))
        }
        None => bail!("a table needs a column to predict"),
    }
}

/// A layer that makes vectors of codes, if columns are codes: about as long as the root of how many there are.
fn front(plan: &Preparation) -> String {
    let size = |count: usize| ((count as f64).sqrt().ceil() as usize + 1).clamp(2, 32);
    let columns: Vec<String> = plan
        .vocabularies()
        .iter()
        .map(|(_, words)| format!(" {}:{}", words.size(), size(words.size())))
        .collect();
    if columns.is_empty() { String::new() } else { format!("embed-columns{}, ", columns.concat()) }
}

/// A number for each row, the same where the column says the same.
fn keys(column: &data::Column, rows: &[usize]) -> Vec<i64> {
    let mut known = std::collections::HashMap::new();
    let mut key = |row: &usize| {
        let next = known.len() as i64;
        *known.entry(column.cell(*row).text().map(|text| text.into_owned())).or_insert(next)
    };
    rows.iter().map(&mut key).collect()
}

/// The time of each row, a number or a date.
fn moments(table: &Table, name: &str, rows: &[usize]) -> Result<Vec<f64>> {
    let column = table.column(name)?;
    let moment = |&row: &usize| match column.cell(row) {
        data::Cell::Number(number) => Ok(number),
        data::Cell::Date { seconds, .. } => Ok(seconds as f64),
        other => {
            let shown = other.text().unwrap_or("nothing".into()).into_owned();
            let line = table.line(row).map_or(String::new(), |line| format!(" (line {line})"));
            bail!("{name} must be a number or a date in every row to cut by; one says {shown}{line}")
        }
    };
    rows.iter().map(moment).collect()
}

/// A long text, to learn what comes next.
fn text(path: &Path, settings: &Settings) -> Result<Source> {
    let text = data::read_text(path)?;
    let tokens = Tokens::fit(&text, Cut::Characters, 1000).map_err(|error| error.in_file(path))?;
    let window = settings.window.map_or(WINDOW, |window| window.0);
    let codes = tokens.encode(&text);
    let said = format!(
        "a text of {} characters, {} of them different; learning what comes next",
        codes.len(),
        tokens.count() - 1
    );
    let all = Windows::new(codes, tokens.count(), window).map_err(|error| error.in_file(path))?;
    let shares = shares(
        &Settings { test_fraction: Some(settings.test_fraction.unwrap_or(Share(0.05))), ..settings.clone() },
        0.05,
    );
    let (first, test) = all.split(1.0 - shares[2])?;
    let (train, valid) = first.split(shares[0] / (shares[0] + shares[1]))?;
    let said = vec![said, format!("windows of {window}: {}", counts(&train, &valid, &test))];
    Ok(Source {
        name: name_of(path),
        said,
        task: Task::of(&train),
        train: Box::new(train.moved()),
        valid: Box::new(valid),
        test: Box::new(test),
        preparation: serde_json::json!({ "text": { "tokens": tokens, "window": window } }),
        front: String::new(),
        shows: Shows::Nothing,
        habits: TEXTS,
    })
}

/// A table of texts with classes.
fn texts(path: &Path, settings: &Settings, seed: u64) -> Result<Source> {
    let (Some(column), Some(target)) = (&settings.text, &settings.target) else {
        bail!("--text needs --target, the column of classes");
    };
    let table = Table::open(path)?;
    let texts = table.column(column)?;
    let classes = table.column(target)?;
    let (seen, rows) = (table.len(), Vec::from_iter(0..table.len()));
    let known = keys(classes, &rows);
    let parts = stratified(&known, &shares(settings, 0.1), seed)?;
    // Words are those of the texts that are trained on.
    let all: String = parts[0]
        .iter()
        .filter_map(|&row| texts.cell(row).text())
        .flat_map(|text| [text, "\n".into()])
        .collect();
    let tokens = Tokens::fit(&all, Cut::Words, 20_000).map_err(|error| error.in_file(path))?;
    let window = settings.window.map_or(WINDOW, |window| window.0);
    let set = data::labelled(&table, column, target, &tokens, window)?;
    let task = Task::of(&set);
    let [train, valid, test] = cut(set, parts)?;
    let said = vec![
        format!(
            "{seen} texts with {} classes of {target}, {} different words in training",
            train.names().len(),
            tokens.count() - 1
        ),
        counts(&*train, &*valid, &*test),
    ];
    let preparation = serde_json::json!({ "text": { "tokens": tokens, "window": window, "column": column, "target": target } });
    let habits = Habits { preset: "words", epochs: 15, rate: 1e-3, early_stop: 5, ..TEXTS };
    Ok(Source {
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

/// The first few names.
fn listed(names: &[String]) -> String {
    match names.len() {
        0..=8 => names.join(", "),
        count => format!("{}, … ({count})", names[..6].join(", ")),
    }
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
    let mut said = vec![
        format!("no data named: {DIGITS} handwritten-style digits of 28 × 28, made from seed {seed}"),
        counts(&*train, &*valid, &*test),
    ];
    let (preparation, shows, ground) = images(&*train)?;
    let train = varied(train, ground, settings, &mut said)?;
    Ok(Source {
        name: "digits".to_string(),
        said,
        train,
        valid,
        test,
        task,
        preparation,
        front: String::new(),
        shows,
        habits: IMAGES,
    })
}

fn mnist(path: &Path, settings: &Settings, seed: u64) -> Result<Source> {
    let (set, test) = data::mnist(path)?;
    let valid = settings.val_fraction.unwrap_or(Share(0.1)).0;
    let parts = stratified(&set.labels()?, &[1.0 - valid, valid, 0.0], seed)?;
    let task = Task::of(&set);
    let [train, valid, _] = cut(set, parts)?;
    let &[_, height, width] = train.x().shape.as_slice() else { bail!("images have three axes") };
    let classes = test.y().codes().unwrap_or(0);
    let mut said = vec![
        format!("the files of MNIST (or a set like it): images of {height} × {width}, {classes} classes"),
        counts(&*train, &*valid, &test),
    ];
    let (preparation, shows, ground) = images(&*train)?;
    let train = varied(train, ground, settings, &mut said)?;
    let name = name_of(path);
    Ok(Source {
        name,
        said,
        train,
        valid,
        test: Box::new(test),
        task,
        preparation,
        front: String::new(),
        shows,
        habits: IMAGES,
    })
}

fn counts(train: &dyn Dataset, valid: &dyn Dataset, test: &dyn Dataset) -> String {
    format!("{} to train on, {} to watch, {} to test with", train.len(), valid.len(), test.len())
}

/// How pictures become rows: their size and channels, and how bright the ground of these is.
fn images(set: &dyn Dataset) -> Result<(Value, Shows, f64)> {
    let &[channels, height, width] = set.x().shape.as_slice() else { bail!("images have three axes") };
    let rows: Vec<usize> = (0..set.len().min(200)).collect();
    let batch = set.gather(&rows)?;
    let pixels = batch.x.as_u8().unwrap_or_default();
    let size = ImageSize { channels, height, width };
    let edges = pixels.chunks(channels * height * width).map(|image| edge_brightness(image, size));
    let ground = edges.sum::<f64>() / rows.len().max(1) as f64;
    let about =
        serde_json::json!({ "channels": channels, "height": height, "width": width, "ground": ground });
    Ok((serde_json::json!({ "images": about }), Shows::Images(size), ground))
}

/// Training images, varied if that is asked for.
fn varied(
    train: Box<dyn Dataset>,
    ground: f64,
    settings: &Settings,
    said: &mut Vec<String>,
) -> Result<Box<dyn Dataset>> {
    match &settings.augment {
        None => Ok(train),
        Some(text) => {
            let augment: Augment = text.parse()?;
            said.push(format!("training images are varied: {augment}"));
            Ok(Box::new(Augmented::new(train, augment, ground.round() as u8)?))
        }
    }
}

/// How pictures are read.
fn pictures(settings: &Settings) -> Pictures {
    let mut pictures = Pictures::new();
    if let Some(side) = settings.image_size {
        pictures = pictures.side(side.0);
    }
    if settings.grey == Some(true) {
        pictures = pictures.grey();
    }
    if settings.strict == Some(true) {
        pictures = pictures.strict();
    }
    pictures
}

fn gallery(path: &Path, gallery: Gallery, settings: &Settings, seed: u64) -> Result<Source> {
    let (set, size) = (gallery.set, gallery.size);
    let mut said = vec![format!(
        "{} images of {} classes ({}), used as {} × {} {}",
        set.len(),
        set.names().len(),
        listed(set.names()),
        size.width,
        size.height,
        if size.channels == 1 { "in grey" } else { "in colour" },
    )];
    if !gallery.skipped.is_empty() {
        said.push(format!("{} files are left out, because they can't be read:", gallery.skipped.len()));
        said.extend(gallery.skipped.iter().take(10).map(|error| format!("  {error}")));
    }
    let parts = stratified(&set.labels()?, &shares(settings, 0.1), seed)?;
    let task = Task::of(&set);
    let [train, valid, test] = cut(set, parts)?;
    let (preparation, shows, ground) = images(&*train)?;
    said.push(counts(&*train, &*valid, &*test));
    let train = varied(train, ground, settings, &mut said)?;
    let habits = Habits { epochs: 20, ..IMAGES };
    Ok(Source {
        name: name_of(path),
        said,
        train,
        valid,
        test,
        task,
        preparation,
        front: String::new(),
        shows,
        habits,
    })
}

/// The file's or folder's own name, without what follows the first point.
fn name_of(path: &Path) -> String {
    let path: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("data").to_string()
}
