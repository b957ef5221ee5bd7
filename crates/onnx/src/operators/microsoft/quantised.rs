//! Arithmetic on quantised numbers: brought to floats, computed, and quantised again, which is what the operators are defined by.

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, Operator};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::operators::quantise::{cut, dynamic_parts, exact, product};
use crate::operators::windows::{average_pool_of, spatial_mean};
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "QLinearAdd" => |call| quantised(call, floats(call, 0)? + floats(call, 3)?, 6),
        "QLinearMul" => |call| quantised(call, floats(call, 0)? * floats(call, 3)?, 6),
        "QLinearSigmoid" => |call| quantised(call, floats(call, 0)?.sigmoid(), 3),
        "QLinearLeakyRelu" => {
            |call| quantised(call, floats(call, 0)?.leaky_relu(call.float("alpha", 0.01)), 3)
        }
        "QLinearSoftmax" => |call| {
            let x = floats(call, 0)?;
            let axis = call.axis(call.int("axis", -1), x.rank())?;
            if call.int("opset", 13) >= 13 {
                return quantised(call, x.softmax(axis as isize), 3);
            }
            // Before version 13 all axes from this one on were one.
            let rows = x.shape()[..axis].iter().product::<usize>();
            let y = x.reshape([rows, x.elements() / rows.max(1)]).softmax(-1).reshape(x.shape());
            quantised(call, y, 3)
        },
        "QLinearReduceMean" => |call| {
            let x = floats(call, 0)?;
            let axes = call.ints("axes").unwrap_or_else(|| (0..x.rank() as i64).collect());
            let axes: Vec<isize> =
                call.axes(&axes, x.rank())?.into_iter().map(|axis| axis as isize).collect();
            let y = if call.int("keepdims", 1) != 0 { x.mean_keepdim(axes) } else { x.mean(axes) };
            quantised(call, y, 3)
        },
        "QLinearGlobalAveragePool" => |call| {
            let (x, last) = image(call)?;
            quantised(call, back(spatial_mean(&x), last), 3)
        },
        "QLinearAveragePool" => |call| {
            let (x, last) = image(call)?;
            quantised(call, back(average_pool_of(call, &x)?, last), 3)
        },
        "QLinearConcat" => |call| {
            let parts: Vec<Tensor> =
                (2..call.count()).step_by(3).map(|position| floats(call, position)).collect::<Result<_>>()?;
            let rank = parts.first().map_or(0, Tensor::rank);
            let axis = call.axis(call.int("axis", 0), rank)?;
            quantised(call, Tensor::concat(&parts, axis as isize), 0)
        },
        "QLinearWhere" => |call| {
            let y = call.tensor(0)?.select(floats(call, 1)?, floats(call, 4)?);
            quantised(call, y, 7)
        },
        "QGemm" => gemm,
        "MatMulIntegerToFloat" => |call| {
            let sums = product(call, [0, 4], [1, 5])?.cast(DType::F32);
            let scale = call.tensor(2)? * call.tensor(3)?;
            with_bias(call, sums * scale, 6)
        },
        "DynamicQuantizeMatMul" => |call| {
            let (q, scale, zero) = dynamic_parts(&call.tensor(0)?.cast(DType::F32));
            let mut b = call.tensor(1)?.cast(DType::F32);
            if let Some(zero) = call.optional(3)? {
                b -= zero.cast(DType::F32);
            }
            let b = call.sound(b)?;
            let terms = q.shape().last().copied().unwrap_or(1);
            let sums = exact(&(q - zero), terms, |a| call.sound(a.matmul(&b)))?.cast(DType::F32);
            with_bias(call, sums * (scale * call.tensor(2)?), 4)
        },
        "DynamicQuantizeLSTM" => lstm,
        _ => return None,
    })
}

/// Quantised numbers at a position, their scale and zero point at the next two, as floats.
fn floats(call: &Call, position: usize) -> Result<Tensor> {
    let mut x = call.tensor(position)?.cast(DType::F32);
    if let Some(zero) = call.optional(position + 2)? {
        x -= single(&zero).cast(DType::F32);
    }
    Ok(x * single(&call.tensor(position + 1)?))
}

