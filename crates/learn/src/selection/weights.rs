//! How much each model counts in an answer: forward selection with replacement (Caruana and others, 2004) on rows that none of them
//! learned from, and only where that beats the best of them by more than noise.

use kiln_nn::sequential::Blended;

use super::score::{SelectionScore, outputs_of};

/// What each model says of a part of the rows.
pub(super) struct HeldPiece {
    /// The rows' numbers.
    pub(super) rows: Vec<usize>,
    /// Of each model what is averaged, `[rows, outputs]`.
    pub(super) said: Vec<Vec<f32>>,
}

/// Parts of rows, and how outputs on them are judged.
pub(super) struct JudgedPieces<'j> {
    pub(super) pieces: Vec<HeldPiece>,
    pub(super) width: usize,
    pub(super) of: &'j Blended,
    pub(super) score: &'j dyn SelectionScore,
}

/// Draws of the selection, by which weights are in steps of a twentieth.
const DRAWS: usize = 20;

/// Weights must lower the score by so much of it.
const LEAST: f64 = 1e-6;

impl JudgedPieces<'_> {
    /// The score of the weighted mean on a piece.
    pub(super) fn on(&self, piece: &HeldPiece, weights: &[f64]) -> f64 {
        let sum: f64 = weights.iter().sum();
        let mut mean = vec![0f64; piece.rows.len() * self.width];
        for (said, weight) in piece.said.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            mean.iter_mut().zip(said).for_each(|(mean, own)| *mean += weight / sum * f64::from(*own));
        }
        let mut mean: Vec<f32> = mean.into_iter().map(|value| value as f32).collect();
        outputs_of(&mut mean, self.width, self.of);
        self.score.of(&mean, &piece.rows)
    }

    /// The mean score of weights over some pieces.
    fn over(&self, pieces: &[usize], weights: &[f64]) -> f64 {
        let each = pieces.iter().map(|&piece| self.on(&self.pieces[piece], weights));
        each.sum::<f64>() / pieces.len() as f64
    }

    fn models(&self) -> usize {
        self.pieces.first().map_or(0, |piece| piece.said.len())
    }

    /// Which single model is the best over some pieces.
    fn best(&self, pieces: &[usize]) -> usize {
        let scores: Vec<f64> =
            (0..self.models()).map(|model| self.over(pieces, &self.single(model))).collect();
        (1..scores.len())
            .fold(0, |best, model| if is_less(scores[model], scores[best]) { model } else { best })
    }

    fn single(&self, model: usize) -> Vec<f64> {
        (0..self.models()).map(|other| if other == model { 1.0 } else { 0.0 }).collect()
    }

    /// Weights that were drawn on some pieces.
    fn drawn(&self, pieces: &[usize]) -> Vec<f64> {
        let mut counts = self.single(self.best(pieces));
        let (mut reached, mut least) = (self.over(pieces, &counts), counts.clone());
        for _ in 1..DRAWS {
            let with = |model: usize| {
                let mut counts = counts.clone();
                counts[model] += 1.0;
                let score = self.over(pieces, &counts);
                (counts, score)
            };
            let all = (0..self.models()).map(with);
            let best = all.reduce(|best, other| if is_less(other.1, best.1) { other } else { best });
            let Some((next, score)) = best else { break };
            // A draw that gains nothing may lead to one that does: half of a model is too much where a fifth of it helps.
            if score < reached - LEAST * reached.abs() {
                (reached, least) = (score, next.clone());
            }
            counts = next;
        }
        let sum: f64 = least.iter().sum();
        least.iter().map(|count| count / sum).collect()
    }

    /// The weights of the answer, and by how much a blend beats the best single model: the mean gain, and its standard error. The gain on each
    /// piece is that of weights drawn on the others, so that none is measured where it was found.
    pub(super) fn weights(&self) -> Verdict {
        let all: Vec<usize> = (0..self.pieces.len()).collect();
        let (best, blend) = (self.best(&all), self.drawn(&all));
        let single = self.single(best);
        let mut verdict = Verdict { weights: single.clone(), best, gain: 0.0, error: 0.0, blend: None };
        if blend.iter().filter(|weight| **weight > 0.0).count() < 2 || all.len() < 2 {
            return verdict;
        }
        let mut by_piece = Vec::with_capacity(all.len());
        let gains: Vec<f64> = all
            .iter()
            .map(|&held| {
                let others: Vec<usize> = all.iter().copied().filter(|piece| *piece != held).collect();
                let blended = self.on(&self.pieces[held], &self.drawn(&others));
                by_piece.push(blended);
                self.on(&self.pieces[held], &single) - blended
            })
            .collect();
        let count = gains.len() as f64;
        let gain = gains.iter().sum::<f64>() / count;
        let squares: f64 = gains.iter().map(|own| (own - gain) * (own - gain)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        (verdict.gain, verdict.error) = (gain, error);
        verdict.blend = Some(by_piece);
        if gain > error {
            verdict.weights = blend;
        }
        verdict
    }
}

