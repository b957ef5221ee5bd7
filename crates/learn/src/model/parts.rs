//! What a model says of a row, target by target: which outputs are of which, and what they mean. A loss of several targets follows from it.

use std::ops::Range;

use kiln_nn::loss::{CrossEntropy, CrossEntropyOptions, Loss, Losses, Reduction};
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
        /// The output times this,
        scale: f64,
        /// plus this, is the number.
        offset: f64,
    },
}

impl Task {
    /// Its targets in the order of their outputs; of a text there are none.
    ///
    /// ```
    /// use kiln::model::{NamedTask, Task};
    ///
    /// let kind = Task::Classes { names: ["a", "b", "c"].map(String::from).to_vec() };
    /// let price = Task::Numbers { names: vec!["price".to_string()], scale: vec![10.0], offset: vec![50.0] };
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
            Task::Numbers { names, scale, offset } => {
                let units = scale.iter().zip(offset);
                let each = names.iter().zip(units).enumerate();
                each.map(|(at, (name, (&scale, &offset)))| TaskPart {
                    name,
                    outputs: at..at + 1,
                    meaning: PartMeaning::Number { scale, offset },
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

/// The loss of several targets of a row: their mean, of classes the cross-entropy and of numbers the squared error in the units that were
/// learned in. Predictions are `[rows, outputs]`, targets `[rows, targets]`, classes by their numbers.
///
/// ```
/// use kiln::loss::Loss;
/// use kiln::model::{NamedTask, Task, TaskLoss};
/// use kiln::prelude::*;
///
/// let kind = Task::Classes { names: ["a", "b"].map(String::from).to_vec() };
/// let price = Task::Numbers { names: vec!["price".to_string()], scale: vec![1.0], offset: vec![0.0] };
/// let named = |(name, task): (&str, Task)| NamedTask { name: name.to_string(), task };
/// let both = Task::Several { targets: [("kind", kind), ("price", price)].map(named).to_vec() };
/// let (outputs, truth) = (Tensor::from([[2.0, 0.0, 1.5]]), Tensor::from([[0.0, 1.0]]));
/// // -ln(e² / (e² + 1)) and 0.5².
/// assert!((TaskLoss::new(&both).of(&outputs, &truth).item()? - (0.126928 + 0.25) / 2.0).abs() < 1e-6);
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct TaskLoss {
    /// The outputs of each target, and whether they are logits.
    parts: Vec<(Range<usize>, bool)>,
    smoothing: f64,
}

impl TaskLoss {
    /// Of a task's targets.
    pub fn new(task: &Task) -> TaskLoss {
        let is_logits = |part: &TaskPart| matches!(part.meaning, PartMeaning::Classes(_));
        let parts = task.parts().into_iter().map(|part| (part.outputs.clone(), is_logits(&part)));
        TaskLoss { parts: parts.collect(), smoothing: 0.0 }
    }

    /// Moves this share of each class's probability to all classes alike.
    pub fn label_smoothing(self, share: f64) -> TaskLoss {
        TaskLoss { smoothing: share, ..self }
    }
}

impl Loss for TaskLoss {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        let options = CrossEntropyOptions::new().label_smoothing(self.smoothing).reduction(Reduction::None);
        let one = |(at, (outputs, is_logits)): (usize, &(Range<usize>, bool))| {
            let own = prediction.narrow(1, outputs.start, outputs.len());
            let truth = target.narrow(1, at, 1);
            match is_logits {
                true => own.cross_entropy_with(&truth.reshape([-1]).cast(DType::I64), &options),
                false => (own - truth).square().reshape([-1]),
            }
        };
        let sum = self.parts.iter().enumerate().map(one).reduce(|sum, loss| sum + loss);
        match sum {
            Some(sum) => Losses::from(sum / self.parts.len() as f64),
            None => CrossEntropy::new().each(prediction, target),
        }
    }
}
