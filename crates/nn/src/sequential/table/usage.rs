//! How a layer is written, as the help and messages say it: `conv[1d|2d|3d] CHANNELS WINDOW [stride 1] [no-bias]`.

use super::{Argument, Begins, Mistake, Place, Spec, Walk, Word};
use crate::tensor::window::SpatialRank;

#[derive(Default)]
struct Usage {
    text: String,
    names: Vec<&'static str>,
}

impl Usage {
    fn of(mut spec: Spec) -> Usage {
        let mut usage = Usage { text: spec.word().to_string(), names: Vec::new() };
        // Nothing of this walk can be a mistake.
        let _ = spec.walk(&mut usage);
        usage
    }
}

impl Walk for Usage {
    fn rank(&mut self, _: &mut Option<SpatialRank>) -> Result<(), Mistake> {
        self.text += "[1d|2d|3d]";
        Ok(())
    }

    fn argument(&mut self, argument: Argument) -> Result<(), Mistake> {
        let Argument { name, default, place, .. } = argument;
        let upper = name.to_uppercase();
        self.text += &match place {
            Place::Required => format!(" {upper}"),
            Place::Optional if default.is_empty() => format!(" [{upper}]"),
            Place::Optional => format!(" [{upper}={default}]"),
            Place::Rest => format!(" {upper}…"),
            Place::Named if default.is_empty() => format!(" [{name} N]"),
            Place::Named => format!(" [{name} {default}]"),
        };
        if place == Place::Named {
            self.names.push(name);
        }
        Ok(())
    }

    fn flag(&mut self, name: &'static str, _: &mut bool) -> Result<(), Mistake> {
        self.text += &format!(" [{name}]");
        self.names.push(name);
        Ok(())
    }

    fn former(&mut self, _: &'static str, _: bool) -> Result<(), Mistake> {
        Ok(())
    }
}

impl Word {
    /// How such a layer is written: numbers in capitals, and in brackets what may be left out, with what it then is.
    pub fn usage(&self) -> String {
        match self.begins {
            Begins::Layer(blank) => Usage::of(blank()).text,
            Begins::Residual => format!("{}(LAYER, LAYER, …)", self.word),
            Begins::Parallel(_) => format!("{}(LAYER, …; LAYER, …; …)", self.word),
        }
    }

    /// What its arguments that have names are called.
    pub fn named_arguments(&self) -> Vec<&'static str> {
        match self.begins {
            Begins::Layer(blank) => Usage::of(blank()).names,
            Begins::Residual | Begins::Parallel(_) => Vec::new(),
        }
    }

    /// Whether it may have a rank at its end, as `conv2d`.
    pub fn is_ranked(&self) -> bool {
        match self.begins {
            Begins::Layer(blank) => blank().is_ranked(),
            Begins::Residual | Begins::Parallel(_) => false,
        }
    }
}
