//! Movement: each operation is a map from an index of the result to an index of its operand.

use super::OperandValue;
use super::values::EvalValues;
use crate::dtype::Scalar;
use crate::op::SliceRange;
use crate::shape::Shape;

/// Every index of a shape in row-major order.
pub fn indices(shape: &Shape) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.clone();
    (0..shape.elements()).map(move |flat| unflatten(flat, &shape))
}

/// The index of the element at this row-major position.
pub fn unflatten(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    index
}

/// The row-major position of the element at this index.
pub fn flatten(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |flat, (&i, &size)| flat * size + i)
}

fn moved(x: OperandValue, shape: &Shape, source: impl Fn(&[usize]) -> Vec<usize>) -> EvalValues {
    x.values.at(indices(shape).map(|index| flatten(&source(&index), x.shape())))
}

pub fn permute(x: OperandValue, shape: &Shape, axes: &[usize]) -> EvalValues {
    moved(x, shape, |index| {
        let mut source = vec![0; index.len()];
        for (i, &axis) in index.iter().zip(axes) {
            source[axis] = *i;
        }
        source
    })
}

pub fn expand(x: OperandValue, shape: &Shape) -> EvalValues {
    let from = x.shape();
    moved(x, shape, |index| {
        (0..index.len()).map(|axis| if from[axis] == 1 { 0 } else { index[axis] }).collect()
    })
}

pub fn slice(x: OperandValue, shape: &Shape, ranges: &[SliceRange]) -> EvalValues {
    let position =
        |(&i, range): (&usize, &SliceRange)| (range.start as isize + i as isize * range.step) as usize;
    moved(x, shape, |index| index.iter().zip(ranges).map(position).collect())
}

pub fn pad(x: OperandValue, shape: &Shape, before: &[usize], value: Scalar) -> EvalValues {
    let mut result = EvalValues::filled(x.node.dtype, shape.elements(), value);
    put(x, &mut result, shape, |index| index.iter().zip(before).map(|(i, before)| i + before).collect());
    result
}

pub fn concat(parts: &[OperandValue], shape: &Shape, axis: usize) -> EvalValues {
    let mut result = EvalValues::filled(parts[0].node.dtype, shape.elements(), Scalar::Int(0));
    let mut offset = 0;
    for part in parts {
        put(*part, &mut result, shape, |index| {
            let mut target = index.to_vec();
            target[axis] += offset;
            target
        });
        offset += part.shape()[axis];
    }
    result
}

/// Puts each element of `x` where `target` says in a result of `shape`.
fn put(x: OperandValue, result: &mut EvalValues, shape: &Shape, target: impl Fn(&[usize]) -> Vec<usize>) {
    for (from, index) in indices(x.shape()).enumerate() {
        let to = flatten(&target(&index), shape);
        match (x.values, &mut *result) {
            (EvalValues::Int(x), EvalValues::Int(result)) => result[to] = x[from],
            (EvalValues::Float(x), EvalValues::Float(result)) => result[to] = x[from],
            _ => unreachable!("the graph is typed: parts of one dtype"),
        }
    }
}
