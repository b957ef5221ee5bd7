//! Convolutions and pooling.

use kiln_ir::DType;
use kiln_ir::op::{ConvSpec, WindowSpec, windows};
use kiln_nn::Tensor;
use kiln_nn::composite::{Composite, note};

use crate::call::{Call, Operator, one, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Conv" => |call| {
            let (x, w) = (call.tensor(0)?, call.tensor(1)?);
            let y = biased(conv(call, &wide(&x), &wide(&w))?, call.optional(2)?.map(|bias| wide(&bias)));
            call.like(0, y.cast(x.dtype()))
        },
        "ConvTranspose" => conv_transpose,
        "MaxPool" => max_pool,
        "MaxUnpool" => max_unpool,
        "AveragePool" => average_pool,
        "LpPool" => lp_pool,
        "GlobalAveragePool" => |call| global(call, &|x, axes| x.mean_keepdim(axes)),
        "GlobalMaxPool" => |call| global(call, &|x, axes| x.max_keepdim(axes)),
        "GlobalLpPool" => |call| {
            let p = call.int("p", 2) as f64;
            global(call, &|x, axes| x.abs().pow(p).sum_keepdim(axes).pow(1.0 / p))
        },
        _ => return None,
    })
}

/// How windows of these sizes move over an image.
pub(super) struct Moves {
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    pub pad: Vec<(usize, usize)>,
    /// `pad`, and what hangs over the end.
    reach: Vec<(usize, usize)>,
}

fn counts(call: &Call, name: &str, spatial: usize) -> Result<Vec<usize>> {
    let Some(numbers) = call.ints(name) else { return Ok(vec![1; spatial]) };
    let whole: Option<Vec<usize>> =
        numbers.iter().map(|&number| usize::try_from(number).ok().filter(|number| *number > 0)).collect();
    match whole {
        Some(whole) if whole.len() == spatial => Ok(whole),
        _ => Err(call.fault(format!("{name} is {numbers:?} for {spatial} axes"))),
    }
}

pub(super) fn moves(call: &Call, sizes: &[usize], window: &[usize]) -> Result<Moves> {
    let spatial = sizes.len();
    let (stride, dilation) = (counts(call, "strides", spatial)?, counts(call, "dilations", spatial)?);
    let extent = |axis: usize| (window[axis] - 1).saturating_mul(dilation[axis]).saturating_add(1);
    let pad: Vec<(usize, usize)> = match call.text("auto_pad", "NOTSET").as_str() {
        side @ ("SAME_UPPER" | "SAME_LOWER") => {
            let widths = |axis: usize| {
                let windows = sizes[axis].div_ceil(stride[axis]);
                let covered =
                    windows.saturating_sub(1).saturating_mul(stride[axis]).saturating_add(extent(axis));
                let total = covered.saturating_sub(sizes[axis]);
                let (less, more) = (total / 2, total - total / 2);
                if side == "SAME_UPPER" { (less, more) } else { (more, less) }
            };
            (0..spatial).map(widths).collect()
        }
        "VALID" => vec![(0, 0); spatial],
        _ => pads(call, spatial)?,
    };
    let mut reach = pad.clone();
    if call.int("ceil_mode", 0) != 0 {
        for axis in 0..spatial {
            let front = sizes[axis].saturating_add(pad[axis].0);
            let Some(room) = front.saturating_add(pad[axis].1).checked_sub(extent(axis)) else { continue };
            let mut last = room.div_ceil(stride[axis]).saturating_mul(stride[axis]);
            // A window that would start behind the image and its front padding isn't there.
            if last >= front {
                last = last.saturating_sub(stride[axis]);
            }
            reach[axis].1 = last.saturating_add(extent(axis)).saturating_sub(front);
        }
    }
    Ok(Moves { stride, dilation, pad, reach })
}

fn pads(call: &Call, spatial: usize) -> Result<Vec<(usize, usize)>> {
    let numbers = call.ints("pads").unwrap_or_else(|| vec![0; 2 * spatial]);
    let whole: Option<Vec<usize>> = numbers.iter().map(|&number| usize::try_from(number).ok()).collect();
    match whole {
        Some(whole) if whole.len() == 2 * spatial => {
            Ok((0..spatial).map(|axis| (whole[axis], whole[axis + spatial])).collect())
        }
        _ => Err(call.fault(format!("pads is {numbers:?} for {spatial} axes"))),
    }
}

/// The spatial sizes of an image `[batch, channels, spatial…]`, of which there must be one to three.
fn spatial(call: &Call, x: &Tensor) -> Result<Vec<usize>> {
    match x.rank() {
        3..=5 => Ok(x.shape()[2..].to_vec()),
        rank => Err(call.unknown(format!("an image of {rank} axes; there may be one to three spatial ones"))),
    }
}

