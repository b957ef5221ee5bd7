//! Addresses that the tasks of a parallel region share.

/// An address that several threads read from.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *const f32);
/// An address behind which several threads write, each its own part.
#[derive(Clone, Copy)]
pub(super) struct SharedMut(pub(super) *mut f32);

// SAFETY: only read through.
unsafe impl Sync for Shared {}
// SAFETY: the tasks that share it write disjoint parts.
unsafe impl Sync for SharedMut {}

impl Shared {
    pub(super) fn get(&self) -> *const f32 {
        self.0
    }
}

impl SharedMut {
    pub(super) fn get(&self) -> *mut f32 {
        self.0
    }
}
