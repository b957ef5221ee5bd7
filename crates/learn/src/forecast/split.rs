//! Which origins of series are learned from, which are held out in turn, and which are for the test: rolling origins, so that nothing is judged by
//! what came before what it learned from.

use kiln_map::counted;

use super::{ForecastPreparation, ForecastWindows, NaiveScale, PreparedSeries, SeriesRow};
use crate::{Error, Result};

/// Rows of series for a selection: which there are, the folds, of which the latest comes first, and the last window of each series for the test.
///
/// The last horizon of a series is its test. Before it, blocks of origins a horizon long are held out in turn; what is learned from for one of them
/// ends before its first origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Backtest {
    /// The series and the origin of each row.
    pub rows: Vec<(usize, usize)>,
    /// Of each fold, by their places in `rows`, those that are learned from and those that are held out.
    pub folds: Vec<(Vec<usize>, Vec<usize>)>,
    /// The series and the origin of each row of the test.
    pub test: Vec<(usize, usize)>,
    /// How many series are too short for any of it.
    pub short: usize,
}

/// How many blocks are held out at most.
const FOLDS: usize = 4;

/// A fold that learns from fewer rows than this says little.
const FEW: usize = 20;

/// About how many rows of a block are held out at most.
const HELD: usize = 600;

impl Backtest {
    /// Of series of these lengths: windows of the past and a horizon, of which `most` rows are learned from at most.
    ///
    /// # Errors
    /// Where the series are too short to be learned from, held out and tested with.
    pub fn new(lengths: &[usize], plan: &ForecastPreparation, most: usize) -> Result<Backtest> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let (horizon, window) = (plan.horizon, plan.window);
        for least in [window, plan.period().max(2)] {
            for folds in (1..=FOLDS).rev() {
                let split = Backtest::of(lengths, horizon, least, folds, most);
                let fewest = split.folds.iter().map(|(train, _)| train.len()).min().unwrap_or(0);
                if fewest >= FEW {
                    return Ok(split);
                }
            }
        }
        let least = 4 * horizon + plan.period().max(2) + FEW;
        Err(Error::Preparation(format!(
            "the longest series has {}, too few to forecast {}: some are learned from, some held out, the last {horizon} tested with, \
             which takes about {least}; a shorter horizon takes fewer",
            counted(longest, "step"),
            counted(horizon, "step"),
        )))
    }

    fn of(lengths: &[usize], horizon: usize, least: usize, folds: usize, most: usize) -> Backtest {
        // Origins count from the last that may be learned from, whose targets end where the test begins.
        let last = |length: usize| length.checked_sub(2 * horizon).filter(|last| *last >= least);
        let of_series: Vec<(usize, usize)> = lengths
            .iter()
            .enumerate()
            .filter_map(|(series, &length)| Some((series, last(length)?)))
            .collect();
        let all: usize = of_series.iter().map(|(_, last)| last - least + 1).sum();
        let stride = all.div_ceil(most.max(1)).max(1);
        let each = (HELD / of_series.len().max(1)).clamp(1, horizon);
        let held_stride = horizon.div_ceil(each);
        // Origins of one moment stand together, the latest last.
        let mut places: Vec<(usize, usize)> = Vec::new();
        for &(series, last) in &of_series {
            let is_taken = |back: &usize| {
                let is_held = *back < folds * horizon && back % horizon % held_stride == 0;
                back % stride == 0 || is_held
            };
            places.extend((0..=last - least).filter(is_taken).map(|back| (back, series)));
        }
        places.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let lasts: std::collections::HashMap<usize, usize> = of_series.iter().copied().collect();
        let rows: Vec<(usize, usize)> = places
            .iter()
            .map(|&(back, series)| (series, lasts.get(&series).map_or(0, |last| last - back)))
            .collect();
        let fold = |block: usize| {
            let blocks = block * horizon..(block + 1) * horizon;
            // The targets of what is learned from end before the first origin that is held out.
            let until = blocks.end - 1 + horizon;
            let of = |is: &dyn Fn(usize) -> bool| -> Vec<usize> {
                (0..places.len()).filter(|&row| is(places[row].0)).collect()
            };
            let train = of(&|back| back >= until);
            let held = of(&|back| blocks.contains(&back) && back % horizon % held_stride == 0);
            (train, held)
        };
        Backtest {
            rows,
            folds: (0..folds).map(fold).collect(),
            test: of_series.iter().map(|&(series, last)| (series, last + horizon)).collect(),
            short: lengths.len() - of_series.len(),
        }
    }
}

