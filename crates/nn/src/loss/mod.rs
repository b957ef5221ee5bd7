//! Losses as things: a struct with its options for each, and what a trainer needs of one. They take logits where there
//! are any; meaning and defaults are PyTorch's, and said where they aren't.

mod classes;
mod cross_entropy;
mod ctc;
mod methods;
mod misfit;
mod numbers;
mod pairs;

pub use classes::{CrossEntropy, Dice, Focal, MultiMargin, Nll};
pub use cross_entropy::CrossEntropyOptions;
pub use ctc::{Ctc, CtcLengths};
pub use numbers::{
    BinaryCrossEntropy, Hinge, Huber, KlDivergence, LogCosh, Mae, Mse, PoissonNll, Quantile, SmoothL1,
};
pub use pairs::{contrastive, cosine_embedding, triplet_margin};

use kiln_ir::{Error, ErrorKind};

use crate::tensor::Tensor;

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

/// How wrong predictions are.
///
/// ```
/// use kiln_nn::{Tensor, loss::{CrossEntropy, Loss}};
///
/// let logits = Tensor::from([[2.0, 0.0], [0.0, 2.0]]);
/// let loss = CrossEntropy::new().of(&logits, &Tensor::from([0, 1]));
/// assert!((loss.item()? - 0.126928).abs() < 1e-6);
/// // The second example counts three times as much as the first.
/// let weighted = CrossEntropy::new().weighted(&logits, &Tensor::from([0, 0]), Some(&Tensor::from([1.0, 3.0])));
/// assert!((weighted.item()? - (0.126928 + 3.0 * 2.126928) / 4.0).abs() < 1e-5);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub trait Loss: Send + Sync {
    /// The losses one by one: of each example, or of each number in it.
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses;

    /// How they become one number.
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    /// What is wrong with these predictions for this loss, though it could be computed, and the mend: a softmax in front
    /// of a cross-entropy, class numbers for a squared error.
    fn misfit(&self, _prediction: &Tensor, _target: &Tensor) -> Option<String> {
        None
    }

    /// The loss of a batch.
    #[track_caller]
    fn of(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        self.weighted(prediction, target, None)
    }

    /// The loss of a batch whose examples count differently: a mean is `Σ weight · loss / Σ weight`.
    #[track_caller]
    fn weighted(&self, prediction: &Tensor, target: &Tensor, weights: Option<&Tensor>) -> Tensor {
        if let (None, None, Some(message)) =
            (prediction.error(), target.error(), self.misfit(prediction, target))
        {
            return Error::new(ErrorKind::Value, "loss", message).into();
        }
        let losses = self.each(prediction, target);
        reduce(&losses, weights, self.reduction())
    }
}

/// Any function of predictions and targets is a loss; it gives the losses one by one, or a single number.
impl<F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync> Loss for F {
    #[track_caller]
    fn each(&self, prediction: &Tensor, target: &Tensor) -> Losses {
        Losses::from(self(prediction, target))
    }
}

/// Losses one by one.
#[derive(Clone, Debug)]
pub struct Losses {
    /// One for each example, or for each number in it: `[batch, …]`.
    pub values: Tensor,
    /// How much each counts in a mean, besides the weight of its example; `values` have these factors already.
    pub counts: Option<Tensor>,
}

impl From<Tensor> for Losses {
    fn from(values: Tensor) -> Losses {
        Losses { values, counts: None }
    }
}

/// Losses as one number, or (with [`Reduction::None`]) one by one. Weights are for examples, `[batch]`.
#[track_caller]
pub fn reduce(losses: &Losses, weights: Option<&Tensor>, reduction: Reduction) -> Tensor {
    let Losses { values, counts } = losses;
    let weights = match weights {
        Some(weights) => {
            let shape = values.shape();
            let fits = shape.rank() > 0 && weights.error().is_none() && *weights.shape() == [shape[0]];
            if values.error().is_none() && weights.error().is_none() && !fits {
                let message = format!("weights {} for losses {shape}; one for each example", weights.shape());
                return Error::new(ErrorKind::Shape, "loss", message).into();
            }
            let mut sizes = vec![1isize; shape.rank().max(1)];
            sizes[0] = -1;
            Some(weights.cast(values.dtype()).reshape(sizes))
        }
        None => None,
    };
    let weighed = weights.as_ref().map_or(values.clone(), |weights| values * weights);
    match (reduction, counts, weights) {
        (Reduction::None, ..) => weighed,
        (Reduction::Sum, ..) => weighed.sum(..),
        (Reduction::Mean, None, None) => values.mean(..),
        (Reduction::Mean, Some(counts), None) => values.sum(..) / counts.sum(..),
        (Reduction::Mean, Some(counts), Some(weights)) => weighed.sum(..) / (counts * weights).sum(..),
        (Reduction::Mean, None, Some(weights)) => {
            let ones = Tensor::ones(values.shape()).cast(values.dtype());
            weighed.sum(..) / (ones * weights).sum(..)
        }
    }
}

/// The losses' weighted sum and the sum of their weights, from which the mean over many batches is exact however they
/// are cut. Of a loss that is one number for the batch, that many times the rows.
#[track_caller]
pub fn total(losses: &Losses, weights: Option<&Tensor>, rows: usize) -> [Tensor; 2] {
    let Losses { values, counts } = losses;
    if values.rank() == 0 {
        let rows = rows as f64;
        return [values * rows, values.full_like(rows)];
    }
    let sum = reduce(losses, weights, Reduction::Sum);
    let ones = counts.clone().unwrap_or_else(|| values.full_like(1.0));
    let counted = Losses { values: ones, counts: None };
    [sum, reduce(&counted, weights, Reduction::Sum)]
}

/// Gives a loss the builder of its reduction.
macro_rules! reduced {
    ($($loss:ident)*) => {$(
        impl $loss {
            /// How the losses become one number; the mean unless told otherwise.
            pub fn reduction(mut self, reduction: Reduction) -> $loss {
                self.reduction = reduction;
                self
            }
        }
    )*};
}
use reduced;

/// Poisons losses whose predictions and targets differ in shape: `[n]` against `[n, 1]` would compare every pair.
#[track_caller]
fn same_shape(operation: &str, prediction: &Tensor, target: &Tensor) -> Option<Losses> {
    let poisoned = |error: &Error| Some(Losses::from(Tensor::from(error.clone())));
    if let Some(error) = prediction.error().or(target.error()) {
        return poisoned(&error);
    }
    let (shape, given) = (prediction.shape(), target.shape());
    if shape == given {
        return None;
    }
    let message = format!("predictions {shape} and targets {given} differ; reshape one of them");
    poisoned(&Error::new(ErrorKind::Shape, operation, message))
}
