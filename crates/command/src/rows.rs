//! Raw data as rows for a model that is trained: what was fitted in training is applied unchanged.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use kiln_learn::data::{
    self, Dataset, Form, ImageSize, PICTURES, Picture, Pictures, Set, Table, TablePreparation, Tokens,
    Windows, edge_brightness,
};
use kiln_learn::model::{NETWORK, Task};
use kiln_learn::{Model, nearest};
use kiln_map::Budget;
use serde_json::Value;

use super::out;
use super::source::listed;

/// How raw data become a model's rows.
pub enum Way {
    Table(Box<TablePreparation>),
    Images {
        size: ImageSize,
        /// The brightness of the edges of the images it was trained on.
        ground: f64,
        /// The share of a picture's shorter side that is seen; all of it, squeezed, without.
        crop: Option<f64>,
    },
    /// Columns of numbers, as they come.
    Numbers {
        width: usize,
    },
    Text {
        tokens: Tokens,
        window: usize,
        /// The column of texts, of a model that tells classes apart.
        column: Option<String>,
    },
    /// The model says nothing of it.
    None,
}

/// Darker edges than this are a dark ground, and brighter ones than 255 less this a bright one.
const DARK: f64 = 90.0;

/// A model that can be asked: one whose layers give what it is to say of a row.
pub fn asked(path: &Path) -> Result<Model> {
    let model = Model::load(path)?;
    model.check().with_context(|| path.display().to_string())?;
    Ok(model)
}

impl Way {
    /// What a model's file says.
    pub fn of(model: &Model) -> Result<Way> {
        let preparation = &model.about().preparation;
        if let Some(table) = preparation.get("table") {
            return Ok(Way::Table(Box::new(TablePreparation::from_json(&table.to_string())?)));
        }
        if let Some(text) = preparation.get("text") {
            let tokens: Tokens = serde_json::from_value(text["tokens"].clone())
                .context("the model's file doesn't say its pieces of text")?;
            let window =
                text["window"].as_u64().context("the model's file doesn't say how much text it sees")?
                    as usize;
            let input = &model.about().input;
            let is_empty = window == 0 || tokens.count() == 0;
            if is_empty || input.shape != [window] || input.codes != Some(tokens.count()) {
                bail!(
                    "the model's file says that it sees {window} of {} pieces of text, and its input is {:?} of {}",
                    tokens.count(),
                    input.shape,
                    input.codes.unwrap_or(0)
                );
            }
            return Ok(Way::Text { tokens, window, column: text["column"].as_str().map(str::to_string) });
        }
        let Some(images) = preparation.get("images") else {
            let form = model.about().input.form();
            return Ok(match (form.shape.as_slice(), form.codes()) {
                (&[width], None) => Way::Numbers { width },
                _ => Way::None,
            });
        };
        let number = |name: &str| images.get(name).and_then(Value::as_u64).map(|number| number as usize);
        match (number("channels"), number("height"), number("width")) {
            (Some(channels), Some(height), Some(width)) => {
                let input = &model.about().input.shape;
                if *input != [channels, height, width] {
                    bail!(
                        "the model's file says that its images are {:?} (channels, height, width), and its input is {input:?}",
                        [channels, height, width]
                    );
                }
                let ground = images.get("ground").and_then(Value::as_f64).unwrap_or(f64::NAN);
                let crop =
                    images.get("crop").and_then(Value::as_f64).filter(|crop| *crop > 0.0 && *crop <= 1.0);
                Ok(Way::Images { size: ImageSize { channels, height, width }, ground, crop })
            }
            _ => bail!("the model's file doesn't say how large its images are"),
        }
    }
}

