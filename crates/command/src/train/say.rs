//! What is said while a training goes on.

use kiln_learn::trainer::{Callback, Moment};
use serde_json::{Value, json};

use crate::out;
use crate::settings::Settings;

/// Where messages go: stderr for people, stdout for programs.
pub(super) struct Say {
    pub(super) quiet: bool,
    pub(super) json: bool,
}

impl Say {
    pub(super) fn new(settings: &Settings) -> Say {
        Say { quiet: settings.quiet == Some(true), json: settings.json == Some(true) }
    }

    pub(super) fn line(&self, text: &str) {
        if !self.quiet && !self.json {
            out::note(text);
        }
    }

    pub(super) fn event(&self, event: Value) {
        if self.json {
            out::event(event);
        }
    }
}

/// An object for each epoch, and for each text that is shown within one, for programs.
pub(super) struct Events;

impl Callback for Events {
    fn after_step(&mut self, at: &mut Moment) -> kiln_learn::Result<()> {
        for (name, text) in at.texts() {
            let mut event = json!({ "event": name, "epoch": at.epoch, "step": at.step });
            event[name] = text.as_str().into();
            out::event(event);
        }
        Ok(())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> kiln_learn::Result<()> {
        let mut event = json!({ "event": "epoch", "epoch": at.epoch, "step": at.step, "seconds": at.elapsed.as_secs_f64() });
        for (name, number) in at.numbers {
            event[name] = (*number).into();
        }
        for (name, text) in at.texts() {
            event[name] = text.as_str().into();
        }
        out::event(event);
        Ok(())
    }
}
