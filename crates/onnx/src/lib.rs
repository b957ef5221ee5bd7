//! ONNX: what is computed here as a file that others run, and files of others as models here.
//!
//! [`export`] traces a forward pass and writes it with ONNX's operators. [`load`] reads a file as a [`Network`], a module whose
//! weights are parameters.

mod element;
mod error;
pub mod export;
#[doc(hidden)]
pub mod proto;

pub use element::Element;
pub use error::{Error, Result};
