//! What a forecast must beat: the last value, the last season, the line from first to last, the mean, exponential smoothing; and of demand that
//! comes now and then its smoothed size and probability.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ets::{Ets, at_share};
use super::normal::quantile;
use super::series::filled;

/// What is foreseen of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesForecast {
    /// What is expected of each step.
    pub points: Vec<f64>,
    /// What each step is below with each of some shares: `[share][step]`.
    pub quantiles: Vec<Vec<f64>>,
}

/// A way to foresee a series that needs no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The last value goes on.
    Naive,
    /// The last season comes again.
    SeasonalNaive,
    /// The line from the first to the last value goes on.
    Drift,
    /// The mean of all values.
    Mean,
    /// Exponential smoothing ([`Ets`]).
    ExponentialSmoothing,
    /// The probability of a demand times its size, each smoothed at its own pace (Teunter, Syntetos and Babai).
    Intermittent,
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Baseline::Naive => "naive",
            Baseline::SeasonalNaive => "seasonal naive",
            Baseline::Drift => "drift",
            Baseline::Mean => "mean",
            Baseline::ExponentialSmoothing => "exponential smoothing",
            Baseline::Intermittent => "intermittent demand",
        })
    }
}

impl Baseline {
    /// All of them.
    pub const ALL: [Baseline; 6] = [
        Baseline::Naive,
        Baseline::SeasonalNaive,
        Baseline::Drift,
        Baseline::Mean,
        Baseline::ExponentialSmoothing,
        Baseline::Intermittent,
    ];

    /// The next steps of a series; missing values are `NaN`. Without a period the season of [`Baseline::SeasonalNaive`] is one step; where exponential
    /// smoothing has too few values the last one goes on. Zeros where there is no value at all.
    ///
    /// ```
    /// use kiln::forecast::Baseline;
    ///
    /// let sold = [1.0, 5.0, 2.0, 2.0, 6.0, 3.0];
    /// assert_eq!(Baseline::SeasonalNaive.forecast(&sold, Some(3), 4, &[]).points, [2.0, 6.0, 3.0, 2.0]);
    /// let bands = Baseline::Naive.forecast(&sold, None, 2, &[0.1, 0.9]).quantiles;
    /// assert!(bands[0][0] < 3.0 && 3.0 < bands[1][0] && bands[1][0] < bands[1][1]);
    /// ```
    pub fn forecast(
        self,
        values: &[f64],
        period: Option<usize>,
        horizon: usize,
        shares: &[f64],
    ) -> SeriesForecast {
        let first = values.iter().position(|value| value.is_finite());
        let Some(values) = first.and_then(|first| values.get(first..)) else {
            let zeros = vec![0.0; horizon];
            return SeriesForecast { quantiles: vec![zeros.clone(); shares.len()], points: zeros };
        };
        match self {
            Baseline::Naive => seasonal(values, 1, horizon, shares),
            Baseline::SeasonalNaive => seasonal(values, period.unwrap_or(1), horizon, shares),
            Baseline::Drift => drift(values, horizon, shares),
            Baseline::Mean => mean(values, horizon, shares),
            Baseline::ExponentialSmoothing => match Ets::select(values, period) {
                Some(ets) => {
                    SeriesForecast { points: ets.points(horizon), quantiles: ets.quantiles(shares, horizon) }
                }
                None => seasonal(values, 1, horizon, shares),
            },
            Baseline::Intermittent => intermittent(values, horizon, shares),
        }
    }
}

/// Whether a series is demand that comes now and then: nothing is below zero, and from one demand to the next it takes more than 1.32 steps
/// (the bound of Syntetos and Boylan).
pub fn is_intermittent(values: &[f64]) -> bool {
    let seen = || values.iter().filter(|value| value.is_finite());
    let demands = seen().filter(|value| **value > 0.0).count();
    demands > 0 && seen().all(|value| *value >= 0.0) && seen().count() as f64 > 1.32 * demands as f64
}

