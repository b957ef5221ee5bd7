//! What the rows of a training were like, column by column, in so few numbers that they go with the model: new rows are held against it.

use serde::{Deserialize, Serialize};

/// What the rows of a training were like, and what the model says of rows that it didn't learn from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataProfile {
    /// The columns that the model takes.
    pub columns: Vec<ColumnProfile>,
    /// What it says, of rows that were held out; nothing where none were.
    #[serde(default)]
    pub outputs: Vec<ColumnProfile>,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// How many rows were looked at,
    pub rows: u64,
    /// and in how many of them it is missing.
    #[serde(default)]
    pub missing: u64,
    /// The inputs that it becomes, a column of words as one.
    pub inputs: Vec<InputProfile>,
}

/// How the values of an input are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum InputProfile {
    /// Amounts, where they aren't missing.
    Amounts {
        /// Ascending; between two of them are about as many rows as between any two.
        edges: Vec<f32>,
        /// How many rows are up to each edge and above the one before, and above the last.
        counts: Vec<u64>,
        /// The least and the largest.
        range: [f32; 2],
    },
    /// Kinds, by their numbers.
    Kinds {
        /// How many rows are of each.
        counts: Vec<u64>,
    },
}

impl InputProfile {
    /// How many rows each of its parts has.
    pub fn counts(&self) -> &[u64] {
        match self {
            InputProfile::Amounts { counts, .. } | InputProfile::Kinds { counts } => counts,
        }
    }

    /// In which of its parts a value is.
    pub(crate) fn place(&self, value: f32) -> usize {
        match self {
            InputProfile::Amounts { edges, .. } => edges.partition_point(|edge| *edge < value),
            InputProfile::Kinds { counts } => (value.max(0.0) as usize).min(counts.len().saturating_sub(1)),
        }
    }
}

/// More rows than this aren't counted exactly.
const MOST: u64 = 1 << 53;

impl DataProfile {
    /// Whether its numbers can be those of rows; a file may say anything.
    pub(crate) fn is_sound(&self) -> bool {
        let of_input = |rows: u64, input: &InputProfile| {
            let counts = input.counts();
            let is_known = match input {
                InputProfile::Amounts { edges, .. } => edges.len() + 1 == counts.len(),
                InputProfile::Kinds { .. } => !counts.is_empty(),
            };
            is_known
                && counts
                    .iter()
                    .try_fold(0u64, |sum, count| sum.checked_add(*count))
                    .is_some_and(|sum| sum <= rows)
        };
        self.columns.iter().chain(&self.outputs).all(|column| {
            let ColumnProfile { rows, missing, inputs, .. } = column;
            *rows <= MOST && missing <= rows && inputs.iter().all(|input| of_input(*rows, input))
        })
    }
}
