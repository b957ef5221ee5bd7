//! The recursion of exponential smoothing, its likelihood, and the gradient of that by going back through it.
//!
//! In each step `q = level + φ slope`, and what is expected is `μ = q`, `q + season` or `q · season`. With the error `e = y − μ` the states go on as
//!
//! | season | level | slope | season of the step |
//! |---|---|---|---|
//! | none | `q + α e` | `φ slope + β e` | |
//! | additive | `q + α e` | `φ slope + β e` | `season + γ e` |
//! | multiplicative | `q + α e / season` | `φ slope + β e / season` | `season + γ e / q` |
//!
//! whether errors are additive or multiplicative: that says only whether `e` or `e / μ` has the same variance at each step. Where there is no
//! value, the states go on without error.

use super::{EtsForm, EtsParameters, EtsStates, SeasonKind};

/// What a run through a series shows.
pub(super) struct EtsRun {
    /// The sum of squared errors, relative ones where those are multiplicative.
    pub squares: f64,
    /// The sum of the logarithms of what was expected, where errors are multiplicative.
    pub logs: f64,
    /// How many values there were.
    pub count: usize,
    /// The states behind the last step.
    pub states: EtsStates,
}

impl EtsRun {
    /// The negative logarithm of the likelihood at its best variance, less what is the same for all models of these values.
    pub fn objective(&self) -> f64 {
        0.5 * self.count as f64 * libm::log(self.squares.max(f64::MIN_POSITIVE)) + self.logs
    }
}

/// What is kept of each step for the way back.
#[derive(Clone, Copy, Default)]
struct StepTape {
    q: f64,
    slope: f64,
    season: f64,
    error: f64,
}

/// Memory for the way back, kept from one run to the next.
#[derive(Default)]
pub(super) struct Tape(Vec<StepTape>);

/// Runs through values from first states; none where something that must be above zero isn't.
pub(super) fn run(form: EtsForm, own: &EtsParameters, first: &EtsStates, values: &[f64]) -> Option<EtsRun> {
    walk(form, own, first, values, |_| {})
}

fn walk(
    form: EtsForm,
    own: &EtsParameters,
    first: &EtsStates,
    values: &[f64],
    mut keep: impl FnMut(StepTape),
) -> Option<EtsRun> {
    let mut states = first.clone();
    let (mut squares, mut logs, mut count) = (0.0, 0.0, 0);
    // Logarithms are taken of products of a few.
    let mut product = 1.0;
    let period = form.seasons();
    let mut place = 0;
    for value in values {
        let q = states.level + own.phi * states.slope;
        let season = states.seasonal[place];
        let expected = match form.season {
            SeasonKind::None => q,
            SeasonKind::Additive => q + season,
            SeasonKind::Multiplicative => q * season,
        };
        let error = if value.is_nan() { 0.0 } else { value - expected };
        keep(StepTape { q, slope: states.slope, season, error });
        if !value.is_nan() {
            count += 1;
            if form.is_relative() {
                if expected <= 0.0 {
                    return None;
                }
                squares += (error / expected) * (error / expected);
                product *= expected;
                if !(1e-100..1e100).contains(&product) {
                    logs += libm::log(product);
                    product = 1.0;
                }
            } else {
                squares += error * error;
            }
        }
        let moved = match form.season {
            SeasonKind::None => error,
            SeasonKind::Additive => {
                states.seasonal[place] = season + own.gamma * error;
                error
            }
            SeasonKind::Multiplicative => {
                if season <= 0.0 || q <= 0.0 {
                    return None;
                }
                states.seasonal[place] = season + own.gamma * error / q;
                error / season
            }
        };
        states.level = q + own.alpha * moved;
        states.slope = own.phi * states.slope + own.beta * moved;
        place += 1;
        if place == period {
            place = 0;
        }
    }
    // The next step's season comes first.
    states.seasonal.rotate_left(place);
    logs += libm::log(product);
    let is_finite = squares.is_finite() && logs.is_finite() && states.level.is_finite();
    is_finite.then_some(EtsRun { squares, logs, count, states })
}

/// Slopes of the objective by the parameters and the first states.
pub(super) struct EtsSlopes {
    pub own: EtsParameters,
    pub first: EtsStates,
}

/// The objective ([`EtsRun::objective`]) with its slopes.
pub(super) fn objective(
    form: EtsForm,
    own: &EtsParameters,
    first: &EtsStates,
    values: &[f64],
    tape: &mut Tape,
) -> Option<(f64, EtsSlopes)> {
    tape.0.clear();
    let run = walk(form, own, first, values, |step| tape.0.push(step))?;
    let scale = run.count as f64 / run.squares.max(f64::MIN_POSITIVE);
    let period = form.seasons();
    let mut slopes = EtsSlopes {
        own: EtsParameters { alpha: 0.0, beta: 0.0, gamma: 0.0, phi: 0.0 },
        first: EtsStates { level: 0.0, slope: 0.0, seasonal: vec![0.0; period] },
    };
    let sums = &mut slopes.own;
    // By the states behind the step that is looked at.
    let (mut level, mut slope) = (0.0, 0.0);
    let seasonal = &mut slopes.first.seasonal;
    for (at, step) in tape.0.iter().enumerate().rev() {
        let StepTape { q, slope: before, season, error } = *step;
        let place = at % period;
        let of_season = seasonal[place];
        let moved = if form.season == SeasonKind::Multiplicative { error / season } else { error };
        sums.alpha += level * moved;
        sums.beta += slope * moved;
        let by_moved = own.alpha * level + own.beta * slope;
        let (mut by_error, mut by_q, mut by_season) = match form.season {
            SeasonKind::None => (by_moved, level, 0.0),
            SeasonKind::Additive => {
                sums.gamma += of_season * error;
                (by_moved + own.gamma * of_season, level, of_season)
            }
            SeasonKind::Multiplicative => {
                sums.gamma += of_season * error / q;
                (
                    by_moved / season + own.gamma * of_season / q,
                    level - own.gamma * of_season * error / (q * q),
                    of_season - by_moved * error / (season * season),
                )
            }
        };
        if !values[at].is_nan() {
            let expected = values[at] - error;
            let mut by_expected = 0.0;
            if form.is_relative() {
                let relative = error / expected;
                by_error += scale * relative / expected;
                by_expected = 1.0 / expected - scale * relative * relative / expected;
            } else {
                by_error += scale * error;
            }
            by_expected -= by_error;
            match form.season {
                SeasonKind::None => by_q += by_expected,
                SeasonKind::Additive => {
                    by_q += by_expected;
                    by_season += by_expected;
                }
                SeasonKind::Multiplicative => {
                    by_q += by_expected * season;
                    by_season += by_expected * q;
                }
            }
        }
        sums.phi += (slope + by_q) * before;
        seasonal[place] = by_season;
        (level, slope) = (by_q, own.phi * (slope + by_q));
    }
    (slopes.first.level, slopes.first.slope) = (level, slope);
    Some((run.objective(), slopes))
}

/// What is expected of the next steps.
pub(super) fn points(form: EtsForm, own: &EtsParameters, states: &EtsStates, horizon: usize) -> Vec<f64> {
    let (mut level, mut slope) = (states.level, states.slope);
    let next = |at: usize| {
        slope *= own.phi;
        level += slope;
        let season = states.seasonal[at % form.seasons()];
        match form.season {
            SeasonKind::None => level,
            SeasonKind::Additive => level + season,
            SeasonKind::Multiplicative => level * season,
        }
    };
    (0..horizon).map(next).collect()
}
