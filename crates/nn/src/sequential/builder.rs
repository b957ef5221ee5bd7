//! What is put in a row besides the layers of the table, and the names that layers are given.

use std::sync::OnceLock;

use super::{Kind, Sequential, Spec};
use crate::layers::{Lambda, Layer};
use crate::tensor::Tensor;

impl Sequential {
    /// A described layer.
    pub fn push(self, spec: Spec) -> Sequential {
        self.add(Kind::Described(spec, OnceLock::new()))
    }

    /// A layer of one's own, or one that is already made.
    pub fn layer(self, layer: impl Layer + 'static) -> Sequential {
        self.add(Kind::Own(Box::new(layer)))
    }

    /// Any function, with a name for summaries.
    pub fn lambda(self, name: &str, f: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Sequential {
        self.add(Kind::Lambda(Lambda::new(name, f)))
    }

    /// The layers of another row behind these.
    pub fn then(mut self, row: Sequential) -> Sequential {
        self.parts.extend(row.parts);
        self
    }

    /// Names the last layer: its parameters' paths then begin with that instead of its position.
    pub fn named(mut self, name: &str) -> Sequential {
        if let Some(part) = self.parts.last_mut() {
            part.name = Some(name.to_string());
        }
        self
    }
}
