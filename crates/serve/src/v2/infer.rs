//! A request for inference: its tensors, and the rows they are.

use std::time::Instant;

use kiln_learn::data::RawCell;
use kiln_learn::{Predictor, Preparation, PreparedRows};

use super::reply::{WantedOutputs, reply};
use super::tensor::{DataType, Elements};
use crate::answer::HttpAnswer;
use crate::asking::{Asking, few};
use crate::describe::INPUT;
use crate::engine::Engine;
use crate::json::{Json, MOST_ROWS};
use crate::lane::aside;
use crate::models::Served;
use crate::refusal::Refusal;

/// A tensor that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenTensor {
    name: String,
    shape: Vec<usize>,
    kind: DataType,
    elements: Elements,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct InferRequest {
    id: Option<String>,
    inputs: Vec<GivenTensor>,
    wanted: WantedOutputs,
}

impl InferRequest {
    /// Of a body, of which so many bytes are JSON, all of them where nothing is said.
    ///
    /// # Errors
    /// Where it isn't what the protocol says.
    pub fn read(body: &[u8], header: Option<usize>) -> Result<InferRequest, Refusal> {
        let length = header.unwrap_or(body.len());
        let Some((head, mut binary)) = body.split_at_checked(length) else {
            return Err(Refusal::bad(format!(
                "{length} bytes of JSON are said to be in a body of {}",
                body.len()
            )));
        };
        let request = Json::read(head)?;
        let Some(Json::List(inputs)) = request.get("inputs") else {
            return Err(Refusal::bad("the request has no list of \"inputs\""));
        };
        let inputs: Vec<GivenTensor> =
            inputs.iter().map(|input| GivenTensor::read(input, &mut binary)).collect::<Result<_, _>>()?;
        if !binary.is_empty() {
            return Err(Refusal::bad(format!(
                "{} bytes follow the JSON that no input is said to have",
                binary.len()
            )));
        }
        let id = request.get("id").and_then(Json::text).map(str::to_string);
        Ok(InferRequest { id, inputs, wanted: WantedOutputs::of(&request)? })
    }

    /// How many rows there are, the same of all tensors.
    fn rows(&self) -> Result<usize, Refusal> {
        let of = |input: &GivenTensor| input.shape.first().copied().unwrap_or(1);
        let first = self.inputs.first().ok_or_else(|| Refusal::bad("the request has no input"))?;
        let rows = of(first);
        match self.inputs.iter().find(|input| of(input) != rows) {
            Some(other) => Err(Refusal::bad(format!(
                "\"{}\" has {rows} rows and \"{}\" has {}",
                first.name,
                other.name,
                of(other)
            ))),
            None => {
                few(rows, MOST_ROWS)?;
                // A shape of [1, N] is N texts or files too.
                self.inputs.iter().try_for_each(GivenTensor::few_texts)?;
                Ok(rows)
            }
        }
    }

    /// The one tensor of texts or files.
    fn texts(&self) -> Result<&[Vec<u8>], Refusal> {
        match self.inputs.as_slice() {
            [GivenTensor { elements: Elements::Bytes(all), .. }] => {
                few(all.len(), MOST_ROWS)?;
                Ok(all)
            }
            _ => Err(Refusal::bad("the model takes one input of BYTES")),
        }
    }

    /// As rows of a model.
    fn prepare(&self, predictor: &Predictor, deadline: Instant) -> Result<Vec<PreparedRows>, Refusal> {
        let rows = self.rows()?;
        match (&predictor.model().about().preparation, self.inputs.as_slice()) {
            (Preparation::Images(_), [GivenTensor { elements: Elements::Bytes(files), .. }]) => files
                .iter()
                .map(|file| in_time(deadline).and_then(|()| Ok(predictor.prepare_image(file)?)))
                .collect(),
            (Preparation::Text(_), _) => {
                let text = |text: &Vec<u8>| {
                    in_time(deadline).and_then(|()| Ok(predictor.prepare_text(utf8(text)?)?))
                };
                self.texts()?.iter().map(text).collect()
            }
            (preparation, [GivenTensor { elements: Elements::Numbers(numbers), name, .. }])
                if preparation.table().is_none() || name == INPUT && !is_column(preparation, name) =>
            {
                Ok(vec![predictor.prepare_inputs(numbers, rows)?])
            }
            _ => self.columns(predictor, rows),
        }
    }

    /// Columns of a table, each a tensor.
    fn columns(&self, predictor: &Predictor, rows: usize) -> Result<Vec<PreparedRows>, Refusal> {
        if let Some(wide) = self.inputs.iter().find(|input| input.elements.len() != rows) {
            return Err(Refusal::bad(format!(
                "\"{}\" has {} elements, and {rows} rows have as many cells of a column",
                wide.name,
                wide.elements.len()
            )));
        }
        let mut all = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut cells = Vec::with_capacity(self.inputs.len());
            for input in &self.inputs {
                cells.push((input.name.as_str(), input.cell(row)?));
            }
            all.push(cells);
        }
        Ok(predictor.prepare_rows(all)?)
    }
}

