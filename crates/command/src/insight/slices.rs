//! Where a model is worst: rows that have one or two things in common and on which it errs more than on all others.

use serde::Serialize;

use super::group::{LEAST, SharedRows};
use crate::measure::Of;

/// Rows on which the model errs more than on the others.
#[derive(Serialize)]
pub struct WorstSlice {
    /// What they have in common.
    pub slice: String,
    /// How many there are.
    pub rows: usize,
    /// What is meant by an error: `share of wrong classes`, `mean error` in the target's unit.
    pub figure: &'static str,
    /// The error of these rows,
    pub error: f64,
    /// of all others,
    pub elsewhere: f64,
    /// and between what the difference lies in 95 of 100 cases.
    pub interval: [f64; 2],
    /// How likely as much is by chance of the worst of as many slices as were looked at.
    pub probability: f64,
}

/// So many are named.
const NAMED: usize = 3;

/// Two slices with more rows in common than this share of the smaller are one.
const ALIKE: f64 = 0.7;

/// What a row's error is; nothing where several targets are predicted.
fn errors(of: &Of) -> Option<(&'static str, Vec<f64>)> {
    match of {
        Of::Classes { rows, .. } => {
            let wrong = rows.iter().map(|row| f64::from(u8::from(!row.is_right())));
            Some(("share of wrong classes", wrong.collect()))
        }
        Of::Numbers(each) => match each.as_slice() {
            [own] => Some(("mean error", (0..own.truth.len()).map(|row| own.off(row)).collect())),
            _ => None,
        },
        Of::Several(_) | Of::Text => None,
    }
}

/// A slice that is looked at.
struct TriedSlice {
    name: String,
    rows: Vec<bool>,
    count: usize,
    means: [f64; 2],
    /// Of the difference.
    error: f64,
}

impl TriedSlice {
    fn of(name: String, rows: Vec<bool>, errors: &[f64]) -> Option<TriedSlice> {
        let mut sums = [[0.0; 3]; 2];
        for (is_in, error) in rows.iter().zip(errors) {
            let sum = &mut sums[usize::from(!is_in)];
            *sum = [sum[0] + 1.0, sum[1] + error, sum[2] + error * error];
        }
        if sums.iter().any(|sum| sum[0] < LEAST as f64) {
            return None;
        }
        let mean = |sum: [f64; 3]| sum[1] / sum[0];
        // A share of none or all has some variance too: one row more decides nothing.
        let variance = |sum: [f64; 3]| {
            let own = (sum[2] - sum[1] * sum[1] / sum[0]) / (sum[0] - 1.0);
            own.max(0.0) / sum[0] + 1e-12
        };
        let error = (variance(sums[0]) + variance(sums[1])).sqrt();
        Some(TriedSlice { name, rows, count: sums[0][0] as usize, means: sums.map(mean), error })
    }

    /// How much worse it is at least, in 95 of 100 cases.
    fn worse(&self) -> f64 {
        self.means[0] - self.means[1] - 1.96 * self.error
    }

    fn is_like(&self, other: &TriedSlice) -> bool {
        let both = self.rows.iter().zip(&other.rows).filter(|(a, b)| **a && **b).count();
        both as f64 > ALIKE * self.count.min(other.count) as f64
    }
}

/// The worst slices, the worst first: of one group, or of two of different columns.
pub(super) fn worst(of: &Of, groups: &[SharedRows]) -> Vec<WorstSlice> {
    let Some((figure, errors)) = errors(of) else { return Vec::new() };
    let single = |group: &SharedRows| TriedSlice::of(group.name.clone(), group.rows.clone(), &errors);
    let mut tried: Vec<TriedSlice> = groups.iter().filter_map(single).collect();
    // Pairs of the groups that err the most are looked at.
    const MOST: usize = 30;
    let mut first: Vec<&SharedRows> = groups.iter().collect();
    let sum = |group: &SharedRows| {
        let own: f64 =
            group.rows.iter().zip(&errors).filter(|(is_in, _)| **is_in).map(|(_, error)| error).sum();
        own / group.count.max(1) as f64
    };
    first.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    first.truncate(MOST);
    for (at, a) in first.iter().enumerate() {
        for b in first[at + 1..].iter().filter(|b| b.column != a.column) {
            let rows: Vec<bool> = a.rows.iter().zip(&b.rows).map(|(a, b)| *a && *b).collect();
            tried.extend(TriedSlice::of(format!("{} and {}", a.name, b.name), rows, &errors));
        }
    }
    let count = tried.len();
    tried.retain(|slice| slice.worse() > 0.0);
    tried.sort_by(|a, b| b.worse().total_cmp(&a.worse()));
    let mut taken: Vec<TriedSlice> = Vec::new();
    for slice in tried {
        if taken.len() < NAMED && !taken.iter().any(|other| other.is_like(&slice)) {
            taken.push(slice);
        }
    }
    let one = |slice: TriedSlice| {
        let off = slice.means[0] - slice.means[1];
        let by_chance = libm::erfc(off / slice.error / std::f64::consts::SQRT_2);
        WorstSlice {
            slice: slice.name,
            rows: slice.count,
            figure,
            error: slice.means[0],
            elsewhere: slice.means[1],
            interval: [off - 1.96 * slice.error, off + 1.96 * slice.error],
            probability: (by_chance * count as f64).min(1.0),
        }
    };
    taken.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use kiln_learn::data::Rng;
    use kiln_learn::trainer::Judged;

    use super::*;

    #[test]
    fn a_planted_slice_is_named_first_and_none_where_errors_are_anywhere() {
        let mut rng = Rng::new(4);
        let rows = 2000;
        let columns: Vec<Vec<usize>> = (0..4).map(|_| (0..rows).map(|_| rng.below(4)).collect()).collect();
        let group = |column: usize, kind: usize| {
            let own: Vec<bool> = columns[column].iter().map(|own| *own == kind).collect();
            let count = own.iter().filter(|is_in| **is_in).count();
            SharedRows { name: format!("c{column} = {kind}"), column, rows: own, count }
        };
        let groups: Vec<SharedRows> = (0..4)
            .flat_map(|column| (0..4).map(move |kind| (column, kind)))
            .map(|(a, b)| group(a, b))
            .collect();
        let mut judged = |planted: bool| {
            let one = |row: usize| {
                let is_bad = planted && columns[1][row] == 2 && columns[3][row] == 0;
                let is_wrong = rng.uniform() < if is_bad { 0.6 } else { 0.1 };
                Judged::new(&[0.0, 1.0], i64::from(!is_wrong))
            };
            let rows: Vec<Judged> = (0..rows).map(one).collect();
            let names = ["a", "b"].map(String::from).to_vec();
            Of::Classes { names, rows, confusion: kiln_learn::metrics::Confusion::new(2), in_sets: None }
        };
        let found = worst(&judged(true), &groups);
        assert_eq!(found[0].slice, "c1 = 2 and c3 = 0");
        assert!(found[0].error > 0.45 && found[0].elsewhere < 0.15 && found[0].probability < 1e-6);
        assert!(worst(&judged(false), &groups).iter().all(|slice| slice.probability > 0.01));
    }
}
