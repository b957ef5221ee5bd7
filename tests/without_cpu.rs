//! Training where the CPU isn't linked at all: `cargo test --no-default-features --test without_cpu`. Nothing above a device may
//! need it.

use kiln::prelude::*;

#[test]
fn a_device_is_asked_for_and_trains() {
    if !cfg!(feature = "cpu") {
        let error = Tensor::ones([2]).to_vec::<f32>().unwrap_err().to_string();
        assert!(error.contains("no device was chosen"), "{error}");
        assert!(kiln::devices().iter().all(|(name, _)| name != "cpu"));
    }
    kiln::set_default_device(&kiln::device("reference").unwrap());
    let (train, test) = data::moons(120, 0.1, 3).split(0.8);
    let model = Sequential::new().dense(8).relu().dense(2);
    let run = Trainer::new(model, CrossEntropy::new(), Adam::new(0.05))
        .epochs(12)
        .validate(&test)
        .metrics(["accuracy"])
        .quiet()
        .fit(&train)
        .unwrap();
    assert!(run.evaluate(&test).unwrap().number("accuracy").unwrap() > 0.8);
    let weight = run.model().parameters().remove(0).1;
    assert_eq!(weight.variable().unwrap().device().unwrap().name(), "reference");
}
