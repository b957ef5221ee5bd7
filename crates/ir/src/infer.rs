//! The shape and dtype of a node from its operation and operands, or what is wrong with them.
//! Every node is built through here, so a graph that exists is well-formed.

use crate::dtype::DType;
use crate::error::ErrorKind;
use crate::op::{ConvSpec, Op, Scan, ScanResult, SliceRange, WindowSpec, windows};
use crate::shape::Shape;

/// What is wrong, before it is known which node and line it belongs to.
pub type InferenceError = (ErrorKind, String);

/// An operand as inference sees it.
pub type OperandType<'a> = (&'a Shape, DType);

macro_rules! ensure {
    ($condition:expr, $kind:ident, $($message:tt)*) => {
        if !$condition {
            return Err((ErrorKind::$kind, format!($($message)*)));
        }
    };
}

mod attention;

/// The shape and dtype of `op` applied to `operands`. `wanted` carries what the operation itself doesn't say: the
/// shape and dtype of leaves, and the target shape of `Reshape` and `Expand`; of a node that is there, what it has.
pub fn infer(
    op: &Op,
    operands: &[OperandType],
    wanted: Option<(&Shape, DType)>,
) -> Result<(Shape, DType), InferenceError> {
    ensure!(op.operands().takes(operands.len()), Value, "doesn't take {} operands", operands.len());
    let (shape, dtype) = infer_unbounded(op, operands, wanted)?;
    ensure!(shape.checked_elements().is_some(), Shape, "the result {shape} is larger than any memory");
    Ok((shape, dtype))
}

