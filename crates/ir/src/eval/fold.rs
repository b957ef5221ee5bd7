//! Folds over axes and scans along one.

use std::cmp::Ordering;

use super::OperandValue;
use super::movement::{flatten, indices};
use super::values::{EvalNumber, EvalValues, map_values};
use crate::op::{ArgOp, ReduceOp};
use crate::shape::Shape;

pub fn reduce(function: ReduceOp, x: OperandValue, shape: &Shape, axes: &[usize]) -> EvalValues {
    let target = |index: &[usize]| {
        let folded = |axis| if axes.contains(&axis) { 0 } else { index[axis] };
        flatten(&(0..index.len()).map(folded).collect::<Vec<_>>(), shape)
    };
    let neutral = EvalValues::filled(x.node.dtype, shape.elements(), function.neutral(x.node.dtype));
    match (x.values, neutral) {
        (EvalValues::Int(v), EvalValues::Int(neutral)) => {
            EvalValues::Int(fold(function, v, x.shape(), neutral, target))
        }
        (EvalValues::Float(v), EvalValues::Float(neutral)) => {
            EvalValues::Float(fold(function, v, x.shape(), neutral, target))
        }
        _ => unreachable!("filled with the operand's dtype"),
    }
}

fn fold<T: EvalNumber>(
    function: ReduceOp,
    values: &[T],
    shape: &Shape,
    mut result: Vec<T>,
    target: impl Fn(&[usize]) -> usize,
) -> Vec<T> {
    for (&value, index) in values.iter().zip(indices(shape)) {
        let so_far = &mut result[target(&index)];
        *so_far = match function {
            ReduceOp::Sum => so_far.add(value),
            ReduceOp::Prod => so_far.mul(value),
            ReduceOp::Max | ReduceOp::Min if so_far.is_nan() => *so_far,
            ReduceOp::Max if value > *so_far || value.is_nan() => value,
            ReduceOp::Min if value < *so_far || value.is_nan() => value,
            ReduceOp::Max | ReduceOp::Min => *so_far,
        };
    }
    result
}

/// The positions of the elements of each line along `axis`.
fn lines(shape: &Shape, axis: usize) -> impl Iterator<Item = Vec<usize>> {
    let size = shape[axis];
    // An empty axis has no lines worth visiting, and `with` would make some up.
    let starts = shape.with(axis, usize::from(size > 0));
    let stride: usize = shape[axis + 1..].iter().product();
    let shape = shape.clone();
    indices(&starts).map(move |start| {
        let first = flatten(&start, &shape);
        (0..size).map(|i| first + i * stride).collect()
    })
}

pub fn arg_reduce(function: ArgOp, x: OperandValue, axis: usize) -> EvalValues {
    fn first_extreme<T: EvalNumber>(function: ArgOp, line: &[usize], values: &[T]) -> i64 {
        let better = |a: T, b: T| {
            if a.is_nan() || b.is_nan() {
                return a.is_nan() && !b.is_nan();
            }
            match function {
                ArgOp::Max => a > b,
                ArgOp::Min => a < b,
            }
        };
        let best = (0..line.len()).reduce(|best, i| match better(values[line[i]], values[line[best]]) {
            true => i,
            false => best,
        });
        best.map_or(0, |best| best as i64)
    }
    let lines = lines(x.shape(), axis);
    EvalValues::Int(match x.values {
        EvalValues::Int(v) => lines.map(|line| first_extreme(function, &line, v)).collect(),
        EvalValues::Float(v) => lines.map(|line| first_extreme(function, &line, v)).collect(),
    })
}

pub fn cumsum(x: OperandValue, axis: usize) -> EvalValues {
    fn run<T: EvalNumber>(lines: impl Iterator<Item = Vec<usize>>, values: &[T]) -> Vec<T> {
        let mut result = values.to_vec();
        for line in lines {
            let mut sum = T::ZERO;
            for position in line {
                sum = sum.add(values[position]);
                result[position] = sum;
            }
        }
        result
    }
    map_values!(x.values, v => run(lines(x.shape(), axis), v))
}

pub fn argsort(x: OperandValue, axis: usize, descending: bool) -> EvalValues {
    let mut result = vec![0; x.shape().elements()];
    let order = |a: usize, b: usize| -> Ordering {
        let ascending = match x.values {
            EvalValues::Int(v) => v[a].order(v[b]),
            EvalValues::Float(v) => v[a].order(v[b]),
        };
        if descending { ascending.reverse() } else { ascending }
    };
    for line in lines(x.shape(), axis) {
        let mut sorted: Vec<usize> = (0..line.len()).collect();
        sorted.sort_by(|&a, &b| order(line[a], line[b])); // stable
        for (&position, from) in line.iter().zip(sorted) {
            result[position] = from as i64;
        }
    }
    EvalValues::Int(result)
}