fn is_column(preparation: &Preparation, name: &str) -> bool {
    preparation.table().is_some_and(|plan| plan.features().iter().any(|feature| feature.column == name))
}

fn in_time(deadline: Instant) -> Result<(), Refusal> {
    if Instant::now() < deadline { Ok(()) } else { Err(Refusal::late()) }
}

fn utf8(text: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(text).map_err(|_| Refusal::bad("a text of BYTES isn't UTF-8"))
}

impl GivenTensor {
    fn read(input: &Json, binary: &mut &[u8]) -> Result<GivenTensor, Refusal> {
        let Some(name) = input.get("name").and_then(Json::text) else {
            return Err(Refusal::bad("an input has no \"name\""));
        };
        let fault = |what: &str| Refusal::bad(format!("input \"{name}\": {what}"));
        let kind =
            input.get("datatype").and_then(Json::text).ok_or_else(|| fault("it has no \"datatype\""))?;
        let kind = DataType::named(kind)?;
        let shape = match input.get("shape") {
            Some(Json::Numbers(sizes)) => sizes
                .iter()
                .map(|size| (*size >= 0.0 && size.fract() == 0.0 && *size < 1e15).then_some(*size as usize))
                .collect::<Option<Vec<usize>>>()
                .ok_or_else(|| fault("its \"shape\" isn't whole numbers"))?,
            Some(Json::List(none)) if none.is_empty() => Vec::new(),
            _ => return Err(fault("it has no \"shape\"")),
        };
        let size = input.get("parameters").and_then(|parameters| parameters.get("binary_data_size"));
        let elements = match (size.and_then(Json::number), input.get("data")) {
            (None, Some(data)) => Elements::of_json(kind, data)?,
            (Some(size), None) => {
                let Some((own, rest)) = binary.split_at_checked(size as usize) else {
                    return Err(fault(
                        "its bytes aren't all in the body (Inference-Header-Content-Length says where JSON ends)",
                    ));
                };
                *binary = rest;
                Elements::of_bytes(kind, own)?
            }
            (Some(_), Some(_)) => return Err(fault("it has both \"data\" and bytes")),
            (None, None) => return Err(fault("it has no \"data\"")),
        };
        let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        if count != Some(elements.len()) {
            return Err(fault(&format!("{} elements came in, and its shape is {shape:?}", elements.len())));
        }
        Ok(GivenTensor { name: name.to_string(), shape, kind, elements })
    }

    /// Whether there are as many texts or files as come at once.
    fn few_texts(&self) -> Result<(), Refusal> {
        match &self.elements {
            Elements::Bytes(all) => few(all.len(), MOST_ROWS),
            Elements::Numbers(_) => Ok(()),
        }
    }

    /// An element as a cell of a column.
    fn cell(&self, row: usize) -> Result<RawCell<'_>, Refusal> {
        match &self.elements {
            Elements::Numbers(numbers) => {
                let number = numbers.get(row).copied().unwrap_or(f64::NAN);
                Ok(match self.kind {
                    DataType::Bool => RawCell::Truth(number != 0.0),
                    _ => RawCell::Number(number),
                })
            }
            Elements::Bytes(all) => Ok(RawCell::Text(utf8(all.get(row).map_or(&[], Vec::as_slice))?)),
        }
    }
}

/// Answers a request, whose body had so many bytes.
///
/// # Errors
/// Where its tensors aren't what the model takes, or there is no answer in time.
pub async fn infer<'s>(
    asking: &Asking<'s>,
    served: &'s Served,
    request: InferRequest,
    bytes: usize,
) -> Result<HttpAnswer, Refusal> {
    match &served.engine {
        Engine::Batches(batcher) => {
            let coming = batcher.coming();
            let prepare = || request.prepare(batcher.predictor(), asking.deadline);
            let prepared = match batcher.predictor().model().about().preparation {
                // A small file may be a large picture.
                Preparation::Images(_) => {
                    let _place = asking.decoders.enter(asking.deadline).await?;
                    aside(usize::MAX, prepare)?
                }
                Preparation::Unsaid
                | Preparation::Table(_)
                | Preparation::Text(_)
                | Preparation::Tags(_)
                | Preparation::Pairs(_)
                | Preparation::Forecast(_) => aside(bytes, prepare)?,
            };
            let said = batcher.predict(prepared, coming, asking.deadline).await?;
            reply(served, request.id.as_deref(), &request.wanted, batcher.predictor().task(), &said)
        }
        Engine::Speaks(_) | Engine::Reads(_) | Engine::Sees(_) | Engine::Foresees(_) => {
            let mut answers = Vec::new();
            for given in request.texts()? {
                answers.push(asking.alone(served, given.clone()).await?.into_bytes());
            }
            super::reply::texts(served, request.id.as_deref(), &request.wanted, answers)
        }
    }
}
