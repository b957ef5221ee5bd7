//! What a model says of itself: for the page that asks it, for programs that look, and as tensors of the Open Inference Protocol.

use std::path::PathBuf;

use kiln_learn::data::{Encoding, Feature, Scale};
use kiln_learn::model::{DataProfile, InputProfile, PartMeaning, Task};
use kiln_learn::{Predictor, Preparation};
use serde_json::{Map, Value, json};

use crate::engine::{Engine, ModelTakes, Opened};

/// The column of a model that takes numbers without names.
pub const INPUT: &str = "input";

/// A tensor that comes in or goes out.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorAbout {
    /// What it is called.
    pub name: String,
    /// The type of the protocol.
    pub datatype: &'static str,
    /// The shape; -1 is as many as there are rows.
    pub shape: Vec<i64>,
}

/// What a model takes and says.
#[derive(Clone, Debug)]
pub struct Description {
    /// What it takes.
    pub takes: ModelTakes,
    /// What comes in.
    pub inputs: Vec<TensorAbout>,
    /// What goes out.
    pub outputs: Vec<TensorAbout>,
    /// What a form needs to ask it.
    pub form: Map<String, Value>,
    /// Where the report of its run lies, if there is one.
    pub report: Option<PathBuf>,
}

fn tensor(name: impl Into<String>, datatype: &'static str, shape: &[i64]) -> TensorAbout {
    TensorAbout { name: name.into(), datatype, shape: shape.to_vec() }
}

impl Description {
    /// Whether there is a report now.
    pub fn has_report(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.is_file())
    }

    /// Of a model that was read.
    pub fn of(opened: &Opened, report: Option<PathBuf>) -> Description {
        let mut form = Map::new();
        form.insert("takes".to_string(), opened.takes.name().into());
        form.insert("classes".to_string(), opened.classes.clone().into());
        let (inputs, outputs) = match &opened.engine {
            Engine::Batches(batcher) => {
                let predictor = batcher.predictor();
                let inputs = inputs(predictor, &mut form);
                (inputs, outputs(predictor.task()))
            }
            Engine::Speaks(_) => (vec![tensor("text", "BYTES", &[-1])], vec![tensor("text", "BYTES", &[-1])]),
            Engine::Reads(_) => {
                (vec![tensor("text", "BYTES", &[-1])], vec![tensor("answer", "BYTES", &[-1])])
            }
            Engine::Foresees(_) => {
                (vec![tensor("table", "BYTES", &[1])], vec![tensor("answer", "BYTES", &[1])])
            }
            Engine::Sees(_) => {
                (vec![tensor("image", "BYTES", &[-1])], vec![tensor("answer", "BYTES", &[-1])])
            }
        };
        form.insert("layers".to_string(), opened.platform.clone().into());
        Description { takes: opened.takes, inputs, outputs, form, report }
    }
}

/// What goes into a model, and what a form needs for it.
fn inputs(predictor: &Predictor, form: &mut Map<String, Value>) -> Vec<TensorAbout> {
    let about = predictor.model().about();
    match &about.preparation {
        Preparation::Table(plan) => {
            let seen = |feature: &Feature| range(about.profile.as_ref()?, feature);
            let columns: Vec<Value> =
                plan.features().iter().map(|feature| field(feature, seen(feature))).collect();
            form.insert("columns".to_string(), columns.into());
            plan.features().iter().map(|feature| tensor(&feature.column, datatype(feature), &[-1])).collect()
        }
        Preparation::Images(images) => {
            let size = images.size;
            let is_dark = images.ground.is_some_and(|ground| ground < 128.0);
            let image = json!({
                "channels": size.channels, "height": size.height, "width": size.width, "dark": is_dark,
            });
            form.insert("image".to_string(), image);
            let shape = [-1, size.channels as i64, size.height as i64, size.width as i64];
            vec![tensor("image", "UINT8", &shape)]
        }
        Preparation::Text(text) => {
            let column = text.columns.as_ref().map(|columns| columns.text.clone());
            form.insert("column".to_string(), column.into());
            vec![tensor("text", "BYTES", &[-1])]
        }
        Preparation::Unsaid | Preparation::Tags(_) | Preparation::Pairs(_) | Preparation::Forecast(_) => {
            let shape: Vec<i64> =
                std::iter::once(-1).chain(about.input.shape.iter().map(|size| *size as i64)).collect();
            form.insert("numbers".to_string(), about.input.shape.iter().product::<usize>().into());
            vec![tensor(INPUT, "FP32", &shape)]
        }
    }
}

