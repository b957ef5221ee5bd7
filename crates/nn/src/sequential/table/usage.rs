//! How a layer is written, as the help and messages say it: `conv[1d|2d|3d] CHANNELS WINDOW [stride 1] [no-bias]`.

use super::{ArgumentKind, ArgumentVisitor, Begins, LayerArgument, Mistake, Spec, Word};
use crate::tensor::window::SpatialRank;

#[derive(Default)]
struct Usage {
    text: String,
    names: Vec<&'static str>,
}

impl Usage {
    fn of(mut spec: Spec) -> Usage {
        let mut usage = Usage { text: spec.word().to_string(), names: Vec::new() };
        // Nothing of this visit can be a mistake.
        let _ = spec.visit(&mut usage);
        usage
    }
}

impl ArgumentVisitor for Usage {
    fn rank(&mut self, _: &mut Option<SpatialRank>) -> Result<(), Mistake> {
        self.text += "[1d|2d|3d]";
        Ok(())
    }

    fn argument(&mut self, argument: LayerArgument) -> Result<(), Mistake> {
        let LayerArgument { name, default, kind, .. } = argument;
        let upper = name.to_uppercase();
        self.text += &match kind {
            ArgumentKind::Required => format!(" {upper}"),
            ArgumentKind::Optional if default.is_empty() => format!(" [{upper}]"),
            ArgumentKind::Optional => format!(" [{upper}={default}]"),
            ArgumentKind::Rest => format!(" {upper}…"),
            ArgumentKind::Named if default.is_empty() => format!(" [{name} N]"),
            ArgumentKind::Named => format!(" [{name} {default}]"),
        };
        if kind == ArgumentKind::Named {
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
            Begins::Blend => format!("{}(LAYER, …; LAYER, …; …) [classes] [targets N…]", self.word),
        }
    }

    /// What its arguments that have names are called.
    pub fn named_arguments(&self) -> Vec<&'static str> {
        match self.begins {
            Begins::Layer(blank) => Usage::of(blank()).names,
            Begins::Residual | Begins::Parallel(_) => Vec::new(),
            Begins::Blend => vec!["classes", "targets"],
        }
    }

    /// Whether it may have a rank at its end, as `conv2d`.
    pub fn is_ranked(&self) -> bool {
        match self.begins {
            Begins::Layer(blank) => blank().is_ranked(),
            Begins::Residual | Begins::Parallel(_) | Begins::Blend => false,
        }
    }
}