fn infer_unbounded(
    op: &Op,
    operands: &[OperandType],
    wanted: Option<(&Shape, DType)>,
) -> Result<(Shape, DType), InferenceError> {
    let want = || wanted.ok_or_else(|| (ErrorKind::Shape, "needs a target shape".to_string()));
    match op {
        Op::Const(data) => {
            let (shape, dtype) = want()?;
            ensure!(
                Some(data.len()) == shape.checked_elements(),
                Shape,
                "{} values don't fill the shape {shape}",
                data.len()
            );
            ensure!(data.dtype() == dtype, DType, "the data is {}, not {dtype}", data.dtype());
            Ok((shape.clone(), dtype))
        }
        Op::Fill(_) | Op::Input(_) => want().map(|(shape, dtype)| (shape.clone(), dtype)),
        Op::Iota(axis) => {
            let (shape, dtype) = want()?;
            ensure!(*axis < shape.rank(), Axis, "axis {axis} of {shape}");
            ensure!(matches!(dtype, DType::I64 | DType::I32), DType, "counts in i64 or i32, not {dtype}");
            Ok((shape.clone(), dtype))
        }
        Op::Var(var) => Ok((var.shape().clone(), var.dtype())),
        Op::Unary(function) => {
            let (shape, dtype) = operands[0];
            ensure!(function.takes(dtype), DType, "isn't defined on {dtype}");
            Ok((shape.clone(), dtype))
        }
        Op::Binary(function) => {
            let (a, b) = (operands[0], operands[1]);
            ensure!(a.0 == b.0, Shape, "shapes differ, {} and {}", a.0, b.0);
            ensure!(a.1 == b.1, DType, "dtypes differ, {} and {}", a.1, b.1);
            ensure!(function.takes(a.1), DType, "isn't defined on {}", a.1);
            Ok((a.0.clone(), function.result(a.1)))
        }
        Op::Select => {
            let (condition, a, b) = (operands[0], operands[1], operands[2]);
            ensure!(condition.1 == DType::Bool, DType, "the condition must be bool, not {}", condition.1);
            ensure!(
                condition.0 == a.0 && a.0 == b.0,
                Shape,
                "shapes differ, {}, {} and {}",
                condition.0,
                a.0,
                b.0
            );
            ensure!(a.1 == b.1, DType, "dtypes differ, {} and {}", a.1, b.1);
            Ok((a.0.clone(), a.1))
        }
        Op::Cast(dtype) => Ok((operands[0].0.clone(), *dtype)),
        Op::Reshape => {
            let (from, dtype) = operands[0];
            let (to, _) = want()?;
            ensure!(
                Some(from.elements()) == to.checked_elements(),
                Shape,
                "{from} has {} elements, {to} has {}",
                from.elements(),
                to.checked_elements().map_or("too many".to_string(), |n| n.to_string())
            );
            Ok((to.clone(), dtype))
        }
        Op::Permute(axes) => {
            let (shape, dtype) = operands[0];
            let mut seen = vec![false; shape.rank()];
            for &axis in axes {
                ensure!(
                    axis < shape.rank() && !seen[axis],
                    Axis,
                    "{axes:?} isn't a permutation of {shape}'s axes"
                );
                seen[axis] = true;
            }
            ensure!(axes.len() == shape.rank(), Axis, "{axes:?} isn't a permutation of {shape}'s axes");
            Ok((axes.iter().map(|&axis| shape[axis]).collect::<Vec<_>>().into(), dtype))
        }
        Op::Expand => {
            let (from, dtype) = operands[0];
            let (to, _) = want()?;
            ensure!(
                from.rank() == to.rank() && from.iter().zip(to.iter()).all(|(&a, &b)| a == b || a == 1),
                Shape,
                "{from} doesn't broadcast to {to}"
            );
            Ok((to.clone(), dtype))
        }
        Op::Slice(ranges) => {
            let (shape, dtype) = operands[0];
            ensure!(ranges.len() == shape.rank(), Axis, "{} ranges for {shape}", ranges.len());
            for (&SliceRange { start, len, step }, &size) in ranges.iter().zip(shape.iter()) {
                ensure!(step != 0, Value, "a step of 0");
                let last = start as i128 + step as i128 * (len as i128 - 1);
                ensure!(
                    len == 0 || (start < size && (0..size as i128).contains(&last)),
                    Index,
                    "{len} elements from {start} in steps of {step} leave an axis of {size} in {shape}"
                );
            }
            Ok((ranges.iter().map(|range| range.len).collect::<Vec<_>>().into(), dtype))
        }
        Op::Pad { before, after, .. } => {
            let (shape, dtype) = operands[0];
            ensure!(
                before.len() == shape.rank() && after.len() == shape.rank(),
                Axis,
                "padding for {} axes of {shape}",
                before.len()
            );
            let mut sizes = Vec::with_capacity(shape.rank());
            for axis in 0..shape.rank() {
                let size =
                    before[axis].checked_add(shape[axis]).and_then(|size| size.checked_add(after[axis]));
                sizes.push(size.ok_or((ErrorKind::Shape, "the padded size overflows".to_string()))?);
            }
            Ok((sizes.into(), dtype))
        }
        Op::Concat(axis) => {
            ensure!(!operands.is_empty(), Value, "needs at least one tensor");
            let (first, dtype) = operands[0];
            ensure!(*axis < first.rank(), Axis, "axis {axis} of {first}");
            let mut size = 0usize;
            for (shape, other) in operands {
                ensure!(
                    shape.rank() == first.rank() && shape.with(*axis, 0) == first.with(*axis, 0),
                    Shape,
                    "{first} and {shape} differ outside of axis {axis}"
                );
                ensure!(*other == dtype, DType, "dtypes differ, {dtype} and {other}");
                size = size.saturating_add(shape[*axis]);
            }
            Ok((first.with(*axis, size), dtype))
        }
        Op::Reduce(function, axes) => {
            let (shape, dtype) = operands[0];
            ensure!(
                axes.windows(2).all(|pair| pair[0] < pair[1]) && axes.iter().all(|&axis| axis < shape.rank()),
                Axis,
                "axes {axes:?} of {shape}"
            );
            let extreme = matches!(function, crate::op::ReduceOp::Max | crate::op::ReduceOp::Min);
            ensure!(extreme || dtype != DType::Bool, DType, "isn't defined on bool");
            Ok((shape.reduced(axes), dtype))
        }
        Op::ArgReduce(_, axis) => {
            let (shape, _) = operands[0];
            ensure!(*axis < shape.rank(), Axis, "axis {axis} of {shape}");
            ensure!(
                shape[*axis] > 0,
                Shape,
                "axis {axis} of {shape} is empty, so there is no position to give"
            );
            Ok((shape.reduced(&[*axis]), positions(wanted)))
        }
        Op::CumSum(axis) => {
            let (shape, dtype) = operands[0];
            ensure!(*axis < shape.rank(), Axis, "axis {axis} of {shape}");
            ensure!(dtype != DType::Bool, DType, "isn't defined on bool");
            Ok((shape.clone(), dtype))
        }
        Op::ArgSort { axis, .. } => {
            let (shape, _) = operands[0];
            ensure!(*axis < shape.rank(), Axis, "axis {axis} of {shape}");
            Ok((shape.clone(), positions(wanted)))
        }
        Op::Matmul => {
            let (a, b) = (operands[0], operands[1]);
            ensure!(a.1 == b.1, DType, "dtypes differ, {} and {}", a.1, b.1);
            ensure!(a.1 != DType::Bool, DType, "isn't defined on bool");
            let rank = a.0.rank();
            ensure!(rank >= 2 && rank == b.0.rank(), Shape, "ranks don't fit, {} × {}", a.0, b.0);
            ensure!(a.0[..rank - 2] == b.0[..rank - 2], Shape, "batch sizes differ, {} × {}", a.0, b.0);
            ensure!(a.0[rank - 1] == b.0[rank - 2], Shape, "inner sizes differ, {} × {}", a.0, b.0);
            Ok((a.0.with(rank - 1, b.0[rank - 1]), a.1))
        }
        Op::Conv(spec) => {
            let (image, weight) = (operands[0], operands[1]);
            let output = conv_output(spec, image, weight)?;
            Ok((output, image.1))
        }
        Op::ConvGradInput(spec, sizes) => {
            let (gradient, weight) = (operands[0], operands[1]);
            let rank = sizes.len() + 2;
            ensure!(
                weight.0.rank() == rank && gradient.0.rank() == rank,
                Shape,
                "{sizes:?} spatial sizes with gradient {} and weight {}",
                gradient.0,
                weight.0
            );
            let mut image = vec![gradient.0[0], weight.0[1].saturating_mul(spec.groups)];
            image.extend(sizes);
            let image = Shape::from(image);
            let output = conv_output(spec, (&image, gradient.1), weight)?;
            ensure!(output == *gradient.0, Shape, "an image {image} gives {output}, not {}", gradient.0);
            Ok((image, gradient.1))
        }
        Op::ConvGradWeight(spec, window) => {
            let (image, gradient) = (operands[0], operands[1]);
            let rank = window.len() + 2;
            ensure!(
                image.0.rank() == rank && gradient.0.rank() == rank && spec.groups > 0,
                Shape,
                "window {window:?} with image {} and gradient {}",
                image.0,
                gradient.0
            );
            let mut weight = vec![gradient.0[1], image.0[1] / spec.groups];
            weight.extend(window);
            let weight = Shape::from(weight);
            let output = conv_output(spec, image, (&weight, gradient.1))?;
            ensure!(output == *gradient.0, Shape, "a window {window:?} gives {output}, not {}", gradient.0);
            Ok((weight, image.1))
        }
        Op::Attention(spec, value) => attention::infer(spec, *value, operands),
        Op::WindowPick(spec) => {
            let (x, values) = (operands[0], operands[1]);
            ensure!(x.0 == values.0, Shape, "shapes differ, {} and {}", x.0, values.0);
            ensure!(x.1 != DType::Bool, DType, "isn't defined on bool");
            Ok((window_output(spec, x.0)?, values.1))
        }
        Op::WindowSpread(spec) => {
            let (x, gradient) = (operands[0], operands[1]);
            let output = window_output(spec, x.0)?;
            ensure!(output == *gradient.0, Shape, "windows give {output}, the gradient is {}", gradient.0);
            ensure!(gradient.1 != DType::Bool && x.1 != DType::Bool, DType, "isn't defined on bool");
            Ok((x.0.clone(), gradient.1))
        }
        Op::WindowSum(spec) => {
            ensure!(operands[0].1 != DType::Bool, DType, "isn't defined on bool");
            Ok((window_output(spec, operands[0].0)?, operands[0].1))
        }
        Op::WindowSumGrad(spec, sizes) => {
            let (gradient, dtype) = operands[0];
            ensure!(
                gradient.rank() == sizes.len() + 2,
                Shape,
                "{sizes:?} spatial sizes with gradient {gradient}"
            );
            let mut image = gradient[..2].to_vec();
            image.extend(sizes);
            let image = Shape::from(image);
            let output = window_output(spec, &image)?;
            ensure!(output == *gradient, Shape, "windows give {output}, the gradient is {gradient}");
            Ok((image, dtype))
        }
        Op::Gather(axis) => {
            let (x, index) = (operands[0], operands[1]);
            indexed(x.0, index, *axis, wanted)?;
            Ok((index.0.clone(), x.1))
        }
        Op::Scatter(axis, mode) => {
            let (base, index, source) = (operands[0], operands[1], operands[2]);
            indexed(base.0, index, *axis, wanted)?;
            ensure!(source.0 == index.0, Shape, "source {} and index {} differ", source.0, index.0);
            ensure!(source.1 == base.1, DType, "dtypes differ, {} and {}", base.1, source.1);
            let adds = *mode == crate::op::ScatterMode::Add;
            ensure!(!adds || base.1 != DType::Bool, DType, "isn't defined on bool");
            Ok((base.0.clone(), base.1))
        }
        Op::Unpack(format) => {
            let (shape, dtype) = operands[0];
            ensure!(dtype == DType::U8, DType, "unpacks bytes (u8), not {dtype}");
            ensure!(shape.rank() > 0, Shape, "needs rows of bytes, not a single one");
            let last = shape.rank() - 1;
            let Some(numbers) = format.row_numbers(shape[last]) else {
                let message = format!(
                    "{} bytes aren't whole blocks of {}, which {format} has",
                    shape[last],
                    format.bytes()
                );
                return Err((ErrorKind::Shape, message));
            };
            Ok((shape.with(last, numbers), DType::F32))
        }
        Op::Scan(scan, result) => scan_output(scan, *result, operands),
        Op::StopGradient | Op::Barrier(_) | Op::Rule(_) => Ok((operands[0].0.clone(), operands[0].1)),
        Op::Custom(custom) => custom.infer(operands).map_err(|message| (ErrorKind::Value, message)),
    }
}

