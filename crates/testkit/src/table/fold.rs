//! Reductions and scans.

use kiln_ir::op::{ArgOp, ReduceOp};
use kiln_ir::{DType, Expr};

use super::{NUMBERS, REDUCE, SMALL, TIES, Table};
use crate::rng::Range;

pub(super) fn add(table: &mut Table) {
    for function in REDUCE {
        let extreme = matches!(function, ReduceOp::Max | ReduceOp::Min);
        for dtype in DType::ALL.into_iter().filter(|&dtype| extreme || dtype != DType::Bool) {
            reduce(table, function, dtype);
        }
    }
    for dtype in NUMBERS {
        for (function, name) in [(ArgOp::Max, "argmax"), (ArgOp::Min, "argmin")] {
            for (data, range) in [("plain", SMALL), ("tied", TIES), ("odd", Range::Odd)] {
                for (shape, axis) in
                    [(&[7][..], 0), (&[2, 3, 5], 1), (&[5, 1], 1), (&[0, 3], 1), (&[3, 257], 1)]
                {
                    let name = format!("{name} {dtype} {data} {shape:?} axis {axis}");
                    table.rough(name, &[(shape, dtype, range)], move |x| x[0].arg_reduce(function, axis));
                }
            }
        }
        for descending in [false, true] {
            for (data, range) in [("plain", SMALL), ("tied", TIES), ("odd", Range::Odd)] {
                for (shape, axis) in [(&[7][..], 0), (&[2, 5, 3], 1), (&[3, 0], 1), (&[3, 257], 1)] {
                    let name =
                        format!("argsort {dtype} {data} {shape:?} axis {axis} descending {descending}");
                    table.rough(name, &[(shape, dtype, range)], move |x| x[0].argsort(axis, descending));
                }
            }
        }
        for (shape, axis) in [(&[7][..], 0), (&[2, 3, 5], 1), (&[2, 3, 5], 2), (&[3, 0], 1), (&[0, 3], 1)] {
            let name = format!("cumsum {dtype} {shape:?} axis {axis}");
            table.smooth(name, &[(shape, dtype, SMALL)], move |x| x[0].cumsum(axis));
            table.loosened(8.0);
        }
    }
}

fn reduce(table: &mut Table, function: ReduceOp, dtype: DType) {
    let name = match function {
        ReduceOp::Sum => "sum",
        ReduceOp::Prod => "prod",
        ReduceOp::Max => "max",
        ReduceOp::Min => "min",
    };
    let shapes: [(&[usize], &[usize]); 10] = [
        (&[7], &[0]),
        (&[2, 3, 5], &[1]),
        (&[2, 3, 5], &[0, 2]),
        (&[2, 3, 5], &[0, 1, 2]),
        (&[1, 1], &[0]),
        (&[4, 1, 3], &[1, 2]),
        (&[0], &[0]),
        (&[3, 0, 2], &[1]),
        (&[0, 3], &[1]),
        (&[3, 0], &[0]),
    ];
    for (shape, axes) in shapes {
        let name = format!("{name} {dtype} {shape:?} axes {axes:?}");
        table.smooth(name, &[(shape, dtype, SMALL)], move |x| x[0].reduce(function, axes));
        table.loosened(4.0);
    }
    table.smooth(format!("{name} {dtype} transposed"), &[(&[3, 5], dtype, SMALL)], move |x| {
        x[0].transpose().reduce(function, &[0])
    });
    table.loosened(4.0);
    table.rough(format!("{name} {dtype} odd"), &[(&[7, 5], dtype, Range::Odd)], move |x| {
        x[0].reduce(function, &[1])
    });
    let tied = move |x: &[Expr]| x[0].reduce(function, &[1]);
    let tied_name = format!("{name} {dtype} with ties and zeros");
    match function {
        // Where three are tied, no central difference finds a third.
        ReduceOp::Max | ReduceOp::Min => table.rough(tied_name, &[(&[5, 7], dtype, TIES)], tied),
        ReduceOp::Sum | ReduceOp::Prod => table.smooth(tied_name, &[(&[5, 7], dtype, TIES)], tied),
    }
    if dtype == DType::F32 && function != ReduceOp::Prod {
        for (shape, axes) in [(&[5, 2053][..], &[1][..]), (&[2053, 5], &[0]), (&[3, 419, 7], &[0, 2])] {
            let name = format!("{name} {dtype} {shape:?} axes {axes:?}");
            table.rough(name, &[(shape, dtype, SMALL)], move |x| x[0].reduce(function, axes));
            table.loosened(200.0);
        }
    }
}
