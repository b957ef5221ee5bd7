//! How good forecasts were, and how they are shown.

use anyhow::Result;
use kiln_learn::data::Dataset;
use kiln_learn::forecast::{
    ForecastErrors, ForecastMeasures, ForecastPreparation, ForecastWindows, NaiveScale, SeriesForecast,
};
use serde_json::{Value, json};

/// Figures of forecasts whose truth came.
pub struct ForecastFigures {
    pub measures: ForecastMeasures,
    /// The series from the best to the worst: what each goes by, its row, and its error in that of the naive forecast.
    pub by_series: Vec<(String, usize, f64)>,
}

impl ForecastFigures {
    /// Of the outputs for windows, of which a series has one each; `units` are what the naive forecast of each series is off by.
    pub fn of(
        windows: &ForecastWindows,
        outputs: &[f32],
        units: &[Option<NaiveScale>],
    ) -> Result<ForecastFigures> {
        let plan = windows.plan();
        let shares: Vec<f64> = plan
            .bands
            .iter()
            .flat_map(|bands| [0.5 - bands.interval / 2.0, 0.5 + bands.interval / 2.0])
            .collect();
        let (mut all, mut by_series) = (ForecastErrors::new(&shares)?, Vec::new());
        for (row, outputs) in outputs.chunks(plan.horizon.max(1)).enumerate() {
            let own = windows.row(row);
            let unit = units.get(windows.place(row).0).copied().flatten();
            let truth: Vec<f64> = (0..outputs.len()).map(|step| own.truth(step)).collect();
            let each = || outputs.iter().map(|output| f64::from(*output)).enumerate();
            let bound = |side: usize| {
                each().filter_map(|(step, output)| Some(own.bounds(step, output)?[side])).collect()
            };
            let forecast = SeriesForecast {
                points: each().map(|(step, output)| own.number(step, output)).collect(),
                quantiles: (0..shares.len()).map(bound).collect(),
            };
            all.add(&truth, &forecast, unit)?;
            let mut alone = ForecastErrors::new(&shares)?;
            alone.add(&truth, &forecast, unit)?;
            by_series.push((own.series().key.join(", "), row, alone.measures().mase));
        }
        by_series.sort_by(|a, b| a.2.total_cmp(&b.2));
        Ok(ForecastFigures { measures: all.measures(), by_series })
    }

    /// Each by its name.
    pub fn numbers(&self) -> Vec<(&'static str, f64)> {
        let own = &self.measures;
        let mut numbers = vec![
            ("MASE", own.mase),
            ("RMSSE", own.rmsse),
            ("sMAPE", own.smape),
            ("MAE", own.mae),
            ("RMSE", own.rmse),
        ];
        let of_bounds =
            [("coverage", own.coverage), ("width", own.width), ("quantile loss", own.quantile_loss)];
        numbers.extend(of_bounds.into_iter().filter_map(|(name, number)| Some((name, number?))));
        numbers
    }

    /// In a line.
    pub fn line(&self) -> String {
        let one = |(name, number): &(&str, f64)| format!("{name} {number:.4}");
        self.numbers().iter().map(one).collect::<Vec<_>>().join("  ")
    }

    /// The numbers by name.
    pub fn json(&self) -> Value {
        let each = self.numbers().into_iter().map(|(name, number)| (name.replace(' ', "_"), number.into()));
        Value::Object(each.collect())
    }

    /// The numbers by name, and those of steps and series.
    pub fn whole_json(&self) -> Value {
        let mut said = self.json();
        said["by_step"] = json!(self.measures.steps);
        let each = self.by_series.iter().map(|(key, _, error)| json!({ "series": key, "MASE": error }));
        said["by_series"] = each.collect();
        said
    }
}

/// The outputs of the seasonal naive forecast: nothing is added to the value a season before.
pub fn naive(windows: &ForecastWindows) -> Vec<f32> {
    vec![0.0; windows.len() * windows.plan().horizon]
}

/// The same windows without bounds, for forecasts that have none.
pub fn plain(windows: &ForecastWindows) -> ForecastWindows {
    let plan = (**windows.plan()).clone();
    windows.with_plan(ForecastPreparation { bands: None, baselines: Vec::new(), ..plan })
}
