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
pub use slots::{ParameterSlots, Slots, Trained};

use kiln_ir::Result;

use crate::tensor::Tensor;

/// A rule for updating parameters. Threads may share it.
pub trait Optimizer: Send + Sync {
    /// The learning rate at the start.
    fn rate(&self) -> f64;

    /// The parameter's new value. What must be remembered from step to step is kept in `slots`.
    fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor;

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

/// What holds an optimizer is one, in everything that it does.
macro_rules! forwarded {
    ($($holder:ty)*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<O: Optimizer + ?Sized> Optimizer for $holder {
            fn rate(&self) -> f64 {
                (**self).rate()
            }

            fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, gradient: &Tensor) -> Tensor {
                (**self).update(slots, parameter, gradient)
            }

            fn update_all(&self, slots: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
                (**self).update_all(slots, all)
            }

            fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
                (**self).without_decay()
            }
        }
    )*};
}
forwarded!(Box<O> &O);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Context;
    use crate::{Input, Param, Step, StepOptions};

    /// Whose every answer is its own.
    struct Odd;

    impl Optimizer for Odd {
        fn rate(&self) -> f64 {
            0.25
        }

        fn update(&self, _: &mut ParameterSlots, parameter: &Tensor, _: &Tensor) -> Tensor {
            parameter + 1.0
        }

        fn update_all(&self, _: &mut Slots, all: &[Trained]) -> Result<Vec<Tensor>> {
            Ok(all.iter().map(|trained| &trained.parameter + 10.0).collect())
        }

        fn without_decay(&self) -> Option<Box<dyn Optimizer>> {
            Some(Box::new(Sgd::new(0.5)))
        }
    }

    /// What is held by another does what it does itself, and not what a trait does for those that say nothing.
    #[test]
    fn what_holds_an_optimizer_forwards_all_of_it() {
        type Update<'u> = &'u dyn Fn(&mut Slots, &[Trained]) -> Result<Vec<Tensor>>;
        fn check(held: impl Optimizer) {
            assert_eq!(held.rate(), 0.25);
            assert_eq!(held.without_decay().map(|other| other.rate()), Some(0.5));
            let value = |held: Update| {
                let count = crate::Variable::scalar("step count", 0i64);
                let mut slots = Slots::new(crate::Variable::scalar("rate", 0f32), count);
                let (parameter, gradient) = (Tensor::from(1.0), Tensor::from(0.0));
                let trained = Trained { path: "w".to_string(), parameter, gradient };
                held(&mut slots, &[trained]).unwrap()[0].item().unwrap()
            };
            assert_eq!(value(&|slots, all| held.update_all(slots, all)), 11.0);
            assert_eq!(value(&|slots, all| Ok(vec![slots.one(&held, &all[0], 1.0)?])), 2.0);
        }
        check(Odd);
        check(&Odd);
        let lent = &Odd;
        check(&lent as &dyn Optimizer);
        check(Box::new(Odd));
        check(&Odd as &dyn Optimizer);
        check(Box::new(&Odd) as Box<dyn Optimizer + '_>);
    }

    /// Keeps more than there is.
    struct Greedy;

    impl Optimizer for Greedy {
        fn rate(&self) -> f64 {
            0.1
        }

        fn update(&self, slots: &mut ParameterSlots, parameter: &Tensor, _: &Tensor) -> Tensor {
            parameter + slots.filled("hoard", parameter, [1 << 30, 1 << 20], 1.0).sum(..)
        }
    }

    #[test]
    fn memory_that_an_optimizer_does_not_get_is_an_error_that_names_what_it_is_for() {
        let weight = Param::new(&Tensor::from([1.0f32, 2.0]));
        let loss = |w: &Param, _: &Context, [x]: [Tensor; 1]| vec![(w.tensor() * x).sum(..)];
        let mut step = Step::train_with(&weight, Greedy, StepOptions::new(), loss);
        let error = step.run([Input::new(&[1f32, 2.0], &[2])]).unwrap_err().to_string();
        assert!(error.contains("no memory") && error.contains("hoard"), "{error}");
    }
}
