//! Texts that go on: how what comes next is chosen, said piece by piece as it is found.

mod beams;
mod next;
mod options;
mod said;
mod samples;
mod sampling;
mod score;
mod speaker;
#[cfg(test)]
mod tests;

use kiln_data::Rng;

use crate::{Error, Predictor, Result};
use next::Next;
pub use options::GenerateOptions;
use said::Said;
pub use samples::TextSamples;
pub use score::TextScore;
pub(crate) use speaker::Pieces;
pub(crate) use speaker::Speaker;

/// A text that goes on, made by [`Predictor::generate`]: an iterator over what is added to it, as it is found.
pub struct Generation<'p> {
    speaker: Speaker<'p>,
    next: Next<'p>,
    options: GenerateOptions,
    rng: Rng,
    codes: Vec<u32>,
    /// How many of the codes were there before.
    prompt: usize,
    said: Said<'p>,
    stopped: Option<Stopped>,
}

/// Why a text goes on no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It has as many pieces more as were asked for.
    Length,
    /// It came to its end, or said one of the texts that end it.
    Text,
}

impl Predictor {
    /// Lets a text go on. What is added comes piece by piece; the text that is given isn't repeated.
    ///
    /// ```no_run
    /// use kiln::Predictor;
    /// use kiln::generate::GenerateOptions;
    ///
    /// let predictor = Predictor::load("novel.kiln")?;
    /// let options = GenerateOptions::new().tokens(200).temperature(0.9).top_p(0.95).stop("\n\n");
    /// for added in predictor.generate("It was", &options)? {
    ///     print!("{}", added?);
    /// }
    /// // All at once, and of several texts at a time, each of which says what it would alone.
    /// let text = predictor.generate("It was", &options)?.text()?;
    /// assert_eq!(predictor.generate_many(&["It was", "Then"], &options)?[0], text);
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// A model whose layers say where time lies ([`Layer::time_axis`](crate::Layer::time_axis)) keeps what it needs of the pieces before, so each
    /// piece costs one step; another sees its last window again for each. Where a model counts places (attention does), and as many pieces came as
    /// it learned to see, it goes on from the last half of them.
    ///
    /// # Errors
    /// Where the model doesn't go on with texts, or an option makes no sense.
    pub fn generate(&self, prompt: &str, options: &GenerateOptions) -> Result<Generation<'_>> {
        self.speaker()?.generate(prompt, options)
    }

    /// What is added to each of several texts, which go on side by side: each as it would alone.
    ///
    /// # Errors
    /// As [`Predictor::generate`], and where the model can't be computed.
    pub fn generate_many(&self, prompts: &[&str], options: &GenerateOptions) -> Result<Vec<String>> {
        self.speaker()?.generate_many(prompts, options)
    }

    /// The layers and pieces of a model that goes on with texts.
    fn speaker(&self) -> Result<Speaker<'_>> {
        let text = self.model().about().texts()?;
        if text.columns.is_some() {
            return Err(crate::predictor::goes_not_on());
        }
        let (given, count) = (self.model().shape_for(1)?, text.tokens.count());
        if given[..] != [1, count, text.window] {
            let window = text.window;
            return Err(refuse(format!(
                "the model gives {given} for a text; to go on with one it would give [1, {count}, {window}], the score of each piece at each \
                 step of its window"
            )));
        }
        let layers = self.model().layers();
        Ok(Speaker { layers, pieces_axis: 1, pieces: &text.tokens, window: text.window, ends: &[] })
    }
}

