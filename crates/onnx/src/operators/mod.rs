//! The operators of ONNX, each by kiln's tensors.

mod create;
mod movement;
mod pad;
mod pointwise;

use crate::call::Operator;

/// The domains whose operators are known by the same names.
const STANDARD: [&str; 2] = ["", "ai.onnx"];

/// What an operator computes, if it is known here.
pub fn find(domain: &str, name: &str) -> Option<Operator> {
    if STANDARD.contains(&domain) {
        let groups = [pointwise::find, movement::find, create::find, pad::find];
        return groups.into_iter().find_map(|find| find(name));
    }
    None
}
