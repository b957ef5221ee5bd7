//! The claim pool: one parallel region at a time, split into chunks that whoever is free claims.
//!
//! The caller helps and waits only for chunks that somebody has claimed, so a worker that is asleep, late or preempted
//! costs nothing but its help. Workers spin for some tens of microseconds after their last region and then park.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a worker without work spins before it parks.
const SPIN: Duration = Duration::from_micros(60);
/// More threads than this are never made.
pub(crate) const MOST_THREADS: usize = 1024;
/// More chunks than this don't fit the claim word.
const MOST_CHUNKS: usize = u32::MAX as usize;

thread_local! {
    /// How many threads regions of this thread may use.
    static WANTED: Cell<usize> = const { Cell::new(1) };
}

/// How many threads the next region of this thread may use, itself included.
pub fn threads() -> usize {
    WANTED.get()
}

/// Lets regions of this thread use so many threads (itself included; zero means one) until the guard is dropped. Without
/// one a region runs on its caller alone.
pub fn with_threads(threads: usize) -> Threads {
    Threads { former: WANTED.replace(threads.clamp(1, MOST_THREADS)), _stays: PhantomData }
}

/// See [`with_threads`].
#[derive(Debug)]
#[must_use = "the number is what it was when this is dropped"]
pub struct Threads {
    former: usize,
    /// The number is the thread's, so the guard stays on it.
    _stays: PhantomData<*const ()>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        WANTED.set(self.former);
    }
}

/// Runs `body(0)` to `body(chunks - 1)`, each exactly once, on the caller and on whichever workers come in time, and
/// returns when all are done. A region inside a region, or beside another thread's, runs serially on its caller.
/// A panic in a body is passed on after the chunks already claimed are done; the others are then not run.
pub fn parallel(chunks: usize, body: &(dyn Fn(usize) + Sync)) {
    let _flush = FlushDenormals::new();
    let threads = threads();
    if threads <= 1 || chunks <= 1 || chunks > MOST_CHUNKS || ALONE.get() {
        (0..chunks).for_each(body);
    } else if POOL.enter() {
        POOL.run(threads, chunks, body);
    } else {
        let _alone = Alone::new();
        (0..chunks).for_each(body);
    }
}

