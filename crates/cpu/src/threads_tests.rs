//! What the pool promises: each chunk once, whatever else happens.

use super::*;
use std::sync::atomic::AtomicU32;

static TURN: Mutex<()> = Mutex::new(());

/// The number of threads belongs to the process: tests that set it take turns.
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn counts(chunks: usize) -> Vec<AtomicU32> {
    (0..chunks).map(|_| AtomicU32::new(0)).collect()
}

fn each_once(counts: &[AtomicU32]) -> bool {
    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1)
}

#[test]
fn every_chunk_runs_once_in_many_tiny_regions() {
    let _turn = turn();
    let _threads = with_threads(4);
    for round in 0..100_000 {
        let chunks = round % 9;
        let ran = counts(chunks);
        parallel(chunks, &|index| {
            ran[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(each_once(&ran), "round {round}");
    }
}

#[test]
fn plain_writes_are_visible_when_the_region_ends() {
    let _turn = turn();
    let _threads = with_threads(3);
    struct Cells(Vec<UnsafeCell<usize>>);
    // SAFETY: each cell is touched by one chunk, and read after the region.
    unsafe impl Sync for Cells {}
    let cells = Cells((0..16).map(|_| UnsafeCell::new(0)).collect());
    let cells = &cells;
    for round in 1..20_000 {
        // SAFETY: one chunk a cell.
        parallel(16, &|index| unsafe { *cells.0[index].get() += index });
        // SAFETY: the region is over.
        assert!((0..16).all(|index| unsafe { *cells.0[index].get() } == index * round));
    }
}

#[test]
fn nested_regions_run_serially() {
    let _turn = turn();
    let _threads = with_threads(4);
    for _ in 0..200 {
        let ran = counts(64);
        parallel(8, &|outer| {
            let here = std::thread::current().id();
            parallel(8, &|inner| {
                assert_eq!(here, std::thread::current().id());
                ran[outer * 8 + inner].fetch_add(1, Ordering::Relaxed);
            });
        });
        assert!(each_once(&ran));
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    let _turn = turn();
    let _threads = with_threads(4);
    for round in 0..200 {
        let panic = catch_unwind(|| {
            parallel(16, &|index| {
                if index == round % 16 {
                    std::panic::resume_unwind(Box::new("stop"));
                }
            });
        })
        .unwrap_err();
        assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "stop");
        let ran = counts(16);
        parallel(16, &|index| {
            ran[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(each_once(&ran));
    }
}

#[test]
fn the_number_of_threads_can_change_between_regions() {
    let _turn = turn();
    for round in 0..3_000 {
        let _threads = with_threads(1 + round % 5);
        let ran = counts(12);
        parallel(12, &|index| {
            ran[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(each_once(&ran));
        if round % 500 == 0 {
            std::thread::sleep(3 * SPIN);
        }
    }
}

#[test]
fn what_guards_set_for_a_thread_is_as_before_after_them_also_by_a_panic() {
    let _turn = turn();
    let outer = with_threads(3);
    let panicked = std::panic::catch_unwind(|| {
        let _inner = with_threads(2);
        let _alone = Alone::new();
        {
            let _within = Alone::new();
        }
        assert!(ALONE.get(), "a guard inside of another leaves what that has set");
        assert_eq!(threads(), 2);
        panic!("expected by this test");
    });
    assert!(panicked.is_err());
    assert_eq!((threads(), ALONE.get()), (3, false));
    drop(outer);
    assert_eq!(threads(), 1);
}

#[test]
fn several_callers_at_once_are_safe() {
    let _turn = turn();
    let _threads = with_threads(3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let ran = counts(7);
                    parallel(7, &|index| {
                        ran[index].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(each_once(&ran));
                }
            });
        }
    });
}

/// Whether two chunks ran at the same time on two threads. They wait a moment for each other, not for ever: another
/// test may have the pool, and then both run here.
fn two_meet(also: &(dyn Fn() + Sync)) -> bool {
    let arrived = AtomicU32::new(0);
    let met = AtomicU32::new(0);
    parallel(2, &|_| {
        arrived.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while arrived.load(Ordering::SeqCst) < 2 && start.elapsed() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        if start.elapsed() < Duration::from_millis(5) {
            met.fetch_add(1, Ordering::SeqCst);
        }
        also();
    });
    met.into_inner() == 2
}

#[test]
fn workers_wake_from_their_sleep() {
    let _turn = turn();
    let woke = (0..500).filter(|_| {
        let _threads = with_threads(2);
        std::thread::sleep(4 * SPIN);
        two_meet(&|| ())
    });
    assert_eq!(woke.take(10).count(), 10);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn denormals_are_flushed_on_every_thread_and_only_while_asked() {
    let _turn = turn();
    let halved = || std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5f32);
    assert!(halved() > 0.0);
    let met = (0..500).any(|_| {
        let _threads = with_threads(2);
        two_meet(&|| assert_eq!(halved(), 0.0))
    });
    assert!(met);
    assert!(halved() > 0.0);
}
