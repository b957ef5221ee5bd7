//! Norms, and dropout.

use kiln_ir::DType;
use kiln_nn::Tensor;
use kiln_nn::composite::{Composite, note};

use super::random::key;
use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "BatchNormalization" => batch_norm,
        "InstanceNormalization" => |call| {
            let x = call.tensor(0)?;
            let y = wide(&x).instance_norm(call.float("epsilon", 1e-5));
            call.like(0, by_channel(call, y)?.cast(x.dtype()))
        },
        "GroupNormalization" => group_norm,
        "LayerNormalization" => layer_norm,
        "RMSNormalization" => |call| {
            let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
            let axes = trailing(call, &x, -1)?;
            let y = wide(&x).rms_norm(axes, call.float("epsilon", 1e-5)).cast(x.dtype());
            call.like(1, y.cast(scale.dtype()) * scale)
        },
        "MeanVarianceNormalization" => |call| {
            let x = call.tensor(0)?;
            let axes = call.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
            let axes: Vec<isize> =
                call.axes(&axes, x.rank())?.into_iter().map(|axis| axis as isize).collect();
            let centred = wide(&x) - wide(&x).mean_keepdim(axes.clone());
            let deviation = centred.square().mean_keepdim(axes).sqrt() + 1e-9;
            call.like(0, (centred / deviation).cast(x.dtype()))
        },
        "LpNormalization" => |call| {
            let x = call.tensor(0)?;
            let axis = call.axis(call.int("axis", -1), x.rank())? as isize;
            let size = match call.int("p", 2) {
                1 => wide(&x).abs().sum_keepdim(axis),
                _ => wide(&x).square().sum_keepdim(axis).sqrt(),
            };
            // A row of zeros stays one.
            let y = size.eq(0.0).select(0.0, wide(&x) / &size);
            call.like(0, y.cast(x.dtype()))
        },
        "LRN" => lrn,
        "Dropout" => dropout,
        _ => return None,
    })
}

/// Times the second input and plus the third, by channel.
fn by_channel(call: &Call, y: Tensor) -> Result<Tensor> {
    let mut sizes = vec![1isize; y.rank().max(2)];
    sizes[1] = -1;
    let of = |position: usize| -> Result<Tensor> { Ok(wide(&call.tensor(position)?).reshape(&sizes[..])) };
    Ok(y * of(1)? + of(2)?)
}

/// With the statistics of the file, also while it is trained; or with the batch's, where the file says so.
fn batch_norm(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (mean, var) = (wide(&call.tensor(3)?), wide(&call.tensor(4)?));
    let epsilon = call.float("epsilon", 1e-5);
    if call.int("training_mode", 0) == 0 {
        let y = wide(&x).batch_norm(&mean, &var, epsilon);
        let y = by_channel(call, y)?.cast(x.dtype());
        let (scale, bias) = (call.tensor(1)?, call.tensor(2)?);
        return call.like(0, note(y, || (Composite::BatchNorm(epsilon), [&x, &scale, &bias, &mean, &var])));
    }
    let axes: Vec<isize> = (0..x.rank() as isize).filter(|axis| *axis != 1).collect();
    let own_mean = wide(&x).mean(axes.clone());
    let centred = wide(&x) - wide(&x).mean_keepdim(axes.clone());
    let own_var = centred.square().mean(axes);
    let y = by_channel(call, wide(&x).batch_norm(&own_mean, &own_var, epsilon))?;
    let kept = call.float("momentum", 0.9);
    let moved = |old: &Tensor, new: &Tensor| (old * kept + new * (1.0 - kept)).cast(old.dtype());
    let (mean, var) = (moved(&mean, &own_mean), moved(&var, &own_var));
    let element = call.element(0)?;
    Ok(vec![Value::Numbers(y.cast(x.dtype()), element), Value::of(mean), Value::of(var)])
}

