//! A file held beside the model it was made of: random rows through both.

use kiln_map::counted;
use std::fmt;
use std::path::Path;

use kiln_data::{
    CellFormat, ColumnKind, Dataset, DateFormat, Encoding, Form, Meaning, PADDING, Reading, Rng, Set,
    TablePreparation, Unit,
};
use kiln_nn::{Context, DType, Data, Layer, Tensor};
use kiln_onnx::{Network, OnnxDType, Value, load};

use super::forecast;
use super::table::element_of;
use crate::model::{About, ClassSets, PartMeaning, Task, TaskPart, number_of};
use crate::{Error, Model, Result};

/// How a file compares with its model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checked {
    /// How many rows went through both.
    pub rows: usize,
    /// The largest difference of two numbers.
    pub largest: f64,
    /// The largest number.
    pub most: f64,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { rows, largest, most } = self;
        write!(
            f,
            "read back and run beside the model on {rows} random rows: the largest difference is {largest:.2e} (of numbers up to {most:.3})"
        )
    }
}

/// How many rows go through in turn.
const BATCHES: [usize; 3] = [1, 3, 16];

pub(super) fn check(
    model: &Model,
    plan: Option<&TablePreparation>,
    preprocessing: bool,
    path: &Path,
) -> Result<Checked> {
    let network = load(path)?;
    let mut rng = Rng::new(7);
    let mut checked = Checked { rows: 0, largest: 0.0, most: 0.0 };
    let series = model.about().preparation.forecast().filter(|_| preprocessing);
    for rows in BATCHES {
        let (given, own) = match plan {
            _ if let Some(series) = series => {
                let (inputs, own) = forecast::both(model, series, rows, &mut rng)?;
                (numbers(&network, inputs)?, own)
            }
            Some(plan) if preprocessing => by_columns(model, plan, &network, rows, &mut rng)?,
            _ => by_rows(model, &network, preprocessing, rows, &mut rng)?,
        };
        if given.len() != own.len() {
            let message = format!(
                "it gives {} for {}, and the model {}",
                counted(given.len(), "number"),
                counted(rows, "row"),
                own.len()
            );
            return Err(Error::format(path, message));
        }
        checked.rows += rows;
        for (given, own) in given.iter().zip(&own) {
            checked.largest = checked.largest.max((given - own).abs());
            checked.most = checked.most.max(own.abs());
            if given.is_nan() != own.is_nan() {
                checked.largest = f64::INFINITY;
            }
        }
    }
    Ok(checked)
}

/// The numbers of all outputs that are some: probabilities, predictions, or what the layers give.
fn numbers(network: &Network, inputs: Vec<Value>) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    let mut is_any = false;
    for output in network.run(inputs, &Context::inference())? {
        if let Value::Numbers(tensor, _) = output {
            all.extend(tensor.cast(DType::F64).to_vec::<f64>()?);
            is_any = true;
        }
    }
    match is_any {
        true => Ok(all),
        false => Err(Error::Training("the file gives no numbers".to_string())),
    }
}

/// The numbers of all of these, one after the other.
fn all_of(answers: Vec<Tensor>) -> Result<Vec<f64>> {
    let each = answers.iter().map(|answer| answer.cast(DType::F64).to_vec::<f64>());
    Ok(each.collect::<kiln_nn::Result<Vec<_>>>()?.concat())
}

