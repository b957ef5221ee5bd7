//! The batches of an epoch, one after the other.

use super::{Batch, Dataset, in_order};
use crate::batching::{Batching, Order};
use crate::error::Result;

/// An epoch's batches, one by one. Made by [`Dataset::batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a, D> {
    set: &'a D,
    batching: Batching,
    epoch: u64,
    order: Vec<usize>,
    next: u64,
}

impl<'a, D: Dataset> Batches<'a, D> {
    pub(super) fn new(set: &'a D, size: usize, order: Order) -> Batches<'a, D> {
        let batching = Batching { order, ..Batching::new(size) };
        Batches { set, batching, epoch: 0, order: Vec::new(), next: 0 }
    }

    /// Each row once, in the order of this seed; see [`Batches::epoch`] for other orders.
    pub fn shuffle(mut self, seed: u64) -> Batches<'a, D> {
        (self.batching.order, self.batching.seed) = (Order::Shuffled, seed);
        self
    }

    /// Another epoch: another order from the same seed.
    pub fn epoch(self, epoch: u64) -> Batches<'a, D> {
        Batches { epoch, ..self }
    }

    /// Rows in another order.
    pub fn order(mut self, order: Order) -> Batches<'a, D> {
        self.batching.order = order;
        self
    }

    /// Leaves out a last batch with fewer rows.
    pub fn drop_last(mut self) -> Batches<'a, D> {
        self.batching.drop_last = true;
        self
    }
}

impl<D: Dataset> Iterator for Batches<'_, D> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let rows = self.set.len();
        if self.next == 0 {
            if rows > 0
                && let Err(error) = self.batching.check(rows)
            {
                self.next = u64::MAX;
                return Some(Err(error));
            }
            in_order(self.set, &self.batching, self.epoch, &mut self.order);
        }
        if self.next >= self.batching.count(rows) {
            return None;
        }
        let range = self.batching.range(rows, self.next);
        self.next += 1;
        let mut batch = Batch::of(self.set);
        let filled = batch
            .fill(self.set, &self.order[range], |row| self.batching.draw(self.epoch, row))
            .map(|()| batch);
        Some(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moons;

    #[test]
    fn the_last_batch_is_kept_unless_told_otherwise() {
        let set = moons(21, 0.1, 1);
        let sizes = |batches: Batches<_>| batches.map(|batch| batch.unwrap().rows()).collect::<Vec<_>>();
        assert_eq!(sizes(set.batches(8)), [8, 8, 5]);
        assert_eq!(sizes(set.batches(8).drop_last()), [8, 8]);
        assert_eq!(sizes(set.batches(100)), [21]);
        assert!(sizes(moons(0, 0.1, 1).batches(8)).is_empty());
        assert!(set.batches(0).next().unwrap().unwrap_err().to_string().contains("at least 1"));
    }
}
