//! What can go wrong with an ONNX file.

use std::path::{Path, PathBuf};

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
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        message: String,
    },
    /// Operators that aren't known here, all of them at once.
    #[error("{0}")]
    Unsupported(String),
    /// Something in the network: which node, and what is wrong.
    #[error("{0}")]
    Network(String),
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

    /// Something wrong in a network.
    pub(crate) fn network(message: impl Into<String>) -> Error {
        Error::Network(message.into())
    }
}
