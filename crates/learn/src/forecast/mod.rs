//! Series: what comes at regular times, and what may come next.
//!
//! - [`Frequency`]: how often a series has a value: found from its times, said in words, and stepped by.
//! - [`SeriesSet`]: the series of a table, one or many, each on the grid of its frequency; here stands the rule for gaps and times that come
//!   twice.
//! - [`ForecastPreparation`]: how series become a model's rows, and its outputs numbers again; [`ForecastWindows`]: such rows to learn from.
//! - [`seasons`]: which seasons are there.
//! - [`Baseline`]: what a forecast must beat; [`Ets`] is exponential smoothing, fitted by maximum likelihood.
//! - [`ForecastErrors`]: how good forecasts are; [`origins`] of back-tests, and [`ConformalBands`] from their errors.
//!
//! A time is an `f64`: of dates the seconds since 1970 in UTC, of a plain number that number. A missing value is `NaN`.

mod backtest;
mod baseline;
mod calendar;
mod descent;
mod ets;
mod frequency;
mod measures;
mod mixed;
mod normal;
mod parallel;
mod preparation;
mod seasons;
mod series;
mod split;
mod summary;
#[cfg(test)]
mod tests;
mod windows;

pub use backtest::{ConformalBands, origins};
pub use baseline::{Baseline, SeriesForecast, is_intermittent};
pub use calendar::CalendarPart;
pub use ets::{Ets, EtsErrors, EtsForm, EtsParameters, EtsStates, SeasonKind, TrendKind};
pub use frequency::Frequency;
pub use measures::{ForecastErrors, ForecastMeasures, NaiveScale, StepMeasures, quantile_loss};
pub use mixed::BaselineShare;
pub use parallel::each_series;
pub(crate) use preparation::SeasonPlaces;
pub use preparation::{ForecastPreparation, PreparedSeries, SeriesRow, StepBands};
pub use seasons::{Season, seasons};
pub use series::{Duplicates, Gaps, SeriesColumns, SeriesFindings, SeriesOptions, SeriesSet, TimeSeries};
pub use split::{Backtest, ForecastScore};
pub use summary::{SeasonOfSeries, SeriesSummary};
pub use windows::{ForecastWindows, StepRows, taken};
