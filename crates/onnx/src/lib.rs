//! ONNX: what is computed here as a file that others run, and files of others as models here.
//!
//! [`export`] traces a forward pass and writes it with ONNX's operators. [`load`] reads a file as a [`Network`], a module whose
//! weights are parameters.
//!
//! # Invariants
//!
//! - Nothing in a file is believed: sizes are held against what is there, and what it asks for is taken from a budget first.
//! - What isn't known of a file is an error that lists all of it; nothing is guessed or left out.
//! - What is exported gives what the model gives, and is a model again when it is read.

#![forbid(unsafe_code)]

mod call;
mod element;
mod error;
pub mod export;
mod network;
mod operators;
#[doc(hidden)]
pub mod proto;
mod read;
mod value;
pub mod verify;
mod weigh;

pub use element::Element;
pub use error::{Error, Result};
pub use network::{Kept, Network, Port, load, parse};
pub use read::tensor_file;
pub use value::Value;
