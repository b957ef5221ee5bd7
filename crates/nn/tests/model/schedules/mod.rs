//! Schedules against PyTorch's (`values.json`, made by `make.py`).

use kiln_nn::schedule::{
    Constant, Cosine, CosineRestarts, Exponential, FlatCosine, Linear, MultiStep, OneCycle, Polynomial,
    RateFinder, ReduceOnPlateau, Schedule, StepDecay, Warmup,
};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn assert_same(name: &str, found: impl Iterator<Item = f64>, expected: &[f64]) {
    for (step, (found, expected)) in found.zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-9, "{name}, step {step}: {found} instead of {expected}");
    }
}

#[test]
fn every_schedule_is_pytorch_s() {
    let values: Value = serde_json::from_str(include_str!("values.json")).unwrap();
    let schedules: [(&str, Box<dyn Schedule>); 10] = [
        ("step", Box::new(StepDecay::new(7, 0.5))),
        ("multi_step", Box::new(MultiStep::new(&[5, 20, 21], 0.3))),
        ("exponential", Box::new(Exponential::new(0.93))),
        ("polynomial", Box::new(Polynomial::new(40, 2.0))),
        ("linear", Box::new(Linear::new(30, 0.2, 0.9))),
        ("cosine", Box::new(Cosine::new(59).floor(0.1))),
        ("restarts", Box::new(CosineRestarts::new(6, 2).floor(0.05))),
        ("restarts_equal", Box::new(CosineRestarts::new(9, 1))),
        ("one_cycle", Box::new(OneCycle::new(61))),
        ("one_cycle_straight", Box::new(OneCycle::new(61).rise(0.4).divide(10.0, 100.0).straight())),
    ];
    for (name, schedule) in schedules {
        let expected = numbers(&values[name]);
        assert_eq!(expected.len(), 60);
        assert_same(name, (0..60).map(|step| schedule.factor(step)), &expected);
    }
    let losses = numbers(&values["losses"]);
    let mut plateau = ReduceOnPlateau::new(0.5, 3).threshold(0.01).cooldown(2).least(0.05);
    assert_same("plateau", losses.iter().map(|&loss| plateau.observe(loss)), &numbers(&values["plateau"]));
    let mut plateau = ReduceOnPlateau::new(0.5, 4).larger_is_better();
    assert_same(
        "plateau_max",
        losses.iter().map(|&loss| plateau.observe(loss)),
        &numbers(&values["plateau_max"]),
    );
    // Stopped and restored in the middle it goes on as it would have.
    let mut whole = ReduceOnPlateau::new(0.5, 3);
    let factors: Vec<f64> = losses.iter().map(|&loss| whole.observe(loss)).collect();
    let mut first = ReduceOnPlateau::new(0.5, 3);
    losses[..31].iter().for_each(|&loss| {
        first.observe(loss);
    });
    let mut second = ReduceOnPlateau::new(0.5, 3);
    second.restore(first.state());
    assert_same("restored", losses[31..].iter().map(|&loss| second.observe(loss)), &factors[31..]);
}

#[test]
fn a_warm_up_stands_in_front_of_any_schedule() {
    let warm = Warmup::new(4, |step: u64| 0.5f64.powf(step as f64));
    let factors: Vec<f64> = (0..7).map(|step| warm.factor(step)).collect();
    assert_eq!(factors, [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]);
    assert_eq!(Warmup::new(0, Constant).factor(0), 1.0);
    // Behind their ends schedules stay where they are.
    assert_eq!(Cosine::new(10).factor(1_000_000), 0.0);
    let flat = [0, 5, 15, 20, 30].map(|step| FlatCosine::new(20).factor(step));
    assert!((flat[2] - 0.5).abs() < 1e-12 && flat[..2] == [1.0; 2] && flat[3..] == [0.0; 2], "{flat:?}");
    assert_eq!(Polynomial::new(10, 1.0).factor(11), 0.0);
}

#[test]
fn the_finder_suggests_a_rate_where_the_loss_falls() {
    // A loss that falls around a rate of 0.1 and bursts beyond 1.
    let mut finder = RateFinder::new(1e-5, 10.0, 200);
    let mut used = 0;
    while let Some(rate) = finder.rate() {
        finder.observe(2.0 - 1.5 / (1.0 + (0.05 / rate).powf(2.0)) + (rate / 2.0).powf(4.0));
        used += 1;
    }
    assert!(used < 200, "it stops when the loss bursts");
    let found = finder.suggestion().unwrap();
    assert!((0.01..0.5).contains(&found), "{found}");
    assert_eq!(finder.curve().len(), used);
    assert_eq!(RateFinder::new(1e-5, 1.0, 10).suggestion(), None);
}
