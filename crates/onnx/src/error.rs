//! What can go wrong with an ONNX file.

use std::path::{Path, PathBuf};

use kiln_map::{Exceeded, visible};

/// Why a file couldn't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that can't be opened, read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that isn't what it should be.
    #[error("{}", visible(&format!("{}: {message}", path.display())))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        message: String,
    },
    /// Operators that aren't known here, all of them at once.
    #[error("{}", visible(.0))]
    Unsupported(String),
    /// Something in the network: which node, and what is wrong.
    #[error("{}", visible(.0))]
    Network(String),
    /// A file that asks for more than it may have: where it does, and what it may have.
    #[error("{}: {source}", visible(place))]
    Limit {
        /// The file, the tensor or the node.
        place: String,
        /// What was exceeded.
        source: Exceeded,
    },
    /// A computation that failed.
    #[error(transparent)]
    Compute(#[from] kiln_ir::Error),
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A fault of the system with a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::File { path: path.to_path_buf(), source }
    }

    /// A file that isn't what it should be.
    pub(crate) fn format(path: &Path, message: impl Into<String>) -> Error {
        Error::Format { path: path.to_path_buf(), message: message.into() }
    }

    /// More than a file may have.
    pub(crate) fn limit(place: impl ToString) -> impl FnOnce(Exceeded) -> Error {
        move |source| Error::Limit { place: place.to_string(), source }
    }

    /// Something wrong in a network.
    pub(crate) fn network(message: impl Into<String>) -> Error {
        Error::Network(message.into())
    }
}
