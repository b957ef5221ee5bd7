//! Several rows from the same input whose results are averaged, each with a weight that the model keeps: models that were trained apart, as one.

use kiln_ir::{Data, Error, ErrorKind, Result};

use super::{Kind, Sequential};
use crate::module::{Context, Lengths, unpadded};
use crate::tensor::Tensor;
use crate::variable::Variable;

/// What is averaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Blended {
    /// What comes out, as it is.
    #[default]
    Numbers,
    /// The probabilities of classes, whose scores stand on axis 1; what comes out are their logarithms, which are scores again. A
    /// single score tells two classes apart.
    Classes,
    /// Both, side by side on axis 1: each target has so many outputs, a number one and classes more.
    Targets(Vec<usize>),
}

/// Rows and their weights.
pub(super) struct Blend {
    pub(super) rows: Vec<Sequential>,
    pub(super) of: Blended,
    /// `[rows]`, of sum 1.
    pub(super) weights: Result<Variable>,
}

impl Blend {
    /// In equal parts.
    pub(super) fn new(rows: Vec<Sequential>, of: Blended) -> Blend {
        let weights = vec![1.0; rows.len()];
        Blend::weighted(rows, &weights, of)
    }

    fn weighted(rows: Vec<Sequential>, weights: &[f64], of: Blended) -> Blend {
        let weights = shares(rows.len(), weights);
        let count = rows.len();
        let weights = weights.and_then(|shares| Variable::new("", Data::F32(shares), [count]));
        Blend { rows, of, weights }
    }

    /// The mean of what the rows gave.
    #[track_caller]
    pub(super) fn mean(&self, results: &[Tensor], context: &Context) -> Tensor {
        let weights = context.value(check!(self.weights.as_ref().map_err(Error::clone)));
        let Some(first) = results.first() else {
            return Error::new(ErrorKind::Shape, "blend", "there is nothing to average".to_string()).into();
        };
        let shape = check!(first.sound()).shape();
        for other in results {
            let own = check!(other.sound()).shape();
            if own != shape {
                let message = format!("a row gives {own} and the first {shape}; they must give the same");
                return Error::new(ErrorKind::Shape, "blend", message).into();
            }
        }
        if shape.rank() < 2 && self.of != Blended::Numbers {
            let message = format!("classes stand on axis 1, and {shape} has none");
            return Error::new(ErrorKind::Shape, "blend", message).into();
        }
        let are_steps = |lengths: Lengths| lengths.are_of(first) && lengths.time().axis == 1;
        if self.of != Blended::Numbers && context.lengths().is_some_and(are_steps) {
            let message =
                "classes that are blended stand on axis 1, and steps do here; write transpose before";
            return unpadded(message.to_string()).into();
        }
        let each = Tensor::stack(results, 0);
        let along: Vec<usize> =
            (0..each.rank()).map(|axis| if axis == 0 { results.len() } else { 1 }).collect();
        let weights = weights.cast(each.dtype()).reshape(along);
        match &self.of {
            Blended::Numbers => numbers(&each, &weights),
            Blended::Classes => classes(&each, &weights),
            Blended::Targets(sizes) => {
                let all = sizes.iter().try_fold(0usize, |all, &size| all.checked_add(size));
                if all != Some(shape[1]) {
                    let message = format!("targets {sizes:?} aren't the outputs of {shape}");
                    return Error::new(ErrorKind::Shape, "blend", message).into();
                }
                let starts = sizes.iter().scan(0, |end, size| {
                    *end += size;
                    Some(*end - size)
                });
                let one = |(start, &size): (usize, &usize)| {
                    let own = each.narrow(2, start, size);
                    if size == 1 { numbers(&own, &weights) } else { classes(&own, &weights) }
                };
                Tensor::concat(&starts.zip(sizes).map(one).collect::<Vec<_>>(), 1)
            }
        }
    }
}

/// Weights as shares of one.
fn shares(rows: usize, weights: &[f64]) -> Result<Vec<f32>> {
    let sum: f64 = weights.iter().sum();
    let sound = |weight: &f64| *weight >= 0.0 && weight.is_finite();
    if rows != weights.len() || !weights.iter().all(sound) || !(sum > 0.0 && sum.is_finite()) {
        let message =
            format!("{rows} rows can't have the weights {weights:?}: one each, none below 0, not all 0");
        return Err(Error::new(ErrorKind::Value, "blend", message).nowhere());
    }
    Ok(weights.iter().map(|weight| (weight / sum) as f32).collect())
}

/// The mean over axis 0.
#[track_caller]
fn numbers(each: &Tensor, weights: &Tensor) -> Tensor {
    (each * weights).sum(0)
}

/// Scores of the mean of probabilities over axis 0. In logarithms, for where all rows are sure a probability is less than a float can say.
#[track_caller]
fn classes(each: &Tensor, weights: &Tensor) -> Tensor {
    let mean = |logarithms: Tensor| (logarithms + weights.ln()).logsumexp(0);
    match each.shape().get(2) {
        Some(1) => mean(each.log_sigmoid()) - mean((-each).log_sigmoid()),
        _ => mean(each.log_softmax(2)),
    }
}

impl Sequential {
    /// Several rows from the same input, and the mean of what they give, weighted; see [`Blended`] for what it is of.
    ///
    /// ```
    /// use kiln_nn::sequential::Blended;
    /// use kiln_nn::{Context, Layer, Sequential, Tensor};
    ///
    /// let sure = Sequential::new().lambda("sure", |x| x * 0.0 + Tensor::from([0.0f32, 100.0]));
    /// let open = Sequential::new().lambda("open", |x| x * 0.0);
    /// let both = Sequential::new().blend([sure, open], &[3.0, 1.0], Blended::Classes);
    /// let y = both.forward(&Tensor::zeros([1, 2]), &Context::inference()).softmax(1).to_vec::<f32>()?;
    /// assert!((y[1] - (0.75 + 0.125)).abs() < 1e-6, "{y:?}");
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    pub fn blend(
        self,
        rows: impl IntoIterator<Item = Sequential>,
        weights: &[f64],
        of: Blended,
    ) -> Sequential {
        self.add(Kind::Blend(Blend::weighted(rows.into_iter().collect(), weights, of)))
    }
}

impl Blended {
    /// What stands behind the bracket in a text.
    pub(super) fn text(&self) -> String {
        match self {
            Blended::Numbers => String::new(),
            Blended::Classes => " classes".to_string(),
            Blended::Targets(sizes) => {
                sizes.iter().fold(" targets".to_string(), |text, size| format!("{text} {size}"))
            }
        }
    }
}
