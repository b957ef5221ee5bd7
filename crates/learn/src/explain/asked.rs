//! What an explanation is of: a number that follows from a model's outputs by weights alone, so that what is true of outputs is true of it.

use std::ops::Range;

use kiln_data::{Curve, Unit};
use kiln_map::{counted, nearest};

use crate::model::{PartMeaning, Task, TaskPart, listed};
use crate::predictions::{class_of, is_above, probabilities_of};
use crate::{Error, Result};

/// In what an answer is explained.
#[derive(Clone, Debug, PartialEq)]
pub enum ExplainedScale {
    /// The logarithm of how much likelier one of two classes is than the other.
    LogOdds,
    /// A class's logit less the mean of those of all classes: what is the same for all says nothing.
    Score,
    /// The target's own unit.
    Unit(String),
    /// The logarithm of one and the target by a number: far above that a factor.
    Logarithm(String, f64),
    /// The logarithm of the number that is expected: a factor.
    LogCount(String),
}

impl std::fmt::Display for ExplainedScale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExplainedScale::LogOdds => f.write_str("log-odds"),
            ExplainedScale::Score => f.write_str("score (a logit less the mean of all classes')"),
            ExplainedScale::Unit(name) if name.is_empty() => f.write_str("the target's unit"),
            ExplainedScale::Unit(name) => write!(f, "units of {name}"),
            ExplainedScale::Logarithm(name, unit) => write!(f, "ln(1 + {name} / {unit})"),
            ExplainedScale::LogCount(name) => write!(f, "the logarithm of the expected {name}"),
        }
    }
}

/// What is asked of a model: one of its targets.
#[derive(Clone, Debug)]
pub(super) struct AskedTarget {
    /// The outputs it is of.
    pub(super) outputs: Range<usize>,
    /// The target's name, where a row has several or it is a number.
    pub(super) target: String,
    of: AskedOf,
}

#[derive(Clone, Debug)]
enum AskedOf {
    Classes { names: Vec<String>, class: Option<usize>, threshold: Option<f64> },
    Number { unit: Unit, middle: usize },
}

/// What is explained of one row.
#[derive(Clone, Debug)]
pub(super) struct WantedScore {
    /// The class, of classes.
    pub(super) class: Option<usize>,
    /// What each output is multiplied by.
    pub(super) weights: Vec<f64>,
    /// What is added then.
    pub(super) shift: f64,
}

impl WantedScore {
    /// What a row's outputs come to.
    pub(super) fn of(&self, outputs: &[f32]) -> f64 {
        self.shift
            + self
                .weights
                .iter()
                .zip(outputs)
                .map(|(weight, output)| weight * f64::from(*output))
                .sum::<f64>()
    }
}

impl AskedTarget {
    /// One target of a task, and of classes one of them; else of each row the class that is said.
    pub(super) fn new(
        task: &Task,
        threshold: Option<f64>,
        target: Option<&str>,
        class: Option<&str>,
    ) -> Result<AskedTarget> {
        let refuse = |message: String| Err(Error::Preparation(message));
        if let Task::Text { .. } | Task::Tags { .. } = task {
            return refuse(
                "answers of several places have no explanation; classes and numbers have".to_string(),
            );
        }
        let parts = task.parts();
        let named = |part: &&TaskPart| target.is_none_or(|name| part.name == name);
        let Some(part) = parts.iter().find(named) else {
            let (name, names): (&str, Vec<String>) = (
                target.unwrap_or_default(),
                parts.iter().map(|part| part.name.to_string()).filter(|name| !name.is_empty()).collect(),
            );
            return refuse(match (names.is_empty(), nearest(name, names.iter().map(String::as_str))) {
                (true, _) => format!("the model has one target, and it isn't called {name}"),
                (false, Some(near)) => format!("the model has no target {name}; did you mean {near}?"),
                (false, None) => format!("the model has no target {name}; it has {}", listed(&names)),
            });
        };
        let of = match part.meaning {
            PartMeaning::Classes(names) => {
                let place = |name: &str| names.iter().position(|own| own == name);
                let class = match class.map(|name| (name, place(name))) {
                    None => None,
                    Some((_, Some(at))) => Some(at),
                    Some((name, None)) => {
                        return refuse(match nearest(name, names.iter().map(String::as_str)) {
                            Some(near) => format!("the model knows no class {name}; did you mean {near}?"),
                            None => format!("the model knows no class {name}; it knows {}", listed(names)),
                        });
                    }
                };
                AskedOf::Classes { names: names.to_vec(), class, threshold }
            }
            PartMeaning::Number { .. } if class.is_some() => {
                return refuse("a class is asked for, and the model predicts a number".to_string());
            }
            PartMeaning::Number { unit, interval } => {
                AskedOf::Number { unit, middle: usize::from(interval.is_some()) }
            }
        };
        Ok(AskedTarget { outputs: part.outputs.clone(), target: part.name.to_string(), of })
    }

    /// The names of its classes; none of a number.
    pub(super) fn classes(&self) -> &[String] {
        match &self.of {
            AskedOf::Classes { names, .. } => names,
            AskedOf::Number { .. } => &[],
        }
    }

    /// The unit of its number.
    pub(super) fn unit(&self) -> Option<Unit> {
        match &self.of {
            AskedOf::Classes { .. } => None,
            AskedOf::Number { unit, .. } => Some(*unit),
        }
    }

    /// In what it is explained.
    pub(super) fn scale(&self) -> ExplainedScale {
        match &self.of {
            AskedOf::Classes { names, .. } if names.len() == 2 => ExplainedScale::LogOdds,
            AskedOf::Classes { .. } => ExplainedScale::Score,
            AskedOf::Number { unit, .. } => match unit.curve {
                Curve::Straight => ExplainedScale::Unit(self.target.clone()),
                Curve::Log { unit, .. } => ExplainedScale::Logarithm(self.target.clone(), unit),
                Curve::Count => ExplainedScale::LogCount(self.target.clone()),
            },
        }
    }

