//! Forecasts of what is known already: from which origins, and what their errors say of the bands of the next one.

use super::baseline::SeriesForecast;
use super::ets::at_share;
use super::measures::NaiveScale;
use super::normal::student;

/// Where forecasts of a series begin that are held to what came: how many of its values are known each time. The last forecast ends with
/// the series, each one before it where the next begins, so that no value is foreseen twice; there are `folds` at most, and none with fewer
/// than `least` values before it.
///
/// ```
/// assert_eq!(kiln::forecast::origins(100, 12, 3, 20), [64, 76, 88]);
/// assert_eq!(kiln::forecast::origins(40, 12, 3, 20), [28]);
/// assert!(kiln::forecast::origins(20, 12, 3, 20).is_empty());
/// ```
pub fn origins(length: usize, horizon: usize, folds: usize, least: usize) -> Vec<usize> {
    let mut origins: Vec<usize> = (1..=folds)
        .map_while(|fold| length.checked_sub(fold.checked_mul(horizon)?))
        .take_while(|origin| *origin >= least.max(1) && horizon > 0)
        .collect();
    origins.reverse();
    origins
}

/// Below so many errors beyond a bound, it is told from their sizes, whatever their sign.
const BEYOND: f64 = 5.0;
/// A step has the errors of its neighbours too, until there are so many.
const ENOUGH: usize = 30;

/// Bands from the errors of back-tests, by step of the horizon: conformal prediction. Errors of many series count together, each divided by the
/// scale of its series. Where errors of the future are as those of the past, a band holds at least what it says; of too few errors for that
/// ([`ConformalBands::lacking`]) it is as wide as if they were normal, and holds the largest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConformalBands {
    /// By step: errors beside the scale of their series.
    errors: Vec<Vec<f64>>,
}

impl ConformalBands {
    /// Of no errors yet.
    pub fn new() -> ConformalBands {
        ConformalBands::default()
    }

    /// Adds the errors of a forecast, beside what came; series that never change say nothing.
    pub fn add(&mut self, actual: &[f64], points: &[f64], scale: Option<NaiveScale>) {
        let Some(scale) = scale else { return };
        if self.errors.len() < actual.len() {
            self.errors.resize(actual.len(), Vec::new());
        }
        for ((errors, actual), point) in self.errors.iter_mut().zip(actual).zip(points) {
            if actual.is_finite() && point.is_finite() {
                errors.push((actual - point) / scale.distance);
            }
        }
    }

    /// How far from what is expected each share lies at each step, beside the scale of a series: `[share][step]`. With no error at all it is 0.
    pub fn offsets(&self, shares: &[f64]) -> Vec<Vec<f64>> {
        let steps: Vec<Vec<f64>> = (0..self.errors.len()).map(|step| self.near(step)).collect();
        shares.iter().map(|share| steps.iter().map(|errors| offset(errors, *share)).collect()).collect()
    }

    /// Where the errors of a step are too few to say where a share lies: how many there are, and how many it takes.
    pub fn lacking(&self, share: f64) -> Option<(usize, usize)> {
        let within = (2.0 * share - 1.0).abs();
        let fewest = (0..self.errors.len()).map(|step| self.near(step).len()).min()?;
        is_beyond(fewest, within).then(|| (fewest, (within / (1.0 - within) - 1e-9).ceil() as usize))
    }

    /// A forecast of a series with bands.
    pub fn around(&self, points: Vec<f64>, shares: &[f64], scale: Option<NaiveScale>) -> SeriesForecast {
        let far = scale.map_or(0.0, |scale| scale.distance);
        let of_share = |offsets: Vec<f64>| {
            // Behind the last step that was back-tested bands are as wide as there.
            let at = |step: usize| offsets.get(step).or(offsets.last()).copied().unwrap_or(0.0);
            points.iter().enumerate().map(|(step, point)| point + far * at(step)).collect()
        };
        SeriesForecast { quantiles: self.offsets(shares).into_iter().map(of_share).collect(), points }
    }

    /// The errors of a step, with those of the steps around it where they are few; in order.
    fn near(&self, step: usize) -> Vec<f64> {
        let mut far = 0;
        loop {
            let window = step.saturating_sub(far)..(step + far + 1).min(self.errors.len());
            let whole = window.len() == self.errors.len();
            let mut errors: Vec<f64> = self.errors[window].concat();
            if errors.len() >= ENOUGH || whole {
                errors.sort_by(f64::total_cmp);
                return errors;
            }
            far += 1;
        }
    }
}

