//! Exponential smoothing as models of states (ETS), fitted by maximum likelihood: which of the forms suits a series is told by the corrected
//! criterion of Akaike (AICc). The names are those of Hyndman, Koehler, Ord and Snyder.

mod bands;
mod fit;
mod recursion;
mod starts;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(super) use self::bands::at_share;
use self::fit::FitEffort;

/// How errors act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtsErrors {
    /// Of the same size at each step.
    Additive,
    /// Of the same share of what is expected.
    Multiplicative,
}

/// How the trend acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrendKind {
    /// There is none.
    None,
    /// It goes on for ever.
    Additive,
    /// It fades.
    Damped,
}

/// How the season acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeasonKind {
    /// There is none.
    None,
    /// It adds.
    Additive,
    /// It multiplies.
    Multiplicative,
}

/// One of the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtsForm {
    /// How errors act.
    pub error: EtsErrors,
    /// How the trend acts.
    pub trend: TrendKind,
    /// How the season acts.
    pub season: SeasonKind,
    /// How many steps a season takes.
    pub period: usize,
}

impl EtsForm {
    /// How many seasonal states there are; one that is never used where there is no season.
    fn seasons(self) -> usize {
        if self.season == SeasonKind::None { 1 } else { self.period.max(1) }
    }

    fn is_relative(self) -> bool {
        self.error == EtsErrors::Multiplicative
    }

    /// How many numbers are fitted, the variance among them.
    pub fn parameters(self) -> usize {
        let trend = match self.trend {
            TrendKind::None => 0,
            TrendKind::Additive => 2,
            TrendKind::Damped => 3,
        };
        // The level and its weight, the variance; the season's weight and its states, of which the last follows from the others.
        3 + trend + if self.season == SeasonKind::None { 0 } else { self.seasons() }
    }

    /// The forms that are tried for a series: errors that multiply and seasons that do for values above zero alone, a season that multiplies with such
    /// errors alone, since additive ones make it unsteady.
    fn all(period: Option<usize>, is_positive: bool) -> Vec<EtsForm> {
        let mut all = Vec::new();
        for trend in [TrendKind::None, TrendKind::Additive, TrendKind::Damped] {
            for season in [SeasonKind::None, SeasonKind::Additive, SeasonKind::Multiplicative] {
                for error in [EtsErrors::Additive, EtsErrors::Multiplicative] {
                    let form = EtsForm { error, trend, season, period: period.unwrap_or(1) };
                    let has_period = season == SeasonKind::None || period.is_some();
                    let is_steady = season != SeasonKind::Multiplicative || form.is_relative();
                    if has_period && is_steady && (is_positive || !form.is_relative()) {
                        all.push(form);
                    }
                }
            }
        }
        all
    }
}

impl fmt::Display for EtsForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = if self.is_relative() { "M" } else { "A" };
        let trend = match self.trend {
            TrendKind::None => "N",
            TrendKind::Additive => "A",
            TrendKind::Damped => "Ad",
        };
        let season = match self.season {
            SeasonKind::None => "N",
            SeasonKind::Additive => "A",
            SeasonKind::Multiplicative => "M",
        };
        write!(f, "ETS({error},{trend},{season})")
    }
}

/// How much of an error goes into each state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtsParameters {
    /// Into the level.
    pub alpha: f64,
    /// Into the trend; 0 where there is none.
    pub beta: f64,
    /// Into the season; 0 where there is none.
    pub gamma: f64,
    /// What of the trend is left after a step; 1 where it isn't damped.
    pub phi: f64,
}

/// The states before a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtsStates {
    /// The level.
    pub level: f64,
    /// What the level rises by; 0 where there is no trend.
    pub slope: f64,
    /// What the season adds, or multiplies with: that of the next step first. One number that isn't used where there is no season.
    pub seasonal: Vec<f64>,
}

/// Exponential smoothing, fitted to a series.
///
/// ```
/// use kiln::forecast::Ets;
///
/// let season = [3.0, 5.0, 8.0, 4.0];
/// let sold: Vec<f64> = (0..48).map(|at| 40.0 + 0.5 * at as f64 + season[at % 4] + 0.1 * ((at * 7 % 5) as f64)).collect();
/// let fitted = Ets::select(&sold, Some(4)).expect("a series of this length");
/// let next = fitted.points(4);
/// assert!((next[2] - (40.0 + 0.5 * 50.0 + 8.0)).abs() < 0.5);
/// let bands = fitted.quantiles(&[0.1, 0.9], 4);
/// assert!(bands[0][2] < next[2] && next[2] < bands[1][2]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ets {
    /// The form.
    pub form: EtsForm,
    /// How much of an error goes into each state.
    pub parameters: EtsParameters,
    /// The states before the first value.
    pub first: EtsStates,
    /// The states behind the last value.
    pub last: EtsStates,
    /// The variance of errors, of relative ones where they multiply, with the degrees of freedom that the fitted numbers leave.
    pub variance: f64,
    /// The logarithm of the likelihood.
    pub likelihood: f64,
    /// The criterion by which forms are compared; less is better.
    pub aicc: f64,
}

