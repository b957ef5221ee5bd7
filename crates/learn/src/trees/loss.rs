//! What trees are grown against: losses with their gradients and curvatures, and the scores that a forest starts from.

/// A loss of one target. Scores are logits of classes, else numbers or their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loss {
    /// Half the squared distance.
    Squared,
    /// What is below weighs so much, what is above the rest: its best constant is this quantile.
    Quantile(f64),
    /// Counts, whose logarithm is the score.
    Poisson,
    /// Two classes by one score, that of the second.
    Logistic,
    /// So many classes.
    Softmax(usize),
}

impl Loss {
    /// How many scores a row has.
    pub fn scores(self) -> usize {
        match self {
            Loss::Softmax(classes) => classes,
            Loss::Squared | Loss::Quantile(_) | Loss::Poisson | Loss::Logistic => 1,
        }
    }

    /// The best constant scores.
    pub fn start(self, rows: &[u32], y: &[f32], weights: &[f32]) -> Vec<f32> {
        let weight = |row: u32| weights.get(row as usize).map_or(1.0, |weight| f64::from(*weight));
        let total: f64 = rows.iter().map(|&row| weight(row)).sum::<f64>().max(f64::MIN_POSITIVE);
        let mean = || rows.iter().map(|&row| weight(row) * f64::from(y[row as usize])).sum::<f64>() / total;
        match self {
            Loss::Squared => vec![mean() as f32],
            Loss::Quantile(share) => {
                let pairs = rows.iter().map(|&row| (y[row as usize], weight(row))).collect();
                vec![quantile(pairs, share)]
            }
            Loss::Poisson => vec![libm::log(mean().max(1e-9)) as f32],
            Loss::Logistic => {
                let share = mean().clamp(1e-6, 1.0 - 1e-6);
                vec![libm::log(share / (1.0 - share)) as f32]
            }
            Loss::Softmax(classes) => {
                let mut shares = vec![0.0; classes];
                rows.iter().for_each(|&row| shares[y[row as usize] as usize] += weight(row) / total);
                shares.into_iter().map(|share: f64| libm::log(share.max(1e-6)) as f32).collect()
            }
        }
    }

    /// The gradients and curvatures of a row, for each of its scores.
    pub fn derive(self, y: f32, scores: &[f32], into: &mut [[f32; 2]]) {
        match self {
            Loss::Squared => into[0] = [scores[0] - y, 1.0],
            Loss::Quantile(share) => {
                let share = share as f32;
                into[0] = [if y > scores[0] { -share } else { 1.0 - share }, 1.0];
            }
            Loss::Poisson => {
                let mean = libm::expf(scores[0].min(30.0));
                // A bound on steps that the curvature alone would make too long.
                into[0] = [mean - y, mean * 1.5 + 1e-6];
            }
            Loss::Logistic => {
                let p = sigmoid(scores[0]);
                into[0] = [p - y, (p * (1.0 - p)).max(1e-6)];
            }
            Loss::Softmax(classes) => {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for (score, out) in scores.iter().zip(into.iter_mut()) {
                    out[0] = libm::expf(score - most);
                    sum += out[0];
                }
                let factor = classes as f32 / (classes as f32 - 1.0).max(1.0);
                for (class, out) in into.iter_mut().enumerate() {
                    let p = out[0] / sum;
                    let is = if y as usize == class { 1.0 } else { 0.0 };
                    *out = [p - is, (factor * p * (1.0 - p)).max(1e-6)];
                }
            }
        }
    }

    /// The loss of a row.
    pub fn of(self, y: f32, scores: &[f32]) -> f64 {
        let (y, score) = (f64::from(y), f64::from(scores[0]));
        match self {
            Loss::Squared => (score - y) * (score - y),
            Loss::Quantile(share) => (share * (y - score)).max((share - 1.0) * (y - score)),
            Loss::Poisson => libm::exp(score.min(30.0)) - y * score,
            Loss::Logistic => {
                let score = if y > 0.5 { -score } else { score };
                score.max(0.0) + libm::log1p(libm::exp(-score.abs()))
            }
            Loss::Softmax(_) => {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = scores.iter().map(|score| libm::exp(f64::from(score - most))).sum();
                libm::log(sum) - f64::from(scores[y as usize] - most)
            }
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// The least number that so large a share of the weight is at most.
pub(super) fn quantile(mut pairs: Vec<(f32, f64)>, share: f64) -> f32 {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut left = share * pairs.iter().map(|(_, weight)| weight).sum::<f64>();
    for (number, weight) in &pairs {
        left -= weight;
        if left <= 0.0 {
            return *number;
        }
    }
    pairs.last().map_or(0.0, |(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_the_losses() {
        let losses = [Loss::Squared, Loss::Quantile(0.3), Loss::Poisson, Loss::Logistic, Loss::Softmax(3)];
        for loss in losses {
            let scores: Vec<f32> = [0.3, -0.7, 1.1][..loss.scores()].to_vec();
            for y in [0.0, 1.0] {
                let mut found = vec![[0.0; 2]; loss.scores()];
                loss.derive(y, &scores, &mut found);
                for (at, [gradient, curvature]) in found.into_iter().enumerate() {
                    let moved = |by: f32| {
                        let mut scores = scores.clone();
                        scores[at] += by;
                        loss.of(y, &scores)
                    };
                    let step = 1e-2;
                    let near = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                    // Half of the squared distance.
                    let near = if loss == Loss::Squared { near / 2.0 } else { near };
                    assert!((near - f64::from(gradient)).abs() < 1e-3, "{loss:?} {y}: {near} {gradient}");
                    assert!(curvature > 0.0);
                }
            }
        }
    }

    #[test]
    fn a_start_is_the_best_constant() {
        let (rows, y) = ([0u32, 1, 2, 3], [0f32, 1.0, 1.0, 1.0]);
        for loss in [Loss::Squared, Loss::Quantile(0.9), Loss::Poisson, Loss::Logistic, Loss::Softmax(2)] {
            let start = loss.start(&rows, &y, &[]);
            let total = |scores: &[f32]| y.iter().map(|y| loss.of(*y, scores)).sum::<f64>();
            for by in [-0.05, 0.05] {
                let moved: Vec<f32> =
                    start.iter().enumerate().map(|(at, s)| if at == 0 { s + by } else { *s }).collect();
                assert!(total(&moved) >= total(&start) - 1e-6, "{loss:?}");
            }
        }
        assert_eq!(quantile(vec![(3.0, 1.0), (1.0, 1.0), (2.0, 2.0)], 0.5), 2.0);
    }
}
