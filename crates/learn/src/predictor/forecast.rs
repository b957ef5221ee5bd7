//! What comes next in series.

use std::sync::Arc;

use kiln_data::Table;
use kiln_map::counted;

use crate::forecast::{ForecastPreparation, ForecastWindows, PreparedSeries, SeriesSet};
use crate::{Error, Predictor, Preparation, Result};

/// What comes next in a series.
#[derive(Clone, Debug, PartialEq)]
pub struct ForecastSteps {
    /// What the series goes by: a word for each column of its key.
    pub key: Vec<String>,
    /// The time of each step: of dates the seconds since 1970 in UTC.
    pub times: Vec<f64>,
    /// The same as text.
    pub steps: Vec<String>,
    /// What is forecast of each.
    pub numbers: Vec<f64>,
    /// The bounds of each, where some are known.
    pub bounds: Vec<[f64; 2]>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

impl Predictor {
    /// The next steps of each series of a table, from the end of its values on. Columns whose future is known are read from the rows behind the last
    /// value.
    ///
    /// ```no_run
    /// use kiln::Predictor;
    /// use kiln::data::Table;
    ///
    /// let predictor = Predictor::load("sales.kiln")?;
    /// for series in predictor.forecast(&Table::open("sales.csv")?)? {
    ///     for (step, number) in series.steps.iter().zip(&series.numbers) {
    ///         println!("{} {step} {number:.1}", series.key.join(", "));
    ///     }
    /// }
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model doesn't forecast, or the table lacks columns or says what it can't.
    pub fn forecast(&self, table: &Table) -> Result<Vec<ForecastSteps>> {
        let plan = self.plan()?;
        let (set, series) = plan.series(table)?;
        self.forecast_series(&set, series)
    }

    /// The next steps of series that are there already.
    ///
    /// # Errors
    /// As [`Predictor::forecast`].
    pub fn forecast_series(
        &self,
        set: &SeriesSet,
        series: Vec<PreparedSeries>,
    ) -> Result<Vec<ForecastSteps>> {
        let plan = self.plan()?;
        let ends: Vec<(usize, usize)> = series.iter().map(|own| own.values.len()).enumerate().collect();
        let windows = ForecastWindows::new(Arc::new(plan.clone()), Arc::new(series), ends);
        let outputs = windows.mixed(self.0.model.predict(&windows)?.outputs());
        let one = |(row, outputs): (usize, &[f32])| {
            let own = windows.row(row);
            let series = own.series();
            let end = series.first.saturating_add(series.values.len() as i64);
            let times: Vec<f64> =
                (0..plan.horizon).map(|step| set.frequency.begin(end.saturating_add(step as i64))).collect();
            let each = || outputs.iter().map(|output| f64::from(*output)).enumerate();
            ForecastSteps {
                key: series.key.clone(),
                steps: times.iter().map(|time| set.frequency.text(*time)).collect(),
                times,
                numbers: each().map(|(step, output)| own.number(step, output)).collect(),
                bounds: each().filter_map(|(step, output)| own.bounds(step, output)).collect(),
                notes: plan.notes_of(series),
            }
        };
        Ok(outputs.chunks(plan.horizon.max(1)).enumerate().map(one).collect())
    }

    /// How series become rows.
    fn plan(&self) -> Result<&ForecastPreparation> {
        let about = self.0.model.about();
        match &about.preparation {
            Preparation::Forecast(plan) => Ok(plan),
            Preparation::Unsaid
            | Preparation::Table(_)
            | Preparation::Images(_)
            | Preparation::Text(_)
            | Preparation::Tags(_)
            | Preparation::Pairs(_) => Err(Error::Preparation(format!(
                "{}, and forecasts no series",
                about.preparation.takes(&about.input)
            ))),
        }
    }
}

impl ForecastPreparation {
    /// What a person should know of a forecast of a series.
    fn notes_of(&self, series: &PreparedSeries) -> Vec<String> {
        let name = match series.key.is_empty() {
            true => "the series".to_string(),
            false => series.key.join(", "),
        };
        let mut notes = Vec::new();
        if series.values.len() < self.window {
            notes.push(format!(
                "{name} has {} of the {} that the model looks back: before them it is taken to have been what it was at first",
                series.values.len(),
                counted(self.window, "step")
            ));
        }
        if series.raised > 0 {
            notes.push(format!(
                "{} of {name} not above 0, and the model learned by logarithms: taken for the least above 0; where that is usual, train again \
                 with --target-scale as-is",
                counted(series.raised, "value")
            ));
        }
        let columns = self.known_columns();
        if !columns.is_empty() && series.foretold < self.horizon {
            notes.push(format!(
                "{name}: {} isn't told for {} of the {} next steps, and taken for usual there; add rows with it and without {}",
                columns.join(", "),
                self.horizon - series.foretold,
                self.horizon,
                self.target
            ));
        }
        notes
    }
}
