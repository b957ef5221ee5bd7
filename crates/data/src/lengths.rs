//! Rows that are sequences of differing lengths: a batch is as long as its longest needs, of a few lengths, so that programs are used again; and
//! sequences of like lengths come together.

use crate::batching::{Batching, Order};
use crate::rng::Rng;

/// What stands in place of a code behind a sequence's end.
pub const PADDING: i64 = -1;

/// What stands in place of a label there: losses ignore it.
pub const NO_LABEL: i64 = -100;

/// To how many lengths batches are brought.
const LENGTHS: usize = 7;

/// As many batches are put in order of length at a time.
const TOGETHER: usize = 64;

/// The length to which sequences of up to so many steps are brought, where none has more than `most`: `most`, and the powers of two and three times
/// such below it, seven lengths at the most.
///
/// ```
/// use kiln_data::bucket;
///
/// assert_eq!([1, 8, 9, 13, 40, 64].map(|length| bucket(length, 64)), [8, 8, 12, 16, 48, 64]);
/// assert_eq!((bucket(0, 3), bucket(3, 3)), (1, 3));
/// ```
pub fn bucket(length: usize, most: usize) -> usize {
    let mut size = most;
    for _ in 1..LENGTHS {
        match below(size) {
            Some(shorter) if shorter >= length.max(1) => size = shorter,
            _ => break,
        }
    }
    size
}

/// The next such length below: the largest power of two, or half as much again.
fn below(size: usize) -> Option<usize> {
    let power = (size / 2 + 1).next_power_of_two();
    let power = if power < size { power } else { power / 2 };
    let below = if power + power / 2 < size { power + power / 2 } else { power };
    (1..size).contains(&below).then_some(below)
}

/// All lengths to which sequences of up to so many steps are brought, the longest first.
///
/// ```
/// assert_eq!(kiln_data::buckets(64), [64, 48, 32, 24, 16, 12, 8]);
/// ```
pub fn buckets(most: usize) -> Vec<usize> {
    std::iter::successors(Some(most), |&size| below(size)).take(LENGTHS).collect()
}

impl Batching {
    /// Brings rows that are in the order of an epoch together by the lengths of their sequences, where they don't come in turn. Which batch is how
    /// long is as random as the rows in it.
    pub(crate) fn together(&self, length: impl Fn(usize) -> usize, epoch: u64, into: &mut [usize]) {
        if self.order == Order::InTurn || self.size == 0 {
            return;
        }
        let mut rng = Rng::new(self.seed).derive(epoch).derive(1);
        for rows in into.chunks_mut(self.size.saturating_mul(TOGETHER)) {
            rows.sort_by_key(|&row| length(row));
            // A last batch with fewer rows stays the last.
            let whole = rows.len() / self.size;
            let mut batches: Vec<usize> = (0..whole).collect();
            rng.shuffle(&mut batches);
            let moved: Vec<usize> = batches
                .iter()
                .flat_map(|batch| &rows[batch * self.size..(batch + 1) * self.size])
                .copied()
                .collect();
            rows[..moved.len()].copy_from_slice(&moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, Form, Meaning, Set, ValueKind};

    /// Sequences of up to 32 codes, most of them short.
    fn sequences(rows: usize) -> Set {
        let mut rng = Rng::new(3);
        let lengths: Vec<u32> = (0..rows).map(|_| 1 + (32.0 * rng.uniform().powi(4)) as u32).collect();
        let codes = lengths.iter().flat_map(|&length| (0..32).map(move |at| i64::from(at < length)));
        let form = Form { kind: ValueKind::I64, shape: vec![32], meaning: Meaning::Codes { count: 3 } };
        let labels = lengths.iter().map(|&length| i64::from(length % 2)).collect();
        let set = Set::classes(codes.collect::<Vec<i64>>(), form, labels).unwrap();
        set.with_lengths(lengths).unwrap()
    }

    #[test]
    fn lengths_are_few_and_hold_every_sequence() {
        for most in 1..300 {
            let mut all: Vec<usize> = (0..=most).map(|length| bucket(length, most)).collect();
            assert!(all.iter().enumerate().all(|(length, &size)| size >= length && size <= most), "{most}");
            assert!(all.is_sorted(), "{most}");
            all.dedup();
            assert!(all.len() <= LENGTHS && all.contains(&most), "{most}: {all:?}");
        }
    }

    #[test]
    fn batches_are_as_long_as_they_need_and_have_each_row_once() {
        let set = sequences(1000);
        let mut steps = 0;
        let mut seen = Vec::new();
        for batch in set.batches(16).shuffle(5).epoch(2) {
            let batch = batch.unwrap();
            let length = batch.x_shape()[1];
            let codes = batch.x.as_i64().unwrap();
            let longest =
                codes.chunks(length).map(|row| row.iter().filter(|code| **code != PADDING).count()).max();
            assert_eq!(length, bucket(longest.unwrap(), 32));
            assert_eq!(batch.y_shape(), [batch.rows()]);
            for row in codes.chunks(length) {
                seen.push(row.iter().position(|code| *code == PADDING).unwrap_or(length));
            }
            steps += batch.rows() * length;
        }
        let mut own: Vec<usize> = (0..1000).map(|row| set.length(row)).collect();
        assert_ne!(seen, own);
        let needed: usize = own.iter().sum();
        own.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, own);
        assert!(steps < needed * 3 / 2, "{steps} steps for {needed}");
        // In turn nothing moves, and shapes follow all the same.
        let first = set.batches(4).next().unwrap().unwrap();
        let longest = (0..4).map(|row| set.length(row)).max().unwrap();
        assert_eq!(first.x_shape(), [4, bucket(longest, 32)]);
    }

    #[test]
    fn long_and_short_batches_are_mixed_and_follow_from_the_seed() {
        let set = sequences(1000);
        let lengths = |seed: u64, epoch: u64| {
            let batches = set.batches(16).shuffle(seed).epoch(epoch);
            batches.map(|batch| batch.unwrap().x_shape()[1]).collect::<Vec<_>>()
        };
        assert_eq!(lengths(1, 0), lengths(1, 0));
        assert_ne!(lengths(1, 0), lengths(1, 1));
        assert_ne!(lengths(1, 0), lengths(2, 0));
        assert!(!lengths(1, 0).is_sorted());
        let places = Vec::from_iter((0..500).rev());
        let part = set.clone().subset(places);
        assert!(part.has_lengths() && part.length(0) == set.length(499));
    }

    #[test]
    fn targets_of_each_step_are_cut_alike() {
        let form = Form { kind: ValueKind::I64, shape: vec![32], meaning: Meaning::Codes { count: 3 } };
        let set = Set::new(vec![1i64; 64], form.clone(), vec![2i64; 64], form).unwrap();
        assert!(set.clone().with_lengths(vec![3]).is_err());
        assert!(set.clone().with_lengths(vec![3, 33]).is_err());
        let batch = set.with_lengths(vec![5, 0]).unwrap().all().unwrap();
        assert_eq!((batch.x_shape(), batch.y_shape()), (&[2, 6][..], &[2, 6][..]));
        let row = |there: i64, not: i64, count: usize| {
            (0..6).map(|at| if at < count { there } else { not }).collect::<Vec<i64>>()
        };
        assert_eq!(batch.x.as_i64().unwrap(), [row(1, -1, 5), row(1, -1, 0)].concat());
        assert_eq!(batch.y.as_i64().unwrap(), [row(2, -100, 5), row(2, -100, 0)].concat());
    }
}
