//! A described layer as text: its word, and the arguments that aren't what they are by themselves.

use std::fmt;

use super::{Argument, Mistake, Place, Spec, Walk};
use crate::tensor::window::SpatialRank;

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer(self.word().to_string());
        // Nothing of this walk can be a mistake.
        let _ = self.clone().walk(&mut writer);
        f.write_str(&writer.0)
    }
}

struct Writer(String);

impl Walk for Writer {
    fn rank(&mut self, rank: &mut Option<SpatialRank>) -> Result<(), Mistake> {
        self.0 += &rank.map_or(String::new(), |rank| rank.to_string());
        Ok(())
    }

    fn argument(&mut self, argument: Argument) -> Result<(), Mistake> {
        let text = argument.value.text();
        match argument.place {
            Place::Optional | Place::Named if text == argument.default => {}
            Place::Named => self.0 += &format!(" {} {text}", argument.name),
            Place::Required | Place::Optional | Place::Rest => self.0 += &format!(" {text}"),
        }
        Ok(())
    }

    fn flag(&mut self, name: &'static str, on: &mut bool) -> Result<(), Mistake> {
        self.0 += &if *on { format!(" {name}") } else { String::new() };
        Ok(())
    }

    fn former(&mut self, _: &'static str, _: bool) -> Result<(), Mistake> {
        Ok(())
    }
}
