//! Operators on each element.

use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Expr};
use kiln_nn::Tensor;

use super::narrow::narrowed;
use crate::call::{Call, Operator, one, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Add" => |call| binary(call, BinaryOp::Add),
        "Sub" => |call| binary(call, BinaryOp::Sub),
        "Mul" => |call| binary(call, BinaryOp::Mul),
        "Div" => |call| binary(call, BinaryOp::Div),
        "And" => |call| binary(call, BinaryOp::And),
        "Or" => |call| binary(call, BinaryOp::Or),
        "Xor" => |call| binary(call, BinaryOp::Xor),
        "BitwiseAnd" => |call| binary(call, BinaryOp::And),
        "BitwiseOr" => |call| binary(call, BinaryOp::Or),
        "BitwiseXor" => |call| binary(call, BinaryOp::Xor),
        "BitwiseNot" => |call| {
            let x = call.tensor(0)?;
            let all = x.full_like(-1);
            call.like(0, Tensor::from(x.expr().binary(BinaryOp::Xor, all.expr())))
        },
        "BitShift" => shift,
        "Pow" => pow,
        "Mod" => remainder,
        "Equal" => |call| compare(call, BinaryOp::Eq, false),
        "Less" => |call| compare(call, BinaryOp::Lt, false),
        "LessOrEqual" => |call| compare(call, BinaryOp::Le, false),
        "Greater" => |call| compare(call, BinaryOp::Lt, true),
        "GreaterOrEqual" => |call| compare(call, BinaryOp::Le, true),
        "Max" => |call| fold(call, &|a, b| a.maximum(b)),
        "Min" => |call| fold(call, &|a, b| a.minimum(b)),
        "Sum" => |call| fold(call, &|a, b| a + b),
        "Mean" => |call| {
            let sum = fold(call, &|a, b| a + b)?;
            let count = call.count() as f64;
            sum.into_iter().map(|value| scaled(value, count)).collect()
        },
        "Neg" => |call| unary(call, UnaryOp::Neg),
        "Abs" => |call| unary(call, UnaryOp::Abs),
        "Sign" => |call| unary(call, UnaryOp::Sign),
        "Exp" => |call| unary(call, UnaryOp::Exp),
        "Log" => |call| unary(call, UnaryOp::Ln),
        "Sqrt" => |call| unary(call, UnaryOp::Sqrt),
        "Reciprocal" => |call| unary(call, UnaryOp::Recip),
        "Sin" => |call| unary(call, UnaryOp::Sin),
        "Cos" => |call| unary(call, UnaryOp::Cos),
        "Tanh" => |call| unary(call, UnaryOp::Tanh),
        "Sigmoid" => |call| unary(call, UnaryOp::Sigmoid),
        "Erf" => |call| unary(call, UnaryOp::Erf),
        "Relu" => |call| unary(call, UnaryOp::Relu),
        "Floor" => |call| unary(call, UnaryOp::Floor),
        "Ceil" => |call| unary(call, UnaryOp::Ceil),
        "Round" => |call| unary(call, UnaryOp::Round),
        "Not" => |call| unary(call, UnaryOp::Not),
        "Tan" => |call| float(call, &|x, _| x.tan()),
        "Atan" => |call| float(call, &|x, _| atan(x)),
        "Asin" => |call| float(call, &|x, _| atan(&(x / ((-x + 1.0) * (x + 1.0)).sqrt()))),
        // Through half the angle, so that nothing cancels near one.
        "Acos" => |call| float(call, &|x, _| atan(&((-x + 1.0) / (x + 1.0)).sqrt()) * 2.0),
        "Sinh" => |call| float(call, &|x, _| (x.exp() - (-x).exp()) * 0.5),
        "Cosh" => |call| float(call, &|x, _| (x.exp() + (-x).exp()) * 0.5),
        // Through the magnitude, so that a large negative number doesn't cancel.
        "Asinh" => |call| float(call, &|x, _| (x.abs() + (x.square() + 1.0).sqrt()).ln() * x.sign()),
        "Acosh" => |call| float(call, &|x, _| (x + (x.square() - 1.0).sqrt()).ln()),
        "Atanh" => |call| float(call, &|x, _| (x.ln_1p() - (-x).ln_1p()) * 0.5),
        "LeakyRelu" => |call| float(call, &|x, call| x.leaky_relu(call.float("alpha", 0.01))),
        "Elu" => |call| float(call, &|x, call| x.elu(call.float("alpha", 1.0))),
        "Celu" => |call| float(call, &|x, call| x.celu(call.float("alpha", 1.0))),
        "Selu" => |call| {
            float(call, &|x, call| {
                let (alpha, gamma) = (call.float("alpha", 1.673_263_2), call.float("gamma", 1.050_701));
                x.elu(alpha) * gamma
            })
        },
        "ThresholdedRelu" => |call| float(call, &|x, call| x.gt(call.float("alpha", 1.0)).select(x, 0.0)),
        "HardSigmoid" => |call| {
            float(call, &|x, call| (x * call.float("alpha", 0.2) + call.float("beta", 0.5)).clamp(0.0, 1.0))
        },
        "HardSwish" => |call| float(call, &|x, _| x.hard_swish()),
        "Softplus" => |call| float(call, &|x, _| x.softplus()),
        "Softsign" => |call| float(call, &|x, _| x.softsign()),
        "Mish" => |call| float(call, &|x, _| x.mish()),
        "Swish" => |call| float(call, &|x, call| x * (x * call.float("alpha", 1.0)).sigmoid()),
        "SwiGLU" => |call| {
            let gate = wide(&call.tensor(1)?);
            float(call, &|x, call| x * (x * call.float("alpha", 1.0)).sigmoid() * &gate)
        },
        "Gelu" => |call| match call.text("approximate", "none").as_str() {
            "tanh" => float(call, &|x, _| x.gelu_tanh()),
            _ => float(call, &|x, _| x.gelu()),
        },
        "Shrink" => |call| {
            float(call, &|x, call| {
                let (lambda, bias) = (call.float("lambd", 0.5), call.float("bias", 0.0));
                x.lt(-lambda).select(x + bias, x.gt(lambda).select(x - bias, 0.0))
            })
        },
        "PRelu" => |call| {
            let (x, mut slope) = (call.tensor(0)?, call.tensor(1)?);
            // In old files a list of slopes is one for each channel.
            if call.version < 7 && slope.rank() == 1 && slope.elements() > 1 && x.rank() > 2 {
                slope = slope.reshape([&[slope.elements()], &vec![1; x.rank() - 2][..]].concat());
            }
            call.like(0, x.prelu(&slope))
        },
        "Clip" => clip,
        "Where" => |call| {
            if let (Value::Texts(..), ..) = (call.value(1)?, call.value(2)?) {
                return Err(call.fault("texts can't be chosen from here"));
            }
            let (a, b) = (call.tensor(1)?, call.tensor(2)?);
            call.like(1, call.tensor(0)?.select(&a, &b))
        },
        "IsNaN" => |call| one(wide(&call.tensor(0)?).is_nan()),
        "IsInf" => |call| {
            let x = wide(&call.tensor(0)?);
            let side = |wanted: bool, sign: f64| {
                if wanted { x.eq(sign * f64::INFINITY) } else { x.ne(&x).logical_and(&x.eq(&x)) }
            };
            let positive = side(call.int("detect_positive", 1) != 0, 1.0);
            one(positive.logical_or(&side(call.int("detect_negative", 1) != 0, -1.0)))
        },
        "Cast" => |call| {
            let to = call.element_of(call.int("to", 1))?;
            Ok(vec![cast(call, call.value(0)?, to)?])
        },
        "CastLike" => |call| Ok(vec![cast(call, call.value(0)?, call.element(1)?)?]),
        "Identity" => |call| Ok(vec![call.value(0)?.clone()]),
        _ => return None,
    })
}