/// How many steps at the end of a long series are fitted to, or so many seasons, where those are more.
const TAIL: usize = 600;
const TAIL_SEASONS: usize = 6;
/// The largest share of α that β may be where forms are chosen from.
const STEEPEST: f64 = 0.3;
/// How many forms, the best at a glance, are fitted as well as can be.
const FITTED: usize = 3;
/// A longer season isn't smoothed: its states would be too many for what they tell.
const LONGEST_SEASON: usize = 400;

impl Ets {
    /// The form of the least AICc, fitted to a series; missing values are `NaN`. Of a long one the last 600 steps or six seasons are looked
    /// at. A season of more than 400 steps, or that isn't there twice, is left out. None where there are fewer than four values.
    pub fn select(values: &[f64], period: Option<usize>) -> Option<Ets> {
        let values = tail(values, period);
        let period =
            period.filter(|period| (2..=LONGEST_SEASON).contains(period) && 2 * period <= values.len());
        let is_positive = values.iter().all(|value| value.is_nan() || *value > 0.0);
        let with = |form: EtsForm, effort: FitEffort| {
            let (parameters, first) = fit::fit(form, values, effort, STEEPEST)?;
            Ets::with(form, parameters, first, values)
        };
        let glances = EtsForm::all(period, is_positive).into_iter();
        let mut glances: Vec<Ets> = glances.filter_map(|form| with(form, FitEffort::Glance)).collect();
        glances.sort_by(|a, b| a.aicc.total_cmp(&b.aicc));
        let fitted = glances.iter().take(FITTED).filter_map(|glance| with(glance.form, FitEffort::Whole));
        fitted.min_by(|a, b| a.aicc.total_cmp(&b.aicc))
    }

    /// One form, fitted to a series; none where it has too few values for it, or errors multiply and a value isn't above zero.
    pub fn fit(values: &[f64], form: EtsForm) -> Option<Ets> {
        let values = tail(values, Some(form.period));
        let (parameters, first) = fit::fit(form, values, FitEffort::Whole, 1.0)?;
        Ets::with(form, parameters, first, values)
    }

    /// With these parameters and first states, run through a series.
    pub fn with(form: EtsForm, parameters: EtsParameters, first: EtsStates, values: &[f64]) -> Option<Ets> {
        if first.seasonal.len() != form.seasons() {
            return None;
        }
        let run = recursion::run(form, &parameters, &first, values)?;
        let (count, fitted) = (run.count as f64, form.parameters() as f64);
        let free = count - fitted;
        let constant = libm::log(2.0 * std::f64::consts::PI / count) + 1.0;
        let likelihood = -run.objective() - 0.5 * count * constant;
        let correction =
            if free > 1.0 { 2.0 * fitted * (fitted + 1.0) / (free - 1.0) } else { f64::INFINITY };
        let aicc = 2.0 * fitted - 2.0 * likelihood + correction;
        let variance = run.squares / free.max(1.0);
        Some(Ets { form, parameters, first, last: run.states, variance, likelihood, aicc })
    }

    /// The same model behind more values that follow those that it was fitted to: only its states go on.
    pub fn after(&self, values: &[f64]) -> Option<Ets> {
        let run = recursion::run(self.form, &self.parameters, &self.last, values)?;
        Some(Ets { last: run.states, ..self.clone() })
    }

    /// What is expected of the next steps.
    pub fn points(&self, horizon: usize) -> Vec<f64> {
        recursion::points(self.form, &self.parameters, &self.last, horizon)
    }

    /// What the next steps are below with these shares: `[quantile][step]`.
    pub fn quantiles(&self, shares: &[f64], horizon: usize) -> Vec<Vec<f64>> {
        bands::quantiles(self, shares, horizon)
    }
}

/// The end of a long series.
fn tail(values: &[f64], period: Option<usize>) -> &[f64] {
    let most = TAIL.max(TAIL_SEASONS * period.filter(|period| *period <= LONGEST_SEASON).unwrap_or(1));
    &values[values.len().saturating_sub(most)..]
}
