//! Models as ONNX files that take raw data and give answers in their words: preparation, layers and what follows them as one graph.

mod check;
mod forecast;
mod import;
mod numbers;
mod sets;
mod steps;
mod table;

use std::path::Path;

pub use kiln_onnx::export::{NEWEST, OLDEST, Options};
pub use kiln_onnx::*;

use kiln_data::Meaning;
use kiln_nn::{DType, Data};
use kiln_onnx::export::{
    Attribute, BATCH, Builder, ExportedFile, FreeAxis, ML, ModelInput, ModelOutput, Size, write_layers,
};
use serde_json::Value as Json;

use crate::Model;
use crate::model::{ClassSets, PartMeaning, Task};
pub use check::Checked;
pub use import::{Images, Import, Raw};
pub(crate) use steps::StepsExport;

/// How a model is written, and what of it.
#[derive(Clone, Debug)]
pub struct Export {
    /// How the graph is written.
    pub options: Options,
    /// Whether the graph takes raw columns and pixels, and gives classes, probabilities and numbers in their own unit.
    pub preprocessing: bool,
    /// Whether the graph is of the next steps of sequences: what layers keep of the steps before comes in and goes out beside codes and
    /// logits. For models that go on with texts.
    pub cache: bool,
}

impl Default for Export {
    fn default() -> Export {
        Export { options: Options::default(), preprocessing: true, cache: false }
    }
}

impl Model {
    /// Writes the model as an ONNX file, reads it back, runs it beside itself, and says what it found.
    ///
    /// # Errors
    /// Where something of the model has no form in ONNX, or the system refuses.
    pub fn save_onnx(
        &self,
        path: impl AsRef<Path>,
        export: &Export,
    ) -> crate::Result<(ExportedFile, Checked)> {
        let path = path.as_ref();
        if export.preprocessing {
            self.check()?;
        }
        if export.cache {
            let (pieces, window) = self.goes_on()?;
            let words = vec![("layers".to_string(), self.about().layers.clone())];
            let layers = &*self.written();
            return StepsExport { layers, pieces_axis: 1, pieces, window }.save(path, export, words);
        }
        let mut options = export.options.clone();
        options.metadata.extend(self.words(export.preprocessing));
        let mut builder = options.builder("kiln")?;
        let plan = self.about().preparation.table();
        let series = self.about().preparation.forecast();
        match (plan, export.preprocessing) {
            (_, true) if let Some(series) = series => {
                forecast::graph(&mut builder, self, series, options.fold)?
            }
            (Some(plan), true) => {
                let rows = table::inputs(&mut builder, plan)?;
                self.finish(&mut builder, rows, options.fold)?;
            }
            _ => {
                let rows = self.plain_input(&mut builder, export.preprocessing);
                if export.preprocessing {
                    self.finish(&mut builder, rows, options.fold)?;
                } else {
                    let output = write_layers(&mut builder, &*self.written(), &rows, options.fold)?;
                    builder.output(
                        &output.name,
                        "output",
                        OnnxDType::from_dtype(output.dtype),
                        &output.sizes,
                    );
                }
            }
        }
        let written = builder.save(path, &options)?;
        let checked = check::check(self, plan, export.preprocessing, path)?;
        Ok((written, checked))
    }

    /// How many codes a model that goes on with texts knows, and how many it sees at once.
    fn goes_on(&self) -> crate::Result<(usize, usize)> {
        if let crate::Preparation::Pairs(pairs) = &self.about().preparation {
            return Ok((pairs.count(), pairs.window));
        }
        let text = self.about().texts()?;
        match text.columns {
            Some(_) => Err(crate::predictor::goes_not_on()),
            None => Ok((text.tokens.count(), text.window)),
        }
    }

    /// What the file says of the model.
    fn words(&self, is_whole: bool) -> Vec<(String, String)> {
        let mut words = vec![("layers".to_string(), self.about().layers.clone())];
        if let Task::Classes { names } | Task::Tags { names } = &self.about().task {
            words.push(("labels".to_string(), Json::from(names.clone()).to_string()));
        }
        if let (Some(plan), true) = (self.about().preparation.table(), is_whole) {
            words.extend(table::words(plan));
        }
        if let (Some(series), true) = (self.about().preparation.forecast(), is_whole) {
            words.extend(forecast::words(series));
        }
        words.push(import::recorded(self, is_whole));
        words
    }

    /// Inputs as the layers take them: pixels as bytes that are scaled in the graph, amounts, or codes.
    fn plain_input(&self, builder: &mut Builder, preprocessing: bool) -> ModelInput {
        let form = self.about().input.form();
        let mut sizes: Vec<Size> = std::iter::once(Size::Named(BATCH.to_string()))
            .chain(form.shape.iter().map(|size| Size::Fixed(*size)))
            .collect();
        if let (true, Some(steps)) = (self.about().preparation.is_padded(), sizes.get_mut(1)) {
            *steps = FreeAxis::Steps.size();
        }
        let input = |name: String, dtype: DType| ModelInput { name, sizes: sizes.clone(), dtype };
        match form.meaning {
            Meaning::Codes { .. } => input(builder.input("codes", OnnxDType::I64, &sizes), DType::I64),
            Meaning::Numbers { scale } if preprocessing && form.kind == kiln_data::ValueKind::U8 => {
                let pixels = builder.input("pixels", OnnxDType::U8, &sizes);
                let float = Attribute::Int(OnnxDType::F32.number().into());
                let amounts = builder.node("Cast", &[&pixels], vec![("to", float)]);
                let scale = builder.scalar(&Data::F32(vec![scale]));
                input(builder.node("Mul", &[&amounts, &scale], Vec::new()), DType::F32)
            }
            Meaning::Numbers { .. } => input(builder.input("input", OnnxDType::F32, &sizes), DType::F32),
        }
    }

