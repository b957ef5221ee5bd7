//! A body run step by step.

use super::values::{EvalValues, map_values};
use super::{OperandValue, evaluate};
use crate::data::Data;
use crate::dtype::DType;
use crate::error::{Error, ErrorKind};
use crate::infer::InferenceError;
use crate::op::{Scan, ScanResult, VariableHandle};
use crate::shape::Shape;

pub(super) fn scan(
    scan: &Scan,
    result: ScanResult,
    x: &[OperandValue],
) -> Result<EvalValues, InferenceError> {
    let mut body = scan.body.clone();
    if let ScanResult::Stacked(id) = result {
        body.outputs.push(id);
    }
    let data = |x: &OperandValue| x.values.to_data(x.node.dtype);
    let mut states: Vec<Data> = x[..scan.states].iter().map(data).collect();
    let (sequences, constants) = x[scan.states..].split_at(scan.sequences);
    let constants: Vec<Data> = constants.iter().map(data).collect();
    let mut stacked: Vec<Data> = Vec::with_capacity(scan.steps);
    for step in 0..scan.steps {
        let place = scan.slice_of(step);
        let slice = |(all, (shape, _)): (&OperandValue, &(Shape, DType))| {
            let size = shape.elements();
            let part = place * size..(place + 1) * size;
            map_values!(all.values, items => items[part].to_vec()).to_data(all.node.dtype)
        };
        let slices: Vec<Data> = sequences.iter().zip(&body.inputs[scan.states..]).map(slice).collect();
        let inputs: Vec<&Data> = states.iter().chain(&slices).chain(&constants).collect();
        let no_variable = |_: &dyn VariableHandle| {
            Err(Error::new(ErrorKind::Value, "scan", "a body has no variables").nowhere())
        };
        let mut outputs = evaluate(&body, &inputs, &no_variable)
            .map_err(|error| (error.kind, format!("step {step}: {}: {}", error.operation, error.message)))?
            .outputs;
        stacked.extend(outputs.drain(scan.states..));
        states = outputs;
    }
    if scan.reverse {
        stacked.reverse();
    }
    Ok(match result {
        ScanResult::Last(state) => EvalValues::from_data(&states[state]),
        ScanResult::Stacked(id) => {
            let parts: Vec<EvalValues> = stacked.iter().map(EvalValues::from_data).collect();
            EvalValues::joined(body.nodes[id].dtype, &parts)
        }
    })
}
