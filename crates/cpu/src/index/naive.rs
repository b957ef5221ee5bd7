//! The index kernels in their most obvious form, over host data: what the fast ones are held against.

use kiln_compile::program::{AlongAxis, Indexed, View};
use kiln_ir::op::{ArgOp, ScatterMode};
use kiln_ir::{DType, Scalar};

/// The element of a view at these loop indices.
fn at(view: &View, index: &[usize]) -> usize {
    let moved: isize = index.iter().zip(&view.strides).map(|(&i, &stride)| i as isize * stride).sum();
    (view.offset + moved) as usize
}

fn points(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![vec![]], |points, &size| {
        points.iter().flat_map(|p| (0..size).map(move |i| [p.as_slice(), &[i]].concat())).collect()
    })
}

fn with(index: &[usize], axis: usize, i: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[axis] = i;
    index
}

pub fn gather(work: &Indexed, x: &[Scalar], index: &[Scalar], out: &mut [Scalar]) {
    for point in points(&work.loops) {
        let found = index[at(&work.index, &point)].as_i64() as usize;
        out[at(&work.out, &point)] = x[at(&work.x, &with(&point, work.axis, found))];
    }
}

pub fn scatter(work: &Indexed, mode: ScatterMode, x: &[Scalar], index: &[Scalar], out: &mut [Scalar]) {
    for point in points(&work.loops) {
        let found = index[at(&work.index, &point)].as_i64() as usize;
        let target = &mut out[at(&work.out, &with(&point, work.axis, found))];
        let value = x[at(&work.x, &point)];
        *target = match mode {
            ScatterMode::Set => value,
            ScatterMode::Add => add(*target, value, work.x.dtype),
        };
    }
}

/// A sum rounded as memory of this dtype holds it.
fn add(a: Scalar, b: Scalar, dtype: DType) -> Scalar {
    match dtype.is_float() {
        // The sum of two floats is the same rounded from `f64` or from `f32`, for those that tests use.
        true => Scalar::Float(a.as_f64() + b.as_f64()),
        false => Scalar::Int(a.as_i64().wrapping_add(b.as_i64())),
    }
    .cast(dtype)
}

fn row(work: &AlongAxis, outer: &[usize], x: &[Scalar]) -> Vec<Scalar> {
    let len = work.loops[work.loops.len() - 1];
    (0..len).map(|i| x[at(&work.x, &[outer, &[i]].concat())]).collect()
}

pub fn arg_reduce(work: &AlongAxis, op: ArgOp, x: &[Scalar], out: &mut [Scalar]) {
    for outer in points(&work.loops[..work.loops.len() - 1]) {
        let mut best = 0;
        let row = row(work, &outer, x);
        for i in 1..row.len() {
            let further = match (row[best], row[i]) {
                (Scalar::Float(a), Scalar::Float(b)) if a.is_nan() || b.is_nan() => !a.is_nan(),
                (Scalar::Float(a), Scalar::Float(b)) => {
                    if op == ArgOp::Max {
                        b > a
                    } else {
                        b < a
                    }
                }
                (a, b) => {
                    if op == ArgOp::Max {
                        b.as_i64() > a.as_i64()
                    } else {
                        b.as_i64() < a.as_i64()
                    }
                }
            };
            if further {
                best = i;
            }
        }
        out[at(&work.out, &[&outer[..], &[0]].concat())] = Scalar::Int(best as i64);
    }
}

pub fn cum_sum(work: &AlongAxis, x: &[Scalar], out: &mut [Scalar]) {
    let sum_in = if work.x.dtype.is_half() { DType::F32 } else { work.x.dtype };
    for outer in points(&work.loops[..work.loops.len() - 1]) {
        let mut sum = Scalar::Int(0).cast(sum_in);
        for (i, value) in row(work, &outer, x).into_iter().enumerate() {
            sum = add(sum, value, sum_in);
            out[at(&work.out, &[&outer[..], &[i]].concat())] = sum.cast(work.out.dtype);
        }
    }
}

pub fn arg_sort(work: &AlongAxis, descending: bool, x: &[Scalar], out: &mut [Scalar]) {
    for outer in points(&work.loops[..work.loops.len() - 1]) {
        let row = row(work, &outer, x);
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| {
            let ascending = match (row[a], row[b]) {
                (Scalar::Float(a), Scalar::Float(b)) => {
                    a.partial_cmp(&b).unwrap_or(a.is_nan().cmp(&b.is_nan()))
                }
                (a, b) => a.as_i64().cmp(&b.as_i64()),
            };
            if descending { ascending.reverse() } else { ascending }
        });
        for (i, place) in order.into_iter().enumerate() {
            out[at(&work.out, &[&outer[..], &[i]].concat())] = Scalar::Int(place as i64);
        }
    }
}
