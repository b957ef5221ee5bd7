//! A step at steady state allocates nothing, and ten thousand of them don't grow the process; nor does a trainer from one step of
//! an epoch to the next. The allocator is counted, so the tests of this file take turns.

mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use kiln::data::{Form, Set};
use kiln::prelude::*;
use kiln::trainer::{Callback, Moment};
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

/// Held by the test whose turn it is.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn ten_thousand_steps_allocate_nothing_after_the_second() {
    const STEPS: usize = 10_000;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    kiln::set_threads(2).unwrap();
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

#[test]
fn steps_of_layers_for_sequences_allocate_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    kiln::set_threads(2).unwrap();
    let codes: Vec<i64> = (0..8 * 12).map(|place| place * 5 % 7).collect();
    for text in [
        "embedding 7 8, lstm 12 bidirectional, last, dense 7",
        "embedding 7 8, gru 12 layers 2 dropout 0.2, mean-over-time, dense 7",
        "embedding 7 8, positions 12, transformer 2 dropout 0.1, last, dense 7",
    ] {
        let model: Sequential = text.parse().unwrap();
        let _ = model.forward(&Tensor::new(&codes[..12], [1, 12]), &Context::inference());
        let mut step =
            Step::train(&model, Adam::new(1e-3), |m, cx, [x, y]| m.forward(&x, cx).cross_entropy(&y));
        let mut run = || step.run([Input::new(&codes, &[8, 12]), Input::new(&codes[..8], &[8])]).unwrap();
        // Scratch memory is a thread's own, and grows when the thread first takes part in a kernel: on a busy machine that
        // may be late. What a step itself allocated would come again in every one.
        let quiet = (0..20).any(|_| {
            let allocations = ALLOCATIONS.load(Ordering::Relaxed);
            (0..200).for_each(|_| assert!(run().is_finite(), "{text}"));
            ALLOCATIONS.load(Ordering::Relaxed) == allocations
        });
        assert!(quiet, "{text}: allocations in each of 20 times 200 steps");
    }
}

/// Counts the steps in a row that allocated nothing, but for those that end an epoch or begin one.
struct Watch {
    before: usize,
    quiet: usize,
    most: Rc<Cell<usize>>,
}

impl Callback for Watch {
    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        let now = ALLOCATIONS.load(Ordering::Relaxed);
        // The first epoch compiles, and lets every queue grow to its size.
        if at.epoch > 1 && at.batch > 1 {
            self.quiet = if now == self.before { self.quiet + 1 } else { 0 };
            self.most.set(self.most.get().max(self.quiet));
        }
        self.before = ALLOCATIONS.load(Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn a_trainer_allocates_nothing_from_step_to_step() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    kiln::set_threads(2).unwrap();
    let (pixels, labels) = digits(600, 3);
    let pixels: Vec<u8> = pixels.iter().map(|&x| (x.clamp(0.0, 1.0) * 255.0) as u8).collect();
    let set = Set::classes(pixels, Form::pixels(&[64]), labels).unwrap();
    let most = Rc::new(Cell::new(0));
    let model = Sequential::new().dense(32).batch_norm().relu().dropout(0.2).dense(10);
    let run = Trainer::new(model, CrossEntropy::new(), AdamW::new(1e-3))
        .epochs(30)
        .batch_size(16)
        .metrics(["accuracy"])
        .schedule_over(kiln::schedule::Cosine::new)
        .clip(Clip::GlobalNorm(1.0))
        .callback(Watch { before: 0, quiet: 0, most: most.clone() })
        .quiet()
        .fit(&set)
        .unwrap();
    assert_eq!(run.history().len(), 30);
    // The thread that prepares batches counts too. Of 29 epochs of 37 such steps, a thread that is late to get its memory
    // may spoil some; what a step allocated itself would spoil all.
    assert!(most.get() >= 10 * 37, "at the most {} steps in a row without allocations", most.get());
}
