//! Work that isn't done in batches: a few at once, a bounded number that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// Larger bodies are read on a thread that may take its time.
const QUICK: usize = 32 << 10;

/// Does work at once, or where it takes long so that other requests go on meanwhile.
pub fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > QUICK { tokio::task::block_in_place(work) } else { work() }
}

/// Places for work, and for what waits for one.
pub struct WorkLane {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most: usize,
}

/// One that waits, until it is dropped.
struct Waits<'l>(&'l WorkLane);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WorkLane {
    /// For so many at once, beside whom so many wait.
    pub fn new(places: usize, most: usize) -> WorkLane {
        WorkLane { places: Arc::new(Semaphore::new(places.max(1))), waiting: AtomicUsize::new(0), most }
    }

    /// A place, until what comes back is dropped.
    ///
    /// # Errors
    /// Where too many wait, or the deadline passes.
    pub async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::busy(format!("{} requests wait already", self.most)));
        }
        let _waits = Waits(self);
        match tokio::time::timeout_at(deadline.into(), self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(Refusal::fault("the server ends")),
            Err(_) => Err(Refusal::late()),
        }
    }

    /// Does work in a place of its own, on a thread that may wait for it.
    ///
    /// # Errors
    /// As [`WorkLane::enter`], and where the work panics.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = self.enter(deadline).await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        match tokio::time::timeout_at(deadline.into(), done).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Refusal::fault("the work panicked; this is a fault of kiln's")),
            Err(_) => Err(Refusal::late()),
        }
    }
}
