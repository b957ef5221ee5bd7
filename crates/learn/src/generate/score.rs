//! How well a model foresees a text.

use super::refuse;
use super::speaker::{Speaker, WholeWindow};
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
        self.speaker()?.score(text)
    }
}

impl Speaker<'_> {
    /// How well the layers foresee a text.
    pub(crate) fn score(&self, text: &str) -> Result<TextScore> {
        let codes = self.pieces.encode(text)?;
        if codes.len() < 2 {
            return Err(refuse(
                "a text of one piece has nothing that follows; give a longer one".to_string(),
            ));
        }
        // No longer than what is scored.
        let window = self.window.min(codes.len() - 1);
        let mut whole = WholeWindow::new(&Speaker { window, ..*self });
        let apart = window.div_ceil(2);
        let mut nats = 0.0;
        for from in (0..codes.len() - 1).step_by(apart) {
            // What an earlier window foresaw isn't counted again.
            let first = if from == 0 { 0 } else { window - apart };
            let seen = &codes[from..(codes.len() - 1).min(from + window)];
            if first >= seen.len() {
                break;
            }
            let after = whole.after_each(seen)?;
            let foreseen = after.iter().zip(&codes[from + 1..]).skip(first);
            nats -= foreseen.map(|(logits, &code)| log_probability_of(logits, code as usize)).sum::<f64>();
        }
        let characters = self.pieces.decode(&codes[1..]).chars().count();
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
