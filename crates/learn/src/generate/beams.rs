//! The likeliest text that a search finds which follows several at once.

use super::next::Next;
use super::said::Said;
use super::sampling::{nothing, penalize, ranked};
use super::speaker::{Pieces, Speaker};
use super::{GenerateOptions, Stopped};
use crate::Result;

/// What was found.
pub(super) struct FoundText {
    pub(super) text: String,
    pub(super) codes: Vec<u32>,
    pub(super) stopped: Stopped,
}

/// A text that goes on, and the sum of its pieces' log-probabilities.
#[derive(Clone)]
struct Beam {
    codes: Vec<u32>,
    score: f64,
}

/// The likeliest text after `prompt`, by its mean log-probability a piece: at each step the best continuations of all texts are kept, as many as
/// there are beams. A text that says what ends it is set aside.
pub(super) fn search(
    next: &mut Next,
    prompt: &[u32],
    options: &GenerateOptions,
    speaker: &Speaker,
) -> Result<FoundText> {
    let tokens = speaker.pieces;
    let mut beams = vec![Beam { codes: prompt.to_vec(), score: 0.0 }];
    let mut ended: Vec<(Beam, String)> = Vec::new();
    let mean = |beam: &Beam| beam.score / (beam.codes.len() - prompt.len()).max(1) as f64;
    for _ in 0..options.tokens {
        let mut texts: Vec<Vec<u32>> = beams.iter().map(|beam| beam.codes.clone()).collect();
        let rows = Vec::from_iter(0..texts.len());
        texts.resize(options.beams, Vec::new());
        let logits = next.after(&texts, &rows)?;
        let mut all: Vec<(f64, usize, u32)> = Vec::new();
        for (row, (beam, mut logits)) in beams.iter().zip(logits).enumerate() {
            penalize(&mut logits, &beam.codes, options.repetition_penalty);
            let ranked = ranked(&logits, tokens.unknown());
            let most = ranked.first().map_or(0.0, |first| first.1);
            let norm = most + libm::log(ranked.iter().map(|(_, logit)| libm::exp(logit - most)).sum());
            let best = ranked.iter().take(options.beams);
            all.extend(best.map(|&(piece, logit)| (beam.score + logit - norm, row, piece)));
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut kept = Vec::with_capacity(options.beams);
        for (score, row, piece) in all.into_iter().take(options.beams) {
            let mut codes = beams[row].codes.clone();
            codes.push(piece);
            let beam = Beam { codes, score };
            if speaker.ends.contains(&piece) {
                let text = Said::new(tokens, prompt, &[]).rest(&beam.codes[..beam.codes.len() - 1]);
                ended.push((beam, text));
                continue;
            }
            match ending(tokens, &beam.codes, prompt.len(), &options.stop) {
                Some(text) => ended.push((beam, text)),
                None => kept.push(beam),
            }
        }
        if kept.is_empty() {
            break;
        }
        beams = kept;
        if ended.len() >= options.beams {
            break;
        }
    }
    let open = beams.into_iter().map(|beam| {
        let text = Said::new(tokens, &beam.codes[..prompt.len()], &[]).rest(&beam.codes);
        (beam, text, Stopped::Length)
    });
    let ended = ended.into_iter().map(|(beam, text)| (beam, text, Stopped::Text));
    let best = ended.chain(open).reduce(|a, b| if mean(&b.0) > mean(&a.0) { b } else { a });
    let (beam, text, stopped) = best.ok_or_else(nothing)?;
    Ok(FoundText { text, codes: beam.codes, stopped })
}

/// What a text says up to what ends it, if it says that.
fn ending(tokens: &dyn Pieces, codes: &[u32], prompt: usize, stop: &[String]) -> Option<String> {
    if stop.is_empty() {
        return None;
    }
    let mut said = Said::new(tokens, &codes[..prompt], stop);
    let text: String = (prompt + 1..=codes.len()).map(|count| said.add(&codes[..count])).collect();
    said.is_over().then_some(text)
}
