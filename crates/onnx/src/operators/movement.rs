//! Operators that only move elements: other shapes, other orders, parts, repeats. Texts move as numbers do.

use std::sync::Arc;

use kiln_ir::op::SliceRange;
use kiln_nn::Tensor;

use crate::call::{Call, Operator, vector};
use crate::error::Result;
use crate::value::{Value, whole};

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Shape" => shape,
        "Size" => |call| {
            let count: usize = call.value(0)?.shape().iter().product();
            Ok(vec![Value::new(kiln_ir::Data::I64(vec![count as i64]), &[], crate::OnnxDType::I64)])
        },
        "Reshape" => reshape,
        "Flatten" => |call| {
            let shape = call.value(0)?.shape();
            // An axis behind the last is possible here.
            let axis = match call.int("axis", 1) {
                axis if axis == shape.len() as i64 => shape.len(),
                axis => call.axis(axis, shape.len())?,
            };
            let count = |sizes: &[usize]| sizes.iter().product::<usize>();
            reshaped(call, vec![count(&shape[..axis]), count(&shape[axis..])])
        },
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Transpose" => |call| {
            let rank = call.value(0)?.shape().len();
            let axes = match call.ints("perm") {
                Some(axes) => call.axes(&axes, rank)?,
                None => (0..rank).rev().collect(),
            };
            Ok(vec![moved(call, 0, &|x| Ok(x.permute(axes.clone())))?])
        },
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Expand" => expand,
        "Tile" => tile,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        "ReverseSequence" => reverse_sequence,
        _ => return None,
    })
}

/// An input with its elements in other places. Those of texts are found by moving their numbers.
pub(super) fn moved(call: &Call, position: usize, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Value> {
    match call.value(position)? {
        Value::Numbers(x, element) => Ok(Value::Numbers(f(x)?, *element)),
        Value::Texts(texts, shape) => {
            let places = Tensor::index_along([texts.len()], 0).reshape(shape.clone());
            pick(call, texts, &f(&places)?)
        }
        Value::Later(why) => Ok(Value::Later(why.clone())),
        // A sequence has no elements to move; the operators of sequences take it apart.
        Value::List(_) | Value::Nothing => Ok(Value::Nothing),
    }
}

/// The texts at these indices.
fn pick(call: &Call, texts: &Arc<Vec<String>>, places: &Tensor) -> Result<Value> {
    let Some(found) = call.needed(&Value::of(call.sound(places.clone())?))? else {
        return Err(call.unknown("texts at indices that are known only when it runs"));
    };
    let found = whole(&found);
    let found = || found.iter().filter_map(|&place| texts.get(usize::try_from(place).ok()?));
    call.spelled(found())?;
    Ok(Value::texts(found().cloned().collect(), &places.shape()))
}

/// An input in another shape of as many elements.
fn reshaped(call: &Call, sizes: Vec<usize>) -> Result<Vec<Value>> {
    call.room(&sizes)?;
    Ok(vec![moved(call, 0, &|x| Ok(Tensor::from(x.expr().reshape(sizes.clone()))))?])
}

fn shape(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let rank = shape.len() as i64;
    let place = |name: &str, default: i64| {
        let place = call.int(name, default);
        (if place < 0 { place.saturating_add(rank) } else { place }).clamp(0, rank) as usize
    };
    let (start, end) = (place("start", 0), place("end", rank));
    let sizes = shape.get(start..end).unwrap_or(&[]);
    Ok(vec![vector(sizes.iter().map(|&size| size as i64).collect())])
}

fn reshape(call: &Call) -> Result<Vec<Value>> {
    let wanted = match call.ints("shape") {
        Some(wanted) => wanted,
        None => call.known_ints(1)?,
    };
    let from = call.value(0)?.shape();
    let keep = call.int("allowzero", 0) == 0;
    let kept = |(axis, &size): (usize, &i64)| match size {
        0 if keep => from
            .get(axis)
            .map(|&size| size as i64)
            .ok_or_else(|| call.fault(format!("there is no axis {axis} in {from:?} to keep"))),
        size => Ok(size),
    };
    let mut sizes = wanted.iter().enumerate().map(kept).collect::<Result<Vec<_>>>()?;
    if let Some(open) = sizes.iter().position(|&size| size == -1) {
        sizes[open] = 1;
        let known: usize = call.sizes(&sizes)?.iter().product();
        let count: usize = from.iter().product();
        // `-1` beside a zero is what is left where nothing is.
        let rest = count.checked_div(known).unwrap_or(0);
        if rest * known != count {
            return Err(call.fault(format!("{from:?} into {wanted:?}: the elements don't divide")));
        }
        sizes[open] = rest as i64;
    }
    reshaped(call, call.sizes(&sizes)?)
}

fn squeeze(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let axes = match call.axes_input(1)? {
        Some(axes) => call.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
        return Err(call.fault(format!("axis {axis} of {shape:?} isn't of size one")));
    }
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    reshaped(call, kept.map(|axis| shape[axis]).collect())
}

fn unsqueeze(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let axes = call.axes_input(1)?.ok_or_else(|| call.fault("the axes aren't given"))?;
    let rank = shape.len() + axes.len();
    let mut axes = call.axes(&axes, rank)?;
    axes.sort_unstable();
    if axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(call.fault(format!("the axes {axes:?} name one twice")));
    }
    let mut sizes = shape;
    for axis in axes {
        sizes.insert(axis, 1);
    }
    reshaped(call, sizes)
}

