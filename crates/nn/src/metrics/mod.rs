//! Metrics on the host, batch by batch: figures are exact however the batches are cut, and merge across workers. A figure of
//! nothing is `NaN`; edge cases are scikit-learn's.
//!
//! [`Confusion`], [`BinaryScores`], [`ClassScores`] and [`Numbers`] gather, and have a method for each figure. A [`Metric`] is one
//! figure from a model's outputs: anybody's who implements it, and those of the field by name as a [`Figure`].

mod confusion;
mod entities;
mod figure;
mod history;
mod numbers;
mod scores;

pub use confusion::{Average, Confusion};
pub use entities::{Entity, EntityCounts, EntityScores, are_of_entities, entities};
pub use figure::Figure;
pub use history::History;
pub use numbers::Numbers;
pub use scores::{BinaryScores, ClassScores};

use std::fmt;

pub use kiln_ir::{Error, Result};

/// A batch as a metric sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the model gives, `[batch, width]`: logits, or predicted numbers.
    pub outputs: &'a [f32],
    /// How many outputs an example has. One logit is that of the positive class.
    pub width: usize,
    /// What would have been right.
    pub targets: Targets<'a>,
}

/// What would have been right.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// A class for each example.
    Classes(&'a [i64]),
    /// A number for each output.
    Numbers(&'a [f32]),
}

/// What a metric's targets must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// One class for each example.
    Classes,
    /// A number for each output.
    Numbers,
    /// What the data have.
    Either,
}

/// One figure of a model's outputs, gathered batch by batch.
///
/// ```
/// use kiln_nn::metrics::{Metric, Result, Seen, Targets};
///
/// /// The share of predictions within a tenth of the truth.
/// #[derive(Clone, Default)]
/// struct Close { within: f64, all: f64 }
///
/// impl Metric for Close {
///     fn name(&self) -> &str { "close" }
///     fn larger_is_better(&self) -> bool { true }
///     fn update(&mut self, seen: &Seen) -> Result<()> {
///         if let Targets::Numbers(truth) = seen.targets {
///             let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.1 * b.abs();
///             self.within += seen.outputs.iter().zip(truth).filter(|pair| near(*pair)).count() as f64;
///             self.all += truth.len() as f64;
///         }
///         Ok(())
///     }
///     fn value(&self) -> f64 { self.within / self.all }
///     fn state(&self) -> Vec<f64> { vec![self.within, self.all] }
///     fn restore(&mut self, state: &[f64]) -> Result<()> {
///         let [within, all] = state.try_into().unwrap_or_default();
///         (self.within, self.all) = (within, all);
///         Ok(())
///     }
/// }
///
/// let mut close = Close::default();
/// close.update(&Seen { outputs: &[1.05, 3.0], width: 1, targets: Targets::Numbers(&[1.0, 2.0]) })?;
/// assert_eq!(close.value(), 0.5);
/// close.reset();
/// assert!(close.value().is_nan());
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub trait Metric: CloneMetric + Send + Sync {
    /// What its numbers are called in logs, histories and monitors.
    fn name(&self) -> &str;

    /// Whether more is better.
    fn larger_is_better(&self) -> bool;

    /// Takes a batch.
    ///
    /// # Errors
    /// Where it can't be taken.
    fn update(&mut self, seen: &Seen) -> Result<()>;

    /// The figure of all that was seen; `NaN` of nothing.
    fn value(&self) -> f64;

    /// All that was seen, as numbers for a checkpoint.
    fn state(&self) -> Vec<f64>;

    /// Goes on from what [`Metric::state`] gave; from nothing where there are no numbers.
    ///
    /// # Errors
    /// Where these aren't numbers that it gives.
    fn restore(&mut self, state: &[f64]) -> Result<()>;

    /// What its targets must be.
    fn needs(&self) -> Needs {
        Needs::Either
    }

    /// Forgets what was seen.
    fn reset(&mut self) {
        // Nothing can be wrong with no numbers.
        let _ = self.restore(&[]);
    }
}

/// What makes a `Box<dyn Metric>` of any metric that is `Clone`.
pub trait CloneMetric {
    /// A copy of it, with what it has seen.
    fn boxed(&self) -> Box<dyn Metric>;
}

impl<M: Metric + Clone + 'static> CloneMetric for M {
    fn boxed(&self) -> Box<dyn Metric> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Metric> {
    fn clone(&self) -> Box<dyn Metric> {
        (**self).boxed()
    }
}

impl fmt::Debug for dyn Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.4}", self.name(), self.value())
    }
}
