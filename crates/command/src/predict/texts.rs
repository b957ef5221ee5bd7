//! Texts on the command line, or lines of files, of which a model says the class or gives what they mean.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use kiln_learn::hub::{PieceAggregation, TextPair};
use kiln_learn::{Embeddings, Prediction, Result as Learned};
use serde_json::json;

use super::generate::TEXTS;
pub(super) use super::lines::task;
use super::lines::{best, object, quoted};
use crate::{out, rows};

/// What is said of texts that don't go on.
#[derive(Args)]
pub(super) struct TextFlags {
    /// A text to tell apart or to embed, a sentence whose words get tags, or what another text is written for, instead of a file; several are answered in their order
    #[arg(long, help_heading = TEXTS, value_name = "TEXT", conflicts_with_all = ["inputs", "prompt", "score"])]
    text: Vec<String>,

    /// Give what each text means as a row of numbers instead: the mean over its pieces of what the model's last block gives
    #[arg(long, help_heading = TEXTS)]
    embed: bool,

    /// Bring each embedding to length 1, so that products are cosines
    #[arg(long, help_heading = TEXTS, requires = "embed")]
    normalize: bool,

    /// A second text that belongs to each, of a model of pairs; in a file a tab stands between the two
    #[arg(long, help_heading = TEXTS, value_name = "TEXT")]
    pair: Option<String>,

    /// Of a folder whose model gives pieces tags: which piece of a word says its tag, first, all (mean) or the surest (max) [default: first]
    #[arg(long, help_heading = TEXTS, value_name = "RULE", value_parser = aggregation)]
    aggregate: Option<PieceAggregation>,
}

fn aggregation(name: &str) -> std::result::Result<PieceAggregation, String> {
    match name {
        "first" => Ok(PieceAggregation::First),
        "mean" => Ok(PieceAggregation::Mean),
        "max" => Ok(PieceAggregation::Max),
        _ => Err("it is first, mean or max".to_string()),
    }
}

/// A text and the one that belongs to it.
pub(super) struct GivenText {
    first: String,
    second: Option<String>,
}

impl GivenText {
    /// One without another.
    pub(super) fn of(text: &str) -> GivenText {
        GivenText { first: text.to_string(), second: None }
    }

    /// The text.
    pub(super) fn first(&self) -> &str {
        &self.first
    }
}

impl<'t> From<&'t GivenText> for TextPair<'t> {
    fn from(text: &'t GivenText) -> TextPair<'t> {
        TextPair { first: &text.first, second: text.second.as_deref() }
    }
}

impl TextFlags {
    /// Whether embeddings are asked for.
    pub(super) fn embeds(&self) -> bool {
        self.embed
    }

    /// The texts that a flag gives.
    pub(super) fn texts(&self) -> &[String] {
        &self.text
    }

    /// Whether a flag gives texts.
    pub(super) fn names_texts(&self) -> bool {
        !self.text.is_empty()
    }

    /// An error where a flag gives texts to a model that goes on with them.
    pub(super) fn check_none(&self) -> Result<()> {
        match self.names_texts() {
            true => bail!(
                "--text is for a model that tells texts apart; this one goes on with them: --prompt TEXT"
            ),
            false => Ok(()),
        }
    }

    /// An error where a second text is given to a model that takes one.
    pub(super) fn check_single(&self) -> Result<()> {
        match self.pair {
            Some(_) => bail!("--pair is for a model of pairs of texts, and this one takes one at a time"),
            None => Ok(()),
        }
    }

    /// Which piece of a word says its tag.
    pub(super) fn aggregation(&self) -> PieceAggregation {
        self.aggregate.unwrap_or_default()
    }

    /// An error where it is said how pieces' tags become those of words, and the model gives pieces none.
    pub(super) fn check_words(&self) -> Result<()> {
        match self.aggregate {
            Some(_) => bail!("--aggregate is for a hub's model that gives pieces tags, and this one doesn't"),
            None => Ok(()),
        }
    }

