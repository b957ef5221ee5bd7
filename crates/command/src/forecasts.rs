//! How good forecasts were, and how they are shown.

use kiln_learn::data::Dataset;
use kiln_learn::forecast::ForecastWindows;
use serde_json::{Value, json};

/// Figures of forecasts whose truth came.
pub struct ForecastFigures {
    /// Each by its name.
    pub numbers: Vec<(&'static str, f64)>,
    /// The mean error of each step of the horizon, in that of the naive forecast.
    pub by_step: Vec<f64>,
    /// The series from the best to the worst: what each goes by, its row, and its error.
    pub by_series: Vec<(String, usize, f64)>,
}

/// A mean that grows.
#[derive(Clone, Copy, Default)]
struct Mean(f64, f64);

impl Mean {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            *self = Mean(self.0 + value, self.1 + 1.0);
        }
    }

    fn value(self) -> f64 {
        if self.1 > 0.0 { self.0 / self.1 } else { f64::NAN }
    }
}

impl ForecastFigures {
    /// Of the outputs for windows, of which a series has one each; `units` are what the naive forecast of each series is off by.
    pub fn of(windows: &ForecastWindows, outputs: &[f32], units: &[Option<f64>]) -> ForecastFigures {
        let horizon = windows.plan().horizon.max(1);
        let [mut mase, mut off, mut smape, mut squares, mut covered, mut width] = [Mean::default(); 6];
        let mut by_step = vec![Mean::default(); horizon];
        let mut by_series = Vec::new();
        for (row, outputs) in outputs.chunks(horizon).enumerate() {
            let own = windows.row(row);
            let unit = units.get(windows.place(row).0).copied().flatten();
            let mut of_series = Mean::default();
            for (step, output) in outputs.iter().enumerate().filter(|(step, _)| own.truth(*step).is_finite()) {
                let (number, truth) = (own.number(step, f64::from(*output)), own.truth(step));
                let error = (number - truth).abs();
                off.add(error);
                squares.add(error * error);
                smape.add(if error == 0.0 { 0.0 } else { 2.0 * error / (number.abs() + truth.abs()) });
                if let Some(unit) = unit {
                    of_series.add(error / unit);
                    by_step[step].add(error / unit);
                }
                if let Some([low, high]) = own.bounds(step, f64::from(*output)) {
                    covered.add(f64::from(u8::from((low..=high).contains(&truth))));
                    width.add((high - low) / unit.unwrap_or(f64::NAN));
                }
            }
            mase.add(of_series.value());
            by_series.push((own.series().key.join(", "), row, of_series.value()));
        }
        by_series.sort_by(|a, b| a.2.total_cmp(&b.2));
        let mut numbers = vec![
            ("MASE", mase.value()),
            ("sMAPE", smape.value()),
            ("MAE", off.value()),
            ("RMSE", squares.value().sqrt()),
        ];
        if covered.1 > 0.0 {
            numbers.extend([("coverage", covered.value()), ("width", width.value())]);
        }
        ForecastFigures { numbers, by_step: by_step.into_iter().map(Mean::value).collect(), by_series }
    }

    /// In a line.
    pub fn line(&self) -> String {
        let one = |(name, number): &(&str, f64)| format!("{name} {number:.4}");
        self.numbers.iter().map(one).collect::<Vec<_>>().join("  ")
    }

    /// As JSON: numbers by name, and those of steps and series.
    pub fn json(&self) -> Value {
        let mut said = json!({});
        for (name, number) in &self.numbers {
            said[*name] = (*number).into();
        }
        said["by_step"] = json!(self.by_step);
        let each = self.by_series.iter().map(|(key, _, error)| json!({ "series": key, "MASE": error }));
        said["by_series"] = each.collect();
        said
    }
}

/// The outputs of the seasonal naive forecast: nothing is added to the value a season before.
pub fn naive(windows: &ForecastWindows) -> Vec<f32> {
    vec![0.0; windows.len() * windows.plan().horizon]
}