/// What decides between forecasts: their mean absolute error in that of the naive forecast, on the rows that were held out.
pub struct ForecastScore {
    /// Of each row what is needed to judge outputs; nothing of those that were never held out.
    rows: Vec<Option<JudgedRow>>,
}

/// What outputs of a row mean, and the truth.
struct JudgedRow {
    /// For each step the number at an output of 0 as it is learned, and the truth.
    steps: Vec<(f64, f64)>,
    scale: f64,
    log: bool,
    /// What the naive forecast is off by.
    unit: f64,
}

impl ForecastScore {
    /// Of windows of series, of which these rows are held out; `units` are what the naive forecast of each series is off by.
    pub fn new(
        windows: &ForecastWindows,
        held: impl IntoIterator<Item = usize>,
        units: &[Option<NaiveScale>],
    ) -> ForecastScore {
        let mut rows: Vec<Option<JudgedRow>> = Vec::new();
        for row in held {
            let unit = units.get(windows.place(row).0).copied().flatten();
            if rows.len() <= row {
                rows.resize_with(row + 1, || None);
            }
            rows[row] = unit.map(|unit| windows.row(row).judged(unit.distance));
        }
        ForecastScore { rows }
    }

    /// The mean over rows and steps that have a truth.
    pub fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        let width = outputs.len() / rows.len().max(1);
        let (mut sum, mut count) = (0.0, 0.0);
        for (outputs, row) in outputs.chunks(width.max(1)).zip(rows) {
            let Some(Some(own)) = self.rows.get(*row) else { continue };
            for (&(base, truth), output) in
                own.steps.iter().zip(outputs).filter(|((_, truth), _)| truth.is_finite())
            {
                let value = base + own.scale * f64::from(*output);
                let number = if own.log { libm::exp(value.min(700.0)) } else { value };
                (sum, count) = (sum + (number - truth).abs() / own.unit, count + 1.0);
            }
        }
        sum / f64::max(count, 1.0)
    }
}

impl SeriesRow<'_> {
    fn judged(&self, unit: f64) -> JudgedRow {
        let (scale, log) = self.unit();
        JudgedRow {
            steps: self.steps().map(|step| (self.base(step), self.truth(step))).collect(),
            scale,
            log,
            unit,
        }
    }
}

/// The lengths of series.
pub fn lengths(series: &[PreparedSeries]) -> Vec<usize> {
    series.iter().map(|own| own.values.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Frequency;

    fn plan(horizon: usize, window: usize, period: usize) -> ForecastPreparation {
        ForecastPreparation {
            window,
            periods: vec![period],
            ..ForecastPreparation::new("y", "t", Frequency::Numbers { every: 1.0, phase: 0.0 }, horizon)
        }
    }

    #[test]
    fn what_is_learned_from_ends_before_what_is_held_out_and_all_before_the_test() {
        for (lengths, horizon, window, period, most) in [
            (vec![144], 12, 24, 12, 10_000),
            (vec![60, 200, 31], 5, 14, 7, 10_000),
            (vec![1000; 40], 28, 48, 7, 2_000),
            (vec![90], 10, 20, 1, 10_000),
        ] {
            let split = Backtest::new(&lengths, &plan(horizon, window, period), most).unwrap();
            assert!(!split.folds.is_empty() && !split.test.is_empty());
            for &(series, origin) in &split.test {
                assert_eq!(origin + horizon, lengths[series]);
            }
            for (train, held) in &split.folds {
                assert!(!held.is_empty());
                for &row in held {
                    let (series, origin) = split.rows[row];
                    assert!(origin + horizon <= lengths[series] - horizon);
                    let own = train.iter().map(|&row| split.rows[row]).filter(|(other, _)| *other == series);
                    for (_, learned) in own {
                        assert!(learned + horizon <= origin, "{learned} is learned from for {origin}");
                    }
                }
            }
        }
    }

    #[test]
    fn series_that_are_too_short_are_refused_with_what_it_takes() {
        let error = Backtest::new(&[30], &plan(10, 12, 1), 1000).unwrap_err().to_string();
        assert!(error.contains("30 steps") && error.contains("shorter horizon"), "{error}");
    }
}
