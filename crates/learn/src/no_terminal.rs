//! Stands in for `terminal/` where the feature is off: nothing is shown, and signals do what they do in any program.

/// Nobody is there to read it.
pub(crate) fn line(_: &str) {}

/// A bar that is never made.
#[derive(Debug)]
pub(crate) enum Bar {}

impl Bar {
    pub(crate) fn new(_batches: u64) -> Option<Bar> {
        None
    }

    pub(crate) fn draw(&self, _of: String, _batch: u64, _text: String) {
        match *self {}
    }

    pub(crate) fn suspend(&self, _write: impl FnOnce()) {
        match *self {}
    }

    pub(crate) fn finish(self) {
        match self {}
    }
}

/// Hears nothing.
pub struct Interrupt;

impl Interrupt {
    /// As if it did.
    pub fn listen() -> Interrupt {
        Interrupt
    }

    pub(crate) fn deaf() -> Interrupt {
        Interrupt
    }

    /// Never one.
    pub fn asked(&self) -> Option<i32> {
        None
    }
}
