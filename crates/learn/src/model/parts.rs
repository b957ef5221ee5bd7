//! What a model says of a row, target by target: which outputs are of which, and what they mean. A loss of several targets follows from it.

use std::ops::Range;

use kiln_data::{Curve, Unit};
use kiln_nn::loss::{CrossEntropy, CrossEntropyOptions, Loss, Losses, Mse, PoissonNll, Quantile, Reduction};
use kiln_nn::{DType, Tensor};

use super::Task;

/// One of the targets of a [`Task`].
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPart<'t> {
    /// What is predicted; nothing where a task tells classes apart and nothing else.
    pub name: &'t str,
    /// Its place among a row's outputs.
    pub outputs: Range<usize>,
    /// What they mean.
    pub meaning: PartMeaning<'t>,
}

/// What the outputs of one target mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PartMeaning<'t> {
    /// Logits of these classes.
    Classes(&'t [String]),
    /// A number, in a unit of its own.
    Number {
        /// What the number is learned as.
        unit: Unit,
        /// Where there are three outputs, a lower bound, the middle and an upper one: the share of rows between the bounds.
        interval: Option<f64>,
    },
}

impl PartMeaning<'_> {
    /// What a number is learned as, if it is one.
    pub fn unit(&self) -> Option<Unit> {
        match self {
            PartMeaning::Classes(_) => None,
            PartMeaning::Number { unit, .. } => Some(*unit),
        }
    }
}

/// The share of rows below the lower bound, the middle and the upper bound of an interval that holds this share.
pub fn quantiles(interval: f64) -> [f64; 3] {
    [0.5 - 0.5 * interval, 0.5, 0.5 + 0.5 * interval]
}

/// The number that a part's outputs say, and the bounds of its interval where there is one. Bounds that crossed are put on their side.
pub fn number_of(outputs: &[f32], unit: &Unit) -> (f64, Option<[f64; 2]>) {
    match outputs {
        [low, middle, high] => {
            let bound = |output: f32| unit.bound(f64::from(output));
            (bound(*middle), Some([bound(low.min(*middle)), bound(high.max(*middle))]))
        }
        all => (unit.number(all.first().map_or(f64::NAN, |&output| f64::from(output))), None),
    }
}

impl Task {
    /// Its targets in the order of their outputs; of a text there are none.
    ///
    /// ```
    /// use kiln::model::{NamedTask, Task};
    ///
    /// let kind = Task::Classes { names: ["a", "b", "c"].map(String::from).to_vec() };
    /// let price = Task::plain_numbers(vec!["price".to_string()]);
    /// let both = Task::Several {
    ///     targets: vec![
    ///         NamedTask { name: "kind".to_string(), task: kind },
    ///         NamedTask { name: "price".to_string(), task: price },
    ///     ],
    /// };
    /// let places: Vec<_> = both.parts().into_iter().map(|part| (part.name, part.outputs)).collect();
    /// assert_eq!(places, [("kind", 0..3), ("price", 3..4)]);
    /// ```
    pub fn parts(&self) -> Vec<TaskPart<'_>> {
        match self {
            Task::Text { .. } => Vec::new(),
            Task::Classes { names } | Task::Tags { names } => {
                vec![TaskPart { name: "", outputs: 0..names.len(), meaning: PartMeaning::Classes(names) }]
            }
            Task::Numbers { names, scale, offset, curves, interval } => {
                let width = self.outputs() / names.len().max(1);
                let units = scale.iter().zip(offset).enumerate().map(|(at, (&scale, &offset))| {
                    let curve = curves.get(at).copied().unwrap_or_default();
                    (at, Unit { scale, offset, curve })
                });
                let each = names.iter().zip(units);
                each.map(|(name, (at, unit))| TaskPart {
                    name,
                    outputs: at * width..(at + 1) * width,
                    meaning: PartMeaning::Number { unit, interval: *interval },
                })
                .collect()
            }
            Task::Several { targets } => {
                let mut parts = Vec::new();
                for target in targets {
                    let start = parts.last().map_or(0, |part: &TaskPart| part.outputs.end);
                    parts.extend(target.task.parts().into_iter().map(|part| TaskPart {
                        name: &target.name,
                        outputs: start + part.outputs.start..start + part.outputs.end,
                        ..part
                    }));
                }
                parts
            }
        }
    }
}

