//! Losses, with PyTorch's meaning and defaults. They take logits, not probabilities: what would need a guard against
//! the logarithm of 0 is computed where it can't occur. The class axis is 1 (0 for a single row).

use kiln_ir::Result;

use super::Tensor;
use crate::loss::{BinaryCrossEntropy, Hinge, Huber, KlDivergence, Loss, Mae, Mse, MultiMargin, reduce};

/// How the losses of the elements become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean, weighted by the class weights where there are any.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Each by itself.
    None,
}

impl Reduction {
    /// The losses as one number, or as they are.
    #[track_caller]
    pub fn of(self, losses: &Tensor) -> Tensor {
        match self {
            Reduction::Mean => losses.mean(..),
            Reduction::Sum => losses.sum(..),
            Reduction::None => losses.clone(),
        }
    }
}

/// What a cross-entropy may do besides.
///
/// ```
/// # use kiln_nn::{CrossEntropyOptions, Tensor};
/// let logits = Tensor::from([[2.0, 0.5], [0.1, 3.0], [1.0, 1.0]]);
/// let labels = Tensor::from([0, 1, -1]);
/// let options = CrossEntropyOptions::new().label_smoothing(0.1).ignore_index(-1);
/// assert!(logits.cross_entropy_with(&labels, &options).item()? > 0.0);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct CrossEntropyOptions {
    /// How much each class counts, `[classes]`.
    pub class_weights: Option<Tensor>,
    /// The share of each label spread evenly over all classes.
    pub label_smoothing: f64,
    /// The label that doesn't count, −100 unless told otherwise.
    pub ignore_index: i64,
    /// How the losses become one number.
    pub reduction: Reduction,
}

impl Default for CrossEntropyOptions {
    fn default() -> CrossEntropyOptions {
        CrossEntropyOptions {
            class_weights: None,
            label_smoothing: 0.0,
            ignore_index: -100,
            reduction: Reduction::Mean,
        }
    }
}

impl CrossEntropyOptions {
    /// All classes alike, no smoothing, −100 ignored, the mean.
    pub fn new() -> CrossEntropyOptions {
        CrossEntropyOptions::default()
    }

    /// How much each class counts, `[classes]`.
    pub fn class_weights(mut self, weights: &Tensor) -> CrossEntropyOptions {
        self.class_weights = Some(weights.clone());
        self
    }

    /// The share of each label spread evenly over all classes.
    pub fn label_smoothing(mut self, share: f64) -> CrossEntropyOptions {
        self.label_smoothing = share;
        self
    }

    /// The label that doesn't count.
    pub fn ignore_index(mut self, label: i64) -> CrossEntropyOptions {
        self.ignore_index = label;
        self
    }

    /// How the losses become one number.
    pub fn reduction(mut self, reduction: Reduction) -> CrossEntropyOptions {
        self.reduction = reduction;
        self
    }
}

impl Tensor {
    /// The mean cross-entropy of logits `[batch, classes, …]` against class indices `[batch, …]` (integers), or
    /// against probabilities in the shape of the logits (floats). A label that is no class gives `NaN`.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let logits = Tensor::from([[2.0, 0.0], [0.0, 2.0]]);
    /// let loss = logits.cross_entropy(&Tensor::from([0, 1]));
    /// assert!((loss.item()? - 0.126928).abs() < 1e-6);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, target: &Tensor) -> Tensor {
        self.cross_entropy_with(target, &CrossEntropyOptions::default())
    }

    /// The cross-entropy with class weights, smoothed labels, an ignored label or another reduction.
    #[track_caller]
    pub fn cross_entropy_with(&self, target: &Tensor, options: &CrossEntropyOptions) -> Tensor {
        let axis = check!(check_classes("cross_entropy", self, target, options));
        let logits = self.wide();
        // log p = z - log_sum, with nothing that can overflow.
        let z = &logits - logits.max_keepdim(axis).stop_gradient();
        let log_sum = z.exp().sum_keepdim(axis).ln();
        match target.dtype().is_float() {
            true => against_probabilities(&(z - log_sum), target, axis, options),
            false => against_labels(&z, Some(&log_sum), target, axis, options),
        }
    }

    /// The mean negative log-likelihood of log-probabilities `[batch, classes, …]` for class indices `[batch, …]`.
    #[track_caller]
    pub fn nll(&self, labels: &Tensor) -> Tensor {
        self.nll_with(labels, &CrossEntropyOptions::default())
    }

    /// The negative log-likelihood with class weights, an ignored label or another reduction.
    #[track_caller]
    pub fn nll_with(&self, labels: &Tensor, options: &CrossEntropyOptions) -> Tensor {
        let axis = check!(check_classes("nll", self, labels, options));
        ensure!(
            !labels.dtype().is_float(),
            DType,
            "nll",
            "class indices are integers, not {}",
            labels.dtype()
        );
        against_labels(&self.wide(), None, labels, axis, options)
    }

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

