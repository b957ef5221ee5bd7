//! Which seasons a series has: of those that the calendar suggests, or a cycle that the series itself shows.

use super::frequency::Frequency;

/// A season that is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Season {
    /// How many steps it takes.
    pub period: usize,
    /// The share of what varies around the trend that it explains, from 0 to 1.
    pub strength: f64,
}

/// Of what varies around the trend a season explains at least so much.
const STRENGTH: f64 = 0.1;
/// … and so many times as much as chance would, by its degrees of freedom (the F of an analysis of variance).
const CHANCE: f64 = 3.0;
/// How often a season must be seen to be known.
const CYCLES: usize = 2;
/// A cycle that no calendar suggests is seen where values so far apart are so alike (the autocorrelation around a trend).
const ALIKE: f64 = 0.4;
/// The longest such cycle.
const LONGEST: usize = 400;

/// The seasons of a series, the strongest first; none where nothing comes back. Of those that its frequency suggests
/// ([`Frequency::periods`]) a season is there where the means of its steps explain, around a trend of its own length, at least a tenth of what
/// varies, and three times as much as chance would. A longer season must explain that of what shorter ones leave. Where the calendar
/// suggests none, the autocorrelation may show a cycle. Missing values are `NaN`.
///
/// ```
/// use kiln::forecast::{Frequency, seasons};
///
/// let days: Frequency = "daily".parse()?;
/// let values: Vec<f64> = (0..200).map(|at| f64::from(at % 7) + 0.01 * f64::from(at * at % 13)).collect();
/// assert_eq!(seasons(&values, days)[0].period, 7);
/// # Ok::<(), kiln::Error>(())
/// ```
pub fn seasons(values: &[f64], frequency: Frequency) -> Vec<Season> {
    let suggested = frequency.periods();
    let mut found = Vec::new();
    let mut rest = values.to_vec();
    for period in suggested.iter().copied() {
        if let Some((strength, means)) = tested(&rest, period) {
            found.push(Season { period, strength });
            rest.iter_mut().enumerate().for_each(|(at, value)| *value -= means[at % period]);
        }
    }
    if suggested.is_empty()
        && let Some(period) = cycle(values)
        && let Some((strength, _)) = tested(values, period)
    {
        found.push(Season { period, strength });
    }
    found.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    found
}

/// How strong a season is, and what each of its steps adds, where it is there.
fn tested(values: &[f64], period: usize) -> Option<(f64, Vec<f64>)> {
    if period < 2 || values.len() < CYCLES * period + period {
        return None;
    }
    let around = detrended(values, period);
    let (mut sums, mut counts) = (vec![0.0; period], vec![0usize; period]);
    for (at, value) in around.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        sums[at % period] += value;
        counts[at % period] += 1;
    }
    let seen: usize = counts.iter().sum();
    if seen < CYCLES * period || counts.contains(&0) {
        return None;
    }
    let all = sums.iter().sum::<f64>() / seen as f64;
    let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / *count as f64 - all).collect();
    let (mut whole, mut left) = (0.0, 0.0);
    for (at, value) in around.iter().enumerate().filter(|(_, value)| value.is_finite()) {
        whole += (value - all) * (value - all);
        let rest = value - all - means[at % period];
        left += rest * rest;
    }
    let (own, free) = ((period - 1) as f64, (seen - period) as f64);
    if whole <= 0.0 || free <= 0.0 {
        return None;
    }
    let chance = ((whole - left) / own) / (left / free).max(1e-12 * whole / free);
    let strength = (1.0 - (left / free) / (whole / (seen - 1) as f64)).clamp(0.0, 1.0);
    (strength >= STRENGTH && chance >= CHANCE).then_some((strength, means))
}

/// Values less a mean that moves over one period, the ends of which are `NaN`.
fn detrended(values: &[f64], period: usize) -> Vec<f64> {
    // Of an even period the first and the last count half, so that the middle is a value.
    let half = period / 2;
    let weight = |far: usize| if period.is_multiple_of(2) && far == half { 0.5 } else { 1.0 };
    let mut around = vec![f64::NAN; values.len()];
    // Prefix sums, so that a long period takes no longer.
    let (mut sums, mut counts) = (vec![0.0], vec![0.0]);
    for value in values {
        let there = value.is_finite();
        sums.push(sums[sums.len() - 1] + if there { *value } else { 0.0 });
        counts.push(counts[counts.len() - 1] + f64::from(u8::from(there)));
    }
    for at in half..values.len().saturating_sub(half) {
        let (first, last) = (at - half, at + half);
        let (mut sum, mut count) = (sums[last + 1] - sums[first], counts[last + 1] - counts[first]);
        for end in [first, last] {
            let less = 1.0 - weight(half);
            if values[end].is_finite() {
                sum -= less * values[end];
                count -= less;
            }
        }
        // A mean of less than half of a period says little of the trend.
        if count >= 0.5 * period as f64 {
            around[at] = values[at] - sum / count;
        }
    }
    around
}

