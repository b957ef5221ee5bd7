//! What went wrong, where in the user's code, and with which values.

use std::fmt;
use std::panic::Location;

/// What kind of mistake or fault an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes don't fit together.
    Shape,
    /// An operation isn't defined for a dtype.
    DType,
    /// An axis doesn't exist or is named twice.
    Axis,
    /// An index or range is outside of its axis.
    Index,
    /// A value is not allowed (a stride of zero, a negative probability).
    Value,
    /// A `NaN` or infinity was found by the hunt for them.
    NonFinite,
    /// A device can't do what was asked.
    Device,
}

/// An error of kiln's core. It reads `operation: what is wrong, at file:line`.
#[derive(Clone, Debug)]
pub struct Error {
    /// What kind of error this is.
    pub kind: ErrorKind,
    /// The operation that noticed it.
    pub operation: String,
    /// What is wrong, with the values, and how to mend it.
    pub message: String,
    /// The user's line, where one is known.
    pub at: Option<&'static Location<'static>>,
}

impl Error {
    /// An error of `operation`, at the caller's line.
    #[track_caller]
    pub fn new(kind: ErrorKind, operation: impl Into<String>, message: impl Into<String>) -> Error {
        Error {
            kind,
            operation: operation.into(),
            message: message.into(),
            at: Some(crate::line::of(Location::caller())),
        }
    }

    /// The same error at another line.
    pub fn at(mut self, at: &'static Location<'static>) -> Error {
        self.at = Some(at);
        self
    }

    /// The same error with no line, for faults that no line of the user's causes.
    pub fn nowhere(mut self) -> Error {
        self.at = None;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        match self.at {
            Some(at) => write!(f, " at {}:{}", at.file(), at.line()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// A result with kiln's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;
