//! Texts that go on: whole, or piece by piece as they are written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use kiln_learn::generate::GenerateOptions;
use tokio::sync::mpsc;

use crate::answer::{HttpAnswer, content};
use crate::body::AnswerBody;
use crate::engine::{Speaks, WrittenText};
use crate::event::Event;
use crate::json::Json;
use crate::lane::WorkLane;
use crate::metrics::ModelMetrics;
use crate::refusal::Refusal;

/// So many pieces are written at most.
const MOST_PIECES: f64 = 8192.0;

/// So many beams at most: each is a sequence of its own in memory.
const MOST_BEAMS: f64 = 32.0;

/// A search says nothing before its end and can't be given up: all its beams write as many pieces as this together.
const MOST_SEARCHED: usize = 8192;

/// So many pieces are written where nothing is said.
const USUAL_TOKENS: usize = 300;

/// So many pieces wait for a client that reads slowly.
const AHEAD: usize = 16;

/// A text that is to go on.
pub struct Speech<'s> {
    /// Who writes.
    pub speaks: &'s Arc<dyn Speaks>,
    /// Where.
    pub lane: &'s WorkLane,
    /// Until when.
    pub deadline: Instant,
    /// Where the pieces are counted.
    pub metrics: &'s Arc<ModelMetrics>,
    /// The text.
    pub prompt: String,
    /// How it goes on.
    pub options: GenerateOptions,
}

impl Speech<'_> {
    /// Begins to write. What is written comes through the channel; dropped, it ends at the next piece.
    async fn begin(self) -> Result<mpsc::Receiver<Event>, Refusal> {
        let place = self.lane.enter(self.deadline).await?;
        let (sender, events) = mpsc::channel(AHEAD);
        let (speaks, metrics, deadline) = (self.speaks.clone(), self.metrics.clone(), self.deadline);
        let (prompt, options) = (self.prompt, self.options);
        tokio::task::spawn_blocking(move || {
            let mut is_late = false;
            let written = speaks.speak(&prompt, &options, &mut |added| {
                metrics.pieces.fetch_add(1, Ordering::Relaxed);
                is_late = Instant::now() >= deadline;
                !is_late && sender.blocking_send(Event::Added(added)).is_ok()
            });
            let last = match written {
                _ if is_late => Event::Failed(Refusal::late()),
                Ok(written) => Event::Ended(written),
                Err(error) => Event::Failed(error.into()),
            };
            // Whoever reads slowly keeps no other text waiting, and whoever left needs no end.
            drop(place);
            let _ = sender.blocking_send(last);
        });
        Ok(events)
    }

    /// All that is added to the text.
    ///
    /// # Errors
    /// Where too many wait, an option makes no sense, or the deadline passes.
    pub async fn whole(self) -> Result<(String, WrittenText), Refusal> {
        let mut events = self.begin().await?;
        let mut text = String::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Added(added) => text += &added,
                Event::Ended(written) => return Ok((text, written)),
                Event::Failed(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::fault("the text broke off; this is a fault of kiln's"))
    }

    /// What is added to the text, as events of a server.
    ///
    /// # Errors
    /// Where nothing can be written at all, as [`Speech::whole`]; what goes wrong later is an event.
    pub async fn stream(self) -> Result<HttpAnswer, Refusal> {
        let mut events = self.begin().await?;
        let first = match events.recv().await {
            Some(Event::Failed(refusal)) => return Err(refusal),
            first => first,
        };
        let mut answer = content(StatusCode::OK, "text/event-stream", "");
        *answer.body_mut() = AnswerBody::Events(first, events);
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}

/// What a request says of how a text goes on.
const KEYS: [&str; 12] = [
    "prompt",
    "text",
    "stream",
    "tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "beams",
    "stop",
    "seed",
];

/// How a text goes on, as a request says it.
///
/// # Errors
/// Where a key isn't known, or a value is none of its kind.
pub fn options(request: &Json) -> Result<GenerateOptions, Refusal> {
    let Json::Object(pairs) = request else { return Ok(GenerateOptions::new()) };
    let mut options = GenerateOptions::new().tokens(USUAL_TOKENS);
    let (mut tokens, mut beams) = (USUAL_TOKENS, 1);
    for (name, value) in pairs {
        let number = || {
            value
                .number()
                .ok_or_else(|| Refusal::bad(format!("\"{name}\" is a number, and something else came in")))
        };
        let whole = |most: f64| {
            let number = number()?;
            match number >= 0.0 && number <= most && number.fract() == 0.0 {
                true => Ok(number as usize),
                false => Err(Refusal::bad(format!(
                    "\"{name}\" is a whole number from 0 to {most}, and {number} came in"
                ))),
            }
        };
        options = match name.as_ref() {
            "prompt" | "text" | "stream" => options,
            "tokens" => {
                tokens = whole(MOST_PIECES)?;
                options.tokens(tokens)
            }
            "temperature" => options.temperature(number()?),
            "top_k" => options.top_k(whole(1e9)?),
            "top_p" => options.top_p(number()?),
            "min_p" => options.min_p(number()?),
            "repetition_penalty" => options.repetition_penalty(number()?),
            "beams" => {
                beams = whole(MOST_BEAMS)?;
                options.beams(beams)
            }
            "seed" => options.seed(whole(9_007_199_254_740_991.0)? as u64),
            "stop" => stops(value, options)?,
            other => {
                let near = kiln_map::nearest(other, KEYS).map(|near| format!("; \"{near}\" is one"));
                return Err(Refusal::bad(format!(
                    "\"{other}\" is no option of a text{}",
                    near.unwrap_or_default()
                )));
            }
        };
    }
    if beams > 1 && beams * tokens > MOST_SEARCHED {
        return Err(Refusal::bad(format!(
            "{beams} beams of {tokens} tokens are more than {MOST_SEARCHED} together; ask for fewer \"tokens\" or \"beams\""
        )));
    }
    Ok(options)
}

fn stops(value: &Json, options: GenerateOptions) -> Result<GenerateOptions, Refusal> {
    let refuse = || Refusal::bad("\"stop\" is a text or a list of texts");
    match value {
        Json::Text(text) => Ok(options.stop(text.as_ref())),
        Json::List(all) => {
            all.iter().try_fold(options, |options, text| Ok(options.stop(text.text().ok_or_else(refuse)?)))
        }
        Json::Null | Json::Truth(_) | Json::Number(_) | Json::Numbers(_) | Json::Object(_) => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_a_bound() {
        let of = |text: &'static str| options(&Json::read(text.as_bytes()).unwrap());
        for good in [r#"{"tokens": 8192}"#, r#"{"beams": 4}"#, r#"{"beams": 32, "tokens": 256}"#] {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in [r#"{"beams": 32}"#, r#"{"tokens": 8192, "beams": 2}"#, r#"{"beams": 33, "tokens": 1}"#] {
            assert!(of(bad).unwrap_err().message.contains("beams"), "{bad}");
        }
    }
}
