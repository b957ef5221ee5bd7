//! Memory a kernel needs while it runs, kept by each thread from run to run so that nothing is allocated in the end.

use std::cell::RefCell;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "only its address is used")] [f32; 16]);

/// What scratch is for; a thread has one piece for each purpose.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Weights laid out for the kernel.
    Weights,
    /// Images with their padding.
    Images,
    /// Gradients with their padding.
    Gradients,
    /// Finished sums that wait for their tail.
    Sums,
    /// Sums over parts of the batch.
    Parts,
}

thread_local! {
    static KEPT: RefCell<[Vec<Line>; 5]> = const { RefCell::new([const { Vec::new() }; 5]) };
}

/// Gives `body` room for `len` numbers, holding whatever was there before, aligned to a cache line.
pub(super) fn with<R>(purpose: Purpose, len: usize, body: impl FnOnce(*mut f32) -> R) -> R {
    let mut room = KEPT.with_borrow_mut(|kept| std::mem::take(&mut kept[purpose as usize]));
    let lines = len.div_ceil(16);
    if room.len() < lines {
        room.resize(lines, Line([0.0; 16]));
    }
    let result = body(room.as_mut_ptr().cast());
    KEPT.with_borrow_mut(|kept| kept[purpose as usize] = room);
    result
}