/// One number without axes.
fn single(x: &Tensor) -> Tensor {
    if x.elements() == 1 { Tensor::from(x.expr().reshape(vec![])) } else { x.clone() }
}

/// Floats quantised with the scale at a position and the zero point behind it, whose type is the result's.
fn quantised(call: &Call, y: Tensor, scale: usize) -> Result<Vec<Value>> {
    let mut y = (y / single(&call.tensor(scale)?)).round();
    let mut element = OnnxDType::U8;
    if let Some(zero) = call.optional(scale + 1)? {
        y += single(&zero).cast(y.dtype());
        element = call.element(scale + 1)?;
    }
    Ok(vec![cut(call, &y, element)?])
}

/// The first input as an image whose channels stand before its rows, and whether they stood last.
fn image(call: &Call) -> Result<(Tensor, bool)> {
    let (x, last) = (floats(call, 0)?, call.int("channels_last", 0) != 0);
    if x.rank() < 3 {
        return Err(call.fault(format!("{} is no image", x.shape())));
    }
    Ok((if last { x.move_axis(-1, 1) } else { x }, last))
}

fn back(x: Tensor, last: bool) -> Tensor {
    if last { x.move_axis(1, -1) } else { x }
}

fn with_bias(call: &Call, y: Tensor, position: usize) -> Result<Vec<Value>> {
    let y = match call.optional(position)? {
        Some(bias) => y + bias,
        None => y,
    };
    Ok(vec![Value::of(y)])
}

/// A product of matrices with a bias in units of both scales; floats where no scale for the result is given.
fn gemm(call: &Call) -> Result<Vec<Value>> {
    let side = |position: usize, name: &str| -> Result<Tensor> {
        let mut x = call.tensor(position)?.cast(DType::F32);
        if call.int(name, 0) != 0 {
            x = x.t();
        }
        // The weight has a zero point for each of its columns, or one.
        Ok(match call.optional(position + 2)? {
            Some(zero) => x - single(&zero).cast(DType::F32),
            None => x,
        })
    };
    let mut sums = side(0, "transA")?.matmul(&side(3, "transB")?) * call.float("alpha", 1.0);
    if let Some(bias) = call.optional(6)? {
        sums += bias.cast(DType::F32);
    }
    let scale = single(&call.tensor(1)?) * single(&call.tensor(4)?);
    let y = sums * scale;
    match call.has(7) {
        true => quantised(call, y, 7),
        false => Ok(vec![Value::of(y)]),
    }
}

/// An LSTM whose weights are quantised. Its inputs are quantised as they are there; what goes from step to step is not, so that the
/// result is a little nearer to the network it was made of.
fn lstm(call: &Call) -> Result<Vec<Value>> {
    let (x, scale, zero) = dynamic_parts(&call.tensor(0)?.cast(DType::F32));
    // [directions, inputs, gates · hidden] there, the last two axes turned here.
    let weights = |position: usize, scale: usize| -> Result<Tensor> {
        let fitted = |part: Tensor| match part.rank() {
            1 => part.reshape([-1, 1, 1]),
            _ => part.unsqueeze(1),
        };
        let mut w = call.tensor(position)?.cast(DType::F32);
        if let Some(zero) = call.optional(scale + 1)? {
            w -= fitted(zero.cast(DType::F32));
        }
        call.sound((w * fitted(call.tensor(scale)?)).t())
    };
    let mut inputs: Vec<Value> = call.inputs.iter().take(8).cloned().collect();
    inputs[0] = Value::of((x - zero) * scale);
    inputs[1] = Value::of(weights(1, 8)?);
    inputs[2] = Value::of(weights(2, 10)?);
    let plain = Call { inputs, node: call.node, ..*call };
    crate::operators::recurrent::walk(&plain, 4, &["Sigmoid", "Tanh", "Tanh"])
}
