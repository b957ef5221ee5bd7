//! Functions of single elements.

use super::values::{EvalNumber, EvalValues};
use crate::dtype::DType;
use crate::op::{BinaryOp, UnaryOp};
use crate::random;

pub fn unary(function: UnaryOp, x: &EvalValues) -> EvalValues {
    match x {
        EvalValues::Int(v) => EvalValues::Int(v.iter().map(|&v| unary_int(function, v)).collect()),
        EvalValues::Float(v) => EvalValues::Float(v.iter().map(|&v| unary_float(function, v)).collect()),
    }
}

fn unary_int(function: UnaryOp, x: i64) -> i64 {
    match function {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Abs => x.wrapping_abs(),
        UnaryOp::Sign => x.signum(),
        UnaryOp::Relu => x.max(0),
        UnaryOp::Not => i64::from(x == 0),
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
        | UnaryOp::Erf
        | UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Round => unreachable!("takes floats only"),
    }
}

fn unary_float(function: UnaryOp, x: f64) -> f64 {
    match function {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign if x == 0.0 => 0.0,
        UnaryOp::Sign if x.is_nan() => x,
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
        // Each half keeps its exponential from overflowing.
        UnaryOp::Sigmoid if x >= 0.0 => 1.0 / (1.0 + libm::exp(-x)),
        UnaryOp::Sigmoid => libm::exp(x) / (1.0 + libm::exp(x)),
        UnaryOp::Erf => erf(x),
        UnaryOp::Relu if x.is_nan() => x,
        UnaryOp::Relu => x.max(0.0),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Not => unreachable!("takes bool only"),
    }
}

/// The error function: its Taylor series near zero, the continued fraction of its complement beyond.
fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 3.0 {
        // erf x = 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)), whose terms all have one sign.
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return std::f64::consts::FRAC_2_SQRT_PI * libm::exp(-x * x) * sum;
    }
    if magnitude > 6.0 || x.is_nan() {
        return if x.is_nan() { x } else { x.signum() };
    }
    // erfc x = e^(−x²)/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …)))), evaluated from far inside.
    let fraction = (1..=100).rev().fold(magnitude, |inner, k| magnitude + f64::from(k) / 2.0 / inner);
    let complement = libm::exp(-magnitude * magnitude) / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0;
    (1.0 - complement).copysign(x)
}

pub fn binary(function: BinaryOp, a: &EvalValues, b: &EvalValues) -> EvalValues {
    match (a, b) {
        (EvalValues::Int(a), EvalValues::Int(b)) if function == BinaryOp::Random => {
            EvalValues::Float(zip(a, b, |key, counter| f64::from(random::uniform(key, counter))))
        }
        (EvalValues::Int(a), EvalValues::Int(b)) => {
            EvalValues::Int(zip(a, b, |a, b| binary_int(function, a, b)))
        }
        (EvalValues::Float(a), EvalValues::Float(b)) if function.result(DType::F64) == DType::Bool => {
            EvalValues::Int(zip(a, b, |a, b| compare(function, a, b)))
        }
        (EvalValues::Float(a), EvalValues::Float(b)) => {
            EvalValues::Float(zip(a, b, |a, b| binary_float(function, a, b)))
        }
        _ => unreachable!("the graph is typed: operands of one dtype"),
    }
}

fn zip<T: Copy, U>(a: &[T], b: &[T], f: impl Fn(T, T) -> U) -> Vec<U> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

fn compare<T: EvalNumber>(function: BinaryOp, a: T, b: T) -> i64 {
    i64::from(match function {
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Pow
        | BinaryOp::Max
        | BinaryOp::Min
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Random => unreachable!("compares nothing"),
    })
}

fn binary_int(function: BinaryOp, a: i64, b: i64) -> i64 {
    match function {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Rem if b == 0 => 0,
        BinaryOp::Rem => a.wrapping_rem(b),
        BinaryOp::Pow if b < 0 => 0,
        BinaryOp::Pow => power(a, b),
        BinaryOp::Max => a.max(b),
        BinaryOp::Min => a.min(b),
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne => compare(function, a, b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Random => unreachable!("gives floats"),
    }
}

/// `base` to a power of at least 0, wrapping.
fn power(mut base: i64, mut exponent: i64) -> i64 {
    let mut result = 1i64;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}

fn binary_float(function: BinaryOp, a: f64, b: f64) -> f64 {
    match function {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Rem => libm::fmod(a, b),
        BinaryOp::Pow => libm::pow(a, b),
        BinaryOp::Max | BinaryOp::Min if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryOp::Max => a.max(b),
        BinaryOp::Min => a.min(b),
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne => unreachable!("gives bool"),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Random => unreachable!("takes no floats"),
    }
}

pub fn select(condition: &EvalValues, a: &EvalValues, b: &EvalValues) -> EvalValues {
    fn choose<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
        let choice = |i: usize| if condition[i] != 0 { a[i] } else { b[i] };
        (0..condition.len()).map(choice).collect()
    }
    let condition = condition.ints();
    match (a, b) {
        (EvalValues::Int(a), EvalValues::Int(b)) => EvalValues::Int(choose(condition, a, b)),
        (EvalValues::Float(a), EvalValues::Float(b)) => EvalValues::Float(choose(condition, a, b)),
        _ => unreachable!("the graph is typed: operands of one dtype"),
    }
}