    /// The outputs of a row that are of this target; a single one may tell two classes apart.
    pub(super) fn own<'o>(&self, outputs: &'o [f32]) -> Result<&'o [f32]> {
        if outputs.len() == 1 && self.classes().len() == 2 {
            return Ok(outputs);
        }
        outputs.get(self.outputs.clone()).ok_or_else(|| {
            Error::Preparation(format!(
                "the model gives {}, fewer than its task has",
                counted(outputs.len(), "number")
            ))
        })
    }

    /// The class that is said of a row, of classes.
    pub(super) fn said(&self, outputs: &[f32]) -> Result<Option<usize>> {
        let AskedOf::Classes { threshold, .. } = &self.of else { return Ok(None) };
        let own = self.own(outputs)?;
        let second = probabilities_of(own).last().copied().unwrap_or(0.0);
        Ok(Some(match (threshold, self.classes().len()) {
            (Some(threshold), 2) => usize::from(is_above(second, *threshold)),
            _ => class_of(own),
        }))
    }

    /// By how much the score of a class is above that at which it is said; of several above that of the best other one.
    pub(super) fn margin(&self, outputs: &[f32], class: usize) -> Result<f64> {
        let AskedOf::Classes { threshold, names, .. } = &self.of else { return Ok(f64::NAN) };
        if names.len() == 2 {
            let share = threshold.unwrap_or(0.5).clamp(1e-12, 1.0 - 1e-12);
            let second = self.of_class(1, outputs.len()).of(outputs) - libm::log(share / (1.0 - share));
            return Ok(if class == 1 { second } else { -second });
        }
        let own = self.own(outputs)?;
        let others = own.iter().enumerate().filter(|(at, _)| *at != class).map(|(_, logit)| *logit);
        let best = others.fold(f32::NEG_INFINITY, f32::max);
        Ok(own.get(class).map_or(f64::NAN, |logit| f64::from(*logit) - f64::from(best)))
    }

    /// What is explained of a row with these outputs.
    pub(super) fn wanted(&self, outputs: &[f32]) -> Result<WantedScore> {
        match &self.of {
            AskedOf::Classes { class, .. } => {
                let class = match class {
                    Some(class) => *class,
                    None => self.said(outputs)?.unwrap_or(0),
                };
                self.own(outputs)?;
                Ok(self.of_class(class, outputs.len()))
            }
            AskedOf::Number { unit, middle } => {
                let own = self.own(outputs)?.len();
                let mut weights = vec![0.0; outputs.len()];
                let (factor, shift) = match unit.curve {
                    Curve::Straight | Curve::Log { .. } => (unit.scale, unit.offset),
                    Curve::Count => (1.0, libm::log(unit.scale)),
                };
                weights[self.outputs.start + (*middle).min(own.saturating_sub(1))] = factor;
                Ok(WantedScore { class: None, weights, shift })
            }
        }
    }

    /// The score of a class, of rows of so many outputs.
    pub(super) fn of_class(&self, class: usize, outputs: usize) -> WantedScore {
        let count = self.classes().len();
        let mut weights = vec![0.0; outputs];
        match (outputs, count) {
            (1, 2) => weights[0] = if class == 1 { 1.0 } else { -1.0 },
            (_, 2) => {
                weights[self.outputs.start + class] = 1.0;
                weights[self.outputs.start + 1 - class] = -1.0;
            }
            _ => {
                for (at, weight) in weights[self.outputs.clone()].iter_mut().enumerate() {
                    *weight = f64::from(u8::from(at == class)) - 1.0 / count as f64;
                }
            }
        }
        WantedScore { class: Some(class), weights, shift: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str]) -> Task {
        Task::Classes { names: names.iter().map(|name| name.to_string()).collect() }
    }

    #[test]
    fn scores_of_classes_depend_on_no_common_shift() {
        for names in [&["a", "b"][..], &["a", "b", "c"]] {
            let asked = AskedTarget::new(&classes(names), None, None, Some("b")).unwrap();
            let outputs: Vec<f32> = (0..names.len()).map(|at| at as f32 * 1.5).collect();
            let shifted: Vec<f32> = outputs.iter().map(|output| output + 8.0).collect();
            let wanted = asked.wanted(&outputs).unwrap();
            assert!((wanted.of(&outputs) - wanted.of(&shifted)).abs() < 1e-12);
        }
        let asked = AskedTarget::new(&classes(&["a", "b"]), Some(0.9), None, None).unwrap();
        assert_eq!((asked.said(&[0.0, 2.0]).unwrap(), asked.said(&[0.0, 3.0]).unwrap()), (Some(0), Some(1)));
        assert_eq!(asked.wanted(&[2.0]).unwrap().of(&[2.0]), -2.0);
    }

    #[test]
    fn what_there_isnt_is_refused_with_what_there_is() {
        let says = |target, class| {
            AskedTarget::new(&classes(&["yes", "no"]), None, target, class).err().unwrap().to_string()
        };
        assert!(says(None, Some("yess")).contains("did you mean yes?"));
        assert!(says(Some("x"), None).contains("one target"));
        let price = Task::plain_numbers(vec!["price".to_string(), "area".to_string()]);
        let says = |target, class| AskedTarget::new(&price, None, target, class).err().unwrap().to_string();
        assert!(says(Some("prize"), None).contains("did you mean price?"));
        assert!(says(None, Some("yes")).contains("predicts a number"));
    }
}
