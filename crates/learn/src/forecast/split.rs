//! Which origins of series are learned from, which are held out in turn, and which are for the test: rolling origins, so that nothing is judged by
//! what came before what it learned from.

use kiln_map::counted;

use super::{ForecastPreparation, ForecastWindows, NaiveScale, PreparedSeries, SeriesRow};
use crate::{Error, Result};

/// Rows of series for a selection: which there are, the folds, of which the latest comes first, and the last window of each series for the test.
///
/// The last horizon of a series is its test. Before it, blocks of origins a horizon long are held out in turn, longer ones where that is few rows;
/// what is learned from for one of them ends before its first origin, by the calendar of all series where most end about
/// together, else by the steps before the end of each. Origins are left out after which most steps
/// have no value.
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

/// A block of fewer rows than this tells little of how large errors are.
const FEWEST_HELD: usize = 10;

/// About how many rows of a block are held out at most.
const HELD: usize = 600;

impl Backtest {
    /// Of these series: windows of the past and a horizon, of which `most` rows are learned from at most.
    ///
    /// # Errors
    /// Where the series are too short to be learned from, held out and tested with.
    pub fn new(series: &[PreparedSeries], plan: &ForecastPreparation, most: usize) -> Result<Backtest> {
        let longest = series.iter().map(|own| own.values.len()).max().unwrap_or(0);
        let (horizon, window) = (plan.horizon, plan.window);
        for least in [window, plan.period().max(2)] {
            for folds in (1..=FOLDS).rev() {
                let split = Backtest::of(series, plan, least, folds, most);
                let fewest = split
                    .folds
                    .iter()
                    .map(|(train, held)| if held.is_empty() { 0 } else { train.len() })
                    .min()
                    .unwrap_or(0);
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

    fn of(
        series: &[PreparedSeries],
        plan: &ForecastPreparation,
        least: usize,
        folds: usize,
        most: usize,
    ) -> Backtest {
        let horizon = plan.horizon;
        let last =
            |own: &PreparedSeries| own.values.len().checked_sub(2 * horizon).filter(|last| *last >= least);
        let of_series: Vec<(usize, usize)> =
            series.iter().enumerate().filter_map(|(at, own)| Some((at, last(own)?))).collect();
        // Origins count back from the latest of all series that may be learned from, so that what is held out is late for each.
        let moment = |at: usize, origin: usize| series[at].first.saturating_add(origin as i64);
        let latest = of_series.iter().map(|&(at, last)| moment(at, last)).max().unwrap_or(0);
        let all: usize = of_series.iter().map(|(_, last)| last - least + 1).sum();
        let stride = apart(all.div_ceil(most.max(1)), &plan.periods);
        // A short horizon of few series alone would be few errors.
        let longest = series.iter().map(|own| own.values.len()).max().unwrap_or(0);
        let span = horizon.max(FEWEST_HELD.div_ceil(of_series.len().max(1)).min(longest / 20));
        let each = (HELD / of_series.len().max(1)).clamp(1, span);
        let held_stride = span.div_ceil(each);
        let is_held = |back: usize, at: usize| (back % span + at).is_multiple_of(held_stride);
        // Series that don't end about together, such as those that each begin at 1, have no common late time: each counts from its own.
        let ahead = |at: usize, last: usize| latest.saturating_sub(moment(at, last)) as usize;
        let together = of_series.iter().filter(|&&(at, last)| ahead(at, last) < folds * span).count();
        let by_calendar = 2 * together >= of_series.len();
        // Origins of one moment stand together, the latest last.
        let mut places: Vec<(usize, usize, usize)> = Vec::new();
        for &(at, last) in &of_series {
            let told = told_before(&series[at].values);
            let ahead = if by_calendar { ahead(at, last) } else { 0 };
            let place = |origin: usize| (ahead.saturating_add(last - origin), at, origin);
            let is_taken = |&(back, at, origin): &(usize, usize, usize)| {
                let is_kept = (back % stride + at).is_multiple_of(stride);
                (is_kept || back < folds * span && is_held(back, at)) && is_told(&told, origin, horizon)
            };
            places.extend((least..=last).map(place).filter(is_taken));
        }
        places.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let fold = |block: usize| {
            let blocks = block * span..(block + 1) * span;
            // The targets of what is learned from end before the first origin that is held out.
            let until = blocks.end - 1 + horizon;
            let of = |is: &dyn Fn(usize, usize) -> bool| -> Vec<usize> {
                (0..places.len()).filter(|&row| is(places[row].0, places[row].1)).collect()
            };
            let train = of(&|back, _| back >= until);
            let held = of(&|back, at| blocks.contains(&back) && is_held(back, at));
            (train, held)
        };
        Backtest {
            rows: places.iter().map(|&(_, at, origin)| (at, origin)).collect(),
            folds: (0..folds).map(fold).collect(),
            test: of_series.iter().map(|&(at, last)| (at, last + horizon)).collect(),
            short: series.len() - of_series.len(),
        }
    }
}

/// A stride of at least so much that comes to every place in each season.
fn apart(least: usize, periods: &[usize]) -> usize {
    let shares = |stride: usize| {
        let common = |period: &usize| {
            let (mut a, mut b) = (stride, *period);
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a > 1
        };
        periods.iter().any(common)
    };
    let mut stride = least.max(1);
    while stride > 1 && shares(stride) {
        stride += 1;
    }
    stride
}

/// Of each place how many values before it are there.
fn told_before(values: &[f64]) -> Vec<usize> {
    let mut told = vec![0; values.len() + 1];
    for (at, value) in values.iter().enumerate() {
        told[at + 1] = told[at] + usize::from(value.is_finite());
    }
    told
}

/// Whether the steps after an origin are there, at least half as often as is usual of the series.
fn is_told(told: &[usize], origin: usize, horizon: usize) -> bool {
    let length = told.len() - 1;
    let own = told[(origin + horizon).min(length)] - told[origin];
    own > 0 && 2 * own * length >= told[length] * horizon
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

    /// Series of these first steps and lengths.
    fn series(of: &[(i64, usize)], plan: &ForecastPreparation) -> Vec<PreparedSeries> {
        let one = |&(first, length)| {
            let mut own = plan.made(vec![1.0; length], Vec::new());
            own.first = first;
            own
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn what_is_learned_from_ends_before_what_is_held_out_and_all_before_the_test() {
        for (of, horizon, window, period, most) in [
            (vec![(0, 144)], 12, 24, 12, 10_000),
            (vec![(0, 60), (-160, 200), (29, 31)], 5, 14, 7, 10_000),
            (vec![(5, 1000); 40], 28, 48, 7, 2_000),
            (vec![(0, 90)], 10, 20, 1, 10_000),
            (vec![(0, 400)], 1, 20, 7, 10_000),
        ] {
            let plan = plan(horizon, window, period);
            let split = Backtest::new(&series(&of, &plan), &plan, most).unwrap();
            assert!(!split.folds.is_empty() && !split.test.is_empty());
            for &(at, origin) in &split.test {
                assert_eq!(origin + horizon, of[at].1);
            }
            let moment = |row: &usize| of[split.rows[*row].0].0 + split.rows[*row].1 as i64;
            for (train, held) in &split.folds {
                let first = held.iter().map(moment).min().unwrap();
                assert!(train.iter().all(|row| moment(row) + horizon as i64 <= first));
                for &row in held {
                    let (at, origin) = split.rows[row];
                    assert!(origin + horizon <= of[at].1 - horizon);
                }
            }
            let held: usize = split.folds.iter().map(|(_, held)| held.len()).sum();
            assert!(held >= 20, "{held}");
        }
    }

    #[test]
    fn series_without_a_common_end_are_each_held_out_at_their_own() {
        let plan = plan(5, 14, 7);
        let split = Backtest::new(&series(&[(0, 60), (0, 200), (0, 300)], &plan), &plan, 1000).unwrap();
        for (_, held) in &split.folds {
            assert!((0..3).all(|at| held.iter().any(|row| split.rows[*row].0 == at)));
        }
    }

    #[test]
    fn what_is_left_of_many_origins_is_of_every_weekday() {
        let plan = plan(28, 48, 7);
        let split = Backtest::new(&series(&[(0, 4000); 3], &plan), &plan, 800).unwrap();
        for at in 0..3 {
            let own = split.rows.iter().filter(|(series, _)| *series == at);
            let days: std::collections::HashSet<usize> = own.map(|(_, origin)| origin % 7).collect();
            assert_eq!(days.len(), 7);
        }
        assert_eq!(
            (apart(14, &[7]), apart(1, &[7]), apart(6, &[7, 365]), apart(10, &[12, 5])),
            (15, 1, 6, 11)
        );
    }

    #[test]
    fn origins_after_which_nothing_is_known_are_left_out() {
        let plan = plan(5, 14, 7);
        let mut values = vec![1.0; 200];
        values[100..130].fill(f64::NAN);
        let split = Backtest::new(&[plan.made(values.clone(), Vec::new())], &plan, 1000).unwrap();
        assert!(split.rows.iter().all(|&(_, origin)| !(98..=126).contains(&origin)));
        // Where most are unknown throughout, what is usual is kept.
        (0..200).filter(|at| at % 4 > 0).for_each(|at| values[at] = f64::NAN);
        assert!(Backtest::new(&[plan.made(values, Vec::new())], &plan, 1000).unwrap().rows.len() > 50);
    }

    #[test]
    fn series_that_are_too_short_are_refused_with_what_it_takes() {
        let plan = plan(10, 12, 1);
        let error = Backtest::new(&series(&[(0, 30)], &plan), &plan, 1000).unwrap_err().to_string();
        assert!(error.contains("30 steps") && error.contains("shorter horizon"), "{error}");
    }
}