/// Whether the largest of so many errors isn't far enough to hold a share of them and the next.
fn is_beyond(count: usize, within: f64) -> bool {
    ((count as f64 + 1.0) * within).ceil() > count as f64
}

/// Where a share of errors lies, so that the next one is below it with at least that probability where it is above a half, at most where below.
fn offset(errors: &[f64], share: f64) -> f64 {
    let count = errors.len() as f64;
    if errors.is_empty() {
        return 0.0;
    }
    // One more than there are, since the next error is one of them.
    let ranked = |sorted: &[f64], share: f64| {
        let rank = ((count + 1.0) * share).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    };
    let beyond = count * share.min(1.0 - share);
    match beyond >= BEYOND || share == 0.5 {
        true if share == 0.5 => at_share(errors, 0.5),
        true if share > 0.5 => ranked(errors, share),
        true => {
            let mirrored: Vec<f64> = errors.iter().rev().map(|error| -error).collect();
            -ranked(&mirrored, 1.0 - share)
        }
        false => {
            let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            let within = (2.0 * share - 1.0).abs();
            let far = ranked(&sizes, within);
            let far = if is_beyond(errors.len(), within) {
                let square = errors.iter().map(|error| error * error).sum::<f64>() / count;
                far.max(student(0.5 + within / 2.0, count) * (square * (1.0 + 1.0 / count)).sqrt())
            } else {
                far
            };
            if share > 0.5 { far } else { -far }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_data::Rng;

    use super::*;

    #[test]
    fn bands_hold_at_least_what_they_say_from_few_errors_and_from_many() {
        let scale = Some(NaiveScale { distance: 2.0, deviation: 2.0 });
        for forecasts in [12, 60, 400] {
            let (mut inside, mut all, mut width) = (0, 0, 0.0);
            for seed in 0..200 {
                let mut rng = Rng::new(seed);
                // Errors with a long tail on one side, the larger the farther ahead.
                let mut error = |step: usize| (step + 1) as f64 * (libm::exp(0.6 * rng.normal()) - 1.0);
                let mut bands = ConformalBands::new();
                for _ in 0..forecasts {
                    let actual: Vec<f64> = (0..4).map(&mut error).collect();
                    bands.add(&actual, &[0.0; 4], scale);
                }
                let next = bands.around(vec![0.0; 4], &[0.1, 0.9], scale);
                for step in 0..4 {
                    let (low, high) = (next.quantiles[0][step], next.quantiles[1][step]);
                    inside += (0..20).filter(|_| (low..=high).contains(&error(step))).count();
                    all += 20;
                    width += high - low;
                }
            }
            let share = inside as f64 / all as f64;
            assert!((0.78..0.89).contains(&share), "{forecasts}: {share}");
            assert!(width > 0.0);
        }
    }

    #[test]
    fn bands_go_on_behind_the_last_step_and_are_none_without_errors() {
        let scale = Some(NaiveScale { distance: 1.0, deviation: 1.0 });
        let none = ConformalBands::new().around(vec![5.0; 2], &[0.1, 0.9], scale);
        assert!(none.quantiles.iter().all(|own| own.is_empty() || own == &[5.0, 5.0]));
        let mut bands = ConformalBands::new();
        bands.add(&[1.0, f64::NAN], &[0.0, 0.0], scale);
        bands.add(&[9.0, 9.0], &[0.0, 0.0], None);
        let next = bands.around(vec![0.0; 3], &[0.1, 0.9], scale);
        // One error says little: it is as if it were the deviation of a normal distribution.
        let far = next.quantiles[1][0];
        assert_eq!(next.quantiles, [[-far; 3], [far; 3]]);
        assert!(far > 3.0, "{far}");
        assert_eq!(bands.lacking(0.9), Some((1, 4)));
        (0..3).for_each(|_| bands.add(&[1.0; 2], &[0.0; 2], scale));
        assert_eq!((bands.lacking(0.9), bands.lacking(0.95)), (None, Some((7, 9))));
        assert_eq!(bands.offsets(&[0.9]), [[1.0, 1.0]]);
    }
}
