//! Contractions.

use kiln_ir::DType;
use kiln_ir::op::{ConvSpec, UnaryOp};

use super::{FLOATS, NUMBERS, SMALL, Table};

pub(super) fn add(table: &mut Table) {
    for dtype in NUMBERS {
        let products: [(&[usize], &[usize]); 7] = [
            (&[3, 5], &[5, 7]),
            (&[1, 1], &[1, 1]),
            (&[2, 3, 3, 5], &[2, 3, 5, 2]),
            (&[3, 0], &[0, 2]),
            (&[0, 3], &[3, 2]),
            (&[2, 1, 7], &[2, 7, 1]),
            (&[0, 2, 3], &[0, 3, 2]),
        ];
        for (a, b) in products {
            let name = format!("matmul {dtype} {a:?} × {b:?}");
            table.smooth(name, &[(a, dtype, SMALL), (b, dtype, SMALL)], |x| x[0].matmul(&x[1]));
            table.loosened(4.0);
        }
        let operands = [(&[2, 5, 3][..], dtype, SMALL), (&[2, 7, 5][..], dtype, SMALL)];
        table.smooth(format!("matmul {dtype} transposed × transposed"), &operands, |x| {
            x[0].transpose().matmul(&x[1].transpose())
        });
        table.loosened(4.0);
    }
    let operands = [(&[67, 131][..], DType::F32, SMALL), (&[131, 37][..], DType::F32, SMALL)];
    table.rough("matmul f32 large".to_string(), &operands, |x| x[0].matmul(&x[1]));
    table.loosened(50.0);

    for dtype in FLOATS {
        for conv in convolutions() {
            add_conv(table, dtype, conv);
        }
    }
    add_wide_conv(table);
    add_depthwise_lines(table);
}

/// Large enough for a device to do it another way than small ones.
fn add_wide_conv(table: &mut Table) {
    let spec = ConvSpec { stride: vec![1, 1], pad: vec![(1, 1), (1, 1)], dilation: vec![1, 1], groups: 1 };
    fn operand(shape: &[usize]) -> (&[usize], DType, super::Range) {
        (shape, DType::F32, SMALL)
    }
    let (image, weight) = (operand(&[3, 40, 10, 11]), operand(&[48, 40, 3, 3]));
    let output = operand(&[3, 48, 10, 11]);
    let s = spec.clone();
    table.rough("conv f32 wide".to_string(), &[image, weight], move |x| {
        x[0].conv(&x[1], &s).unary(UnaryOp::Relu)
    });
    table.loosened(100.0);
    let s = spec.clone();
    table.rough("conv_grad_input f32 wide".to_string(), &[output, weight], move |x| {
        x[0].conv_grad_input(&x[1], &s, &[10, 11])
    });
    table.loosened(100.0);
    table.rough("conv_grad_weight f32 wide".to_string(), &[image, output], move |x| {
        x[0].conv_grad_weight(&x[1], &spec, &[3, 3]).unary(UnaryOp::Neg)
    });
    table.loosened(100.0);
}

/// Depthwise ones with lines long enough for as many pixels at once as a kernel takes, of every window whose pixels are shared.
fn add_depthwise_lines(table: &mut Table) {
    for (window, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (2, 1)] {
        let spec = ConvSpec {
            stride: vec![1, stride],
            pad: vec![(1, 1), (window / 2, window / 2)],
            dilation: vec![1, 1],
            groups: 20,
        };
        let operands =
            [(&[1, 20, 4, 27][..], DType::F32, SMALL), (&[20, 1, 3, window][..], DType::F32, SMALL)];
        let name = format!("conv f32 depthwise, 3 × {window}, stride {stride}");
        table.rough(name, &operands, move |x| x[0].conv(&x[1], &spec).unary(UnaryOp::Neg));
        table.loosened(8.0);
    }
}

struct Conv {
    name: &'static str,
    image: &'static [usize],
    weight: &'static [usize],
    spec: ConvSpec,
}

