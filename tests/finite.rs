//! The hunt for the first `NaN` or infinity. A switch of the whole process, so it has one of its own.

use kiln::ErrorKind;
use kiln::prelude::*;

#[test]
fn the_hunt_names_the_kernel_and_the_line_and_can_be_switched_off() {
    let x = Tensor::from([1.0f32, 0.0, -1.0]);
    let y = x.matmul(&Tensor::eye(3)).ln().sum(..);
    assert!(y.item().unwrap().is_nan());

    kiln::check_finite(true).unwrap();
    let line = line!() + 1;
    let y = x.matmul(&Tensor::eye(3)).ln().sum(..);
    let error = y.item().unwrap_err();
    kiln::check_finite(false).unwrap();
    assert_eq!(error.kind, ErrorKind::NonFinite);
    let text = error.to_string();
    assert!(text.contains("ln") && text.contains(&format!("tests/finite.rs:{line}")), "{text}");

    kiln::check_finite(true).unwrap();
    let good = Tensor::from([1.0f32, 2.0]).ln().sum(..).item();
    // A padded maximum folds from minus infinity, which is nobody's mistake.
    let pooled = Tensor::ones([1, 1, 4, 4]).max_pool2d(2).sum(..).item();
    // A training step: the variable that went bad is named.
    let weight = Param::new(&Tensor::from([1e30f32]));
    let mut step = Step::train(&weight, Sgd::new(1e30), |w, _, [x]| (w.tensor() * x).sum(..));
    let first = step.run([Input::new(&[1e30f32], &[1])]);
    kiln::check_finite(false).unwrap();
    assert!(good.is_ok() && pooled.is_ok());
    assert_eq!(first.unwrap_err().kind, ErrorKind::NonFinite);
    assert!(y.item().unwrap().is_nan());
}