/// The cycle at which values are most alike again, around a straight line; none where they aren't.
fn cycle(values: &[f64]) -> Option<usize> {
    let line = straight(values)?;
    let around: Vec<f64> =
        values.iter().enumerate().map(|(at, value)| value - line.0 - line.1 * at as f64).collect();
    let longest = (values.len() / 3).min(LONGEST);
    let alike: Vec<f64> = (0..=longest + 1).map(|lag| autocorrelation(&around, lag)).collect();
    // Values near each other are alike without any cycle: it begins behind where they are alike no more.
    let begin = alike.iter().position(|alike| *alike < 0.0)?;
    let peak = (begin.max(2)..=longest).max_by(|a, b| alike[*a].total_cmp(&alike[*b]))?;
    let is_peak = alike[peak] >= alike[peak - 1] && alike[peak] >= alike[peak + 1];
    // A cycle of ten and a half steps is as alike after ten as after eleven: its multiples tell which is nearer.
    let multiples = |period: &usize| {
        let own: Vec<f64> = (1..=3).filter_map(|count| alike.get(count * period).copied()).collect();
        own.iter().sum::<f64>() / own.len() as f64
    };
    let nearest =
        (begin.max(2).max(peak - 1)..=peak + 1).max_by(|a, b| multiples(a).total_cmp(&multiples(b)));
    nearest.filter(|_| is_peak && alike[peak] >= ALIKE)
}

/// Where a straight line through values begins, and how it rises.
fn straight(values: &[f64]) -> Option<(f64, f64)> {
    let seen = || {
        values
            .iter()
            .enumerate()
            .filter(|(_, value)| value.is_finite())
            .map(|(at, value)| (at as f64, *value))
    };
    let count = seen().count() as f64;
    if count < 3.0 {
        return None;
    }
    let (x, y) = seen().fold((0.0, 0.0), |(x, y), (at, value)| (x + at / count, y + value / count));
    let (xx, xy) = seen()
        .fold((0.0, 0.0), |(xx, xy), (at, value)| (xx + (at - x) * (at - x), xy + (at - x) * (value - y)));
    let rise = if xx > 0.0 { xy / xx } else { 0.0 };
    Some((y - rise * x, rise))
}

/// How alike values are to those some steps before, from −1 to 1.
fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    let square: f64 = values.iter().filter(|value| value.is_finite()).map(|value| value * value).sum();
    let pairs = values.iter().zip(values.iter().skip(lag)).filter(|(a, b)| a.is_finite() && b.is_finite());
    let products: f64 = pairs.map(|(a, b)| a * b).sum();
    if square > 0.0 { products / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use kiln_data::Rng;

    use super::*;

    fn frequency(text: &str) -> Frequency {
        text.parse().unwrap()
    }

    fn periods(values: &[f64], text: &str) -> Vec<usize> {
        seasons(values, frequency(text)).iter().map(|season| season.period).collect()
    }

    fn wave(at: usize, period: f64) -> f64 {
        libm::sin(2.0 * std::f64::consts::PI * at as f64 / period)
    }

    #[test]
    fn seasons_are_found_under_trend_and_noise_and_through_gaps() {
        let mut rng = Rng::new(1);
        let hours: Vec<f64> = (0..24 * 7 * 6)
            .map(|at| {
                0.01 * at as f64
                    + 2.0 * wave(at, 24.0)
                    + f64::from(at / 24 % 7 > 4) * 2.0
                    + 0.5 * rng.normal()
            })
            .collect();
        let mut found = periods(&hours, "hourly");
        found.sort_unstable();
        assert_eq!(found, [24, 168]);
        let months: Vec<f64> = (0..120)
            .map(|at| if at % 11 == 3 { f64::NAN } else { at as f64 + 5.0 * wave(at, 12.0) + rng.normal() })
            .collect();
        assert_eq!(periods(&months, "monthly"), [12]);
        let sun: Vec<f64> = (0..300).map(|at| 50.0 + 40.0 * wave(at, 11.0) + 8.0 * rng.normal()).collect();
        assert_eq!(periods(&sun, "steps of 1"), [11]);
    }

    #[test]
    fn known_series_have_the_seasons_that_they_are_known_for() {
        let kept: Vec<serde_json::Value> = serde_json::from_str(include_str!("ets/reference.json")).unwrap();
        let mut found = Vec::new();
        for (name, text) in [
            ("air passengers", "monthly"),
            ("CO2", "monthly"),
            ("El Niño", "monthly"),
            ("sunspots", "yearly"),
            ("Nile", "yearly"),
            ("unemployment", "quarterly"),
        ] {
            let own = kept.iter().find(|own| own["name"] == name).unwrap();
            let values = own["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
            found.push(periods(&values.collect::<Vec<_>>(), text));
        }
        assert_eq!(found, [vec![12], vec![12], vec![12], vec![11], vec![], vec![]]);
    }

    #[test]
    fn noise_and_walks_have_no_season() {
        let (mut found, rounds) = (0, 60);
        for seed in 0..rounds {
            let mut rng = Rng::new(100 + seed);
            let noise: Vec<f64> = (0..200).map(|_| rng.normal()).collect();
            let mut at = 0.0;
            let mut walk = || {
                at += rng.normal();
                at
            };
            let walk: Vec<f64> = (0..200).map(|_| walk()).collect();
            for values in [&noise, &walk] {
                for text in ["daily", "monthly", "quarterly", "hourly", "steps of 1"] {
                    found += periods(values, text).len();
                }
            }
        }
        assert!(found <= 6, "{found} of {} are there by chance", rounds * 10);
    }

    #[test]
    fn what_never_changes_or_is_short_has_no_season() {
        assert!(periods(&[1.0; 100], "daily").is_empty());
        assert!(periods(&[1.0, 2.0, 3.0], "monthly").is_empty());
        assert!(periods(&[], "steps of 1").is_empty());
        assert!(periods(&[f64::NAN; 50], "daily").is_empty());
    }
}