/// The shape and dtype of one value of a scan.
fn scan_output(
    scan: &Scan,
    result: ScanResult,
    operands: &[OperandType],
) -> Result<(Shape, DType), InferenceError> {
    if let Some(fault) = scan.fault() {
        return Err((ErrorKind::Shape, fault));
    }
    for (position, &(shape, dtype)) in operands.iter().enumerate() {
        let (wanted, of) = scan.operand(position);
        ensure!(
            *shape == wanted && dtype == of,
            Shape,
            "operand {position} is {dtype}{shape}, and its {} steps need {of}{wanted}",
            scan.steps
        );
    }
    let node = match result {
        ScanResult::Last(state) => scan.body.outputs.get(state),
        ScanResult::Stacked(ref id) => Some(id),
    };
    let node = node.and_then(|&id| scan.body.nodes.get(id));
    let node = node.ok_or_else(|| (ErrorKind::Value, format!("its body has no {result:?}")))?;
    Ok(match result {
        ScanResult::Last(_) => (node.shape.clone(), node.dtype),
        ScanResult::Stacked(_) => (scan.stacked(&node.shape), node.dtype),
    })
}

/// The shape of a convolution's result.
fn conv_output(spec: &ConvSpec, image: OperandType, weight: OperandType) -> Result<Shape, InferenceError> {
    let spatial = spec.stride.len();
    ensure!((1..=3).contains(&spatial), Value, "{spatial} spatial axes; 1 to 3 are possible");
    ensure!(
        spec.pad.len() == spatial && spec.dilation.len() == spatial,
        Value,
        "settings for different ranks"
    );
    ensure!(
        image.0.rank() == spatial + 2 && weight.0.rank() == spatial + 2,
        Shape,
        "image {} and weight {} should both have {} axes (batch or out, channels, {spatial} spatial)",
        image.0,
        weight.0,
        spatial + 2
    );
    ensure!(image.1 == weight.1, DType, "dtypes differ, {} and {}", image.1, weight.1);
    ensure!(image.1.is_float(), DType, "isn't defined on {}", image.1);
    ensure!(spec.groups > 0, Value, "0 groups");
    ensure!(
        weight.0[1].checked_mul(spec.groups) == Some(image.0[1]) && weight.0[0].is_multiple_of(spec.groups),
        Shape,
        "channels don't fit, image {}, weight {}, groups {}",
        image.0,
        weight.0,
        spec.groups
    );
    let mut sizes = vec![image.0[0], weight.0[0]];
    for axis in 0..spatial {
        let (size, window) = (image.0[axis + 2], weight.0[axis + 2]);
        sizes.push(window_count(size, spec.pad[axis], window, spec.dilation[axis], spec.stride[axis])?);
    }
    Ok(sizes.into())
}