/// Rows as the layers take them.
fn by_rows(
    model: &Model,
    network: &Network,
    preprocessing: bool,
    rows: usize,
    rng: &mut Rng,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let form = model.about().input.form();
    let shape: Vec<usize> = std::iter::once(rows).chain(form.shape.iter().copied()).collect();
    let count: usize = shape.iter().product();
    let bytes = form.kind == kiln_data::ValueKind::U8;
    let (input, x) = match form.meaning {
        Meaning::Codes { count: codes } => {
            let mut data: Vec<i64> = (0..count).map(|_| rng.below(codes.max(1)) as i64).collect();
            if model.about().preparation.is_padded() {
                for row in data.chunks_mut((count / rows).max(1)) {
                    let length = rng.below(row.len() + 1);
                    row[length..].fill(PADDING);
                }
            }
            let data = Data::I64(data);
            (Value::new(data.clone(), &shape, OnnxDType::I64), Tensor::from_data(data, shape.as_slice()))
        }
        Meaning::Numbers { scale } if preprocessing && bytes => {
            let pixels: Vec<u8> = (0..count).map(|_| rng.below(256) as u8).collect();
            let scaled = Data::F32(pixels.iter().map(|&pixel| f32::from(pixel) * scale).collect());
            (Value::new(Data::U8(pixels), &shape, OnnxDType::U8), Tensor::from_data(scaled, shape.as_slice()))
        }
        Meaning::Numbers { .. } => {
            let data = Data::F32((0..count).map(|_| rng.uniform() as f32 * 2.0 - 1.0).collect());
            (Value::new(data.clone(), &shape, OnnxDType::F32), Tensor::from_data(data, shape.as_slice()))
        }
    };
    let y = model.layers().forward(&x, &Context::inference());
    let y = if preprocessing { answers(model.about(), y)? } else { vec![y] };
    Ok((numbers(network, vec![input])?, all_of(y)?))
}

/// What the layers say, as the graph says it: an answer for each of several targets some of which are classes, else a single one; of intervals
/// the bounds behind it, of classes the sets where there are some.
fn answers(about: &About, y: Tensor) -> Result<Vec<Tensor>> {
    let task = &about.task;
    Ok(match task {
        Task::Classes { names } if y.size(-1) == 1 && names.len() == 2 => {
            let second = y.sigmoid();
            with_set(Tensor::concat(&[&(1.0 - &second), &second], -1), about.sets.first())?
        }
        Task::Classes { .. } => with_set(y.softmax(-1), about.sets.first())?,
        Task::Numbers { .. } => numbers_of(&task.parts(), &y)?,
        Task::Several { .. } => {
            let mut all = Vec::new();
            for (at, part) in task.parts().into_iter().enumerate() {
                match part.meaning {
                    PartMeaning::Classes(_) => {
                        let own = y.narrow(1, part.outputs.start, part.outputs.len()).softmax(-1);
                        all.extend(with_set(own, about.sets.get(at))?);
                    }
                    PartMeaning::Number { .. } => all.extend(numbers_of(&[part], &y)?),
                }
            }
            all
        }
        Task::Tags { .. } => vec![y.transpose(1, 2).softmax(-1)],
        Task::Text { .. } => vec![y],
    })
}

/// Probabilities, and behind them which classes are in the sets, as 0 and 1.
fn with_set(probabilities: Tensor, sets: Option<&Option<ClassSets>>) -> Result<Vec<Tensor>> {
    let Some(Some(sets)) = sets else { return Ok(vec![probabilities]) };
    let (rows, classes) = (probabilities.size(0), probabilities.size(-1));
    let all = probabilities.to_vec::<f32>()?;
    let is_in = all.chunks(classes.max(1)).flat_map(|row| sets.of(row));
    let is_in: Vec<f32> = is_in.map(|is_in| f32::from(u8::from(is_in))).collect();
    Ok(vec![probabilities, Tensor::new(is_in, [rows, classes])])
}

/// Numbers in their units, `[rows, numbers]`, and of intervals the lower and the upper bounds.
fn numbers_of(parts: &[TaskPart], y: &Tensor) -> Result<Vec<Tensor>> {
    let (rows, width, outputs) = (y.size(0), y.size(-1), y.cast(DType::F32).to_vec::<f32>()?);
    let [mut numbers, mut low, mut high] = [const { Vec::new() }; 3];
    for row in outputs.chunks(width.max(1)) {
        for part in parts {
            let unit = part.meaning.unit().unwrap_or(Unit::PLAIN);
            let (number, bounds) = number_of(row.get(part.outputs.clone()).unwrap_or_default(), &unit);
            numbers.push(number);
            low.extend(bounds.map(|[low, _]| low));
            high.extend(bounds.map(|[_, high]| high));
        }
    }
    let all = [numbers, low, high].into_iter().filter(|numbers| !numbers.is_empty());
    Ok(all.map(|numbers| Tensor::new(numbers, [rows, parts.len()])).collect())
}

