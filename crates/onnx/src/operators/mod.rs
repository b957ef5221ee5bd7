//! The operators of ONNX, each by kiln's tensors.

mod attention;
mod contract;
mod create;
mod index;
mod losses;
mod movement;
mod norms;
mod pad;
mod pick;
mod pointwise;
mod quantise;
mod recurrent;
mod reduce;
mod resize;
mod sample;
mod tables;
#[cfg(test)]
mod tests;
mod windows;

use crate::call::Operator;

/// The domains whose operators are known by the same names.
const STANDARD: [&str; 2] = ["", "ai.onnx"];

/// A group of operators by their names.
type Group = fn(&str) -> Option<Operator>;

const GROUPS: [Group; 16] = [
    attention::find,
    contract::find,
    create::find,
    index::find,
    losses::find,
    movement::find,
    norms::find,
    pad::find,
    pick::find,
    pointwise::find,
    quantise::find,
    recurrent::find,
    reduce::find,
    resize::find,
    sample::find,
    windows::find,
];

/// What an operator computes, if it is known here.
pub fn find(domain: &str, name: &str) -> Option<Operator> {
    if STANDARD.contains(&domain) {
        return GROUPS.iter().find_map(|group| group(name));
    }
    if domain == crate::export::ML { tables::find(name) } else { None }
}
