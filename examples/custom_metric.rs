//! A metric of one's own, watched by early stopping and written to logs like those of the field: `cargo run --release --example
//! custom_metric`.

use kiln::metrics::{Result as MetricResult, Seen, Targets};
use kiln::prelude::*;

/// The share of predictions that are within a bound of the truth.
#[derive(Clone)]
struct Within {
    bound: f32,
    near: f64,
    all: f64,
}

impl Metric for Within {
    fn name(&self) -> &str {
        "within"
    }

    fn larger_is_better(&self) -> bool {
        true
    }

    fn update(&mut self, seen: &Seen) -> MetricResult<()> {
        if let Targets::Numbers(truth) = seen.targets {
            let near = |(a, b): &(&f32, &f32)| (*a - *b).abs() <= self.bound;
            self.near += seen.outputs.iter().zip(truth).filter(near).count() as f64;
            self.all += truth.len() as f64;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.near / self.all
    }

    fn state(&self) -> Vec<f64> {
        vec![self.near, self.all]
    }

    fn restore(&mut self, state: &[f64]) -> MetricResult<()> {
        let [near, all] = state.try_into().unwrap_or_default();
        (self.near, self.all) = (near, all);
        Ok(())
    }
}

fn main() -> Result<()> {
    let (train, test) = data::friedman(1500, 0.1, 3).split(0.8);
    let model = Sequential::new().seed(1).dense(64).relu().dense(64).relu().dense(1);
    let run = Trainer::new(model, Mse::new(), Adam::new(0.005))
        .epochs(100)
        .metric(Within { bound: 1.0, near: 0.0, all: 0.0 })
        .metrics(["r2"])
        .validate(&test)
        .callback(EarlyStopping::on("val_within").patience(10))
        .fit(&train)?;
    println!("{run}");
    let within = run.evaluate(&test)?.number("within").unwrap_or(f64::NAN);
    let (_, best) = run.history().best("val_within", true).unwrap_or_default();
    println!("{:.1} % of predictions are within 1 of the truth", 100.0 * within);
    assert!(within > 0.9 && within == best, "the best weights are back");
    Ok(())
}
