//! What the library says to people: lines on the standard error, the only place it prints to.

use std::fmt::Display;
use std::io::Write;

use kiln_map::visible;

/// Writes a line. A terminal that was closed or a disk that is full is no reason to end a training.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", visible(&line.to_string()));
}
