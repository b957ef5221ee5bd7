//! Operators of `com.microsoft`: what ONNX Runtime's own tools put in the place of several of ONNX's when they optimise or quantise a file.

mod fused;
mod generation;
mod quantised;
mod transformers;

use crate::call::Operator;

/// An operator of this domain.
pub(super) fn find(name: &str) -> Option<Operator> {
    // The same as ONNX's, there earlier than in ONNX, or for more types.
    const SAME: [&str; 8] = [
        "DequantizeLinear",
        "Gelu",
        "GridSample",
        "LayerNormalization",
        "Pad",
        "QuantizeLinear",
        "Trilu",
        "Unique",
    ];
    if SAME.contains(&name) {
        return super::find("", name);
    }
    [fused::find, generation::find, quantised::find, transformers::find].iter().find_map(|group| group(name))
}
