//! The cross-entropy of logits and the negative log-likelihood of log-probabilities. Logits need no guard against the logarithm of 0: it
//! is computed where that can't occur. The class axis is 1 (0 for a single row).

use kiln_ir::Result;

use super::Reduction;
use crate::tensor::Tensor;

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
pub(super) fn check_classes(
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
