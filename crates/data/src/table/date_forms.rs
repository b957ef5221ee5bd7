//! Dates as people write them: `31.01.2024`, `1/31/24`, `31 Jan 2024`, `20240131`, `2024-01`, with a time behind; and times alone.

use serde::{Deserialize, Serialize};

use super::date::midnight;
use super::{cell, date};

/// What a date's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateFormat {
    /// `2024/01/31`, `20240131`.
    YearFirst,
    /// `31.01.2024`, `31/1/24`.
    DayFirst,
    /// `1/31/2024`.
    MonthFirst,
    /// Seconds since 1970.
    UnixSeconds,
    /// Thousandths of a second since 1970.
    UnixMilliseconds,
}

impl DateFormat {
    /// The moment a cell says. ISO dates are known in any format: nothing else begins with a year of four digits and a hyphen.
    pub(super) fn parse(self, text: &str) -> Option<(i64, bool)> {
        match self {
            DateFormat::UnixSeconds | DateFormat::UnixMilliseconds => {
                let of_number = || self.of_number(cell::number(text.as_bytes())?);
                date::parse(text.as_bytes()).or_else(of_number)
            }
            DateFormat::YearFirst | DateFormat::DayFirst | DateFormat::MonthFirst => {
                date::parse(text.as_bytes()).or_else(|| parse(text, self))
            }
        }
    }

    /// The moment a number says: one of Unix, or a day as `20240131`.
    pub(super) fn of_number(self, value: f64) -> Option<(i64, bool)> {
        match self {
            DateFormat::UnixSeconds => Some((value.floor() as i64, true)),
            DateFormat::UnixMilliseconds => Some(((value / 1000.0).floor() as i64, true)),
            DateFormat::YearFirst if (1e7..1e8).contains(&value) && value.fract() == 0.0 => {
                let number = value as i64;
                midnight(number / 10_000, number / 100 % 100, number % 100).map(|at| (at, false))
            }
            DateFormat::YearFirst | DateFormat::DayFirst | DateFormat::MonthFirst => None,
        }
    }
}

/// Names of months begin so, in English, German, French, Spanish and Italian; each with its number.
#[rustfmt::skip]
const MONTHS: [(&str, i64); 38] = [
    ("jan", 1), ("jän", 1), ("ene", 1), ("gen", 1), ("feb", 2), ("fév", 2), ("fev", 2), ("mar", 3),
    ("mär", 3), ("mrz", 3), ("mae", 3), ("apr", 4), ("avr", 4), ("abr", 4), ("may", 5), ("mai", 5),
    ("mag", 5), ("jun", 6), ("juin", 6), ("giu", 6), ("jul", 7), ("juil", 7), ("lug", 7), ("aug", 8),
    ("aoû", 8), ("aou", 8), ("ago", 8), ("sep", 9), ("set", 9), ("oct", 10), ("okt", 10), ("ott", 10),
    ("out", 10), ("nov", 11), ("dec", 12), ("dez", 12), ("déc", 12), ("dic", 12),
];

/// The month that a word names.
fn month(word: &str) -> Option<i64> {
    let word = word.to_lowercase();
    let fits = |name: &str| word.starts_with(name) && word.chars().count() <= 10;
    MONTHS.iter().find(|(name, _)| fits(name)).map(|(_, number)| *number)
}

/// A date, a date with a time, or a time.
pub(super) fn parse(text: &str, format: DateFormat) -> Option<(i64, bool)> {
    let text = text.trim();
    let (date, time) = match text.find(':') {
        None => (text, None),
        // The time begins at the word that has the colon.
        Some(colon) => match text.get(..colon)?.rfind([' ', 'T', ',']) {
            None => ("", Some(text)),
            Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        },
    };
    let second = time.map(|time| time_of_day(time.trim()));
    match (date.trim().trim_end_matches(','), second) {
        ("", Some(second)) => Some((second?, true)),
        (date, None) => Some((day(date, format)?, false)),
        (date, Some(second)) => Some((day(date, format)? + second?, true)),
    }
}

/// `8:30`, `08:30:15.5`, `8:30 PM`, `08:30Z`, `08:30+02:00`: seconds since midnight, in UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let (text, afternoon) = match text.to_ascii_lowercase().trim_end_matches('.') {
        lower if lower.ends_with("pm") => (text.get(..lower.len() - 2)?, Some(true)),
        lower if lower.ends_with("am") => (text.get(..lower.len() - 2)?, Some(false)),
        lower if lower.ends_with('z') => (text.get(..lower.len() - 1)?, None),
        _ => (text, None),
    };
    let (text, offset) = match text.find(['+', '-']) {
        None => (text, 0),
        Some(at) => {
            let (hours, minutes) = text.get(at + 1..)?.split_once(':')?;
            let offset = whole(hours, 1..=2)? * 3600 + whole(minutes, 2..=2)? * 60;
            (text.get(..at)?, if text.get(at..)?.starts_with('-') { -offset } else { offset })
        }
    };
    let mut parts = text.trim().split(':');
    let (hour, minute) = (whole(parts.next()?, 1..=2)?, whole(parts.next()?, 2..=2)?);
    let second = match parts.next() {
        None => 0,
        Some(second) => {
            let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
            whole(second, 2..=2).filter(|_| whole(fraction, 1..=9).is_some())?
        }
    };
    let hour = match afternoon {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    let fits = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    fits.then_some(hour * 3600 + minute * 60 + second - offset)
}

fn whole(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let fits = length.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fits)
}

