//! Where each buffer of a program is, for the run that is going on.

use kiln_compile::program::View;

/// The first byte of every buffer, by [`kiln_compile::program::BufferId`].
#[derive(Debug)]
pub(crate) struct Bases(Vec<*mut u8>);

// SAFETY: a table of addresses; the run that fills it in keeps what they point to alive and to itself.
unsafe impl Send for Bases {}
// SAFETY: as above; threads of one kernel touch disjoint elements.
unsafe impl Sync for Bases {}

impl Bases {
    /// A table for this many buffers, none of which is anywhere yet.
    pub(crate) fn new(buffers: usize) -> Bases {
        Bases(vec![std::ptr::null_mut(); buffers])
    }

    /// Sets where a buffer is.
    pub(crate) fn set(&mut self, buffer: usize, start: *mut u8) {
        self.0[buffer] = start;
    }

    /// Where a buffer is.
    #[inline]
    pub(crate) fn start(&self, buffer: usize) -> *mut u8 {
        self.0[buffer]
    }

    /// The element of a view at loop indices zero.
    #[inline]
    pub(crate) fn origin<T>(&self, view: &View) -> *mut T {
        self.start(view.buffer).cast::<T>().wrapping_offset(view.offset)
    }
}
