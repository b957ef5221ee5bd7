//! What a model says of a row, in the words of the data.

use std::ops::Range;
use std::sync::Arc;

use kiln_data::Unit;

use crate::model::{ClassSets, Task, number_of};
use crate::predictions::{all_probabilities_of, class_of, is_above};

/// What a model says of a row.
///
/// ```
/// use kiln::Prediction;
///
/// let names = ["no".to_string(), "yes".to_string()];
/// let said = Prediction::Classes { names: names.into(), class: 1, probabilities: vec![0.25, 0.75], set: None };
/// assert_eq!((said.class(), said.probability("no")), (Some("yes"), Some(0.25)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// Which of some classes it is of.
    Classes {
        /// The classes' names.
        names: Arc<[String]>,
        /// The likeliest, or of two that which a threshold says, by its place.
        class: usize,
        /// The probability of each.
        probabilities: Vec<f32>,
        /// Whether each is in the set that holds the truth as often as was asked, where sets are predicted.
        set: Option<Vec<bool>>,
    },
    /// A number for each name, in its own unit.
    Numbers {
        /// What is predicted.
        names: Arc<[String]>,
        /// The numbers.
        numbers: Vec<f64>,
        /// The bounds of each, where an interval is predicted.
        bounds: Vec<[f64; 2]>,
    },
    /// What each of several targets is.
    Several {
        /// The targets' names, and what is said of each.
        targets: Vec<(Arc<str>, Prediction)>,
    },
    /// What comes next in a text, or which tags its places have.
    Text {
        /// Places that something comes after: all of a window, or the last.
        places: usize,
        /// Logits, `[pieces, places]`.
        scores: Vec<f32>,
    },
}

impl Prediction {
    /// The likeliest class.
    pub fn class(&self) -> Option<&str> {
        match self {
            Prediction::Classes { names, class, .. } => names.get(*class).map(String::as_str),
            Prediction::Numbers { .. } | Prediction::Several { .. } | Prediction::Text { .. } => None,
        }
    }

    /// The probability of a class.
    pub fn probability(&self, class: &str) -> Option<f32> {
        self.probabilities().find(|(name, _)| *name == class).map(|(_, probability)| probability)
    }

    /// The probabilities by class, in the classes' order.
    pub fn probabilities(&self) -> impl Iterator<Item = (&str, f32)> {
        let (names, probabilities): (&[String], &[f32]) = match self {
            Prediction::Classes { names, probabilities, .. } => (names, probabilities),
            Prediction::Numbers { .. } | Prediction::Several { .. } | Prediction::Text { .. } => (&[], &[]),
        };
        names.iter().map(String::as_str).zip(probabilities.iter().copied())
    }

    /// The classes in the set that holds the truth as often as was asked, where sets are predicted.
    pub fn set(&self) -> Option<impl Iterator<Item = &str>> {
        match self {
            Prediction::Classes { names, set: Some(set), .. } => {
                let is_in = names.iter().zip(set).filter(|(_, is_in)| **is_in);
                Some(is_in.map(|(name, _)| name.as_str()))
            }
            Prediction::Classes { set: None, .. }
            | Prediction::Numbers { .. }
            | Prediction::Several { .. }
            | Prediction::Text { .. } => None,
        }
    }

    /// The number, where one is predicted.
    pub fn number(&self) -> Option<f64> {
        match self {
            Prediction::Numbers { numbers, .. } => numbers.first().copied().filter(|_| numbers.len() == 1),
            Prediction::Classes { .. } | Prediction::Several { .. } | Prediction::Text { .. } => None,
        }
    }

    /// The numbers by name.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        let (names, numbers): (&[String], &[f64]) = match self {
            Prediction::Numbers { names, numbers, .. } => (names, numbers),
            Prediction::Classes { .. } | Prediction::Several { .. } | Prediction::Text { .. } => (&[], &[]),
        };
        names.iter().map(String::as_str).zip(numbers.iter().copied())
    }

    /// The lower and the upper bound of the number, where one is predicted with an interval.
    pub fn bounds(&self) -> Option<[f64; 2]> {
        match self {
            Prediction::Numbers { bounds, .. } => bounds.first().copied().filter(|_| bounds.len() == 1),
            Prediction::Classes { .. } | Prediction::Several { .. } | Prediction::Text { .. } => None,
        }
    }

    /// The bounds of all numbers, in their order; none where no interval is predicted.
    pub fn all_bounds(&self) -> &[[f64; 2]] {
        match self {
            Prediction::Numbers { bounds, .. } => bounds,
            Prediction::Classes { .. } | Prediction::Several { .. } | Prediction::Text { .. } => &[],
        }
    }

    /// What is said of one of several targets.
    pub fn target(&self, name: &str) -> Option<&Prediction> {
        self.targets().find(|(own, _)| *own == name).map(|(_, said)| said)
    }

    /// What is said of each of several targets, some of which are classes.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Prediction)> {
        let targets: &[(Arc<str>, Prediction)] = match self {
            Prediction::Several { targets } => targets,
            Prediction::Classes { .. } | Prediction::Numbers { .. } | Prediction::Text { .. } => &[],
        };
        targets.iter().map(|(name, said)| (&**name, said))
    }

    /// The scores of the pieces that come after the last place, where a text goes on.
    pub fn scores(&self) -> impl Iterator<Item = f32> {
        let (scores, places): (&[f32], usize) = match self {
            Prediction::Text { scores, places } => (scores, (*places).max(1)),
            Prediction::Classes { .. } | Prediction::Numbers { .. } | Prediction::Several { .. } => (&[], 1),
        };
        scores.iter().copied().skip(places - 1).step_by(places)
    }
}

