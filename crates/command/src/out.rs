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

/// Prints pieces of a text in a line, on a terminal each on a ground of its own: the redder the more above 0 it is, the bluer the more below, within
/// ±1. Their own words command nothing there.
pub fn painted(pieces: &[(String, f64)]) -> Result<()> {
    let out = std::io::stdout();
    if !out.is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return line(pieces.iter().map(|(piece, _)| piece.as_str()).collect::<String>());
    }
    let ground = |(piece, strength): &(String, f64)| {
        let shade = (strength.abs().clamp(0.0, 1.0) * 160.0) as u8;
        let [red, green, blue] = if *strength > 0.0 { [40 + shade, 40, 40] } else { [40, 40, 40 + shade] };
        format!("\u{1b}[48;2;{red};{green};{blue}m\u{1b}[38;2;240;240;240m{}\u{1b}[0m", visible(piece))
    };
    let mut out = out.lock();
    let text: String = pieces.iter().map(ground).collect();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .context("the standard output can't be written")
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
