//! Numbers as small integers with a scale and a zero point: `x ≈ (q − zero) · scale`. Sums of products of such are exact where they are
//! the result. The fast products are those of `f32`, which holds whole numbers up to 2²⁴: larger sums are taken of parts of the numbers.

use kiln_ir::DType;
use kiln_ir::op::BinaryOp;
use kiln_nn::Tensor;

use super::narrow::narrowed;
use super::pointwise::arithmetic;
use super::windows::conv;
use crate::call::{Call, Operator, one, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "QuantizeLinear" => quantise,
        "DequantizeLinear" => dequantise,
        "DynamicQuantizeLinear" => dynamic,
        "MatMulInteger" => |call| {
            let product = product(call, [0, 2], [1, 3])?;
            Ok(vec![Value::Numbers(product, OnnxDType::I32)])
        },
        "QLinearMatMul" => |call| {
            let product = product(call, [0, 2], [3, 5])?.cast(DType::F64);
            let scale = |position: usize| call.tensor(position).map(|scale| scale.cast(DType::F64));
            let rows = column(scale(1)?, call.value(0)?.shape().len());
            let factor = rows * scale(4)? / scale(6)?;
            rounded(call, &(product * factor), 7)
        },
        "ConvInteger" => |call| {
            let (x, w) = (centred(call, [0, 2])?, centred(call, [1, 3])?);
            let terms = w.shape().iter().skip(1).product();
            let sums = exact(&x, terms, |x| call.sound(conv(call, x, &w)?))?;
            Ok(vec![Value::Numbers(sums, OnnxDType::I32)])
        },
        "QLinearConv" => |call| {
            // Rounded to eight bits right away: what f32 loses of a long sum is far below that.
            let mut sums = conv(call, &centred(call, [0, 2])?, &centred(call, [3, 5])?)?;
            let rank = sums.rank();
            if let Some(bias) = call.optional(8)? {
                sums += channels(call, &bias.cast(DType::F32), rank, 1)?;
            }
            let scale = |position: usize| call.tensor(position).map(|scale| scale.cast(DType::F32));
            let factor = scale(1)? * channels(call, &scale(4)?, rank, 1)? / scale(6)?;
            rounded(call, &(sums * factor), 7)
        },
        _ => return None,
    })
}

/// The lowest and highest number of a type that is quantised to.
fn ends(call: &Call, element: OnnxDType) -> Result<(f64, f64)> {
    Ok(match element {
        OnnxDType::U2 => (0.0, 3.0),
        OnnxDType::I2 => (-2.0, 1.0),
        OnnxDType::U4 => (0.0, 15.0),
        OnnxDType::I4 => (-8.0, 7.0),
        OnnxDType::U8 => (0.0, 255.0),
        OnnxDType::I8 => (-128.0, 127.0),
        OnnxDType::U16 => (0.0, 65535.0),
        OnnxDType::I16 => (-32768.0, 32767.0),
        other => return Err(call.unknown(format!("numbers as {}", other.name()))),
    })
}

/// Whole numbers of a type, cut to its range. They are whole already.
pub(super) fn cut(call: &Call, x: &Tensor, element: OnnxDType) -> Result<Value> {
    let (least, most) = ends(call, element)?;
    let dtype = element.dtype().unwrap_or(DType::I32);
    Ok(Value::Numbers(x.clamp(least, most).cast(dtype), element))
}

/// To the nearest number of the type of a zero point, which is added.
fn rounded(call: &Call, x: &Tensor, zero: usize) -> Result<Vec<Value>> {
    let point = call.tensor(zero)?.cast(x.dtype());
    Ok(vec![cut(call, &(x + point).round(), call.element(zero)?)?])
}

/// A scale or zero point in a shape that fits `x`: one for all, for each slice of an axis, or for each block along it.
fn spread(call: &Call, part: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (shape, from) = (x.shape(), part.shape());
    if part.elements() == 1 {
        return Ok(Tensor::from(part.expr().reshape(vec![])));
    }
    let axis = call.axis(call.int("axis", 1), shape.rank())?;
    let block = call.int("block_size", 0);
    if block == 0 {
        if *from != [shape[axis]] {
            return Err(call.fault(format!("{from} doesn't fit axis {axis} of {shape}")));
        }
        return channels(call, part, shape.rank(), axis);
    }
    let block = call.sizes(&[block])?[0];
    if from.rank() != shape.rank() || from[axis] != shape[axis].div_ceil(block) {
        return Err(
            call.fault(format!("{from} isn't one for each block of {block} along axis {axis} of {shape}"))
        );
    }
    call.room(&[from.elements(), block])?;
    Ok(part.repeat_interleave(axis as isize, block).narrow(axis as isize, 0, shape[axis]))
}

/// A vector along an axis of `rank`; one number stays one.
fn channels(call: &Call, part: &Tensor, rank: usize, axis: usize) -> Result<Tensor> {
    if part.elements() == 1 {
        return Ok(Tensor::from(part.expr().reshape(vec![])));
    }
    let axis = call.axis(axis as i64, rank)?;
    let mut sizes = vec![1; rank];
    sizes[axis] = part.elements();
    Ok(Tensor::from(part.expr().reshape(sizes)))
}

