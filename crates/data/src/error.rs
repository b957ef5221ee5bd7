//! What is wrong with data, and where: the file, the line, the column, the value, the mend.

use std::fmt;
use std::path::{Path, PathBuf};

use kiln_map::{Exceeded, visible};

/// A fault in data, or in reaching it. It reads `heart.csv:17, column age: "old" is no number; …`.
#[derive(Debug, thiserror::Error)]
#[error("{}", visible(&format!("{}{message}", Location(self))))]
pub struct Error {
    /// The file it is in.
    pub file: Option<PathBuf>,
    /// The line in it, counted from 1.
    pub line: Option<u64>,
    /// The column, by name.
    pub column: Option<String>,
    /// What is wrong, and the mend.
    pub message: String,
    /// What the system said.
    #[source]
    pub source: Option<std::io::Error>,
}

/// A result with a fault in data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A fault of no place yet.
    pub fn new(message: impl Into<String>) -> Error {
        Error { file: None, line: None, column: None, message: message.into(), source: None }
    }

    /// What the system said of a file.
    pub fn io(path: &Path, source: std::io::Error) -> Error {
        let message = source.to_string();
        Error { source: Some(source), ..Error::new(message) }.in_file(path)
    }

    /// The same fault, in a file.
    pub fn in_file(self, path: impl Into<PathBuf>) -> Error {
        Error { file: Some(path.into()), ..self }
    }

    /// The same fault, at a line, counted from 1.
    pub fn at_line(self, line: u64) -> Error {
        Error { line: Some(line), ..self }
    }

    /// The same fault, in a column.
    pub fn in_column(self, column: impl Into<String>) -> Error {
        Error { column: Some(column.into()), ..self }
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Error {
        let message = exceeded.to_string();
        Error { source: Some(std::io::Error::other(exceeded)), ..Error::new(message) }
    }
}

/// `heart.csv:17, column age: `, as far as it is known.
struct Location<'a>(&'a Error);

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { file, line, column, .. } = self.0;
        let mut parts = Vec::new();
        match (file, line) {
            (Some(file), Some(line)) => parts.push(format!("{}:{line}", file.display())),
            (Some(file), None) => parts.push(file.display().to_string()),
            (None, Some(line)) => parts.push(format!("line {line}")),
            (None, None) => {}
        }
        parts.extend(column.as_ref().map(|column| format!("column {column}")));
        match parts.is_empty() {
            true => Ok(()),
            false => write!(f, "{}: ", parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_place() {
        let fault = Error::new("\"old\" is no number").in_file("heart.csv").at_line(17).in_column("age");
        assert_eq!(fault.to_string(), "heart.csv:17, column age: \"old\" is no number");
        assert_eq!(Error::new("nothing here").to_string(), "nothing here");
        let hidden = Error::new("\"\u{1b}[31m\" is no number").in_column("a\u{202e}ge");
        assert_eq!(hidden.to_string(), "column a\\u202ege: \"\\u001b[31m\" is no number");
    }
}
