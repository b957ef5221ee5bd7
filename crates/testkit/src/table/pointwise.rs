//! Pointwise operations.

use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Expr, Shape};

use super::{BINARY, NUMBERS, POSITIVE, SMALL, Table, UNARY, range};
use crate::rng::Range;

const SHAPES: [&[usize]; 5] = [&[], &[1], &[7], &[3, 0, 2], &[2, 3, 5]];

/// Ways to come to an operand of `[3, 5]` that isn't a plain row-major block: its name, what is stored, the view.
type Layout = (&'static str, &'static [usize], fn(&Expr) -> Expr);
const LAYOUTS: [Layout; 4] = [
    ("transposed", &[5, 3], |x| x.transpose()),
    ("sliced", &[7, 9], |x| x.slice(&[range(1, 3, 2), range(8, 5, -2)])),
    ("expanded", &[1, 5], |x| x.broadcast_to(&Shape::from([3, 5]))),
    ("padded", &[2, 4], |x| x.pad(&[1, 0], &[0, 1], 1.0)),
];

pub(super) fn add(table: &mut Table) {
    for function in UNARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| function.takes(dtype)) {
            unary(table, function, dtype);
        }
    }
    for function in BINARY {
        for dtype in DType::ALL.into_iter().filter(|&dtype| function.takes(dtype)) {
            binary(table, function, dtype);
        }
    }
    for dtype in DType::ALL {
        for shape in SHAPES {
            let operands = [(shape, DType::Bool, SMALL), (shape, dtype, SMALL), (shape, dtype, SMALL)];
            table.smooth(format!("select {dtype} {shape:?}"), &operands, |x| x[0].select(&x[1], &x[2]));
        }
        for to in DType::ALL {
            // Rounding to another type is a staircase to central differences.
            table.rough(format!("cast {dtype} to {to}"), &[(&[2, 7], dtype, SMALL)], move |x| x[0].cast(to));
            table.rough(format!("cast odd {dtype} to {to}"), &[(&[31], dtype, Range::Odd)], move |x| {
                x[0].cast(to)
            });
        }
    }
    for dtype in NUMBERS {
        let operands = [(&[4, 1, 3][..], dtype, SMALL), (&[5, 1][..], dtype, SMALL)];
        table.smooth(format!("add {dtype} broadcast"), &operands, |x| &x[0] + &x[1]);
    }
}

fn unary(table: &mut Table, function: UnaryOp, dtype: DType) {
    let range = match function {
        UnaryOp::Ln | UnaryOp::Ln1p | UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Recip => POSITIVE,
        _ => SMALL,
    };
    let name = function.name();
    for shape in SHAPES {
        table.smooth(format!("{name} {dtype} {shape:?}"), &[(shape, dtype, range)], move |x| {
            x[0].unary(function)
        });
    }
    for (layout, stored, view) in LAYOUTS {
        let build = move |x: &[Expr]| view(&x[0]).unary(function);
        table.smooth(format!("{name} {dtype} {layout}"), &[(stored, dtype, range)], build);
    }
    table.rough(format!("{name} odd {dtype}"), &[(&[31], dtype, Range::Odd)], move |x| x[0].unary(function));
    if dtype == DType::F32 {
        table.rough(format!("{name} {dtype} large"), &[(&[5, 419], dtype, range)], move |x| {
            x[0].unary(function)
        });
    }
}

fn binary(table: &mut Table, function: BinaryOp, dtype: DType) {
    let (a, b) = match function {
        BinaryOp::Div | BinaryOp::Rem => (Range::Between(-5.0, 5.0), POSITIVE),
        BinaryOp::Pow => (POSITIVE, SMALL),
        _ => (SMALL, SMALL),
    };
    let name = function.name();
    let build = move |x: &[Expr]| x[0].binary(function, &x[1]);
    for shape in SHAPES {
        table.smooth(format!("{name} {dtype} {shape:?}"), &[(shape, dtype, a), (shape, dtype, b)], build);
    }
    for (layout, stored, view) in LAYOUTS {
        let operands = [(stored, dtype, a), (&[3, 5], dtype, b)];
        table.smooth(format!("{name} {dtype} {layout} left"), &operands, move |x| {
            view(&x[0]).binary(function, &x[1])
        });
        let operands = [(&[3, 5][..], dtype, a), (stored, dtype, b)];
        table.smooth(format!("{name} {dtype} {layout} right"), &operands, move |x| {
            x[0].binary(function, &view(&x[1]))
        });
    }
    let odd = [(&[173][..], dtype, Range::Odd), (&[173][..], dtype, Range::Odd)];
    table.rough(format!("{name} odd {dtype}"), &odd, build);
    if dtype == DType::F32 {
        table.rough(format!("{name} {dtype} large"), &[(&[5, 419], dtype, a), (&[5, 419], dtype, b)], build);
    }
}
