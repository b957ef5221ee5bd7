//! kiln's models over HTTP. What people have goes in by its content type (rows of JSON or CSV, pictures, texts), labels with
//! probabilities come out; the Open Inference Protocol beside it; texts that go on come piece by piece; a page to try it.
//!
//! # Invariants
//!
//! - **An answer doesn't depend on who else asks**: a row in a batch has the bits that it has alone
//!   (`an_answer_is_the_same_bits_alone_and_in_any_batch`).
//! - **Memory is bounded**: bodies, rows that wait, connections and pictures that are decoded each have a bound, and what is beyond it is
//!   refused with a status that says so (`tests/faults.rs`).
//! - **What was accepted is answered**, also when the server is asked to stop, or the reason why not is said.
//! - **A broken file changes nothing**: what was served before is served on (`a_broken_file_leaves_the_old_model_where_it_is`).
//! - **Nothing is printed**: what there is to say are events of `tracing`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod answer;
mod asking;
mod batch;
mod body;
mod connection;
mod describe;
mod engine;
mod event;
mod generate;
mod json;
mod lane;
mod log;
mod metrics;
mod models;
mod openapi;
mod options;
mod page;
mod patient;
mod predict;
mod refusal;
mod route;
mod server;
mod service;
mod sources;
mod tokens;
mod v2;

pub use log::JsonLog;
pub use options::ServeOptions;
pub use server::{Server, Stop};
pub use sources::{FoundModel, Source};
pub use tokens::{BearerTokens, VARIABLE};

/// What the fuzzers feed: each reader of what a request brings.
#[doc(hidden)]
pub mod readers {
    pub use crate::json::Json;
    pub use crate::v2::InferRequest;
}
