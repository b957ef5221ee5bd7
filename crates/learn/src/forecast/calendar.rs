//! Where a step stands in the calendar, as numbers that a model learns from.

use std::f64::consts::TAU;

use kiln_data::DateTime;
use serde::{Deserialize, Serialize};

use super::Frequency;

/// A cycle of the calendar. A time is a place on it, said by the sines and cosines of one and of two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarPart {
    /// The time of the day.
    Day,
    /// The day of the week, with the time.
    Week,
    /// The day of the month.
    Month,
    /// The day of the year.
    Year,
}

const DAY: f64 = 86_400.0;

impl CalendarPart {
    /// How many numbers each is.
    pub const WIDTH: usize = 4;

    const ALL: [CalendarPart; 4] =
        [CalendarPart::Day, CalendarPart::Week, CalendarPart::Month, CalendarPart::Year];

    /// Those that steps of a frequency walk through and that a history from one time to another has seen twice or more.
    pub fn of(frequency: Frequency, from: f64, to: f64) -> Vec<CalendarPart> {
        if frequency.is_of_numbers() {
            return Vec::new();
        }
        let step = frequency.step(from, 1) - frequency.step(from, 0);
        let suits = |part: &CalendarPart| {
            let cycle = part.seconds();
            // Days of weekdays are one to three days apart.
            let walks = 2.0 * step <= cycle && (*part != CalendarPart::Month || step <= 3.0 * DAY);
            walks && to - from >= 2.0 * cycle
        };
        CalendarPart::ALL.into_iter().filter(suits).collect()
    }

    /// How long a turn is, about.
    fn seconds(self) -> f64 {
        match self {
            CalendarPart::Day => DAY,
            CalendarPart::Week => 7.0 * DAY,
            CalendarPart::Month => 31.0 * DAY,
            CalendarPart::Year => 365.25 * DAY,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            CalendarPart::Day => "time of the day",
            CalendarPart::Week => "day of the week",
            CalendarPart::Month => "day of the month",
            CalendarPart::Year => "day of the year",
        }
    }

    /// The share of its turn that a time has made.
    fn share(self, time: f64) -> f64 {
        let seconds = time.floor() as i64;
        let date = DateTime::of(seconds);
        let of_day = date.second as f64 / DAY;
        match self {
            CalendarPart::Day => of_day,
            CalendarPart::Week => (date.weekday as f64 + of_day) / 7.0,
            CalendarPart::Month => {
                let length = DateTime::month_length(date.year, date.month) as f64;
                ((date.day - 1) as f64 + of_day) / length
            }
            CalendarPart::Year => {
                let year = |year: i64| DateTime::midnight(year, 1, 1).unwrap_or(0) as f64;
                let (start, end) = (year(date.year), year(date.year + 1));
                (time - start) / (end - start).max(DAY)
            }
        }
    }

    /// Adds its numbers for a time.
    pub(super) fn write(self, time: f64, into: &mut Vec<f32>) {
        let angle = TAU * self.share(time);
        let numbers = [libm::sin(angle), libm::cos(angle), libm::sin(2.0 * angle), libm::cos(2.0 * angle)];
        into.extend(numbers.map(|number| number as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_that_steps_walk_through_and_history_has_seen() {
        let of = |frequency: &str, years: f64| {
            let frequency: Frequency = frequency.parse().unwrap();
            CalendarPart::of(frequency, 0.0, years * 365.25 * DAY)
        };
        use CalendarPart::{Day, Month, Week, Year};
        assert_eq!(of("hourly", 3.0), [Day, Week, Month, Year]);
        assert_eq!(of("daily", 3.0), [Week, Month, Year]);
        assert_eq!(of("daily", 1.0), [Week, Month]);
        assert_eq!(of("weekly", 3.0), [Year]);
        assert_eq!(of("monthly", 3.0), [Year]);
        assert_eq!(of("quarterly", 3.0), [Year]);
        assert_eq!(of("yearly", 300.0), []);
        assert_eq!(of("steps of 1", 3.0), []);
    }

    #[test]
    fn places_go_round() {
        let time = |text: &str| Frequency::time(text).unwrap();
        assert_eq!(CalendarPart::Year.share(time("2024-01-01")), 0.0);
        assert!((CalendarPart::Year.share(time("2024-07-02")) - 0.5).abs() < 1e-9);
        assert!((CalendarPart::Week.share(time("2024-01-04 12:00")) - 0.5).abs() < 1e-9);
        assert_eq!(CalendarPart::Month.share(time("2024-02-01")), 0.0);
        assert_eq!(CalendarPart::Day.share(time("2024-02-01 06:00")), 0.25);
    }
}
