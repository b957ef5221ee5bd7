//! A bar for the epoch under way.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the standard error.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Of so many batches; none where nobody watches.
    pub(crate) fn new(batches: u64) -> Option<Bar> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::new(batches);
        let style = ProgressStyle::with_template("{prefix} {bar:20.cyan/dim} {pos}/{len}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
        Some(Bar(bar))
    }

    /// Draws it: what it is of, how far that is, and a text behind it.
    pub(crate) fn draw(&self, of: String, batch: u64, text: String) {
        self.0.set_prefix(of);
        self.0.set_message(text);
        self.0.set_position(batch);
    }

    /// Takes it away while something is written.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// Takes it away.
    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}