    /// The layers, and their outputs as answers.
    fn finish(&self, builder: &mut Builder, input: ModelInput, fold: bool) -> crate::Result<()> {
        let ModelOutput { name, sizes, dtype } = write_layers(builder, &*self.written(), &input, fold)?;
        let task = &self.about().task;
        match task {
            Task::Classes { names } => {
                let threshold = self.about().threshold.filter(|_| names.len() == 2);
                let sets = self.about().sets.first();
                answer_classes(builder, &name, (sizes.last(), threshold, sets), names, "");
            }
            Task::Tags { names } => {
                // [batch, tags, steps] → [batch, steps, tags].
                let turned = vec![("perm", Attribute::Ints(vec![0, 2, 1]))];
                let scores = builder.node("Transpose", &[&name], turned);
                let probabilities = builder.node("Softmax", &[&scores], vec![("axis", Attribute::Int(-1))]);
                let settings = vec![("axis", Attribute::Int(-1)), ("keepdims", Attribute::Int(0))];
                let best = builder.node("ArgMax", &[&probabilities], settings);
                let label = words_of(builder, &best, names);
                let [batch, tags, steps] =
                    [0, 1, 2].map(|axis| sizes.get(axis).cloned().unwrap_or(Size::Free));
                builder.output(&label, "label", OnnxDType::Text, &[batch.clone(), steps.clone()]);
                builder.output(&probabilities, "probabilities", OnnxDType::F32, &[batch, steps, tags]);
            }
            Task::Numbers { .. } => numbers::answer(builder, &name, &task.parts(), ""),
            Task::Several { .. } => {
                for (at, part) in task.parts().into_iter().enumerate() {
                    let prefix = format!("{}.", part.name);
                    let PartMeaning::Classes(names) = part.meaning else {
                        numbers::answer(builder, &name, &[part], &prefix);
                        continue;
                    };
                    let [start, end, axis] = [part.outputs.start as i64, part.outputs.end as i64, 1]
                        .map(|number| builder.constant("part", &[1], &Data::I64(vec![number])));
                    let own = builder.node("Slice", &[&name, &start, &end, &axis], Vec::new());
                    answer_classes(builder, &own, (None, None, self.about().sets.get(at)), names, &prefix);
                }
            }
            Task::Text { .. } => builder.output(&name, "logits", OnnxDType::from_dtype(dtype), &sizes),
        }
        Ok(())
    }
}

/// Logits as a label and probabilities; where there is one for two classes, that of the second. Of several targets, outputs have the target's
/// name in front.
fn answer_classes(
    builder: &mut Builder,
    logits: &str,
    (width, threshold, sets): (Option<&Size>, Option<f64>, Option<&Option<ClassSets>>),
    names: &[String],
    prefix: &str,
) {
    let probabilities = match width {
        Some(Size::Fixed(1)) if names.len() == 2 => {
            let second = builder.node("Sigmoid", &[logits], Vec::new());
            let one = builder.scalar(&Data::F32(vec![1.0]));
            let first = builder.node("Sub", &[&one, &second], Vec::new());
            builder.node("Concat", &[&first, &second], vec![("axis", Attribute::Int(1))])
        }
        _ => builder.node("Softmax", &[logits], vec![("axis", Attribute::Int(-1))]),
    };
    let settings = vec![("axis", Attribute::Int(-1)), ("keepdims", Attribute::Int(0))];
    let weighed = threshold.map(|threshold| {
        // The second is larger where its probability is above the threshold.
        let threshold = threshold as f32;
        let row = builder.constant("threshold", &[2], &Data::F32(vec![threshold, 1.0 - threshold]));
        builder.node("Mul", &[&probabilities, &row], Vec::new())
    });
    let best = builder.node("ArgMax", &[weighed.as_ref().unwrap_or(&probabilities)], settings);
    let label = words_of(builder, &best, names);
    let is_in = sets.and_then(Option::as_ref).map(|sets| sets::is_in(builder, &probabilities, sets));
    let batch = Size::Named(BATCH.to_string());
    builder.output(&label, &format!("{prefix}label"), OnnxDType::Text, std::slice::from_ref(&batch));
    let sizes = [batch, Size::Fixed(names.len())];
    builder.output(&probabilities, &format!("{prefix}{PROBABILITIES}"), OnnxDType::F32, &sizes);
    if let Some(is_in) = is_in {
        builder.output(&is_in, &format!("{prefix}set"), OnnxDType::Bool, &sizes);
    }
}

/// What the output of probabilities is called.
const PROBABILITIES: &str = "probabilities";

/// Classes by their names.
fn words_of(builder: &mut Builder, classes: &str, names: &[String]) -> String {
    let settings = vec![
        ("keys_int64s", Attribute::Ints((0..names.len() as i64).collect())),
        ("values_strings", Attribute::Texts(names.to_vec())),
        ("default_string", Attribute::Text(String::new())),
    ];
    builder.node_of(ML, "LabelEncoder", &[classes], settings, 1).remove(0)
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> crate::Error {
        match error {
            Error::Compute(error) => crate::Error::Compute(error),
            other => crate::Error::Onnx(other),
        }
    }
}