/// The type in which a column comes as a tensor.
fn datatype(feature: &Feature) -> &'static str {
    match &feature.encoding {
        Encoding::Number { .. } => "FP64",
        Encoding::Pair { .. }
        | Encoding::OneHot { .. }
        | Encoding::Codes { .. }
        | Encoding::Text { .. }
        | Encoding::Date { .. } => "BYTES",
    }
}

/// A column as a field of a form: what training showed of it.
fn field(feature: &Feature, seen: Option<[f64; 2]>) -> Value {
    let name = &feature.column;
    let choices = |words: &[String]| json!({ "name": name, "kind": "choice", "choices": words });
    match &feature.encoding {
        Encoding::Number { scale, fill, .. } => {
            let [low, high] = seen.unwrap_or_else(|| usual(*scale));
            json!({ "name": name, "kind": "number", "default": fill, "low": low, "high": high })
        }
        Encoding::Pair { words, .. } => choices(words),
        Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } => choices(&vocabulary.words),
        Encoding::Text { .. } => json!({ "name": name, "kind": "text" }),
        Encoding::Date { .. } => json!({ "name": name, "kind": "date" }),
    }
}

/// The least and the largest number of a column in training, where the model's file knows.
fn range(profile: &DataProfile, feature: &Feature) -> Option<[f64; 2]> {
    let Encoding::Number { scale, .. } = &feature.encoding else { return None };
    let column = profile.columns.iter().find(|column| column.name == feature.column)?;
    let InputProfile::Amounts { range, .. } = column.inputs.first()? else { return None };
    let [low, high] = range.map(|input| unscaled(*scale, input.into()));
    (low < high).then_some([low, high])
}

/// The number that became an input, in so many digits as inputs have.
fn unscaled(scale: Scale, input: f64) -> f64 {
    let input =
        if scale.clip { input / (1.0 - (input / 3.0) * (input / 3.0)).max(1e-9).sqrt() } else { input };
    let value = input / scale.factor + scale.shift;
    let value = if scale.log { libm::expm1(value.abs()).copysign(value) } else { value };
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// The range in which most numbers of a column lay in training, by what they are scaled with: two of its widths to either side.
fn usual(scale: Scale) -> [f64; 2] {
    [-2.0, 2.0].map(|steps| unscaled(Scale { clip: false, ..scale }, steps))
}

/// What goes out of a model.
fn outputs(task: &Task) -> Vec<TensorAbout> {
    if let Task::Classes { names } = task {
        return vec![
            tensor("class", "BYTES", &[-1]),
            tensor("probabilities", "FP32", &[-1, names.len() as i64]),
        ];
    }
    let mut tensors = Vec::new();
    for part in task.parts() {
        let name = &part.name;
        match &part.meaning {
            PartMeaning::Classes(classes) => {
                tensors.push(tensor(*name, "BYTES", &[-1]));
                tensors.push(tensor(format!("{name}.probabilities"), "FP32", &[-1, classes.len() as i64]));
            }
            PartMeaning::Number { interval, .. } => {
                tensors.push(tensor(*name, "FP64", &[-1]));
                if interval.is_some() {
                    tensors.extend(["low", "high"].map(|end| tensor(format!("{name}.{end}"), "FP64", &[-1])));
                }
            }
        }
    }
    tensors
}
