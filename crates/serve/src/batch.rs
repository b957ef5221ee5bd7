//! Rows of different requests in batches. A worker of each model takes all that waits, up to a size, and computes it at once; while it
//! does, the next batch gathers. A row's bits don't depend on the batch it is in, so nobody's answer depends on who else asks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_learn::{Prediction, Predictor, PreparedRows};
use tokio::sync::oneshot;

use crate::metrics::ModelMetrics;
use crate::refusal::Refusal;

/// How rows are put together.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// So many rows go together at most; a request with more goes alone.
    pub rows: usize,
    /// So long a batch waits for requests that are just being read.
    pub window: Duration,
    /// So many rows wait at most.
    pub waiting: usize,
}

/// What a request's rows were answered.
type RowsSaid = Result<Vec<Prediction>, Refusal>;

/// The rows of a request that wait.
struct RowJob {
    prepared: Vec<PreparedRows>,
    rows: usize,
    since: Instant,
    deadline: Instant,
    answer: oneshot::Sender<RowsSaid>,
}

impl RowJob {
    /// Whether nobody waits for it any more.
    fn is_forgotten(&self, now: Instant) -> bool {
        self.answer.is_closed() || now >= self.deadline
    }
}

#[derive(Default)]
struct WaitingRows {
    jobs: VecDeque<RowJob>,
    rows: usize,
    sleeps: bool,
    is_closed: bool,
}

/// What askers and the worker share.
struct BatchQueue {
    waiting: Mutex<WaitingRows>,
    wake: Condvar,
    batching: BatchOptions,
    /// Requests whose rows are just being read.
    coming: AtomicUsize,
    metrics: Arc<ModelMetrics>,
}

impl BatchQueue {
    fn lock(&self) -> MutexGuard<'_, WaitingRows> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that wait for a model, and the thread that answers them. Dropped, it answers what waits and ends.
pub struct Batcher {
    predictor: Predictor,
    shared: Arc<BatchQueue>,
}

/// A request that is being read, for which a batch may wait.
pub struct Coming<'b>(&'b BatchQueue);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Batcher {
    /// Of a model, with a thread of its own.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn new(
        predictor: Predictor,
        batching: BatchOptions,
        metrics: Arc<ModelMetrics>,
    ) -> std::io::Result<Batcher> {
        let shared = Arc::new(BatchQueue {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            batching,
            coming: AtomicUsize::new(0),
            metrics,
        });
        let (own, asked) = (shared.clone(), predictor.clone());
        std::thread::Builder::new().name("kiln-batches".to_string()).spawn(move || work(&own, &asked))?;
        Ok(Batcher { predictor, shared })
    }

    /// The model.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// Says that a request is being read; until what is given back is dropped, a batch waits for it as long as its window lasts.
    pub fn coming(&self) -> Coming<'_> {
        self.shared.coming.fetch_add(1, Ordering::Relaxed);
        Coming(&self.shared)
    }

    /// What the model says of rows, by a deadline. Dropped before it is answered, what wasn't begun isn't computed.
    ///
    /// # Errors
    /// Where too many rows wait, the deadline passes, or the rows can't be computed.
    pub async fn predict(
        &self,
        prepared: Vec<PreparedRows>,
        coming: Coming<'_>,
        deadline: Instant,
    ) -> RowsSaid {
        let rows: usize = prepared.iter().map(PreparedRows::len).sum();
        let (answer, said) = oneshot::channel();
        self.submit(RowJob { prepared, rows, since: Instant::now(), deadline, answer })?;
        drop(coming);
        match tokio::time::timeout_at(deadline.into(), said).await {
            Ok(Ok(said)) => said,
            // The worker drops what is late.
            Ok(Err(_)) if Instant::now() >= deadline => Err(Refusal::late()),
            Ok(Err(_)) => Err(Refusal::fault("the model's worker ended")),
            Err(_) => Err(Refusal::late()),
        }
    }

    fn submit(&self, job: RowJob) -> Result<(), Refusal> {
        let shared = &self.shared;
        let mut waiting = shared.lock();
        let most = shared.batching.waiting;
        if waiting.rows > 0 && waiting.rows.saturating_add(job.rows) > most {
            return Err(Refusal::busy(format!("{} rows wait already, of at most {most}", waiting.rows)));
        }
        waiting.rows += job.rows;
        waiting.jobs.push_back(job);
        shared.metrics.waiting.store(waiting.rows, Ordering::Relaxed);
        let sleeps = waiting.sleeps;
        drop(waiting);
        if sleeps {
            shared.wake.notify_one();
        }
        Ok(())
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_one();
    }
}

/// Answers until the batcher is dropped and nothing waits.
fn work(shared: &BatchQueue, predictor: &Predictor) {
    while let Some(jobs) = next(shared) {
        let rows: usize = jobs.iter().map(|job| job.rows).sum();
        shared.metrics.batch(rows);
        answer(predictor, jobs);
    }
}

