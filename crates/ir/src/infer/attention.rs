//! The shapes of attention.

use super::{InferenceError, OperandType};
use crate::attention::{AttentionOperand, AttentionSpec, AttentionValue, sums};
use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::shape::Shape;

/// The shape and dtype of a value of attention.
pub(super) fn infer(
    spec: &AttentionSpec,
    value: AttentionValue,
    operands: &[OperandType],
) -> Result<(Shape, DType), InferenceError> {
    let ((q, dtype), (k, _), (v, _)) = (operands[0], operands[1], operands[2]);
    let four = [q, k, v].iter().all(|shape| shape.rank() == 4);
    ensure!(
        four,
        Shape,
        "queries {q}, keys {k} and values {v} need 4 axes each: batch, heads, positions, width"
    );
    ensure!(dtype.is_float(), DType, "isn't defined on {dtype}");
    let same = operands[..3].iter().all(|operand| operand.1 == dtype);
    ensure!(same, DType, "dtypes differ, {dtype}, {} and {}", operands[1].1, operands[2].1);
    ensure!(q[3] == k[3] && k[2] == v[2], Shape, "queries {q}, keys {k} and values {v} don't fit");
    ensure!(q[3] > 0 && v[3] > 0, Shape, "queries {q} and values {v} have no width");
    let shares = q[1] == k[1] || (k[1] > 0 && q[1].is_multiple_of(k[1]));
    ensure!(
        q[0] == k[0] && q[0] == v[0] && k[1] == v[1] && shares,
        Shape,
        "the heads of queries {q} don't divide among those of keys {k} and values {v}"
    );
    let scores: Shape = [q[0], q[1], q[2], k[2]].into();
    let rows: Shape = [q[0], q[1], q[2]].into();
    let result: Shape = [q[0], q[1], q[2], v[3]].into();
    if let Some((mask, of)) = spec.mask().map(|position| operands[position]) {
        ensure!(*mask == scores, Shape, "a mask {mask} for scores {scores}");
        ensure!(of == DType::Bool || of == dtype, DType, "a mask of {of} for operands of {dtype}");
    }
    if let Some((places, of)) = spec.places().map(|position| operands[position]) {
        ensure!(*places == Shape::from([q[0]]), Shape, "places {places} for a batch of {}", q[0]);
        ensure!(of == DType::I64, DType, "places are i64, not {of}");
    }
    if let Some((key, of)) = spec.dropped().map(|position| operands[position]) {
        ensure!(*key == Shape::from([1]), Shape, "a key {key} of what is dropped, which should be [1]");
        ensure!(of == DType::I64, DType, "keys of what is dropped are i64, not {of}");
    }
    let gradient = match value {
        AttentionValue::Result => return Ok((result, dtype)),
        AttentionValue::LogSum => return Ok((rows, sums(dtype))),
        AttentionValue::Gradient(operand) => operand,
    };
    let [log_sum, delta, g] = [0, 1, 2].map(|more| operands[spec.forward() + more]);
    for (name, (shape, of)) in [("log sums", log_sum), ("delta", delta)] {
        ensure!(*shape == rows, Shape, "{name} {shape} for rows {rows}");
        ensure!(of == sums(dtype), DType, "{name} of {of} for operands of {dtype}");
    }
    ensure!(*g.0 == result && g.1 == dtype, Shape, "a gradient {}{} of a result {dtype}{result}", g.1, g.0);
    let shape = match gradient {
        AttentionOperand::Query => q,
        AttentionOperand::Key => k,
        AttentionOperand::Value => v,
        AttentionOperand::Mask => {
            let floats = spec.mask().is_some_and(|position| operands[position].1 == dtype);
            ensure!(floats, Value, "there is no mask of floats to have a gradient");
            &scores
        }
    };
    Ok((shape.clone(), dtype))
}
