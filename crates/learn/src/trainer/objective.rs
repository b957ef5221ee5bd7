//! What a training lowers and shows: losses by name, of which the sum is lowered, and outputs by name, which metrics look at.

use kiln_nn::loss::{Losses, Reduction, reduce, total};
use kiln_nn::{DType, Error, ErrorKind, Result, Tensor};

use super::rows::{RowLayout, Rows};

/// What a training lowers, from a closure of [`Trainer::of`](super::Trainer::of): the sum of its losses, each times its weight. A tensor is
/// one of one loss.
///
/// ```
/// use kiln::prelude::*;
/// use kiln::loss::Mae;
/// use kiln::trainer::Objective;
///
/// # let (logits, years) = (Tensor::zeros([2, 3]), Tensor::zeros([2, 1]));
/// # let (kind, age) = (Tensor::from([0, 1]), Tensor::from([[30.0], [40.0]]));
/// let objective = Objective::new()
///     .loss("kind", 1.0, CrossEntropy::new().each(&logits, &kind))
///     .loss("age", 0.1, Mae::new().each(&years, &age))
///     .output("kind", &logits, "y")
///     .output("age", &years, "age");
/// # let _ = objective;
/// ```
#[derive(Debug, Default)]
pub struct Objective {
    losses: Vec<NamedLoss>,
    outputs: Vec<NamedOutput>,
}

#[derive(Debug)]
struct NamedLoss {
    name: String,
    weight: f64,
    losses: Losses,
    reduction: Reduction,
}

#[derive(Debug)]
struct NamedOutput {
    name: String,
    value: Tensor,
    target: String,
}

impl Objective {
    /// No losses and no outputs yet.
    pub fn new() -> Objective {
        Objective::default()
    }

    /// Adds `weight` times the mean of these losses, one for each row or number ([`Loss::each`](kiln_nn::loss::Loss::each)) or a single one
    /// of the batch. Weights of rows are applied to it; only a single one that a step of one's own shows stays as it is. Its own numbers are called `name.loss` where there are several.
    pub fn loss(self, name: &str, weight: f64, losses: impl Into<Losses>) -> Objective {
        self.reduced(name, weight, losses.into(), Reduction::Mean)
    }

    pub(super) fn reduced(
        mut self,
        name: &str,
        weight: f64,
        losses: Losses,
        reduction: Reduction,
    ) -> Objective {
        self.losses.push(NamedLoss { name: name.to_string(), weight, losses, reduction });
        self
    }

    /// Shows `[rows, …]` outputs to metrics, beside the targets of this name (`y`, or one that is further there).
    pub fn output(mut self, name: &str, value: &Tensor, target: &str) -> Objective {
        self.outputs.push(NamedOutput {
            name: name.to_string(),
            value: value.clone(),
            target: target.to_string(),
        });
        self
    }

    /// The losses of a training step: what is lowered, and if they are wanted each of them.
    pub(super) fn lowered(&self, rows: &Rows, each: bool) -> Vec<Tensor> {
        self.reduced_to(each, |_| rows.weights())
    }

    /// As [`Objective::lowered`], of a step of one's own, which has lowered something already: a loss that is one number is shown as it is.
    pub(super) fn shown_by_step(&self, rows: &Rows, each: bool) -> Vec<Tensor> {
        self.reduced_to(each, |losses| rows.weights().filter(|_| losses.values.rank() > 0))
    }

