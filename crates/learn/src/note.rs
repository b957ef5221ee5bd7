//! What the library says to people: events of `tracing` at the level INFO. Where the program has no `tracing` subscriber and
//! the feature `terminal` is on, they go to its standard error; nothing else is printed.

use std::fmt::Display;

use tracing::subscriber::NoSubscriber;

use crate::terminal;

/// Says a line.
pub(crate) fn note(line: impl Display) {
    let line = kiln_map::visible(&line.to_string()).into_owned();
    match tracing::dispatcher::get_default(|subscriber| subscriber.is::<NoSubscriber>()) {
        true => terminal::line(&line),
        false => tracing::info!("{line}"),
    }
}
