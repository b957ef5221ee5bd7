//! The operators of ONNX, each by kiln's tensors.

mod contract;
mod norms;
mod pointwise;
mod recurrent;
mod reduce;
mod windows;

use crate::call::Operator;

/// The domains whose operators are known by the same names.
const STANDARD: [&str; 2] = ["", "ai.onnx"];

/// What an operator computes, if it is known here.
pub fn find(domain: &str, name: &str) -> Option<Operator> {
    if STANDARD.contains(&domain) {
        let groups =
            [pointwise::find, reduce::find, contract::find, windows::find, norms::find, recurrent::find];
        return groups.into_iter().find_map(|find| find(name));
    }
    None
}
