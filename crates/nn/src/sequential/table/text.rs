//! A described layer as text: its word, and the arguments that aren't what they are by themselves.

use std::fmt;

use super::{ArgumentKind, ArgumentVisitor, LayerArgument, Mistake, Spec};
use crate::tensor::window::SpatialRank;

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = ArgumentWriter(self.word().to_string());
        // Nothing of this visit can be a mistake.
        let _ = self.clone().visit(&mut writer);
        f.write_str(&writer.0)
    }
}

/// The text as far as it is written.
struct ArgumentWriter(String);

impl ArgumentVisitor for ArgumentWriter {
    fn rank(&mut self, rank: &mut Option<SpatialRank>) -> Result<(), Mistake> {
        self.0 += &rank.map_or(String::new(), |rank| rank.to_string());
        Ok(())
    }

    fn argument(&mut self, argument: LayerArgument) -> Result<(), Mistake> {
        let text = argument.value.text();
        match argument.kind {
            ArgumentKind::Optional | ArgumentKind::Named if text == argument.default => {}
            ArgumentKind::Named => self.0 += &format!(" {} {text}", argument.name),
            ArgumentKind::Required | ArgumentKind::Optional | ArgumentKind::Rest => {
                self.0 += &format!(" {text}")
            }
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