fn same_rank(call: &Call, x: &Tensor, w: &Tensor) -> Result<()> {
    match x.rank() == w.rank() && w.shape().iter().all(|size| *size > 0) {
        true => Ok(()),
        false => Err(call.fault(format!("an image {} and a weight {}", x.shape(), w.shape()))),
    }
}

/// A convolution, without its bias.
pub(super) fn conv(call: &Call, x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let sizes = spatial(call, x)?;
    same_rank(call, x, w)?;
    let moves = moves(call, &sizes, &w.shape()[2..])?;
    let spec =
        ConvSpec { stride: moves.stride, pad: moves.pad, dilation: moves.dilation, groups: groups(call)? };
    Ok(Tensor::from(x.expr().conv(w.expr(), &spec)))
}

fn groups(call: &Call) -> Result<usize> {
    let groups = call.int("group", 1);
    usize::try_from(groups)
        .ok()
        .filter(|groups| *groups > 0)
        .ok_or_else(|| call.fault(format!("{groups} groups")))
}

/// With a number added to each channel.
pub(super) fn biased(y: Tensor, bias: Option<Tensor>) -> Tensor {
    let Some(bias) = bias else { return y };
    let mut sizes = vec![1isize; y.rank().saturating_sub(1).max(1)];
    sizes[0] = -1;
    note(&y + bias.reshape(&sizes[..]), || (Composite::Biased, [&y, &bias]))
}

fn conv_transpose(call: &Call) -> Result<Vec<Value>> {
    let (x, w) = (call.tensor(0)?, call.tensor(1)?);
    let sizes = spatial(call, &x)?;
    same_rank(call, &x, &w)?;
    let window = w.shape()[2..].to_vec();
    let count = sizes.len();
    let (stride, dilation) = (counts(call, "strides", count)?, counts(call, "dilations", count)?);
    let extra = call.ints("output_padding").unwrap_or_else(|| vec![0; count]);
    let wanted = call.ints("output_shape");
    let auto = call.text("auto_pad", "NOTSET");
    let mut pad = if auto == "NOTSET" && wanted.is_none() { pads(call, count)? } else { vec![(0, 0); count] };
    let mut to = Vec::with_capacity(count);
    for axis in 0..count {
        let more = usize::try_from(extra.get(axis).copied().unwrap_or(0)).unwrap_or(0);
        let covered = sizes[axis]
            .saturating_sub(1)
            .saturating_mul(stride[axis])
            .saturating_add((window[axis] - 1).saturating_mul(dilation[axis]))
            .saturating_add(1 + more);
        let same = auto.starts_with("SAME");
        let asked = wanted
            .as_ref()
            .and_then(|wanted| wanted.get(axis))
            .map(|&size| usize::try_from(size).unwrap_or(0));
        if let Some(size) = asked.or(same.then(|| sizes[axis].saturating_mul(stride[axis]))) {
            let total = covered.saturating_sub(size);
            let (less, rest) = (total / 2, total - total / 2);
            pad[axis] = if auto == "SAME_UPPER" { (less, rest) } else { (rest, less) };
            to.push(size);
            continue;
        }
        match covered.checked_sub(pad[axis].0.saturating_add(pad[axis].1)) {
            Some(size) if size > 0 => to.push(size),
            _ => return Err(call.fault(format!("padding {:?} leaves nothing of {covered}", pad[axis]))),
        }
    }
    let spec = ConvSpec { stride, pad, dilation, groups: groups(call)? };
    // What the sizes say beyond the last window stays zero.
    let fits = |axis: usize| {
        windows(to[axis], spec.pad[axis], window[axis], spec.dilation[axis], spec.stride[axis])
            == Some(sizes[axis])
    };
    if !(0..count).all(fits) {
        return Err(call.unknown(format!("an image {} to {to:?}", x.shape())));
    }
    let y = Tensor::from(wide(&x).expr().conv_grad_input(wide(&w).expr(), &spec, &to));
    let y = biased(y, call.optional(2)?.map(|bias| wide(&bias)));
    call.like(0, y.cast(x.dtype()))
}

/// The windows of a pooling.
fn pooling(call: &Call, x: &Tensor) -> Result<(WindowSpec, Vec<(usize, usize)>)> {
    let sizes = spatial(call, x)?;
    let window = counts(call, "kernel_shape", sizes.len())?;
    let moves = moves(call, &sizes, &window)?;
    let spec = WindowSpec { window, stride: moves.stride, pad: moves.reach, dilation: moves.dilation };
    Ok((spec, moves.pad))
}

