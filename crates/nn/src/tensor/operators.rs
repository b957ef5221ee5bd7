//! `+ - * / % & | ^` between tensors and numbers in any ownership, unary `-` and `!`, and what stands behind them:
//! one function that joins two operands.

use std::ops;

use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Scalar};

use super::Tensor;
use super::arguments::Operand;

/// A function of two operands after promotion and broadcasting; a number takes the tensor's dtype where it can.
#[track_caller]
pub(crate) fn join(function: BinaryOp, a: impl Into<Operand>, b: impl Into<Operand>) -> Tensor {
    let (a, b) = pair(a.into(), b.into());
    Tensor(a.0.binary(function, &b.0))
}

/// Both operands as tensors, a number in the dtype it takes beside the other.
#[track_caller]
pub(crate) fn pair(a: Operand, b: Operand) -> (Tensor, Tensor) {
    match (a, b) {
        (Operand::Tensor(a), Operand::Tensor(b)) => (a, b),
        (Operand::Tensor(a), Operand::Scalar(b)) => beside(a, b),
        (Operand::Scalar(a), Operand::Tensor(b)) => {
            let (b, a) = beside(b, a);
            (a, b)
        }
        (Operand::Scalar(a), Operand::Scalar(b)) => beside(Tensor::literal(a), b),
    }
}

#[track_caller]
fn beside(tensor: Tensor, value: Scalar) -> (Tensor, Tensor) {
    let tensor = tensor.cast(value.join(tensor.dtype()));
    let literal = Tensor(match tensor.0.error() {
        Some(_) => tensor.0.clone(),
        None => kiln_ir::Expr::full((), value, tensor.dtype()),
    });
    (tensor, literal)
}

/// True division: integers become floats first.
#[track_caller]
fn divide(a: impl Into<Operand>, b: impl Into<Operand>) -> Tensor {
    let (a, b) = pair(a.into(), b.into());
    let dtype = a.dtype().promote(b.dtype()).to_float();
    join(BinaryOp::Div, a.cast(dtype), b.cast(dtype))
}

macro_rules! operator {
    ($($trait:ident $method:ident = $function:expr;)*) => {$(
        impl<T: Into<Operand>> ops::$trait<T> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor { $function(self, other) }
        }
        impl<T: Into<Operand>> ops::$trait<T> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor { $function(&self, other) }
        }
        operator!(f64 $trait $method = $function);
        operator!(i64 $trait $method = $function);
    )*};
    // Only one float and one integer type may stand on the left: with more, the type of `(1.0 - &x)` would be
    // unknown to the compiler and `(1.0 - &x).exp()` wouldn't build.
    ($number:ident $trait:ident $method:ident = $function:expr) => {
        impl ops::$trait<Tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor { $function(self, &other) }
        }
        impl ops::$trait<&Tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor { $function(self, other) }
        }
    };
}

/// `join` with its function fixed, for the table below. A macro, not a closure: closures lose the caller's line.
macro_rules! joined {
    ($($name:ident $function:ident;)*) => {$(
        #[track_caller]
        fn $name(a: impl Into<Operand>, b: impl Into<Operand>) -> Tensor { join(BinaryOp::$function, a, b) }
    )*};
}

joined! {
    add Add;
    subtract Sub;
    multiply Mul;
    remainder Rem;
}

operator! {
    Add add = add;
    Sub sub = subtract;
    Mul mul = multiply;
    Div div = divide;
    Rem rem = remainder;
}

macro_rules! logical_operator {
    ($($trait:ident $method:ident $function:ident;)*) => {$(
        impl<T: Into<Operand>> ops::$trait<T> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor { join(BinaryOp::$function, self, other) }
        }
        impl<T: Into<Operand>> ops::$trait<T> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor { join(BinaryOp::$function, self, other) }
        }
    )*};
}

logical_operator! {
    BitAnd bitand And;
    BitOr bitor Or;
    BitXor bitxor Xor;
}

macro_rules! assign {
    ($($trait:ident $method:ident = $function:expr;)*) => {$(
        /// Makes a new node and lets this handle point to it; other handles keep the old value.
        impl<T: Into<Operand>> ops::$trait<T> for Tensor {
            #[track_caller]
            fn $method(&mut self, other: T) { *self = $function(&*self, other); }
        }
    )*};
}

assign! {
    AddAssign add_assign = add;
    SubAssign sub_assign = subtract;
    MulAssign mul_assign = multiply;
    DivAssign div_assign = divide;
}

macro_rules! prefix {
    ($($trait:ident $method:ident $function:ident;)*) => {$(
        impl ops::$trait for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self) -> Tensor { Tensor(self.0.unary(UnaryOp::$function)) }
        }
        impl ops::$trait for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self) -> Tensor { Tensor(self.0.unary(UnaryOp::$function)) }
        }
    )*};
}

prefix! {
    Neg neg Neg;
    Not not Not;
}

impl std::iter::Sum for Tensor {
    fn sum<I: Iterator<Item = Tensor>>(tensors: I) -> Tensor {
        let sum = tensors.reduce(|a, b| a + b);
        sum.unwrap_or_else(|| Tensor(kiln_ir::Expr::full((), 0.0, DType::F32)))
    }
}