/// The loss of what a task asks for, of several targets of a row their mean: of classes the cross-entropy; of numbers the squared error in the
/// units that were learned in, of intervals the mean of three pinball losses, of counts the negative log-likelihood of Poisson. Predictions are `[rows, outputs]`, targets `[rows, targets]`, classes by their numbers.
///
/// ```
/// use kiln::loss::Loss;
/// use kiln::model::{NamedTask, Task, TaskLoss};
/// use kiln::prelude::*;
///
/// let kind = Task::Classes { names: ["a", "b"].map(String::from).to_vec() };
/// let price = Task::plain_numbers(vec!["price".to_string()]);
/// let named = |(name, task): (&str, Task)| NamedTask { name: name.to_string(), task };
/// let both = Task::Several { targets: [("kind", kind), ("price", price)].map(named).to_vec() };
/// let (outputs, truth) = (Tensor::from([[2.0, 0.0, 1.5]]), Tensor::from([[0.0, 1.0]]));
/// // -ln(e² / (e² + 1)) and 0.5².
/// assert!((TaskLoss::new(&both).of(&outputs, &truth).item()? - (0.126928 + 0.25) / 2.0).abs() < 1e-6);
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct TaskLoss {
    /// The outputs of each target, and the loss that suits them.
    parts: Vec<(Range<usize>, PartLoss)>,
    smoothing: f64,
}

/// The loss of one target.
enum PartLoss {
    Classes,
    Number,
    Count,
    Interval(f64),
}

impl TaskLoss {
    /// Of a task's targets.
    pub fn new(task: &Task) -> TaskLoss {
        let loss = |part: &TaskPart| match part.meaning {
            PartMeaning::Classes(_) => PartLoss::Classes,
            PartMeaning::Number { interval: Some(share), .. } => PartLoss::Interval(share),
            PartMeaning::Number { unit: Unit { curve: Curve::Count, .. }, .. } => PartLoss::Count,
            PartMeaning::Number { .. } => PartLoss::Number,
        };
        let parts = task.parts().into_iter().map(|part| (part.outputs.clone(), loss(&part)));
        TaskLoss { parts: parts.collect(), smoothing: 0.0 }
    }

    /// Moves this share of each class's probability to all classes alike.
    pub fn label_smoothing(self, share: f64) -> TaskLoss {
        TaskLoss { smoothing: share, ..self }
    }

    /// Whether it is a plain squared error of all outputs.
    pub fn is_squared_error(&self) -> bool {
        self.parts.iter().all(|(_, loss)| matches!(loss, PartLoss::Number))
    }
}

impl Loss for TaskLoss {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        let options = CrossEntropyOptions::new().label_smoothing(self.smoothing).reduction(Reduction::None);
        let one = |(at, (outputs, loss)): (usize, &(Range<usize>, PartLoss))| {
            let own = prediction.narrow(1, outputs.start, outputs.len());
            let truth = target.narrow(1, at, 1);
            match loss {
                PartLoss::Classes => own.cross_entropy_with(&truth.reshape([-1]).cast(DType::I64), &options),
                PartLoss::Number => Mse::new().each(&own, &truth).values.reshape([-1]),
                PartLoss::Count => PoissonNll::new().each(&own, &truth).values.reshape([-1]),
                PartLoss::Interval(share) => {
                    let bounds = quantiles(*share).into_iter().enumerate().map(|(place, quantile)| {
                        let pinball = Quantile::new().quantile(quantile);
                        pinball.each(&own.narrow(1, place as isize, 1), &truth).values.reshape([-1])
                    });
                    bounds.reduce(|sum, loss| sum + loss).map_or(truth, |sum| sum / 3.0)
                }
            }
        };
        let sum = self.parts.iter().enumerate().map(one).reduce(|sum, loss| sum + loss);
        match sum {
            Some(sum) => Losses::from(sum / self.parts.len() as f64),
            None => CrossEntropy::new().each(prediction, target),
        }
    }
}