fn quantise(call: &Call) -> Result<Vec<Value>> {
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let element = match call.int("output_dtype", 0) {
        0 if call.has(2) => call.element(2)?,
        0 => OnnxDType::U8,
        number => call.element_of(number)?,
    };
    if element.narrow_float().is_none() {
        ends(call, element)?;
    }
    let scale = spread(call, &scale, &x)?;
    let (x, scale) = match call.int("precision", 0) {
        0 if !x.dtype().is_float() => (x.cast(DType::F64), scale.cast(DType::F64)),
        0 => (x, scale),
        number => {
            let element = call.element_of(number)?;
            let dtype = element.dtype().filter(|dtype| dtype.is_float());
            let dtype = dtype.ok_or_else(|| call.unknown(format!("a precision of {}", element.name())))?;
            (x.cast(dtype), scale.cast(dtype))
        }
    };
    let quotient = wide(&arithmetic(BinaryOp::Div, &x, &scale));
    if let Some(float) = element.narrow_float() {
        // A zero point says the type, and is zero.
        return Ok(vec![Value::Numbers(narrowed(call, &quotient, element, float)?, element)]);
    }
    let mut y = quotient.round();
    if let Some(zero) = call.optional(2)? {
        y = &y + spread(call, &zero, &x)?.cast(y.dtype());
    }
    Ok(vec![cut(call, &y, element)?])
}

fn dequantise(call: &Call) -> Result<Vec<Value>> {
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let element = match call.int("output_dtype", 0) {
        0 => call.element(1)?,
        number => call.element_of(number)?,
    };
    let dtype = element.dtype().filter(|dtype| dtype.is_float());
    let dtype = dtype.ok_or_else(|| call.unknown(format!("a result of {}", element.name())))?;
    let mut y = x.cast(DType::F32);
    if let Some(zero) = call.optional(2)? {
        y -= spread(call, &zero, &x)?.cast(DType::F32);
    }
    Ok(vec![Value::Numbers((y * spread(call, &scale, &x)?).cast(dtype), element)])
}

/// The scale and zero point that make the most of `u8`, and the numbers with them.
fn dynamic(call: &Call) -> Result<Vec<Value>> {
    let (y, scale, zero) = dynamic_parts(&call.tensor(0)?.cast(DType::F32));
    let whole = |x: Tensor| Value::Numbers(x.cast(DType::U8), OnnxDType::U8);
    Ok(vec![whole(y), one(scale)?.remove(0), whole(zero)])
}

/// Floats as numbers from 0 to 255, their scale and zero point, all still floats. Zero is always one of the numbers.
pub(super) fn dynamic_parts(x: &Tensor) -> (Tensor, Tensor, Tensor) {
    let (least, most) = (x.min(..).minimum(0.0), x.max(..).maximum(0.0));
    let range = &most - &least;
    let scale = range.eq(0.0).select(1.0, range) / 255.0;
    let zero = (-(least / &scale)).clamp(0.0, 255.0).round();
    let y = ((x / &scale).round() + &zero).clamp(0.0, 255.0);
    (y, scale, zero)
}

/// A list with a number for each row of a matrix as a column beside it.
fn column(part: Tensor, rank: usize) -> Tensor {
    match part.rank() {
        1 if part.elements() > 1 && rank > 1 => part.unsqueeze(-1),
        _ => part,
    }
}

/// The matrix product of two inputs less their zero points, in `i32`.
pub(super) fn product(call: &Call, a: [usize; 2], b: [usize; 2]) -> Result<Tensor> {
    let centred = |[x, zero]: [usize; 2], rows: bool| -> Result<Tensor> {
        let (x, zero) = (call.tensor(x)?.cast(DType::F32), call.optional(zero)?);
        let Some(zero) = zero else { return Ok(x) };
        let zero = if rows { column(zero, x.rank()) } else { zero };
        Ok(x - zero.cast(DType::F32))
    };
    let (a, b) = (call.sound(centred(a, true)?)?, call.sound(centred(b, false)?)?);
    let terms = a.shape().last().copied().unwrap_or(1);
    exact(&a, terms, |a| call.sound(a.matmul(&b)))
}

/// An input of a convolution less its zero point.
fn centred(call: &Call, [x, zero]: [usize; 2]) -> Result<Tensor> {
    let x = call.tensor(x)?.cast(DType::F32);
    let Some(zero) = call.optional(zero)? else { return Ok(x) };
    Ok(&x - channels(call, &zero.cast(DType::F32), x.rank(), 0)?)
}

/// Sums of so many products with whole numbers of at most eight bits and a sign, without a rounding: `x = 16 · high + low`, each part
/// by itself, or in four parts for longer sums.
pub(super) fn exact(x: &Tensor, terms: usize, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    const EXACT: usize = 1 << 24;
    let parts = [(1, 255), (2, 16), (4, 4)];
    let fits = parts.into_iter().find(|(_, most)| terms.saturating_mul(most * 255) <= EXACT);
    let Some((parts, base)) = fits else { return Ok(f(&x.cast(DType::F64))?.cast(DType::I32)) };
    let (mut rest, mut sum) = (x.clone(), None);
    for part in 0..parts {
        let last = part + 1 == parts;
        let above = (&rest / base as f64).trunc();
        let low = if last { rest } else { &rest - &above * base as f64 };
        let own = f(&low)?.cast(DType::I32) * (base as i32).pow(part);
        sum = Some(match sum {
            None => own,
            Some(sum) => sum + own,
        });
        rest = above;
    }
    Ok(sum.unwrap_or_else(|| x.cast(DType::I32)))
}
