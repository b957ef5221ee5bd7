//! LinearWeights as layers: one dense layer, behind vectors of codes that hold what each word says of each output.

use kiln_data::Form;
use kiln_nn::{Module, Sequential, Tensor};

use super::LinearWeights;
use super::rows::Design;
use crate::{Error, Result};

/// The layers that say what these weights say; the outputs of all targets stand in a row.
pub(super) fn of(design: &Design, targets: &[LinearWeights]) -> Result<Sequential> {
    let scores: Vec<(&Vec<f64>, f64)> =
        targets.iter().flat_map(|own| own.each.iter().zip(own.biases.iter().copied())).collect();
    let (outputs, columns) = (scores.len(), design.codes.len());
    let front: String = design.codes.iter().map(|size| format!(" {size}:{outputs}")).collect();
    let front = if columns == 0 { front } else { format!("embed-columns{front}, ") };
    let layers: Sequential = format!("{front}dense {outputs}").parse()?;
    layers.build([1, Form::numbers(&[design.width()]).width()])?;
    let number = |at: usize, output: usize| scores[output].0.get(at).copied().unwrap_or(0.0) as f32;
    let mut first = design.amounts;
    let mut tables = design.codes.iter();
    for (path, parameter) in layers.parameters() {
        let shape = parameter.shape();
        let numbers: Vec<f32> = if path.ends_with("bias") {
            scores.iter().map(|(_, bias)| *bias as f32).collect()
        } else if path.ends_with("weight") {
            let amounts = (0..design.amounts).flat_map(|at| (0..outputs).map(move |output| (at, output)));
            let amounts = amounts.map(|(at, output)| number(at, output));
            // Each number of a word's vector goes to its own output.
            let words = (0..columns * outputs * outputs).map(|at| (at / outputs % outputs, at % outputs));
            let words = words.map(|(from, to)| if from == to { 1.0 } else { 0.0 });
            amounts.chain(words).collect()
        } else {
            let size = tables.next().copied().unwrap_or(0);
            let start = first;
            first += size;
            (0..size * outputs).map(|at| number(start + at / outputs, at % outputs)).collect()
        };
        if numbers.len() != shape.elements() {
            return Err(Error::Training(format!("{path}: {} weights for {shape}", numbers.len())));
        }
        parameter.set(&Tensor::new(numbers, shape))?;
    }
    Ok(layers)
}
