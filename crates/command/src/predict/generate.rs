//! Texts on the command line that a model goes on with, or says how well it foresees.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kiln_learn::generate::{GenerateOptions, Generation, Stopped, TextScore};
use kiln_learn::hub::{LanguageModel, Seq2SeqModel};
use kiln_learn::{Error, Predictor, Result as Learned};
use serde_json::json;

use crate::{out, rows};

/// What the help has these flags under; those of the other kinds of input follow.
pub(super) const TEXTS: &str = "Texts";

/// What is said of how a text goes on.
#[derive(Args)]
pub(super) struct GenerateFlags {
    /// A text to go on with, instead of a file; several go side by side, each as it would alone
    #[arg(long, help_heading = TEXTS, value_name = "TEXT", conflicts_with = "inputs")]
    prompt: Vec<String>,

    /// At most so many pieces more (of most models: characters)
    #[arg(long, help_heading = TEXTS, visible_alias = "length", value_name = "N", default_value_t = 300)]
    tokens: usize,

    /// How freely a text goes on: 0 always takes what is likeliest, 1 draws as likely as the model says [default: 0.8; of pairs 0]
    #[arg(long, help_heading = TEXTS, value_name = "AMOUNT")]
    temperature: Option<f64>,

    /// Draw among the K likeliest pieces alone
    #[arg(long, help_heading = TEXTS, value_name = "K", default_value_t = 0, hide_default_value = true)]
    top_k: usize,

    /// Draw among the fewest likeliest pieces that have this probability together
    #[arg(long, help_heading = TEXTS, value_name = "SHARE", default_value_t = 1.0, hide_default_value = true)]
    top_p: f64,

    /// Draw among pieces at least this share as likely as the likeliest
    #[arg(long, help_heading = TEXTS, value_name = "SHARE", default_value_t = 0.0, hide_default_value = true)]
    min_p: f64,

    /// Make what is in the text already less likely; 1 changes nothing, 1.3 is much
    #[arg(long, help_heading = TEXTS, value_name = "AMOUNT", default_value_t = 1.0, hide_default_value = true)]
    repetition_penalty: f64,

    /// Draw nothing: the likeliest text that a search with so many beams finds
    #[arg(long, help_heading = TEXTS, value_name = "N", conflicts_with_all = ["temperature", "top_k", "top_p", "min_p", "seed"])]
    beams: Option<usize>,

    /// End before this text; may be given several times
    #[arg(long, help_heading = TEXTS, value_name = "TEXT")]
    stop: Vec<String>,

    /// Where randomness starts
    #[arg(long, help_heading = TEXTS, value_name = "NUMBER", default_value_t = 7)]
    seed: u64,

    /// Say how well the model foresees each text instead: nats a piece, perplexity, bits a character
    #[arg(long, help_heading = TEXTS)]
    score: bool,
}

/// What goes on with texts: a model's file, or a folder of a hub's.
pub(super) trait GoesOn {
    fn generate(&mut self, prompt: &str, options: &GenerateOptions) -> Learned<Generation<'_>>;
    fn generate_many(&mut self, prompts: &[&str], options: &GenerateOptions) -> Learned<Vec<String>>;
    fn score_text(&self, text: &str) -> Learned<TextScore>;

    /// Whether what is said goes on with the prompt, and doesn't only follow from it.
    fn repeats(&self) -> bool {
        true
    }
}

macro_rules! goes_on {
    ($($model:ident)*) => {$(
        impl GoesOn for $model {
            fn generate(&mut self, prompt: &str, options: &GenerateOptions) -> Learned<Generation<'_>> {
                $model::generate(self, prompt, options)
            }

            fn generate_many(&mut self, prompts: &[&str], options: &GenerateOptions) -> Learned<Vec<String>> {
                $model::generate_many(self, prompts, options)
            }

            fn score_text(&self, text: &str) -> Learned<TextScore> {
                $model::score_text(self, text)
            }
        }
    )*};
}

goes_on!(Predictor LanguageModel);

impl GoesOn for Seq2SeqModel {
    fn generate(&mut self, prompt: &str, options: &GenerateOptions) -> Learned<Generation<'_>> {
        Seq2SeqModel::generate(self, prompt, options)
    }

    fn generate_many(&mut self, prompts: &[&str], options: &GenerateOptions) -> Learned<Vec<String>> {
        Seq2SeqModel::generate_many(self, prompts, options)
    }

    fn score_text(&self, _: &str) -> Learned<TextScore> {
        let message = "the model says what follows from a text, and foresees none: --score is for models that go on with texts";
        Err(Error::Preparation(message.to_string()))
    }

    fn repeats(&self) -> bool {
        false
    }
}

