//! How methods notice mistakes: inner functions give `Result`s, and [`check!`] turns an error into a poisoned
//! tensor that the method returns.

use kiln_ir::Result;

use super::Tensor;
use super::arguments::Axes;

/// The value of a `Result`, or out of the method with what its error makes (a poisoned tensor, if nothing is said).
macro_rules! check {
    ($result:expr) => {
        check!($result, error => $crate::tensor::Tensor::from(error))
    };
    ($result:expr, $error:ident => $poisoned:expr) => {
        match $result {
            Ok(value) => value,
            Err($error) => return $poisoned,
        }
    };
}

/// Leaves the function with an error. A macro, since a closure would lose the user's line.
macro_rules! refuse {
    ($kind:ident, $operation:expr, $($message:tt)*) => {
        return Err(::kiln_ir::Error::new(::kiln_ir::ErrorKind::$kind, $operation, format!($($message)*)))
    };
}

/// Leaves the method with a poisoned tensor.
macro_rules! poison {
    ($kind:ident, $operation:expr, $($message:tt)*) => {
        return ::kiln_ir::Error::new(::kiln_ir::ErrorKind::$kind, $operation, format!($($message)*)).into()
    };
}

/// Leaves the method with a poisoned tensor unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $kind:ident, $operation:expr, $($message:tt)*) => {
        let holds: bool = $condition;
        if !holds {
            poison!($kind, $operation, $($message)*);
        }
    };
}

impl Tensor {
    /// The error that poisons this tensor as a `Result`, so that checks on its shape can stand behind `?`.
    pub(crate) fn sound(&self) -> Result<&Tensor> {
        match self.0.error() {
            Some(error) => Err(error.clone()),
            None => Ok(self),
        }
    }

    /// The axis that `axis` names, counted from the end where negative.
    #[track_caller]
    pub(crate) fn axis(&self, operation: &str, axis: isize) -> Result<usize> {
        axis_of(operation, axis, self.sound()?.rank(), &self.shape())
    }

    /// The distinct axes that `axes` name, in the order given.
    #[track_caller]
    pub(crate) fn axes(&self, operation: &str, axes: impl Into<Axes>) -> Result<Vec<usize>> {
        self.distinct(operation, axes.into())
    }

    #[track_caller]
    fn distinct(&self, operation: &str, axes: Axes) -> Result<Vec<usize>> {
        let rank = self.sound()?.rank();
        let mut found = Vec::with_capacity(rank);
        for axis in axes.named(rank) {
            let axis = axis_of(operation, axis, rank, &self.shape())?;
            if found.contains(&axis) {
                refuse!(Axis, operation, "axis {axis} is named twice");
            }
            found.push(axis);
        }
        Ok(found)
    }
}

/// A table of more numbers than this would stand for an image or a sequence that nobody has.
const MOST: usize = 1 << 26;

/// Refuses tables whose size follows from sizes that a model's text may say, before they are made.
#[track_caller]
pub(crate) fn check_table(operation: &str, rows: usize, columns: usize) -> Result<()> {
    match rows.checked_mul(columns) {
        Some(numbers) if numbers <= MOST => Ok(()),
        _ => refuse!(
            Value,
            operation,
            "from {rows} to {columns} elements takes a table of more than {MOST} numbers"
        ),
    }
}

/// The axis among `rank` ones that `axis` names.
#[track_caller]
pub(crate) fn axis_of(operation: &str, axis: isize, rank: usize, shape: &[usize]) -> Result<usize> {
    let count = rank as isize;
    let index = if axis < 0 { axis.saturating_add(count) } else { axis };
    if (0..count).contains(&index) {
        return Ok(index as usize);
    }
    if rank == 0 {
        refuse!(Axis, operation, "there is no axis {axis}, the tensor is a scalar");
    }
    refuse!(Axis, operation, "there is no axis {axis} in {shape:?}; axes go from {} to {}", -count, count - 1)
}
