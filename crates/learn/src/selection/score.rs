//! How good outputs are, and their weighted means: on the host, where weights are tried by the thousand.

use std::ops::Range;

use kiln_data::{Curve, Dataset, Unit};
use kiln_nn::sequential::Blended;

use crate::model::{PartMeaning, Task, TaskPart, quantiles};
use crate::{Error, Result};

/// What decides between models. Less is better.
pub trait SelectionScore {
    /// Of outputs `[rows, outputs]`, and which rows of the set they are of.
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64;
}

impl<F: Fn(&[f32], &[usize]) -> f64> SelectionScore for F {
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        self(outputs, rows)
    }
}

/// The loss of a task, as [`TaskLoss`](crate::model::TaskLoss) has it in training.
pub struct TaskScore {
    parts: Vec<(Range<usize>, PartScore)>,
    /// `[rows, targets]`.
    targets: Vec<f32>,
}

/// What is asked of one target.
enum PartScore {
    Classes,
    Number,
    Count,
    Interval(f64),
}

impl PartScore {
    fn of(part: &TaskPart) -> PartScore {
        match part.meaning {
            PartMeaning::Classes(_) => PartScore::Classes,
            PartMeaning::Number { interval: Some(share), .. } => PartScore::Interval(share),
            PartMeaning::Number { unit: Unit { curve: Curve::Count, .. }, .. } => PartScore::Count,
            PartMeaning::Number { unit: Unit { curve: Curve::Straight | Curve::Log { .. }, .. }, .. } => {
                PartScore::Number
            }
        }
    }

    /// The loss of a row.
    fn loss(&self, outputs: &[f32], truth: f32) -> f64 {
        let first = f64::from(outputs.first().copied().unwrap_or(f32::NAN));
        let truth_of = f64::from(truth);
        match self {
            PartScore::Classes => surprise(outputs, truth as usize),
            PartScore::Number => (first - truth_of) * (first - truth_of),
            PartScore::Count => libm::exp(first) - truth_of * first,
            PartScore::Interval(share) => {
                let pinball = |(output, quantile): (&f32, f64)| {
                    let off = truth_of - f64::from(*output);
                    (quantile * off).max((quantile - 1.0) * off)
                };
                outputs.iter().zip(quantiles(*share)).map(pinball).sum::<f64>() / 3.0
            }
        }
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
        let parts = task.parts().iter().map(|part| (part.outputs.clone(), PartScore::of(part))).collect();
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

impl SelectionScore for TaskScore {
    fn of(&self, outputs: &[f32], rows: &[usize]) -> f64 {
        let width = outputs.len() / rows.len().max(1);
        let mut sum = 0.0;
        for (own, &row) in outputs.chunks(width.max(1)).zip(rows) {
            for (target, (places, part)) in self.parts.iter().enumerate() {
                let truth = self.targets.get(row * self.width() + target).copied().unwrap_or(f32::NAN);
                // Alone it has all outputs, of which there may be a single one for two classes.
                let places = if self.parts.len() == 1 { 0..own.len() } else { places.clone() };
                sum += part.loss(own.get(places).unwrap_or_default(), truth);
            }
        }
        sum / (rows.len() * self.width()).max(1) as f64
    }
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
    let is_classes = |part: &TaskPart| matches!(part.meaning, PartMeaning::Classes(_));
    match task {
        Task::Classes { .. } => Ok(Blended::Classes),
        Task::Numbers { .. } => Ok(Blended::Numbers),
        Task::Several { .. } => {
            let mut sizes = Vec::new();
            for part in task.parts() {
                match is_classes(&part) {
                    true => sizes.push(part.outputs.len()),
                    // Bounds are numbers too.
                    false => sizes.extend(part.outputs.map(|_| 1)),
                }
            }
            Ok(if sizes.iter().all(|size| *size == 1) { Blended::Numbers } else { Blended::Targets(sizes) })
        }
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

#[cfg(test)]
mod tests {
    use kiln_data::{Form, Set, Values};
    use kiln_nn::Tensor;
    use kiln_nn::loss::Loss;
    use kiln_nn::{Context, Layer, Sequential};

    use super::*;
    use crate::model::{NamedTask, TaskLoss};

    /// Three classes, a number, a count and an interval.
    fn task() -> Task {
        let classes = Task::Classes { names: ["a", "b", "c"].map(String::from).to_vec() };
        let number = |curve: Curve, interval: Option<f64>| {
            let (scale, offset) = (vec![1.0], vec![0.0]);
            Task::Numbers { names: vec!["y".to_string()], scale, offset, curves: vec![curve], interval }
        };
        let all = [
            classes,
            number(Curve::Straight, None),
            number(Curve::Count, None),
            number(Curve::Straight, Some(0.8)),
        ];
        let named = |task: Task| NamedTask { name: "y".to_string(), task };
        Task::Several { targets: all.map(named).to_vec() }
    }

    #[test]
    fn the_score_on_the_host_is_the_loss_of_training() {
        let task = task();
        let outputs: Vec<f32> = (0..16).map(|at| ((at * 7 % 11) as f32 - 5.0) / 4.0).collect();
        let truth = vec![2.0f32, 0.5, 3.0, -0.25, 0.0, -1.0, 0.0, 1.5];
        let set =
            Set::new(vec![0f32; 2], Form::numbers(&[1]), Values::F32(truth.clone()), Form::numbers(&[4]));
        let score = TaskScore::new(&task, &set.unwrap()).unwrap().of(&outputs, &[0, 1]);
        let tensors = (Tensor::new(outputs, [2, 8]), Tensor::new(truth, [2, 4]));
        let loss = TaskLoss::new(&task).of(&tensors.0, &tensors.1).to_vec::<f32>().unwrap()[0];
        assert!((score - f64::from(loss)).abs() < 1e-5, "{score} instead of {loss}");
    }

    #[test]
    fn what_is_averaged_here_is_what_the_layer_averages() {
        let of = blended(&task()).unwrap();
        assert_eq!(of, Blended::Targets(vec![3, 1, 1, 1, 1, 1]));
        for (of, width) in [(of, 8), (Blended::Classes, 3), (Blended::Classes, 1), (Blended::Numbers, 2)] {
            let row = |at: usize| {
                (0..width).map(|o| ((o * 5 + at * 3) % 7) as f32 / 2.0 - 1.5).collect::<Vec<f32>>()
            };
            let rows = [0, 1].map(row);
            let layer = |row: Vec<f32>| {
                Sequential::new().lambda("row", move |x| x * 0.0 + Tensor::new(row.clone(), [1, row.len()]))
            };
            let blend = Sequential::new().blend(rows.clone().map(layer), &[0.3, 0.7], of.clone());
            let layer =
                blend.forward(&Tensor::zeros([1, width]), &Context::inference()).to_vec::<f32>().unwrap();
            let [mut one, mut other] = rows;
            averaged(&mut one, width, &of);
            averaged(&mut other, width, &of);
            let mut mean: Vec<f32> = one.iter().zip(&other).map(|(a, b)| 0.3 * a + 0.7 * b).collect();
            outputs_of(&mut mean, width, &of);
            for (found, expected) in layer.iter().zip(&mean) {
                assert!((found - expected).abs() < 1e-5, "{of:?}: {layer:?} instead of {mean:?}");
            }
        }
    }
}
