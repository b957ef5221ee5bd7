//! What a column may hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Amounts, whole or not.
    Number,
    /// Words, each of which names one of some kinds.
    Category,
    /// `true` and `false`, or `yes` and `no`.
    Boolean,
    /// Dates, such as `2024-01-31`, also with a time: `2024-01-31T08:30`.
    Date,
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnKind::Number => "number",
            ColumnKind::Category => "category",
            ColumnKind::Boolean => "boolean",
            ColumnKind::Date => "date",
        })
    }
}
