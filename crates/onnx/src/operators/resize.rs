//! Resampling of images. Each axis by itself: an element of the result is a sum of a few elements of the axis, with weights that depend
//! on where it lies among them. Indices and weights are found here, on the host.

use kiln_ir::{DType, Data};
use kiln_nn::Tensor;

use super::movement::moved;
use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Resize" => resize,
        "Upsample" => upsample,
        _ => return None,
    })
}

/// More elements than this aren't summed into one; wide windows come from averages over large reductions in size.
const WIDEST: usize = 64;

/// What is to happen along an axis.
struct Resampling {
    axis: usize,
    scale: f64,
    size: usize,
    // Start and end of the part that is taken, in parts of the whole.
    part: (f64, f64),
}

/// Which elements make up one, and with what weights.
struct Taps {
    places: Vec<i64>,
    weights: Vec<f64>,
    // It lies outside, and has a value of its own.
    outside: bool,
}

fn upsample(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let scales = match call.floats("scales") {
        Some(scales) => scales.into_iter().map(f64::from).collect(),
        None if call.is_set("width_scale") && shape.len() == 4 => {
            vec![1.0, 1.0, call.float("height_scale", 1.0), call.float("width_scale", 1.0)]
        }
        None => numbers(call, 1)?,
    };
    let axes = scaled(call, &shape, &(0..shape.len()).collect::<Vec<_>>(), &scales)?;
    apply(call, axes, "asymmetric", "floor")
}