fn unary(call: &Call, function: UnaryOp) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    let whole = !x.dtype().is_float();
    if whole && matches!(function, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round) {
        return call.like(0, x);
    }
    if whole && function == UnaryOp::Relu {
        return call.like(0, x.maximum(x.zeros_like()));
    }
    call.like(0, Tensor::from(x.expr().unary(function)))
}

/// A function of floats, computed in 32 bits where there are fewer.
fn float(call: &Call, f: &dyn Fn(&Tensor, &Call) -> Tensor) -> Result<Vec<Value>> {
    let x = call.tensor(0)?;
    call.like(0, f(&wide(&x), call).cast(x.dtype()))
}

/// The arc tangent: folded to `[0, tan(π/8)]` and there a ratio of polynomials, after the Cephes library.
fn atan(x: &Tensor) -> Tensor {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};
    let ratio = |z: &Tensor, above: &[f64], below: &[f64]| {
        let polynomial = |factors: &[f64]| {
            let first = z.full_like(factors[0]);
            factors[1..].iter().fold(first, |sum, &factor| sum * z + factor)
        };
        polynomial(above) / polynomial(below)
    };
    const ABOVE: [f64; 5] = [
        -8.750_608_600_031_904e-1,
        -1.615_753_718_733_365e1,
        -7.500_855_792_314_705e1,
        -1.228_866_684_490_136e2,
        -6.485_021_904_942_025e1,
    ];
    const BELOW: [f64; 6] = [
        1.0,
        2.485_846_490_142_306e1,
        1.650_270_098_316_988e2,
        4.328_810_604_912_902_7e2,
        4.853_903_996_359_136_6e2,
        1.945_506_571_482_614e2,
    ];
    let size = x.abs();
    let (large, middle) = (size.gt(1.0 + std::f64::consts::SQRT_2), size.gt(0.66));
    // Where it isn't chosen the divisor is one, so that no gradient is infinite.
    let inverse = -large.select(&size, 1.0).recip();
    let turned = (&size - 1.0) / (&size + 1.0);
    let y = large.select(inverse, middle.select(turned, &size));
    let start = large.select(FRAC_PI_2, middle.select(FRAC_PI_4, 0.0)).cast(x.dtype());
    let z = y.square();
    let angle = start + (&y * &z * ratio(&z, &ABOVE, &BELOW) + y);
    x.lt(0.0).select(-&angle, angle)
}

