//! What is answered: bodies of JSON and of other content.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json as value};

use crate::body::AnswerBody;
use crate::refusal::Refusal;

/// A whole answer.
pub type HttpAnswer = Response<AnswerBody>;

/// That a request isn't answered, and why.
pub fn refused(refusal: Refusal) -> HttpAnswer {
    let mut answer = json(refusal.status, &value!({ "error": refusal.message }));
    if let Some((name, value)) = refusal.header {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// An answer of this content.
pub fn content(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> HttpAnswer {
    let mut answer = Response::new(AnswerBody::full(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// An answer of JSON.
pub fn json(status: StatusCode, value: &Value) -> HttpAnswer {
    content(status, "application/json", value.to_string())
}