    /// Texts that are named, of a model that takes one at a time.
    pub(super) fn singles(&self, inputs: &[PathBuf]) -> Result<Vec<GivenText>> {
        self.check_single()?;
        let joined = |text: GivenText| match text.second {
            Some(second) => GivenText { first: format!("{}\t{second}", text.first), second: None },
            None => text,
        };
        Ok(self.given(inputs)?.into_iter().map(joined).collect())
    }

    /// Texts that are named: each itself, or a file with one on each line.
    pub(super) fn given(&self, inputs: &[PathBuf]) -> Result<Vec<GivenText>> {
        let mut all = Vec::new();
        let whole = |text: &str| GivenText { first: text.to_string(), second: self.pair.clone() };
        all.extend(self.text.iter().map(|text| whole(text)));
        for input in inputs {
            let lines = match rows::is_standard_input(input) || input.is_file() {
                true => rows::text(input)?,
                false if is_text(input) => {
                    all.push(whole(&input.to_string_lossy()));
                    continue;
                }
                false => bail!(
                    "{}: there is no such file; a text that looks like the name of one is given by --text",
                    input.display()
                ),
            };
            for line in lines.lines().filter(|line| !line.trim().is_empty()) {
                all.push(match line.split_once('\t') {
                    Some((first, second)) if self.pair.is_none() => {
                        GivenText { first: first.to_string(), second: Some(second.to_string()) }
                    }
                    _ => whole(line),
                });
            }
        }
        match all.is_empty() {
            true => bail!("name texts, files with one on each line, or - for the standard input"),
            false => Ok(all),
        }
    }

    /// Prints what texts mean: as CSV, or an object for each.
    pub(super) fn print_embeddings(
        &self,
        texts: &[GivenText],
        embeddings: Embeddings,
        json: bool,
    ) -> Result<()> {
        let embeddings = if self.normalize { embeddings.normalized() } else { embeddings };
        let pairs = texts.iter().any(|text| text.second.is_some());
        let mut out = out::RowWriter::new();
        if !json {
            let columns = (0..embeddings.width()).map(|at| format!("e{at}"));
            let texts = ["text", "pair"].into_iter().take(1 + usize::from(pairs)).map(str::to_string);
            writeln!(out, "{}", texts.chain(columns).collect::<Vec<_>>().join(","))?;
        }
        for (text, row) in texts.iter().zip(embeddings.rows()) {
            if json {
                let mut line = json!({ "text": text.first, "embedding": row });
                text.second.iter().for_each(|second| line["pair"] = second.as_str().into());
                writeln!(out, "{line}")?;
                continue;
            }
            write!(out, "{}", quoted(&text.first))?;
            if pairs {
                write!(out, ",{}", quoted(text.second.as_deref().unwrap_or_default()))?;
            }
            row.iter().try_for_each(|number| write!(out, ",{number}"))?;
            writeln!(out)?;
        }
        Ok(out.flush()?)
    }
}

/// Whether what is named isn't a file but a text: nothing there has that name, and no file would.
pub(super) fn is_text(input: &Path) -> bool {
    let name = input.to_string_lossy();
    let looks_like_a_file = || match name.contains(char::is_whitespace) {
        true => false,
        false => name.contains(['/', '\\']) || input.extension().is_some_and(|end| end.len() <= 8),
    };
    !input.exists() && name != "-" && !looks_like_a_file()
}

/// Prints what a model says of texts: the likeliest classes of each, or an object.
pub(super) fn print_predictions(
    texts: &[GivenText],
    said: Learned<Vec<Prediction>>,
    top: usize,
    json: bool,
) -> Result<()> {
    let mut out = out::RowWriter::new();
    for (row, (text, said)) in texts.iter().zip(&said?).enumerate() {
        let task = task(said);
        if json {
            let mut line = object(None, said, &task, row);
            line["text"] = text.first.as_str().into();
            text.second.iter().for_each(|second| line["pair"] = second.as_str().into());
            writeln!(out, "{line}")?;
        } else {
            let second = text.second.iter().map(|second| format!("  {second}")).collect::<String>();
            writeln!(out, "{}{second}  {}", text.first, best(said, &task, top))?;
        }
    }
    Ok(out.flush()?)
}
