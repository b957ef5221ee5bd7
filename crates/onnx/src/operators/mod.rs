//! The operators of ONNX, each by kiln's tensors.

mod attention;
mod contract;
mod control;
mod create;
mod host;
mod index;
mod losses;
mod microsoft;
mod movement;
mod narrow;
mod norms;
mod pad;
mod pick;
mod pointwise;
mod quantise;
mod random;
mod recurrent;
mod reduce;
mod regions;
mod resize;
mod sample;
mod scores;
mod sequences;
mod signals;
mod svm;
mod tables;
#[cfg(test)]
mod tests;
mod texts;
mod training;
mod trees;
mod windows;

use crate::call::Operator;

/// The domains whose operators are known by the same names.
const STANDARD: [&str; 2] = ["", "ai.onnx"];

/// Finds an operator of a group by its name.
type Lookup = fn(&str) -> Option<Operator>;

const GROUPS: [Lookup; 23] = [
    attention::find,
    contract::find,
    control::find,
    create::find,
    host::find,
    index::find,
    losses::find,
    movement::find,
    norms::find,
    pad::find,
    pick::find,
    pointwise::find,
    quantise::find,
    random::find,
    recurrent::find,
    reduce::find,
    regions::find,
    resize::find,
    sample::find,
    sequences::find,
    signals::find,
    texts::find,
    windows::find,
];

/// Those of `ai.onnx.ml`.
const TABLES: [Lookup; 4] = [scores::find, svm::find, tables::find, trees::find];

/// What an operator computes, if it is known here.
pub fn find(domain: &str, name: &str) -> Option<Operator> {
    if STANDARD.contains(&domain) {
        return GROUPS.iter().find_map(|group| group(name));
    }
    match domain {
        crate::export::ML => TABLES.iter().find_map(|group| group(name)),
        "ai.onnx.preview.training" => training::find(name),
        "ai.onnx.preview" if name == "FlexAttention" => Some(attention::flexible),
        "com.microsoft" => microsoft::find(name),
        _ => None,
    }
}
