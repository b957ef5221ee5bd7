//! Operators that put something around images, or put images together from patches.

use kiln_ir::op::{ConvSpec, SliceRange};
use kiln_ir::{DType, Data, Scalar};
use kiln_nn::Tensor;

use super::movement::moved;
use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Pad" => pad,
        "CenterCropPad" => center,
        "Col2Im" => col2im,
        _ => return None,
    })
}

fn pad(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let rank = shape.len();
    let attribute = if call.version < 2 { "paddings" } else { "pads" };
    let widths = match call.ints(attribute) {
        Some(widths) => widths,
        None => call.known_ints(1)?,
    };
    let axes = match call.optional_ints(3)? {
        Some(axes) => call.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if widths.len() != 2 * axes.len() {
        return Err(call.fault(format!("{} widths for {} axes", widths.len(), axes.len())));
    }
    let mut around = vec![(0, 0); rank];
    for (at, &axis) in axes.iter().enumerate() {
        around[axis] = (widths[at], widths[at + axes.len()]);
    }
    if widths.iter().any(|width| width.unsigned_abs() > 1 << 31) {
        return Err(call.fault(format!("widths of {widths:?}")));
    }
    let size = |(&size, &(before, after)): (&usize, &(i64, i64))| size as i64 + before + after;
    call.room(&shape)?;
    let sizes: Vec<i64> = shape.iter().zip(&around).map(size).collect();
    let sizes = call.sizes(&sizes)?;
    match call.text("mode", "constant").as_str() {
        "constant" => {
            let x = call.tensor(0)?;
            let value = match call.has(2) {
                true => call.known(2)?.get(0).ok_or_else(|| call.fault("the value is empty"))?,
                false => call.float("value", 0.0).into(),
            };
            call.like(0, framed(call, &x, &around, value)?)
        }
        mode => {
            let fold: fn(i64, i64) -> i64 = match mode {
                "reflect" => |at, size| {
                    let turn = at.rem_euclid((2 * (size - 1)).max(1));
                    turn.min(2 * (size - 1) - turn)
                },
                "edge" => |at, size| at.clamp(0, size - 1),
                "wrap" => |at, size| at.rem_euclid(size),
                mode => return Err(call.unknown(format!("the mode {mode}"))),
            };
            let mut places = Vec::new();
            for axis in (0..rank).filter(|&axis| around[axis] != (0, 0)) {
                if shape[axis] == 0 {
                    return Err(call.fault(format!("axis {axis} of {shape:?} has nothing to continue")));
                }
                call.listed(sizes[axis])?;
                let (first, size) = (-around[axis].0, shape[axis] as i64);
                let from: Vec<i64> = (0..sizes[axis] as i64).map(|at| fold(first + at, size)).collect();
                places.push((axis as isize, Tensor::from(from)));
            }
            let all =
                |x: &Tensor| places.iter().fold(x.clone(), |x, (axis, from)| x.index_select(*axis, from));
            Ok(vec![moved(call, 0, &|x| Ok(all(x)))?])
        }
    }
}

/// A tensor with so much of a value around it; where the width is negative, so much of it is cut off.
fn framed(call: &Call, x: &Tensor, around: &[(i64, i64)], value: Scalar) -> Result<Tensor> {
    let shape = x.shape();
    let cut = |width: i64| usize::try_from(width.saturating_neg()).unwrap_or(0);
    let put = |width: i64| usize::try_from(width).unwrap_or(0);
    let mut ranges = Vec::with_capacity(around.len());
    for (&size, &(before, after)) in shape.iter().zip(around) {
        let start = cut(before);
        let len = size.checked_sub(start).and_then(|rest| rest.checked_sub(cut(after)));
        let len = len.ok_or_else(|| call.unknown("more is cut off than there is"))?;
        ranges.push(SliceRange { start: if len == 0 { 0 } else { start }, len, step: 1 });
    }
    let inside = x.expr().slice(&ranges);
    let before: Vec<usize> = around.iter().map(|width| put(width.0)).collect();
    let after: Vec<usize> = around.iter().map(|width| put(width.1)).collect();
    Ok(Tensor::from(inside.pad(&before, &after, value)))
}

fn center(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let shape = x.shape();
    let wanted = call.sizes(&call.known_ints(1)?)?;
    let axes = match call.ints("axes") {
        Some(axes) => call.axes(&axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    if wanted.len() != axes.len() {
        return Err(call.fault(format!("{} sizes for {} axes", wanted.len(), axes.len())));
    }
    let (mut around, mut sizes) = (vec![(0, 0); shape.len()], shape.to_vec());
    for (&axis, &size) in axes.iter().zip(&wanted) {
        let more = size as i64 - shape[axis] as i64;
        // Of an odd number the larger half is behind.
        let before = more / 2;
        around[axis] = (before, more - before);
        sizes[axis] = size;
    }
    call.room(&sizes)?;
    call.like(0, framed(call, &x, &around, 0.0.into())?)
}

/// Patches added up to an image: a convolution backwards, whose window gives each of its elements a channel.
fn col2im(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (image, window) = (call.sizes(&call.known_ints(1)?)?, call.sizes(&call.known_ints(2)?)?);
    let spatial = image.len();
    if !(1..=3).contains(&spatial) {
        return Err(call.unknown(format!("images of {spatial} axes")));
    }
    let numbers = |name: &str, count: usize, default: i64| -> Result<Vec<usize>> {
        let numbers = call.ints(name).unwrap_or_else(|| vec![default; count]);
        if numbers.len() != count {
            return Err(call.fault(format!("{name} has {} numbers for {spatial} axes", numbers.len())));
        }
        call.sizes(&numbers)
    };
    let (stride, dilation) = (numbers("strides", spatial, 1)?, numbers("dilations", spatial, 1)?);
    let pads = numbers("pads", 2 * spatial, 0)?;
    let pad: Vec<(usize, usize)> = (0..spatial).map(|axis| (pads[axis], pads[axis + spatial])).collect();
    let elements: usize = window.iter().product();
    let shape = x.shape();
    let [batch, rows, columns] = shape[..] else {
        return Err(call.fault(format!("{shape} isn't [batch, channels × window, patches]")));
    };
    if window.len() != spatial || elements == 0 || !rows.is_multiple_of(elements) {
        return Err(call.fault(format!("{rows} rows aren't channels of windows of {window:?}")));
    }
    let count = |axis: usize| {
        kiln_ir::op::windows(image[axis], pad[axis], window[axis], dilation[axis], stride[axis])
    };
    let counts = (0..spatial).map(count).collect::<Option<Vec<usize>>>();
    let counts = counts.filter(|counts| counts.iter().product::<usize>() == columns);
    let counts = counts.ok_or_else(|| call.fault(format!("{columns} patches don't make up {image:?}")))?;
    call.room(&[batch, rows / elements, image.iter().product()])?;
    call.listed(elements.saturating_mul(elements))?;
    let identity: Vec<f64> =
        (0..elements * elements).map(|at| if at.is_multiple_of(elements + 1) { 1.0 } else { 0.0 }).collect();
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let weight = Tensor::from_data(Data::F64(identity).cast(dtype), [&[elements, 1], &window[..]].concat());
    let patches =
        wide(&x).cast(dtype).reshape([&[batch * (rows / elements), elements], &counts[..]].concat());
    let spec = ConvSpec { stride, pad, dilation, groups: 1 };
    let y = Tensor::from(patches.expr().conv_grad_input(weight.expr(), &spec, &image));
    let y = y.reshape([&[batch, rows / elements], &image[..]].concat()).cast(x.dtype());
    call.like(0, y)
}
