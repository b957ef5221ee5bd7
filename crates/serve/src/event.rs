//! What a text that is being written sends on its way, as events of a server.

use bytes::Bytes;
use serde_json::json;

use crate::engine::WrittenText;
use crate::refusal::Refusal;

/// Something that happened while a text was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// So much was added.
    Added(String),
    /// It is over.
    Ended(WrittenText),
    /// It goes on no further, and why.
    Failed(Refusal),
}

/// How a text ended, as answers say it.
pub fn ending(written: WrittenText) -> &'static str {
    if written.is_ended { "stop" } else { "length" }
}

impl Event {
    /// As one event of a server.
    pub fn bytes(&self) -> Bytes {
        let value = match self {
            Event::Added(text) => json!({ "text": text }),
            Event::Ended(written) => {
                json!({ "done": true, "tokens": written.pieces, "stopped": ending(*written) })
            }
            Event::Failed(refusal) => json!({ "error": refusal.message }),
        };
        format!("data: {value}\n\n").into()
    }
}
