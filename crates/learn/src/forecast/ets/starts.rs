//! First states from the beginning of a series, from which the fit sets out.

use super::{EtsForm, EtsStates, SeasonKind, TrendKind};

/// How many seasons at the beginning tell the season.
const CYCLES: usize = 4;
/// How many values at the beginning tell level and trend.
const BEGINNING: usize = 10;

pub(super) fn states(form: EtsForm, values: &[f64]) -> EtsStates {
    let period = form.seasons();
    let seasonal = match form.season {
        SeasonKind::None => vec![1.0],
        SeasonKind::Additive | SeasonKind::Multiplicative => seasonal(form, values),
    };
    let without = |(at, value): (usize, &f64)| match form.season {
        SeasonKind::None => *value,
        SeasonKind::Additive => value - seasonal[at % period],
        SeasonKind::Multiplicative => value / seasonal[at % period],
    };
    let most = BEGINNING.max(2 * period);
    let points: Vec<(f64, f64)> = values
        .iter()
        .enumerate()
        .take(most)
        .filter(|(_, value)| !value.is_nan())
        .map(|(at, value)| (at as f64 + 1.0, without((at, value))))
        .collect();
    let count = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    if form.trend == TrendKind::None {
        return EtsStates { level: y, slope: 0.0, seasonal };
    }
    let (xx, xy) = points.iter().fold((0.0, 0.0), |(xx, xy), point| {
        (xx + (point.0 - x) * (point.0 - x), xy + (point.0 - x) * (point.1 - y))
    });
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let level = y - slope * x;
    match form.season == SeasonKind::Multiplicative && level <= 0.0 {
        true => EtsStates { level: y, slope: 0.0, seasonal },
        false => EtsStates { level, slope, seasonal },
    }
}

/// The means of the first seasons around their own means.
fn seasonal(form: EtsForm, values: &[f64]) -> Vec<f64> {
    let period = form.seasons();
    let is_product = form.season == SeasonKind::Multiplicative;
    let neutral = if is_product { 1.0 } else { 0.0 };
    let (mut sums, mut counts) = (vec![0.0; period], vec![0.0; period]);
    let cycles: Vec<&[f64]> = values.chunks_exact(period).take(CYCLES).collect();
    let mean = |cycle: &[f64]| {
        let there = || cycle.iter().filter(|value| !value.is_nan());
        let count = there().count();
        (2 * count > cycle.len()).then(|| there().sum::<f64>() / count as f64)
    };
    let means: Vec<Option<f64>> = cycles.iter().map(|cycle| mean(cycle)).collect();
    // A trend within a season is a part of what its means show.
    let seen: Vec<f64> = means.iter().flatten().copied().collect();
    let rise = match (seen.first(), seen.last()) {
        (Some(first), Some(last)) if seen.len() > 1 => (last - first) / ((seen.len() - 1) * period) as f64,
        _ => 0.0,
    };
    for (cycle, mean) in cycles.iter().zip(&means) {
        let Some(mean) = mean else { continue };
        for (at, value) in cycle.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let expected = mean + rise * (at as f64 - 0.5 * (period - 1) as f64);
            sums[at] += if is_product { value / expected } else { value - expected };
            counts[at] += 1.0;
        }
    }
    let mut seasonal: Vec<f64> = sums
        .iter()
        .zip(&counts)
        .map(|(sum, count)| if *count > 0.0 { sum / count } else { neutral })
        .collect();
    let mean = seasonal.iter().sum::<f64>() / period as f64;
    if is_product {
        // What is far below must stay above zero.
        seasonal.iter_mut().for_each(|own| *own = (*own / mean).max(1e-2));
        let mean = seasonal.iter().sum::<f64>() / period as f64;
        seasonal.iter_mut().for_each(|own| *own /= mean);
    } else {
        seasonal.iter_mut().for_each(|own| *own -= mean);
    }
    seasonal
}
