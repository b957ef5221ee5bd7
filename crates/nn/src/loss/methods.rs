//! Losses as methods of predictions, with PyTorch's meaning and defaults.

use super::cross_entropy::{CrossEntropyOptions, check_classes};
use super::{BinaryCrossEntropy, Hinge, Huber, KlDivergence, Loss, Mae, Mse, MultiMargin, Reduction, reduce};
use crate::tensor::Tensor;

impl Tensor {
    /// The mean squared error.
    #[track_caller]
    pub fn mse(&self, target: &Tensor) -> Tensor {
        mean(&Mse::new(), self, target)
    }

    /// The mean absolute error.
    #[track_caller]
    pub fn mae(&self, target: &Tensor) -> Tensor {
        mean(&Mae::new(), self, target)
    }

    /// The mean Huber loss: half the squared error up to `delta`, linear beyond.
    #[track_caller]
    pub fn huber(&self, target: &Tensor, delta: f64) -> Tensor {
        mean(&Huber::new().delta(delta), self, target)
    }

    /// The mean binary cross-entropy of logits against targets from 0 to 1.
    #[track_caller]
    pub fn bce_with_logits(&self, target: &Tensor) -> Tensor {
        mean(&BinaryCrossEntropy::new(), self, target)
    }

    /// The binary cross-entropy with the positive targets counted `positive_weight` times (broadcast over the
    /// classes), and another reduction.
    #[track_caller]
    pub fn bce_with_logits_weighted(
        &self,
        target: &Tensor,
        positive_weight: &Tensor,
        reduction: Reduction,
    ) -> Tensor {
        let loss = BinaryCrossEntropy::new().positive_weight(positive_weight);
        reduce(&loss.each(self, target), None, reduction)
    }

    /// The mean over the batch of the multi-class hinge loss of scores `[batch, classes]` against class indices
    /// `[batch]`: how far every other class comes within a margin of 1, over the number of classes.
    #[track_caller]
    pub fn multi_margin(&self, labels: &Tensor) -> Tensor {
        check!(check_classes("multi_margin", self, labels, &CrossEntropyOptions::default()));
        mean(&MultiMargin::new(), self, labels)
    }

    /// The cosine of the angle between this and `other` along an axis, which goes away. The lengths count as at least
    /// `epsilon`.
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: isize, epsilon: f64) -> Tensor {
        let lengths = self.norm(axis, 2.0).maximum(epsilon) * other.norm(axis, 2.0).maximum(epsilon);
        (self * other).sum(axis) / lengths
    }

    /// The mean hinge (max-margin) loss of scores against targets −1 and 1: `relu(1 - x * target)`.
    #[track_caller]
    pub fn hinge(&self, target: &Tensor) -> Tensor {
        mean(&Hinge::new(), self, target)
    }

    /// The mean over the batch of the Kullback-Leibler divergence of the distributions whose log-probabilities these
    /// are from `target` (probabilities), over the last axis.
    #[track_caller]
    pub fn kl_divergence(&self, target: &Tensor) -> Tensor {
        mean(&KlDivergence::new(), self, target)
    }
}

/// The mean of a loss, whatever layer made the predictions.
#[track_caller]
fn mean(loss: &impl Loss, prediction: &Tensor, target: &Tensor) -> Tensor {
    reduce(&loss.each(prediction, target), None, Reduction::Mean)
}
