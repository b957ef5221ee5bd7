//! Addresses that the tasks of a parallel region share.

/// An address, or what holds some, that several threads use; whoever makes it sees to it that they write elements of
/// their own, or only read.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<T: Copy>(pub(crate) T);

// SAFETY: see the type; every use is an unsafe block with its own reason.
unsafe impl<T: Copy> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T: Copy> Sync for SendPtr<T> {}

impl<T: Copy> SendPtr<T> {
    /// What is shared. Closures that say `x.get()` capture all of `x`, not the bare address inside.
    #[inline]
    pub(crate) fn get(&self) -> T {
        self.0
    }
}
