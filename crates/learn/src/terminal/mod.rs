//! All that the feature `terminal` brings: lines and a bar on the standard error, and signals that ask for the end. `no_terminal.rs`
//! stands in for it where the feature is off.

mod bar;
mod interrupt;

use std::io::Write;

pub(crate) use bar::Bar;
pub use interrupt::Interrupt;

/// Writes a line. A terminal that was closed or a disk that is full is no reason to end a training.
pub(crate) fn line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
