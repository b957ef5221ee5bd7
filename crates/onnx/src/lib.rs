//! ONNX: what is computed here as a file that others run, and files of others as models here.
//!
//! [`export`] traces a forward pass and writes it with ONNX's operators. [`load`] reads a file as a [`Network`], a module whose
//! weights are parameters.
//!
//! # Invariants
//!
//! - **What is written is what was traced**: a file read back computes what the module did. `learn`'s export reads each file back and
//!   compares; `tests/onnx.rs` and `scripts/onnx.sh` (beside ONNX Runtime) hold it.
//! - **No file is believed**: memory, nodes and work are taken from a [`Budget`](kiln_map::Budget) before they are used, and other files are
//!   opened by [`ExternalFiles`](kiln_map::ExternalFiles) alone. Whoever loads a stranger's file relies on it; `tests/hostile` holds it.
//! - **An operator means what ONNX says of its version, or is refused** ([`Error::Unsupported`]): never nearly the same. The command's exit
//!   code 3 relies on it; the cases in `operators/tests.rs` hold it.
//! - **Bytes of a file aren't copied to be read**: messages share the memory of the map, as
//!   `bytes_share_the_memory_they_were_read_from` shows.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod call;
mod element;
mod error;
pub mod export;
mod network;
mod operators;
#[doc(hidden)]
pub mod proto;
mod read;
mod settle;
mod value;
pub mod verify;
mod weigh;

pub use element::OnnxDType;
pub use error::{Error, Result};
/// Whether an operator is known here.
#[doc(hidden)]
pub fn knows(domain: &str, operator: &str) -> bool {
    operators::find(domain, operator).is_some()
}

pub use network::{Network, Port, WeightSource, load, parse};
pub use read::tensor_file;
pub use value::Value;
