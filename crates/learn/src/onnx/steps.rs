//! Models that go on with texts as files of their next steps, which take and give what layers keep; held beside the model step by step.

use std::path::Path;

use kiln_data::Rng;
use kiln_map::counted;
use kiln_nn::module::KeptPart;
use kiln_nn::{Cache, Context, DType, Data, Function, Input, Layer, Tensor};
use kiln_onnx::export::{ExportedFile, StepsGraph, write_steps};
use kiln_onnx::{OnnxDType, Value, load};

use super::{Checked, Export};
use crate::{Error, Result};

/// How many sequences go through side by side, and how many steps of them at a time.
const ROWS: usize = 2;
const STEPS: [usize; 4] = [3, 1, 2, 1];

/// Layers that go on with sequences of codes.
pub(crate) struct StepsExport<'a> {
    pub layers: &'a dyn Layer,
    /// In which axis of the logits the pieces are, 1 or 2; steps are in the other.
    pub pieces_axis: usize,
    /// How many codes there are.
    pub pieces: usize,
    /// As many steps attention sees.
    pub window: usize,
}

impl StepsExport<'_> {
    /// Writes the layers as a file of their next steps, reads it back, and runs it beside them.
    pub(crate) fn save(
        &self,
        path: &Path,
        export: &Export,
        words: Vec<(String, String)>,
    ) -> Result<(ExportedFile, Checked)> {
        let mut options = export.options.clone();
        options.metadata.extend(words);
        options.metadata.push(("window".to_string(), self.window.to_string()));
        let mut builder = options.builder("kiln")?;
        let graph = write_steps(&mut builder, self.layers, self.pieces_axis, self.window, options.fold)?;
        let written = builder.save(path, &options)?;
        Ok((written, self.held_beside(path, &graph)?))
    }

    /// The largest difference of a file's logits and the layers'.
    fn held_beside(&self, path: &Path, graph: &StepsGraph) -> Result<Checked> {
        let network = load(path)?;
        let cache = Cache::new(ROWS, self.window);
        let mut go_on = Function::cached(self.layers, &cache, |layers, context, [x]| {
            layers.forward(&x, context).cast(DType::F32)
        });
        let mut rng = Rng::new(7);
        let mut past: Vec<Value> = graph.kept.iter().map(nothing).collect();
        let mut checked = Checked { rows: 0, largest: 0.0, most: 0.0 };
        let mut length = 0;
        for steps in STEPS {
            if length + steps > self.window {
                break;
            }
            let codes: Vec<i64> = (0..ROWS * steps).map(|_| rng.below(self.pieces) as i64).collect();
            let own = go_on.run([Input::new(&codes, &[ROWS, steps])])?;
            let own = own.first().and_then(|own| own.as_slice::<f32>()).unwrap_or_default();
            let mut inputs = vec![Value::new(Data::I64(codes), &[ROWS, steps], OnnxDType::I64)];
            inputs.append(&mut past);
            if graph.has_lengths {
                inputs.push(Value::new(Data::I64(vec![length as i64; ROWS]), &[ROWS], OnnxDType::I64));
            }
            let mut outputs = network.run(inputs, &Context::inference())?.into_iter();
            let Some(Value::Numbers(logits, _)) = outputs.next() else {
                return Err(Error::format(path, "it gives no logits"));
            };
            past = outputs.map(evaluated).collect::<Result<_>>()?;
            let given = if self.pieces_axis == 1 { logits.transpose(1, 2) } else { logits };
            let given = given.to_vec::<f32>()?;
            if given.len() != own.len() || past.len() != graph.kept.len() {
                let message =
                    format!("it gives {}, and the model {}", counted(given.len(), "number"), own.len());
                return Err(Error::format(path, message));
            }
            for (&given, &own) in given.iter().zip(own) {
                checked.largest = checked.largest.max(f64::from((given - own).abs()));
                checked.most = checked.most.max(f64::from(own.abs()));
                if given.is_nan() != own.is_nan() {
                    checked.largest = f64::INFINITY;
                }
            }
            checked.rows += ROWS;
            length += steps;
        }
        Ok(checked)
    }
}

/// What is kept before the first step.
fn nothing(part: &KeptPart) -> Value {
    let mut sizes = part.shape.clone();
    if part.grows() {
        sizes.insert(sizes.len() - 1, 0);
    }
    sizes.insert(0, ROWS);
    let count = sizes.iter().product();
    Value::new(Data::filled(part.dtype, count, 0.into()), &sizes, OnnxDType::from_dtype(part.dtype))
}

/// A value as its numbers, so that what follows from it doesn't compute it again.
fn evaluated(value: Value) -> Result<Value> {
    match value {
        Value::Numbers(tensor, element) => {
            let shape = tensor.shape();
            Ok(Value::Numbers(Tensor::from_data(tensor.to_data()?, shape), element))
        }
        other => Ok(other),
    }
}