fn concat(call: &Call) -> Result<Vec<Value>> {
    let default = if call.version < 4 { 1 } else { i64::MIN };
    let axis = call.axis(call.int("axis", default), call.value(0)?.shape().len())?;
    if matches!(call.value(0)?, Value::Texts(..)) {
        // The texts one after the other, and the places of each input among them.
        let (mut all, mut places) = (Vec::new(), Vec::new());
        for position in 0..call.count() {
            let Value::Texts(texts, shape) = call.value(position)? else {
                return Err(call.fault("texts and numbers don't join"));
            };
            let first = all.len() as i64;
            all.extend(texts.iter().cloned());
            places.push((Tensor::index_along([texts.len()], 0) + first).reshape(shape.clone()));
        }
        return Ok(vec![pick(call, &Arc::new(all), &Tensor::concat(&places, axis as isize))?]);
    }
    let parts = (0..call.count()).map(|position| call.tensor(position)).collect::<Result<Vec<_>>>()?;
    Ok(vec![Value::Numbers(Tensor::concat(&parts, axis as isize), call.element(0)?)])
}

fn split(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let axis = call.axis(call.int("axis", 0), shape.len())?;
    let size = shape[axis];
    let sizes = match call.ints("split") {
        Some(sizes) => Some(sizes),
        None => call.optional_ints(1)?,
    };
    let sizes = match sizes {
        Some(sizes) => call.sizes(&sizes)?,
        None => {
            let outputs = call.node.output.len();
            let wanted = call.int("num_outputs", outputs as i64);
            let count = usize::try_from(wanted).ok().filter(|count| (1..=outputs.max(1)).contains(count));
            let count = count.ok_or_else(|| call.fault(format!("{wanted} parts for {outputs} outputs")))?;
            let part = size.div_ceil(count);
            (0..count).map(|at| size.saturating_sub(at * part).min(part)).collect()
        }
    };
    if sizes.iter().sum::<usize>() != size {
        return Err(call.fault(format!("parts of {sizes:?} don't make up an axis of {size}")));
    }
    let mut start = 0;
    let part = |len: usize| {
        let part = moved(call, 0, &|x| Ok(Tensor::from(x.expr().narrow(axis, start, len))));
        start += len;
        part
    };
    sizes.into_iter().map(part).collect()
}

fn slice(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let (starts, ends, axes, steps) = match (call.ints("starts"), call.ints("ends")) {
        (Some(starts), Some(ends)) => (starts, ends, call.ints("axes"), None),
        _ => (call.known_ints(1)?, call.known_ints(2)?, call.optional_ints(3)?, call.optional_ints(4)?),
    };
    let axes = match axes {
        Some(axes) => call.axes(&axes, shape.len())?,
        None => (0..starts.len().min(shape.len())).collect(),
    };
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&len| len != starts.len()) {
        return Err(call.fault("starts, ends, axes and steps are of different lengths"));
    }
    let mut ranges: Vec<SliceRange> =
        shape.iter().map(|&len| SliceRange { start: 0, len, step: 1 }).collect();
    for (at, &axis) in axes.iter().enumerate() {
        ranges[axis] = range(shape[axis], starts[at], ends[at], steps[at])
            .ok_or_else(|| call.fault(format!("a step of {}", steps[at])))?;
    }
    Ok(vec![moved(call, 0, &|x| Ok(Tensor::from(x.expr().slice(&ranges))))?])
}

/// The part of an axis that NumPy's `start:end:step` takes, ends beyond the axis cut to fit; none for a step of 0.
fn range(size: usize, start: i64, end: i64, step: i64) -> Option<SliceRange> {
    let size = i64::try_from(size).ok()?;
    let place = |index: i64| if index < 0 { index.saturating_add(size) } else { index };
    // Backwards the last place is before the first element.
    let (least, most) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let (start, end) = (place(start).clamp(least, most), place(end).clamp(least, most));
    let distance = if step > 0 { end - start } else { start - end };
    let len = match step {
        0 => return None,
        _ if distance <= 0 => 0,
        step => (distance as u64).div_ceil(step.unsigned_abs()) as usize,
    };
    Some(match len {
        0 => SliceRange { start: 0, len: 0, step: 1 },
        // A step longer than the axis doesn't matter, but mustn't overflow.
        1 => SliceRange { start: start as usize, len, step: 1 },
        _ => SliceRange { start: start as usize, len, step: step as isize },
    })
}

