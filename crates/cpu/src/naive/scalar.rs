//! Arithmetic on single numbers, with the meaning that the operations' own file gives it.

use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Scalar};

/// A result as an instruction of this dtype holds it: half types compute in `f32`.
pub(crate) fn held(dtype: DType, value: Scalar) -> Scalar {
    value.cast(if dtype.is_half() { DType::F32 } else { dtype })
}

/// A function of one number.
pub(crate) fn unary(op: UnaryOp, dtype: DType, value: Scalar) -> Scalar {
    let (x, i) = (value.as_f64(), value.as_i64());
    if !dtype.is_float() {
        return held(
            dtype,
            match op {
                UnaryOp::Neg => Scalar::Int(i.wrapping_neg()),
                UnaryOp::Abs => Scalar::Int(i.wrapping_abs()),
                UnaryOp::Sign => Scalar::Int(i.signum()),
                UnaryOp::Relu => Scalar::Int(i.max(0)),
                UnaryOp::Not => Scalar::Bool(i == 0),
                UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => value,
                UnaryOp::Exp
                | UnaryOp::ExpM1
                | UnaryOp::Ln
                | UnaryOp::Ln1p
                | UnaryOp::Sqrt
                | UnaryOp::Rsqrt
                | UnaryOp::Recip
                | UnaryOp::Sin
                | UnaryOp::Cos
                | UnaryOp::Tanh
                | UnaryOp::Sigmoid
                | UnaryOp::Erf => unreachable!("takes floats only"),
            },
        );
    }
    held(
        dtype,
        Scalar::Float(match op {
            UnaryOp::Neg => -x,
            UnaryOp::Abs => x.abs(),
            UnaryOp::Sign if x == 0.0 || x.is_nan() => x,
            UnaryOp::Sign => x.signum(),
            UnaryOp::Exp => libm::exp(x),
            UnaryOp::ExpM1 => libm::expm1(x),
            UnaryOp::Ln => libm::log(x),
            UnaryOp::Ln1p => libm::log1p(x),
            UnaryOp::Sqrt => x.sqrt(),
            UnaryOp::Rsqrt => 1.0 / x.sqrt(),
            UnaryOp::Recip => 1.0 / x,
            UnaryOp::Sin => libm::sin(x),
            UnaryOp::Cos => libm::cos(x),
            UnaryOp::Tanh => libm::tanh(x),
            UnaryOp::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
            UnaryOp::Erf => erf(x),
            UnaryOp::Relu if x > 0.0 || x.is_nan() => x,
            UnaryOp::Relu => 0.0,
            UnaryOp::Floor => x.floor(),
            UnaryOp::Ceil => x.ceil(),
            UnaryOp::Round => x.round_ties_even(),
            UnaryOp::Not => f64::from(u8::from(x == 0.0)),
        }),
    )
}

/// The error function by its series, or by its continued fraction where that converges faster.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let scale = 2.0 / std::f64::consts::PI.sqrt();
    if x.is_nan() {
        return x;
    }
    if a > 6.0 {
        return x.signum();
    }
    if a < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return scale * sum;
    }
    let fraction = (1..60).rev().fold(a, |rest, n| a + f64::from(n) / 2.0 / rest);
    x.signum() * (1.0 - libm::exp(-a * a) / (fraction * std::f64::consts::PI.sqrt()))
}

/// A function of two numbers of dtype `of`.
pub(crate) fn binary(op: BinaryOp, of: DType, a: Scalar, b: Scalar) -> Scalar {
    if of.is_float() {
        let (a, b) = (a.as_f64(), b.as_f64());
        let larger = |keep_a: bool| {
            if a.is_nan() || (keep_a && !b.is_nan()) { a } else { b }
        };
        return match op {
            BinaryOp::Lt => Scalar::Bool(a < b),
            BinaryOp::Le => Scalar::Bool(a <= b),
            BinaryOp::Eq => Scalar::Bool(a == b),
            BinaryOp::Ne => Scalar::Bool(a != b),
            BinaryOp::Add => held(of, Scalar::Float(a + b)),
            BinaryOp::Sub => held(of, Scalar::Float(a - b)),
            BinaryOp::Mul => held(of, Scalar::Float(a * b)),
            BinaryOp::Div => held(of, Scalar::Float(a / b)),
            BinaryOp::Rem => held(of, Scalar::Float(libm::fmod(a, b))),
            BinaryOp::Pow => held(of, Scalar::Float(libm::pow(a, b))),
            BinaryOp::Max => held(of, Scalar::Float(larger(a >= b))),
            BinaryOp::Min => held(of, Scalar::Float(larger(a <= b))),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Random => Scalar::Float(f64::NAN),
        };
    }
    let (a, b) = (a.as_i64(), b.as_i64());
    let int = match op {
        BinaryOp::Lt => return Scalar::Bool(a < b),
        BinaryOp::Le => return Scalar::Bool(a <= b),
        BinaryOp::Eq => return Scalar::Bool(a == b),
        BinaryOp::Ne => return Scalar::Bool(a != b),
        BinaryOp::Random => return kiln_ir::random::uniform(a, b).into(),
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Rem if b == 0 => 0,
        BinaryOp::Rem => a.wrapping_rem(b),
        BinaryOp::Pow => (0..b).fold(i64::from(b >= 0), |power, _| power.wrapping_mul(a)),
        BinaryOp::Max => a.max(b),
        BinaryOp::Min => a.min(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
    };
    held(of, Scalar::Int(int))
}
