//! Dates of Excel: numbers of days that a cell's style shows as dates.

use crate::table::date;

/// Whether a style's format shows a number as a date or a time of the day: by the number of one that every program knows, or by its
/// code, as in `yyyy-mm-dd`.
pub(super) fn shows_date(number: u32, code: Option<&str>) -> bool {
    match code {
        Some(code) => is_date_code(code),
        // 46 counts hours.
        None => matches!(number, 14..=22 | 27..=36 | 45 | 47 | 50..=58),
    }
}

fn is_date_code(code: &str) -> bool {
    let mut letters = code.chars();
    let mut found = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' => drop(letters.by_ref().find(|letter| *letter == '"')),
            '\\' | '_' | '*' => drop(letters.next()),
            // A colour or a language; or hours, minutes or seconds that are counted: an amount.
            '[' => {
                let inside: String = letters.by_ref().take_while(|letter| *letter != ']').collect();
                if !inside.is_empty() && inside.chars().all(|letter| "hHmMsS".contains(letter)) {
                    return false;
                }
            }
            // What follows is for negative numbers.
            ';' => return found,
            'y' | 'Y' | 'm' | 'M' | 'd' | 'D' | 'h' | 'H' | 's' | 'S' => found = true,
            // `General`, and digits of a number.
            'G' | 'g' if letters.as_str().to_lowercase().starts_with("eneral") => return false,
            '0' | '#' | '?' if !found => return false,
            _ => {}
        }
    }
    found
}

const DAY: f64 = 86_400.0;

/// The moment of a number of days as text: `2024-01-31`, with a time where it has one, or a time alone. None for what no calendar has.
pub(super) fn moment(days: f64, since_1904: bool) -> Option<String> {
    // From 1900 to the year 9999.
    if !(0.0..2_958_466.0).contains(&days) {
        return None;
    }
    let seconds = (days * DAY).round() as i64;
    let (day, rest) = (seconds.div_euclid(DAY as i64), seconds.rem_euclid(DAY as i64));
    if day == 0 && !since_1904 && rest > 0 {
        return Some(format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60));
    }
    let since_1970 = match (since_1904, day) {
        (true, day) => day - 24_107,
        // Excel has a 29th of February 1900, which there wasn't.
        (false, ..=59) => day - 25_568,
        (false, day) => day - 25_569,
    };
    Some(date::text(since_1970 * DAY as i64 + rest, rest != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_show_dates_are_told_from_those_that_show_amounts() {
        for code in [
            "yyyy-mm-dd",
            "d/m/yy h:mm",
            "[$-407]d. mmmm yyyy",
            "hh:mm:ss",
            "mmm-yy;@",
            "[Red]dd.mm.yy",
            "ss.000",
        ] {
            assert!(is_date_code(code), "{code}");
        }
        for code in [
            "0.00",
            "#,##0 \"days\"",
            "General",
            "0%",
            "[h]:mm:ss",
            "\\d0",
            "@",
            "",
            "0.00E+00",
            "_-* #,##0.00 €",
        ] {
            assert!(!is_date_code(code), "{code}");
        }
        assert!(shows_date(14, None) && !shows_date(2, None) && !shows_date(46, None));
    }

    #[test]
    fn days_are_those_that_excel_shows() {
        for (days, shown) in [
            (1.0, "1900-01-01"),
            (59.0, "1900-02-28"),
            (61.0, "1900-03-01"),
            (45_322.0, "2024-01-31"),
            (45_322.354_166_666_664, "2024-01-31T08:30:00"),
            (0.354_166_666_666_666_7, "08:30:00"),
        ] {
            assert_eq!(moment(days, false).as_deref(), Some(shown), "{days}");
        }
        assert_eq!(moment(43_860.0, true).as_deref(), Some("2024-01-31"));
        assert_eq!((moment(-1.0, false), moment(f64::NAN, false), moment(1e300, false)), (None, None, None));
    }
}
