//! The operators of ONNX, each by kiln's tensors.

mod attention;
mod create;
mod index;
mod losses;
mod movement;
mod pad;
mod pick;
mod pointwise;
mod quantise;
mod resize;
mod sample;
mod tables;
#[cfg(test)]
mod tests;

use crate::call::Operator;

/// The domains whose operators are known by the same names.
const STANDARD: [&str; 2] = ["", "ai.onnx"];

/// What an operator computes, if it is known here.
pub fn find(domain: &str, name: &str) -> Option<Operator> {
    if STANDARD.contains(&domain) {
        let groups = [
            pointwise::find,
            movement::find,
            create::find,
            pad::find,
            index::find,
            pick::find,
            quantise::find,
            resize::find,
            losses::find,
            attention::find,
            sample::find,
        ];
        return groups.into_iter().find_map(|find| find(name));
    }
    if domain == "ai.onnx.ml" { tables::find(name) } else { None }
}
