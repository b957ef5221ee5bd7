//! `POST /predict`: what people have, by its content type. AskedRows of JSON or CSV, pictures, texts.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use kiln_learn::{Prediction, Predictor, Preparation, PreparedRows, lines};
use serde_json::{Value, json};

use crate::answer::{HttpAnswer, content, json as answer};
use crate::asking::{Asking, csv, few, text};
use crate::batch::{Batcher, Coming};
use crate::body::Whole;
use crate::engine::{Engine, object};
use crate::event::ending;
use crate::generate;
use crate::json::{Json, MOST_ROWS};
use crate::lane::aside;
use crate::models::Served;
use crate::refusal::Refusal;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Json,
    Csv,
    Picture,
    Text,
}

impl Content {
    /// As the header says.
    fn of(headers: &HeaderMap) -> Result<Content, Refusal> {
        let said = headers.get("content-type").map(HeaderValue::to_str).transpose();
        let said = said.map_err(|_| Refusal::kind("the content type is no text"))?.unwrap_or_default();
        let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" => Ok(Content::Json),
            "text/csv" => Ok(Content::Csv),
            "text/plain" => Ok(Content::Text),
            "application/octet-stream" => Ok(Content::Picture),
            _ if kind.starts_with("image/") => Ok(Content::Picture),
            "" => Err(Refusal::kind(format!("the request has no content type; {TAKEN}"))),
            _ => Err(Refusal::kind(format!("\"{kind}\" is no content type that is taken; {TAKEN}"))),
        }
    }
}

const TAKEN: &str = "it is application/json, text/csv, text/plain or image/…";

/// Answers a request.
///
/// # Errors
/// Where the body isn't what the model takes, or there is no answer in time.
pub async fn predict<'s>(
    asking: &Asking<'s>,
    served: &'s Served,
    headers: &HeaderMap,
    body: Whole,
) -> Result<HttpAnswer, Refusal> {
    let kind = Content::of(headers)?;
    match (&served.engine, kind) {
        (Engine::Batches(batcher), Content::Json) => of_json(asking, batcher, &body.bytes).await,
        (Engine::Batches(batcher), Content::Csv) => of_csv(asking, batcher, headers, &body.bytes).await,
        (Engine::Batches(batcher), Content::Picture) => {
            let coming = batcher.coming();
            let place = asking.decoders.enter(asking.deadline).await?;
            let prepared = aside(usize::MAX, || batcher.predictor().prepare_image(&body.bytes))?;
            drop(place);
            of_rows(asking, batcher, coming, vec![prepared], true).await
        }
        (Engine::Batches(batcher), Content::Text) => {
            let coming = batcher.coming();
            let prepared = aside(body.bytes.len(), || {
                Ok::<_, Refusal>(batcher.predictor().prepare_text(&text(body.bytes.into())?)?)
            })?;
            of_rows(asking, batcher, coming, vec![prepared], true).await
        }
        (Engine::Speaks(speaks), Content::Text | Content::Json) => {
            let request = match kind {
                Content::Json => aside(body.bytes.len(), || Json::read(&body.bytes))?,
                Content::Text | Content::Csv | Content::Picture => {
                    Json::Text(text(body.bytes.to_vec())?.into())
                }
            };
            let options = generate::options(&request)?;
            let prompt =
                told(&request).ok_or_else(|| Refusal::bad("the request has no \"prompt\""))?.to_string();
            let streamed = request.get("stream").and_then(Json::truth);
            let accepts = headers.get("accept").is_some_and(|kinds| kinds.as_bytes() == b"text/event-stream");
            let speech = asking.speech(served, speaks, prompt, options);
            if streamed.unwrap_or(accepts) {
                return speech.stream().await;
            }
            let (text, written) = speech.whole().await?;
            let value = json!({ "text": text, "tokens": written.pieces, "stopped": ending(written) });
            Ok(answer(StatusCode::OK, &value))
        }
        (Engine::Reads(_), Content::Text) => one(asking, served, body.bytes.into()).await,
        (Engine::Reads(_), Content::Json) => {
            let request = aside(body.bytes.len(), || Json::read(&body.bytes))?;
            of_texts(asking, served, &request).await
        }
        (Engine::Foresees(_), Content::Csv) => one(asking, served, body.bytes.into()).await,
        (Engine::Sees(_), Content::Picture) => one(asking, served, body.bytes.into()).await,
        (Engine::Speaks(_) | Engine::Reads(_) | Engine::Sees(_) | Engine::Foresees(_), _) => {
            Err(Refusal::kind(format!(
                "the model takes {}, and this is something else",
                served.about.takes.name()
            )))
        }
    }
}

/// The text of a request: itself, or what its `prompt` or `text` says.
fn told<'j>(request: &'j Json) -> Option<&'j str> {
    request.text().or_else(|| request.get("prompt").or_else(|| request.get("text")).and_then(Json::text))
}

async fn one<'s>(asking: &Asking<'s>, served: &'s Served, given: Vec<u8>) -> Result<HttpAnswer, Refusal> {
    Ok(answer(StatusCode::OK, &asking.read(served, given).await?))
}

