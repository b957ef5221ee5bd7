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
    /// From little to much.
    Ordered,
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

    /// The targets whose classes go from little to much, in their order: beside the cross-entropy they have the ranked probability score, by which
    /// a class is the worse the further it is from the right one.
    pub fn ordered(mut self, are_ordered: &[bool]) -> TaskLoss {
        for ((_, loss), is_ordered) in self.parts.iter_mut().zip(are_ordered) {
            if let (PartLoss::Classes, true) = (&*loss, is_ordered) {
                *loss = PartLoss::Ordered;
            }
        }
        self
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
            // Alone a class is a number of its own.
            let truth = if target.rank() == 1 { target.clone() } else { target.narrow(1, at, 1) };
            let classes = || truth.reshape([-1]).cast(DType::I64);
            match loss {
                PartLoss::Classes => own.cross_entropy_with(&classes(), &options),
                PartLoss::Ordered => {
                    own.cross_entropy_with(&classes(), &options) + ranked_score(&own, &classes())
                }
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

/// The ranked probability score of each row's logits: the mean over the classes but the last of the squared difference between the probability
/// of that class or less and whether the truth is.
fn ranked_score(logits: &Tensor, classes: &Tensor) -> Tensor {
    let count = logits.size(-1);
    let off = logits.softmax(-1) - classes.one_hot(count).cast(DType::F32);
    off.cumsum(-1).narrow(1, 0, count - 1).square().mean(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(curve: Curve, interval: Option<f64>) -> Task {
        let names = vec!["y".to_string()];
        Task::Numbers { names, scale: vec![2.0], offset: vec![1.0], curves: vec![curve], interval }
    }

    fn loss(task: &TaskLoss, outputs: &[f32], truth: Tensor) -> f64 {
        let outputs = Tensor::new(outputs.to_vec(), [1, outputs.len()]);
        f64::from(task.of(&outputs, &truth).to_vec::<f32>().unwrap()[0])
    }

    #[test]
    fn losses_are_those_of_their_formulas() {
        let truth = || Tensor::from([[0.5f32]]);
        let counted = loss(&TaskLoss::new(&number(Curve::Count, None)), &[0.3], truth());
        assert!((counted - (libm::exp(0.3) - 0.5 * 0.3)).abs() < 1e-6, "{counted}");
        let bounds = loss(&TaskLoss::new(&number(Curve::Straight, Some(0.8))), &[0.1, 0.6, 0.4], truth());
        let by_hand = (0.1 * 0.4 + 0.5 * 0.1 + 0.9 * 0.1) / 3.0;
        assert!((bounds - by_hand).abs() < 1e-6, "{bounds}");
        let names = ["low", "mid", "high"].map(String::from).to_vec();
        let ordered = TaskLoss::new(&Task::Classes { names }).ordered(&[true]);
        let p = [1.0, libm::exp(1.0), libm::exp(-1.0)];
        let sum: f64 = p.iter().sum();
        let entropy = -libm::log(p[0] / sum);
        let (first, second) = (p[0] / sum - 1.0, (p[0] + p[1]) / sum - 1.0);
        let by_hand = entropy + 0.5 * (first * first + second * second);
        let own = loss(&ordered, &[0.0, 1.0, -1.0], Tensor::from([0i64]));
        assert!((own - by_hand).abs() < 1e-6, "{own} {by_hand}");
        assert!(!ordered.is_squared_error());
    }

    #[test]
    fn bounds_that_crossed_are_put_on_their_side() {
        let unit = Unit { scale: 2.0, offset: 1.0, curve: Curve::Straight };
        assert_eq!(number_of(&[0.5, 0.0, -1.0], &unit), (1.0, Some([1.0, 1.0])));
        assert_eq!(number_of(&[-1.0, 0.0, 2.0], &unit), (1.0, Some([-1.0, 5.0])));
        let log = Unit { scale: 1.0, offset: 0.0, curve: Curve::Log { unit: 1.0, factor: 2.0 } };
        let (said, none) = number_of(&[1.0], &log);
        assert!((said - 2.0 * libm::expm1(1.0)).abs() < 1e-12 && none.is_none());
        // The middle is no mean, and isn't lifted.
        assert!((number_of(&[0.0, 1.0, 2.0], &log).0 - libm::expm1(1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_task_of_an_earlier_file_is_read_and_a_plain_one_is_written_as_before() {
        let plain = Task::plain_numbers(vec!["y".to_string()]);
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text, r#"{"kind":"numbers","names":["y"],"scale":[1.0],"offset":[0.0]}"#);
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), plain);
        let log = number(Curve::Log { unit: 0.5, factor: 1.25 }, Some(0.9));
        let again: Task = serde_json::from_str(&serde_json::to_string(&log).unwrap()).unwrap();
        assert_eq!((again.outputs(), again), (3, log));
    }
}
