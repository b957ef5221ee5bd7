//! How many numbers the parameters that are made may have.

use std::cell::Cell;

use kiln_ir::{Error, ErrorKind, Result, Shape};

thread_local! {
    /// What is left of this thread's budget.
    static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Runs `f` with a budget of parameters: those that are made in it may have so many numbers, all of them together. Layers of a file
/// can't need more than the file's weights, and a text may name layers of any size.
///
/// So a layer makes no parameter that it doesn't keep: one that is thrown away would be missing elsewhere.
pub fn with_parameter_budget<R>(numbers: usize, f: impl FnOnce() -> R) -> R {
    /// Puts back the budget outside, also after a panic.
    struct Outside(usize);
    impl Drop for Outside {
        fn drop(&mut self) {
            BUDGET.set(self.0);
        }
    }
    let _outside = Outside(BUDGET.replace(numbers));
    f()
}

/// Refuses a shape that is more than the budget.
pub(crate) fn afford(shape: &Shape) -> Result<()> {
    let budget = BUDGET.get();
    match shape.elements() > budget {
        true => {
            let message = format!("{shape} is more than the {budget} numbers that may still be made");
            Err(Error::new(ErrorKind::Value, "parameter", message))
        }
        false => Ok(()),
    }
}

/// Takes what was made from the budget.
pub(crate) fn spend(shape: &Shape) {
    BUDGET.set(BUDGET.get().saturating_sub(shape.elements()));
}
