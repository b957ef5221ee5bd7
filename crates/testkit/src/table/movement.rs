//! Movement.

use kiln_ir::op::SliceRange;
use kiln_ir::{Expr, Shape};

use super::{SIZES, SMALL, Table, range};

pub(super) fn add(table: &mut Table) {
    for dtype in SIZES {
        let reshapes: [(&[usize], &[usize]); 4] =
            [(&[2, 3, 5], &[5, 6]), (&[], &[1, 1]), (&[0, 3], &[3, 0]), (&[1, 7, 1], &[7])];
        for (from, to) in reshapes {
            let name = format!("reshape {dtype} {from:?} to {to:?}");
            table.smooth(name, &[(from, dtype, SMALL)], move |x| x[0].reshape(to));
        }
        table.smooth(format!("reshape {dtype} of a transposed"), &[(&[3, 5], dtype, SMALL)], |x| {
            x[0].transpose().reshape([15])
        });

        let permutes: [(&[usize], &[usize]); 4] = [
            (&[2, 3, 5], &[2, 0, 1]),
            (&[7, 2], &[1, 0]),
            (&[3, 0, 2], &[1, 2, 0]),
            (&[1, 5, 1, 3], &[3, 2, 1, 0]),
        ];
        for (shape, axes) in permutes {
            let name = format!("permute {dtype} {shape:?} by {axes:?}");
            table.smooth(name, &[(shape, dtype, SMALL)], move |x| x[0].permute(axes));
        }

        let expands: [(&[usize], &[usize]); 4] =
            [(&[1, 3, 1], &[2, 3, 5]), (&[1], &[0]), (&[], &[2, 2]), (&[1, 1], &[31, 37])];
        for (from, to) in expands {
            let name = format!("expand {dtype} {from:?} to {to:?}");
            table.smooth(name, &[(from, dtype, SMALL)], move |x| x[0].broadcast_to(&Shape::from(to)));
        }

        let slices: [(&str, &[usize], Vec<SliceRange>); 7] = [
            ("inside", &[5, 7], vec![range(1, 3, 1), range(2, 4, 1)]),
            ("stepping", &[11, 7], vec![range(1, 4, 3), range(0, 4, 2)]),
            ("backwards", &[5, 7], vec![range(4, 5, -1), range(6, 3, -3)]),
            ("backwards from inside", &[13], vec![range(9, 3, -4)]),
            ("of nothing", &[5], vec![range(5, 0, 1)]),
            ("of an empty", &[0, 3], vec![range(0, 0, 1), range(2, 2, -1)]),
            ("of one with a long step", &[6], vec![range(4, 1, 1 << 40)]),
        ];
        for (name, shape, ranges) in slices {
            table.smooth(format!("slice {dtype} {name}"), &[(shape, dtype, SMALL)], move |x| {
                x[0].slice(&ranges)
            });
        }

        let pads: [(&[usize], &[usize], &[usize]); 4] = [
            (&[2, 3], &[1, 0], &[0, 2]),
            (&[0, 2], &[2, 0], &[1, 1]),
            (&[5], &[0], &[0]),
            (&[2, 1, 3], &[0, 3, 1], &[1, 0, 1]),
        ];
        for (shape, before, after) in pads {
            let name = format!("pad {dtype} {shape:?} by {before:?} {after:?}");
            table.smooth(name, &[(shape, dtype, SMALL)], move |x| x[0].pad(before, after, 1.0));
        }

        let concats: [(&str, usize, &[&[usize]]); 4] = [
            ("rows", 0, &[&[2, 3], &[1, 3], &[4, 3]]),
            ("columns", 1, &[&[2, 3], &[2, 1], &[2, 0], &[2, 2]]),
            ("one part", 0, &[&[5]]),
            ("empty parts", 0, &[&[0], &[0]]),
        ];
        for (name, axis, parts) in concats {
            let operands: Vec<_> = parts.iter().map(|&shape| (shape, dtype, SMALL)).collect();
            table.smooth(format!("concat {dtype} {name}"), &operands, move |x| {
                Expr::concat(&x.iter().collect::<Vec<_>>(), axis)
            });
        }
    }
}
