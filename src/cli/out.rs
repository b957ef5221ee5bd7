//! What the command prints. Words of files are among it, and a terminal must not obey them: all that goes out by these macros, which take
//! the place of the standard ones, is [`visible`].

use std::io::{IsTerminal, Result, StdoutLock, Write};

use kiln_map::visible;

macro_rules! print {
    ($($text:tt)*) => { ::std::print!("{}", ::kiln_map::visible(&::std::format!($($text)*))) };
}

macro_rules! println {
    ($($text:tt)*) => { ::std::println!("{}", ::kiln_map::visible(&::std::format!($($text)*))) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { ::std::eprintln!("{}", ::kiln_map::visible(&::std::format!($($text)*))) };
}

/// The standard output for data: as they are where a program takes them, [`visible`] on a terminal.
pub struct Rows {
    out: std::io::BufWriter<StdoutLock<'static>>,
    is_terminal: bool,
}

impl Rows {
    /// Of this process.
    pub fn new() -> Rows {
        let out = std::io::stdout();
        Rows { is_terminal: out.is_terminal(), out: std::io::BufWriter::new(out.lock()) }
    }
}

impl Write for Rows {
    // What is formatted comes in whole texts.
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.is_terminal => self.out.write_all(visible(text).as_bytes())?,
            _ => self.out.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }
}