/// In old files the second operand lies along some axes of the first.
fn old_broadcast(call: &Call, b: Tensor) -> Result<Tensor> {
    if call.version >= 7 || call.int("broadcast", 0) == 0 || !call.is_set("axis") {
        return Ok(b);
    }
    let rank = call.tensor(0)?.rank();
    let axis = call.axis(call.int("axis", 0), rank)?;
    let mut sizes: Vec<isize> = b.shape().iter().map(|&size| size as isize).collect();
    sizes.resize(sizes.len() + rank.saturating_sub(axis + b.rank()), 1);
    Ok(b.reshape(&sizes[..]))
}

fn pair(call: &Call) -> Result<(Tensor, Tensor)> {
    Ok((call.tensor(0)?, old_broadcast(call, call.tensor(1)?)?))
}

fn binary(call: &Call, function: BinaryOp) -> Result<Vec<Value>> {
    let (a, b) = pair(call)?;
    call.like(0, Tensor::from(a.expr().binary(function, b.expr())))
}

fn compare(call: &Call, function: BinaryOp, swapped: bool) -> Result<Vec<Value>> {
    if let (Value::Texts(a, shape), Value::Texts(b, other)) = (call.value(0)?, call.value(1)?) {
        if function != BinaryOp::Eq || (shape != other && b.len() != 1) {
            return Err(call.fault("texts can only be equal, and of one shape"));
        }
        let same = a.iter().enumerate().map(|(at, text)| *text == b[if b.len() == 1 { 0 } else { at }]);
        return Ok(vec![Value::new(kiln_ir::Data::Bool(same.collect()), shape, OnnxDType::Bool)]);
    }
    let (a, b) = pair(call)?;
    let is_bool = a.dtype() == DType::Bool;
    let of = |x: &Tensor| if is_bool { x.cast(DType::U8) } else { x.clone() };
    let (a, b) = if swapped { (of(&b), of(&a)) } else { (of(&a), of(&b)) };
    one(Tensor::from(a.expr().binary(function, b.expr())))
}

/// All inputs together.
fn fold(call: &Call, join: &dyn Fn(Tensor, Tensor) -> Tensor) -> Result<Vec<Value>> {
    let mut all = call.tensor(0)?;
    for position in 1..call.count() {
        all = join(all, call.tensor(position)?);
    }
    call.like(0, all)
}

fn scaled(value: Value, count: f64) -> Result<Value> {
    match value {
        Value::Numbers(x, element) => {
            let mean = (wide(&x) / count).cast(x.dtype());
            Ok(Value::Numbers(mean, element))
        }
        other => Ok(other),
    }
}

fn pow(call: &Call) -> Result<Vec<Value>> {
    let (a, b) = pair(call)?;
    // The result has the type of the base, whatever the exponent's.
    let wide = if a.dtype() == b.dtype() { a.dtype() } else { DType::F64 };
    let float = a.dtype().is_float() || b.dtype().is_float();
    let wide = if float || a.dtype() == b.dtype() { wide } else { DType::I64 };
    let y = a.cast(wide).expr().binary(BinaryOp::Pow, b.cast(wide).expr());
    call.like(0, Tensor::from(y).cast(a.dtype()))
}