/// The midnight a date begins at.
fn day(text: &str, format: DateFormat) -> Option<i64> {
    let mut parts: Vec<&str> = Vec::with_capacity(4);
    // What stands between a day and its month is left out.
    let between = |part: &&str| !matches!(*part, "" | "de" | "of" | "del" | "di");
    for part in text.split(['.', '/', '-', ' ', ',', '\u{a0}']).filter(between) {
        let is_weekday = parts.is_empty() && month(part).is_none() && whole(part, 1..=8).is_none();
        if is_weekday {
            if !WEEKDAYS.iter().any(|day| part.to_lowercase().starts_with(day)) {
                return None;
            }
        } else {
            parts.push(part);
        }
        if parts.len() > 4 {
            return None;
        }
    }
    let month_at = parts.iter().position(|part| whole(part, 1..=8).is_none() && month(part).is_some());
    let of = |place: usize| parts.get(place).copied().unwrap_or("");
    let plain = |place: usize| whole(of(place).trim_end_matches(|c: char| "stndrh".contains(c)), 1..=2);
    match (parts.len(), month_at) {
        (3, Some(1)) if of(0).len() == 4 => midnight(whole(of(0), 4..=4)?, month(of(1))?, plain(2)?),
        (3, Some(1)) => midnight(year(of(2))?, month(of(1))?, plain(0)?),
        (3, Some(0)) => midnight(year(of(2))?, month(of(0))?, plain(1)?),
        (2, Some(0)) => midnight(whole(of(1), 4..=4)?, month(of(0))?, 1),
        (2, None) if of(0).len() == 4 && format == DateFormat::YearFirst => {
            midnight(whole(of(0), 4..=4)?, whole(of(1), 2..=2)?, 1)
        }
        (1, None) if text.len() == 8 && format == DateFormat::YearFirst => {
            let number = whole(text, 8..=8)?;
            midnight(number / 10_000, number / 100 % 100, number % 100)
        }
        (3, None) => {
            let number = |place: usize| whole(of(place), 1..=2);
            // A number of points is a date only where each part has its two digits or the year its four.
            if text.contains('.') && of(2).len() != 4 && parts.iter().any(|part| part.len() == 1) {
                return None;
            }
            match format {
                _ if of(0).len() == 4 => match format {
                    DateFormat::YearFirst => midnight(whole(of(0), 4..=4)?, number(1)?, number(2)?),
                    _ => None,
                },
                DateFormat::DayFirst => midnight(year(of(2))?, number(1)?, number(0)?),
                DateFormat::MonthFirst => midnight(year(of(2))?, number(0)?, number(1)?),
                DateFormat::YearFirst | DateFormat::UnixSeconds | DateFormat::UnixMilliseconds => None,
            }
        }
        _ => None,
    }
}

/// How names of weekdays begin, in English, German and French.
const WEEKDAYS: [&str; 14] =
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "mo", "di", "mi", "do", "fr", "sa", "so"];

/// A year of four digits, or of two: from 1969 to 2068.
fn year(text: &str) -> Option<i64> {
    match text.len() {
        2 => whole(text, 2..=2).map(|year| if year < 69 { 2000 + year } else { 1900 + year }),
        _ => whole(text, 4..=4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::date;

    #[test]
    fn dates_are_read_as_people_write_them() {
        use DateFormat::*;
        for (text, format, wanted) in [
            ("31.01.2024", DayFirst, "2024-01-31"),
            ("31/1/24", DayFirst, "2024-01-31"),
            ("31-01-2024", DayFirst, "2024-01-31"),
            ("1/31/2024", MonthFirst, "2024-01-31"),
            ("2024/1/31", YearFirst, "2024-01-31"),
            ("2024.01.31", YearFirst, "2024-01-31"),
            ("20240131", YearFirst, "2024-01-31"),
            ("2024-01", YearFirst, "2024-01-01"),
            ("31 Jan 2024", DayFirst, "2024-01-31"),
            ("31-Jan-24", YearFirst, "2024-01-31"),
            ("Jan 31, 2024", DayFirst, "2024-01-31"),
            ("January 31st, 2024", DayFirst, "2024-01-31"),
            ("Wed, 31 Jan 2024", DayFirst, "2024-01-31"),
            ("31. März 2024", DayFirst, "2024-03-31"),
            ("1 août 2023", DayFirst, "2023-08-01"),
            ("12 de diciembre de 2023", DayFirst, "2023-12-12"),
            ("Dec 1969", DayFirst, "1969-12-01"),
        ] {
            let read = parse(text, format).map(|(at, timed)| date::text(at, timed));
            assert_eq!(read.as_deref(), Some(wanted), "{text}");
        }
        for (text, wanted) in [
            ("31.01.2024 08:30", "2024-01-31T08:30:00"),
            ("31/01/2024 8:30:15 PM", "2024-01-31T20:30:15"),
            ("31 Jan 2024, 12:05 am", "2024-01-31T00:05:00"),
            ("08:30", "1970-01-01T08:30:00"),
            ("23:59:59", "1970-01-01T23:59:59"),
        ] {
            let read = parse(text, DayFirst).map(|(at, timed)| date::text(at, timed));
            assert_eq!(read.as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "31.02.2024",
            "32/01/2024",
            "13/13/2024",
            "1.2.3",
            "1.2.33",
            "1234",
            "may",
            "Marvin 3",
            "25:00",
            "8:5",
            "",
            "-",
            "a:b",
            "10-20",
            "1/2",
            "12:30 kg",
            "2024-13",
            "31.01.",
            "Sunset 5",
        ] {
            for format in [DayFirst, MonthFirst] {
                assert_eq!(parse(text, format), None, "{text}");
            }
        }
    }
}
