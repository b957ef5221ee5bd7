//! Figures of predicted numbers, from running means and sums of squares that merge without loss of precision.

use kiln_ir::{Error, ErrorKind, Result};

/// Predicted numbers beside true ones.
///
/// ```
/// use kiln_nn::metrics::Numbers;
///
/// let mut numbers = Numbers::default();
/// numbers.add(&[3.0, 5.0, 2.5, 7.0], &[2.5, 5.0, 4.0, 8.0])?;
/// assert_eq!(numbers.mae(), 0.75);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    count: f64,
    squares: f64,
    sizes: f64,
    shares: f64,
    /// Means of truth, prediction and error, and sums of squares around them.
    means: [f64; 3],
    spreads: [f64; 3],
    /// The sum of products of truth and prediction, both less their means.
    together: f64,
}

impl Numbers {
    /// Takes a batch.
    ///
    /// # Errors
    /// Where the lengths differ.
    pub fn add(&mut self, predicted: &[f64], truth: &[f64]) -> Result<()> {
        if predicted.len() != truth.len() {
            let message = format!("{} targets for {} predictions", truth.len(), predicted.len());
            return Err(Error::new(ErrorKind::Shape, "metrics", message).nowhere());
        }
        for (&predicted, &truth) in predicted.iter().zip(truth) {
            let error = truth - predicted;
            self.merge(&Numbers {
                count: 1.0,
                squares: error * error,
                sizes: error.abs(),
                shares: error.abs() / truth.abs().max(f64::EPSILON),
                means: [truth, predicted, error],
                spreads: [0.0; 3],
                together: 0.0,
            });
        }
        Ok(())
    }

    pub(super) fn state(&self, state: &mut Vec<f64>) {
        state.extend([self.count, self.squares, self.sizes, self.shares, self.together]);
        state.extend(self.means.iter().chain(&self.spreads));
    }

    pub(super) fn restored(state: &[f64]) -> Option<Numbers> {
        let &[count, squares, sizes, shares, together, a, b, c, d, e, f] = state else { return None };
        Some(Numbers { count, squares, sizes, shares, together, means: [a, b, c], spreads: [d, e, f] })
    }

    /// Joins another's (Chan's formulas).
    pub fn merge(&mut self, other: &Numbers) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let between = self.count * other.count / count;
        let apart: [f64; 3] = std::array::from_fn(|i| other.means[i] - self.means[i]);
        self.together += other.together + apart[0] * apart[1] * between;
        for i in 0..3 {
            self.spreads[i] += other.spreads[i] + apart[i] * apart[i] * between;
            self.means[i] += apart[i] * other.count / count;
        }
        self.squares += other.squares;
        self.sizes += other.sizes;
        self.shares += other.shares;
        self.count = count;
    }

    /// The mean squared error; `NaN` without numbers, as all figures here.
    pub fn mse(&self) -> f64 {
        self.squares / self.count
    }

    /// Its root.
    pub fn rmse(&self) -> f64 {
        self.mse().sqrt()
    }

    /// The mean absolute error.
    pub fn mae(&self) -> f64 {
        self.sizes / self.count
    }

    /// The mean absolute error as a share of the truth.
    pub fn mape(&self) -> f64 {
        self.shares / self.count
    }

    /// The share of the spread that is explained: 1 where there is none and nothing is wrong, 0 where there is none and
    /// something is.
    fn explained(&self, left: f64) -> f64 {
        match (self.count == 0.0, self.spreads[0] == 0.0) {
            (true, _) => f64::NAN,
            (_, true) => f64::from(u8::from(left == 0.0)),
            _ => 1.0 - left / self.spreads[0],
        }
    }

    /// R², the share of the truth's variance that the predictions explain.
    pub fn r2(&self) -> f64 {
        self.explained(self.squares)
    }

    /// The same, but for a constant error.
    pub fn explained_variance(&self) -> f64 {
        self.explained(self.spreads[2])
    }

    /// Pearson's correlation of predictions and truth; `NaN` where one of them doesn't vary.
    pub fn pearson(&self) -> f64 {
        self.together / (self.spreads[0] * self.spreads[1]).sqrt()
    }
}