/// Points with a normal spread around each.
fn spread(points: Vec<f64>, shares: &[f64], deviation: impl Fn(usize) -> f64) -> SeriesForecast {
    let of_share = |share: &f64| {
        let far = quantile(*share);
        points.iter().enumerate().map(|(step, point)| point + far * deviation(step)).collect()
    };
    SeriesForecast { quantiles: shares.iter().map(of_share).collect(), points }
}

fn seasonal(values: &[f64], period: usize, horizon: usize, shares: &[f64]) -> SeriesForecast {
    let whole = filled(values, period);
    // A series that is shorter than its season repeats itself.
    let period = period.clamp(1, whole.len());
    let last = &whole[whole.len() - period..];
    let points = (0..horizon).map(|step| last[step % period]).collect();
    let apart = values.iter().zip(values.iter().skip(period)).map(|(before, value)| value - before);
    let square = mean_of(apart.map(|apart| apart * apart));
    spread(points, shares, |step| (square * (step / period + 1) as f64).sqrt())
}

fn drift(values: &[f64], horizon: usize, shares: &[f64]) -> SeriesForecast {
    let last = values.iter().rposition(|value| value.is_finite()).unwrap_or(0);
    let rise = if last > 0 { (values[last] - values[0]) / last as f64 } else { 0.0 };
    let behind = values.len() - 1 - last;
    let points = (1..=horizon).map(|step| values[last] + rise * (step + behind) as f64).collect();
    let apart = values.windows(2).map(|pair| pair[1] - pair[0] - rise);
    let square = mean_of(apart.map(|apart| apart * apart));
    spread(points, shares, |step| {
        let step = (step + 1 + behind) as f64;
        (square * step * (1.0 + step / last.max(1) as f64)).sqrt()
    })
}

fn mean(values: &[f64], horizon: usize, shares: &[f64]) -> SeriesForecast {
    let mean = mean_of(values.iter().copied());
    let count = values.iter().filter(|value| value.is_finite()).count() as f64;
    let square = mean_of(values.iter().map(|value| (value - mean) * (value - mean)));
    let deviation = (square * (count / (count - 1.0).max(1.0)) * (1.0 + 1.0 / count.max(1.0))).sqrt();
    spread(vec![mean; horizon], shares, |_| deviation)
}

/// The mean of those that are numbers; 0 of none.
fn mean_of(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// How fast sizes and probabilities may follow.
const PACES: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.3];

fn intermittent(values: &[f64], horizon: usize, shares: &[f64]) -> SeriesForecast {
    let paces = PACES.iter().flat_map(|size| PACES.iter().map(move |often| (*size, *often)));
    let smoothed = paces.map(|(size, often)| smoothed(values, size, often));
    let best = smoothed.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0.0, 0.0));
    let (_, size, often) = best;
    let mut sizes: Vec<f64> =
        values.iter().copied().filter(|value| *value != 0.0 && value.is_finite()).collect();
    sizes.sort_by(f64::total_cmp);
    let typical = mean_of(sizes.iter().copied());
    let of_share = |share: &f64| {
        let above = share - (1.0 - often);
        match above > 0.0 && typical != 0.0 {
            true => vec![at_share(&sizes, above / often) * size / typical; horizon],
            false => vec![0.0; horizon],
        }
    };
    SeriesForecast { points: vec![often * size; horizon], quantiles: shares.iter().map(of_share).collect() }
}

