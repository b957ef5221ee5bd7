//! The answer to a request for inference: what was predicted as tensors, as JSON or with bytes behind it.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use kiln_learn::Prediction;
use kiln_learn::model::Task;
use serde_json::{Value, json};

use super::HEADER_LENGTH;
use super::tensor::{DataType, Elements};
use crate::answer::{HttpAnswer, content};
use crate::json::Json;
use crate::models::Served;
use crate::refusal::Refusal;

/// Which outputs are asked for, and whether as bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WantedOutputs {
    /// By name; all where none is named.
    outputs: Vec<(String, bool)>,
    /// Whether all are asked for as bytes.
    as_bytes: bool,
}

impl WantedOutputs {
    /// As a request says.
    ///
    /// # Errors
    /// Where an output has no name.
    pub fn of(request: &Json) -> Result<WantedOutputs, Refusal> {
        let truth = |json: &Json, key: &str| {
            json.get("parameters").and_then(|parameters| parameters.get(key)).and_then(Json::truth)
        };
        let mut outputs = Vec::new();
        if let Some(Json::List(all)) = request.get("outputs") {
            for output in all {
                let name = output.get("name").and_then(Json::text);
                let name = name.ok_or_else(|| Refusal::bad("an output has no \"name\""))?;
                outputs.push((name.to_string(), truth(output, "binary_data").unwrap_or(false)));
            }
        }
        Ok(WantedOutputs { outputs, as_bytes: truth(request, "binary_data_output").unwrap_or(false) })
    }
}

/// A tensor that goes out.
struct OutTensor {
    name: String,
    shape: Vec<usize>,
    kind: DataType,
    elements: Elements,
}

impl OutTensor {
    fn numbers(name: impl Into<String>, kind: DataType, shape: &[usize], numbers: Vec<f64>) -> OutTensor {
        OutTensor { name: name.into(), shape: shape.to_vec(), kind, elements: Elements::Numbers(numbers) }
    }

    fn texts(name: impl Into<String>, texts: Vec<Vec<u8>>) -> OutTensor {
        let shape = vec![texts.len()];
        OutTensor { name: name.into(), shape, kind: DataType::Bytes, elements: Elements::Bytes(texts) }
    }

    /// The elements as JSON has them; what is no number is nothing.
    fn data(&self) -> Value {
        match &self.elements {
            Elements::Numbers(numbers) if self.kind == DataType::Fp32 => {
                numbers.iter().map(|number| Value::from(*number as f32)).collect()
            }
            Elements::Numbers(numbers) => numbers.iter().map(|number| Value::from(*number)).collect(),
            Elements::Bytes(all) => {
                all.iter().map(|text| Value::from(String::from_utf8_lossy(text))).collect()
            }
        }
    }
}

/// The answer that says what was predicted.
///
/// # Errors
/// Where an output is asked for that the model doesn't have.
pub fn reply(
    served: &Served,
    id: Option<&str>,
    wanted: &WantedOutputs,
    task: &Task,
    said: &[Prediction],
) -> Result<HttpAnswer, Refusal> {
    let mut tensors = Vec::new();
    let all: Vec<&Prediction> = said.iter().collect();
    if let Task::Several { targets } = task {
        for target in targets {
            let own: Vec<&Prediction> = said.iter().filter_map(|said| said.target(&target.name)).collect();
            of_target(Some(&target.name), &own, &mut tensors);
        }
    } else {
        of_target(None, &all, &mut tensors);
    }
    written(served, id, wanted, tensors)
}

/// The answer that is a text for each row.
///
/// # Errors
/// As [`reply`].
pub fn texts(
    served: &Served,
    id: Option<&str>,
    wanted: &WantedOutputs,
    texts: Vec<Vec<u8>>,
) -> Result<HttpAnswer, Refusal> {
    let name = served.about.outputs.first().map_or("text", |output| &output.name);
    written(served, id, wanted, vec![OutTensor::texts(name, texts)])
}

/// Adds the tensors of a target, which has a name where it is one of several.
fn of_target(name: Option<&str>, said: &[&Prediction], tensors: &mut Vec<OutTensor>) {
    let rows = said.len();
    match said.first() {
        Some(Prediction::Classes { names, .. }) => {
            let classes = said.iter().map(|said| said.class().unwrap_or_default().as_bytes().to_vec());
            tensors.push(OutTensor::texts(name.unwrap_or("class"), classes.collect()));
            let probabilities = said.iter().flat_map(|said| said.probabilities());
            let probabilities = probabilities.map(|(_, probability)| f64::from(probability)).collect();
            let own = name.map_or("probabilities".to_string(), |name| format!("{name}.probabilities"));
            tensors.push(OutTensor::numbers(own, DataType::Fp32, &[rows, names.len()], probabilities));
        }
        Some(Prediction::Numbers { names, bounds, .. }) => {
            for (at, name) in names.iter().enumerate() {
                let number =
                    |said: &&Prediction| said.numbers().nth(at).map_or(f64::NAN, |(_, number)| number);
                let numbers = said.iter().map(number).collect();
                tensors.push(OutTensor::numbers(name, DataType::Fp64, &[rows], numbers));
                if bounds.is_empty() {
                    continue;
                }
                for (end, word) in ["low", "high"].into_iter().enumerate() {
                    let bound =
                        |said: &&Prediction| said.all_bounds().get(at).map_or(f64::NAN, |bounds| bounds[end]);
                    let bounds = said.iter().map(bound).collect();
                    tensors.push(OutTensor::numbers(
                        format!("{name}.{word}"),
                        DataType::Fp64,
                        &[rows],
                        bounds,
                    ));
                }
            }
        }
        Some(Prediction::Several { .. } | Prediction::Text { .. }) | None => {}
    }
}

fn written(
    served: &Served,
    id: Option<&str>,
    wanted: &WantedOutputs,
    mut tensors: Vec<OutTensor>,
) -> Result<HttpAnswer, Refusal> {
    if let Some((unknown, _)) =
        wanted.outputs.iter().find(|(name, _)| tensors.iter().all(|tensor| tensor.name != *name))
    {
        let known = tensors.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Refusal::bad(format!("the model has no output \"{unknown}\"; it has: {known}")));
    }
    if !wanted.outputs.is_empty() {
        tensors.retain(|tensor| wanted.outputs.iter().any(|(name, _)| *name == tensor.name));
    }
    let (mut outputs, mut binary) = (Vec::with_capacity(tensors.len()), Vec::new());
    for tensor in &tensors {
        let told = wanted.outputs.iter().find(|(name, _)| *name == tensor.name);
        let mut output =
            json!({ "name": tensor.name, "datatype": tensor.kind.name(), "shape": tensor.shape });
        if wanted.as_bytes || told.is_some_and(|(_, as_bytes)| *as_bytes) {
            let bytes = tensor.elements.to_bytes(tensor.kind);
            output["parameters"] = json!({ "binary_data_size": bytes.len() });
            binary.extend(bytes);
        } else {
            output["data"] = tensor.data();
        }
        outputs.push(output);
    }
    let mut whole = json!({
        "model_name": served.name, "model_version": served.version, "outputs": outputs,
    });
    if let Some(id) = id {
        whole["id"] = id.into();
    }
    let mut body = whole.to_string().into_bytes();
    if binary.is_empty() {
        return Ok(content(StatusCode::OK, "application/json", body));
    }
    let length = HeaderValue::from(body.len());
    body.extend(binary);
    let mut answer = content(StatusCode::OK, "application/octet-stream", body);
    answer.headers_mut().insert(HeaderName::from_static(HEADER_LENGTH), length);
    Ok(answer)
}
