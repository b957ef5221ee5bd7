//! Reading and writing where other values say.

use super::OperandValue;
use super::movement::{flatten, indices};
use super::values::{EvalNumber, EvalValues};
use crate::error::ErrorKind;
use crate::infer::InferenceError;
use crate::op::{BlockFormat, ScatterMode};
use crate::shape::Shape;

/// For each element of `index` the position in `x` it names.
fn positions(x: OperandValue, index: OperandValue, axis: usize) -> Result<Vec<usize>, InferenceError> {
    let size = x.shape()[axis];
    let position = |(mut place, &i): (Vec<usize>, &i64)| {
        place[axis] = usize::try_from(i).ok().filter(|&i| i < size).ok_or_else(|| {
            let message = format!("index {i} is out of range for axis {axis} of size {size}");
            (ErrorKind::Index, message)
        })?;
        Ok(flatten(&place, x.shape()))
    };
    indices(index.shape()).zip(index.values.ints()).map(position).collect()
}

pub fn gather(x: OperandValue, index: OperandValue, axis: usize) -> Result<EvalValues, InferenceError> {
    Ok(x.values.at(positions(x, index, axis)?.into_iter()))
}

pub fn unpack(x: OperandValue, format: BlockFormat, shape: &Shape) -> EvalValues {
    let bytes: Vec<u8> = x.values.ints().iter().map(|&byte| byte as u8).collect();
    let mut numbers = vec![0.0; shape.elements()];
    format.unpack(&bytes, &mut numbers);
    EvalValues::Float(numbers.into_iter().map(f64::from).collect())
}

pub fn scatter(
    base: OperandValue,
    index: OperandValue,
    source: OperandValue,
    axis: usize,
    mode: ScatterMode,
) -> Result<EvalValues, InferenceError> {
    fn put<T: EvalNumber>(base: &[T], positions: &[usize], source: &[T], mode: ScatterMode) -> Vec<T> {
        let mut result = base.to_vec();
        for (&position, &value) in positions.iter().zip(source) {
            result[position] = match mode {
                ScatterMode::Set => value,
                ScatterMode::Add => result[position].add(value),
            };
        }
        result
    }
    let positions = positions(base, index, axis)?;
    Ok(match (base.values, source.values) {
        (EvalValues::Int(base), EvalValues::Int(source)) => {
            EvalValues::Int(put(base, &positions, source, mode))
        }
        (EvalValues::Float(base), EvalValues::Float(source)) => {
            EvalValues::Float(put(base, &positions, source, mode))
        }
        _ => unreachable!("the graph is typed: base and source of one dtype"),
    })
}
