//! A tiny set is learnt by heart: what can't do that has a fault somewhere between its layers, loss and optimizer.

mod kit;

use kiln::prelude::*;
use kit::digits;

/// Trains on 32 pictures until the loss is nearly zero; one try, a fixed number of steps.
fn learns_by_heart(model: &Sequential, shape: &[usize], optimizer: impl Optimizer) {
    let (pixels, labels) = digits(32, 11);
    let mut step = Step::train(model, optimizer, |model, cx, [x, y]| model.forward(&x, cx).cross_entropy(&y));
    let shape: Vec<usize> = [32].iter().chain(shape).copied().collect();
    let mut loss = f32::NAN;
    for _ in 0..300 {
        loss = step.run([Input::new(&pixels, &shape), Input::new(&labels, &[32])]).unwrap();
    }
    assert!(loss < 0.01, "the loss is still {loss} for {model:?}");
}

#[test]
fn a_dense_network_learns_by_heart() {
    let model = Sequential::new().dense(64).relu().dense(32).tanh().dense(10);
    learns_by_heart(&model, &[64], Sgd::new(0.2).momentum(0.9));
}

#[test]
fn a_convolutional_network_learns_by_heart() {
    let text = "conv 16 3, relu, conv 32 3 padding 1, batch-norm, relu, pool 2, flatten, dense 10";
    let model: Sequential = text.parse().unwrap();
    learns_by_heart(&model, &[1, 8, 8], Adam::new(3e-3));
}

#[test]
fn a_residual_network_learns_by_heart() {
    let text = "conv 8 3 padding 1, relu, residual(conv 8 3 padding 1, batch-norm, relu, conv 8 3 padding 1, batch-norm), relu, \
        residual(conv 16 3 stride 2 padding 1, batch-norm, relu), global-avg-pool, layer-norm, dense 10";
    let model: Sequential = text.parse().unwrap();
    learns_by_heart(&model, &[1, 8, 8], Adam::new(1e-2));
}
