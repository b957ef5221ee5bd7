//! Where a chart over time has its ticks, and what they say.

use kiln_learn::data::DateTime;
use kiln_learn::forecast::Frequency;

const DAY: i64 = 86_400;
/// Ticks there may be.
const MOST: i64 = 7;

/// Ticks between two times, with their texts: on years, months, days or hours, as the span has room for.
pub(super) fn time_ticks(left: f64, right: f64) -> Vec<(f64, String)> {
    let months = |every: i64| Frequency::Months { every, phase: 0, day: 1, second: 0 };
    let seconds = |every: i64| Frequency::Seconds { every, phase: 0 };
    let minutes = [1, 5, 10, 15, 30].map(|count| seconds(60 * count));
    let hours = [1, 2, 3, 6, 12].map(|count| seconds(3600 * count));
    let days = [1, 2, 7, 14].map(|count| seconds(DAY * count));
    let of_months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000].map(months);
    let grids =
        [seconds(1), seconds(10)].into_iter().chain(minutes).chain(hours).chain(days).chain(of_months);
    // A grid's first step may lie before the left.
    let fits = |grid: &Frequency| grid.between(left, right) <= MOST;
    let Some(grid) = grids.into_iter().find(fits) else { return Vec::new() };
    let text = |time: f64| {
        let DateTime { year, month, day, second, .. } = DateTime::of(time as i64);
        match grid {
            Frequency::Months { every, .. } if every % 12 == 0 => format!("{year}"),
            Frequency::Months { .. } => format!("{year}-{month:02}"),
            Frequency::Seconds { every, .. } if every >= DAY => format!("{month:02}-{day:02}"),
            _ if second == 0 => format!("{month:02}-{day:02}"),
            Frequency::Seconds { every, .. } if every >= 60 => {
                format!("{:02}:{:02}", second / 3600, second / 60 % 60)
            }
            _ => format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
        }
    };
    let (first, last) = (grid.number(left), grid.number(right));
    let times = (first..=last).map(|number| grid.begin(number)).filter(|time| (left..=right).contains(time));
    times.map(|time| (time, text(time))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(from: &str, to: &str) -> Vec<String> {
        let time = |text: &str| Frequency::time(text).unwrap();
        time_ticks(time(from), time(to)).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_suit_the_span() {
        assert_eq!(said("1949-01-01", "1960-12-01"), ["1950", "1952", "1954", "1956", "1958", "1960"]);
        assert_eq!(
            said("2024-01-15", "2024-07-01"),
            ["2024-02", "2024-03", "2024-04", "2024-05", "2024-06", "2024-07"]
        );
        assert_eq!(said("2024-03-01", "2024-03-07")[..2], ["03-01", "03-02"]);
        assert_eq!(
            said("2024-03-01T22:00", "2024-03-02T03:00"),
            ["22:00", "23:00", "03-02", "01:00", "02:00", "03:00"]
        );
        assert_eq!(said("1700-01-01", "2008-01-01").len(), 7);
        assert_eq!(said("2024-03-01", "2024-03-01"), ["03-01"]);
    }
}
