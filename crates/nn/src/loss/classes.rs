//! Losses of classes: scores for each class, and which one is right.

use kiln_ir::DType;

use super::misfit::{Last, last};
use super::{CrossEntropyOptions, Loss, Losses, Reduction, reduced, same_shape};
use crate::tensor::Tensor;

/// The cross-entropy of logits `[batch, classes, …]`, against class indices `[batch, …]` (integers) or probabilities (floats).
#[derive(Clone, Default)]
pub struct CrossEntropy {
    options: CrossEntropyOptions,
    accept_any_output: bool,
}

impl std::fmt::Debug for CrossEntropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CrossEntropyOptions { label_smoothing, ignore_index, .. } = self.options;
        write!(f, "CrossEntropy {{ label_smoothing: {label_smoothing}, ignore_index: {ignore_index} }}")
    }
}

impl CrossEntropy {
    /// All classes alike, no smoothing, −100 ignored, the mean.
    pub fn new() -> CrossEntropy {
        CrossEntropy::default()
    }

    /// How much each class counts, `[classes]`.
    pub fn class_weights(mut self, weights: &Tensor) -> CrossEntropy {
        self.options = self.options.class_weights(weights);
        self
    }

    /// The share of each label spread evenly over all classes.
    pub fn label_smoothing(mut self, share: f64) -> CrossEntropy {
        self.options = self.options.label_smoothing(share);
        self
    }

    /// The label that doesn't count.
    pub fn ignore_index(mut self, label: i64) -> CrossEntropy {
        self.options = self.options.ignore_index(label);
        self
    }

    /// How the losses become one number.
    pub fn reduction(mut self, reduction: Reduction) -> CrossEntropy {
        self.options = self.options.reduction(reduction);
        self
    }

    /// Takes predictions that went through a softmax or sigmoid as logits all the same.
    pub fn accept_any_output(mut self) -> CrossEntropy {
        self.accept_any_output = true;
        self
    }
}

/// How much each label counts in a mean: its class' weight, nothing if it is ignored.
#[track_caller]
fn counts(prediction: &Tensor, target: &Tensor, options: &CrossEntropyOptions) -> Option<Tensor> {
    if target.dtype().is_float() || target.error().is_some() || prediction.error().is_some() {
        return None;
    }
    let dtype = prediction.wide().dtype();
    let labels = target.cast(DType::I64);
    let counted = labels.ne(options.ignore_index).cast(dtype);
    Some(match &options.class_weights {
        None => counted,
        Some(weights) => {
            let weights = weights.cast(dtype);
            let known = labels.clamp(0, weights.elements().saturating_sub(1) as i64);
            let shape = labels.shape();
            weights.index_select(0, &known.flatten(..)).reshape(shape) * counted
        }
    })
}

impl Loss for CrossEntropy {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        let options = self.options.clone().reduction(Reduction::None);
        let values = prediction.cross_entropy_with(target, &options);
        let plain = options.class_weights.is_none();
        // Without weights and ignored labels the plain mean is the same and cheaper; labels are known only at run time.
        let counts =
            if plain && target.dtype().is_float() { None } else { counts(prediction, target, &options) };
        Losses { values, counts }
    }

    fn reduction(&self) -> Reduction {
        self.options.reduction
    }

    fn misfit(&self, prediction: &Tensor, _: &Tensor) -> Option<String> {
        if prediction.rank() > 1 && prediction.size(1) == 1 && !self.accept_any_output {
            let mend = "give the model an output for each class, or use binary cross-entropy";
            return Some(format!("cross-entropy: with a single output there is a single class; {mend}"));
        }
        let last = last(prediction);
        (last != Last::Other && !self.accept_any_output).then(|| {
            let name = last.name();
            format!("cross-entropy: the outputs went through a {name} already; leave it out, cross-entropy takes logits")
        })
    }
}

/// The negative log-likelihood of log-probabilities `[batch, classes, …]` for class indices `[batch, …]`.
#[derive(Clone, Default)]
pub struct Nll {
    options: CrossEntropyOptions,
}

impl Nll {
    /// All classes alike, −100 ignored, the mean.
    pub fn new() -> Nll {
        Nll::default()
    }

    /// How much each class counts, `[classes]`.
    pub fn class_weights(mut self, weights: &Tensor) -> Nll {
        self.options = self.options.class_weights(weights);
        self
    }

    /// The label that doesn't count.
    pub fn ignore_index(mut self, label: i64) -> Nll {
        self.options = self.options.ignore_index(label);
        self
    }

    /// How the losses become one number.
    pub fn reduction(mut self, reduction: Reduction) -> Nll {
        self.options = self.options.reduction(reduction);
        self
    }
}

impl Loss for Nll {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        let options = self.options.clone().reduction(Reduction::None);
        let values = prediction.nll_with(target, &options);
        Losses { values, counts: counts(prediction, target, &options) }
    }

    fn reduction(&self) -> Reduction {
        self.options.reduction
    }

    fn misfit(&self, prediction: &Tensor, _: &Tensor) -> Option<String> {
        matches!(last(prediction), Last::Softmax | Last::Sigmoid).then(|| {
            "NLL: the predictions are probabilities; it takes their logarithms: use log_softmax, or a cross-entropy of logits"
                .to_string()
        })
    }
}

