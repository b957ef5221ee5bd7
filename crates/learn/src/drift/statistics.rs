//! How likely it is that two samples differ as much by chance: exact where that is quick, else by the limit of many rows.

use libm::lgamma;

/// The probability of a distance of Kolmogorov and Smirnov as large or larger between samples of so many rows.
pub(super) fn ks_probability(distance: f64, [first, second]: [u64; 2]) -> f64 {
    let rows = (first as f64 * second as f64 / (first + second).max(1) as f64).sqrt();
    let x = (rows + 0.12 + 0.11 / rows.max(1e-9)) * distance;
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * libm::exp(-2.0 * f64::from(k * k) * x * x)
    };
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// The largest distance between the shares up to each part of two samples.
pub(super) fn ks_distance(first: &[u64], second: &[u64]) -> f64 {
    let sums = [first, second].map(|counts| counts.iter().sum::<u64>().max(1) as f64);
    let (mut at, mut largest) = ([0.0, 0.0], 0.0f64);
    for (a, b) in first.iter().zip(second) {
        at = [at[0] + *a as f64 / sums[0], at[1] + *b as f64 / sums[1]];
        largest = largest.max((at[0] - at[1]).abs());
    }
    largest
}

/// Half of what the shares of all kinds differ by: 0 where they are the same, 1 where no kind is in both.
pub(super) fn total_variation(first: &[u64], second: &[u64]) -> f64 {
    let sums = [first, second].map(|counts| counts.iter().sum::<u64>().max(1) as f64);
    let off = |(a, b): (&u64, &u64)| (*a as f64 / sums[0] - *b as f64 / sums[1]).abs();
    0.5 * first.iter().zip(second).map(off).sum::<f64>()
}

/// The population stability index.
pub(super) fn stability(first: &[u64], second: &[u64]) -> f64 {
    // Ten parts tell as much as is usual.
    let each = first.len().div_ceil(10).max(1);
    let parts = |counts: &[u64]| -> Vec<f64> {
        let grouped = counts.chunks(each).map(|part| part.iter().sum::<u64>() as f64 + 0.5);
        let grouped: Vec<f64> = grouped.collect();
        let sum: f64 = grouped.iter().sum();
        grouped.into_iter().map(|part| part / sum).collect()
    };
    parts(first).iter().zip(parts(second)).map(|(a, b)| (b - a) * libm::log(b / a)).sum()
}

/// The probability that the kinds of two samples differ by as much or more, by chi-square; kinds of which few rows are to be expected count as
/// one.
pub(super) fn chi_square_probability(first: &[u64], second: &[u64]) -> f64 {
    /// Fewer rows than this aren't spread as is supposed.
    const EXPECTED: f64 = 5.0;
    let sums = [first, second].map(|counts| counts.iter().sum::<u64>() as f64);
    let all = sums[0] + sums[1];
    if sums[0] == 0.0 || sums[1] == 0.0 {
        return 1.0;
    }
    let least = sums[0].min(sums[1]) / all;
    let (mut kinds, mut rare) = (Vec::new(), [0.0, 0.0]);
    for (a, b) in first.iter().zip(second) {
        let kind = [*a as f64, *b as f64];
        match (kind[0] + kind[1]) * least >= EXPECTED {
            true => kinds.push(kind),
            false => rare = [rare[0] + kind[0], rare[1] + kind[1]],
        }
    }
    match (rare[0] + rare[1]) * least >= EXPECTED {
        true => kinds.push(rare),
        // Too few even together: they count with the rarest of the others.
        false => {
            if let Some(kind) = kinds.iter_mut().min_by(|a, b| (a[0] + a[1]).total_cmp(&(b[0] + b[1]))) {
                *kind = [kind[0] + rare[0], kind[1] + rare[1]];
            }
        }
    }
    let off = |kind: &[f64; 2]| {
        let of = |at: usize| {
            let expected = (kind[0] + kind[1]) * sums[at] / all;
            (kind[at] - expected) * (kind[at] - expected) / expected
        };
        of(0) + of(1)
    };
    match kinds.len() {
        0 | 1 => 1.0,
        count => upper_gamma(0.5 * (count - 1) as f64, 0.5 * kinds.iter().map(off).sum::<f64>()),
    }
}

/// The probability that a share among so many rows is as far from that among others (Fisher's exact test, the smaller side doubled): `[how many,
/// of how many]`.
pub(super) fn fisher_probability([a, rows_a]: [u64; 2], [b, rows_b]: [u64; 2]) -> f64 {
    let (all, found) = (rows_a + rows_b, a + b);
    let choose =
        |n: u64, k: u64| lgamma(n as f64 + 1.0) - lgamma(k as f64 + 1.0) - lgamma((n - k) as f64 + 1.0);
    let whole = choose(all, found);
    let of = |k: u64| libm::exp(choose(rows_a, k) + choose(rows_b, found - k) - whole);
    let (least, most) = (found.saturating_sub(rows_b), found.min(rows_a));
    // From the end on which it is, terms fall fast.
    let sum = |all: Box<dyn Iterator<Item = u64>>| {
        let (mut sum, mut largest) = (0.0, 0.0f64);
        for k in all {
            let term = of(k);
            sum += term;
            largest = largest.max(term);
            if term < largest * 1e-12 {
                break;
            }
        }
        sum
    };
    let below: f64 = sum(Box::new((least..=a.min(most)).rev()));
    let above: f64 = sum(Box::new(a.max(least)..=most));
    (2.0 * below.min(above)).min(1.0)
}

