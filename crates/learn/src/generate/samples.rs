//! What a language model says as it learns: a short text after each epoch, in a small share of the time that the training takes.

use std::time::{Duration, Instant};

use kiln_nn::Layer;

use super::next::Next;
use super::{GenerateOptions, Speaker};
use crate::Result;
use crate::preparation::TextPreparation;
use crate::trainer::{Callback, Moment};

/// A short text that the model says after each epoch, added to it by the name `sample` ([`Moment::add_text`]), and within long epochs from time
/// to time. Nothing of the training depends on it. Where a text takes long beside an epoch, some epochs have none; the last one always has.
///
/// ```
/// use kiln::data::{Cut, Tokens, Windows};
/// use kiln::generate::TextSamples;
/// use kiln::preparation::TextPreparation;
/// use kiln::prelude::*;
///
/// let text = "the cat sat on the mat. ".repeat(40);
/// let tokens = Tokens::fit(&text, Cut::Characters, 100)?;
/// let windows = Windows::new(tokens.encode(&text), tokens.count(), 16)?;
/// let pieces = tokens.count();
/// let model: Sequential = format!("embedding {pieces} 8, gru 16, dense {pieces}, transpose").parse()?;
/// let preparation = TextPreparation::new(tokens, 16);
/// let log = std::env::temp_dir().join("kiln-samples.jsonl");
/// let trainer = Trainer::new(&model, CrossEntropy::new(), Adam::new(0.01)).epochs(2).quiet();
/// trainer
///     .callback(TextSamples::new(&model, &preparation).prompt("the"))
///     .callback(kiln::trainer::JsonlLog::new(&log))
///     .fit(&windows)?;
/// assert!(std::fs::read_to_string(&log).unwrap().contains("\"sample\":\"the"));
/// # std::fs::remove_file(log).ok();
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct TextSamples<'m> {
    speaker: Speaker<'m>,
    prompt: String,
    options: GenerateOptions,
    every: Duration,
    /// What goes on with texts; made when the layers are.
    next: Option<Next<'m>>,
    /// Since when there was no text, and how long the last one took.
    since: Instant,
    took: Duration,
}

/// Characters a text has at most, beside what it begins with.
const LENGTH: usize = 100;

/// Texts take at most so large a share of the time.
const SHARE: f64 = 0.02;

impl<'m> TextSamples<'m> {
    /// Of layers that are trained on texts of this preparation: a hundred characters at temperature 0.8, drawn from one seed, from the start of a
    /// line on.
    pub fn new(layers: &'m dyn Layer, text: &'m TextPreparation) -> TextSamples<'m> {
        let speaker =
            Speaker { layers, pieces_axis: 1, pieces: &text.tokens, window: text.window, ends: &[] };
        TextSamples::by(speaker)
    }

    /// The same, of what goes on with texts.
    pub(crate) fn by(speaker: Speaker<'m>) -> TextSamples<'m> {
        let options = GenerateOptions::new().tokens(LENGTH).temperature(0.8).seed(1);
        let every = Duration::from_secs(60);
        TextSamples {
            speaker,
            prompt: String::new(),
            options,
            every,
            next: None,
            since: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// What each text begins with.
    pub fn prompt(self, prompt: impl Into<String>) -> TextSamples<'m> {
        TextSamples { prompt: prompt.into(), ..self }
    }

    /// How what comes next is chosen. A text is still no longer than a hundred characters, and nothing is searched for with beams.
    pub fn options(self, options: GenerateOptions) -> TextSamples<'m> {
        TextSamples { options, ..self }
    }

    /// How often within an epoch, which is every minute unless told otherwise.
    pub fn every(self, every: Duration) -> TextSamples<'m> {
        TextSamples { every, ..self }
    }

    /// Whether another text is a small share of the time since the last one.
    fn is_due(&self) -> bool {
        self.since.elapsed().mul_f64(SHARE) >= self.took
    }

    fn text(&mut self) -> Result<String> {
        self.options.check()?;
        let prompts = [self.prompt.as_str()];
        let codes = self.speaker.started(&self.prompt)?.len();
        if self.next.is_none() {
            let mut next = Next::new(&self.speaker, 1, codes.saturating_add(self.options.tokens));
            // What is compiled once isn't what a text takes.
            self.speaker.go_on(&mut next, &prompts, &self.options.clone().tokens(1))?;
            self.next = Some(next);
        }
        let Some(next) = &mut self.next else { return Ok(String::new()) };
        let began = Instant::now();
        let said = self.speaker.go_on(next, &prompts, &self.options)?.concat();
        (self.since, self.took) = (Instant::now(), began.elapsed());
        Ok(self.prompt.chars().chain(said.chars().take(LENGTH)).collect())
    }
}

impl Callback for TextSamples<'_> {
    fn before(&mut self, _at: &mut Moment) -> Result<()> {
        self.since = Instant::now();
        Ok(())
    }

    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        let is_within = at.batch < at.batches && !at.is_last();
        if is_within && self.since.elapsed() >= self.every && self.is_due() {
            at.evaluate();
        }
        Ok(())
    }

    fn evaluate(&mut self, at: &mut Moment) -> Result<()> {
        if at.is_last() || self.is_due() {
            let text = self.text()?;
            at.add_text("sample", text);
        }
        Ok(())
    }
}
