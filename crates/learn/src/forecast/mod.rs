//! Series: what comes at regular times, and what may come next.
//!
//! - [`Frequency`]: how often a series has a value: found from its times, said in words, and stepped by.
//! - [`SeriesSet`]: the series of a table, one or many, each on the grid of its frequency; here stands the rule for gaps and times that come
//!   twice.
//! - [`ForecastPreparation`]: how series become a model's rows, and its outputs numbers again; [`ForecastWindows`]: such rows to learn from.
//! - [`seasons`]: which seasons are there.
//!
//! A time is an `f64`: of dates the seconds since 1970 in UTC, of a plain number that number. A missing value is `NaN`.

mod backtest;
mod calendar;
mod find;
mod frequency;
mod preparation;
mod seasons;
mod series;
#[cfg(test)]
mod tests;
mod windows;

pub use backtest::{Backtest, ForecastScore, lengths, naive_error};
pub use calendar::CalendarPart;
pub use frequency::Frequency;
pub(crate) use preparation::SeasonPlaces;
pub use preparation::{ForecastPreparation, PreparedSeries, SeriesRow, StepBands};
pub use seasons::{Season, seasons};
pub use series::{Duplicates, Gaps, SeriesFindings, SeriesOptions, SeriesSet, TimeSeries, time_column};
pub use windows::{ForecastWindows, StepRows, taken};