fn expand(call: &Call) -> Result<Vec<Value>> {
    let wanted = call.sizes(&call.known_ints(1)?)?;
    let from = kiln_ir::Shape::from(call.value(0)?.shape());
    let to = from
        .broadcast(&kiln_ir::Shape::from(wanted.clone()))
        .ok_or_else(|| call.fault(format!("{from} and {wanted:?} don't broadcast")))?;
    call.room(&to)?;
    Ok(vec![moved(call, 0, &|x| Ok(x.broadcast_to(to.clone())))?])
}

fn tile(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let repeats = if call.version < 6 {
        // Once it was one axis, so many times.
        let axis = call.axis(call.known_number(2)? as i64, shape.len())?;
        let mut repeats = vec![1; shape.len()];
        repeats[axis] = call.known_number(1)? as i64;
        repeats
    } else {
        call.known_ints(1)?
    };
    let repeats = call.sizes(&repeats)?;
    if repeats.len() != shape.len() {
        return Err(call.fault(format!("{} repeats for {shape:?}", repeats.len())));
    }
    let sizes: Vec<usize> =
        shape.iter().zip(&repeats).map(|(&size, &repeat)| size.saturating_mul(repeat)).collect();
    call.room(&sizes)?;
    Ok(vec![moved(call, 0, &|x| Ok(x.repeat(repeats.clone())))?])
}

/// An image's sizes and the side of its blocks.
fn blocks(call: &Call) -> Result<([usize; 4], usize)> {
    let shape = call.value(0)?.shape();
    let sizes = <[usize; 4]>::try_from(shape).map_err(|shape| call.fault(format!("no image: {shape:?}")))?;
    let side = call.int("blocksize", 0);
    let side = usize::try_from(side).ok().filter(|side| (1..1 << 15).contains(side));
    Ok((sizes, side.ok_or_else(|| call.fault("the blocksize must be positive"))?))
}

fn depth_to_space(call: &Call) -> Result<Vec<Value>> {
    let ([n, c, h, w], side) = blocks(call)?;
    if !c.is_multiple_of(side * side) {
        return Err(call.fault(format!("{c} channels don't make blocks of {side} by {side}")));
    }
    let depth = c / (side * side);
    call.room(&[n, depth, h.saturating_mul(side), w.saturating_mul(side)])?;
    let (apart, order) = match call.text("mode", "DCR").as_str() {
        "DCR" => ([n, side, side, depth, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, side, side, h, w], [0, 1, 4, 2, 5, 3]),
        mode => return Err(call.unknown(format!("the mode {mode}"))),
    };
    let moved =
        moved(call, 0, &|x| Ok(x.reshape(apart).permute(order).reshape([n, depth, h * side, w * side])))?;
    Ok(vec![moved])
}

fn space_to_depth(call: &Call) -> Result<Vec<Value>> {
    let ([n, c, h, w], side) = blocks(call)?;
    if !h.is_multiple_of(side) || !w.is_multiple_of(side) {
        return Err(call.fault(format!("{h} by {w} isn't made of blocks of {side} by {side}")));
    }
    let (rows, columns) = (h / side, w / side);
    let (apart, order) = match call.text("mode", "DCR").as_str() {
        "DCR" => ([n, c, rows, side, columns, side], [0, 3, 5, 1, 2, 4]),
        "CRD" => ([n, c, rows, side, columns, side], [0, 1, 3, 5, 2, 4]),
        mode => return Err(call.unknown(format!("the mode {mode}"))),
    };
    let moved = moved(call, 0, &|x| {
        Ok(x.reshape(apart).permute(order).reshape([n, c * side * side, rows, columns]))
    })?;
    Ok(vec![moved])
}

/// The first elements of each sequence backwards, as many as its length says.
fn reverse_sequence(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let shape = x.shape();
    let time = call.axis(call.int("time_axis", 0), shape.len())?;
    let batch = call.axis(call.int("batch_axis", 1), shape.len())?;
    let mut sizes = vec![1; shape.len()];
    sizes[batch] = shape[batch];
    let lengths = call.tensor(1)?.reshape(sizes).broadcast_to(shape.clone());
    let at = Tensor::index_along(shape, time);
    let from = at.lt(&lengths).select(&lengths - 1 - &at, &at);
    call.like(0, x.gather(time as isize, &from))
}
