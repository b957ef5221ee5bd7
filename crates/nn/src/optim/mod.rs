//! Optimizers: what becomes of a parameter, given its gradient. Written in tensor arithmetic, so that the compiler
//! fuses an update into the kernel that makes the gradient. Meaning and defaults are PyTorch's.

mod adam;
mod adaptive;
mod groups;
mod large;
mod lbfgs;
mod sgd;
mod slots;

pub use adam::{Adam, AdamW, Adamax, NAdam, RAdam};
pub use adaptive::{Adadelta, Adagrad, RmsProp};
pub use groups::Groups;
pub use large::{Lamb, Lion, Muon};
pub use lbfgs::Lbfgs;
pub use sgd::Sgd;
pub use slots::{Slot, Slots, Trained};

use kiln_ir::Result;

use crate::tensor::Tensor;

/// A rule for updating parameters.
pub trait Optimizer {
    /// The learning rate at the start.
    fn rate(&self) -> f64;

    /// The parameter's new value. What must be remembered from step to step is kept in `slots`.
    fn update(&self, slot: &mut Slot, parameter: &Tensor, gradient: &Tensor) -> Tensor;

    /// The new values of all parameters: one by one, unless the rule looks at all of them.
    ///
    /// # Errors
    /// Where the rule doesn't fit the parameters.
    fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
        all.iter().map(|trained| slots.one(self, trained, 1.0)).collect()
    }

    /// The same rule without its weight decay, if it has one.
    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        None
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn rate(&self) -> f64 {
        (**self).rate()
    }

    fn update(&self, slot: &mut Slot, parameter: &Tensor, gradient: &Tensor) -> Tensor {
        (**self).update(slot, parameter, gradient)
    }

    fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
        (**self).update_all(slots, all)
    }

    fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
        (**self).without_decay()
    }
}

/// Gives an optimizer builders for its numbers.
macro_rules! options {
    ($optimizer:ident { $($(#[$meta:meta])* $option:ident: $type:ty,)* }) => {
        impl $optimizer {
            $($(#[$meta])*
            pub fn $option(mut self, $option: $type) -> $optimizer {
                self.$option = $option;
                self
            })*
        }
    };
}
use options;
