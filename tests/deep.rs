//! Graphs of a hundred thousand nodes in a chain and networks of as many layers, on the small stack of a test thread. What
//! takes time in proportion to them is done in seconds here; what doesn't wouldn't be done today.

use kiln::prelude::*;
use kiln::{Sequential, Summary};

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

#[test]
fn a_deep_chain_of_checkpoints_is_differentiated() {
    let x = Tensor::from(0.5);
    let mut y = x.clone();
    for _ in 0..DEPTH / 20 {
        y = Tensor::checkpoint(|| y.sin().cos());
    }
    let slope = y.grad(&[&x]).remove(0).item().unwrap();
    let (mut value, mut derivative) = (0.5f64, 1.0f64);
    for _ in 0..DEPTH / 20 {
        derivative *= -value.sin().sin() * value.cos();
        value = value.sin().cos();
    }
    assert!((slope - derivative).abs() <= 1e-9 * derivative.abs());
}

#[test]
fn a_row_of_a_hundred_thousand_layers_is_read_summed_up_and_trained() {
    let text = format!("dense 4, {}dense 1", "relu, ".repeat(DEPTH));
    let model: Sequential = text.parse().unwrap();
    let summary = Summary::of(&model, [2, 3]).unwrap();
    assert_eq!((summary.rows.len(), summary.trained), (DEPTH + 2, 3 * 4 + 4 + 4 + 1));
    let mut step =
        Step::train(&model, Adam::new(0.01), |model: &Sequential, cx, [x, y]| model.forward(&x, cx).mse(&y));
    let (x, y) = ([0.5f32; 6], [1f32; 2]);
    let mut run = || step.run([Input::new(&x, &[2, 3]), Input::new(&y, &[2, 1])]).unwrap();
    assert!(run() > run());
}

/// Two thousand dense layers from their text to a step with Adam. `cargo test --release --test deep -- --ignored`
#[test]
#[ignore = "asserts seconds, so it wants a release build on a quiet machine: scripts/nightly.sh runs it"]
fn two_thousand_layers_are_ready_in_three_seconds() {
    let start = std::time::Instant::now();
    let model: Sequential = vec!["dense 6"; 2000].join(", ").parse().unwrap();
    Summary::of(&model, [4, 6]).unwrap();
    let mut step =
        Step::train(&model, Adam::new(1e-3), |model: &Sequential, cx, [x, y]| model.forward(&x, cx).mse(&y));
    let (x, y) = ([0.5f32; 24], [0.25f32; 24]);
    step.run([Input::new(&x, &[4, 6]), Input::new(&y, &[4, 6])]).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 3.0, "{seconds:.1} s");
}
