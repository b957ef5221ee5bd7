//! Reductions over axes, positions of the largest, running sums, and the softmaxes.

use kiln_ir::DType;
use kiln_nn::{ScanOptions, Tensor};

use crate::call::{Call, Operator, one, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "ReduceSum" => |call| fold(call, &|x, axes| x.sum_keepdim(axes)),
        "ReduceProd" => |call| fold(call, &|x, axes| x.prod_keepdim(axes)),
        "ReduceMax" => |call| fold(call, &|x, axes| x.max_keepdim(axes)),
        "ReduceMin" => |call| fold(call, &|x, axes| x.min_keepdim(axes)),
        "ReduceMean" => |call| fold(call, &|x, axes| x.mean_keepdim(axes)),
        "ReduceL1" => |call| fold(call, &|x, axes| x.abs().sum_keepdim(axes)),
        "ReduceL2" => |call| fold(call, &|x, axes| x.square().sum_keepdim(axes).sqrt()),
        "ReduceLogSum" => |call| fold(call, &|x, axes| x.sum_keepdim(axes).ln()),
        "ReduceLogSumExp" => |call| {
            fold(call, &|x, axes| {
                // Without the largest, whose exponential could overflow; where that is infinite nothing is taken off.
                let most = x.max_keepdim(axes.clone());
                let most = most.is_finite().select(&most, 0.0);
                (x - &most).exp().sum_keepdim(axes).ln() + most
            })
        },
        "ReduceSumSquare" => |call| fold(call, &|x, axes| x.square().sum_keepdim(axes)),
        "ArgMax" => |call| position(call, &|x, axis| x.argmax(axis)),
        "ArgMin" => |call| position(call, &|x, axis| x.argmin(axis)),
        "CumSum" => cumulative,
        "CumProd" => products,
        "Softmax" => |call| softmax(call, &|x, axis| x.softmax(axis)),
        "LogSoftmax" => |call| softmax(call, &|x, axis| x.log_softmax(axis)),
        "Hardmax" => |call| {
            softmax(call, &|x, axis| {
                let at = x.argmax(axis).unsqueeze(axis);
                let places = Tensor::index_along(x.shape(), x.shape().axis(axis).unwrap_or(0));
                places.eq(&at).cast(x.dtype())
            })
        },
        _ => return None,
    })
}

fn fold(call: &Call, f: &dyn Fn(&Tensor, Vec<isize>) -> Tensor) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let axes = call.axes_input(1)?.unwrap_or_default();
    if axes.is_empty() && call.int("noop_with_empty_axes", 0) != 0 {
        // Nothing is reduced, but what is done to each element is done.
        return call.like(0, f(&wide(&x), Vec::new()).cast(x.dtype()));
    }
    let mut axes = match axes.is_empty() {
        true => (0..x.rank()).collect(),
        false => call.axes(&axes, x.rank())?,
    };
    axes.sort_unstable();
    axes.dedup();
    let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
    let whole = !x.dtype().is_float() && x.dtype() != DType::Bool;
    let y = f(&wide(&x), signed.clone());
    // A mean or a root of whole numbers is cut off to one.
    let y = if whole && y.dtype().is_float() { y.trunc().cast(x.dtype()) } else { y.cast(x.dtype()) };
    let y = if call.int("keepdims", 1) != 0 { y } else { y.squeeze(signed) };
    call.like(0, y)
}

fn position(call: &Call, f: &dyn Fn(&Tensor, isize) -> Tensor) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let axis = call.axis(call.int("axis", 0), x.rank())? as isize;
    let y = if call.int("select_last_index", 0) != 0 {
        // The first from behind.
        let last = x.size(axis) as i64 - 1;
        let back = f(&x.flip(vec![axis]), axis);
        back.full_like(last) - back
    } else {
        f(&x, axis)
    };
    one(if call.int("keepdims", 1) != 0 { y.unsqueeze(axis) } else { y })
}

fn cumulative(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let axis = call.known_ints(1)?.first().copied().unwrap_or(0);
    let axis = call.axis(axis, x.rank())? as isize;
    let reverse = call.int("reverse", 0) != 0;
    let flipped = |x: Tensor| if reverse { x.flip(vec![axis]) } else { x };
    let x = flipped(x);
    let sum = x.cumsum(axis);
    // Without the element itself: what was there before it.
    let sum = if call.int("exclusive", 0) != 0 { sum - x } else { sum };
    call.like(0, flipped(sum))
}

/// Running products: each step's times what came before.
fn products(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let axis = call.known_ints(1)?.first().copied().unwrap_or(0);
    let axis = call.axis(axis, x.rank())? as isize;
    let (reverse, exclusive) = (call.int("reverse", 0) != 0, call.int("exclusive", 0) != 0);
    let first = x.move_axis(axis, 0);
    let start = call.sound(first.narrow(0, 0, 1.min(first.size(0))))?;
    if first.size(0) == 0 {
        return call.like(0, x);
    }
    let options = if reverse { ScanOptions::new().reverse() } else { ScanOptions::new() };
    let (_, [all]) =
        Tensor::scan_with([&start.squeeze(0).ones_like()], [&first], options, |[before], [x]| {
            let now = &before * x;
            ([now.clone()], [if exclusive { before } else { now }])
        });
    call.like(0, all.move_axis(0, axis))
}

/// Along one axis; before version 13 along all axes from one on.
fn softmax(call: &Call, f: &dyn Fn(&Tensor, isize) -> Tensor) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let wide = wide(&x);
    if call.version >= 13 {
        let axis = call.axis(call.int("axis", -1), x.rank())?;
        return call.like(0, f(&wide, axis as isize).cast(x.dtype()));
    }
    let axis = call.axis(call.int("axis", 1), x.rank())?;
    let shape = x.shape();
    let (rows, width): (usize, usize) = (shape[..axis].iter().product(), shape[axis..].iter().product());
    let flat = wide.reshape([rows as isize, width as isize]);
    let sizes: Vec<isize> = shape.iter().map(|&size| size as isize).collect();
    call.like(0, f(&flat, 1).cast(x.dtype()).reshape(&sizes[..]))
}
