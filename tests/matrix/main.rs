//! Every layer's word and every preset through the whole life of a model: trained, saved, loaded, asked, evaluated, looked at, exported,
//! gone on with and taught something else. Both come from the tables that define them, so that a new one can't be left out.

mod layers;
mod predictor;
mod presets;

use std::fmt::{Display, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What went wrong, by what was tried and where.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// Tries one stage of something's life. Where it fails or panics, the cell is noted, and what would follow from it is left out.
    fn cell<T, E: Display>(&mut self, of: &str, stage: &str, f: impl FnOnce() -> Result<T, E>) -> Option<T> {
        let message = match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                format!("panicked: {}", text.unwrap_or("without a word"))
            }
        };
        self.0.push(format!("{of} × {stage}: {message}"));
        None
    }

    /// Fails where anything did, with all of it.
    fn settle(self) {
        let mut text = String::new();
        self.0.iter().for_each(|fault| writeln!(text, "  {fault}").unwrap());
        assert!(self.0.is_empty(), "{} cells fail:\n{text}", self.0.len());
    }
}

/// An error where something isn't so.
fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> kiln::Result<()> {
    if is_so { Ok(()) } else { Err(kiln::Error::Training(otherwise())) }
}