thread_local! {
    /// Whether this thread runs a region by itself because the pool was taken. Regions inside of it stay with it, though
    /// the pool may be free by then.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread until it is dropped, also by a panic.
struct Alone {
    former: bool,
}

impl Alone {
    fn new() -> Alone {
        Alone { former: ALONE.replace(true) }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        ALONE.set(self.former);
    }
}

/// What a region runs. The lifetime is erased: whoever reads it holds a claim, and the caller, whose borrow it is,
/// doesn't return before all claims are done.
#[derive(Clone, Copy)]
struct Region {
    body: *const (dyn Fn(usize) + Sync),
    chunks: usize,
}

/// What participants change all the time has a cache line to itself.
#[repr(align(128))]
struct CacheLine<T>(T);

/// The process's pool.
struct ThreadPool {
    /// The claim word: the region's generation in the upper half, the chunks nobody has claimed in the lower.
    /// Publishing stores it (release), a claim decrements it by compare-exchange (acquire). Those exchanges continue
    /// the release sequence, so whoever has a claim sees the region published with that generation.
    claims: CacheLine<AtomicU64>,
    /// Chunks of the region that are done, or given up after a panic. Added with release after the body has run, read
    /// with acquire by the caller, so that all effects of the bodies are visible when the region ends.
    done: CacheLine<AtomicUsize>,
    /// How many workers are parked, or about to be.
    parked: CacheLine<AtomicUsize>,
    /// Whether a caller has the pool. Guards `region` and the right to publish.
    busy: AtomicBool,
    /// How many of the workers take part in regions now: those with a smaller index.
    active: AtomicUsize,
    /// The region; written by the caller that holds `busy` while all earlier chunks are done, read under a claim.
    region: UnsafeCell<Region>,
    /// The first panic of the region.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// The workers made so far.
    workers: Mutex<Vec<Worker>>,
}

/// A worker as others see it.
struct Worker {
    thread: std::thread::Thread,
    asleep: &'static AtomicBool,
}

// SAFETY: `region` is the only field that isn't `Sync`. It is written only by the holder of `busy` while no chunk is
// claimed or claimable, and read only under a claim, which happens after the write (see `claims`).
unsafe impl Sync for ThreadPool {}

static POOL: ThreadPool = ThreadPool {
    claims: CacheLine(AtomicU64::new(0)),
    done: CacheLine(AtomicUsize::new(0)),
    parked: CacheLine(AtomicUsize::new(0)),
    busy: AtomicBool::new(false),
    active: AtomicUsize::new(0),
    region: UnsafeCell::new(Region { body: &|_| (), chunks: 0 }),
    panic: Mutex::new(None),
    workers: Mutex::new(Vec::new()),
};

/// The chunks of a claim word that nobody has claimed.
fn unclaimed(word: u64) -> usize {
    (word & 0xffff_ffff) as usize
}

impl ThreadPool {
    /// Takes the pool if nobody has it. Acquire pairs with the release when the last caller left.
    fn enter(&self) -> bool {
        !self.busy.load(Ordering::Relaxed)
            && self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Runs a region; the caller has entered.
    fn run(&self, threads: usize, chunks: usize, body: &(dyn Fn(usize) + Sync)) {
        if self.active.load(Ordering::Relaxed) != threads - 1 {
            self.staff(threads - 1);
        }
        // SAFETY: only the lifetime changes. The pointer is read under claims only and all claims are done before
        // this function returns or unwinds.
        let body = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(
                body,
            )
        };
        self.done.0.store(0, Ordering::Relaxed);
        // SAFETY: this thread holds `busy`, and every chunk of the last region is done, so nobody reads this now.
        unsafe { *self.region.get() = Region { body, chunks } };
        let generation = (self.claims.0.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        // Sequentially consistent, as is a worker's order of "I park" and "is there work": one of the two sees the other.
        self.claims.0.store((generation << 32) | chunks as u64, Ordering::SeqCst);
        if self.parked.0.load(Ordering::SeqCst) > 0 {
            self.wake(threads.min(chunks) - 1);
        }
        while self.help() {}
        // All that is left are chunks that somebody works on. Leave the core to them if they take long: on a busy
        // machine their thread may be waiting for it.
        let mut spins = 0u32;
        while self.done.0.load(Ordering::Acquire) < chunks {
            spins += 1;
            if spins < 4096 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Claims one chunk and runs it; says whether there was one.
    fn help(&self) -> bool {
        let mut word = self.claims.0.load(Ordering::Relaxed);
        loop {
            if unclaimed(word) == 0 {
                return false;
            }
            match self.claims.0.compare_exchange_weak(word, word - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(newer) => word = newer,
            }
        }
        // SAFETY: the exchange took a chunk of the region whose generation the word held, so that region isn't over
        // before `done` counts this chunk, and nobody writes `region` until then. It is read only now, never before the
        // claim: a worker that was late would find an older region's body.
        let region = unsafe { *self.region.get() };
        let index = region.chunks - unclaimed(word);
        // SAFETY: the body is borrowed by the caller, who waits for this chunk.
        let body = unsafe { &*region.body };
        let mut finished = 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(index))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            finished += self.give_up();
        }
        self.done.0.fetch_add(finished, Ordering::Release);
        true
    }

    /// Takes all unclaimed chunks of the region, not to run them. The caller holds a claim, so the region can't change.
    fn give_up(&self) -> usize {
        let mut word = self.claims.0.load(Ordering::Relaxed);
        loop {
            let rest = unclaimed(word);
            let none = word - rest as u64;
            match self.claims.0.compare_exchange_weak(word, none, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return rest,
                Err(newer) => word = newer,
            }
        }
    }

    /// Makes workers until there are `count`, and lets exactly the first `count` take part. A system that refuses more
    /// threads leaves the region with fewer.
    #[cold]
    fn staff(&self, count: usize) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        while workers.len() < count {
            let index = workers.len();
            let asleep: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
            let spawned = std::thread::Builder::new()
                .name(format!("kiln-worker-{index}"))
                .spawn(move || POOL.work(index, asleep));
            match spawned {
                Ok(handle) => workers.push(Worker { thread: handle.thread().clone(), asleep }),
                Err(_) => break,
            }
        }
        self.active.store(count, Ordering::SeqCst);
    }

    /// Unparks the workers among the first `count` that are parked.
    #[cold]
    fn wake(&self, count: usize) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in workers.iter().take(count) {
            if worker.asleep.swap(false, Ordering::SeqCst) {
                self.parked.0.fetch_sub(1, Ordering::SeqCst);
                worker.thread.unpark();
            }
        }
    }

    /// A worker's life: help, spin, park.
    fn work(&self, index: usize, asleep: &AtomicBool) -> ! {
        let _flush = FlushDenormals::new();
        loop {
            while self.is_on(index) && self.help() {}
            if self.is_on(index) && self.work_comes() {
                continue;
            }
            self.parked.0.fetch_add(1, Ordering::SeqCst);
            asleep.store(true, Ordering::SeqCst);
            // From here on a caller that publishes sees this worker parked; one that published before is seen here.
            let stay = unclaimed(self.claims.0.load(Ordering::SeqCst)) > 0 && self.is_on(index);
            if stay && asleep.swap(false, Ordering::SeqCst) {
                self.parked.0.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            while asleep.load(Ordering::SeqCst) {
                std::thread::park();
            }
        }
    }

    /// Whether the worker takes part in regions now.
    fn is_on(&self, index: usize) -> bool {
        index < self.active.load(Ordering::SeqCst)
    }

    /// Spins until there is something to claim, or for long enough.
    fn work_comes(&self) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if unclaimed(self.claims.0.load(Ordering::Relaxed)) > 0 {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > SPIN {
                return false;
            }
        }
    }
}

