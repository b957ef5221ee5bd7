//! The choice of the next piece by its logits.

use kiln_data::Rng;

use super::refuse;
use crate::Result;

/// How the next piece is chosen.
pub(super) struct Sampling {
    pub(super) temperature: f64,
    pub(super) top_k: usize,
    pub(super) top_p: f64,
    pub(super) min_p: f64,
    pub(super) repetition_penalty: f64,
}

/// A piece and how likely it is.
type Weighed = (u32, f64);

impl Sampling {
    /// The next piece after those that were seen; never `unknown`, which stands for what has no code.
    pub(super) fn draw(
        &self,
        logits: Vec<f64>,
        seen: &[u32],
        unknown: Option<u32>,
        rng: &mut Rng,
    ) -> Result<u32> {
        let kept = self.kept(logits, seen, unknown)?;
        let mut place = rng.uniform() * kept.iter().map(|(_, weight)| weight).sum::<f64>();
        for &(piece, weight) in &kept {
            place -= weight;
            if place <= 0.0 {
                return Ok(piece);
            }
        }
        kept.last().map(|&(piece, _)| piece).ok_or_else(nothing)
    }

    /// The pieces among which is drawn, the likeliest first, with weights that aren't negative.
    fn kept(&self, mut logits: Vec<f64>, seen: &[u32], unknown: Option<u32>) -> Result<Vec<Weighed>> {
        penalize(&mut logits, seen, self.repetition_penalty);
        let mut kept = possible(&logits, unknown);
        // The first of the likeliest.
        let first = kept.iter().copied().reduce(|a, b| if b.1.total_cmp(&a.1).is_gt() { b } else { a });
        let Some((likeliest, most)) = first else { return Err(nothing()) };
        if self.temperature == 0.0 {
            return Ok(vec![(likeliest, 1.0)]);
        }
        if let Some(last) = self.top_k.checked_sub(1).filter(|&last| last < kept.len()) {
            let (_, &mut (_, last), _) = kept.select_nth_unstable_by(last, |a, b| b.1.total_cmp(&a.1));
            kept.retain(|&(_, logit)| logit >= last);
        }
        // Before anything is as good as nothing, so that what is sorted is little.
        let floor = most - self.temperature * NEVER;
        kept.retain(|&(_, logit)| logit >= floor);
        rank(&mut kept);
        kept.iter_mut().for_each(|(_, logit)| *logit = libm::exp((*logit - most) / self.temperature));
        if self.top_p < 1.0 {
            let all: f64 = kept.iter().map(|(_, weight)| weight).sum();
            let mut before = 0.0;
            let enough = kept.iter().position(|(_, weight)| {
                before += weight;
                before >= self.top_p * all
            });
            kept.truncate(enough.map_or(kept.len(), |last| last + 1));
        }
        // The likeliest weighs 1.
        kept.retain(|&(_, weight)| weight >= self.min_p);
        Ok(kept)
    }
}

/// Makes pieces that were seen less likely.
pub(super) fn penalize(logits: &mut [f64], seen: &[u32], penalty: f64) {
    if penalty == 1.0 {
        return;
    }
    let mut pieces = seen.to_vec();
    pieces.sort_unstable();
    pieces.dedup();
    for piece in pieces {
        if let Some(logit) = logits.get_mut(piece as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// A piece that is less likely than the likeliest by the exponential of this is never drawn: its weight is no part of any sum of them.
const NEVER: f64 = 60.0;

/// All pieces but the unknown one by their logits, the likeliest first and equal ones in order; those that can't come aren't there.
pub(super) fn ranked(logits: &[f64], unknown: Option<u32>) -> Vec<Weighed> {
    let mut all = possible(logits, unknown);
    rank(&mut all);
    all
}

fn possible(logits: &[f64], unknown: Option<u32>) -> Vec<Weighed> {
    let all = logits.iter().enumerate().map(|(piece, &logit)| (piece as u32, logit));
    all.filter(|&(piece, logit)| Some(piece) != unknown && logit > f64::NEG_INFINITY).collect()
}

fn rank(pieces: &mut [Weighed]) {
    pieces.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
}

pub(super) fn nothing() -> crate::Error {
    refuse("the model gives no piece a score that is a number".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling =
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 };

    /// What the library `transformers` 5 keeps of these logits, and how likely each piece is then, made by `reference.py` beside this file.
    const REFERENCE: &str = include_str!("reference.json");

    #[test]
    fn what_is_kept_and_how_likely_it_is_agrees_with_another_library() {
        let cases: serde_json::Value = serde_json::from_str(REFERENCE).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() >= 30);
        for case in cases {
            let number = |name: &str| case[name].as_f64().unwrap();
            let numbers = |name: &str| -> Vec<f64> {
                case[name].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
            };
            let sampling = Sampling {
                temperature: number("temperature"),
                top_k: number("top_k") as usize,
                top_p: number("top_p"),
                min_p: number("min_p"),
                repetition_penalty: number("repetition_penalty"),
            };
            let seen: Vec<u32> = numbers("seen").into_iter().map(|piece| piece as u32).collect();
            let kept = sampling.kept(numbers("logits"), &seen, None).unwrap();
            let all: f64 = kept.iter().map(|(_, weight)| weight).sum();
            let mut found = vec![0.0; numbers("logits").len()];
            kept.iter().for_each(|&(piece, weight)| found[piece as usize] = weight / all);
            for (found, expected) in found.iter().zip(numbers("probabilities")) {
                assert!((found - expected).abs() < 1e-6, "{case}: {found} instead of {expected}");
            }
        }
    }

    #[test]
    fn pieces_are_drawn_as_often_as_they_are_likely() {
        let logits = vec![9.0, libm::log(0.5), libm::log(0.3), libm::log(0.2)];
        let mut rng = Rng::new(1);
        let mut counts = [0.0f64; 4];
        for _ in 0..20_000 {
            counts[PLAIN.draw(logits.clone(), &[], Some(0), &mut rng).unwrap() as usize] += 1.0 / 20_000.0;
        }
        for (count, expected) in counts.into_iter().zip([0.0, 0.5, 0.3, 0.2]) {
            // Five standard deviations.
            assert!((count - expected).abs() < 0.018, "{counts:?}");
        }
        let likeliest = Sampling { temperature: 0.0, ..PLAIN };
        assert_eq!(likeliest.draw(logits, &[], Some(0), &mut rng).unwrap(), 1);
        assert_eq!(likeliest.draw(vec![2.0, 5.0, 5.0], &[], None, &mut rng).unwrap(), 1);
        assert!(PLAIN.draw(vec![f64::NEG_INFINITY; 3], &[], None, &mut rng).is_err());
    }
}
