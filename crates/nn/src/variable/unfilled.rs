//! Parameters that are made without numbers, for a file's.

use std::cell::Cell;

thread_local! {
    /// Whether this thread makes parameters without numbers.
    static UNFILLED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, in which parameters are made without numbers: they have shapes, and no memory until [`Param::set`](super::Param::set) or
/// [`Param::set_packed`](super::Param::set_packed) gives them numbers, such as those of a file that would take the place of others.
///
/// ```
/// use kiln_nn::variable::with_unfilled_parameters;
/// use kiln_nn::{Dense, Key, Tensor};
///
/// let layer = with_unfilled_parameters(|| Dense::new(3, 2, Key::new(1)));
/// assert!(layer.weight.value().is_err());
/// layer.weight.set(&Tensor::ones([3, 2]))?;
/// assert_eq!(layer.weight.value()?.len(), 6);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub fn with_unfilled_parameters<R>(f: impl FnOnce() -> R) -> R {
    /// Puts back what was, also after a panic.
    struct Outside(bool);
    impl Drop for Outside {
        fn drop(&mut self) {
            UNFILLED.set(self.0);
        }
    }
    let _outside = Outside(UNFILLED.replace(true));
    f()
}

/// Whether a parameter that is made now gets no numbers.
pub(super) fn makes_unfilled() -> bool {
    UNFILLED.get()
}
