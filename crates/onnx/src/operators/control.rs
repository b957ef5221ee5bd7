//! Subgraphs: one of two (`If`), or one again and again (`Loop`, `Scan`). How often has to be known before anything runs. A scan whose
//! values are numbers is one operation; loops, and scans of other values, are unrolled.

use std::cell::RefCell;

use kiln_nn::tensor::scan::scanned;
use kiln_nn::{ScanOptions, Tensor};

use super::sequences::stacked;
use crate::call::{Call, Operator};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::proto::GraphProto;
use crate::settle::held;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "If" => |call| {
            let truth = call.known_number(0)? != 0.0;
            call.run(call.graph(if truth { "then_branch" } else { "else_branch" })?, Vec::new())
        },
        "Loop" => repeat,
        "Scan" => scan,
        _ => return None,
    })
}

/// Iterations with values carried from one to the next, until their number or a condition ends them; further results of each are
/// stacked.
fn repeat(call: &Call) -> Result<Vec<Value>> {
    let body = call.graph("body")?;
    let most = if call.has(0) { call.known_number(0)? as i64 } else { i64::MAX };
    let mut going = !call.has(1) || call.known_number(1)? != 0.0;
    let mut state: Vec<Value> = call.inputs.iter().skip(2).cloned().collect();
    let count = state.len();
    if body.output.len() < count + 1 {
        return Err(
            call.fault(format!("its graph gives {} values for {count} that go on", body.output.len()))
        );
    }
    let mut gathered = vec![Vec::new(); body.output.len() - count - 1];
    // What the rounds gave is there until the last: all that was gathered, and what goes on.
    let (mut kept, mut carried) = (0, 0);
    let take = |bytes: u64| call.budget().bytes(bytes).map_err(|exceeded| call.limit(exceeded));
    let mut iteration = 0;
    while going && iteration < most {
        call.unrolled(1)?;
        let mut inputs = vec![Value::of(Tensor::from(iteration)), Value::of(Tensor::from(true))];
        inputs.append(&mut state);
        let mut outputs = call.settled(call.run(body, inputs)?)?.into_iter();
        let on = outputs.next().map(|value| call.needed(&value)).transpose()?.flatten();
        let on = on.and_then(|data| data.get(0));
        let on = on
            .ok_or_else(|| call.unknown("whether it goes on follows from numbers known only when it runs"))?;
        going = on.as_f64() != 0.0;
        state = outputs.by_ref().take(count).collect();
        let (outputs, goes_on) = (outputs.collect::<Vec<_>>(), held(&state));
        let more = held(&outputs);
        take(more.saturating_add(goes_on))?;
        call.budget().free(carried);
        (kept, carried) = (kept + more, goes_on);
        gathered.iter_mut().zip(outputs).for_each(|(all, value)| all.push(value));
        iteration += 1;
    }
    call.budget().free(kept + carried);
    for all in gathered {
        state.push(stacked(call, &all, 0, true)?);
    }
    Ok(state)
}

