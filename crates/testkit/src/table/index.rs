//! Gathering and scattering.

use kiln_ir::op::{BlockFormat, ScatterMode};
use kiln_ir::{DType, Shape};

use super::{NUMBERS, SIZES, SMALL, Table};
use crate::rng::Range;

/// Shape, axis and the index's size along it.
const CASES: [(&[usize], usize, usize); 6] = [
    (&[7], 0, 11),
    (&[2, 5, 3], 1, 4),
    (&[2, 3, 5], 2, 1),
    (&[3, 2], 0, 0),
    (&[0, 3], 1, 2),
    (&[1, 1], 1, 3),
];

pub(super) fn add(table: &mut Table) {
    for (shape, axis, count) in CASES {
        let index_shape = Shape::from(shape).with(axis, count);
        let index = (&index_shape[..], DType::I64, Range::Below(shape[axis]));
        for dtype in SIZES {
            let name = format!("gather {dtype} {shape:?} axis {axis} by {count}");
            table.smooth(name, &[(shape, dtype, SMALL), index], move |x| x[0].gather(&x[1], axis));
            let name = format!("scatter {dtype} {shape:?} axis {axis} of {count}");
            let operands = [(shape, dtype, SMALL), index, (&index_shape[..], dtype, SMALL)];
            table.smooth(name, &operands, move |x| x[0].scatter(&x[1], &x[2], axis, ScatterMode::Set));
        }
        for dtype in NUMBERS {
            let name = format!("scatter_add {dtype} {shape:?} axis {axis} of {count}");
            let operands = [(shape, dtype, SMALL), index, (&index_shape[..], dtype, SMALL)];
            table.smooth(name, &operands, move |x| x[0].scatter(&x[1], &x[2], axis, ScatterMode::Add));
            table.loosened(8.0);
        }
    }
    for dtype in [DType::F64, DType::F32] {
        let operands = [(&[7, 5][..], dtype, SMALL), (&[11][..], DType::I64, Range::Below(7))];
        table.smooth(format!("gather {dtype} whole rows"), &operands, |x| {
            x[0].gather(&x[1].reshape([11, 1]).broadcast_to(&Shape::from([11, 5])), 0)
        });
    }
    // Bytes that begin no infinity, where they are a scale.
    let bytes = Range::Between(0.0, 60.0);
    for format in BlockFormat::ALL {
        let (rows, numbers) = (5, 2 * format.numbers());
        let row = format.row_bytes(numbers).unwrap_or(0);
        let blocks = (&[rows, row][..], DType::U8, bytes);
        table.rough(format!("unpack {format}"), &[blocks], move |x| x[0].unpack(format));
        let x = (&[3, numbers][..], DType::F32, SMALL);
        table.rough(format!("matmul of packed columns {format}"), &[x, blocks], move |x| {
            x[0].matmul(&x[1].unpack(format).transpose())
        });
        table.loosened(8.0);
        let index = (&[4][..], DType::I64, Range::Below(rows));
        table.rough(format!("gather packed rows {format}"), &[blocks, index], move |x| {
            let index = x[1].reshape([4, 1]).broadcast_to(&Shape::from([4, numbers]));
            x[0].unpack(format).gather(&index, 0)
        });
    }
}
