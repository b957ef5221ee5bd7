//! Memory a kernel needs while it runs, kept by each thread from run to run so that nothing is allocated in the end.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;

/// Buffers begin at a page, and so at a line of the cache and at a vector.
const ALIGN: usize = 4096;

/// What scratch is for. What a thread uses at one time has purposes of its own, so that sizes stay the same from run to
/// run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Packed rows of a product's A.
    Rows,
    /// Packed columns of a product's B.
    Columns,
    /// Columns of B that are packed for all threads.
    SharedColumns,
    /// A block of a product.
    Block,
    /// Weights laid out for the kernel.
    Weights,
    /// Images with their padding.
    Images,
    /// Gradients with their padding.
    Gradients,
    /// A convolution's finished sums that wait for their epilogue.
    Sums,
    /// Sums over parts of the batch.
    Parts,
    /// Tiles of the values of fused work.
    Tiles,
    /// What fused work keeps between tiles: running sums, and values of a group.
    Folds,
    /// What attention keeps of the rows and keys that it works on.
    Attention,
}

/// How many purposes there are.
const PURPOSES: usize = Purpose::Attention as usize + 1;

thread_local! {
    /// The buffers that nobody uses now; several where a kernel ran inside of another's epilogue.
    static FREE: [RefCell<Vec<ScratchBuffer>>; PURPOSES] = const { [const { RefCell::new(Vec::new()) }; PURPOSES] };
}

/// Gives `body` room for `count` numbers, holding whatever was there before.
pub(crate) fn with<T, R>(purpose: Purpose, count: usize, body: impl FnOnce(*mut T) -> R) -> R {
    const { assert!(align_of::<T>() <= ALIGN) };
    let lent = Lent::new(purpose, count.saturating_mul(size_of::<T>()));
    body(lent.buffer.start.cast())
}

/// A buffer in use, which comes back when this is dropped, also by a panic.
struct Lent {
    purpose: Purpose,
    buffer: ScratchBuffer,
}

impl Lent {
    fn new(purpose: Purpose, bytes: usize) -> Lent {
        let free = FREE.with(|free| free[purpose as usize].borrow_mut().pop());
        let mut lent = Lent { purpose, buffer: free.unwrap_or(ScratchBuffer::EMPTY) };
        lent.buffer.grow(bytes);
        lent
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, ScratchBuffer::EMPTY);
        // While the thread ends there may be no list any more; then the buffer is freed.
        let _ = FREE.try_with(|free| free[self.purpose as usize].borrow_mut().push(buffer));
    }
}

/// Memory without a type, which only grows. All of it was written once.
struct ScratchBuffer {
    start: *mut u8,
    bytes: usize,
}

impl ScratchBuffer {
    const EMPTY: ScratchBuffer = ScratchBuffer { start: std::ptr::without_provenance_mut(ALIGN), bytes: 0 };

    fn grow(&mut self, bytes: usize) {
        if bytes <= self.bytes {
            return;
        }
        self.release();
        let Ok(layout) = Layout::from_size_align(bytes, ALIGN).map(|layout| layout.pad_to_align()) else {
            handle_alloc_error(Layout::new::<u8>());
        };
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        (self.start, self.bytes) = (start, layout.size());
    }

    fn release(&mut self) {
        if self.bytes > 0 {
            // SAFETY: allocated by `grow` with this size and alignment.
            unsafe { dealloc(self.start, Layout::from_size_align_unchecked(self.bytes, ALIGN)) };
            self.bytes = 0;
        }
    }
}

impl Drop for ScratchBuffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_once_and_comes_back() {
        let address = |count: usize| with(Purpose::Rows, count, |start: *mut f32| start as usize);
        let first = address(1000);
        assert_eq!(first % ALIGN, 0);
        assert_eq!(address(10), first, "what is large enough is used again");
        let (outer, inner) = with(Purpose::Rows, 10, |outer: *mut f32| (outer as usize, address(10)));
        assert_eq!(outer, first);
        assert_ne!(outer, inner, "a kernel inside of another's epilogue has a buffer of its own");
        assert_eq!(address(10), outer);
        assert_ne!(with(Purpose::Columns, 10, |other: *mut f32| other as usize), first);
    }

    #[test]
    fn a_buffer_comes_back_after_a_panic() {
        let address = |count: usize| with(Purpose::Folds, count, |start: *mut f32| start as usize);
        let first = address(1000);
        let panicked = std::panic::catch_unwind(|| {
            with(Purpose::Folds, 10, |_: *mut f32| panic!("expected by this test"));
        });
        assert!(panicked.is_err());
        assert_eq!(address(1000), first);
    }

    #[test]
    fn all_that_was_asked_for_may_be_written() {
        for count in [0, 1, 1023, 1024, 5000, 3] {
            with(Purpose::Tiles, count, |start: *mut f64| {
                // SAFETY: so many numbers were asked for, and all of a buffer was written once.
                unsafe { std::slice::from_raw_parts_mut(start, count) }.fill(1.0);
            });
        }
    }
}