/// The probability that so many of some new rows are beyond all rows of a training, by chance.
pub(super) fn beyond_probability(beyond: u64, new: u64, trained: u64) -> f64 {
    let all = (new + trained) as f64;
    let mut probability = 1.0;
    for at in 0..beyond.min(new) {
        probability *= (new - at) as f64 / (all - at as f64);
        if probability < 1e-300 {
            break;
        }
    }
    probability
}

/// The probability that new rows have as many words that a training didn't, by chance, of how many rows are of each word (`[trained, new]`):
/// that the most frequent of them has all of its rows among the new ones, or that of the words of one row so many are there. A training itself
/// has words that came once, and would have had others.
pub(super) fn unseen_probability(
    [trained, new]: [&[u64]; 2],
    most: u64,
    [rows_trained, rows_new]: [u64; 2],
) -> f64 {
    let kinds = trained.iter().zip(new).filter(|(trained, new)| **trained + **new > 0).count();
    let one = beyond_probability(most, rows_new, rows_trained) * kinds as f64;
    let once = |of: [u64; 2]| trained.iter().zip(new).filter(|(a, b)| [**a, **b] == of).count() as u64;
    let (before, now) = (once([1, 0]), once([0, 1]));
    let is_more = now as f64 * rows_trained as f64 > before as f64 * rows_new as f64;
    let all = if is_more { fisher_probability([now, rows_new], [before, rows_trained]) } else { 1.0 };
    (2.0 * one.min(all)).min(1.0)
}

/// The upper regularised incomplete gamma function: by its series or its continued fraction.
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = libm::exp(a * libm::log(x) - x - lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..10_000 {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-15 {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / tiny, 1.0 / b);
    let mut h = d;
    for at in 1..10_000 {
        let by = -f64::from(at) * (f64::from(at) - a);
        b += 2.0;
        d = by * d + b;
        d = 1.0 / if d.abs() < tiny { tiny } else { d };
        c = b + by / c;
        c = if c.abs() < tiny { tiny } else { c };
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * h).clamp(0.0, 1.0)
}

/// Probabilities so that the chance of taking any of them for small where nothing differs is that of one (Holm).
pub(super) fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let (mut adjusted, mut most) = (vec![1.0; probabilities.len()], 0.0f64);
    for (at, &place) in order.iter().enumerate() {
        most = most.max((probabilities[place] * (probabilities.len() - at) as f64).min(1.0));
        adjusted[place] = most;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of SciPy 1.16: chi2.sf, kstwobign.sf, fisher_exact.
    #[test]
    fn probabilities_are_those_of_others() {
        for (degrees, x, expected) in [
            (1.0, 3.84, 0.050_043_521_248_705),
            (4.0, 2.0, 0.735_758_882_342_884_6),
            (9.0, 30.0, 0.000_438_721_770_979_479),
        ] {
            let own = upper_gamma(0.5 * degrees, 0.5 * x);
            assert!((own / expected - 1.0).abs() < 1e-5, "{degrees}, {x}: {own}");
        }
        // 2 (e⁻²ˣ² − e⁻⁸ˣ² + …) of 1.
        let far = [1_000_000_000_000; 2];
        let distance = 1.0 / 500_000_000_000f64.sqrt();
        assert!((ks_probability(distance, far) - 0.269_999_671_677_355).abs() < 1e-5);
        // The lady tasting tea: 2 · 17/70.
        assert!((fisher_probability([3, 4], [1, 4]) - 0.485_714_285_714).abs() < 1e-9);
        assert!((fisher_probability([0, 10], [5, 10]) - 0.032_507_739_938).abs() < 1e-9);
        // One of two rows is the largest of four with the probability of a half.
        assert!((beyond_probability(1, 2, 2) - 0.5).abs() < 1e-12);
        assert!((beyond_probability(2, 2, 2) - 1.0 / 6.0).abs() < 1e-12);
        // Fifteen words of one row each in both are nothing; fifteen in the new alone are, as is one of fifteen rows.
        let words = |counts: [u64; 2]| vec![counts; 15];
        let of = |words: &[[u64; 2]]| {
            let [trained, new] = [0, 1].map(|at| words.iter().map(|word| word[at]).collect::<Vec<u64>>());
            unseen_probability([&trained, &new], new.iter().copied().max().unwrap_or(0), [500, 500])
        };
        assert_eq!(of(&[words([1, 0]), words([0, 1])].concat()), 1.0);
        assert!((of(&words([0, 1])) / (4.0 * 0.5f64.powi(15)) - 1.0).abs() < 0.3);
        assert!((of(&[[0, 15]]) / (2.0 * 0.5f64.powi(15)) - 1.0).abs() < 0.3);
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        // Shares 1/2, 1/2 and 3/4, 1/4 of 100 each: chi-square 13.333 of one degree.
        let own = chi_square_probability(&[50, 50], &[75, 25]);
        assert!((own / 0.000_260_729_632_855 - 1.0).abs() < 1e-4, "{own}");
        assert!((ks_distance(&[50, 50], &[75, 25]) - 0.25).abs() < 1e-12);
    }
}
