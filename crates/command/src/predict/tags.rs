//! Sentences whose words get tags: from the command line, or of a file, a sentence a line or a word a line.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln_learn::data::{TaggedSentence, conll, is_conll};
use kiln_learn::hub::{EncoderModel, PieceAggregation};
use kiln_learn::metrics::{are_of_entities, entities};
use kiln_learn::model::Task;
use kiln_learn::{Predictor, TaggedWord};
use serde_json::{Value, json};

use super::texts::is_text;
use crate::{out, rows};

/// Tags the words of texts given, or of a file, and writes them as the tasks of CoNLL have them, or as objects.
pub(super) fn run(predictor: &Predictor, texts: &[String], inputs: &[PathBuf], json: bool) -> Result<()> {
    let sentences: Vec<Vec<String>> = match (texts, inputs) {
        ([], [input]) => match of_file(input)? {
            Sentences::Words(sentences) => sentences,
            Sentences::Lines(lines) => lines.iter().filter_map(|line| plain(line)).collect(),
        },
        ([], _) => bail!(
            "name a file of sentences (or - for the standard input), or give one: --text \"Ada lives in London\""
        ),
        (texts, _) => texts.iter().filter_map(|text| plain(text)).collect(),
    };
    let tagged = predictor.predict_tags_of_many(&sentences)?;
    let names = match &predictor.model().about().task {
        Task::Tags { names } => names.as_slice(),
        Task::Classes { .. } | Task::Numbers { .. } | Task::Several { .. } | Task::Text { .. } => &[],
    };
    print(&tagged, names, json)
}

/// The same of an encoder of a hub's folder, whose texts may also be named as they are.
pub(super) fn of_encoder(
    model: &EncoderModel,
    texts: &[String],
    inputs: &[PathBuf],
    by: PieceAggregation,
    json: bool,
) -> Result<()> {
    let of_lines = |lines: &[String]| {
        let lines = lines.iter().map(String::as_str).filter(|line| !line.trim().is_empty());
        model.predict_tags(lines, by)
    };
    let tagged = match (texts, inputs) {
        ([], []) => bail!("name texts, a file of sentences, or - for the standard input"),
        ([], [input]) if !is_text(input) => match of_file(input)? {
            Sentences::Words(sentences) => model.predict_tags_of_words(&sentences, by)?,
            Sentences::Lines(lines) => of_lines(&lines)?,
        },
        ([], inputs) => {
            if let Some(file) = inputs.iter().find(|input| !is_text(input)) {
                bail!("{}: name one file, or texts", file.display());
            }
            let texts: Vec<String> = inputs.iter().map(|text| text.to_string_lossy().into_owned()).collect();
            of_lines(&texts)?
        }
        (texts, _) => of_lines(texts)?,
    };
    print(&tagged, model.labels(), json)
}

/// Writes words with their tags, or objects.
fn print(tagged: &[Vec<TaggedWord>], names: &[String], json: bool) -> Result<()> {
    let has_entities = are_of_entities(names.iter().map(String::as_str));
    let mut out = out::RowWriter::new();
    for (place, words) in tagged.iter().enumerate() {
        if json {
            writeln!(out, "{}", object(words, has_entities))?;
            continue;
        }
        if place > 0 {
            writeln!(out)?;
        }
        words.iter().try_for_each(|word| writeln!(out, "{}\t{}", word.word, word.tag))?;
    }
    Ok(out.flush()?)
}

/// What a file holds.
enum Sentences {
    /// Words, those of each sentence.
    Words(Vec<Vec<String>>),
    /// A sentence on each line.
    Lines(Vec<String>),
}

/// The sentences of a file: of one with a word on each line and empty lines between sentences, else each line is a sentence.
fn of_file(input: &Path) -> Result<Sentences> {
    let text = rows::text(input)?;
    let name = input.extension().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let by_name = ["conll", "conllu", "conllx", "bio", "iob", "iob2"].contains(&name.as_str());
    if by_name || is_conll(&text) || is_words(&text) {
        let sentences = conll(&text).with_context(|| input.display().to_string())?;
        let words = sentences.into_iter().map(|TaggedSentence { words, .. }| words);
        return Ok(Sentences::Words(words.collect()));
    }
    Ok(Sentences::Lines(text.lines().map(str::to_string).collect()))
}

/// Whether each line has a word.
fn is_words(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    text.lines().count() > 1 && lines.all(|line| line.split_whitespace().count() == 1)
}

/// The words of a line.
fn plain(line: &str) -> Option<Vec<String>> {
    let words: Vec<String> = Predictor::words(line).into_iter().map(str::to_string).collect();
    (!words.is_empty()).then_some(words)
}

/// A sentence as an object; of a model whose tags speak of entities with those that are in it.
fn object(words: &[TaggedWord], has_entities: bool) -> Value {
    let tags: Vec<&str> = words.iter().map(|word| word.tag.as_str()).collect();
    let mut object = json!({
        "words": words.iter().map(|word| &word.word).collect::<Vec<_>>(),
        "tags": tags,
        "probabilities": words.iter().map(|word| word.probability).collect::<Vec<_>>(),
    });
    if has_entities {
        let found = entities(&tags).into_iter().map(|entity| {
            let text: Vec<&str> =
                words[entity.first..=entity.last].iter().map(|word| word.word.as_str()).collect();
            json!({ "kind": entity.kind, "text": text.join(" "), "first": entity.first, "last": entity.last })
        });
        object["entities"] = found.collect::<Vec<_>>().into();
    }
    object
}
