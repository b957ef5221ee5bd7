//! How well a model foresees a text.

use super::refuse;
use crate::predictions::log_probability_of;
use crate::{Predictor, Result};

impl Predictor {
    /// How well the model foresees a text. Each piece is seen with at least half a window before it, as far as there are so many.
    ///
    /// ```no_run
    /// let predictor = kiln::Predictor::load("novel.kiln")?;
    /// let score = predictor.score_text("It was the best of times.")?;
    /// assert!(score.perplexity() >= 1.0);
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the model doesn't go on with texts, or the text has fewer than two pieces.
    pub fn score_text(&self, text: &str) -> Result<TextScore> {
        let own = self.goes_on()?;
        let codes = own.tokens.encode(text);
        if codes.len() < 2 {
            return Err(refuse(
                "a text of one piece has nothing that follows; give a longer one".to_string(),
            ));
        }
        let (window, form) = (own.window, own.form());
        let apart = window.div_ceil(2);
        let (mut nats, mut outputs) = (0.0, Vec::new());
        for from in (0..codes.len() - 1).step_by(apart) {
            // What follows the last piece of a window isn't in it; what an earlier window foresaw isn't counted again.
            let first = if from == 0 { 0 } else { window - apart };
            let seen = &codes[from..codes.len().min(from + window)];
            let foreseen = seen.len().min(codes.len() - 1 - from);
            if first >= foreseen {
                break;
            }
            outputs.clear();
            self.model().run(&form, &own.last(seen).0, 1, &mut outputs)?;
            nats -= (first..foreseen)
                .map(|at| {
                    log_probability_of(outputs.iter().skip(at).step_by(window), codes[from + at + 1] as usize)
                })
                .sum::<f64>();
        }
        let characters = own.tokens.decode(&codes[1..]).chars().count();
        Ok(TextScore { pieces: codes.len() - 1, characters, nats })
    }
}

/// How well a model foresees a text: the negative log-probability of its pieces, each from those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextScore {
    /// Pieces that were foreseen: all but the first, which nothing comes before.
    pub pieces: usize,
    /// Characters that these pieces are.
    pub characters: usize,
    /// The sum, in nats.
    pub nats: f64,
}

impl TextScore {
    /// The mean of a piece, in nats.
    pub fn nats_per_piece(&self) -> f64 {
        self.nats / self.pieces.max(1) as f64
    }

    /// Among how many equally likely pieces one would be as surprised.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.nats_per_piece())
    }

    /// What a character costs, in bits, however the text is cut in pieces.
    pub fn bits_per_character(&self) -> f64 {
        self.nats / self.characters.max(1) as f64 / std::f64::consts::LN_2
    }
}
