//! What fits into the time of a selection. The first fold shows how long each candidate takes; others follow while all of them can.

use std::time::{Duration, Instant};

use super::candidate::JobClock;

/// The time that a selection may take.
#[derive(Clone, Copy)]
pub(super) struct TimeAllowance {
    began: Instant,
    limit: Option<Duration>,
}

/// The share of the time in which the first fold of all candidates must be over.
const FIRST: f64 = 0.6;

/// A fit on other rows may take so many times as long as one that wasn't cut short, and one on all rows.
const LONGER: f64 = 1.15;
pub(super) const ALL: f64 = 1.4;

/// One that takes longer than so many times what was foreseen is cut short.
const LONGEST: f64 = 3.0;

impl TimeAllowance {
    /// From now on, where so much of the limit was spent already.
    pub(super) fn new(limit: Option<Duration>, spent: Duration) -> TimeAllowance {
        let now = Instant::now();
        TimeAllowance { began: now.checked_sub(spent).unwrap_or(now), limit }
    }

    fn end(&self) -> Option<Instant> {
        self.limit.and_then(|limit| self.began.checked_add(limit))
    }

    fn until(&self, end: Instant) -> JobClock {
        JobClock::Until(end, self.limit.unwrap_or_default())
    }

    /// The clock of a candidate's first fit, of so many that are to come in this fold.
    pub(super) fn first(&self, to_come: usize) -> JobClock {
        let (Some(limit), now) = (self.limit, Instant::now()) else { return JobClock::Free };
        let over = self.began + limit.mul_f64(FIRST);
        let share = over.saturating_duration_since(now).as_secs_f64() / to_come.max(1) as f64;
        // What is late already gets a little all the same, or there would be nothing to compare.
        let share = share.max(limit.as_secs_f64() * 0.02);
        self.until(now + Duration::from_secs_f64(share))
    }

    /// The clock of a later fit, where an earlier one took so long; whether that was cut short.
    pub(super) fn later(&self, before: f64, was_cut: bool) -> JobClock {
        let (Some(end), now) = (self.end(), Instant::now()) else { return JobClock::Free };
        let times = if was_cut { 1.0 } else { LONGEST };
        let own = now + Duration::from_secs_f64((before * times).max(0.05));
        self.until(if was_cut { own } else { own.min(end.max(now + Duration::from_secs_f64(before))) })
    }

    /// Whether fits of so long, and what must come after them, come to their end in time.
    pub(super) fn has(&self, seconds: f64, after: f64) -> bool {
        let Some(end) = self.end() else { return true };
        end.saturating_duration_since(Instant::now()).as_secs_f64() >= seconds * LONGER + after
    }
}
