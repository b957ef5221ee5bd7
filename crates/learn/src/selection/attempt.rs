//! One fit of a candidate, whatever becomes of it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use kiln_data::{Dataset, Subset};
use kiln_nn::Sequential;

use super::candidate::{Candidate, Job, JobClock};
use super::journal::FitRecord;

/// A fit's record and the signal that ended it, if one did; and the model.
pub(super) type Attempted = ((FitRecord, Option<i32>), Option<Sequential>);

/// Fits a candidate. What goes wrong, panics of a crate's among it, is written down, and the selection goes on.
pub(super) fn attempt(
    candidate: &dyn Candidate,
    rows: &dyn Dataset,
    (train, held): (&[usize], &[usize]),
    fold: Option<usize>,
    seed: u64,
    clock: JobClock,
) -> Attempted {
    let train_set = Subset::new(rows, train.to_vec());
    let held_set = Subset::new(rows, held.to_vec());
    let before = match &clock {
        JobClock::Repeat(record) => record.found.clone(),
        JobClock::Free | JobClock::Until(..) => None,
    };
    let job = Job {
        train: &train_set,
        valid: fold.is_some().then_some(&held_set as &dyn Dataset),
        rows: train,
        seed: seed.wrapping_add(fold.map_or(0, |fold| fold as u64)),
        clock,
        notes: Rc::new(RefCell::new(Vec::new())),
        before,
        found: RefCell::new(None),
        told: Cell::new(None),
    };
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| candidate.fit(&job)));
    let seconds = began.elapsed().as_secs_f64();
    let (layers, failed) = match outcome {
        Ok(Ok(layers)) => (Some(layers), None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| said.to_string()));
            (None, Some(format!("it panicked: {}", said.unwrap_or_default())))
        }
    };
    let decided = job.notes.borrow().clone();
    let (candidate, found) = (candidate.name().to_string(), job.found.take());
    let record = FitRecord { candidate, fold, seconds, failed, decided, found };
    ((record, job.told.get()), layers)
}
