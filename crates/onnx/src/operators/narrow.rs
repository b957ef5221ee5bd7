//! Floats of eight and four bits: numbers rounded to them, by arithmetic that every device has.

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, wide};
use crate::element::{Beyond, NarrowFloat, OnnxDType};
use crate::error::Result;

/// Numbers as the nearest of a narrow float, of two the even one. What lies beyond its largest is that, or what the type has for it
/// where the node says `saturate=0`.
pub(super) fn narrowed(call: &Call, x: &Tensor, element: OnnxDType, float: NarrowFloat) -> Result<Tensor> {
    let x = if x.dtype().is_float() { wide(x) } else { x.cast(DType::F64) };
    if element == OnnxDType::F8E8m0 {
        return powers(call, &x, float);
    }
    let saturates = call.int("saturate", 1) != 0;
    let size = x.abs();
    let step =
        power(&size).maximum(libm::ldexp(1.0, float.lowest)) * libm::ldexp(1.0, -(float.mantissa as i32));
    let near = (&size / &step).round() * &step;
    let above = match float.beyond {
        _ if saturates => float.largest,
        Beyond::Largest => float.largest,
        Beyond::Infinity => f64::INFINITY,
        Beyond::Nan | Beyond::UnsignedNan => f64::NAN,
    };
    let near = near.gt(float.largest).select(above, &near);
    // The sign of zero shows in its reciprocal, that of infinity only in itself.
    let is_negative = x.lt(0.0).logical_or(&x.recip().lt(0.0));
    let signed = match float.beyond {
        // There is no negative zero.
        Beyond::UnsignedNan => is_negative.logical_and(&near.ne(0.0)).select(-&near, &near),
        Beyond::Infinity | Beyond::Nan | Beyond::Largest => is_negative.select(-&near, &near),
    };
    // What isn't a number stays so, where the type has it.
    let nothing = if float.beyond == Beyond::Largest { -0.0 } else { f64::NAN };
    let signed = x.is_nan().select(nothing, signed);
    Ok(signed.cast(DType::F32))
}

/// The largest power of two that isn't above a positive number from 2⁻¹²⁶ to 2¹²⁸; exact, for only powers are multiplied.
fn power(size: &Tensor) -> Tensor {
    const STEPS: [i32; 7] = [64, 32, 16, 8, 4, 2, 1];
    let (mut rest, mut power) = (size.clone(), size.ones_like());
    let two = |exponent: i32| libm::ldexp(1.0, exponent);
    for step in STEPS {
        let is_large = rest.ge(two(step));
        power = is_large.select(&power * two(step), &power);
        rest = is_large.select(&rest * two(-step), &rest);
    }
    for step in STEPS {
        let is_small = rest.lt(two(1 - step));
        power = is_small.select(&power * two(-step), &power);
        rest = is_small.select(&rest * two(step), &rest);
    }
    power
}

/// Numbers as powers of two: the one above, below or nearest, whatever their sign.
fn powers(call: &Call, x: &Tensor, float: NarrowFloat) -> Result<Tensor> {
    let size = x.cast(DType::F64).abs();
    let least = libm::ldexp(1.0, float.lowest);
    let below = power(&size).maximum(least);
    let y = match call.text("round_mode", "up").as_str() {
        "up" => size.gt(&below).select(&below * 2.0, &below),
        "down" => below.clone(),
        "nearest" => size.ge(&below * 1.5).select(&below * 2.0, &below),
        other => return Err(call.fault(format!("a round_mode of {other}"))),
    };
    let above = if call.int("saturate", 1) != 0 { float.largest } else { f64::NAN };
    let y = y.gt(float.largest).select(above, y);
    Ok(size.is_finite().select(y, f64::NAN).cast(DType::F32))
}