/// Answers texts of JSON, one or a list, of a model that reads one at a time.
async fn of_texts<'s>(
    asking: &Asking<'s>,
    served: &'s Served,
    request: &Json<'_>,
) -> Result<HttpAnswer, Refusal> {
    let refuse = || Refusal::bad("the model takes a text, {\"text\": \"…\"} or a list of them");
    let Json::List(all) = request else {
        return one(asking, served, told(request).ok_or_else(refuse)?.into()).await;
    };
    let mut said = Vec::with_capacity(all.len().min(MOST_ROWS));
    for text in all {
        said.push(asking.read(served, told(text).ok_or_else(refuse)?.into()).await?);
    }
    Ok(answer(StatusCode::OK, &json!({ "predictions": said })))
}

/// AskedRows that are ready, and whether one was asked for and not a list.
struct AskedRows {
    prepared: Vec<PreparedRows>,
    is_one: bool,
}

async fn of_json(asking: &Asking<'_>, batcher: &Batcher, body: &[u8]) -> Result<HttpAnswer, Refusal> {
    let coming = batcher.coming();
    let rows = aside(body.len(), || rows(batcher.predictor(), &Json::read(body)?))?;
    of_rows(asking, batcher, coming, rows.prepared, rows.is_one).await
}

async fn of_rows(
    asking: &Asking<'_>,
    batcher: &Batcher,
    coming: Coming<'_>,
    prepared: Vec<PreparedRows>,
    is_one: bool,
) -> Result<HttpAnswer, Refusal> {
    let said = batcher.predict(prepared, coming, asking.deadline).await?;
    let task = batcher.predictor().task();
    let value = match said.as_slice() {
        [said] if is_one => object(said, task),
        all => json!({ "predictions": all.iter().map(|said| object(said, task)).collect::<Vec<Value>>() }),
    };
    Ok(answer(StatusCode::OK, &value))
}

/// The rows of JSON: an object, a list of them, `{"rows": […]}`, or numbers as they are, a row or a list of rows, also as `{"inputs": […]}`.
fn rows(predictor: &Predictor, request: &Json) -> Result<AskedRows, Refusal> {
    let inner = ["rows", "inputs"].iter().find_map(|key| request.get(key).filter(|value| value.is_list()));
    let request = inner.unwrap_or(request);
    let takes_texts = matches!(predictor.model().about().preparation, Preparation::Text(_));
    if let Json::List(all) = request {
        few(all.len(), MOST_ROWS)?;
    }
    match request {
        Json::Numbers(numbers) => plain(predictor, numbers, 1, true),
        Json::List(all) if all.is_empty() => Ok(AskedRows { prepared: Vec::new(), is_one: false }),
        Json::List(all) if all.iter().all(Json::is_list) => {
            let mut numbers = Vec::new();
            request.flatten(&mut numbers)?;
            plain(predictor, &numbers, all.len(), false)
        }
        Json::List(all) if takes_texts && all.iter().all(|one| told(one).is_some()) => {
            let text = |one: &Json| Ok(predictor.prepare_text(told(one).unwrap_or_default())?);
            Ok(AskedRows { prepared: all.iter().map(text).collect::<Result<_, Refusal>>()?, is_one: false })
        }
        Json::List(all) => {
            let cells = all.iter().map(Json::cells).collect::<Result<Vec<_>, _>>()?;
            Ok(AskedRows { prepared: predictor.prepare_rows(cells)?, is_one: false })
        }
        one if takes_texts && told(one).is_some() => {
            let prepared = predictor.prepare_text(told(one).unwrap_or_default())?;
            Ok(AskedRows { prepared: vec![prepared], is_one: true })
        }
        one => Ok(AskedRows { prepared: predictor.prepare_rows([one.cells()?])?, is_one: true }),
    }
}

/// AskedRows of numbers as the layers take them.
fn plain(predictor: &Predictor, numbers: &[f64], rows: usize, is_one: bool) -> Result<AskedRows, Refusal> {
    Ok(AskedRows { prepared: vec![predictor.prepare_inputs(numbers, rows)?], is_one })
}

/// Answers a table with the same table and what was predicted, where CSV is asked for, or with JSON.
async fn of_csv(
    asking: &Asking<'_>,
    batcher: &Batcher,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<HttpAnswer, Refusal> {
    let coming = batcher.coming();
    let predictor = batcher.predictor();
    let (table, prepared) = aside(body.len(), || {
        let table = csv(&predictor.model().about().reading()?, body, MOST_ROWS)?;
        let prepared = predictor.prepare_table(&table)?;
        Ok::<_, Refusal>((table, prepared))
    })?;
    let wants_csv = headers.get("accept").is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/csv"));
    if !wants_csv {
        return of_rows(asking, batcher, coming, prepared, false).await;
    }
    let said: Vec<Prediction> = batcher.predict(prepared, coming, asking.deadline).await?;
    let mut text = Vec::new();
    let written = lines::table_header(&table, predictor.model().about(), &mut text)
        .and_then(|()| lines::table_rows(&table, &said, predictor.task(), &mut text));
    written.map_err(|error| Refusal::fault(error.to_string()))?;
    Ok(content(StatusCode::OK, "text/csv; charset=utf-8", text))
}