/// The squared error of one step ahead, and the size and the probability of a demand behind the last value.
fn smoothed(values: &[f64], pace_of_size: f64, pace_of_often: f64) -> (f64, f64, f64) {
    let is_demand = |value: &f64| value.is_finite() && *value != 0.0;
    let mut size = values.iter().copied().find(is_demand).unwrap_or(0.0);
    let mut often =
        mean_of(
            values.iter().map(|value| {
                if value.is_finite() { f64::from(u8::from(is_demand(value))) } else { f64::NAN }
            }),
        );
    let mut squares = 0.0;
    for value in values.iter().filter(|value| value.is_finite()) {
        squares += (value - often * size) * (value - often * size);
        if is_demand(value) {
            size += pace_of_size * (value - size);
        }
        often += pace_of_often * (f64::from(u8::from(is_demand(value))) - often);
    }
    (squares, size, often)
}

#[cfg(test)]
mod tests {
    use kiln_data::Rng;

    use super::*;

    #[test]
    fn points_are_those_of_the_textbook() {
        let values = [2.0, 4.0, f64::NAN, 8.0];
        let points = |baseline: Baseline, period| baseline.forecast(&values, period, 3, &[]).points;
        assert_eq!(points(Baseline::Naive, None), [8.0, 8.0, 8.0]);
        assert_eq!(points(Baseline::SeasonalNaive, Some(2)), [2.0, 8.0, 2.0]);
        assert_eq!(points(Baseline::Drift, None), [10.0, 12.0, 14.0]);
        assert_eq!(points(Baseline::Mean, None), [14.0 / 3.0; 3]);
        assert_eq!(points(Baseline::ExponentialSmoothing, None), [8.0; 3], "too few values to smooth");
        assert_eq!(
            Baseline::SeasonalNaive.forecast(&values, Some(9), 5, &[]).points,
            [2.0, 4.0, 4.0, 8.0, 2.0]
        );
        assert_eq!(Baseline::Drift.forecast(&[3.0, f64::NAN], None, 2, &[]).points, [3.0, 3.0]);
        for baseline in Baseline::ALL {
            let none = baseline.forecast(&[f64::NAN], Some(2), 2, &[0.5]);
            assert_eq!((none.points, none.quantiles), (vec![0.0; 2], vec![vec![0.0; 2]]), "{baseline}");
        }
    }

    #[test]
    fn bands_of_a_walk_cover_what_they_say() {
        const HORIZON: usize = 8;
        let (mut inside, mut all) = ([0; 3], 0);
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut at = 0.0;
            let walk: Vec<f64> = (0..120 + HORIZON)
                .map(|_| {
                    at += rng.normal();
                    at
                })
                .collect();
            let (history, future) = walk.split_at(120);
            let baselines = [Baseline::Naive, Baseline::Drift, Baseline::ExponentialSmoothing];
            for (inside, baseline) in inside.iter_mut().zip(baselines) {
                let bands = baseline.forecast(history, None, HORIZON, &[0.1, 0.9]).quantiles;
                *inside += (0..HORIZON)
                    .filter(|&step| bands[0][step] <= future[step] && future[step] <= bands[1][step])
                    .count();
            }
            all += HORIZON;
        }
        for inside in inside {
            let share = inside as f64 / all as f64;
            // Steps of one walk are alike, so that chance is of 300 walks.
            assert!((share - 0.8).abs() < 3.0 * (0.8f64 * 0.2 / 300.0).sqrt(), "{share}");
        }
    }

    #[test]
    fn demand_that_comes_now_and_then_is_smoothed() {
        let mut rng = Rng::new(4);
        let demand: Vec<f64> =
            (0..400).map(|_| if rng.uniform() < 0.25 { 3.0 + rng.below(5) as f64 } else { 0.0 }).collect();
        assert!(is_intermittent(&demand) && !is_intermittent(&[1.0; 20]) && !is_intermittent(&[0.0; 20]));
        let next = Baseline::Intermittent.forecast(&demand, None, 2, &[0.5, 0.9]);
        assert!((next.points[0] - 0.25 * 5.0).abs() < 0.7, "{next:?}");
        assert_eq!(next.quantiles[0][0], 0.0);
        assert!((3.0..8.0).contains(&next.quantiles[1][0]));
    }
}
