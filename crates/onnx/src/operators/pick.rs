//! Operators whose shapes follow from values, which have to be known beforehand: they are computed here and now.

use std::cmp::Ordering;

use kiln_ir::Scalar;
use kiln_nn::Tensor;

use super::movement::moved;
use crate::call::{Call, Operator, vector};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "NonZero" => non_zero,
        "Compress" => |call| {
            let shape = call.value(0)?.shape();
            let kept = call.known_ints(1)?;
            let kept: Vec<i64> = (0..kept.len() as i64).filter(|&at| kept[at as usize] != 0).collect();
            let axis =
                call.is_set("axis").then(|| call.axis(call.int("axis", 0), shape.len())).transpose()?;
            let size = axis.map_or(shape.iter().product(), |axis| shape[axis]);
            if kept.last().is_some_and(|&last| last >= size as i64) {
                return Err(call.fault(format!("more conditions than the {size} they are for")));
            }
            let kept = Tensor::from(kept);
            Ok(vec![moved(call, 0, &|x| {
                let (x, axis) = match axis {
                    Some(axis) => (x.clone(), axis),
                    None => (x.reshape([size]), 0),
                };
                Ok(match kept.elements() {
                    0 => x.narrow(axis as isize, 0, 0),
                    _ => x.index_select(axis as isize, &kept),
                })
            })?])
        },
        "Unique" => unique,
        _ => return None,
    })
}

/// The indices of all that isn't zero, a row for each axis.
fn non_zero(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let found = call.known(0)?.scalars();
    let found: Vec<usize> = (0..found.len()).filter(|&at| found[at].as_f64() != 0.0).collect();
    call.listed(found.len().saturating_mul(1 + shape.len()))?;
    let mut places = Vec::with_capacity(shape.len() * found.len());
    for axis in 0..shape.len() {
        let step: usize = shape[axis + 1..].iter().product();
        places.extend(found.iter().map(|at| (at / step % shape[axis]) as i64));
    }
    Ok(vec![Value::new(kiln_ir::Data::I64(places), &[shape.len(), found.len()], OnnxDType::I64)])
}

/// Equal slices of an axis (or equal elements) once each, and where they were first, which each is, and how often.
fn unique(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let count = shape.iter().product::<usize>();
    let axis = call.is_set("axis").then(|| call.axis(call.int("axis", 0), shape.len())).transpose()?;
    // A key, its position in the order and in its group, and the group.
    call.listed(count.saturating_mul(8))?;
    let keys = keys(call, axis)?;
    // Equal keys side by side, the first of each in front.
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| compare(&keys[a], &keys[b]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in order {
        match groups.last_mut() {
            Some(group) if compare(&keys[group[0]], &keys[at]).is_eq() => group.push(at),
            _ => groups.push(vec![at]),
        }
    }
    if call.int("sorted", 1) == 0 {
        groups.sort_by_key(|group| group[0]);
    }
    let mut inverse = vec![0; keys.len()];
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|&at| inverse[at] = number as i64);
    }
    let first: Vec<i64> = groups.iter().map(|group| group[0] as i64).collect();
    let places = Tensor::from(first.clone());
    let values = moved(call, 0, &|x| {
        let (x, axis) = axis.map_or((x.reshape([count]), 0), |axis| (x.clone(), axis));
        Ok(if first.is_empty() { x } else { x.index_select(axis as isize, &places) })
    })?;
    let counts = groups.iter().map(|group| group.len() as i64).collect();
    Ok(vec![values, vector(first), vector(inverse), vector(counts)])
}

/// What can be told apart and ordered.
enum Comparable {
    Numbers(Vec<Scalar>),
    Text(String),
}

fn compare(a: &Comparable, b: &Comparable) -> Ordering {
    match (a, b) {
        (Comparable::Text(a), Comparable::Text(b)) => a.cmp(b),
        (Comparable::Numbers(a), Comparable::Numbers(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| match (a, b) {
                (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
                (a, b) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
            });
            pairs.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }
        _ => Ordering::Equal,
    }
}

/// The elements, or the slices of an axis.
fn keys(call: &Call, axis: Option<usize>) -> Result<Vec<Comparable>> {
    if let Value::Texts(texts, _) = call.value(0)? {
        return match axis {
            None => Ok(texts.iter().cloned().map(Comparable::Text).collect()),
            Some(_) => Err(call.unknown("slices of texts")),
        };
    }
    let x = call.known(0)?.scalars();
    if x.iter().any(|number| number.as_f64().is_nan()) {
        return Err(call.unknown("numbers that are NaN"));
    }
    let Some(axis) = axis else {
        return Ok(x.into_iter().map(|number| Comparable::Numbers(vec![number])).collect());
    };
    let shape = call.value(0)?.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    let mut slices: Vec<Vec<Scalar>> = vec![Vec::new(); shape[axis]];
    for (at, number) in x.into_iter().enumerate() {
        slices[at / inner % shape[axis]].push(number);
    }
    Ok(slices.into_iter().map(Comparable::Numbers).collect())
}