/// Loss and weight of each element, for class indices. `z` less `log_sum` are the log-probabilities.
#[track_caller]
fn against_labels(
    z: &Tensor,
    log_sum: Option<&Tensor>,
    labels: &Tensor,
    axis: isize,
    options: &CrossEntropyOptions,
) -> Tensor {
    let shape = z.shape();
    let classes = z.size(axis);
    let labels = labels.cast(kiln_ir::DType::I64).unsqueeze(axis);
    let mut along = vec![1; shape.rank()];
    along[axis as usize] = classes;
    // Comparing with the class numbers fuses into the passes over the logits; a gather wouldn't.
    let chosen = Tensor::index_along(along.clone(), axis as usize).eq(&labels);
    let picked = chosen.select(z, 0.0).sum_keepdim(axis);
    let mut loss = match log_sum {
        Some(log_sum) => log_sum - picked,
        None => -picked,
    };
    let weights = options.class_weights.as_ref().map(|weights| weights.cast(z.dtype()).reshape(along));
    let mut weight = labels.ne(options.ignore_index).cast(z.dtype());
    if let Some(weights) = &weights {
        weight = chosen.select(weights, 0.0).sum_keepdim(axis) * &weight;
        loss *= chosen.select(weights, 0.0).sum_keepdim(axis);
    }
    let smoothing = options.label_smoothing;
    if let (Some(log_sum), true) = (log_sum, smoothing > 0.0) {
        let surprise = log_sum - z;
        let spread = match &weights {
            Some(weights) => surprise * weights,
            None => surprise,
        };
        loss = loss * (1.0 - smoothing) + spread.mean_keepdim(axis) * smoothing;
    }
    let ignored = labels.eq(options.ignore_index);
    let is_class = labels.ge(0) & labels.lt(classes);
    loss = ignored.select(0.0, is_class.select(loss, f64::NAN));
    let (loss, weight) = (loss.squeeze(axis), weight.squeeze(axis));
    match options.reduction {
        Reduction::Mean => loss.sum(..) / weight.sum(..),
        Reduction::Sum => loss.sum(..),
        Reduction::None => loss,
    }
}

#[track_caller]
fn against_probabilities(
    log_p: &Tensor,
    target: &Tensor,
    axis: isize,
    options: &CrossEntropyOptions,
) -> Tensor {
    let classes = log_p.size(axis);
    let smoothing = options.label_smoothing;
    let mut target = target.wide();
    if smoothing > 0.0 {
        target = target * (1.0 - smoothing) + smoothing / classes as f64;
    }
    if let Some(weights) = &options.class_weights {
        let mut along = vec![1; log_p.rank()];
        along[axis as usize] = classes;
        target *= weights.cast(log_p.dtype()).reshape(along);
    }
    options.reduction.of(&-(target * log_p).sum(axis))
}

/// The class axis, if scores, target and options fit together.
#[track_caller]
fn check_classes(
    operation: &str,
    x: &Tensor,
    target: &Tensor,
    options: &CrossEntropyOptions,
) -> Result<isize> {
    let (shape, given) = (x.sound()?.shape(), target.sound()?.shape());
    let axis = match shape.rank() {
        0 => refuse!(Shape, operation, "the scores are a scalar; they should be [batch, classes, …]"),
        1 => 0,
        _ => 1,
    };
    let classes = shape[axis];
    let expected: Vec<usize> = match target.dtype().is_float() {
        true => shape.to_vec(),
        false => {
            shape.iter().enumerate().filter(|(other, _)| *other != axis).map(|(_, &size)| size).collect()
        }
    };
    if *given != *expected {
        let what = if target.dtype().is_float() { "probabilities" } else { "class indices" };
        refuse!(Shape, operation, "{what} {given} for scores {shape}; they should be {expected:?}");
    }
    if target.dtype() == kiln_ir::DType::Bool {
        refuse!(DType, operation, "class indices are integers, not bool; cast them");
    }
    if let Some(weights) = &options.class_weights {
        let weights = weights.sound()?.shape();
        if *weights != [classes] {
            refuse!(Shape, operation, "class weights {weights} for {classes} classes");
        }
    }
    if !(0.0..=1.0).contains(&options.label_smoothing) {
        let share = options.label_smoothing;
        refuse!(Value, operation, "a label smoothing of {share}; it must be from 0 to 1");
    }
    Ok(axis as isize)
}

/// The mean of a loss, whatever layer made the predictions.
#[track_caller]
fn mean(loss: &impl Loss, prediction: &Tensor, target: &Tensor) -> Tensor {
    reduce(&loss.each(prediction, target), None, Reduction::Mean)
}
