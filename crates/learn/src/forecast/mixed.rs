//! Forecasts of which a part needs no model: a share of exponential smoothing, fitted anew to each series, often helps where series are few.

use kiln_data::Dataset;
use serde::{Deserialize, Serialize};

use super::preparation::FARTHEST;
use super::{Baseline, ForecastWindows, each_series};

/// How much of a forecast is what needs no model; the rest is what the layers say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineShare {
    /// Which.
    pub baseline: Baseline,
    /// How much, from 0 to 1.
    pub share: f64,
}

/// Values before an origin that a baseline looks at, at most.
const REMEMBERED: usize = 500;

impl ForecastWindows {
    /// The outputs that say what a baseline says of these rows; zeros where it says nothing.
    pub fn outputs_of(&self, baseline: Baseline, rows: &[usize]) -> Vec<f32> {
        let plan = self.plan();
        let period = Some(plan.period()).filter(|period| *period > 1);
        let of_row = |at: usize| -> Vec<f32> {
            let own = self.row(rows[at]);
            let origin = self.place(rows[at]).1.min(own.series().values.len());
            let past = &own.series().values[origin.saturating_sub(REMEMBERED)..origin];
            let points = baseline.forecast(past, period, plan.horizon, &[]).points;
            let output = |step: usize| {
                // A point that has no logarithm is as low as a target can be, not without end.
                let output = points.get(step).map_or(0.0, |point| own.output(step, *point));
                if output.is_nan() { 0.0 } else { output.clamp(-FARTHEST, FARTHEST) as f32 }
            };
            (0..plan.horizon).map(output).collect()
        };
        each_series(rows.len(), of_row).concat()
    }

    /// The outputs of layers with the shares of what needs no model, as the preparation says.
    pub fn mixed(&self, outputs: &[f32]) -> Vec<f32> {
        let shares = &self.plan().baselines;
        let left = 1.0 - shares.iter().map(|own| own.share).sum::<f64>();
        let mut mixed: Vec<f32> = outputs.iter().map(|output| (left * f64::from(*output)) as f32).collect();
        let rows: Vec<usize> = (0..self.len()).collect();
        for BaselineShare { baseline, share } in shares {
            let said = self.outputs_of(*baseline, &rows);
            mixed.iter_mut().zip(said).for_each(|(mixed, said)| *mixed += (share * f64::from(said)) as f32);
        }
        mixed
    }
}