fn resize(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let axes = match call.ints("axes") {
        Some(axes) => call.axes(&axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    if call.version < 11 {
        let axes = scaled(call, &shape, &axes, &numbers(call, 1)?)?;
        return apply(call, axes, "asymmetric", "floor");
    }
    let filled = |position: usize| -> Result<bool> {
        Ok(call.has(position) && call.value(position)?.shape().iter().product::<usize>() > 0)
    };
    let mut wanted = match (filled(2)?, filled(3)?) {
        (true, false) => scaled(call, &shape, &axes, &numbers(call, 2)?)?,
        (false, true) => sized(call, &shape, &axes, &call.known_ints(3)?)?,
        _ => return Err(call.fault("either scales or sizes are needed")),
    };
    let mode = call.text("coordinate_transformation_mode", "half_pixel");
    if mode == "tf_crop_and_resize" {
        let part = numbers(call, 1)?;
        if part.len() != 2 * axes.len() {
            return Err(call.fault(format!("a part of {} numbers for {} axes", part.len(), axes.len())));
        }
        for (at, axis) in wanted.iter_mut().enumerate() {
            axis.part = (part[at], part[at + axes.len()]);
        }
    }
    apply(call, wanted, &mode, &call.text("nearest_mode", "round_prefer_floor"))
}

/// An input's numbers, which have to be known.
fn numbers(call: &Call, position: usize) -> Result<Vec<f64>> {
    Ok(call.known(position)?.scalars().iter().map(|number| number.as_f64()).collect())
}

/// The axes by their scales.
fn scaled(call: &Call, shape: &[usize], axes: &[usize], scales: &[f64]) -> Result<Vec<Resampling>> {
    if scales.len() != axes.len() || !scales.iter().all(|scale| *scale > 0.0 && scale.is_finite()) {
        return Err(call.fault(format!("scales of {scales:?} for axes {axes:?} of {shape:?}")));
    }
    let one = |(&axis, &scale): (&usize, &f64)| {
        // In 32 bits, as exporters mean it, who write 150 / 224 for 224 → 150: in 64 bits that comes to a little less than 150. One that is
        // too large saturates, and is refused with the sizes.
        Resampling { axis, scale, size: (shape[axis] as f32 * scale as f32) as usize, part: (0.0, 1.0) }
    };
    Ok(axes.iter().zip(scales).map(one).collect())
}

/// The axes by their sizes, where wanted with one scale for all.
fn sized(call: &Call, shape: &[usize], axes: &[usize], sizes: &[i64]) -> Result<Vec<Resampling>> {
    let sizes = call.sizes(sizes)?;
    if sizes.len() != axes.len() {
        return Err(call.fault(format!("{} sizes for {} axes", sizes.len(), axes.len())));
    }
    let pairs = axes.iter().zip(&sizes);
    let scales = pairs.clone().map(|(&axis, &size)| size as f64 / shape[axis].max(1) as f64);
    let together = match call.text("keep_aspect_ratio_policy", "stretch").as_str() {
        "stretch" => None,
        "not_larger" => Some(scales.clone().fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(scales.clone().fold(0.0, f64::max)),
        other => return Err(call.unknown(format!("the policy {other}"))),
    };
    let one = |((&axis, &size), scale): ((&usize, &usize), f64)| match together {
        Some(scale) => {
            let size = (shape[axis] as f64 * scale + 0.5).floor() as usize;
            Resampling { axis, scale, size, part: (0.0, 1.0) }
        }
        None => Resampling { axis, scale, size, part: (0.0, 1.0) },
    };
    Ok(pairs.zip(scales).map(one).collect())
}

/// Where in an axis of `from` elements the element `at` of the result lies.
fn place(call: &Call, mode: &str, axis: &Resampling, from: usize, at: f64) -> Result<f64> {
    let (from, size) = (from as f64, axis.scale * from as f64);
    Ok(match mode {
        "asymmetric" => at / axis.scale,
        "half_pixel" | "tf_half_pixel_for_nn" | "pytorch_half_pixel" | "half_pixel_symmetric" => {
            let plain = (at + 0.5) / axis.scale - 0.5;
            match mode {
                "pytorch_half_pixel" if size == 1.0 => -0.5,
                "tf_half_pixel_for_nn" => plain + 0.5,
                "half_pixel_symmetric" => from / 2.0 * (1.0 - axis.size as f64 / size) + plain,
                _ => plain,
            }
        }
        "align_corners" if size == 1.0 => 0.0,
        "align_corners" => at * (from - 1.0) / (size - 1.0),
        "tf_crop_and_resize" => {
            let (start, end) = axis.part;
            let within = if size == 1.0 { 0.5 } else { at / (size - 1.0) };
            (start + within * (end - start)) * (from - 1.0)
        }
        other => return Err(call.unknown(format!("coordinates by {other}"))),
    })
}

/// What an element that lies at `x` is made of.
fn taps(call: &Call, kind: &str, nearest: &str, x: f64, scale: f64) -> Result<Taps> {
    // On an element the one to its left would have no weight, but be there: ONNX renormalises with it.
    let whole = x.floor() == x;
    let (left, ratio) = if whole { (x as i64 - 1, 1.0) } else { (x.floor() as i64, x - x.floor()) };
    let (places, weights) = match kind {
        "nearest" => {
            let place = match nearest {
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                "round_prefer_floor" => (x - 0.5).ceil(),
                "round_prefer_ceil" => (x + 0.5).floor(),
                other => return Err(call.unknown(format!("nearest by {other}"))),
            };
            (vec![place as i64], vec![1.0])
        }
        "linear" | "cubic" => {
            let reach = if kind == "linear" { 1.0 } else { 2.0 };
            // Made smaller, each element stands for as many as fall to it.
            let stretch = if call.int("antialias", 0) != 0 { scale.min(1.0) } else { 1.0 };
            let first = (-reach / stretch).floor() as i64 + 1;
            let count = 2 - 2 * first;
            if count as usize > WIDEST {
                return Err(call.unknown(format!("sums of {count} elements")));
            }
            let sharpness = call.float("cubic_coeff_a", -0.75);
            let weight = |at: i64| match ((at as f64 - ratio) * stretch).abs() {
                x if kind == "linear" => (1.0 - x).max(0.0),
                x => cubic(x, sharpness),
            };
            let weights: Vec<f64> = (first..first + count).map(weight).collect();
            let sum: f64 = if stretch < 1.0 { weights.iter().sum() } else { 1.0 };
            let places = (first..first + count).map(|at| left + at).collect();
            (places, weights.into_iter().map(|weight| weight / sum).collect())
        }
        other => return Err(call.unknown(format!("the mode {other}"))),
    };
    Ok(Taps { places, weights, outside: false })
}

/// The weight of an element at a distance, by cubic convolution.
fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

fn apply(call: &Call, axes: Vec<Resampling>, mode: &str, nearest: &str) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let kind = match call.text("mode", "nearest").as_str() {
        "bilinear" => "linear".to_string(),
        kind => kind.to_string(),
    };
    if kind == "nearest" && call.int("antialias", 0) != 0 {
        return Err(call.unknown("averages of the nearest"));
    }
    let mut sizes = shape.clone();
    axes.iter().for_each(|axis| sizes[axis.axis] = axis.size);
    call.room(&sizes)?;
    let exclude = call.int("exclude_outside", 0) != 0;
    let mut steps = Vec::new();
    for axis in &axes {
        let from = shape[axis.axis];
        if (axis.scale - 1.0).abs() < 1e-9 && axis.size == from && axis.part == (0.0, 1.0) {
            continue;
        }
        if from == 0 && axis.size > 0 {
            return Err(call.fault(format!("an axis of {shape:?} has nothing to be made larger")));
        }
        // At least two places and two weights for each.
        call.listed(axis.size.saturating_mul(8))?;
        let mut all = Vec::with_capacity(axis.size);
        for at in 0..axis.size {
            let x = place(call, mode, axis, from, at as f64)?;
            let mut taps = taps(call, &kind, nearest, x, axis.scale)?;
            taps.outside = mode == "tf_crop_and_resize" && (x < 0.0 || x > from as f64 - 1.0);
            if exclude {
                let inside = |place: i64| (0..from as i64).contains(&place);
                for (weight, &place) in taps.weights.iter_mut().zip(&taps.places) {
                    *weight = if inside(place) { *weight } else { 0.0 };
                }
                let sum: f64 = taps.weights.iter().sum();
                taps.weights.iter_mut().for_each(|weight| *weight /= if sum == 0.0 { 1.0 } else { sum });
            }
            taps.places.iter_mut().for_each(|place| *place = (*place).clamp(0, from as i64 - 1));
            all.push(taps);
        }
        steps.push((axis.axis, all));
    }
    if kind == "nearest" && steps.iter().all(|(_, all)| all.iter().all(|taps| !taps.outside)) {
        let all = |x: &Tensor| steps.iter().fold(x.clone(), |x, (axis, all)| picked(&x, *axis, all, 0));
        return Ok(vec![moved(call, 0, &|x| Ok(all(x)))?]);
    }
    let x = call.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(call.unknown(format!("means of {}", x.dtype())));
    }
    let outside = call.float("extrapolation_value", 0.0);
    let y = steps.iter().fold(wide(&x), |x, (axis, all)| weighted(&x, *axis, all, outside));
    call.like(0, y.cast(x.dtype()))
}

/// The elements at one of the taps.
fn picked(x: &Tensor, axis: usize, all: &[Taps], tap: usize) -> Tensor {
    let places: Vec<i64> = all.iter().filter_map(|taps| taps.places.get(tap).copied()).collect();
    match places.is_empty() {
        true => x.narrow(axis as isize, 0, 0),
        false => x.index_select(axis as isize, &Tensor::from(places)),
    }
}

/// The weighted sum of all taps.
fn weighted(x: &Tensor, axis: usize, all: &[Taps], outside: f64) -> Tensor {
    let mut sizes = vec![1; x.rank()];
    sizes[axis] = all.len();
    let along =
        |data: Data, dtype: DType| Tensor::from_data(data, [all.len()]).cast(dtype).reshape(sizes.clone());
    let count = all.first().map_or(1, |taps| taps.places.len());
    let part = |tap: usize| {
        let weights = all.iter().filter_map(|taps| taps.weights.get(tap).copied()).collect();
        picked(x, axis, all, tap) * along(Data::F64(weights), x.dtype())
    };
    let sum = (1..count).fold(part(0), |sum, tap| sum + part(tap));
    if all.iter().all(|taps| !taps.outside) {
        return sum;
    }
    let beyond = along(Data::Bool(all.iter().map(|taps| taps.outside).collect()), DType::Bool);
    beyond.select(outside, sum)
}
