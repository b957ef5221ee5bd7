//! Whether whole numbers are codes of kinds or amounts, by how the target behaves beside them: amounts that are neighbours have targets
//! that are neighbours, codes have them by chance.

use super::column::{Cell, Column};

/// How often a number comes, and the targets beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Behaviour {
    pub count: u64,
    targets: f64,
    sum: f64,
    squares: f64,
}

impl Behaviour {
    pub fn add(&mut self, target: Option<f64>) {
        self.count += 1;
        if let Some(target) = target {
            self.targets += 1.0;
            self.sum += target;
            self.squares += target * target;
        }
    }
}

/// A target as a number: classes get numbers that have nothing to do with their order.
pub(super) fn target_of(column: &Column, row: usize) -> Option<f64> {
    match column.cell(row) {
        Cell::Missing | Cell::Date { .. } => None,
        Cell::Number(value) => Some(value),
        Cell::Word(word) => {
            // FNV-1a, the same on every machine.
            let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            Some((hash >> 11) as f64 / (1u64 << 53) as f64)
        }
    }
}

/// How many different numbers must be seen, each so often, before they are judged.
const GROUPS: usize = 8;
const ROWS: f64 = 3.0;

/// How many standard deviations above chance the targets' means of neighbours must differ.
const SURE: f64 = 4.0;

/// Rows that stand twice make chance look half as large as it is.
const TWICE: f64 = 3.0;

/// Amounts come to about 0 here and codes to about 1.
const HALF: f64 = 0.5;

/// Whether numbers, in their order, are codes: the target differs between them beyond chance, and between neighbours as much as between any
/// two.
pub(super) fn are_codes(ordered: &[Behaviour]) -> bool {
    let groups: Vec<&Behaviour> = ordered.iter().filter(|group| group.targets >= ROWS).collect();
    if groups.len() < GROUPS {
        return false;
    }
    let count = groups.len() as f64;
    let rows: f64 = groups.iter().map(|group| group.targets).sum();
    let mean = |group: &Behaviour| group.sum / group.targets;
    let within: f64 =
        groups.iter().map(|group| (group.squares - group.sum * mean(group)).max(0.0)).sum::<f64>();
    let noise = within / (rows - count).max(1.0);
    // What is left of the differences once chance is taken off: of all, and of neighbours.
    let middle = groups.iter().map(|group| mean(group)).sum::<f64>() / count;
    let spread = groups.iter().map(|group| squared(mean(group) - middle)).sum::<f64>() / (count - 1.0);
    let by_chance = noise * groups.iter().map(|group| 1.0 / group.targets).sum::<f64>() / count;
    let steps = groups.windows(2).filter_map(|pair| match pair {
        [one, other] => Some(squared(mean(one) - mean(other))),
        _ => None,
    });
    let neighbours = steps.sum::<f64>() / (2.0 * (count - 1.0));
    // Rows that stand several times make chance look smaller than it is, so that much more than it is asked for.
    let sure = by_chance * (TWICE + SURE * (3.0 / count).sqrt());
    neighbours > sure && neighbours - by_chance > HALF * (spread - by_chance)
}

fn squared(number: f64) -> f64 {
    number * number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Targets that follow from numbers by a rule, with chance added.
    fn groups(count: usize, rows: usize, chance: f64, rule: impl Fn(usize) -> f64) -> Vec<Behaviour> {
        let mut rng = Rng::new(7);
        let mut groups = vec![Behaviour::default(); count];
        for row in 0..rows {
            let at = row % count;
            groups[at].add(Some(rule(at) + chance * (rng.uniform() - 0.5)));
        }
        groups
    }

    #[test]
    fn codes_are_told_from_amounts() {
        for count in [8, 20, 100, 400] {
            let rows = 30 * count;
            let place = |at: usize| at as f64 / count as f64;
            let scattered = |at: usize| (at * 7919 % 101) as f64 / 101.0;
            assert!(are_codes(&groups(count, rows, 1.0, scattered)), "{count}");
            assert!(!are_codes(&groups(count, rows, 1.0, place)), "{count}: a line");
            assert!(!are_codes(&groups(count, rows, 1.0, |at| squared(place(at) - 0.5))), "{count}: a bow");
            assert!(
                !are_codes(&groups(count, rows, 1.0, |at| libm::sin(6.0 * place(at)))),
                "{count}: a wave"
            );
            assert!(!are_codes(&groups(count, rows, 1.0, |at| f64::from(at > count / 2))), "{count}: a step");
            assert!(!are_codes(&groups(count, rows, 1.0, |_| 0.0)), "{count}: chance");
        }
        // Each row twice over says no more than once.
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let mut groups = vec![Behaviour::default(); 40];
            for _ in 0..400 {
                let (at, target) = (rng.below(40), f64::from(rng.uniform() > 0.5));
                (0..2).for_each(|_| groups[at].add(Some(target)));
            }
            assert!(!are_codes(&groups), "{seed}");
        }
        assert!(!are_codes(&groups(7, 700, 0.1, |at| (at * 3 % 7) as f64)));
        assert!(!are_codes(&[]));
    }
}