/// What outputs mean.
pub(super) struct Meanings {
    task: Task,
    names: Arc<[String]>,
    /// Of two classes, above which probability it is the second.
    threshold: Option<f64>,
    /// Of classes, which are in the set of a row.
    sets: Option<ClassSets>,
    /// Of numbers the outputs of each, and what they are learned as.
    units: Vec<(Range<usize>, Unit)>,
    /// Of several targets, each with its name.
    each: Vec<(Arc<str>, Meanings)>,
}

impl Meanings {
    pub(super) fn of(task: &Task, threshold: Option<f64>, sets: &[Option<ClassSets>]) -> Meanings {
        let names = match task {
            Task::Classes { names } | Task::Numbers { names, .. } | Task::Tags { names } => names.as_slice(),
            Task::Text { .. } | Task::Several { .. } => &[],
        };
        let each = match task {
            Task::Several { targets } => targets
                .iter()
                .enumerate()
                .map(|(at, target)| {
                    let own = sets.get(at).map_or(&[][..], std::slice::from_ref);
                    (target.name.as_str().into(), Meanings::of(&target.task, None, own))
                })
                .collect(),
            Task::Classes { .. } | Task::Numbers { .. } | Task::Text { .. } | Task::Tags { .. } => Vec::new(),
        };
        let units = match task {
            Task::Numbers { .. } => {
                let parts = task.parts().into_iter();
                parts.filter_map(|part| Some((part.outputs, part.meaning.unit()?))).collect()
            }
            Task::Classes { .. } | Task::Several { .. } | Task::Text { .. } | Task::Tags { .. } => Vec::new(),
        };
        let sets = match task {
            Task::Classes { .. } => sets.first().cloned().flatten(),
            Task::Numbers { .. } | Task::Several { .. } | Task::Text { .. } | Task::Tags { .. } => None,
        };
        Meanings { names: names.into(), units, task: task.clone(), threshold, sets, each }
    }

    /// The names of what is said.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// What the outputs of a row say.
    pub(super) fn say(&self, outputs: &[f32]) -> Prediction {
        match &self.task {
            Task::Classes { .. } => {
                let probabilities = all_probabilities_of(outputs);
                let class = match (self.threshold, probabilities.as_slice()) {
                    (Some(threshold), [_, second]) => usize::from(is_above(*second, threshold)),
                    _ => class_of(outputs),
                };
                let set = self.sets.as_ref().map(|sets| sets.of(&probabilities));
                Prediction::Classes { names: self.names.clone(), class, probabilities, set }
            }
            Task::Numbers { .. } => {
                let (mut numbers, mut bounds) = (Vec::new(), Vec::new());
                for (places, unit) in &self.units {
                    let (number, own) = number_of(outputs.get(places.clone()).unwrap_or_default(), unit);
                    numbers.push(number);
                    bounds.extend(own);
                }
                Prediction::Numbers { names: self.names.clone(), numbers, bounds }
            }
            Task::Several { .. } => {
                let mut left = outputs;
                let one = |(name, meanings): &(Arc<str>, Meanings)| {
                    let (own, others) = left.split_at(meanings.task.outputs().min(left.len()));
                    left = others;
                    (name.clone(), meanings.say(own))
                };
                Prediction::Several { targets: self.each.iter().map(one).collect() }
            }
            Task::Tags { names } => {
                Prediction::Text { places: outputs.len() / names.len().max(1), scores: outputs.to_vec() }
            }
            Task::Text { pieces } => {
                Prediction::Text { places: outputs.len() / (*pieces).max(1), scores: outputs.to_vec() }
            }
        }
    }
}