fn convolutions() -> Vec<Conv> {
    let spec = |stride: &[usize], pad: &[(usize, usize)], dilation: &[usize], groups| ConvSpec {
        stride: stride.to_vec(),
        pad: pad.to_vec(),
        dilation: dilation.to_vec(),
        groups,
    };
    let conv = |name, image, weight, spec| Conv { name, image, weight, spec };
    vec![
        conv("1d", &[2, 3, 7], &[4, 3, 3], spec(&[1], &[(0, 0)], &[1], 1)),
        conv("1d strided, dilated, padded", &[2, 2, 11], &[3, 2, 3], spec(&[2], &[(1, 3)], &[2], 1)),
        conv("2d", &[2, 3, 5, 6], &[4, 3, 3, 2], spec(&[1, 1], &[(0, 0), (0, 0)], &[1, 1], 1)),
        conv("2d same", &[1, 2, 5, 5], &[2, 2, 3, 3], spec(&[1, 1], &[(1, 1), (1, 1)], &[1, 1], 1)),
        conv(
            "2d strided past the end",
            &[1, 2, 6, 5],
            &[2, 2, 3, 2],
            spec(&[2, 3], &[(0, 1), (2, 0)], &[1, 2], 1),
        ),
        conv(
            "2d dilated past the image",
            &[2, 2, 5, 4],
            &[3, 2, 3, 3],
            spec(&[1, 2], &[(3, 4), (6, 6)], &[3, 6], 1),
        ),
        conv("2d of one pixel", &[2, 3, 4, 4], &[5, 3, 1, 1], spec(&[1, 1], &[(0, 0), (0, 0)], &[1, 1], 1)),
        conv("2d in groups", &[2, 4, 4, 3], &[6, 2, 2, 2], spec(&[1, 1], &[(1, 0), (0, 1)], &[1, 1], 2)),
        conv("2d depthwise", &[1, 3, 5, 4], &[3, 1, 3, 3], spec(&[2, 1], &[(1, 1), (1, 1)], &[1, 1], 3)),
        conv(
            "2d depthwise, many channels",
            &[2, 19, 6, 5],
            &[19, 1, 3, 2],
            spec(&[1, 2], &[(2, 1), (0, 1)], &[2, 1], 19),
        ),
        conv(
            "2d of an empty batch",
            &[0, 2, 4, 4],
            &[3, 2, 2, 2],
            spec(&[1, 1], &[(0, 0), (0, 0)], &[1, 1], 1),
        ),
        conv(
            "3d",
            &[1, 2, 3, 4, 3],
            &[2, 2, 2, 2, 2],
            spec(&[1, 2, 1], &[(0, 1), (1, 0), (0, 0)], &[1, 1, 2], 1),
        ),
    ]
}

fn add_conv(table: &mut Table, dtype: DType, Conv { name, image, weight, spec }: Conv) {
    let extent = |axis: usize| (weight[axis + 2] - 1) * spec.dilation[axis] + 1;
    let room = |axis: usize| image[axis + 2] + spec.pad[axis].0 + spec.pad[axis].1 - extent(axis);
    let spatial = (0..spec.stride.len()).map(|axis| room(axis) / spec.stride[axis] + 1);
    let output: Vec<usize> = [image[0], weight[0]].into_iter().chain(spatial).collect();
    let operand = |shape| (shape, dtype, SMALL);

    let s = spec.clone();
    table.smooth(format!("conv {dtype} {name}"), &[operand(image), operand(weight)], move |x| {
        x[0].conv(&x[1], &s)
    });
    table.loosened(8.0);
    let s = spec.clone();
    let operands = [operand(&output[..]), operand(weight)];
    table.smooth(format!("conv_grad_input {dtype} {name}"), &operands, move |x| {
        x[0].conv_grad_input(&x[1], &s, &image[2..])
    });
    table.loosened(8.0);
    let operands = [operand(image), operand(&output[..])];
    table.smooth(format!("conv_grad_weight {dtype} {name}"), &operands, move |x| {
        x[0].conv_grad_weight(&x[1], &spec, &weight[2..])
    });
    table.loosened(16.0);
}