/// While it lives, its thread takes denormal numbers for zero and makes none: arithmetic on them is up to a hundred
/// times slower, and moments of an optimizer decay right into them. The thread's former mode comes back at the drop.
#[derive(Debug)]
pub struct FlushDenormals {
    former: u64,
    /// The mode is the thread's, so the guard stays on it.
    _stays: PhantomData<*const ()>,
}

impl FlushDenormals {
    /// Switches this thread to flushing.
    #[expect(clippy::new_without_default, reason = "a guard is taken, not defaulted")]
    pub fn new() -> FlushDenormals {
        let former = mode::get();
        if former & mode::FLUSH != mode::FLUSH {
            mode::set(former | mode::FLUSH);
        }
        FlushDenormals { former, _stays: PhantomData }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        if self.former & mode::FLUSH != mode::FLUSH {
            mode::set(self.former);
        }
    }
}

/// The floating-point control register. Read and written by assembly: the intrinsics for it are deprecated. Only the
/// treatment of denormals changes, which no Rust operation relies on.
#[cfg(target_arch = "x86_64")]
mod mode {
    use std::arch::asm;

    /// Flush-to-zero and denormals-are-zero.
    pub const FLUSH: u64 = 0x8040;

    pub fn get() -> u64 {
        let mut control = 0u32;
        // SAFETY: stores the register to the four bytes pointed to.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
        u64::from(control)
    }

    pub fn set(control: u64) {
        let control = control as u32;
        // SAFETY: the value is one that was read before, with only the flush bits changed.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod mode {
    use std::arch::asm;

    /// FPCR.FZ, which flushes operands and results.
    pub const FLUSH: u64 = 1 << 24;

    pub fn get() -> u64 {
        let control: u64;
        // SAFETY: reads a register that is always readable.
        unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
        control
    }

    pub fn set(control: u64) {
        // SAFETY: the value is one that was read before, with only the flush bit changed.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod mode {
    pub const FLUSH: u64 = 0;

    pub fn get() -> u64 {
        0
    }

    pub fn set(_: u64) {}
}

#[cfg(test)]
#[path = "threads_tests.rs"]
pub(crate) mod tests;
