//! Contractions: the matrix product and the three forms of convolution.

use super::OperandValue;
use super::movement::{flatten, indices};
use super::values::{EvalNumber, EvalValues};
use super::window::covered;
use crate::op::ConvSpec;
use crate::shape::Shape;

pub fn matmul(a: OperandValue, b: OperandValue, shape: &Shape) -> EvalValues {
    fn product<T: EvalNumber>(a: &[T], b: &[T], [m, k, n]: [usize; 3], len: usize) -> Vec<T> {
        let element = |flat: usize| {
            let (batch, row, column) = (flat / (m * n), flat / n % m, flat % n);
            let term = |i: usize| a[(batch * m + row) * k + i].mul(b[(batch * k + i) * n + column]);
            (0..k).fold(T::ZERO, |sum, i| sum.add(term(i)))
        };
        (0..len).map(element).collect()
    }
    let rank = shape.rank();
    let sizes = [shape[rank - 2], a.shape()[rank - 1], shape[rank - 1]];
    match (a.values, b.values) {
        (EvalValues::Int(a), EvalValues::Int(b)) => EvalValues::Int(product(a, b, sizes, shape.elements())),
        (EvalValues::Float(a), EvalValues::Float(b)) => {
            EvalValues::Float(product(a, b, sizes, shape.elements()))
        }
        _ => unreachable!("the graph is typed: operands of one dtype"),
    }
}

/// Calls `visit` with the positions in image, weight and output of every product that a convolution sums.
fn each_product(
    spec: &ConvSpec,
    image: &Shape,
    weight: &Shape,
    output: &Shape,
    mut visit: impl FnMut(usize, usize, usize),
) {
    let channels_out = output[1] / spec.groups;
    let taps: Vec<Vec<usize>> = indices(&Shape::from(&weight[1..])).collect();
    for (to, at) in indices(output).enumerate() {
        let group = at[1] / channels_out;
        for tap in &taps {
            let offset = &tap[1..];
            let place = covered(&at[2..], offset, &spec.stride, &spec.dilation, &spec.pad, &image[2..]);
            let Some(place) = place else { continue };
            let channel = group * weight[1] + tap[0];
            let from = flatten(&[&[at[0], channel], &place[..]].concat(), image);
            visit(from, flatten(&[&[at[1]], &tap[..]].concat(), weight), to);
        }
    }
}

fn floats<'a>(x: &OperandValue<'a>) -> &'a [f64] {
    match x.values {
        EvalValues::Float(v) => v,
        EvalValues::Int(_) => unreachable!("the graph is typed: convolutions take floats"),
    }
}

pub fn conv(spec: &ConvSpec, image: OperandValue, weight: OperandValue, output: &Shape) -> EvalValues {
    let (x, w) = (floats(&image), floats(&weight));
    let mut result = vec![0.0; output.elements()];
    each_product(spec, image.shape(), weight.shape(), output, |from, tap, to| result[to] += x[from] * w[tap]);
    EvalValues::Float(result)
}

pub fn conv_grad_input(
    spec: &ConvSpec,
    gradient: OperandValue,
    weight: OperandValue,
    image: &Shape,
) -> EvalValues {
    let (g, w) = (floats(&gradient), floats(&weight));
    let mut result = vec![0.0; image.elements()];
    each_product(spec, image, weight.shape(), gradient.shape(), |from, tap, to| {
        result[from] += g[to] * w[tap]
    });
    EvalValues::Float(result)
}

pub fn conv_grad_weight(
    spec: &ConvSpec,
    image: OperandValue,
    gradient: OperandValue,
    weight: &Shape,
) -> EvalValues {
    let (x, g) = (floats(&image), floats(&gradient));
    let mut result = vec![0.0; weight.elements()];
    each_product(spec, image.shape(), weight, gradient.shape(), |from, tap, to| {
        result[tap] += x[from] * g[to]
    });
    EvalValues::Float(result)
}
