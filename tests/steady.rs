//! A step at steady state allocates nothing, and ten thousand of them don't grow the process. The allocator is
//! counted, so this file holds one test.

mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln::prelude::*;
use kit::{Mlp, digits};

/// Counts what the whole process allocates.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn ten_thousand_steps_allocate_nothing_after_the_second() {
    const STEPS: usize = 10_000;
    kiln::set_threads(2);
    let (pixels, labels) = digits(48, 3);
    let net = Mlp::new(&[64, 8, 10], 1);
    let mut step = Step::train(&net, Adam::new(1e-3), |net, cx, [x, y]| {
        let kept = cx.key().bernoulli([1, 64], 0.9).cast(DType::F32);
        net.forward(&(x * kept), cx).cross_entropy(&y)
    });
    let mut sum = 0.0;
    let mut run = |step: &mut Step<2>, number: usize| {
        // Two shapes in turn, as the last batch of an epoch is a shorter one.
        let (start, rows) = if number.is_multiple_of(2) { (0, 16) } else { (16, 5) };
        let (x, y) = (&pixels[start * 64..(start + rows) * 64], &labels[start..start + rows]);
        sum += step.run([Input::new(x, &[rows, 64]), Input::new(y, &[rows])]).unwrap();
    };
    for number in 0..4 {
        run(&mut step, number);
    }
    let (allocations, held) = (ALLOCATIONS.load(Ordering::Relaxed), HELD.load(Ordering::Relaxed));
    for number in 4..STEPS {
        run(&mut step, number);
    }
    let more = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    assert_eq!(more, 0, "allocations in {STEPS} steps");
    assert_eq!(HELD.load(Ordering::Relaxed), held, "bytes held");
    assert!(sum.is_finite());
    assert_eq!(step.count().unwrap(), STEPS as u64);
}
