//! Memory that a thread keeps from one product to the next, so that products at steady state allocate nothing.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;

/// Buffers begin at a page.
const ALIGN: usize = 4096;

/// Memory without a type, which only grows.
#[derive(Debug)]
pub struct Scratch {
    start: *mut u8,
    bytes: usize,
}

impl Scratch {
    const EMPTY: Scratch = Scratch { start: std::ptr::null_mut(), bytes: 0 };

    /// Room for `count` numbers, uninitialised and aligned for vectors.
    pub fn room<T>(&mut self, count: usize) -> *mut T {
        let bytes = count.saturating_mul(size_of::<T>()).max(ALIGN);
        if bytes > self.bytes {
            self.release();
            let Ok(layout) = Layout::from_size_align(bytes.next_multiple_of(ALIGN), ALIGN) else {
                handle_alloc_error(Layout::new::<T>());
            };
            // SAFETY: the size is not zero.
            self.start = unsafe { alloc(layout) };
            if self.start.is_null() {
                handle_alloc_error(layout);
            }
            self.bytes = layout.size();
        }
        self.start.cast()
    }

    fn release(&mut self) {
        if self.bytes > 0 {
            // SAFETY: allocated by `room` with this size and alignment.
            unsafe { dealloc(self.start, Layout::from_size_align_unchecked(self.bytes, ALIGN)) };
            self.bytes = 0;
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a thread's buffers are for.
#[derive(Clone, Copy, Debug)]
pub enum Use {
    /// Packed rows of A.
    A,
    /// Packed columns of B.
    B,
    /// Columns of B that are packed for all threads.
    Shared,
    /// A block of the product.
    Block,
}

thread_local! {
    static KEPT: [Cell<Scratch>; 4] = const { [const { Cell::new(Scratch::EMPTY) }; 4] };
}

/// Lends this thread's buffer for a use. A product inside a product's tail finds it taken and gets one of its own.
pub fn with<R>(purpose: Use, body: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = KEPT.with(|kept| kept[purpose as usize].replace(Scratch::EMPTY));
    let result = body(&mut scratch);
    KEPT.with(|kept| kept[purpose as usize].set(scratch));
    result
}