impl<'p> Speaker<'p> {
    /// See [`Predictor::generate`].
    pub(crate) fn generate(self, prompt: &str, options: &GenerateOptions) -> Result<Generation<'p>> {
        options.check()?;
        let codes = self.started(prompt)?;
        Ok(Generation {
            next: Next::new(&self, options.beams, codes.len().saturating_add(options.tokens)),
            rng: Rng::new(options.seed),
            prompt: codes.len(),
            said: Said::new(self.pieces, &codes, &options.stop),
            speaker: self,
            codes,
            options: options.clone(),
            stopped: None,
        })
    }

    /// See [`Predictor::generate_many`].
    pub(crate) fn generate_many(self, prompts: &[&str], options: &GenerateOptions) -> Result<Vec<String>> {
        options.check()?;
        if options.beams > 1 {
            return prompts.iter().map(|prompt| self.generate(prompt, options)?.text()).collect();
        }
        let encoded: Vec<Vec<u32>> =
            prompts.iter().map(|prompt| self.started(prompt)).collect::<Result<_>>()?;
        let longest = encoded.iter().map(Vec::len).max().unwrap_or(0);
        let mut next = Next::new(&self, prompts.len(), longest.saturating_add(options.tokens));
        self.go_on(&mut next, prompts, options)
    }

    /// What is added to each of several texts, as many as `next` is for; nothing is searched for.
    fn go_on(&self, next: &mut Next, prompts: &[&str], options: &GenerateOptions) -> Result<Vec<String>> {
        let mut rngs = vec![Rng::new(options.seed); prompts.len()];
        let mut codes: Vec<Vec<u32>> =
            prompts.iter().map(|prompt| self.started(prompt)).collect::<Result<_>>()?;
        let mut said: Vec<Said> =
            codes.iter().map(|codes| Said::new(self.pieces, codes, &options.stop)).collect();
        let mut added = vec![String::new(); prompts.len()];
        let mut open: Vec<usize> = (0..prompts.len()).collect();
        for _ in 0..options.tokens {
            if open.is_empty() {
                break;
            }
            let logits = next.after(&codes, &open)?;
            for (logits, &row) in logits.into_iter().zip(&open) {
                let unknown = self.pieces.unknown();
                let piece = options.sampling().draw(logits, &codes[row], unknown, &mut rngs[row])?;
                if self.ends.contains(&piece) {
                    added[row] += &said[row].rest(&codes[row]);
                    said[row].end();
                    continue;
                }
                codes[row].push(piece);
                added[row] += &said[row].add(&codes[row]);
            }
            open.retain(|&row| !said[row].is_over());
        }
        for (row, said) in said.iter_mut().enumerate() {
            added[row] += &said.rest(&codes[row]);
        }
        Ok(added)
    }

    /// The codes of a text that goes on. Of nothing nothing follows: then the text begins with a line's end.
    fn started(&self, prompt: &str) -> Result<Vec<u32>> {
        for text in [prompt, "\n"] {
            let codes = self.pieces.encode(text)?;
            if !codes.is_empty() {
                return Ok(codes);
            }
        }
        Ok(vec![0])
    }
}

impl Generation<'_> {
    /// All that is added from here on, as one text.
    ///
    /// # Errors
    /// Where the model can't be computed.
    pub fn text(self) -> Result<String> {
        self.collect()
    }

    /// The codes of what was added by now, of [`TextPreparation::tokens`](crate::preparation::TextPreparation::tokens).
    pub fn codes(&self) -> &[u32] {
        &self.codes[self.prompt..]
    }

    /// Why it went on no further, when it is over.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// What is added next; nothing when it is over.
    fn added(&mut self) -> Result<String> {
        while self.codes().len() < self.options.tokens {
            let logits = self.next.after(std::slice::from_ref(&self.codes), &[0])?.pop().unwrap_or_default();
            let unknown = self.speaker.pieces.unknown();
            let piece = self.options.sampling().draw(logits, &self.codes, unknown, &mut self.rng)?;
            if self.speaker.ends.contains(&piece) {
                self.stopped = Some(Stopped::Text);
                return Ok(self.said.rest(&self.codes));
            }
            self.codes.push(piece);
            let added = self.said.add(&self.codes);
            if self.said.is_over() {
                self.stopped = Some(Stopped::Text);
                return Ok(added);
            }
            // A piece may be half a character, or the begin of what ends the text.
            if !added.is_empty() {
                return Ok(added);
            }
        }
        self.stopped = Some(Stopped::Length);
        Ok(self.said.rest(&self.codes))
    }

    /// The likeliest text that a search with several beams finds.
    fn searched(&mut self) -> Result<String> {
        let found = beams::search(&mut self.next, &self.codes, &self.options, &self.speaker)?;
        let stopped = found.stopped;
        self.codes = found.codes;
        self.stopped = Some(stopped);
        Ok(found.text)
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        if self.stopped.is_some() {
            return None;
        }
        let added = if self.options.beams > 1 { self.searched() } else { self.added() };
        match added {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(Ok(text)),
            Err(error) => {
                self.stopped = Some(Stopped::Length);
                Some(Err(error))
            }
        }
    }
}

/// That an option makes no sense.
fn refuse(message: String) -> Error {
    Error::Preparation(message)
}
