//! Floats of eight and four bits: numbers rounded to them, by arithmetic that every device has.

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, wide};
use crate::element::{NarrowFloat, OnnxDType, Overflow};
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
        Overflow::Largest => float.largest,
        Overflow::Infinity => f64::INFINITY,
        Overflow::Nan | Overflow::UnsignedNan => f64::NAN,
    };
    let near = near.gt(float.largest).select(above, &near);
    // The sign of zero shows in its reciprocal, that of infinity only in itself.
    let is_negative = x.lt(0.0).logical_or(&x.recip().lt(0.0));
    let signed = match float.beyond {
        // There is no negative zero.
        Overflow::UnsignedNan => is_negative.logical_and(&near.ne(0.0)).select(-&near, &near),
        Overflow::Infinity | Overflow::Nan | Overflow::Largest => is_negative.select(-&near, &near),
    };
    // What isn't a number stays so, where the type has it.
    let nothing = if float.beyond == Overflow::Largest { -0.0 } else { f64::NAN };
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

#[cfg(test)]
mod tests {
    use kiln_ir::Data;

    use crate::element::OnnxDType;

    /// Every code of each type stands for a number of its own, in order, and its largest is the largest.
    #[test]
    fn all_codes_of_narrow_floats_are_numbers_in_order() {
        for (element, positive) in [
            (OnnxDType::F8E4m3, 127),
            (OnnxDType::F8E4m3Fnuz, 128),
            (OnnxDType::F8E5m2, 124),
            (OnnxDType::F8E5m2Fnuz, 128),
            (OnnxDType::F8E8m0, 255),
        ] {
            let bytes: Vec<u8> = (0..positive as u8).collect();
            let Some(Data::F32(numbers)) = element.read(&bytes, bytes.len()) else { panic!("{element:?}") };
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{element:?}");
            let largest = element.narrow_float().unwrap().largest;
            assert_eq!(f64::from(*numbers.last().unwrap()), largest, "{element:?}");
        }
        let four = OnnxDType::F4E2m1.read(&[0x10, 0x32, 0x54, 0x76], 8).unwrap();
        assert_eq!(four, Data::F32(vec![0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]));
        // The first stands in the lowest bits.
        assert_eq!(OnnxDType::I4.read(&[0x8f, 0x07], 3), Some(Data::I32(vec![-1, -8, 7])));
        assert_eq!(OnnxDType::U2.read(&[0b11_10_01_00], 4), Some(Data::U8(vec![0, 1, 2, 3])));
    }
}