/// The jobs of the next batch; nothing at the end.
fn next(shared: &BatchQueue) -> Option<Vec<RowJob>> {
    let mut waiting = shared.lock();
    loop {
        let now = Instant::now();
        let Some(first) = waiting.jobs.front() else {
            if waiting.is_closed {
                return None;
            }
            waiting = sleep(shared, waiting, None);
            continue;
        };
        let full = waiting.rows >= shared.batching.rows || waiting.is_closed;
        let until = first.since + shared.batching.window;
        // Alone with nobody in sight, a row waits for none.
        if !full && now < until && shared.coming.load(Ordering::Relaxed) > 0 {
            waiting = sleep(shared, waiting, Some(until - now));
            continue;
        }
        let jobs = take(&mut waiting, shared.batching.rows, now);
        shared.metrics.waiting.store(waiting.rows, Ordering::Relaxed);
        if !jobs.is_empty() {
            return Some(jobs);
        }
    }
}

/// Sleeps until something comes, or for so long.
fn sleep<'w>(
    shared: &'w BatchQueue,
    mut waiting: MutexGuard<'w, WaitingRows>,
    most: Option<Duration>,
) -> MutexGuard<'w, WaitingRows> {
    waiting.sleeps = true;
    let mut waiting = match most {
        None => shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
        Some(most) => shared.wake.wait_timeout(waiting, most).unwrap_or_else(PoisonError::into_inner).0,
    };
    waiting.sleeps = false;
    waiting
}

/// Takes jobs of so many rows, one at least, without those that nobody waits for.
fn take(waiting: &mut WaitingRows, most: usize, now: Instant) -> Vec<RowJob> {
    let (mut jobs, mut rows) = (Vec::new(), 0);
    while let Some(job) = waiting.jobs.pop_front() {
        if job.is_forgotten(now) {
            waiting.rows -= job.rows;
            continue;
        }
        if rows > 0 && rows + job.rows > most {
            waiting.jobs.push_front(job);
            break;
        }
        rows += job.rows;
        waiting.rows -= job.rows;
        jobs.push(job);
    }
    jobs
}

/// Computes jobs together and gives each its own part.
fn answer(predictor: &Predictor, jobs: Vec<RowJob>) {
    match computed(predictor, &jobs) {
        Ok(said) => {
            let mut said = said.into_iter();
            for job in jobs {
                let own = said.by_ref().take(job.rows).collect();
                // Whoever left meanwhile needs none.
                let _ = job.answer.send(Ok(own));
            }
        }
        Err(error) if jobs.len() == 1 => {
            jobs.into_iter().for_each(|job| drop(job.answer.send(Err(error.clone()))));
        }
        // One of them is to blame; the others are answered.
        Err(_) => {
            for job in jobs {
                let said = computed(predictor, std::slice::from_ref(&job));
                let _ = job.answer.send(said);
            }
        }
    }
}

/// What is said of the rows of all jobs. A panic is a fault of kiln's that must not end the worker, for whom all others wait.
fn computed(predictor: &Predictor, jobs: &[RowJob]) -> RowsSaid {
    let all = jobs.iter().flat_map(|job| &job.prepared);
    match catch_unwind(AssertUnwindSafe(|| predictor.predict_prepared(all))) {
        Ok(said) => Ok(said?),
        Err(_) => Err(Refusal::fault("the model's computation panicked; this is a fault of kiln's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(rows: usize, now: Instant) -> (RowJob, oneshot::Receiver<RowsSaid>) {
        let (answer, said) = oneshot::channel();
        let deadline = now + Duration::from_secs(1);
        (RowJob { prepared: Vec::new(), rows, since: now, deadline, answer }, said)
    }

    #[test]
    fn a_batch_is_no_larger_than_its_size_unless_a_job_is() {
        let now = Instant::now();
        let mut waiting = WaitingRows::default();
        let mut kept = Vec::new();
        for rows in [3, 4, 2, 20, 1] {
            let (job, said) = job(rows, now);
            waiting.rows += rows;
            waiting.jobs.push_back(job);
            kept.push(said);
        }
        let mut sizes = Vec::new();
        while !waiting.jobs.is_empty() {
            sizes.push(take(&mut waiting, 8, now).iter().map(|job| job.rows).collect::<Vec<_>>());
        }
        assert_eq!((sizes, waiting.rows), (vec![vec![3, 4], vec![2], vec![20], vec![1]], 0));
    }

    #[test]
    fn what_nobody_waits_for_is_not_taken() {
        let now = Instant::now();
        let mut waiting = WaitingRows::default();
        let (left, said) = job(1, now);
        drop(said);
        let (late, _late) = job(1, now - Duration::from_secs(2));
        let (good, _good) = job(1, now);
        for job in [left, late, good] {
            waiting.rows += job.rows;
            waiting.jobs.push_back(job);
        }
        assert_eq!((take(&mut waiting, 8, now).len(), waiting.rows, waiting.jobs.len()), (1, 0, 0));
    }
}
