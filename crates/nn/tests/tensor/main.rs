//! Tensors: what they compute, their gradients, and what becomes of mistakes. One binary, since each costs a link.

mod basics;
mod gradients;
mod mistakes;
mod panics;
mod random;
mod reference;

use kiln_nn::{DType, Tensor};

fn f64s(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).to_vec().unwrap_or_else(|error| panic!("{error}"))
}

fn i64s(x: &Tensor) -> Vec<i64> {
    x.to_vec().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn near(x: &Tensor, expected: &[f64]) {
    let found = f64s(x);
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!(a == b || (a - b).abs() < 1e-5 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan()), "{found:?}");
    }
}

#[track_caller]
fn message(x: &Tensor) -> String {
    x.error().expect("should be poisoned").to_string()
}
