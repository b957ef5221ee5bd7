//! Sets of classes that hold the truth of as many rows as was asked: which classes are in, by their probabilities.

use serde::{Deserialize, Serialize};

use crate::predictions::all_probabilities_of;
use crate::{Error, Result};

/// Which classes are in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetKind {
    /// Those whose probability is high enough: the smallest sets. There may be none.
    #[default]
    Lac,
    /// The likeliest ones until their probabilities add up to enough: larger where the model is unsure, and never empty.
    Aps,
    /// As `Lac`, with a threshold for each class, so that of each class as many rows are in their sets.
    PerClass,
}

impl SetKind {
    /// By its name.
    ///
    /// # Errors
    /// Where there is none of it.
    pub fn named(name: &str) -> Result<SetKind> {
        match name {
            "lac" => Ok(SetKind::Lac),
            "aps" => Ok(SetKind::Aps),
            "per-class" => Ok(SetKind::PerClass),
            other => Err(Error::Training(format!("sets of classes are lac, aps or per-class, not {other}"))),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SetKind::Lac => "lac",
            SetKind::Aps => "aps",
            SetKind::PerClass => "per-class",
        }
    }
}

/// Which classes are in the set of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSets {
    /// The share of rows whose class is in their set.
    pub coverage: f64,
    /// How classes come in.
    pub kind: SetKind,
    /// Of `lac` the least probability of a class that is in, of `per-class` one of each class, of `aps` the most that the
    /// probabilities of those that are likelier than a class may add up to.
    pub thresholds: Vec<f32>,
    /// How many rows they were found on.
    pub rows: usize,
}

impl ClassSets {
    /// Whether each class is in the set of a row with these probabilities.
    ///
    /// ```
    /// use kiln::model::{ClassSets, SetKind};
    ///
    /// let sets = |kind, thresholds: &[f32]| ClassSets { coverage: 0.9, kind, thresholds: thresholds.to_vec(), rows: 100 };
    /// let p = [0.5, 0.3, 0.2];
    /// assert_eq!(sets(SetKind::Lac, &[0.25]).of(&p), [true, true, false]);
    /// assert_eq!(sets(SetKind::Aps, &[0.6]).of(&p), [true, true, false]);
    /// assert_eq!(sets(SetKind::PerClass, &[0.6, 0.1, 0.1]).of(&p), [false, true, true]);
    /// ```
    pub fn of(&self, probabilities: &[f32]) -> Vec<bool> {
        let first = self.thresholds.first().copied().unwrap_or(0.0);
        match self.kind {
            SetKind::Lac => probabilities.iter().map(|&p| p >= first).collect(),
            SetKind::PerClass => probabilities
                .iter()
                .enumerate()
                .map(|(class, &p)| p >= self.thresholds.get(class).copied().unwrap_or(0.0))
                .collect(),
            SetKind::Aps => probabilities.iter().map(|&p| likelier(probabilities, p) <= first).collect(),
        }
    }

    /// As [`ClassSets::of`], of a row's logits, of which a single one tells two classes apart.
    pub fn of_outputs(&self, outputs: &[f32]) -> Vec<bool> {
        self.of(&all_probabilities_of(outputs))
    }

    /// Whether there is a threshold for what it says of so many classes.
    pub(crate) fn suits(&self, classes: usize) -> bool {
        let count = if self.kind == SetKind::PerClass { classes } else { 1 };
        self.thresholds.len() == count
    }
}

/// What the probabilities of all classes that are likelier add up to.
pub(crate) fn likelier(probabilities: &[f32], p: f32) -> f32 {
    probabilities.iter().filter(|other| **other > p).sum()
}
