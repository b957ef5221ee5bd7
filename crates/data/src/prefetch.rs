//! Batches prepared by a thread of their own while the last one is computed with. The queue is bounded, and its batches are used
//! again, so that nothing is allocated once it is warm.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::batching::{Batching, Cursor};
use crate::dataset::{Batch, Dataset, in_order};
use crate::error::{Error, Result};

/// How many batches are prepared ahead.
const AHEAD: usize = 4;

/// The batches from one place to another, each prepared before it is asked for.
///
/// ```
/// use kiln_data::{Batching, Cursor, Prefetch, moons};
///
/// let set = moons(100, 0.1, 1);
/// let mut rows = 0;
/// std::thread::scope(|scope| {
///     let end = Cursor { epoch: 2, batch: 0 };
///     let mut batches = Prefetch::start(scope, &set, Batching::new(32), Cursor::default(), end)?;
///     while let Some(batch) = batches.next()? {
///         rows += batch.rows();
///     }
///     Ok::<(), kiln_data::Error>(())
/// })?;
/// assert_eq!(rows, 200);
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub struct Prefetch {
    ready: Receiver<Result<Batch>>,
    used: SyncSender<Batch>,
    current: Option<Batch>,
}

impl Prefetch {
    /// Starts preparing the batches from `start` up to the one before `end`. The thread ends with them, or when this is dropped.
    ///
    /// # Errors
    /// Where the set can't be cut in batches that way, or no thread can be made.
    pub fn start<'scope, 'set: 'scope>(
        scope: &'scope Scope<'scope, '_>,
        set: &'set (impl Dataset + ?Sized),
        batching: Batching,
        start: Cursor,
        end: Cursor,
    ) -> Result<Prefetch> {
        batching.check(set.len())?;
        let (send, ready) = sync_channel(AHEAD);
        // One batch is being prepared, one is looked at and one is on its way there, besides those that are ready.
        let (used, again) = sync_channel(AHEAD + 3);
        for _ in 0..AHEAD + 3 {
            // Nobody has dropped the other end yet.
            let _ = used.send(Batch::of(set));
        }
        let work = move || prepare(set, &batching, start, end, &send, &again);
        std::thread::Builder::new()
            .name("kiln-batches".to_string())
            .spawn_scoped(scope, work)
            .map_err(|error| Error::new(format!("no thread for preparing batches: {error}")))?;
        Ok(Prefetch { ready, used, current: None })
    }

    /// The next batch, as one's own; none after the last. Its room is used again when it is given back.
    ///
    /// # Errors
    /// Where a row couldn't be read.
    pub fn take(&mut self) -> Result<Option<Batch>> {
        self.ready.recv().ok().transpose()
    }

    /// Gives back the room of a batch that was taken.
    pub fn give_back(&mut self, batch: Batch) {
        // A thread that has prepared its last batch needs no more room.
        let _ = self.used.send(batch);
    }

    /// The next batch, which stays until the one after it is asked for; none after the last.
    ///
    /// # Errors
    /// Where a row couldn't be read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<&Batch>> {
        if let Some(batch) = self.current.take() {
            self.give_back(batch);
        }
        self.current = self.take()?;
        Ok(self.current.as_ref())
    }
}

fn prepare(
    set: &(impl Dataset + ?Sized),
    batching: &Batching,
    start: Cursor,
    end: Cursor,
    ready: &SyncSender<Result<Batch>>,
    again: &Receiver<Batch>,
) {
    let rows = set.len();
    let (mut order, mut ordered) = (Vec::new(), None);
    let mut cursor = start;
    while cursor < end {
        if ordered != Some(cursor.epoch) {
            in_order(set, batching, cursor.epoch, &mut order);
            ordered = Some(cursor.epoch);
        }
        let Ok(mut batch) = again.recv() else { return };
        let rows_now = &order[batching.range(rows, cursor.batch)];
        let filled = batch.fill(set, rows_now, |row| batching.draw(cursor.epoch, row));
        let failed = filled.is_err();
        if ready.send(filled.map(|()| batch)).is_err() || failed {
            return;
        }
        cursor = batching.after(cursor, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Form, Order, moons};

    #[test]
    fn prepared_batches_are_those_of_the_iterator() {
        let set = moons(50, 0.1, 1);
        let batching = Batching { order: Order::Shuffled, seed: 9, ..Batching::new(8) };
        std::thread::scope(|scope| {
            let (start, end) = (Cursor { epoch: 1, batch: 3 }, Cursor { epoch: 2, batch: 2 });
            let mut prepared = Prefetch::start(scope, &set, batching, start, end).unwrap();
            let later = set.batches(8).shuffle(9).epoch(1).skip(3);
            for expected in later.chain(set.batches(8).shuffle(9).epoch(2).take(2)) {
                assert_eq!(prepared.next().unwrap(), Some(&expected.unwrap()));
            }
            assert!(prepared.next().unwrap().is_none());
        });
    }

    #[test]
    fn a_row_that_cannot_be_read_comes_out_and_ends_it() {
        struct Broken;
        impl Dataset for Broken {
            fn len(&self) -> usize {
                10
            }
            fn x(&self) -> Form {
                Form::numbers(&[1])
            }
            fn y(&self) -> Form {
                Form::numbers(&[1])
            }
            fn read(&self, row: usize, _: u64, batch: &mut Batch) -> Result<()> {
                if row == 5 {
                    return Err(Error::new("unreadable").at_line(5));
                }
                batch.x.push(0.0);
                batch.y.push(0.0);
                Ok(())
            }
        }
        std::thread::scope(|scope| {
            let end = Cursor { epoch: 1, batch: 0 };
            let mut batches =
                Prefetch::start(scope, &Broken, Batching::new(3), Cursor::default(), end).unwrap();
            assert_eq!(batches.next().unwrap().map(Batch::rows), Some(3));
            assert!(batches.next().unwrap_err().to_string().contains("line 5: unreadable"));
            assert!(batches.next().unwrap().is_none());
        });
    }

    #[test]
    fn dropping_it_ends_its_thread() {
        let set = moons(50, 0.1, 1);
        std::thread::scope(|scope| {
            let end = Cursor { epoch: u64::MAX, batch: 0 };
            let mut batches = Prefetch::start(scope, &set, Batching::new(8), Cursor::default(), end).unwrap();
            assert!(batches.next().unwrap().is_some());
        });
    }
}
