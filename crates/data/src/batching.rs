//! In which order a set's rows come, and how many make a batch. The order of an epoch follows from the seed and the epoch's number,
//! so that a run can go on at any batch of any epoch.

use crate::error::{Error, Result};
use crate::rng::Rng;
use kiln_map::counted;

/// The order of rows in an epoch.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// As they are in the set.
    InTurn,
    /// Each once, in a random order.
    Shuffled,
    /// Drawn with these weights, one for each row; a row may come often or never.
    Weighted(Vec<f64>),
}

impl Order {
    /// Rows drawn so that every class comes equally often.
    pub fn balanced(labels: &[i64]) -> Order {
        let mut counts = std::collections::BTreeMap::<i64, f64>::new();
        for label in labels {
            *counts.entry(*label).or_default() += 1.0;
        }
        Order::Weighted(labels.iter().map(|label| 1.0 / counts.get(label).unwrap_or(&1.0)).collect())
    }
}

/// How a set becomes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct Batching {
    /// Rows in a batch.
    pub size: usize,
    /// The order of rows.
    pub order: Order,
    /// Whether a last batch with fewer rows is left out.
    pub drop_last: bool,
    /// Where randomness starts.
    pub seed: u64,
}

/// A place in the batches of all epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The batch in it, from 0.
    pub batch: u64,
}

impl Batching {
    /// Batches of this many rows, in turn.
    pub fn new(size: usize) -> Batching {
        Batching { size, order: Order::InTurn, drop_last: false, seed: 0 }
    }

    /// How many batches an epoch of so many rows has.
    pub fn count(&self, rows: usize) -> u64 {
        let size = self.size.max(1);
        (if self.drop_last { rows / size } else { rows.div_ceil(size) }) as u64
    }

    /// The next place.
    pub fn after(&self, cursor: Cursor, rows: usize) -> Cursor {
        match cursor.batch + 1 < self.count(rows) {
            true => Cursor { batch: cursor.batch + 1, ..cursor },
            false => Cursor { epoch: cursor.epoch + 1, batch: 0 },
        }
    }

    /// Whether it can be done with so many rows.
    ///
    /// # Errors
    /// Where a batch has no rows, or weights don't fit.
    pub fn check(&self, rows: usize) -> Result<()> {
        if self.size == 0 {
            return Err(Error::new("a batch needs at least 1 row, not 0"));
        }
        if rows == 0 {
            return Err(Error::new("the set is empty"));
        }
        if self.count(rows) == 0 {
            let size = self.size;
            return Err(Error::new(format!(
                "a batch of {size} isn't filled by {}, and the last is dropped",
                counted(rows, "row")
            )));
        }
        match &self.order {
            Order::Weighted(weights) if weights.len() != rows => {
                Err(Error::new(format!("{} for {}", counted(weights.len(), "weight"), counted(rows, "row"))))
            }
            Order::Weighted(weights)
                if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
                    || weights.iter().sum::<f64>() <= 0.0 =>
            {
                Err(Error::new("weights of rows must be numbers from 0, not all of them 0"))
            }
            _ => Ok(()),
        }
    }

    /// The rows of an epoch in their order.
    pub fn order(&self, rows: usize, epoch: u64, into: &mut Vec<usize>) {
        into.clear();
        let mut rng = Rng::new(self.seed).derive(epoch);
        match &self.order {
            Order::InTurn => into.extend(0..rows),
            Order::Shuffled => {
                into.extend(0..rows);
                rng.shuffle(into);
            }
            Order::Weighted(weights) => {
                let sums: Vec<f64> = weights
                    .iter()
                    .scan(0.0, |sum, weight| {
                        *sum += weight;
                        Some(*sum)
                    })
                    .collect();
                let all = sums.last().copied().unwrap_or(0.0);
                let draw = |_| {
                    let place = rng.uniform() * all;
                    sums.partition_point(|&sum| sum <= place).min(rows.saturating_sub(1))
                };
                into.extend((0..rows).map(draw));
            }
        }
    }

    /// The place of a batch's rows in the order of its epoch.
    pub fn range(&self, rows: usize, batch: u64) -> std::ops::Range<usize> {
        let start = (batch as usize).saturating_mul(self.size).min(rows);
        start..start.saturating_add(self.size).min(rows)
    }

    /// The random bits a row gets in an epoch.
    pub fn draw(&self, epoch: u64, row: usize) -> u64 {
        Rng::new(self.seed).derive(!epoch).derive(row as u64).bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(batching: &Batching, rows: usize, epoch: u64) -> Vec<usize> {
        let mut order = Vec::new();
        batching.order(rows, epoch, &mut order);
        order
    }

    #[test]
    fn a_shuffle_has_each_row_once_and_differs_from_epoch_to_epoch() {
        let batching = Batching { order: Order::Shuffled, seed: 3, ..Batching::new(8) };
        let (first, second) = (order(&batching, 50, 0), order(&batching, 50, 1));
        assert_ne!(first, second);
        assert_eq!(first, order(&batching, 50, 0));
        assert_ne!(first, order(&Batching { seed: 4, ..batching }, 50, 0));
        let mut sorted = second;
        sorted.sort_unstable();
        assert_eq!(sorted, Vec::from_iter(0..50));
    }

    #[test]
    fn balanced_classes_come_equally_often() {
        let labels: Vec<i64> = (0..1000).map(|row| i64::from(row % 20 == 0)).collect();
        let batching = Batching { order: Order::balanced(&labels), ..Batching::new(8) };
        let rare = order(&batching, 1000, 0).iter().filter(|&&row| labels[row] == 1).count();
        assert!((400..600).contains(&rare), "{rare} of 1000 are of the rare class");
        let wrong = Batching { order: Order::Weighted(vec![0.0; 5]), ..Batching::new(8) };
        assert!(wrong.check(5).is_err() && wrong.check(6).is_err());
    }

    #[test]
    fn the_cursor_walks_through_batches_and_epochs() {
        let batching = Batching::new(10);
        let cursor = batching.after(Cursor { epoch: 0, batch: 1 }, 21);
        assert_eq!(cursor, Cursor { epoch: 0, batch: 2 });
        assert_eq!(batching.after(cursor, 21), Cursor { epoch: 1, batch: 0 });
    }
}
