//! A readers-writer lock without guards: a run takes the locks of all its variables in one go and keeps no list of
//! guards, so it allocates nothing. Free locks cost one atomic operation each way.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// The state of a lock that is taken for writing; any other number counts its readers.
const WRITER: u32 = u32::MAX;

/// A readers-writer lock.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    state: AtomicU32,
    /// Who sleeps, or is about to.
    waiting: AtomicU32,
    /// Those of them that want to write: new readers let them go first, or there might never be a moment without one.
    writers: AtomicU32,
    queue: Mutex<()>,
    released: Condvar,
}

/// How a lock is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// Beside other readers.
    Read,
    /// Alone.
    Write,
}

/// A lock and how it is wanted. Whoever makes one keeps the lock alive for as long as the claim is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub lock: *const Lock,
    pub mode: LockMode,
}

// SAFETY: a claim is an address; `holding` is where it is followed, and demands that the lock lives.
unsafe impl Send for Claim {}

/// Waiting would be waiting for oneself: this thread runs a program that holds the lock, and what it runs (a user's
/// operation) asked for it again.
#[derive(Debug)]
pub(crate) struct Reentered;

thread_local! {
    /// The innermost set of claims this thread holds.
    static INNERMOST: Cell<*const Held> = const { Cell::new(ptr::null()) };
}

/// Claims that are held, linked to those held around them.
struct Held {
    claims: *const [Claim],
    taken: usize,
    around: *const Held,
}

impl Lock {
    fn try_acquire(&self, mode: LockMode) -> bool {
        match mode {
            LockMode::Write => {
                self.state.compare_exchange(0, WRITER, Ordering::SeqCst, Ordering::Relaxed).is_ok()
            }
            LockMode::Read => self.writers.load(Ordering::Relaxed) == 0 && self.join_readers(),
        }
    }

    fn join_readers(&self) -> bool {
        let more = |state| (state < WRITER - 1).then(|| state + 1);
        self.state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_ok()
    }

    /// Takes the lock, waiting until it is free.
    pub(crate) fn acquire(&self, mode: LockMode) -> Result<(), Reentered> {
        if self.try_acquire(mode) { Ok(()) } else { self.wait(mode) }
    }

    #[cold]
    fn wait(&self, mode: LockMode) -> Result<(), Reentered> {
        if held_by_this_thread(self) {
            // Beside itself a reader may read, even when a writer waits for both.
            return if mode == LockMode::Read && self.join_readers() { Ok(()) } else { Err(Reentered) };
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let writers = u32::from(mode == LockMode::Write);
        self.writers.fetch_add(writers, Ordering::SeqCst);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while !self.try_acquire(mode) {
            queue = self.released.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.writers.fetch_sub(writers, Ordering::SeqCst);
        Ok(())
    }

    /// Gives a lock back that was acquired in the same mode.
    pub(crate) fn release(&self, mode: LockMode) {
        match mode {
            LockMode::Write => self.state.store(0, Ordering::SeqCst),
            LockMode::Read => {
                self.state.fetch_sub(1, Ordering::SeqCst);
            }
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever counted itself as waiting holds the queue until it sleeps, so the call can't be missed.
            drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner));
            self.released.notify_all();
        }
    }
}

fn held_by_this_thread(lock: *const Lock) -> bool {
    let mut held = INNERMOST.get();
    while !held.is_null() {
        // SAFETY: the list holds sets of this thread whose `holding` call hasn't returned, on the stack below us.
        let (claims, around) = unsafe { (&*(*held).claims, (*held).around) };
        if claims.iter().any(|claim| ptr::eq(claim.lock, lock)) {
            return true;
        }
        held = around;
    }
    false
}

/// Runs `body` while holding every claim, taken in the order given, which is by address everywhere so that two
/// programs never wait for each other.
///
/// # Safety
/// The locks live until this returns.
pub(crate) unsafe fn holding<R>(claims: &[Claim], body: impl FnOnce() -> R) -> Result<R, Reentered> {
    let mut held = Held { claims, taken: 0, around: INNERMOST.get() };
    /// Gives everything back, also when `body` panics.
    struct Release<'a>(&'a mut Held);
    impl Drop for Release<'_> {
        fn drop(&mut self) {
            INNERMOST.set(self.0.around);
            // SAFETY: the slice outlives the call to `holding`.
            for claim in unsafe { &(&*self.0.claims)[..self.0.taken] } {
                // SAFETY: the caller of `holding` keeps the lock alive.
                unsafe { (*claim.lock).release(claim.mode) };
            }
        }
    }
    let release = Release(&mut held);
    for claim in claims {
        // SAFETY: the caller keeps the lock alive.
        unsafe { (*claim.lock).acquire(claim.mode)? };
        release.0.taken += 1;
    }
    INNERMOST.set(&raw const *release.0);
    Ok(body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_writers_exclude() {
        let lock = Lock::default();
        assert!(lock.try_acquire(LockMode::Read) && lock.try_acquire(LockMode::Read));
        assert!(!lock.try_acquire(LockMode::Write));
        lock.release(LockMode::Read);
        lock.release(LockMode::Read);
        assert!(lock.try_acquire(LockMode::Write));
        assert!(!lock.try_acquire(LockMode::Read) && !lock.try_acquire(LockMode::Write));
        lock.release(LockMode::Write);
        assert!(lock.try_acquire(LockMode::Read));
    }

    #[test]
    fn a_reader_inside_of_a_reader_passes_a_waiting_writer() {
        let lock = Lock::default();
        let claims = [Claim { lock: &lock, mode: LockMode::Read }];
        std::thread::scope(|scope| {
            let inside = || {
                scope.spawn(|| {
                    lock.acquire(LockMode::Write).unwrap();
                    lock.release(LockMode::Write);
                });
                while lock.writers.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                assert!(!lock.try_acquire(LockMode::Read), "readers from elsewhere wait");
                lock.acquire(LockMode::Read).unwrap();
                lock.release(LockMode::Read);
            };
            // SAFETY: the lock lives on this stack.
            unsafe { holding(&claims, inside) }.unwrap();
        });
    }

    #[test]
    fn writers_count_without_loss() {
        let lock = Lock::default();
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        lock.acquire(LockMode::Write).unwrap();
                        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        lock.release(LockMode::Write);
                        lock.acquire(LockMode::Read).unwrap();
                        lock.release(LockMode::Read);
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 8_000);
    }

    #[test]
    fn asking_again_from_inside_is_an_error_and_a_panic_releases() {
        let lock = Lock::default();
        let claims = [Claim { lock: &lock, mode: LockMode::Write }];
        // SAFETY: the lock lives on this stack.
        unsafe { holding(&claims, || assert!(lock.acquire(LockMode::Read).is_err())) }.unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // SAFETY: as above.
            unsafe { holding(&claims, || panic!("expected by this test")) }.unwrap();
        }));
        assert!(panicked.is_err());
        assert!(lock.try_acquire(LockMode::Write));
        assert!(INNERMOST.get().is_null());
    }
}
