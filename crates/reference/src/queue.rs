//! Work in its order: done at once, or by a thread that takes its time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_ir::{Error, Result};

/// Something to be done.
pub(crate) type QueuedWork = Box<dyn FnOnce() -> Result<()> + Send>;

/// Which work: the number of those started before and it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

thread_local! {
    /// Whether this thread does work of a queue. What that work starts itself is done at once: it can't wait for itself.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// The work of one device.
#[derive(Debug)]
pub(crate) struct Queue {
    started: AtomicU64,
    state: Arc<QueueState>,
    /// Held by whoever does work at once.
    turn: Mutex<()>,
    /// To the thread that does the work; none where it is done at once.
    late: Option<Mutex<Sender<(Ticket, QueuedWork)>>>,
}

#[derive(Debug, Default)]
struct QueueState {
    progress: Mutex<QueueProgress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueProgress {
    done: Ticket,
    /// The first error that nobody was told.
    error: Option<Error>,
}

impl QueueState {
    fn progress(&self) -> MutexGuard<'_, QueueProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Work is done at once.
    pub(crate) fn prompt() -> Queue {
        Queue { started: AtomicU64::new(0), state: Arc::default(), turn: Mutex::default(), late: None }
    }

    /// Work is done by a thread, after some time. Without a thread it is done at once.
    pub(crate) fn late() -> Queue {
        let (send, receive) = channel();
        let state: Arc<QueueState> = Arc::default();
        let shared = state.clone();
        let spawned = std::thread::Builder::new()
            .name("kiln-reference".to_string())
            .spawn(move || work_off(&receive, &shared));
        let late = spawned.is_ok().then(|| Mutex::new(send));
        Queue { started: AtomicU64::new(0), state, turn: Mutex::default(), late }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// Hands work over, of which `announce` tells those who may wait for it; its error is kept for who asks.
    pub(crate) fn start(&self, announce: impl FnOnce(Ticket), work: QueuedWork) -> Ticket {
        match &self.late {
            Some(sender) if !WORKING.get() => {
                // Numbers in the order of the queue.
                let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                let ticket = Ticket(self.started.fetch_add(1, Ordering::SeqCst) + 1);
                announce(ticket);
                // The thread lives as long as the sender.
                let _ = sender.send((ticket, work));
                ticket
            }
            _ if WORKING.get() => {
                finish(&self.state, Ticket::default(), work());
                Ticket::default()
            }
            _ => {
                let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
                finish(&self.state, Ticket::default(), working(work));
                Ticket::default()
            }
        }
    }

    /// Whether work is done.
    pub(crate) fn is_done(&self, ticket: Ticket) -> bool {
        self.late.is_none() || self.state.progress().done >= ticket
    }

    /// Waits until work is done.
    pub(crate) fn wait(&self, ticket: Ticket) {
        if self.late.is_none() {
            return;
        }
        let mut progress = self.state.progress();
        while progress.done < ticket {
            progress = self.state.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all work that was started is done; the first error that nobody was told.
    pub(crate) fn sync(&self) -> Result<()> {
        self.wait(Ticket(self.started.load(Ordering::SeqCst)));
        self.state.progress().error.take().map_or(Ok(()), Err)
    }

    /// Somebody was told of an error.
    pub(crate) fn told(&self, error: &Error) {
        let mut progress = self.state.progress();
        if progress.error.as_ref().is_some_and(|kept| kept.message == error.message) {
            progress.error = None;
        }
    }
}

/// Does work with the thread marked.
fn working(work: QueuedWork) -> Result<()> {
    /// Puts back what was before, also when the work panics.
    struct RestoreWorking(bool);
    impl Drop for RestoreWorking {
        fn drop(&mut self) {
            WORKING.set(self.0);
        }
    }
    let _restore = RestoreWorking(WORKING.replace(true));
    work()
}

fn finish(state: &QueueState, ticket: Ticket, result: Result<()>) {
    let mut progress = state.progress();
    progress.done = progress.done.max(ticket);
    if let Err(error) = result {
        progress.error.get_or_insert(error);
    }
    drop(progress);
    state.changed.notify_all();
}

/// The thread's life: a wait of a length that follows from the ticket, so that whoever doesn't wait for results sees old ones.
fn work_off(receive: &Receiver<(Ticket, QueuedWork)>, state: &QueueState) {
    while let Ok((ticket, work)) = receive.recv() {
        std::thread::sleep(Duration::from_micros(ticket.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53));
        finish(state, ticket, working(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_thread_is_as_before_after_work_also_by_a_panic() {
        working(Box::new(|| {
            working(Box::new(|| Ok(())))?;
            assert!(WORKING.get(), "work inside of work leaves the mark");
            Ok(())
        }))
        .unwrap();
        assert!(!WORKING.get());
        let panicked = std::panic::catch_unwind(|| working(Box::new(|| panic!("expected by this test"))));
        assert!(panicked.is_err());
        assert!(!WORKING.get());
    }
}
