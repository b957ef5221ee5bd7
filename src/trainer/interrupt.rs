//! Ctrl-C: the step that is under way is finished first. A second one ends the program at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether somebody asked for the end.
static ASKED: AtomicBool = AtomicBool::new(false);
/// How many trainings would hear of it.
static LISTENING: AtomicUsize = AtomicUsize::new(0);

/// While it lives, Ctrl-C is heard here.
pub(super) struct Interrupt(bool);

impl Interrupt {
    /// Listens; or not, where another part of the program has taken Ctrl-C for itself.
    pub(super) fn listen() -> Interrupt {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        let installed = *INSTALLED.get_or_init(|| ctrlc::set_handler(heard).is_ok());
        if installed && LISTENING.fetch_add(1, Ordering::SeqCst) == 0 {
            ASKED.store(false, Ordering::SeqCst);
        }
        Interrupt(installed)
    }

    /// Doesn't listen.
    pub(super) fn deaf() -> Interrupt {
        Interrupt(false)
    }

    /// Whether somebody asked for the end.
    pub(super) fn asked(&self) -> bool {
        self.0 && ASKED.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if self.0 {
            LISTENING.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn heard() {
    if LISTENING.load(Ordering::SeqCst) == 0 || ASKED.swap(true, Ordering::SeqCst) {
        // As the system would have ended it: 128 and the number of the signal.
        std::process::exit(130);
    }
}
