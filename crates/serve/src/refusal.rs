//! Why a request isn't answered, with the status that says so.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use kiln_learn::Error;

/// Why a request isn't answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: StatusCode,
    /// What is wrong, and the mend.
    pub message: String,
    /// A header that belongs to the status.
    pub header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// With a status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), header: None }
    }

    /// What came in is wrong.
    pub fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub fn missing(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// The content is of a kind that isn't taken here.
    pub fn kind(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// More than is taken at once.
    pub fn large(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// So much waits already that this would wait too long.
    pub fn busy(message: impl Into<String>) -> Refusal {
        let header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
        Refusal { header, ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// The answer would come after the time it was asked for.
    pub fn late() -> Refusal {
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, "the deadline passed before there was an answer")
    }

    /// Another method is meant.
    pub fn method(allowed: &'static str) -> Refusal {
        let message = format!("this takes {allowed}");
        let header = Some((ALLOW, HeaderValue::from_static(allowed)));
        Refusal { header, ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// A token is asked for.
    pub fn token() -> Refusal {
        let message = "a token is needed: Authorization: Bearer TOKEN";
        let header = Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        Refusal { header, ..Refusal::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// Something went wrong here.
    pub fn fault(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl From<Error> for Refusal {
    /// Data that don't suit the model are the asker's affair; what can't be computed is ours.
    fn from(error: Error) -> Refusal {
        match error {
            Error::Data(_) | Error::Preparation(_) => Refusal::bad(error.to_string()),
            _ => Refusal::fault(error.to_string()),
        }
    }
}

impl From<kiln_learn::data::Error> for Refusal {
    fn from(error: kiln_learn::data::Error) -> Refusal {
        Refusal::bad(error.to_string())
    }
}
