//! The Open Inference Protocol, version 2, over HTTP: what is served, and inference on tensors, of JSON or with bytes behind it.

mod infer;
mod reply;
pub mod tensor;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::{HttpAnswer, json as answer};
use crate::describe::TensorAbout;
use crate::models::Served;
pub use infer::{InferRequest, infer};

/// The header that says how many bytes of a body are JSON; tensors follow.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// What the server is.
pub fn server() -> HttpAnswer {
    let value = json!({
        "name": "kiln", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"],
    });
    answer(StatusCode::OK, &value)
}

fn tensors(all: &[TensorAbout]) -> Value {
    let one = |tensor: &TensorAbout| json!({ "name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape });
    all.iter().map(one).collect()
}

/// What a model is.
pub fn model(served: &Served, versions: &[String]) -> HttpAnswer {
    let value = json!({
        "name": served.name,
        "versions": versions,
        "platform": "kiln",
        "inputs": tensors(&served.about.inputs),
        "outputs": tensors(&served.about.outputs),
    });
    answer(StatusCode::OK, &value)
}

/// That a model is ready.
pub fn ready(served: &Served) -> HttpAnswer {
    answer(StatusCode::OK, &json!({ "name": served.name, "ready": true }))
}