fn group_norm(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let groups = usize::try_from(call.int("num_groups", 1)).unwrap_or(0);
    let y = wide(&x).group_norm(groups, call.float("epsilon", 1e-5));
    let scale = call.tensor(1)?;
    if call.version >= 21 || scale.elements() == x.size(1) {
        return call.like(0, by_channel(call, y)?.cast(x.dtype()));
    }
    // Before version 21 a scale for each group.
    let each = x.size(1) / groups.max(1);
    let mut sizes = vec![1isize; x.rank().max(2)];
    sizes[1] = -1;
    let of = |position: usize| -> Result<Tensor> {
        Ok(wide(&call.tensor(position)?).repeat_interleave(0, each).reshape(&sizes[..]))
    };
    call.like(0, (y * of(1)? + of(2)?).cast(x.dtype()))
}

/// The axes from the attribute `axis` on.
fn trailing(call: &Call, x: &Tensor, default: i64) -> Result<Vec<isize>> {
    let first = call.axis(call.int("axis", default), x.rank())?;
    Ok((first as isize..x.rank() as isize).collect())
}

fn layer_norm(call: &Call) -> Result<Vec<Value>> {
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let axes = trailing(call, &x, -1)?;
    let floats = wide(&x);
    let epsilon = call.float("epsilon", 1e-5);
    let y = floats.layer_norm(axes.clone(), epsilon).cast(x.dtype()) * &scale;
    let y = match call.optional(2)? {
        Some(bias) => {
            let first = x.rank() - axes.len();
            note(y + &bias, || (Composite::LayerNorm(first, epsilon), [&x, &scale, &bias]))
        }
        None => y,
    };
    let element = call.element(0)?;
    let mut outputs = vec![Value::Numbers(y, element)];
    if call.node.output.len() > 1 {
        let mean = floats.mean_keepdim(axes.clone());
        let var = (floats - &mean).square().mean_keepdim(axes);
        outputs.push(Value::of(mean));
        outputs.push(Value::of((var + epsilon).rsqrt()));
    }
    Ok(outputs)
}

/// Each element by the squares of its neighbours among the channels.
fn lrn(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let floats = wide(&x);
    let size = usize::try_from(call.int("size", 1)).unwrap_or(1).max(1);
    let (alpha, beta, bias) = (call.float("alpha", 1e-4), call.float("beta", 0.75), call.float("bias", 1.0));
    if size > 1 << 20 || x.rank() < 2 {
        return Err(call.fault(format!("{size} neighbours in {}", x.shape())));
    }
    let mut widths = vec![(0, 0); x.rank()];
    widths[1] = ((size - 1) / 2, size - 1 - (size - 1) / 2);
    let squares = floats.square().pad(&widths, 0.0);
    let channels = x.size(1);
    let mut sum = squares.narrow(1, 0, channels);
    for offset in 1..size {
        sum += squares.narrow(1, offset as isize, channels);
    }
    let y = floats / (sum * (alpha / size as f64) + bias).pow(beta);
    call.like(0, y.cast(x.dtype()))
}

/// In use what goes in; while training some of it is zero.
fn dropout(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let ratio = match call.has(1) {
        true => call.known_number(1)?,
        false => call.float("ratio", 0.5),
    };
    // Where the file itself says so it drops also in use.
    let drops = call.context.is_training() || (call.has(2) && call.known_number(2)? != 0.0);
    let element = call.element(0)?;
    if !drops || ratio <= 0.0 {
        let all = Tensor::full(x.shape(), 1).cast(DType::Bool);
        return Ok(vec![Value::Numbers(x, element), Value::Numbers(all, OnnxDType::Bool)]);
    }
    let kept = x.ones_like().dropout(ratio, &key(call));
    // An infinity that is dropped is a zero too.
    let stays = kept.ne(0.0);
    let y = stays.select(&x * &kept, 0.0);
    Ok(vec![Value::Numbers(y, element), Value::Numbers(stays, OnnxDType::Bool)])
}
