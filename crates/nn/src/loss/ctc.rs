//! Connectionist temporal classification: the likelihood of a sequence of labels under predictions for more steps than
//! labels, whatever step each falls on.

use kiln_ir::DType;

use super::Reduction;
use crate::tensor::Tensor;

/// The logarithm of nothing, finite so that gradients stay numbers.
const NEVER: f64 = -1e30;

/// The loss; `Ctc::new().of(&log_probabilities, &targets, &lengths)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ctc {
    /// The class that stands for no label; 0 unless told otherwise.
    pub blank: i64,
    /// Whether examples whose labels don't fit their steps count nothing instead of infinity.
    pub zero_infinity: bool,
    reduction: Reduction,
}

/// How much of the padded predictions and targets counts, `[batch]` each.
#[derive(Clone, Debug)]
pub struct CtcLengths {
    /// Steps of each example.
    pub inputs: Tensor,
    /// Labels of each example.
    pub targets: Tensor,
}

impl Ctc {
    /// Class 0 is blank.
    pub fn new() -> Ctc {
        Ctc::default()
    }

    /// The class that stands for no label.
    pub fn blank(mut self, blank: i64) -> Ctc {
        self.blank = blank;
        self
    }

    /// Whether examples whose labels don't fit their steps count nothing instead of infinity.
    pub fn zero_infinity(mut self, zero: bool) -> Ctc {
        self.zero_infinity = zero;
        self
    }

    /// How the losses become one number. As in PyTorch, a mean first divides each loss by the number of labels.
    pub fn reduction(mut self, reduction: Reduction) -> Ctc {
        self.reduction = reduction;
        self
    }

    /// The loss of log-probabilities `[steps, batch, classes]` for targets `[batch, labels]`, both padded. The sum over all
    /// alignments is built step by step, so its gradient is the graph's own.
    #[track_caller]
    pub fn of(&self, log_probabilities: &Tensor, targets: &Tensor, lengths: &CtcLengths) -> Tensor {
        let x = log_probabilities.wide();
        if let Some(error) = x.error().or(targets.error()) {
            return error.clone().into();
        }
        let (shape, given) = (x.shape(), targets.shape());
        if shape.rank() != 3 || given.rank() != 2 || given[0] != shape[1] {
            let message = format!(
                "log-probabilities {shape} and targets {given}; they should be [steps, batch, classes] and [batch, labels]"
            );
            return kiln_ir::Error::new(kiln_ir::ErrorKind::Shape, "ctc", message).into();
        }
        let (steps, batch, labels) = (shape[0], shape[1], given[1]);
        let places = 2 * labels + 1;
        // blank a blank b blank: [batch, places]
        let blanks = Tensor::full([batch, labels, 1], self.blank);
        let between = Tensor::concat(&[&blanks, &targets.cast(DType::I64).unsqueeze(-1)], -1);
        let last = Tensor::full([batch, 1], self.blank);
        let path = Tensor::concat(&[&between.reshape([batch, 2 * labels]), &last], 1);
        let place = Tensor::index_along([1, places], 1);
        // A label may follow the label before the blank, unless it is the same.
        let before = shifted(&path, 2, -1.0);
        let skips = path.ne(self.blank) & path.ne(&before) & place.ge(2);
        let input_lengths = lengths.inputs.cast(DType::I64).reshape([batch, 1]);
        let target_lengths = lengths.targets.cast(DType::I64).reshape([batch, 1]);

        let probability = |step: usize| x.at(step as isize).gather(1, &path);
        let start = place.eq(0) | (place.eq(1) & target_lengths.gt(0));
        let mut alpha = start.select(probability(0), NEVER);
        for step in 1..steps {
            let two = skips.select(shifted(&alpha, 2, NEVER), NEVER);
            let ways = add_logs(&[&alpha, &shifted(&alpha, 1, NEVER), &two]);
            let next = (ways + probability(step)).maximum(NEVER);
            alpha = input_lengths.gt(step).select(next, alpha);
        }
        // Ends on the last label or the blank behind it.
        let end = &target_lengths * 2i64;
        let ending = place.eq(&end) | (place.eq(end - 1i64) & target_lengths.gt(0));
        let ended = ending.select(alpha, NEVER);
        let most = ended.max_keepdim(-1).stop_gradient();
        let likelihood = (&ended - &most).exp().sum(-1).ln() + most.squeeze(-1);
        let possible = likelihood.gt(NEVER / 2.0);
        let none = if self.zero_infinity { 0.0 } else { f64::INFINITY };
        let losses = possible.select(-likelihood, none);
        match self.reduction {
            Reduction::None => losses,
            Reduction::Sum => losses.sum(..),
            Reduction::Mean => {
                let labels = lengths.targets.cast(losses.dtype()).maximum(1.0);
                (losses / labels).mean(..)
            }
        }
    }
}

/// Moved to the right along the last axis, filled up on the left.
#[track_caller]
fn shifted(x: &Tensor, by: usize, fill: f64) -> Tensor {
    let places = x.shape().last().copied().unwrap_or(0);
    let batch = x.shape().first().copied().unwrap_or(0);
    let by = by.min(places);
    let room = Tensor::full([batch, by], fill).cast(x.dtype());
    Tensor::concat(&[&room, &x.narrow(1, 0, places - by)], 1)
}

/// `ln(Σ exp)` of tensors, place by place.
#[track_caller]
fn add_logs(logs: &[&Tensor; 3]) -> Tensor {
    let most = logs[0].maximum(logs[1]).maximum(logs[2]).stop_gradient();
    let sum = (logs[0] - &most).exp() + (logs[1] - &most).exp() + (logs[2] - &most).exp();
    sum.ln() + most
}
