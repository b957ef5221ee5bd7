//! `+`, `-`, `*` and `/` between expressions, references to them and numbers.

use std::ops;

use crate::expr::Expr;
use crate::op::{BinaryOp, UnaryOp};

macro_rules! operator {
    ($($trait:ident $method:ident $function:ident;)*) => {$(
        impl ops::$trait<&Expr> for &Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: &Expr) -> Expr { self.binary(BinaryOp::$function, other) }
        }
        impl ops::$trait<Expr> for Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: Expr) -> Expr { self.binary(BinaryOp::$function, &other) }
        }
        impl ops::$trait<&Expr> for Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: &Expr) -> Expr { self.binary(BinaryOp::$function, other) }
        }
        impl ops::$trait<Expr> for &Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: Expr) -> Expr { self.binary(BinaryOp::$function, &other) }
        }
        impl ops::$trait<f64> for &Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: f64) -> Expr { self.binary_scalar(BinaryOp::$function, other) }
        }
        impl ops::$trait<f64> for Expr {
            type Output = Expr;
            #[track_caller]
            fn $method(self, other: f64) -> Expr { self.binary_scalar(BinaryOp::$function, other) }
        }
    )*};
}

operator! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
}

impl ops::Neg for &Expr {
    type Output = Expr;
    #[track_caller]
    fn neg(self) -> Expr {
        self.unary(UnaryOp::Neg)
    }
}

impl ops::Neg for Expr {
    type Output = Expr;
    #[track_caller]
    fn neg(self) -> Expr {
        self.unary(UnaryOp::Neg)
    }
}