/// Data with the answers, to evaluate on. Without a path it is what made data would be.
pub fn with_answers(model: &Model, path: Option<&Path>) -> Result<Box<dyn Dataset>> {
    match (Way::of(model)?, path) {
        (Way::Table(plan), Some(path)) => {
            let table = plan.reading().open(path)?;
            let target = plan.target().context(
                "the model's file doesn't say which column holds the answers; import it again with --target COLUMN",
            )?;
            let target = target.column().to_string();
            let rows = table.rows_with(&target)?;
            Ok(Box::new(plan.apply(&table, &rows)?))
        }
        (Way::Images { size, crop, .. }, Some(path)) => images(model, path, size, crop),
        (Way::Images { size: ImageSize { channels: 1, height: 28, width: 28 }, .. }, None) => {
            let seed = model.about().training.get("seed").and_then(Value::as_u64).unwrap_or(0);
            out::note("no data named: 5000 digits, made anew");
            Ok(Box::new(data::digits(5000, seed.wrapping_add(1_000_003))))
        }
        (Way::Text { tokens, window, column: None }, Some(path)) => {
            let codes = tokens.encode(&data::read_text(path)?);
            Ok(Box::new(Windows::new(codes, tokens.count(), window)?))
        }
        (Way::Text { tokens, window, column: Some(column) }, Some(path)) => {
            let Task::Classes { names } = &model.about().task else {
                bail!("the model tells no classes apart")
            };
            let target = model.about().preparation["text"]["target"].as_str().unwrap_or_default();
            let table = Table::open(path)?;
            let labels = table.column(target)?;
            let class = |row: usize| {
                let text = labels.cell(row).text().unwrap_or_default();
                let place = names.iter().position(|name| *name == text).map(|class| class as i64);
                place.with_context(|| format!("row {}: the model doesn't know the class \"{text}\"", row + 1))
            };
            let labels = (0..table.len()).map(class).collect::<Result<Vec<_>>>()?;
            let (codes, form) = coded(&table, &column, &tokens, window)?;
            Ok(Box::new(Set::new(codes, form, labels, Form::class(names.len()))?.named(names)))
        }
        (_, None) => bail!("say which data to evaluate on: kiln eval MODEL DATA"),
        (Way::Numbers { width }, Some(_)) => bail!(
            "the model takes rows of {width} numbers, and its file doesn't say of which columns; import it again with --columns and --target (kiln import --help)"
        ),
        (Way::None, Some(_)) => Err(unsaid(model)),
    }
}

/// Why raw data can't be fed to a model, and the mend.
fn unsaid(model: &Model) -> anyhow::Error {
    let shape = &model.about().input.shape;
    let mend = match (shape.as_slice(), model.about().layers.as_str()) {
        ([_, _, _], NETWORK) => {
            "; import it again with --pixels, which says what pixels become (kiln import --help)"
        }
        _ => "; Model::predict does from Rust",
    };
    anyhow!("the model takes rows of {shape:?}, and its file doesn't say how raw data become that{mend}")
}

/// The side to which the shorter one of a picture is brought, of which the model sees a share.
pub fn shorter_side(size: ImageSize, crop: f64) -> usize {
    (size.height.min(size.width) as f64 / crop + 1e-9) as usize
}

fn images(model: &Model, path: &Path, size: ImageSize, crop: Option<f64>) -> Result<Box<dyn Dataset>> {
    let Task::Classes { names } = &model.about().task else { bail!("the model tells no classes apart") };
    if data::is_mnist(path) || data::is_cifar10(path) {
        let (_, test) = if data::is_mnist(path) { data::mnist(path)? } else { data::cifar10(path)? };
        fits(&test, model).with_context(|| path.display().to_string())?;
        return Ok(Box::new(by_class(test, names).with_context(|| path.display().to_string())?));
    }
    let gallery = pictures_of(size, crop).folder(path)?;
    for skipped in &gallery.skipped {
        out::note(format_args!("left out: {skipped}"));
    }
    Ok(Box::new(by_class(gallery.set, names).with_context(|| path.display().to_string())?))
}

/// Pictures read as a model takes them.
pub fn pictures_of(size: ImageSize, crop: Option<f64>) -> Pictures {
    let pictures = if size.channels == 1 { Pictures::new().grey() } else { Pictures::new() };
    match crop {
        Some(crop) => pictures.size(size).middle(shorter_side(size, crop)),
        None => pictures.size(size),
    }
}

/// Rows of another size than the model's can't be used.
pub fn fits(set: &dyn Dataset, model: &Model) -> Result<()> {
    let (own, theirs) = (&model.about().input.shape, set.x().shape);
    if *own != theirs {
        bail!("the model takes images of {own:?} (channels, height, width), and these are {theirs:?}");
    }
    Ok(())
}

