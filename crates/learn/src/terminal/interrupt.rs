//! Signals that ask for the end: Ctrl-C, and what schedulers, containers and closing terminals send. The step that is under way is
//! finished first. A second one does what it does in a program without kiln, which is to end it unless the program says otherwise.

use std::io::Result;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// What was heard.
struct Heard {
    /// The signal; 0 where none came.
    signal: Arc<AtomicUsize>,
    /// Whether the system does with the next one what it does by default: after the first, and where no training listens.
    by_default: Arc<AtomicBool>,
    /// How many trainings listen.
    listening: AtomicUsize,
}

impl Heard {
    fn install() -> Result<Heard> {
        let (signal, by_default) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        for number in SIGNALS.into_iter().filter(|number| !is_ignored(*number)) {
            // In this order: the first signal finds that it is waited for, and sees to it that the next one isn't.
            flag::register_conditional_default(number, by_default.clone())?;
            flag::register_usize(number, signal.clone(), number as usize)?;
            flag::register(number, by_default.clone())?;
        }
        Ok(Heard { signal, by_default, listening: AtomicUsize::new(0) })
    }
}

/// Whoever started the program with a signal ignored (`nohup`) wants it to stay so.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// While it lives, signals that ask for the end are heard here.
pub struct Interrupt(Option<&'static Heard>);

impl Interrupt {
    /// Listens, where the system lets it.
    pub fn listen() -> Interrupt {
        static HEARD: OnceLock<Option<Heard>> = OnceLock::new();
        let heard = HEARD.get_or_init(|| Heard::install().ok()).as_ref();
        if let Some(heard) = heard
            && heard.listening.fetch_add(1, Ordering::SeqCst) == 0
        {
            heard.signal.store(0, Ordering::SeqCst);
            heard.by_default.store(false, Ordering::SeqCst);
        }
        Interrupt(heard)
    }

    /// Doesn't listen.
    pub(crate) fn deaf() -> Interrupt {
        Interrupt(None)
    }

    /// The signal that asked for the end, if one did.
    pub fn asked(&self) -> Option<i32> {
        let signal = self.0.map_or(0, |heard| heard.signal.load(Ordering::Relaxed));
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some(heard) = self.0
            && heard.listening.fetch_sub(1, Ordering::SeqCst) == 1
        {
            heard.by_default.store(true, Ordering::SeqCst);
        }
    }
}