/// Texts of some of these words and others, and which of the words each has.
fn drawn_texts(words: &[String], rows: usize, rng: &mut Rng) -> (Vec<String>, Vec<f32>) {
    let (mut texts, mut places) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let has: Vec<bool> = words.iter().map(|_| rng.below(3) == 0).collect();
        let own: Vec<String> =
            words.iter().zip(&has).filter(|(_, has)| **has).map(|(word, _)| word.to_uppercase()).collect();
        texts.push(match rng.below(6) == 0 && own.is_empty() {
            true => String::new(),
            false => format!("Never-seen, {}!", own.join("; ")),
        });
        places.extend(has.into_iter().map(|has| f32::from(u8::from(has))));
    }
    (texts, places)
}

/// Rows as a table has them: through the graph column by column, and through kiln as a file of CSV.
fn by_columns(
    model: &Model,
    plan: &TablePreparation,
    network: &Network,
    rows: usize,
    rng: &mut Rng,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut inputs = Vec::new();
    let mut cells: Vec<Vec<String>> = vec![Vec::new(); rows];
    // Plainly written, and dates as the graph takes them.
    let mut reading = Reading::new().header(true).delimiter(b',');
    let seconds = CellFormat { date: Some(DateFormat::UnixSeconds), ..CellFormat::default() };
    for feature in plan.features() {
        let element = element_of(feature);
        let is_text = element == OnnxDType::Text;
        reading = reading.kind(&feature.column, feature.kind);
        if feature.kind == ColumnKind::Date {
            reading = reading.format(&feature.column, seconds.clone());
        }
        let words: Vec<&str> = match &feature.encoding {
            Encoding::Pair { words, .. } => words.iter().map(String::as_str).collect(),
            Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } => {
                vocabulary.words.iter().map(String::as_str).collect()
            }
            Encoding::Number { .. } | Encoding::Date { .. } => Vec::new(),
            Encoding::Text { words } => {
                let (texts, places) = drawn_texts(words, rows, rng);
                cells.iter_mut().zip(texts).for_each(|(row, text)| row.push(text));
                inputs.push(Value::new(Data::F32(places), &[rows, words.len()], OnnxDType::F32));
                continue;
            }
        };
        let mut column = Vec::with_capacity(rows);
        for row in &mut cells {
            let drawn = match &feature.encoding {
                _ if rng.below(6) == 0 => String::new(),
                Encoding::Number { scale, .. } => {
                    let spread = if scale.factor == 0.0 { 1.0 } else { 1.0 / scale.factor };
                    let value = scale.shift + (rng.uniform() * 4.0 - 2.0) * spread;
                    let value = if scale.log { value.signum() * libm::expm1(value.abs()) } else { value };
                    (value as f32).to_string()
                }
                // From 1937 to 2033.
                Encoding::Date { .. } => (rng.below(3_000_000_000) as i64 - 1_000_000_000).to_string(),
                _ if is_text && rng.below(6) == 0 && feature.kind == ColumnKind::Category => {
                    "never seen".to_string()
                }
                _ => words.get(rng.below(words.len().max(1))).unwrap_or(&"").to_string(),
            };
            row.push(drawn.clone());
            column.push(drawn);
        }
        inputs.push(match element {
            OnnxDType::Text => Value::texts(column, &[rows, 1]),
            OnnxDType::F64 => {
                let numbers = column.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect();
                Value::new(Data::F64(numbers), &[rows, 1], OnnxDType::F64)
            }
            _ => {
                let numbers = column.iter().map(|cell| cell.parse().unwrap_or(f32::NAN)).collect();
                Value::new(Data::F32(numbers), &[rows, 1], OnnxDType::F32)
            }
        });
    }
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let mut text = line(plan.features().iter().map(|feature| quoted(&feature.column)).collect());
    text.extend(cells.iter().map(|row| {
        line(row.iter().map(|cell| if cell.is_empty() { String::new() } else { quoted(cell) }).collect())
    }));
    let table = reading.read(text.as_bytes())?;
    let prepared = plan.apply_inputs(&table)?;
    let form = Form::numbers(&[prepared.width]);
    let set = Set::numbers(prepared.values, form, vec![0.0; rows], 1)?;
    let batch = set.all()?;
    let x = batch.x.as_f32().unwrap_or_default().to_vec();
    let x = Tensor::new(x, [rows, prepared.width]);
    let y = answers(model.about(), model.layers().forward(&x, &Context::inference()))?;
    Ok((numbers(network, inputs)?, all_of(y)?))
}