    fn reduced_to<'w>(&self, each: bool, weights: impl Fn(&Losses) -> Option<&'w Tensor>) -> Vec<Tensor> {
        let mean = |part: &NamedLoss| reduce(&part.losses, weights(&part.losses), part.reduction).mean(..);
        let means: Vec<Tensor> = self.losses.iter().map(mean).collect();
        let weighed = means.iter().zip(&self.losses).map(|(mean, part)| match part.weight {
            1.0 => mean.clone(),
            weight => mean * weight,
        });
        let missing = || refusal("there is no loss to lower").into();
        let sum = weighed.reduce(|sum, loss| sum + loss).unwrap_or_else(missing);
        std::iter::once(sum).chain(means.into_iter().filter(|_| each)).collect()
    }

    /// For each loss its sum over the rows, and how much that counts.
    pub(super) fn totals(&self, rows: &Rows) -> Vec<Tensor> {
        self.losses.iter().flat_map(|part| total(&part.losses, rows.weights(), rows.count())).collect()
    }

    /// Outputs as numbers.
    pub(super) fn outputs(&self, which: &[usize]) -> Vec<Tensor> {
        which
            .iter()
            .map(|&which| match self.outputs.get(which) {
                Some(output) => output.value.cast(DType::F32),
                None => refusal(format!("there is no output in place {which}")).into(),
            })
            .collect()
    }

    /// What it shows, by name.
    ///
    /// # Errors
    /// The first that a loss or output carries; where a name is there twice, or an output's target isn't there.
    pub(super) fn shown(&self, layout: &RowLayout) -> Result<Shown> {
        let refuse = |message: String| Err(refusal(message));
        let tensors = self.losses.iter().map(|part| &part.losses.values);
        for tensor in tensors.chain(self.outputs.iter().map(|output| &output.value)) {
            if let Some(error) = tensor.error() {
                return Err(error);
            }
        }
        let mut shown = Shown::default();
        for NamedLoss { name, weight, .. } in &self.losses {
            if shown.losses.iter().any(|(known, _)| known == name) {
                return refuse(format!("two losses are called {name}"));
            }
            shown.losses.push((name.clone(), *weight));
        }
        for NamedOutput { name, value, target } in &self.outputs {
            if shown.outputs.iter().any(|output| output.name == *name) {
                return refuse(format!("two outputs are called {name}"));
            }
            let place = match layout.place(target) {
                Ok(place) => place,
                Err(message) => return refuse(format!("the target of output {name}: {message}")),
            };
            let sizes = value.shape().sizes().to_vec();
            shown.outputs.push(ShownOutput { name: name.clone(), target: place, sizes });
        }
        Ok(shown)
    }
}

fn refusal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Value, "objective", message.into()).nowhere()
}

impl From<Losses> for Objective {
    fn from(losses: Losses) -> Objective {
        Objective::new().loss("loss", 1.0, losses)
    }
}

impl From<Tensor> for Objective {
    fn from(loss: Tensor) -> Objective {
        Losses::from(loss).into()
    }
}

/// What an objective shows: the names of its losses with their weights, and its outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shown {
    pub(super) losses: Vec<(String, f64)>,
    pub(super) outputs: Vec<ShownOutput>,
}

/// An output's name, the place of its targets, and the sizes it had.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShownOutput {
    pub(super) name: String,
    pub(super) target: usize,
    pub(super) sizes: Vec<usize>,
}

impl Shown {
    /// Whether it shows the losses and outputs that another one did: numbers are known by their places.
    ///
    /// # Errors
    /// Where it doesn't, with the names of both.
    pub(super) fn same_as(&self, known: &Shown) -> Result<()> {
        let losses = |shown: &Shown| Vec::from_iter(shown.losses.iter().map(|(name, _)| name.clone()));
        let (before, now) = (losses(known), losses(self));
        if before != now {
            return Err(refusal(format!(
                "its losses are {} for these rows, and were {} for others; it shows the same ones for any rows",
                listed(&now),
                listed(&before)
            )));
        }
        let (before, now) = (known.output_names(), self.output_names());
        match before == now {
            true => Ok(()),
            false => Err(refusal(format!(
                "its outputs are {} for these rows, and were {} for others; it shows the same ones for any rows",
                listed(&now),
                listed(&before)
            ))),
        }
    }

    /// Whether metrics look at the same outputs in training, which this is of, and in evaluation. Losses may be others: some are lowered
    /// that nobody evaluates.
    ///
    /// # Errors
    /// Where they don't, with the names of both.
    pub(super) fn evaluated_as(&self, evaluated: &Shown) -> Result<()> {
        let (here, there) = (self.output_names(), evaluated.output_names());
        match here == there {
            true => Ok(()),
            false => Err(refusal(format!(
                "its outputs are {} in training and {} in evaluation; name the same ones in both (Objective::output)",
                listed(&here),
                listed(&there)
            ))),
        }
    }

    fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|output| output.name.clone()).collect()
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}