/// A set whose classes, which may be fewer or in another order, count as the model's do.
pub fn by_class(set: Set, names: &[String]) -> Result<Set> {
    if set.names() == names {
        return Ok(set);
    }
    let count = set.y().codes().unwrap_or(0);
    let own = |class: usize| set.names().get(class).cloned().unwrap_or_else(|| class.to_string());
    let labels = set.labels()?;
    let mut places = Vec::with_capacity(count);
    for class in 0..count {
        let place = names.iter().position(|known| *known == own(class));
        if place.is_none() && labels.contains(&(class as i64)) {
            let mend = match nearest(&own(class), names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("it knows {}", listed(names)),
            };
            bail!("the model doesn't know the class {}; {mend}", own(class));
        }
        places.push(place.unwrap_or(0) as i64);
    }
    let labels: Vec<i64> = labels.iter().map(|label| places[*label as usize]).collect();
    let set = Set::new(set.inputs().clone(), set.x(), labels, Form::class(names.len()))?;
    Ok(set.named(names))
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
pub fn without_answers(model: &Model, inputs: &[PathBuf]) -> Result<Questions> {
    match Way::of(model)? {
        Way::Table(plan) => {
            let [input] = inputs else { bail!("name one table (or - for the standard input)") };
            let table = match input.as_os_str() == "-" {
                true => plan.reading().read(&standard_input()?)?,
                false => plan.reading().open(input)?,
            };
            let inputs = plan.apply_inputs(&table)?;
            let answers = vec![0f32; inputs.rows];
            let rows = Set::numbers(inputs.values, Form::numbers(&[inputs.width]), answers, 1)?;
            Ok(Questions { rows, files: Vec::new(), table: Some(table), notes: inputs.notes })
        }
        Way::Numbers { width } => {
            let [input] = inputs else { bail!("name one table (or - for the standard input)") };
            let table = match input.as_os_str() == "-" {
                true => Table::read(&standard_input()?)?,
                false => Table::open(input)?,
            };
            let names: Vec<&str> = table.names().collect();
            if names.len() != width {
                bail!(
                    "{}: the model takes rows of {width} numbers, and the table has {} columns ({}); `kiln import --columns` says which are meant",
                    input.display(),
                    names.len(),
                    names.join(", ")
                );
            }
            let inputs = TablePreparation::plain(names)?.apply_inputs(&table)?;
            let answers = vec![0f32; inputs.rows];
            let rows = Set::numbers(inputs.values, Form::numbers(&[width]), answers, 1)?;
            Ok(Questions { rows, files: Vec::new(), table: Some(table), notes: inputs.notes })
        }
        Way::Images { size, ground, crop } => {
            let (mut pixels, mut files, mut notes) = (Vec::new(), Vec::new(), Vec::new());
            for path in pictures(inputs)? {
                let (image, note) = image(&path, size, ground, crop)?;
                pixels.extend(image);
                notes.extend(note.map(|note| format!("{}: {note}", path.display())));
                files.push(path);
            }
            let answers = vec![0f32; files.len()];
            let form = Form::pixels(&[size.channels, size.height, size.width]);
            let rows = Set::new(pixels, form, answers, Form::numbers(&[1]))?;
            Ok(Questions { rows, files, table: None, notes })
        }
        Way::Text { tokens, window, column: Some(column) } => {
            let [input] = inputs else { bail!("name one table (or - for the standard input)") };
            let table = match input.as_os_str() == "-" {
                true => Table::read(&standard_input()?)?,
                false => Table::open(input)?,
            };
            let (codes, form) = coded(&table, &column, &tokens, window)?;
            let answers = vec![0f32; table.len()];
            let rows = Set::new(codes, form, answers, Form::numbers(&[1]))?;
            Ok(Questions { rows, files: Vec::new(), table: Some(table), notes: Vec::new() })
        }
        Way::Text { column: None, .. } | Way::None => Err(unsaid(model)),
    }
}

/// A column of texts as codes, each cut off or filled up to the same length.
fn coded(table: &Table, column: &str, tokens: &Tokens, length: usize) -> Result<(Vec<i64>, Form)> {
    let texts = table.column(column)?;
    let mut codes = Vec::with_capacity(table.len() * length);
    for row in 0..table.len() {
        let own = tokens.encode(&texts.cell(row).text().unwrap_or_default());
        codes.extend((0..length).map(|at| own.get(at).map_or(0, |&code| i64::from(code))));
    }
    let meaning = data::Meaning::Codes { count: tokens.count() };
    Ok((codes, Form { kind: data::Kind::I64, shape: vec![length], meaning }))
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
fn image(path: &Path, size: ImageSize, ground: f64, crop: Option<f64>) -> Result<(Vec<u8>, Option<String>)> {
    let count = size.channels * size.height * size.width;
    let raw = match path.as_os_str() == "-" {
        true => Some(standard_input()?),
        false => {
            let length = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
            (length == count as u64).then(|| std::fs::read(path)).transpose()?
        }
    };
    if let Some(bytes) = raw {
        if bytes.len() != count {
            bail!(
                "{} bytes came in, and an image of {} × {} × {} has {count}",
                bytes.len(),
                size.channels,
                size.height,
                size.width
            );
        }
        return Ok((bytes, None));
    }
    let picture = Picture::open(path)?;
    let mut pixels = match crop {
        Some(crop) => picture.middle(size, shorter_side(size, crop)),
        None => picture.pixels(size),
    };
    let mut notes = Vec::new();
    let (height, width, _) = picture.size();
    if crop.is_none() && (height, width) != (size.height, size.width) {
        notes.push(format!("resized from {height} × {width} to {} × {}", size.height, size.width));
    }
    let own = edge_brightness(&pixels, size);
    if ground < DARK && own > 255.0 - DARK || ground > 255.0 - DARK && own < DARK {
        pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        let kind = if ground < DARK { "light on dark" } else { "dark on light" };
        notes.push(format!("inverted, because the model was trained on {kind}"));
    }
    Ok((pixels, (!notes.is_empty()).then(|| notes.join(", "))))
}