/// A text and what it is called.
struct Named {
    name: String,
    text: String,
}

impl GenerateFlags {
    /// An error where a score is asked of a model that doesn't go on with texts.
    pub(super) fn check_none(&self) -> Result<()> {
        match self.score {
            true => bail!("--score is for models that go on with texts, and this one doesn't"),
            false => Ok(()),
        }
    }

    /// Goes on with texts, or scores them.
    pub(super) fn run(&self, speaker: &mut dyn GoesOn, inputs: &[PathBuf], json: bool) -> Result<()> {
        let texts = self.texts(inputs)?;
        if self.score {
            return texts.iter().try_for_each(|text| score(speaker, text, json));
        }
        let options = self.options(0.8);
        match texts.as_slice() {
            [text] => self.one(speaker, &text.text, &options, json),
            _ => {
                let prompts: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
                let repeats = speaker.repeats();
                let mut out = out::RowWriter::new();
                for (prompt, added) in prompts.iter().zip(speaker.generate_many(&prompts, &options)?) {
                    match json {
                        true => writeln!(out, "{}", json!({ "prompt": prompt, "text": added }))?,
                        false if repeats => writeln!(out, "{prompt}{added}\n")?,
                        false => writeln!(out, "{added}")?,
                    }
                }
                Ok(out.flush()?)
            }
        }
    }

    fn one(
        &self,
        speaker: &mut dyn GoesOn,
        prompt: &str,
        options: &GenerateOptions,
        json: bool,
    ) -> Result<()> {
        let repeats = speaker.repeats();
        let mut generation = speaker.generate(prompt, options)?;
        let mut out = out::RowWriter::new();
        let mut text = String::new();
        if !json && repeats {
            write!(out, "{prompt}")?;
            out.flush()?;
        }
        for added in generation.by_ref() {
            let added = added?;
            if json {
                text += &added;
                continue;
            }
            write!(out, "{added}")?;
            out.flush()?;
        }
        if json {
            let stopped = if generation.stopped() == Some(Stopped::Text) { "stop" } else { "length" };
            let tokens = generation.codes().len();
            writeln!(
                out,
                "{}",
                json!({ "prompt": prompt, "text": text, "tokens": tokens, "stopped": stopped })
            )?;
        } else {
            writeln!(out)?;
        }
        Ok(out.flush()?)
    }

    fn texts(&self, inputs: &[PathBuf]) -> Result<Vec<Named>> {
        if !self.prompt.is_empty() {
            let named = |text: &String| Named { name: "the prompt".to_string(), text: text.clone() };
            return Ok(self.prompt.iter().map(named).collect());
        }
        if inputs.is_empty() && self.score {
            bail!("--score of which text? name a file, give --prompt, or - for the standard input");
        }
        if inputs.is_empty() {
            return Ok(vec![Named { name: String::new(), text: "\n".to_string() }]);
        }
        let read =
            |input: &PathBuf| Ok(Named { name: input.display().to_string(), text: rows::text(input)? });
        inputs.iter().map(read).collect()
    }

    /// What was said of how a text goes on; `temperature` where it wasn't.
    pub(super) fn options(&self, temperature: f64) -> GenerateOptions {
        let options = GenerateOptions::new()
            .tokens(self.tokens)
            .temperature(self.temperature.unwrap_or(temperature))
            .top_k(self.top_k)
            .top_p(self.top_p)
            .min_p(self.min_p)
            .repetition_penalty(self.repetition_penalty)
            .beams(self.beams.unwrap_or(1))
            .seed(self.seed);
        self.stop.iter().fold(options, |options, stop| options.stop(stop))
    }
}

/// Prints how well the model foresees a text.
fn score(speaker: &dyn GoesOn, text: &Named, json: bool) -> Result<()> {
    let score = speaker.score_text(&text.text).with_context(|| text.name.clone())?;
    let TextScore { pieces, characters, nats } = score;
    let figures = [score.nats_per_piece(), score.perplexity(), score.bits_per_character()];
    out::line(match json {
        true => json!({
            "text": text.name, "pieces": pieces, "characters": characters, "nats": nats,
            "nats_per_piece": figures[0], "perplexity": figures[1], "bits_per_character": figures[2],
        })
        .to_string(),
        false => format!(
            "{}: {}, {:.4} nats a piece, perplexity {:.3}, {:.4} bits a character",
            text.name,
            out::counted(pieces, "piece"),
            figures[0],
            figures[1],
            figures[2]
        ),
    })
}
