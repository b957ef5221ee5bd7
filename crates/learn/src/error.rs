//! What can go wrong from data to a shipped model.

use std::path::{Path, PathBuf};

use kiln_map::visible;

/// A fault of the user's, of data, of a file, or of training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In tensors: shapes, dtypes, numbers. It names the operation and the user's line.
    #[error(transparent)]
    Compute(#[from] kiln_nn::Error),
    /// In data: it names the file, line and column.
    #[error(transparent)]
    Data(#[from] kiln_data::Error),
    /// What the system said of a file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the system said of something that a program did itself.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// A file that isn't what it should be.
    #[error("{}", visible(&format!("{}: {message}", path.display())))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the mend.
        message: String,
    },
    /// In an ONNX file.
    #[error(transparent)]
    Onnx(kiln_onnx::Error),
    /// A training doesn't go on from the checkpoint of another one.
    #[error("the checkpoint is of another training: {what}; give it the same, or allow the change by name ({})", parts.join(", "))]
    Changed {
        /// The parts that differ, of [`crate::trainer::PARTS`].
        parts: Vec<&'static str>,
        /// How they differ.
        what: String,
    },
    /// A file of a training couldn't be written, and what was reached by then lies elsewhere.
    #[error("{cause}; the training as far as it has come is saved in {}", saved.display())]
    Rescued {
        /// What went wrong.
        cause: Box<Error>,
        /// The checkpoint to go on from.
        saved: PathBuf,
    },
    /// Raw data can't become a model's rows.
    #[error("{0}")]
    Preparation(String),
    /// Training can't begin or go on.
    #[error("{0}")]
    Training(String),
}

/// A result with kiln's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the system said of a file.
    pub(crate) fn file(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::File { path: path.as_ref().to_path_buf(), source }
    }

    /// A file that isn't what it should be.
    pub(crate) fn format(path: impl AsRef<Path>, message: impl Into<String>) -> Error {
        Error::Format { path: path.as_ref().to_path_buf(), message: message.into() }
    }
}
