//! How good forecasts are: by the size of errors, beside those of a naive forecast, and by what bands promise.

use kiln_map::counted;
use serde::Serialize;

use super::baseline::SeriesForecast;
use crate::{Error, Result};

/// How far a series is from a season before it, on average: what errors of forecasts are divided by. It is told from the values before the
/// forecast alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NaiveScale {
    /// The mean distance.
    pub distance: f64,
    /// The root of the mean squared distance.
    pub deviation: f64,
}

impl NaiveScale {
    /// Of the values before a forecast, a period apart; of ones that are shorter than their season, one step apart. None where they never
    /// change, and nothing can be compared.
    pub fn of(history: &[f64], period: usize) -> Option<NaiveScale> {
        let period = if history.len() > period { period.max(1) } else { 1 };
        let apart = history.iter().zip(history.iter().skip(period)).map(|(before, value)| value - before);
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for apart in apart.filter(|apart| apart.is_finite()) {
            sum += apart.abs();
            squares += apart * apart;
            count += 1.0;
        }
        (sum > 0.0).then(|| NaiveScale { distance: sum / count, deviation: (squares / count).sqrt() })
    }
}

/// The loss of a quantile that was foreseen: what lies above it costs its share, what lies below it the rest.
pub fn quantile_loss(actual: f64, foreseen: f64, share: f64) -> f64 {
    let apart = actual - foreseen;
    if apart >= 0.0 { share * apart } else { (share - 1.0) * apart }
}

/// What forecasts came to. Of series, MASE and RMSSE are means over forecasts whose series changes at all; what is missing isn't scored.
///
/// ```
/// use kiln::forecast::{ForecastErrors, NaiveScale, SeriesForecast};
///
/// let history = [1.0, 2.0, 4.0, 5.0];
/// let forecast = SeriesForecast { points: vec![5.0, 5.0], quantiles: vec![vec![4.0, 3.0], vec![6.0, 7.0]] };
/// let mut errors = ForecastErrors::new(&[0.1, 0.9])?;
/// errors.add(&[6.0, 8.0], &forecast, NaiveScale::of(&history, 1))?;
/// let measures = errors.measures();
/// assert_eq!((measures.mae, measures.mase, measures.coverage), (2.0, 1.5, Some(0.5)));
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ForecastErrors {
    shares: Vec<f64>,
    forecasts: usize,
    scaled: usize,
    count: f64,
    absolute: f64,
    squares: f64,
    symmetric: f64,
    mase: f64,
    rmsse: f64,
    /// Of all values that were to be foreseen, their size.
    size: f64,
    losses: f64,
    inside: f64,
    width: f64,
    by_step: Vec<StepErrors>,
}

/// What one step of the horizon came to.
#[derive(Clone, Copy, Debug, Default)]
struct StepErrors {
    count: f64,
    absolute: f64,
    scaled: f64,
    of_scaled: f64,
    inside: f64,
}

/// What forecasts came to, in figures; `NaN` where nothing could be measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecastMeasures {
    /// How many forecasts, of a series from an origin each.
    pub forecasts: usize,
    /// How many values were foreseen.
    pub values: usize,
    /// The mean absolute error beside that of a seasonal naive forecast one season ahead in the history.
    pub mase: f64,
    /// The same of root mean squared errors.
    pub rmsse: f64,
    /// The symmetric mean absolute percentage error, from 0 to 200.
    pub smape: f64,
    /// The mean absolute error.
    pub mae: f64,
    /// The root mean squared error.
    pub rmse: f64,
    /// The mean quantile loss over all shares; none where there are no quantiles.
    pub quantile_loss: Option<f64>,
    /// Twice the quantile losses of all values as a share of their size, the mean over all shares.
    pub weighted_quantile_loss: Option<f64>,
    /// The share of values between the lowest and the highest quantile.
    pub coverage: Option<f64>,
    /// How far those are apart, on average.
    pub width: Option<f64>,
    /// Each step of the horizon.
    pub steps: Vec<StepMeasures>,
}