/// The shape of a pooling operation's result.
fn window_output(spec: &WindowSpec, image: &Shape) -> Result<Shape, InferenceError> {
    let spatial = spec.window.len();
    ensure!((1..=3).contains(&spatial), Value, "{spatial} spatial axes; 1 to 3 are possible");
    ensure!(
        spec.pad.len() == spatial && spec.dilation.len() == spatial && spec.stride.len() == spatial,
        Value,
        "settings for different ranks"
    );
    ensure!(
        image.rank() == spatial + 2,
        Shape,
        "{image} should have {} axes (batch, channels, {spatial} spatial)",
        spatial + 2
    );
    let mut sizes = image[..2].to_vec();
    for axis in 0..spatial {
        let extent = spec.window[axis].saturating_sub(1).saturating_mul(spec.dilation[axis]);
        ensure!(
            spec.pad[axis].0 <= extent,
            Value,
            "padding {} in front is wider than a window of {}, which would hold nothing else",
            spec.pad[axis].0,
            spec.window[axis]
        );
        sizes.push(window_count(
            image[axis + 2],
            spec.pad[axis],
            spec.window[axis],
            spec.dilation[axis],
            spec.stride[axis],
        )?);
        let last = (sizes[axis + 2] - 1).saturating_mul(spec.stride[axis]);
        ensure!(
            last < image[axis + 2] + spec.pad[axis].0,
            Value,
            "padding {:?} behind an axis of {} leaves windows that hold nothing else",
            spec.pad[axis],
            image[axis + 2]
        );
    }
    Ok(sizes.into())
}