/// The remainder with the sign of the divisor, or of the dividend with `fmod`.
fn remainder(call: &Call) -> Result<Vec<Value>> {
    let (a, b) = pair(call)?;
    let rest = Tensor::from(a.expr().binary(BinaryOp::Rem, b.expr()));
    if call.int("fmod", 0) != 0 {
        return call.like(0, rest);
    }
    let zero = rest.zeros_like();
    let unequal = rest.lt(&zero).logical_xor(&b.lt(b.zeros_like()));
    let moved = rest.ne(&zero).logical_and(&unequal);
    let more = Tensor::from(rest.expr().binary(BinaryOp::Add, b.expr()));
    call.like(0, moved.select(&more, &rest))
}

/// Bit shifts; of signed numbers the sign fills what gets free on the left. A shift by a negative number or by all bits leaves nothing
/// but that.
fn shift(call: &Call) -> Result<Vec<Value>> {
    let (a, by) = pair(call)?;
    let (a, by) = (a.cast(DType::I64), by.cast(DType::I64));
    let element = call.element(0)?;
    let bits = element.bits().unwrap_or(8) as i64;
    let possible = by.ge(0).logical_and(&by.lt(bits));
    // Two to the power 63 is no i64, so it is done in two halves.
    let by = by.clamp(0, bits - 1);
    let half = arithmetic(BinaryOp::Div, &by, &by.full_like(2));
    let moved = |x: Tensor, function: BinaryOp| {
        [&by - &half, half.clone()].iter().fold(x, |x, by| {
            let factor = arithmetic(BinaryOp::Pow, &by.full_like(2), by);
            arithmetic(function, &x, &factor)
        })
    };
    let y = if call.text("direction", "") == "LEFT" {
        possible.select(moved(a, BinaryOp::Mul), 0)
    } else {
        // The complement of a negative number isn't negative, and division rounds it downwards.
        let fill = a.lt(0).select(-1, 0).cast(DType::I64);
        let flipped = |x: &Tensor| arithmetic(BinaryOp::Xor, x, &fill);
        possible.select(flipped(&moved(flipped(&a), BinaryOp::Div)), &fill)
    };
    Ok(vec![Value::wrapped(y.cast(element.dtype().unwrap_or(DType::I64)), element)])
}

fn clip(call: &Call) -> Result<Vec<Value>> {
    let mut x = call.tensor(0)?;
    let bound = |position: usize, name: &str| -> Result<Option<Tensor>> {
        if call.is_set(name) {
            return Ok(Some(Tensor::full([], call.float(name, 0.0)).cast(x.dtype())));
        }
        call.optional(position)
    };
    let (least, most) = (bound(1, "min")?, bound(2, "max")?);
    if let Some(least) = least {
        x = x.maximum(least.reshape(&[] as &[isize]));
    }
    if let Some(most) = most {
        x = x.minimum(most.reshape(&[] as &[isize]));
    }
    call.like(0, x)
}

/// A value in another type. Texts become numbers and numbers texts where they are known.
pub(super) fn cast(call: &Call, value: &Value, to: OnnxDType) -> Result<Value> {
    match (value, to.dtype()) {
        (Value::Numbers(x, from), Some(dtype)) => {
            if let Some(float) = to.narrow_float() {
                return Ok(Value::Numbers(narrowed(call, x, to, float)?, to));
            }
            // A float beyond a narrow integer wraps as the wider one does.
            let x = if from.dtype().is_some_and(DType::is_float) && to.narrow().is_some() {
                x.cast(DType::I64)
            } else {
                x.clone()
            };
            Ok(Value::wrapped(x.cast(dtype), to))
        }
        (Value::Texts(texts, shape), Some(dtype)) => {
            let number = |text: &String| {
                let text = text.trim();
                text.parse::<f64>().map_err(|_| call.fault(format!("\"{text}\" is no number")))
            };
            let numbers = texts.iter().map(number).collect::<Result<Vec<_>>>()?;
            Ok(Value::new(kiln_ir::Data::F64(numbers).cast(dtype), shape, to))
        }
        (Value::Texts(..), None) => Ok(value.clone()),
        (Value::Numbers(..), None) => Err(call.fault("numbers can't become texts here")),
        (Value::Later(why), _) => Err(call.fault(why)),
        (Value::List(_) | Value::Nothing, _) => Err(call.fault("there is no tensor")),
    }
}

/// Arithmetic of equal types, integers staying integers.
pub(super) fn arithmetic(function: BinaryOp, a: &Tensor, b: &Tensor) -> Tensor {
    let y: Expr = a.expr().binary(function, b.expr());
    Tensor::from(y)
}
