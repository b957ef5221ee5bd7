//! The frequency of times: of the grids that their distances suggest the coarsest that they lie on.

use std::collections::BTreeMap;

use kiln_data::DateTime;

use super::{DAY, Frequency, HOUR, MINUTE, WEEK};

/// The share of times that a frequency must suit to be taken for theirs.
const SUITS: f64 = 0.9;
/// How far times may be from their grid, as a share of a step: a clock that isn't exact, an hour of summer in a day.
const JITTER: f64 = 0.1;
/// How many times are looked at; of more series the first.
const LOOKED_AT: usize = 200_000;
/// How many distances are tried as steps, the most frequent first.
const TRIED: usize = 8;

/// Of each series the times that differ, in order; and what is between them.
struct Observed {
    times: Vec<Vec<f64>>,
    count: usize,
    /// How often two times that follow each other are so far apart, the most frequent first.
    distances: Vec<(f64, usize)>,
}

impl Observed {
    fn of<'t>(series: impl IntoIterator<Item = &'t [f64]>, dates: bool) -> Observed {
        let (mut all, mut count) = (Vec::new(), 0);
        let mut distances: BTreeMap<i64, (f64, usize)> = BTreeMap::new();
        for times in series {
            let mut times: Vec<f64> = times.iter().copied().filter(|time| time.is_finite()).collect();
            times.sort_by(f64::total_cmp);
            times.dedup();
            for pair in times.windows(2) {
                let distance = pair[1] - pair[0];
                // Distances of numbers that were computed with are rounded: 0.08333 and 0.08334 are one.
                let key = if dates { distance as i64 } else { (distance * 1e4).round() as i64 };
                distances.entry(key).or_insert((distance, 0)).1 += 1;
            }
            count += times.len();
            all.push(times);
            if count > LOOKED_AT {
                break;
            }
        }
        let mut distances: Vec<(f64, usize)> = distances.into_values().collect();
        distances.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.total_cmp(&b.0)));
        Observed { times: all, count, distances }
    }

    fn each(&self) -> impl Iterator<Item = f64> + Clone {
        self.times.iter().flatten().copied()
    }

    /// The share of times that a frequency gives a step of their own, near its beginning.
    fn suited(&self, frequency: Frequency) -> f64 {
        let mut suited = 0;
        for times in &self.times {
            let mut before = None;
            for &time in times {
                let number = frequency.number(time);
                let near = match frequency {
                    Frequency::Seconds { every, .. } => {
                        time - frequency.begin(number) <= JITTER * every as f64
                    }
                    _ => frequency.suits(time),
                };
                suited += usize::from(near && before != Some(number));
                before = Some(number);
            }
        }
        suited as f64 / self.count.max(1) as f64
    }
}

pub(super) fn find<'t>(series: impl IntoIterator<Item = &'t [f64]>, dates: bool) -> Option<(Frequency, f64)> {
    let observed = Observed::of(series, dates);
    if observed.count < 3 || observed.distances.is_empty() {
        return None;
    }
    let mut candidates = if dates { of_dates(&observed) } else { of_numbers(&observed) };
    candidates.retain(|candidate| !is_too_fine(&observed, *candidate));
    let rated = candidates.into_iter().map(|frequency| (frequency, observed.suited(frequency)));
    // The coarsest stand first.
    rated.into_iter().find(|(_, share)| *share >= SUITS)
}

/// A grid on which the steps outnumber the times by a hundred is none.
fn is_too_fine(observed: &Observed, frequency: Frequency) -> bool {
    let steps = observed
        .times
        .iter()
        .filter_map(|times| Some(frequency.between(*times.first()?, *times.last()?)))
        .fold(0, i64::saturating_add);
    steps > 100 * observed.count as i64
}