/// How far every other class comes within a margin of the right one: scores `[batch, classes]`, class indices `[batch]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiMargin {
    /// The margin, 1 unless told otherwise.
    pub margin: f64,
    /// The power of what is missing to it: 1 or 2.
    pub power: f64,
    reduction: Reduction,
}

reduced!(MultiMargin);

impl Default for MultiMargin {
    fn default() -> MultiMargin {
        MultiMargin { margin: 1.0, power: 1.0, reduction: Reduction::Mean }
    }
}

impl MultiMargin {
    /// A margin of 1, linear.
    pub fn new() -> MultiMargin {
        MultiMargin::default()
    }

    /// Another margin.
    pub fn margin(mut self, margin: f64) -> MultiMargin {
        self.margin = margin;
        self
    }

    /// The power of what is missing to the margin.
    pub fn power(mut self, power: f64) -> MultiMargin {
        self.power = power;
        self
    }
}

impl Loss for MultiMargin {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        let scores = prediction.wide();
        let classes = scores.shape().last().copied().unwrap_or(0);
        let chosen = target.one_hot(classes).cast(DType::Bool);
        let right = chosen.select(&scores, 0.0).sum_keepdim(-1);
        let missing = (self.margin - right + scores).relu();
        let missing = if self.power == 1.0 { missing } else { missing.pow(self.power) };
        Losses::from(chosen.select(0.0, missing).sum(-1) / classes.max(1))
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }
}

/// The cross-entropy with what is right already counted less: `(1 − p)^gamma`. Of logits `[batch, classes, …]` against class
/// indices, or of logits against targets 0 and 1 in the same shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Focal {
    /// How much less; 2 unless told otherwise, 0 is the plain cross-entropy.
    pub gamma: f64,
    /// What positive targets count (negative ones the rest to 1); 0.25 for binary targets unless told otherwise, none for classes.
    pub alpha: Option<f64>,
    reduction: Reduction,
}

reduced!(Focal);

impl Default for Focal {
    fn default() -> Focal {
        Focal { gamma: 2.0, alpha: Some(0.25), reduction: Reduction::Mean }
    }
}

impl Focal {
    /// `gamma` 2, `alpha` 0.25.
    pub fn new() -> Focal {
        Focal::default()
    }

    /// How much less what is right counts.
    pub fn gamma(mut self, gamma: f64) -> Focal {
        self.gamma = gamma;
        self
    }

    /// What positive targets count, or nothing of the kind.
    pub fn alpha(mut self, alpha: Option<f64>) -> Focal {
        self.alpha = alpha;
        self
    }
}

impl Loss for Focal {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        let classes = !target.dtype().is_float() && target.rank() + 1 == prediction.rank();
        if classes {
            let surprise = CrossEntropy::new().reduction(Reduction::None).of(prediction, target);
            let wrong = -(-&surprise).exp_m1();
            return Losses::from(surprise * wrong.pow(self.gamma));
        }
        if let Some(poisoned) = same_shape("focal", prediction, target) {
            return poisoned;
        }
        let (x, t) = (prediction.wide(), target.wide());
        let surprise = x.softplus() - &x * &t;
        let p = x.sigmoid();
        let wrong = &p * (1.0 - &t) + (1.0 - &p) * &t;
        let loss = surprise * wrong.pow(self.gamma);
        Losses::from(match self.alpha {
            Some(alpha) => loss * (&t * alpha + (1.0 - &t) * (1.0 - alpha)),
            None => loss,
        })
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn misfit(&self, prediction: &Tensor, target: &Tensor) -> Option<String> {
        CrossEntropy::new()
            .misfit(prediction, target)
            .map(|message| message.replace("cross-entropy", "focal loss"))
    }
}

/// One less the overlap of predicted and true masks, of logits against targets from 0 to 1 in the same shape; one for each example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dice {
    /// Added above and below, so that two empty masks overlap wholly; 1 unless told otherwise.
    pub smooth: f64,
    reduction: Reduction,
}

reduced!(Dice);

impl Default for Dice {
    fn default() -> Dice {
        Dice { smooth: 1.0, reduction: Reduction::Mean }
    }
}

impl Dice {
    /// Smoothed by 1.
    pub fn new() -> Dice {
        Dice::default()
    }

    /// What is added above and below.
    pub fn smooth(mut self, smooth: f64) -> Dice {
        self.smooth = smooth;
        self
    }
}

impl Loss for Dice {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        if let Some(poisoned) = same_shape("dice", prediction, target) {
            return poisoned;
        }
        let (p, t) = (prediction.wide().sigmoid().flatten(1..), target.wide().flatten(1..));
        let both = (&p * &t).sum(-1) * 2.0 + self.smooth;
        Losses::from(1.0 - both / (p.sum(-1) + t.sum(-1) + self.smooth))
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn misfit(&self, prediction: &Tensor, _: &Tensor) -> Option<String> {
        let last = last(prediction);
        (last != Last::Other).then(|| {
            format!(
                "dice: the outputs went through a {} already; leave it out, this loss takes logits",
                last.name()
            )
        })
    }
}
