//! How good outputs are, and their weighted means: on the host, where weights are tried by the thousand.

use std::ops::Range;

use kiln_data::Dataset;
use kiln_nn::sequential::Blended;

use crate::model::{PartMeaning, Task, TaskPart};
use crate::{Error, Result};

/// What decides between models. Less is better.
pub trait Score {
    /// Of outputs `[rows, outputs]`, and which rows of the set they are of.
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64;
}

impl<F: Fn(&[f32], &[usize]) -> f64> Score for F {
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        self(outputs, rows)
    }
}

/// The loss of a task: of classes the negative log-likelihood, of numbers the squared error in the units that are learned in, of several targets the
/// mean.
pub struct TaskScore {
    parts: Vec<(Range<usize>, bool)>,
    /// `[rows, targets]`.
    targets: Vec<f32>,
}

fn is_classes(part: &TaskPart) -> bool {
    match part.meaning {
        PartMeaning::Classes(_) => true,
        PartMeaning::Number { .. } => false,
    }
}

/// Rows that are read at a time.
const ROWS: usize = 4096;

impl TaskScore {
    /// Of a set's rows.
    ///
    /// # Errors
    /// Where a row can't be read.
    pub fn new(task: &Task, set: &dyn Dataset) -> Result<TaskScore> {
        let parts = task.parts().iter().map(|part| (part.outputs.clone(), is_classes(part))).collect();
        let mut targets = Vec::with_capacity(set.len() * set.y().width());
        for start in (0..set.len()).step_by(ROWS) {
            let batch = set.gather(&Vec::from_iter(start..set.len().min(start + ROWS)))?;
            targets.extend((0..batch.y.len()).filter_map(|at| batch.y.get(at)).map(|value| value as f32));
        }
        Ok(TaskScore { parts, targets })
    }

    /// How many targets a row has.
    fn width(&self) -> usize {
        self.parts.len().max(1)
    }
}

impl Score for TaskScore {
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        let width = outputs.len() / rows.len().max(1);
        let mut sum = 0.0;
        for (own, &row) in outputs.chunks(width.max(1)).zip(rows) {
            for (target, (places, is_classes)) in self.parts.iter().enumerate() {
                let truth = self.targets.get(row * self.width() + target).copied().unwrap_or(f32::NAN);
                // Alone it has all outputs, of which there may be a single one for two classes.
                let places = if self.parts.len() == 1 { 0..own.len() } else { places.clone() };
                let own = own.get(places).unwrap_or_default();
                sum += if *is_classes { surprise(own, truth as usize) } else { squared(own, truth) };
            }
        }
        sum / (rows.len() * self.width()).max(1) as f64
    }
}

fn squared(outputs: &[f32], truth: f32) -> f64 {
    let off = f64::from(outputs.first().copied().unwrap_or(f32::NAN)) - f64::from(truth);
    off * off
}

/// The negative logarithm of a class's probability.
fn surprise(logits: &[f32], class: usize) -> f64 {
    let two;
    let logits = match logits {
        [second] => {
            two = [0.0, *second];
            &two[..]
        }
        all => all,
    };
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - most)).sum();
    let own = logits.get(class).map_or(f64::NEG_INFINITY, |logit| f64::from(*logit));
    most + libm::log(sum) - own
}

/// What a task's outputs are averaged as.
///
/// # Errors
/// Of texts and tags, of which no table is.
pub fn blended(task: &Task) -> Result<Blended> {
    let parts = task.parts();
    match task {
        Task::Classes { .. } => Ok(Blended::Classes),
        Task::Numbers { .. } => Ok(Blended::Numbers),
        Task::Several { .. } if parts.iter().all(|part| !is_classes(part)) => Ok(Blended::Numbers),
        Task::Several { .. } => Ok(Blended::Targets(parts.iter().map(|part| part.outputs.len()).collect())),
        Task::Text { .. } | Task::Tags { .. } => {
            Err(Error::Training("models of texts aren't selected by folds".to_string()))
        }
    }
}

/// Outputs as what is averaged: logits of classes as probabilities. As the layer `blend` does it.
pub(super) fn averaged(outputs: &mut [f32], width: usize, of: &Blended) {
    each_of_classes(outputs, width, of, |logits| match logits {
        [logit] => *logit = (1.0 / (1.0 + libm::exp(-f64::from(*logit)))) as f32,
        all => {
            let most = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let part = |logit: f32| libm::exp(f64::from(logit - most));
            let sum: f64 = all.iter().map(|logit| part(*logit)).sum();
            all.iter_mut().for_each(|logit| *logit = (part(*logit) / sum) as f32);
        }
    });
}

/// What was averaged as outputs again.
pub(super) fn outputs_of(mean: &mut [f32], width: usize, of: &Blended) {
    let logarithm = |p: f32| libm::log(f64::from(p).max(f64::from(f32::MIN_POSITIVE)));
    each_of_classes(mean, width, of, |parts| match parts {
        [second] => *second = (logarithm(*second) - logarithm(1.0 - *second)) as f32,
        all => all.iter_mut().for_each(|part| *part = logarithm(*part) as f32),
    });
}

fn each_of_classes(values: &mut [f32], width: usize, of: &Blended, mut f: impl FnMut(&mut [f32])) {
    for row in values.chunks_mut(width.max(1)) {
        match of {
            Blended::Numbers => {}
            Blended::Classes => f(row),
            Blended::Targets(sizes) => {
                let mut rest = row;
                for size in sizes {
                    let (own, behind) = rest.split_at_mut((*size).min(rest.len()));
                    rest = behind;
                    if *size > 1 {
                        f(own);
                    }
                }
            }
        }
    }
}