/// The largest number that divides all of some.
fn divisor(numbers: impl Iterator<Item = i64>) -> i64 {
    numbers.fold(0, |mut a, mut b| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}

/// The most frequent of some numbers; of several the least.
fn mode(numbers: impl Iterator<Item = i64>) -> i64 {
    let mut counts = BTreeMap::new();
    numbers.for_each(|number| *counts.entry(number).or_insert(0usize) += 1);
    let most = counts.iter().max_by_key(|(number, count)| (**count, -**number));
    most.map_or(0, |(number, _)| *number)
}

fn of_dates(observed: &Observed) -> Vec<Frequency> {
    let mut candidates = of_months(observed);
    let second = mode(observed.each().map(|time| (time as i64).rem_euclid(DAY)));
    let mut seconds: Vec<i64> = observed.distances.iter().take(TRIED).map(|(far, _)| *far as i64).collect();
    seconds.push(divisor(observed.distances.iter().map(|(far, _)| *far as i64)));
    // Durations of a clock near the most frequent distance, for times that aren't exact.
    let usual = observed.distances.first().map_or(0.0, |(far, _)| *far);
    let clock = [1, 5, 10, 15, 30].into_iter().flat_map(|count| [count, count * MINUTE]);
    let near = clock
        .chain([HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR, DAY, WEEK])
        .filter(|seconds| (*seconds as f64 - usual).abs() <= JITTER * *seconds as f64);
    seconds.extend(near);
    seconds.retain(|every| *every > 0);
    seconds.sort_unstable_by(|a, b| b.cmp(a));
    seconds.dedup();
    for every in seconds {
        if every == DAY && leaves_weekends_out(observed) {
            candidates.push(Frequency::Weekdays { second });
        }
        let phase = phase(observed.each().map(|time| time as i64), every);
        candidates.push(Frequency::Seconds { every, phase });
    }
    candidates
}

/// Whether no time is of a Saturday or Sunday, and there was a weekend, which days have around it.
fn leaves_weekends_out(observed: &Observed) -> bool {
    let (mut weekend, mut over) = (0, 0);
    for times in &observed.times {
        weekend += times.iter().filter(|time| DateTime::of(**time as i64).weekday >= 5).count();
        let is_over =
            |pair: &&[f64]| DateTime::of(pair[0] as i64).weekday > DateTime::of(pair[1] as i64).weekday;
        over += times.windows(2).filter(is_over).count();
    }
    weekend == 0 && over >= 2
}

fn of_months(observed: &Observed) -> Vec<Frequency> {
    let usual = observed.distances.first().map_or(0.0, |(far, _)| *far);
    if usual < (27 * DAY) as f64 {
        return Vec::new();
    }
    let month = |time: f64| {
        let DateTime { year, month, .. } = DateTime::of(time as i64);
        12 * year + month - 1
    };
    let apart = || {
        let pairs = observed.times.iter().flat_map(|times| times.windows(2));
        pairs.map(|pair| month(pair[1]) - month(pair[0]))
    };
    let mut every = vec![mode(apart()), divisor(apart())];
    every.retain(|every| *every > 0);
    every.sort_unstable_by(|a, b| b.cmp(a));
    every.dedup();
    let of = |every: i64| months(observed.each(), every);
    every.into_iter().map(of).collect()
}

/// Every so many months, as these times show.
fn months(times: impl Iterator<Item = f64> + Clone, every: i64) -> Frequency {
    let moment = |time: f64| DateTime::of(time as i64);
    let phase = mode(times.clone().map(|time| {
        let DateTime { year, month, .. } = moment(time);
        (12 * year + month - 1).rem_euclid(every.max(1))
    }));
    let is_last = |time: f64| {
        let DateTime { year, month, day, .. } = moment(time);
        day == DateTime::month_length(year, month)
    };
    let day = match times.clone().all(is_last) {
        true => 31,
        false => mode(times.clone().map(|time| moment(time).day)),
    };
    // Days that short months don't have are seen in long ones.
    let day = times
        .clone()
        .map(|time| moment(time).day)
        .filter(|_| day >= 28)
        .max()
        .map_or(day, |most| most.max(day));
    let second = mode(times.map(|time| moment(time).second));
    Frequency::Months { every, phase, day, second }
}

fn of_numbers(observed: &Observed) -> Vec<Frequency> {
    let mut steps: Vec<f64> = observed.distances.iter().take(TRIED).map(|(far, _)| *far).collect();
    // The mean of distances that are nearly the same is nearer to what was meant.
    if let Some(&(usual, _)) = observed.distances.first() {
        let near: Vec<(f64, usize)> = observed
            .distances
            .iter()
            .copied()
            .filter(|(far, _)| (far - usual).abs() <= JITTER * usual)
            .collect();
        let (sum, count) = near
            .iter()
            .fold((0.0, 0), |(sum, count), (far, times)| (sum + far * *times as f64, count + times));
        let mean = sum / count.max(1) as f64;
        // Parts of a year are written with few digits.
        let parts = (1.0 / mean).round();
        let is_part = parts >= 2.0 && (mean * parts - 1.0).abs() < 0.01;
        steps.push(if is_part { 1.0 / parts } else { mean });
    }
    if observed.each().all(|time| time.fract() == 0.0) {
        steps.push(divisor(observed.distances.iter().map(|(far, _)| *far as i64)) as f64);
    }
    steps.retain(|step| *step > 0.0);
    steps.sort_by(|a, b| b.total_cmp(a));
    steps.dedup();
    let first = observed.each().fold(f64::INFINITY, f64::min);
    let of = |every: f64| Frequency::Numbers { every, phase: first.rem_euclid(every) };
    steps.into_iter().map(of).collect()
}

/// Where steps begin: the earliest of the remainders that lie closest together.
fn phase(times: impl Iterator<Item = i64>, every: i64) -> i64 {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    times.for_each(|time| *counts.entry(time.rem_euclid(every)).or_insert(0) += 1);
    let remainders: Vec<(i64, usize)> = counts.into_iter().collect();
    let width = (JITTER * every as f64) as i64;
    // A window goes around the circle of remainders.
    let at = |place: usize| {
        let (remainder, count) = remainders[place % remainders.len()];
        (remainder + if place >= remainders.len() { every } else { 0 }, count)
    };
    let (mut end, mut inside, mut best) = (0, 0, (0, 0));
    for start in 0..remainders.len() {
        while end < start + remainders.len() && at(end).0 - at(start).0 <= width {
            inside += at(end).1;
            end += 1;
        }
        if inside > best.0 {
            best = (inside, at(start).0);
        }
        inside -= at(start).1;
    }
    best.1
}

pub(super) fn aligned(frequency: Frequency, times: &[f64]) -> Frequency {
    if times.is_empty() {
        return frequency;
    }
    let each = || times.iter().copied();
    match frequency {
        // A day begins at midnight, whenever in it something was written down.
        Frequency::Seconds { every, .. } if every <= DAY => frequency,
        Frequency::Seconds { every, .. } => {
            let days = || each().map(|time| (time as i64).div_euclid(DAY) * DAY);
            let shown = phase(days(), every);
            let own = days().filter(|day| day.rem_euclid(every) == shown).count();
            // Days of every weekday show none.
            if 2 * own > times.len() { Frequency::Seconds { every, phase: shown } } else { frequency }
        }
        Frequency::Weekdays { .. } => frequency,
        Frequency::Months { every, .. } => months(each(), every),
        Frequency::Numbers { every, .. } => {
            let first = each().fold(f64::INFINITY, f64::min);
            Frequency::Numbers { every, phase: first.rem_euclid(every) }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_data::Rng;

    use super::*;

    fn times(frequency: Frequency, from: &str, count: i64) -> Vec<f64> {
        let from = Frequency::time(from).unwrap();
        (0..count).map(|at| frequency.step(from, at)).collect()
    }

    fn found(times: &[f64]) -> String {
        match Frequency::find([times], true) {
            Some((frequency, share)) => format!("{frequency}, {:.0} %", 100.0 * share),
            None => "none".to_string(),
        }
    }

    #[test]
    fn each_frequency_is_found_from_its_times_also_with_gaps() {
        let months = |every, phase, day| Frequency::Months { every, phase, day, second: 0 };
        let seconds = |every, phase| Frequency::Seconds { every, phase };
        let mut all = vec![Frequency::Weekdays { second: 0 }, Frequency::Weekdays { second: 16 * HOUR }];
        for every in [1, 10, MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY, WEEK, 2 * WEEK] {
            all.extend([seconds(every, 0), seconds(every, every / 4)]);
        }
        for day in [1, 15, 30, 31] {
            all.extend([months(1, 0, day), months(3, 1, day), months(12, 3, day), months(6, 5, day)]);
        }
        let mut rng = Rng::new(1);
        for frequency in all {
            let whole = times(frequency, "2020-01-15T04:00", 120);
            let mut gapped = whole.clone();
            gapped.retain(|_| rng.uniform() < 0.6);
            for times in [&whole, &gapped] {
                let (found, share) = Frequency::find([&times[..]], true).unwrap();
                assert_eq!((found.noun(), share), (frequency.noun(), 1.0), "{frequency:?}");
                // The last of April is a month's last day, or its thirtieth: the times are the same.
                let (own, wanted) = (found.number(whole[0]), frequency.number(whole[0]));
                assert!(
                    (0..90).all(|at| found.begin(own + at) == frequency.begin(wanted + at)),
                    "{frequency:?}"
                );
            }
        }
    }

    #[test]
    fn clocks_that_are_not_exact_have_their_frequency() {
        let exact = times(Frequency::Seconds { every: 900, phase: 0 }, "2024-03-01", 500);
        let mut rng = Rng::new(2);
        let late: Vec<f64> = exact.iter().map(|time| time + rng.below(20) as f64).collect();
        assert_eq!(found(&late), "every 15 minutes, 100 %");
        // Midnights of a place that puts its clock forward.
        let days = times(Frequency::Seconds { every: DAY, phase: 23 * HOUR }, "2024-01-01T23:00", 366);
        let local: Vec<f64> = days
            .iter()
            .enumerate()
            .map(|(day, time)| if (90..300).contains(&day) { time - 3600.0 } else { *time })
            .collect();
        assert_eq!(found(&local), "daily, 100 %");
        let (frequency, _) = Frequency::find([&local[..]], true).unwrap();
        assert!(local.windows(2).all(|pair| frequency.between(pair[0], pair[1]) == 1));
    }

    #[test]
    fn times_without_a_grid_have_no_frequency() {
        let mut rng = Rng::new(3);
        let anytime: Vec<f64> = (0..400).map(|_| 1.7e9 + (rng.uniform() * 1e7).floor()).collect();
        assert_eq!(found(&anytime), "none");
        assert_eq!(found(&[0.0, DAY as f64]), "none");
        assert_eq!(found(&[5.0; 50]), "none");
    }

    #[test]
    fn numbers_step_too() {
        let find =
            |times: &[f64]| Frequency::find([times], false).map(|(frequency, _)| frequency.to_string());
        let years: Vec<f64> = (1700..2009).map(f64::from).collect();
        assert_eq!(find(&years).unwrap(), "steps of 1");
        let quarters: Vec<f64> = (0..200).map(|at| 1959.0 + 0.25 * f64::from(at)).collect();
        assert_eq!(find(&quarters).unwrap(), "steps of 0.25");
        let months: Vec<f64> =
            (0..300).map(|at| ((1949.0 + f64::from(at) / 12.0) * 1000.0).round() / 1000.0).collect();
        let (frequency, share) = Frequency::find([&months[..]], false).unwrap();
        assert!(share > 0.99);
        assert!(months.windows(2).all(|pair| frequency.between(pair[0], pair[1]) == 1), "{frequency:?}");
    }

    #[test]
    fn several_series_show_their_frequency_together() {
        let one = times(Frequency::Seconds { every: DAY, phase: 0 }, "2024-01-01", 30);
        let rare: Vec<f64> = one.iter().copied().step_by(9).collect();
        let (frequency, share) = Frequency::find([&one[..], &rare], true).unwrap();
        assert_eq!((frequency.to_string().as_str(), share), ("daily", 1.0));
    }

    #[test]
    fn a_frequency_that_is_told_takes_its_weekday_from_the_times() {
        let sundays = times(Frequency::Seconds { every: WEEK, phase: 3 * DAY }, "2024-01-07", 20);
        let told: Frequency = "weekly".parse().unwrap();
        assert_eq!(told.aligned(&sundays).to_string(), "weekly (Sunday)");
        let told: Frequency = "quarterly".parse().unwrap();
        let ends = times(Frequency::Months { every: 3, phase: 2, day: 31, second: 0 }, "2024-03-31", 9);
        assert_eq!(told.aligned(&ends).to_string(), "quarterly (from March, last day)");
    }
}