fn window_count(
    size: usize,
    pad: (usize, usize),
    window: usize,
    dilation: usize,
    stride: usize,
) -> Result<usize, InferenceError> {
    ensure!(
        stride > 0 && dilation > 0 && window > 0,
        Value,
        "stride, dilation and window must be at least 1"
    );
    // Devices compute positions from all of these, and must not overflow.
    const FAR: usize = 1 << 40;
    let largest = [size, pad.0, pad.1, window, dilation, stride].into_iter().max().unwrap_or(0);
    ensure!(
        largest < FAR,
        Value,
        "a size, padding, dilation or stride of {largest} is more than any image has"
    );
    windows(size, pad, window, dilation, stride).ok_or_else(|| {
        let message =
            format!("a window of {window} (dilation {dilation}) doesn't fit into {size} padded by {pad:?}");
        (ErrorKind::Shape, message)
    })
}

/// Positions are `I64`, and `I32` only in a graph that was made to fit a device without `I64`.
fn positions(wanted: Option<(&Shape, DType)>) -> DType {
    wanted.map(|(_, dtype)| dtype).filter(|dtype| *dtype == DType::I32).unwrap_or(DType::I64)
}

fn indexed(
    x: &Shape,
    index: OperandType,
    axis: usize,
    wanted: Option<(&Shape, DType)>,
) -> Result<(), InferenceError> {
    let fits = index.1 == DType::I64 || (index.1 == DType::I32 && wanted.is_some());
    ensure!(fits, DType, "the index must be i64, not {}", index.1);
    ensure!(axis < x.rank(), Axis, "axis {axis} of {x}");
    ensure!(
        index.0.rank() == x.rank() && index.0.with(axis, 0) == x.with(axis, 0),
        Shape,
        "{x} and index {} differ outside of axis {axis}",
        index.0
    );
    Ok(())
}