/// What one step of the horizon came to, in figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepMeasures {
    /// The mean absolute error.
    pub mae: f64,
    /// The mean of absolute errors beside those of a seasonal naive forecast in the history.
    pub mase: f64,
    /// The share of values between the lowest and the highest quantile.
    pub coverage: Option<f64>,
}

impl ForecastErrors {
    /// Of forecasts with quantiles of these shares, the least first; with none, of points alone.
    ///
    /// # Errors
    /// Where shares aren't between 0 and 1, or don't rise.
    pub fn new(shares: &[f64]) -> Result<ForecastErrors> {
        let rise = shares.windows(2).all(|pair| pair[0] < pair[1]);
        if !rise || shares.iter().any(|share| !(*share > 0.0 && *share < 1.0)) {
            return Err(Error::Training(format!(
                "shares of quantiles rise between 0 and 1, and these are {shares:?}"
            )));
        }
        Ok(ForecastErrors {
            shares: shares.to_vec(),
            forecasts: 0,
            scaled: 0,
            count: 0.0,
            absolute: 0.0,
            squares: 0.0,
            symmetric: 0.0,
            mase: 0.0,
            rmsse: 0.0,
            size: 0.0,
            losses: 0.0,
            inside: 0.0,
            width: 0.0,
            by_step: Vec::new(),
        })
    }

    /// Adds the forecast of one series from one origin, beside what came; what is missing there is `NaN`.
    ///
    /// # Errors
    /// Where the forecast has other steps or shares.
    pub fn add(
        &mut self,
        actual: &[f64],
        forecast: &SeriesForecast,
        scale: Option<NaiveScale>,
    ) -> Result<()> {
        let steps = actual.len();
        let fits = forecast.points.len() == steps
            && forecast.quantiles.len() == self.shares.len()
            && forecast.quantiles.iter().all(|own| own.len() == steps);
        if !fits {
            return Err(Error::Training(format!(
                "a forecast of {} with {} is measured by {} and {}",
                counted(forecast.points.len(), "step"),
                counted(forecast.quantiles.len(), "quantile"),
                counted(steps, "value"),
                counted(self.shares.len(), "share")
            )));
        }
        if self.by_step.len() < steps {
            self.by_step.resize(steps, StepErrors::default());
        }
        let (mut absolute, mut squares, mut count) = (0.0, 0.0, 0.0);
        for (step, (actual, point)) in actual.iter().zip(&forecast.points).enumerate() {
            if !actual.is_finite() {
                continue;
            }
            let error = (actual - point).abs();
            absolute += error;
            squares += error * error;
            count += 1.0;
            let both = actual.abs() + point.abs();
            self.symmetric += if both > 0.0 { 200.0 * error / both } else { 0.0 };
            self.size += actual.abs();
            let own = &mut self.by_step[step];
            own.count += 1.0;
            own.absolute += error;
            if let Some(scale) = scale {
                own.scaled += error / scale.distance;
                own.of_scaled += 1.0;
            }
            let foreseen = forecast.quantiles.iter().zip(&self.shares);
            self.losses +=
                foreseen.map(|(own, share)| quantile_loss(*actual, own[step], *share)).sum::<f64>();
            if let (Some(low), Some(high)) = (forecast.quantiles.first(), forecast.quantiles.last()) {
                let is_inside = f64::from(u8::from(low[step] <= *actual && *actual <= high[step]));
                own.inside += is_inside;
                self.inside += is_inside;
                self.width += high[step] - low[step];
            }
        }
        self.forecasts += usize::from(count > 0.0);
        self.absolute += absolute;
        self.squares += squares;
        self.count += count;
        if let Some(scale) = scale.filter(|_| count > 0.0) {
            self.scaled += 1;
            self.mase += absolute / count / scale.distance;
            self.rmsse += (squares / count).sqrt() / scale.deviation;
        }
        Ok(())
    }