/// An iteration for each slice of an axis.
fn scan(call: &Call) -> Result<Vec<Value>> {
    if call.version < 9 {
        return Err(
            call.unknown("the form of version 8, with a batch; write the file with version 9 or later")
        );
    }
    let body = call.graph("body")?;
    let scanned = call.sizes(&[call.int("num_scan_inputs", 0)])?[0];
    let count = call.count().checked_sub(scanned).filter(|&count| count <= body.output.len() && scanned > 0);
    let count =
        count.ok_or_else(|| call.fault(format!("{scanned} of {} inputs to walk along", call.count())))?;
    let gathered = body.output.len() - count;
    let list = |name: &str, count: usize| match call.ints(name) {
        None => Ok(vec![0; count]),
        Some(list) if list.len() == count => Ok(list),
        Some(list) => Err(call.fault(format!("{name} has {} entries for {count}", list.len()))),
    };
    let (axes, directions) = (list("scan_input_axes", scanned)?, list("scan_input_directions", scanned)?);
    let (to, ways) = (list("scan_output_axes", gathered)?, list("scan_output_directions", gathered)?);
    if let Some((mut values, all)) = as_walk(call, body, count, (&axes, &directions))? {
        for (at, (all, element)) in all.into_iter().enumerate() {
            let axis = call.axis(to[at], all.rank())? as isize;
            let all = if ways[at] != 0 { all.flip(0) } else { all };
            values.push(Value::Numbers(call.sound(all.move_axis(0, axis))?, element));
        }
        return Ok(values);
    }
    let mut parts = Vec::with_capacity(scanned);
    let mut iterations = None;
    for at in 0..scanned {
        let (x, element) = (call.tensor(count + at)?, call.element(count + at)?);
        let axis = call.axis(axes[at], x.rank())?;
        let size = x.shape()[axis];
        if iterations.is_some_and(|iterations| iterations != size) {
            return Err(call.fault(format!("{size} slices beside {iterations:?}")));
        }
        // A slice is cut out and loses its axis.
        call.unrolled(size.saturating_mul(2))?;
        iterations = Some(size);
        let slice = |place: usize| x.narrow(axis as isize, place as isize, 1).squeeze(axis as isize);
        let slices: Vec<Value> = match directions[at] {
            0 => (0..size).map(|place| Value::Numbers(slice(place), element)).collect(),
            _ => (0..size).rev().map(|place| Value::Numbers(slice(place), element)).collect(),
        };
        parts.push(slices.into_iter());
    }
    let mut state: Vec<Value> = call.inputs[..count].to_vec();
    let mut all = vec![Vec::new(); gathered];
    for _ in 0..iterations.unwrap_or(0) {
        call.unrolled(1)?;
        state.extend(parts.iter_mut().filter_map(Iterator::next));
        let mut outputs = call.run(body, state)?.into_iter();
        state = outputs.by_ref().take(count).collect();
        all.iter_mut().zip(outputs).for_each(|(all, value)| all.push(value));
    }
    for (at, mut all) in all.into_iter().enumerate() {
        if ways[at] != 0 {
            all.reverse();
        }
        state.push(stacked(call, &all, to[at], true)?);
    }
    Ok(state)
}

/// What a walk gives: the values that go on, and what each step gave, along a first axis.
type Walked = (Vec<Value>, Vec<(Tensor, OnnxDType)>);

/// The iterations of a `Scan` as one operation, whose body is read once. Nothing where they can't be: what goes on changes its shape or
/// type, isn't numbers, or decides what is computed.
fn as_walk(
    call: &Call,
    body: &GraphProto,
    count: usize,
    (axes, directions): (&[i64], &[i64]),
) -> Result<Option<Walked>> {
    let numbers = |value: &Value| match value {
        Value::Numbers(tensor, element) => Some((tensor.clone(), *element)),
        Value::Texts(..) | Value::List(_) | Value::Later(_) | Value::Nothing => None,
    };
    let Some(start) = call.inputs[..count].iter().map(numbers).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let mut sequences = Vec::with_capacity(axes.len());
    for (at, (&axis, &direction)) in axes.iter().zip(directions).enumerate() {
        let (x, element) = (call.tensor(count + at)?, call.element(count + at)?);
        let first = x.move_axis(call.axis(axis, x.rank())? as isize, 0);
        sequences.push((if direction != 0 { first.flip(0) } else { first }, element));
    }
    let elements: Vec<OnnxDType> = start.iter().chain(&sequences).map(|(_, element)| *element).collect();
    let given: RefCell<Option<Vec<(Tensor, OnnxDType)>>> = RefCell::new(None);
    let tensors = |list: &[(Tensor, OnnxDType)]| list.iter().map(|(x, _)| x.clone()).collect::<Vec<_>>();
    let walk = |states: &[Tensor], slices: &[Tensor]| {
        let values = states.iter().chain(slices).zip(&elements);
        let values = values.map(|(tensor, element)| Value::Numbers(tensor.clone(), *element)).collect();
        let outputs = call.run(body, values).ok();
        let outputs = outputs.and_then(|outputs| outputs.iter().map(numbers).collect::<Option<Vec<_>>>());
        let all = outputs.as_deref().map(tensors).unwrap_or_default();
        given.replace(outputs);
        let (next, rest) = all.split_at(count.min(all.len()));
        (next.to_vec(), rest.to_vec())
    };
    let Ok((last, all)) = scanned(&tensors(&start), &tensors(&sequences), ScanOptions::new(), &walk) else {
        return Ok(None);
    };
    let Some(given) = given.take() else { return Ok(None) };
    let same = start.iter().zip(&given).all(|((_, before), (_, now))| before == now);
    if !same || given.len() != count + all.len() {
        return Ok(None);
    }
    let last = last.into_iter().zip(&start).map(|(x, (_, element))| Value::Numbers(x, *element)).collect();
    Ok(Some((last, all.into_iter().zip(&given[count..]).map(|(x, (_, element))| (x, *element)).collect())))
}
