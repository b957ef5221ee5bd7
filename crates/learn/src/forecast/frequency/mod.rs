//! How often a series has a value: a grid over time, whose steps are numbered.

mod find;

use std::fmt;
use std::str::FromStr;

use kiln_data::{Cell, DateTime};
use kiln_map::counted;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 86_400;
pub(super) const WEEK: i64 = 7 * DAY;

/// How often a series has a value. Steps of one frequency are numbered through, whatever series they are of: the time of a step follows from
/// its number, and a time belongs to the step that it falls into, which lasts until the next begins.
///
/// ```
/// use kiln::forecast::Frequency;
///
/// let frequency: Frequency = "monthly".parse()?;
/// let time = |text: &str| Frequency::time(text).unwrap();
/// assert_eq!(frequency.step(time("2024-01-01"), 2), time("2024-03-01"));
/// assert_eq!(frequency.between(time("2023-11-01"), time("2024-03-01")), 4);
/// assert_eq!(frequency.to_string(), "monthly (first day)");
/// assert_eq!(frequency.periods(), [12]);
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// Seconds, minutes, hours, days, weeks: times whose remainder by `every` is `phase`.
    Seconds {
        /// How many seconds a step lasts.
        every: i64,
        /// Where the first step after 1970 begins.
        phase: i64,
    },
    /// From Monday to Friday. A Saturday and a Sunday belong to the Friday before.
    Weekdays {
        /// The second of the day.
        second: i64,
    },
    /// Months, quarters, years. A time belongs to the step of its month, whatever its day.
    Months {
        /// How many months a step lasts.
        every: i64,
        /// How many months after January the first step of a year begins, below `every`.
        phase: i64,
        /// The day of the month; of shorter months their last, so that 31 is the last of each.
        day: i64,
        /// The second of the day.
        second: i64,
    },
    /// Numbers that aren't dates: years, counts of steps.
    Numbers {
        /// How far a step is from the next.
        every: f64,
        /// Where the first step after 0 begins.
        phase: f64,
    },
}

