//! How a text goes on, as a person says it.

use super::refuse;
use super::sampling::Sampling;
use crate::Result;

/// How a text goes on. Options that narrow the choice work in this order: repetition penalty, temperature, top-k, top-p, min-p.
///
/// ```
/// use kiln::generate::GenerateOptions;
///
/// let likeliest = GenerateOptions::new().tokens(100).temperature(0.0);
/// let free = GenerateOptions::new().tokens(100).temperature(1.0).top_k(40).top_p(0.9).stop("\n").seed(3);
/// assert_ne!(likeliest, free);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    pub(super) tokens: usize,
    pub(super) temperature: f64,
    pub(super) top_k: usize,
    pub(super) top_p: f64,
    pub(super) min_p: f64,
    pub(super) repetition_penalty: f64,
    pub(crate) beams: usize,
    pub(super) stop: Vec<String>,
    pub(super) seed: u64,
}

impl Default for GenerateOptions {
    fn default() -> GenerateOptions {
        GenerateOptions {
            tokens: 300,
            temperature: 0.8,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            beams: 1,
            stop: Vec::new(),
            seed: 7,
        }
    }
}

impl GenerateOptions {
    /// 300 pieces, drawn at temperature 0.8 from all there are.
    pub fn new() -> GenerateOptions {
        GenerateOptions::default()
    }

    /// At most so many pieces more.
    pub fn tokens(self, tokens: usize) -> GenerateOptions {
        GenerateOptions { tokens, ..self }
    }

    /// How freely: 0 always takes what is likeliest, 1 draws as likely as the model says.
    pub fn temperature(self, temperature: f64) -> GenerateOptions {
        GenerateOptions { temperature, ..self }
    }

    /// Among the `k` likeliest alone; 0 among all.
    pub fn top_k(self, k: usize) -> GenerateOptions {
        GenerateOptions { top_k: k, ..self }
    }

    /// Among the fewest likeliest that have this probability together.
    pub fn top_p(self, probability: f64) -> GenerateOptions {
        GenerateOptions { top_p: probability, ..self }
    }

    /// Among those that are at least this share as likely as the likeliest.
    pub fn min_p(self, share: f64) -> GenerateOptions {
        GenerateOptions { min_p: share, ..self }
    }

    /// Makes what is in the text already less likely: logits above zero are divided by this, those below multiplied.
    pub fn repetition_penalty(self, penalty: f64) -> GenerateOptions {
        GenerateOptions { repetition_penalty: penalty, ..self }
    }

    /// Nothing is drawn: the likeliest text that a search with so many beams finds.
    pub fn beams(self, beams: usize) -> GenerateOptions {
        GenerateOptions { beams, ..self }
    }

    /// Ends before this text; of several, before the first that comes.
    pub fn stop(mut self, text: impl Into<String>) -> GenerateOptions {
        self.stop.push(text.into());
        self
    }

    /// Where randomness starts.
    pub fn seed(self, seed: u64) -> GenerateOptions {
        GenerateOptions { seed, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64, good: bool| match good {
            true => Ok(()),
            false => Err(refuse(format!("{name} {value}: it is a share above 0 and up to 1"))),
        };
        share("top-p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0)?;
        if !(0.0..=1.0).contains(&self.min_p) {
            return Err(refuse(format!("min-p {}: it is a share from 0 to 1", self.min_p)));
        }
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(refuse(format!("temperature {}: it is 0 or more", self.temperature)));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return Err(refuse(format!(
                "repetition penalty {}: it is more than 0, and 1 changes nothing",
                self.repetition_penalty
            )));
        }
        if self.stop.iter().any(String::is_empty) {
            return Err(refuse("the empty text ends every text before it goes on".to_string()));
        }
        match self.beams {
            0 => Err(refuse("0 beams find nothing; 1 draws".to_string())),
            1..=MOST_BEAMS => Ok(()),
            more => Err(refuse(format!("{more} beams are more than {MOST_BEAMS}"))),
        }
    }

    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        }
    }
}

/// Each is a sequence of its own in memory.
const MOST_BEAMS: usize = 256;
