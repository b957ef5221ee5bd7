//! Sequences: lists of tensors whose length is known while a network is traced.

use std::sync::Arc;

use kiln_nn::Tensor;

use crate::call::{Call, Operator};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "SequenceEmpty" => |_| list(Vec::new()),
        "SequenceConstruct" => |call| list(call.inputs.clone()),
        "SequenceAt" => |call| {
            let all = values(call)?;
            Ok(vec![all[place(call, 1, all.len(), 0)?].clone()])
        },
        "SequenceInsert" => |call| {
            let mut all = copied(call)?;
            let at = if call.has(2) { place(call, 2, all.len(), 1)? } else { all.len() };
            all.insert(at, call.value(1)?.clone());
            list(all)
        },
        "SequenceErase" => |call| {
            let mut all = copied(call)?;
            let at = if call.has(1) { place(call, 1, all.len(), 0)? } else { all.len().saturating_sub(1) };
            if at >= all.len() {
                return Err(call.fault("there is nothing to take out"));
            }
            all.remove(at);
            list(all)
        },
        "SequenceLength" => |call| Ok(vec![Value::of(Tensor::from(values(call)?.len() as i64))]),
        "ConcatFromSequence" => {
            |call| Ok(vec![stacked(call, values(call)?, call.int("axis", 0), call.int("new_axis", 0) != 0)?])
        }
        "SplitToSequence" => split,
        "SequenceMap" => map,
        // An optional value is the value itself, or nothing.
        "Optional" => |call| Ok(vec![call.inputs.first().cloned().unwrap_or(Value::Nothing)]),
        "OptionalGetElement" => |call| Ok(vec![call.value(0)?.clone()]),
        "OptionalHasElement" => |call| Ok(vec![Value::of(Tensor::from(call.has(0)))]),
        _ => return None,
    })
}

fn list(values: Vec<Value>) -> Result<Vec<Value>> {
    Ok(vec![Value::List(Arc::new(values))])
}

fn values<'a>(call: &'a Call) -> Result<&'a [Value]> {
    match call.value(0)? {
        Value::List(values) => Ok(values),
        _ => Err(call.fault("input 0 is no sequence")),
    }
}

/// A sequence that becomes another.
fn copied(call: &Call) -> Result<Vec<Value>> {
    let all = values(call)?;
    call.budget().steps(16 * all.len() as u64).map_err(|exceeded| call.limit(exceeded))?;
    Ok(all.to_vec())
}

/// A position in a list of so many, counted from the end where it is negative; with `more` also that behind the last.
fn place(call: &Call, position: usize, count: usize, more: usize) -> Result<usize> {
    let at = call.known_number(position)? as i64;
    let place = if at < 0 { at + count as i64 } else { at };
    usize::try_from(place)
        .ok()
        .filter(|&place| place < count + more)
        .ok_or_else(|| call.fault(format!("position {at} of {count}")))
}

/// Values of one type behind one another along an axis, or beside one another along a new one.
pub(super) fn stacked(call: &Call, all: &[Value], axis: i64, new: bool) -> Result<Value> {
    let mut tensors = Vec::with_capacity(all.len());
    let mut element = None;
    for value in all {
        let Value::Numbers(tensor, own) = value else {
            return Err(call.unknown("a sequence of other than numbers"));
        };
        if element.is_some_and(|element| element != *own) {
            return Err(call.fault("its parts are of several types"));
        }
        element = Some(*own);
        tensors.push(tensor.clone());
    }
    let (Some(first), Some(element)) = (tensors.first(), element) else {
        return Err(call.unknown("of no parts at all nobody knows the shape"));
    };
    let axis = call.axis(axis, first.rank() + usize::from(new))? as isize;
    let joined = if new { Tensor::stack(&tensors, axis) } else { Tensor::concat(&tensors, axis) };
    Ok(Value::Numbers(call.sound(joined)?, element))
}

/// What a graph makes of each value of a sequence, and of those beside it in others.
fn map(call: &Call) -> Result<Vec<Value>> {
    let (all, body) = (values(call)?, call.graph("body")?);
    let mut given = vec![Vec::with_capacity(all.len()); body.output.len()];
    for at in 0..all.len() {
        call.unrolled(1)?;
        let beside = call.inputs[1..].iter().map(|input| match input {
            Value::List(values) => {
                let value = values.get(at).cloned();
                value.ok_or_else(|| call.fault(format!("sequences of {} and {}", all.len(), values.len())))
            }
            other => Ok(other.clone()),
        });
        let inputs = std::iter::once(Ok(all[at].clone())).chain(beside).collect::<Result<Vec<_>>>()?;
        let outputs = call.run(body, inputs)?;
        given.iter_mut().zip(outputs).for_each(|(all, value)| all.push(value));
    }
    Ok(given.into_iter().map(|all| Value::List(Arc::new(all))).collect())
}

/// A tensor in parts of a length, of several lengths, or of one without its axis.
fn split(call: &Call) -> Result<Vec<Value>> {
    let (x, element) = (call.tensor(0)?, call.element(0)?);
    let axis = call.axis(call.int("axis", 0), x.rank())?;
    let size = x.shape()[axis];
    call.unrolled(size)?;
    let lengths = match call.optional_ints(1)? {
        None => vec![1; size],
        Some(lengths) if call.value(1)?.shape().is_empty() => {
            let each = call.sizes(&lengths)?.first().copied().unwrap_or(0).max(1);
            let rest = size % each;
            let whole = std::iter::repeat_n(each, size / each);
            whole.chain((rest > 0).then_some(rest)).collect()
        }
        Some(lengths) => call.sizes(&lengths)?,
    };
    if lengths.iter().sum::<usize>() != size {
        return Err(call.fault(format!("parts {lengths:?} of an axis of {size}")));
    }
    let keep = call.has(1) || call.int("keepdims", 1) != 0;
    let mut start = 0;
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let part = x.narrow(axis as isize, start as isize, length);
        parts.push(Value::Numbers(if keep { part } else { part.squeeze(axis as isize) }, element));
        start += length;
    }
    list(parts)
}