    /// The figures so far.
    pub fn measures(&self) -> ForecastMeasures {
        let banded = (self.shares.len() > 1).then_some(self.count);
        let shares = self.shares.len() as f64;
        let step = |own: &StepErrors| StepMeasures {
            mae: own.absolute / own.count,
            mase: own.scaled / own.of_scaled,
            coverage: banded.map(|_| own.inside / own.count),
        };
        ForecastMeasures {
            forecasts: self.forecasts,
            values: self.count as usize,
            mase: self.mase / self.scaled as f64,
            rmsse: self.rmsse / self.scaled as f64,
            smape: self.symmetric / self.count,
            mae: self.absolute / self.count,
            rmse: (self.squares / self.count).sqrt(),
            quantile_loss: (shares > 0.0).then(|| self.losses / shares / self.count),
            weighted_quantile_loss: (shares > 0.0).then(|| 2.0 * self.losses / shares / self.size),
            coverage: banded.map(|count| self.inside / count),
            width: banded.map(|count| self.width / count),
            steps: self.by_step.iter().map(step).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_of_their_definitions() {
        let history = [10.0, 20.0, 12.0, 26.0, f64::NAN, 22.0];
        let scale = NaiveScale::of(&history, 2).unwrap();
        // 12 − 10, 26 − 20, 22 − 26.
        assert_eq!(scale.distance, 4.0);
        assert!((scale.deviation - (56.0f64 / 3.0).sqrt()).abs() < 1e-12);
        let shares = [0.1, 0.5, 0.9];
        let mut errors = ForecastErrors::new(&shares).unwrap();
        let points = vec![10.0, 30.0, 5.0];
        let quantiles = vec![vec![8.0, 20.0, 1.0], points.clone(), vec![13.0, 33.0, 9.0]];
        let actual = [12.0, 34.0, f64::NAN];
        errors.add(&actual, &SeriesForecast { points, quantiles }, Some(scale)).unwrap();
        let never = SeriesForecast { points: vec![0.0; 3], quantiles: vec![vec![0.0; 3]; 3] };
        errors.add(&[0.0, 0.0, 0.0], &never, NaiveScale::of(&[1.0; 9], 1)).unwrap();
        let found = errors.measures();
        assert_eq!((found.forecasts, found.values), (2, 5));
        assert_eq!((found.mae, found.mase), (6.0 / 5.0, 3.0 / 4.0));
        assert!((found.rmse - 2.0).abs() < 1e-12);
        assert!((found.rmsse - 10f64.sqrt() / scale.deviation).abs() < 1e-12);
        assert!((found.smape - (200.0 * 2.0 / 22.0 + 200.0 * 4.0 / 64.0) / 5.0).abs() < 1e-12);
        let losses = [0.1 * 4.0, 0.5 * 2.0, 0.1 * 1.0, 0.1 * 14.0, 0.5 * 4.0, 0.9 * 1.0].iter().sum::<f64>();
        assert!((found.quantile_loss.unwrap() - losses / 15.0).abs() < 1e-12);
        assert!((found.weighted_quantile_loss.unwrap() - 2.0 * losses / 3.0 / 46.0).abs() < 1e-12);
        assert_eq!(found.coverage, Some(4.0 / 5.0));
        assert!((found.width.unwrap() - 18.0 / 5.0).abs() < 1e-12);
        assert_eq!(found.steps.len(), 3);
        assert_eq!((found.steps[1].mae, found.steps[1].mase, found.steps[1].coverage), (2.0, 1.0, Some(0.5)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(ForecastErrors::new(&[0.9, 0.1]).is_err() && ForecastErrors::new(&[0.0]).is_err());
        let mut errors = ForecastErrors::new(&[]).unwrap();
        let forecast = SeriesForecast { points: vec![1.0], quantiles: Vec::new() };
        assert!(errors.add(&[1.0, 2.0], &forecast, None).unwrap_err().to_string().contains("1 step"));
        errors.add(&[1.0], &forecast, None).unwrap();
        assert!(errors.measures().mase.is_nan() && errors.measures().coverage.is_none());
        assert!(NaiveScale::of(&[3.0; 5], 1).is_none() && NaiveScale::of(&[], 1).is_none());
    }
}