fn max_pool(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (spec, _) = pooling(call, &x)?;
    let element = call.element(0)?;
    // Pooling is over floats; bytes are exact in them.
    let floats = if x.dtype().is_float() { x.clone() } else { x.cast(DType::F32) };
    let pick = |values: &Tensor| Tensor::from(floats.expr().window_pick(values.expr(), &spec));
    let mut outputs = vec![Value::Numbers(pick(&floats).cast(x.dtype()), element)];
    if call.node.output.len() > 1 {
        let count = x.elements();
        if count > 1 << 52 {
            return Err(call.fault("an image too large to number its elements"));
        }
        let shape = x.shape();
        let mut places: Vec<f64> = (0..count).map(|at| at as f64).collect();
        if call.int("storage_order", 0) != 0 {
            places = by_columns(&shape);
        }
        let at = Tensor::new(places, shape).cast(DType::F64);
        let picked = Tensor::from(floats.cast(DType::F64).expr().window_pick(at.expr(), &spec));
        outputs.push(Value::Numbers(picked.cast(DType::I64), OnnxDType::I64));
    }
    Ok(outputs)
}

/// The largest elements put back where a pooling found them; the others are zero.
fn max_unpool(call: &Call) -> Result<Vec<Value>> {
    let (x, index) = (call.tensor(0)?, call.tensor(1)?);
    let sizes = spatial(call, &x)?;
    let window = counts(call, "kernel_shape", sizes.len())?;
    let (stride, pad) = (counts(call, "strides", sizes.len())?, pads(call, sizes.len())?);
    let before = |axis: usize| {
        let covered = sizes[axis].saturating_sub(1).saturating_mul(stride[axis]).saturating_add(window[axis]);
        covered.saturating_sub(pad[axis].0.saturating_add(pad[axis].1))
    };
    let mut own = x.shape()[..2].to_vec();
    own.extend((0..sizes.len()).map(before));
    call.room(&own)?;
    let count = own.iter().product::<usize>();
    let places = index.cast(DType::I64).reshape([index.elements()]);
    let flat = Tensor::zeros([count]).cast(x.dtype()).scatter(0, &places, &x.reshape([x.elements()]));
    let mut y = flat.reshape(own.clone());
    if let Some(to) = call.optional_ints(2)? {
        let to = call.sizes(&to)?;
        if to.len() != own.len() || to.iter().zip(&own).any(|(to, own)| to < own) {
            return Err(call.fault(format!("{own:?} into {to:?}")));
        }
        let widths: Vec<(usize, usize)> = to.iter().zip(&own).map(|(to, own)| (0, to - own)).collect();
        y = y.pad(widths, 0);
    }
    call.like(0, y)
}

/// The place of each element, counted down the columns of each image first.
fn by_columns(shape: &[usize]) -> Vec<f64> {
    let spatial = &shape[2..];
    let image: usize = spatial.iter().product();
    let place = |at: usize| {
        let (mut rest, mut index) = (at % image.max(1), vec![0; spatial.len()]);
        for axis in (0..spatial.len()).rev() {
            index[axis] = rest % spatial[axis];
            rest /= spatial[axis];
        }
        let mut place = 0;
        for axis in (0..spatial.len()).rev() {
            place = place * spatial[axis] + index[axis];
        }
        (at - at % image.max(1) + place) as f64
    };
    (0..shape.iter().product()).map(place).collect()
}

fn average_pool(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    call.like(0, average_pool_of(call, &wide(&x))?.cast(x.dtype()))
}

/// The averages of the windows of an image of floats.
pub(super) fn average_pool_of(call: &Call, floats: &Tensor) -> Result<Tensor> {
    let x = floats;
    let (spec, asked) = pooling(call, x)?;
    let sum = Tensor::from(floats.expr().window_sum(&spec));
    // How many elements of each window count: the same sum over ones.
    let counted = call.int("count_include_pad", 0) != 0;
    let sizes = x.shape()[2..].to_vec();
    let ones = Tensor::ones([&[1, 1], &sizes[..]].concat()).cast(floats.dtype());
    let ones = if counted {
        let widths: Vec<(usize, usize)> = [(0, 0), (0, 0)].into_iter().chain(asked.iter().copied()).collect();
        ones.pad(&widths, 1.0)
    } else {
        ones
    };
    let mut over = spec.clone();
    if counted {
        over.pad =
            spec.pad.iter().zip(&asked).map(|(reach, asked)| (0, reach.1 - asked.1.min(reach.1))).collect();
    }
    let count = Tensor::from(ones.expr().window_sum(&over)).maximum(1.0);
    Ok(sum / count)
}

fn lp_pool(call: &Call) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let (spec, _) = pooling(call, &x)?;
    let p = call.int("p", 2) as f64;
    let sum = Tensor::from(wide(&x).abs().pow(p).expr().window_sum(&spec));
    call.like(0, sum.pow(1.0 / p).cast(x.dtype()))
}

/// The average of each channel.
pub(super) fn spatial_mean(x: &Tensor) -> Tensor {
    x.mean_keepdim((2..x.rank() as isize).collect::<Vec<_>>())
}

fn global(call: &Call, f: &dyn Fn(&Tensor, Vec<isize>) -> Tensor) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    if x.rank() < 3 {
        return one(x);
    }
    let axes: Vec<isize> = (2..x.rank() as isize).collect();
    call.like(0, f(&wide(&x), axes).cast(x.dtype()))
}
