//! The line of the user's program that an expression belongs to: where it was built, or, for what is built on behalf of
//! another (a gradient, an update), the line of that.

use std::cell::Cell;
use std::panic::Location;

thread_local! {
    static BEHALF: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Runs `build`; what it builds belongs to the line `at`.
///
/// ```
/// use kiln_ir::{DType, Expr, line};
/// let x = Expr::full((), 3.0, DType::F64);
/// let at = x.node().unwrap().at;
/// let y = line::on_behalf_of(at, || &x * &x);
/// assert_eq!(y.node().unwrap().at, at);
/// ```
pub fn on_behalf_of<R>(at: &'static Location<'static>, build: impl FnOnce() -> R) -> R {
    /// Puts the former line back, also when `build` panics.
    struct Restore(Option<&'static Location<'static>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            BEHALF.set(self.0);
        }
    }
    let _restore = Restore(BEHALF.replace(Some(at)));
    build()
}

/// The line for what is built at `caller` now.
pub fn of(caller: &'static Location<'static>) -> &'static Location<'static> {
    BEHALF.get().unwrap_or(caller)
}
