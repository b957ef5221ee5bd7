//! Dates of ISO 8601 and the calendar they follow: seconds since 1970-01-01, in UTC.

const DAY: i64 = 86_400;

/// A moment's place in the calendar.
///
/// ```
/// use kiln_data::DateTime;
///
/// let moment = DateTime::of(1_706_689_800);
/// assert_eq!((moment.year, moment.month, moment.day, moment.second), (2024, 1, 31, 8 * 3600 + 1800));
/// assert_eq!(DateTime::midnight(2024, 1, 31), Some(1_706_689_800 - moment.second));
/// assert_eq!(DateTime::month_length(2024, 2), 29);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// The year, which may be negative.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    /// From Monday, which is 0.
    pub weekday: i64,
    /// Seconds of the day.
    pub second: i64,
}

impl DateTime {
    /// The place of a moment, in seconds since 1970 in UTC.
    pub fn of(seconds: i64) -> DateTime {
        let days = seconds.div_euclid(DAY);
        // Eras of 400 years that start in March, so that a leap day comes last: Hinnant's `civil_from_days`.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march = (5 * of_year + 2) / 153;
        let month = if march < 10 { march + 3 } else { march - 9 };
        DateTime {
            year: year + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * march + 2) / 5 + 1,
            weekday: (days + 3).rem_euclid(7),
            second: seconds.rem_euclid(DAY),
        }
    }

    /// The moment that an ISO date says, with or without a time, in seconds since 1970 in UTC.
    pub fn parse(text: &str) -> Option<i64> {
        parse(text.trim().as_bytes()).map(|(seconds, _)| seconds)
    }

    /// The second a day of the calendar begins at, if there is such a day.
    pub fn midnight(year: i64, month: i64, day: i64) -> Option<i64> {
        midnight(year, month, day)
    }

    /// Days in a month.
    pub fn month_length(year: i64, month: i64) -> i64 {
        month_length(year, month)
    }
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The second a day of the calendar begins at, if there is such a day.
pub(super) fn midnight(year: i64, month: i64, day: i64) -> Option<i64> {
    let in_calendar = (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
    in_calendar.then(|| days(year, month, day) * DAY)
}

/// Days in a month.
pub(super) fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `2024-01-31`, `2024-01-31T08:30`, `2024-01-31 08:30:59.5Z`, `…+02:00`: seconds since 1970, and whether a time is said.
pub(super) fn parse(text: &[u8]) -> Option<(i64, bool)> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if !is(4, b'-') || !is(7, b'-') {
        return None;
    }
    let midnight = midnight(year, month, day)?;
    if text.len() == 10 {
        return Some((midnight, false));
    }
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    if !(is(10, b'T') || is(10, b' ')) || !is(13, b':') || hour > 23 || minute > 59 {
        return None;
    }
    let (mut second, mut at) = (0, 16);
    if is(16, b':') {
        (second, at) = (number(17..19)?, 19);
        if second > 60 {
            return None;
        }
        if is(19, b'.') {
            let digits = text[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            at = 20 + digits;
            if digits == 0 {
                return None;
            }
        }
    }
    let offset = match text.get(at..)? {
        b"" | b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    Some((midnight + hour * 3600 + minute * 60 + second - offset, true))
}

/// The moment as ISO text.
pub(super) fn text(seconds: i64, timed: bool) -> String {
    let DateTime { year, month, day, second, .. } = DateTime::of(seconds);
    let date = format!("{year:04}-{month:02}-{day:02}");
    match timed {
        true => format!("{date}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
        false => date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        let first = days(1600, 1, 1);
        let mut weekday = DateTime::of(first * DAY).weekday;
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for number in first..days(2400, 1, 1) {
            let moment = DateTime::of(number * DAY + 5);
            assert_eq!((moment.year, moment.month, moment.day, moment.second), (year, month, day, 5));
            assert_eq!(moment.weekday, weekday);
            assert_eq!(days(year, month, day), number);
            weekday = (weekday + 1) % 7;
            day += 1;
            if day > month_length(year, month) {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert_eq!(DateTime::of(0).weekday, 3, "1970 began on a Thursday");
    }

    #[test]
    fn iso_dates_are_read_and_others_are_not() {
        assert_eq!(parse(b"2024-01-31"), Some((1_706_659_200, false)));
        assert_eq!(parse(b"2024-01-31T08:30"), Some((1_706_689_800, true)));
        assert_eq!(parse(b"2024-01-31 08:30:15.250Z"), Some((1_706_689_815, true)));
        assert_eq!(parse(b"2024-01-31T08:30:15+02:00"), Some((1_706_682_615, true)));
        for wrong in [
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "2024-1-31",
            "24-01-31",
            "2024/01/31",
            "2024-01-31T",
            "2024-01-31T25:00",
            "2024-01-31T08:30:",
            "2024-01-31T08:30:15.",
            "2024-01-31X08:30",
            "2024-01-31T08:30+2",
            "2024-01-31T08:30é",
            "２０２４-01-31",
            "",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(text(1_706_689_815, true), "2024-01-31T08:30:15");
        assert_eq!(text(-DAY, false), "1969-12-31");
    }
}