/// What came of comparing a blend with the best single model.
pub(super) struct Verdict {
    /// Of each model, of sum 1.
    pub(super) weights: Vec<f64>,
    /// The best single one.
    pub(super) best: usize,
    /// By how much the blend is better, on rows on which its weights weren't found.
    pub(super) gain: f64,
    /// The standard error of that.
    pub(super) error: f64,
    /// What the blend came to on each piece; nothing where it is a single model.
    pub(super) blend: Option<Vec<f64>>,
}

impl Verdict {
    /// In a line, what the answer is and why.
    pub(super) fn told(&self, names: &[&str]) -> String {
        let best = names[self.best];
        let gain = format!("{:.4} ± {:.4}", self.gain, self.error);
        if self.blends() {
            let mut parts: Vec<(f64, &str)> =
                self.weights.iter().copied().zip(names.iter().copied()).collect();
            parts.retain(|(weight, _)| *weight > 0.0);
            parts.sort_by(|a, b| b.0.total_cmp(&a.0));
            let parts: Vec<String> =
                parts.iter().map(|(weight, name)| format!("{name} {:.0} %", 100.0 * weight)).collect();
            return format!(
                "the answer is a blend of {}: better than {best} alone by {gain}",
                parts.join(", ")
            );
        }
        match self.blend {
            Some(_) => format!(
                "the answer is {best}: a blend would be better by {gain}, which is no more than noise"
            ),
            None => format!("the answer is {best}"),
        }
    }

    /// Whether the answer is a blend.
    pub(super) fn blends(&self) -> bool {
        self.weights.iter().filter(|weight| **weight > 0.0).count() > 1
    }
}

/// Whether a score is less than another; no number never is.
fn is_less(one: f64, other: f64) -> bool {
    one < other || (other.is_nan() && !one.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers said by models that are off by their own noise, of truths that are all 0.
    fn judged<'a>(noises: &[f64], rows: usize, score: &'a dyn SelectionScore) -> JudgedPieces<'a> {
        let mut rng = kiln_data::Rng::new(3);
        let mut piece = |at: usize| {
            let said = noises.iter().map(|noise| (0..rows).map(|_| (noise * rng.normal()) as f32).collect());
            HeldPiece { rows: (at * rows..(at + 1) * rows).collect(), said: said.collect() }
        };
        JudgedPieces { pieces: (0..5).map(&mut piece).collect(), width: 1, of: &Blended::Numbers, score }
    }

    fn square(outputs: &[f32], _: &[usize]) -> f64 {
        outputs.iter().map(|own| f64::from(own * own)).sum::<f64>() / outputs.len() as f64
    }

    #[test]
    fn independent_errors_are_averaged_in_the_proportion_that_is_best() {
        // The best weights of independent errors are as 1 / variance: 4 to 1.
        let verdict = judged(&[1.0, 2.0], 400, &square).weights();
        assert!(verdict.blends() && (verdict.weights[0] - 0.8).abs() < 0.07, "{:?}", verdict.weights);
        assert!(verdict.gain > verdict.error && verdict.best == 0);
    }

    #[test]
    fn one_that_is_far_better_stands_alone_and_noise_is_no_gain() {
        let verdict = judged(&[0.05, 3.0, 3.0], 200, &square).weights();
        assert_eq!(verdict.weights, [1.0, 0.0, 0.0]);
        // Models of the same outputs can't gain anything.
        let mut same = judged(&[1.0, 1.0], 50, &square);
        same.pieces.iter_mut().for_each(|piece| piece.said[1] = piece.said[0].clone());
        assert!(!same.weights().blends());
    }
}
