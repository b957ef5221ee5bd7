//! Losses of linear scores and their slopes, summed over rows in an order that no number of threads changes.

use super::rows::{Design, TargetRows, by_threads};
use super::solve::dot;
use crate::Result;

/// What scores mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Likelihood {
    /// A number; half the squared error.
    Number,
    /// The logarithm of how much likelier the second of two classes is.
    Two,
    /// Logits of so many classes.
    Classes(usize),
    /// The logarithm of a count's mean.
    Count,
    /// A quantile, smooth within so much of it.
    Quantile { quantile: f64, width: f64 },
}

impl Likelihood {
    /// How many scores a row has.
    pub fn scores(self) -> usize {
        match self {
            Likelihood::Classes(count) => count,
            Likelihood::Number | Likelihood::Two | Likelihood::Count | Likelihood::Quantile { .. } => 1,
        }
    }

    /// The loss of a row, whose scores become their slopes.
    pub fn loss(self, scores: &mut [f64], target: f64) -> f64 {
        let z = scores.first().copied().unwrap_or(0.0);
        let (loss, slope) = match self {
            Likelihood::Classes(_) => return softmax(scores, target),
            Likelihood::Number => (0.5 * (z - target) * (z - target), z - target),
            Likelihood::Two => {
                // ln(1 + e^z), of a z of any size.
                let softplus = z.max(0.0) + libm::log1p(libm::exp(-z.abs()));
                (softplus - target * z, 1.0 / (1.0 + libm::exp(-z)) - target)
            }
            Likelihood::Count => {
                let mean = libm::exp(z);
                (mean - target * z, mean - target)
            }
            Likelihood::Quantile { quantile, width } => pinball(target - z, quantile, width),
        };
        scores.iter_mut().for_each(|score| *score = slope);
        loss
    }

    /// How much a loss bends at most, or in the mean of these targets.
    pub fn curvature(self, mean: f64) -> f64 {
        match self {
            Likelihood::Number => 1.0,
            Likelihood::Two => 0.25,
            Likelihood::Classes(count) => (1.0 - 1.0 / count as f64) / count as f64,
            Likelihood::Count => mean.max(1e-6),
            Likelihood::Quantile { width, .. } => 0.5 / width,
        }
    }
}

/// The pinball loss of an error, a parabola within `width` of 0; and its slope by the score.
fn pinball(error: f64, quantile: f64, width: f64) -> (f64, f64) {
    // |e| as e² / 2w + w / 2 within w.
    let (size, slope) = match error.abs() < width {
        true => (0.5 * error * error / width + 0.5 * width, error / width),
        false => (error.abs(), 1f64.copysign(error)),
    };
    (0.5 * size + (quantile - 0.5) * error, -(0.5 * slope + quantile - 0.5))
}

fn softmax(scores: &mut [f64], target: f64) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = scores.get(target as usize).map_or(f64::NEG_INFINITY, |score| score - most);
    scores.iter_mut().for_each(|score| *score = libm::exp(*score - most));
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    if let Some(score) = scores.get_mut(target as usize) {
        *score -= 1.0;
    }
    libm::log(sum) - own
}

/// What is to be made small: the losses of rows and half of `strength · |w|²`. Weights are `[scores, features + 1]`, the last of each the bias,
/// which no penalty is for.
pub(super) struct PenalisedLoss<'r> {
    pub design: &'r Design,
    pub rows: &'r dyn TargetRows,
    pub likelihood: Likelihood,
    pub strength: f64,
}

impl PenalisedLoss<'_> {
    /// The losses' weighted sum, the sum of weights, and the losses' slopes, without the penalty.
    fn sums(&self, weights: &[f64], with_slopes: bool) -> Result<(f64, f64, Vec<f64>)> {
        let (each, scores) = (self.design.features() + 1, self.likelihood.scores());
        let parts = if self.rows.len() <= 4096 { 1 } else { 16 };
        let size = self.rows.len().div_ceil(parts).max(1);
        let all = by_threads(parts, |part| {
            let (mut loss, mut weight) = (0.0, 0.0);
            let mut slopes = vec![0.0; if with_slopes { weights.len() } else { 0 }];
            let mut own = vec![0.0; scores];
            let range = (part * size).min(self.rows.len())..((part + 1) * size).min(self.rows.len());
            self.rows.each(range, &mut |_, inputs, target, counts| {
                for (score, weights) in own.iter_mut().zip(weights.chunks_exact(each)) {
                    let (weights, bias) = weights.split_at(each - 1);
                    *score = self.design.score(inputs, weights) + bias[0];
                }
                loss += counts * self.likelihood.loss(&mut own, target);
                weight += counts;
                for (slope, slopes) in own.iter().zip(slopes.chunks_exact_mut(each)) {
                    let (slopes, bias) = slopes.split_at_mut(each - 1);
                    self.design.add(inputs, slope * counts, slopes);
                    bias[0] += slope * counts;
                }
            })?;
            Ok((loss, weight, slopes))
        })?;
        let mut all = all.into_iter();
        let mut first = all.next().unwrap_or_default();
        for (loss, weight, slopes) in all {
            first.0 += loss;
            first.1 += weight;
            first.2.iter_mut().zip(&slopes).for_each(|(sum, slope)| *sum += slope);
        }
        Ok(first)
    }

    /// The whole, and its slopes.
    pub fn value(&self, weights: &[f64]) -> Result<(f64, Vec<f64>)> {
        let (mut value, _, mut slopes) = self.sums(weights, true)?;
        let each = self.design.features() + 1;
        for (slopes, weights) in slopes.chunks_exact_mut(each).zip(weights.chunks_exact(each)) {
            let weights = &weights[..each - 1];
            value += 0.5 * self.strength * dot(weights, weights);
            slopes.iter_mut().zip(weights).for_each(|(slope, weight)| *slope += self.strength * weight);
        }
        Ok((value, slopes))
    }

    /// The sum of the rows' losses, and what all rows count.
    pub fn losses(&self, weights: &[f64]) -> Result<(f64, f64)> {
        let (loss, weight, _) = self.sums(weights, false)?;
        Ok((loss, weight))
    }
}