impl Frequency {
    /// The frequency of times, those of each series by themselves, and the share of times that suit it; none where there are fewer than
    /// three, or they follow no grid: less than nine in ten suit the best.
    pub fn find<'t>(series: impl IntoIterator<Item = &'t [f64]>, dates: bool) -> Option<(Frequency, f64)> {
        find::find(series, dates)
    }

    /// The same frequency, on the grid that times show: which weekday or day of the month it is.
    pub fn aligned(self, times: &[f64]) -> Frequency {
        find::aligned(self, times)
    }

    /// That it steps on: what a file says may be anything.
    pub(super) fn check(self) -> Result<()> {
        const FAR: i64 = 1 << 53;
        let is_near = |numbers: &[i64]| numbers.iter().all(|number| (-FAR..=FAR).contains(number));
        let steps_on = match self {
            Frequency::Seconds { every, phase } => every > 0 && is_near(&[every, phase]),
            Frequency::Weekdays { second } => is_near(&[second]),
            Frequency::Months { every, phase, day, second } => {
                every > 0 && is_near(&[every, phase, day, second])
            }
            Frequency::Numbers { every, phase } => every > 0.0 && every.is_finite() && phase.is_finite(),
        };
        match steps_on {
            true => Ok(()),
            false => Err(Error::Preparation(format!("its frequency never comes to a next step: {self:?}"))),
        }
    }

    /// The number of the step that a time falls into.
    pub fn number(self, time: f64) -> i64 {
        let seconds = time.floor() as i64;
        match self {
            Frequency::Seconds { every, phase } => seconds.saturating_sub(phase).div_euclid(every.max(1)),
            Frequency::Weekdays { second } => {
                // 1970 began on a Thursday: the Monday before is day −3.
                let days = seconds.saturating_sub(second).div_euclid(DAY) + 3;
                5 * days.div_euclid(7) + days.rem_euclid(7).min(4)
            }
            Frequency::Months { every, phase, .. } => {
                let DateTime { year, month, .. } = DateTime::of(seconds);
                (12 * year + month - 1).saturating_sub(phase).div_euclid(every.max(1))
            }
            // What was computed with, such as 1959.08333, may lie a little before its step.
            Frequency::Numbers { every, phase } => ((time - phase) / every + 0.01).floor() as i64,
        }
    }

    /// The time at which a step begins.
    pub fn begin(self, number: i64) -> f64 {
        match self {
            Frequency::Seconds { every, phase } => number.saturating_mul(every).saturating_add(phase) as f64,
            Frequency::Weekdays { second } => {
                let days = number.div_euclid(5).saturating_mul(7).saturating_add(number.rem_euclid(5) - 3);
                days.saturating_mul(DAY).saturating_add(second) as f64
            }
            Frequency::Months { every, phase, day, second } => {
                // Later and earlier years than these have no days here.
                const MOST: i64 = 12 * 1_000_000;
                let months = number.saturating_mul(every).saturating_add(phase).clamp(-MOST, MOST);
                let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
                let day = day.clamp(1, DateTime::month_length(year, month));
                DateTime::midnight(year, month, day)
                    .map_or(f64::NAN, |midnight| midnight.saturating_add(second) as f64)
            }
            Frequency::Numbers { every, phase } => number as f64 * every + phase,
        }
    }

    /// The time so many steps after that of another time's step; before it where `count` is negative.
    pub fn step(self, time: f64, count: i64) -> f64 {
        self.begin(self.number(time).saturating_add(count))
    }

    /// How many steps one time's step is after another's.
    pub fn between(self, from: f64, to: f64) -> i64 {
        self.number(to).saturating_sub(self.number(from))
    }

    /// Whether a time is that of a step.
    pub fn suits(self, time: f64) -> bool {
        let begin = self.begin(self.number(time));
        match self {
            Frequency::Numbers { every, .. } => (begin - time).abs() <= 0.011 * every,
            Frequency::Seconds { .. } | Frequency::Weekdays { .. } | Frequency::Months { .. } => {
                begin == time
            }
        }
    }

    /// Whether its times are numbers, not dates.
    pub fn is_of_numbers(self) -> bool {
        matches!(self, Frequency::Numbers { .. })
    }

    /// A time as text: a date, where it is needed with the time of the day, or a number.
    pub fn text(self, time: f64) -> String {
        let timed = match self {
            Frequency::Seconds { every, phase } => every % DAY != 0 || phase % DAY != 0,
            Frequency::Weekdays { second } | Frequency::Months { second, .. } => second != 0,
            Frequency::Numbers { .. } => return format!("{}", (time * 1e6).round() / 1e6),
        };
        let cell = Cell::Date { seconds: time.floor() as i64, timed };
        cell.text().map_or(String::new(), |text| text.into_owned())
    }

    /// A date's time, as seconds since 1970 in UTC, or a number's.
    pub fn time(text: &str) -> Option<f64> {
        match DateTime::parse(text) {
            Some(seconds) => Some(seconds as f64),
            None => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        }
    }

    /// What a step is called.
    pub fn noun(self) -> &'static str {
        match self {
            Frequency::Seconds { every: 1, .. } => "second",
            Frequency::Seconds { every: MINUTE, .. } => "minute",
            Frequency::Seconds { every: HOUR, .. } => "hour",
            Frequency::Seconds { every: DAY, .. } => "day",
            Frequency::Seconds { every: WEEK, .. } => "week",
            Frequency::Weekdays { .. } => "weekday",
            Frequency::Months { every: 1, .. } => "month",
            Frequency::Months { every: 3, .. } => "quarter",
            Frequency::Months { every: 12, .. } => "year",
            Frequency::Seconds { .. } | Frequency::Months { .. } | Frequency::Numbers { .. } => "step",
        }
    }

    /// The seasons that the calendar suggests, in steps, the shortest first: the day of hours, the week of days, the year of months. Numbers
    /// and years suggest none.
    pub fn periods(self) -> Vec<usize> {
        const YEAR: f64 = 365.25 * DAY as f64;
        let whole = |cycle: f64, step: f64| {
            let period = (cycle / step).round();
            // Weeks don't fill a year, but nearly.
            let fits = period >= 2.0 && (cycle - period * step).abs() < 0.01 * cycle;
            fits.then_some(period as usize)
        };
        match self {
            Frequency::Seconds { every, .. } => {
                let step = every as f64;
                let cycles = match every {
                    ..MINUTE => [MINUTE as f64, HOUR as f64, DAY as f64].as_slice(),
                    MINUTE..HOUR => &[HOUR as f64, DAY as f64, WEEK as f64],
                    HOUR..DAY => &[DAY as f64, WEEK as f64, YEAR],
                    DAY.. => &[WEEK as f64, YEAR],
                };
                cycles.iter().filter_map(|cycle| whole(*cycle, step)).collect()
            }
            Frequency::Weekdays { .. } => vec![5, 261],
            Frequency::Months { every, .. } => whole(12.0, every as f64).into_iter().collect(),
            Frequency::Numbers { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEEKDAYS: [&str; 7] =
            ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        match *self {
            Frequency::Seconds { every, phase } => {
                let weekday = || WEEKDAYS[DateTime::of(phase).weekday.rem_euclid(7) as usize];
                match every {
                    1 => f.write_str("every second"),
                    MINUTE => f.write_str("every minute"),
                    HOUR => f.write_str("hourly"),
                    DAY => f.write_str("daily"),
                    WEEK => write!(f, "weekly ({})", weekday()),
                    _ => {
                        let units = [(WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")];
                        let (unit, name) =
                            units.into_iter().find(|(unit, _)| every % unit == 0).unwrap_or((1, "second"));
                        write!(f, "every {}", counted((every / unit) as usize, name))
                    }
                }
            }
            Frequency::Weekdays { .. } => f.write_str("weekdays (Monday to Friday)"),
            Frequency::Months { every, phase, day, .. } => {
                let day = match day {
                    1 => "first day".to_string(),
                    31 => "last day".to_string(),
                    day => format!("day {day}"),
                };
                let month = MONTHS[phase.rem_euclid(12) as usize];
                match every {
                    1 => write!(f, "monthly ({day})"),
                    3 => write!(f, "quarterly (from {month}, {day})"),
                    12 => write!(f, "yearly ({month}, {day})"),
                    every => write!(f, "every {} ({day})", counted(every as usize, "month")),
                }
            }
            Frequency::Numbers { every, .. } => write!(f, "steps of {every}"),
        }
    }
}

impl FromStr for Frequency {
    type Err = Error;

    /// `hourly`, `daily`, `weekdays`, `weekly`, `monthly`, `quarterly`, `yearly`, `every 15 minutes`, `15 minutes`, `steps of 2`.
    fn from_str(text: &str) -> Result<Frequency> {
        let refuse = || {
            Error::Preparation(format!(
                "a frequency is hourly, daily, weekdays, weekly, monthly, quarterly, yearly, every 15 minutes (seconds, hours, days, weeks, \
                 months, years) or steps of 1, and not {text}"
            ))
        };
        let said = text.split('(').next().unwrap_or_default().trim().to_lowercase();
        let (count, unit) = match said.strip_prefix("steps of ") {
            Some(number) => (number.trim().parse::<f64>().map_err(|_| refuse())?, "number"),
            None => {
                let said = said.strip_prefix("every ").unwrap_or(&said).trim();
                let digits = said.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(said.len());
                let count = match &said[..digits] {
                    "" => 1.0,
                    digits => digits.parse().map_err(|_| refuse())?,
                };
                (count, said[digits..].trim())
            }
        };
        if !(count > 0.0 && count <= 1e9) {
            return Err(refuse());
        }
        let seconds = |unit: i64| Frequency::Seconds { every: unit * count as i64, phase: 0 };
        let months = |unit: i64| {
            let every = unit * count as i64;
            Frequency::Months { every, phase: 0, day: 1, second: 0 }
        };
        Ok(match unit {
            "second" | "seconds" | "sec" | "s" => seconds(1),
            "minute" | "minutes" | "min" | "minutely" => seconds(MINUTE),
            "hour" | "hours" | "hourly" | "h" => seconds(HOUR),
            "day" | "days" | "daily" | "d" => seconds(DAY),
            // 1970 began on a Thursday, and weeks begin on a Monday.
            "week" | "weeks" | "weekly" | "w" => {
                let every = WEEK * count as i64;
                Frequency::Seconds { every, phase: (4 * DAY).rem_euclid(every) }
            }
            "weekday" | "weekdays" | "business days" if count == 1.0 => Frequency::Weekdays { second: 0 },
            "month" | "months" | "monthly" => months(1),
            "quarter" | "quarters" | "quarterly" => months(3),
            "year" | "years" | "yearly" | "annual" | "annually" => months(12),
            "number" => Frequency::Numbers { every: count, phase: 0.0 },
            _ => return Err(refuse()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Frequency> {
        let months = |every, phase, day| Frequency::Months { every, phase, day, second: 0 };
        let mut all: Vec<Frequency> = [1, 7, 60, 900, 3600, 4 * HOUR, DAY, 2 * DAY, WEEK, 2 * WEEK]
            .iter()
            .map(|&every| Frequency::Seconds { every, phase: (every / 3) % every })
            .collect();
        all.push(Frequency::Weekdays { second: 0 });
        all.push(Frequency::Weekdays { second: 17 * HOUR });
        for day in [1, 15, 28, 29, 30, 31] {
            all.extend([months(1, 0, day), months(3, 2, day), months(12, 1, day), months(2, 1, day)]);
        }
        all.push(Frequency::Numbers { every: 1.0, phase: 0.0 });
        all.push(Frequency::Numbers { every: 0.25, phase: 0.1 });
        all
    }

    #[test]
    fn a_step_is_the_one_its_time_falls_into_and_times_rise() {
        for frequency in every_kind() {
            let from = frequency.number(1_700_000_000.0);
            let mut before = f64::NEG_INFINITY;
            for number in from - 800..from + 800 {
                let time = frequency.begin(number);
                assert_eq!(frequency.number(time), number, "{frequency:?}");
                assert!(time > before && frequency.suits(time), "{frequency:?}");
                assert_eq!(frequency.step(time, 3), frequency.begin(number + 3));
                before = time;
            }
        }
    }

    #[test]
    fn months_step_by_the_calendar() {
        let time = |text: &str| Frequency::time(text).unwrap();
        let last = Frequency::Months { every: 1, phase: 0, day: 31, second: 0 };
        assert_eq!(last.step(time("2024-01-31"), 1), time("2024-02-29"));
        assert_eq!(last.step(time("2024-01-31"), 13), time("2025-02-28"));
        assert_eq!(last.step(time("2024-01-31"), -2), time("2023-11-30"));
        let quarter = Frequency::Months { every: 3, phase: 0, day: 1, second: 0 };
        assert_eq!(quarter.step(time("1959-01-01"), 5), time("1960-04-01"));
        let year = Frequency::Months { every: 12, phase: 1, day: 29, second: 0 };
        assert_eq!(year.step(time("2024-02-29"), 1), time("2025-02-28"));
        assert_eq!(year.step(time("2024-02-29"), 4), time("2028-02-29"));
    }

    #[test]
    fn what_a_damaged_file_says_is_no_trouble() {
        let far = [i64::MIN, -1, 0, 1, i64::MAX];
        for every in far {
            for phase in far {
                for frequency in [
                    Frequency::Seconds { every, phase },
                    Frequency::Months { every, phase, day: every, second: phase },
                    Frequency::Weekdays { second: phase },
                    Frequency::Numbers { every: every as f64, phase: f64::NAN },
                ] {
                    for number in far {
                        let time = frequency.begin(number);
                        let said = (
                            frequency.number(time),
                            frequency.step(time, number),
                            frequency.between(0.0, time),
                        );
                        let _ = (said, frequency.text(time), frequency.to_string(), frequency.periods());
                    }
                }
            }
        }
    }

    #[test]
    fn weekdays_leave_out_weekends() {
        let time = |text: &str| Frequency::time(text).unwrap();
        let days = Frequency::Weekdays { second: 0 };
        assert_eq!(days.step(time("2024-03-01"), 1), time("2024-03-04"), "a Friday, then a Monday");
        assert_eq!(days.step(time("2024-03-04"), -1), time("2024-03-01"));
        assert_eq!(days.number(time("2024-03-02")), days.number(time("2024-03-01")));
        assert!(!days.suits(time("2024-03-03")));
        assert_eq!(days.between(time("2024-01-01"), time("2024-12-30")), 260);
    }

    #[test]
    fn words_are_read_as_they_are_said() {
        for frequency in every_kind() {
            let said = frequency.to_string();
            let read: Frequency = said.parse().unwrap();
            let size = |frequency| match frequency {
                Frequency::Seconds { every, .. } => every as f64,
                Frequency::Weekdays { .. } => -5.0,
                Frequency::Months { every, .. } => -1000.0 * every as f64,
                Frequency::Numbers { every, .. } => 1e9 + every,
            };
            assert_eq!(size(read), size(frequency), "{said}");
        }
        let said = |text: &str| text.parse::<Frequency>().map(|frequency| frequency.to_string());
        assert_eq!(said("15min").unwrap(), "every 15 minutes");
        assert_eq!(said("weekly").unwrap(), "weekly (Monday)");
        for wrong in
            ["", "fortnightly", "0 days", "every -3 days", "every 3", "steps of x", "99999999999 days"]
        {
            assert!(said(wrong).unwrap_err().to_string().contains("a frequency is"), "{wrong}");
        }
    }

    #[test]
    fn calendars_suggest_their_seasons() {
        let periods = |text: &str| text.parse::<Frequency>().unwrap().periods();
        assert_eq!(periods("hourly"), [24, 168, 8766]);
        assert_eq!(periods("every 15 minutes"), [4, 96, 672]);
        assert_eq!(periods("daily"), [7, 365]);
        assert_eq!(periods("weekly"), [52]);
        assert_eq!(periods("monthly"), [12]);
        assert_eq!(periods("quarterly"), [4]);
        assert_eq!(periods("weekdays"), [5, 261]);
        assert!(periods("yearly").is_empty() && periods("steps of 1").is_empty());
    }
}
