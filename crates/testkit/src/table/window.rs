//! Pooling windows.

use kiln_ir::op::WindowSpec;

use super::{NUMBERS, SMALL, TIES, Table};
use crate::rng::Range;

pub(super) fn add(table: &mut Table) {
    let spec = |window: &[usize], stride: &[usize], pad: &[(usize, usize)], dilation: &[usize]| WindowSpec {
        window: window.to_vec(),
        stride: stride.to_vec(),
        pad: pad.to_vec(),
        dilation: dilation.to_vec(),
    };
    let windows: [(&str, &[usize], WindowSpec); 7] = [
        ("1d", &[2, 3, 7], spec(&[2], &[2], &[(0, 0)], &[1])),
        ("1d overlapping, padded", &[1, 2, 7], spec(&[3], &[1], &[(1, 1)], &[1])),
        ("2d", &[2, 2, 4, 6], spec(&[2, 2], &[2, 2], &[(0, 0), (0, 0)], &[1, 1])),
        ("2d past the end", &[1, 2, 5, 7], spec(&[3, 2], &[2, 2], &[(1, 1), (0, 1)], &[1, 1])),
        ("2d dilated", &[1, 1, 5, 6], spec(&[2, 2], &[1, 2], &[(0, 0), (1, 1)], &[2, 3])),
        ("2d of an empty batch", &[0, 2, 4, 4], spec(&[2, 2], &[2, 2], &[(0, 0), (0, 0)], &[1, 1])),
        ("3d", &[1, 2, 3, 4, 3], spec(&[2, 2, 3], &[1, 2, 1], &[(0, 0), (0, 0), (1, 1)], &[1, 1, 1])),
    ];
    for dtype in NUMBERS {
        for (name, image, spec) in &windows {
            add_window(table, dtype, name, image, spec);
        }
    }
}

fn add_window(
    table: &mut Table,
    dtype: kiln_ir::DType,
    name: &str,
    image: &'static [usize],
    spec: &WindowSpec,
) {
    let count = |axis: usize| {
        let extent = (spec.window[axis] - 1) * spec.dilation[axis] + 1;
        (image[axis + 2] + spec.pad[axis].0 + spec.pad[axis].1 - extent) / spec.stride[axis] + 1
    };
    let spatial = (0..spec.window.len()).map(count);
    let output: Vec<usize> = image[..2].iter().copied().chain(spatial).collect();

    let s = spec.clone();
    table.smooth(format!("max pool {dtype} {name}"), &[(image, dtype, SMALL)], move |x| {
        x[0].window_pick(&x[0], &s)
    });
    for (data, range) in [("tied", TIES), ("odd", Range::Odd)] {
        let operands = [(image, dtype, range), (image, dtype, SMALL)];
        let s = spec.clone();
        table.rough(format!("window_pick {data} {dtype} {name}"), &operands, move |x| {
            x[0].window_pick(&x[1], &s)
        });
        let operands = [(image, dtype, range), (&output[..], dtype, SMALL)];
        let s = spec.clone();
        table.rough(format!("window_spread {data} {dtype} {name}"), &operands, move |x| {
            x[0].window_spread(&x[1], &s)
        });
    }
    // What picks is no operand of the derivative, so here it isn't one that moves.
    let operands = [(image, kiln_ir::DType::I64, TIES), (&output[..], dtype, SMALL)];
    let s = spec.clone();
    table.smooth(format!("window_spread {dtype} {name}"), &operands, move |x| x[0].window_spread(&x[1], &s));

    let s = spec.clone();
    table
        .smooth(format!("window_sum {dtype} {name}"), &[(image, dtype, SMALL)], move |x| x[0].window_sum(&s));
    table.loosened(8.0);
    let s = spec.clone();
    table.smooth(format!("window_sum_grad {dtype} {name}"), &[(&output[..], dtype, SMALL)], move |x| {
        x[0].window_sum_grad(&s, &image[2..])
    });
    table.loosened(8.0);
}
