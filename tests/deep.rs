//! Graphs of a hundred thousand nodes in a chain, on the small stack of a test thread.

use kiln::prelude::*;

const DEPTH: usize = 100_000;

#[test]
fn a_deep_chain_builds_differentiates_evaluates_and_drops() {
    let x = Tensor::from(0.5);
    let mut y = x.clone();
    for step in 0..DEPTH {
        // Nothing that simplifies away: the graph stays as deep as it was built.
        y = if step % 2 == 0 { y.sin() } else { y + &x };
    }
    let slope = y.grad(&[&x]).remove(0);
    let values = kiln::eval_all(&[&y, &slope]).unwrap();

    // The same in plain numbers, and the slope by its recurrence.
    let (mut value, mut derivative) = (0.5f64, 1.0f64);
    for step in 0..DEPTH {
        (value, derivative) = match step % 2 {
            0 => (value.sin(), value.cos() * derivative),
            _ => (value + 0.5, derivative + 1.0),
        };
    }
    assert!((values[0].item().unwrap() - value).abs() < 1e-9);
    assert!((values[1].item().unwrap() - derivative).abs() < 1e-9 * derivative.abs());
    drop((x, y, slope, values));
}

#[test]
fn a_deep_chain_of_an_error_is_cheap() {
    let mut y = Tensor::zeros([2]) + Tensor::zeros([3]);
    for _ in 0..DEPTH {
        y = (y * 2.0).relu();
    }
    assert!(y.item().unwrap_err().to_string().contains("[2] and [3]"));
}
