//! The one place through which the command prints: results to the standard output, what is said besides to the standard error. Words of
//! files are among it, and no terminal must obey them: all of it is [`visible`].

use std::fmt::Display;
use std::io::{BufWriter, Error, IsTerminal, StdoutLock, Write};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
pub use kiln_map::counted;
use kiln_map::visible;

/// Prints a piece of a result.
pub fn text(text: impl Display) -> Result<()> {
    written(&visible(&text.to_string())).context("the standard output can't be written")
}

/// Prints a line of a result.
pub fn line(line: impl Display) -> Result<()> {
    text(format_args!("{line}\n"))
}

/// Says a line besides the result. A terminal that was closed ends nothing.
pub fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", visible(&line.to_string()));
}

/// What the first event came to that couldn't be printed.
static LOST: Mutex<Option<Error>> = Mutex::new(None);

/// Prints a line of what goes on for long. Nothing stops because nobody reads it; [`settle`] says at the end what is missing.
pub fn event(line: impl Display) {
    let mut lost = LOST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if lost.is_none() {
        *lost = written(&visible(&format!("{line}\n"))).err();
    }
}

/// An error if an event couldn't be printed.
pub fn settle() -> Result<()> {
    match LOST.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
        Some(error) => Err(error).context("the standard output couldn't be written"),
        None => Ok(()),
    }
}

fn written(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(visible(text).as_bytes())?;
    // What is left in the buffer would be lost without a word when the program ends.
    out.flush()
}

/// The standard output for rows of data: as they are where a program takes them, [`visible`] on a terminal.
pub struct RowWriter {
    out: BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
}

impl RowWriter {
    /// Of this process.
    pub fn new() -> RowWriter {
        let out = std::io::stdout();
        RowWriter { is_terminal: out.is_terminal(), out: BufWriter::new(out.lock()) }
    }
}

impl Write for RowWriter {
    // What is formatted comes in whole texts.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.is_terminal => self.out.write_all(visible(text).as_bytes())?,
            _ => self.out.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1000.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}
