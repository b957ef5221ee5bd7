//! Rows without answers, to be predicted.

use kiln_data::{Form, Set, Values};

use crate::Result;

/// Rows without answers.
pub struct Unanswered {
    /// The rows, as a model takes them.
    pub rows: Set,
    /// What a person should know of how they came about.
    pub notes: Vec<String>,
}

/// Rows of which nobody knows the answers.
pub(crate) fn unanswered(x: impl Into<Values>, form: Form, rows: usize) -> Result<Set> {
    Ok(Set::new(x, form, vec![0f32; rows], Form::numbers(&[1]))?)
}
