//! Sentences with a tag for each word: names of entities, parts of speech.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use kiln_learn::Preparation;
use kiln_learn::data::{self, Cut, Dataset, TaggedSentence, fractions};
use kiln_learn::model::{Task, listed};
use kiln_learn::preparation::TagPreparation;
use kiln_learn::presets::Suits;

use super::text::{TEXTS, called, is_padded, tokens};
use super::{Habits, Ties, TrainingData, counts, name_of, shares};
use crate::base::Base;
use crate::out::counted;
use crate::report::Shows;
use crate::settings::Settings;

const TAGS: Habits = Habits { preset: "bilstm", epochs: 20, batch_size: 16, early_stop: 5, ..TEXTS };

/// Pieces of a sentence that are seen at once, unless told otherwise.
const WINDOW: usize = 128;

/// Whether a file holds sentences with tags, whatever its name.
pub(super) fn is_tagged(path: &Path) -> Result<bool> {
    Ok(data::is_conll(&data::read_text(path)?))
}

/// A file of sentences, of which parts may stand in files of their own.
pub(super) fn tags(path: &Path, settings: &Settings, seed: u64, base: Option<&Base>) -> Result<TrainingData> {
    let sentences = data::read_conll(path)?;
    let own = |file: &Option<std::path::PathBuf>| file.as_ref().map(data::read_conll).transpose();
    let (own_test, own_valid) = (own(&settings.test)?, own(&settings.val)?);
    let mut parts = fractions(sentences.len(), &shares(settings, 0.1), seed)?.into_iter();
    let mut part = || -> Vec<TaggedSentence> {
        let rows = parts.next().unwrap_or_default();
        rows.into_iter().filter_map(|row| sentences.get(row).cloned()).collect()
    };
    let (train, valid, test) = (part(), part(), part());
    let (valid, test) = (own_valid.unwrap_or(valid), own_test.unwrap_or(test));

    let all = [&train, &valid, &test].into_iter().flatten();
    if let Some(sentence) = all.clone().find(|sentence| sentence.tags.is_empty()) {
        bail!(
            "{}: \"{}\" has words without tags; a word and its tag stand on each line",
            path.display(),
            sentence.words.join(" ")
        );
    }
    let mut names: Vec<String> = all.flat_map(|sentence| &sentence.tags).cloned().collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < 2 {
        bail!("{}: every word has the tag {}; there is nothing to learn", path.display(), listed(&names));
    }
    let preparation = match base.map(|base| (base.preparation(), base)) {
        Some((Preparation::Tags(tags), base)) => {
            if let (Task::Tags { names: own }, false) = (&base.model.about().task, base.head) {
                names.clone_from(own);
            }
            tags.clone()
        }
        Some((_, base)) => bail!("{}, and {} has tags for words", base.takes(), path.display()),
        None => {
            let words: String = train.iter().map(|sentence| sentence.words.join(" ") + "\n").collect();
            let tokens = tokens(&words, settings, Cut::Words).with_context(|| path.display().to_string())?;
            let padded = is_padded(settings, Suits::Tagged, TAGS.preset, &tokens)?;
            // No more than the longest sentence needs.
            let pieces = |sentence: &TaggedSentence| {
                sentence.words.iter().map(|word| tokens.encode(word).len().max(1)).sum::<usize>()
            };
            let longest = sentences.iter().map(pieces).max().unwrap_or(1);
            let window = settings.window.map_or(longest.clamp(1, WINDOW), |window| window.0);
            TagPreparation { padded, ..TagPreparation::new(tokens, window) }
        }
    };
    let rows = |part: &[TaggedSentence]| -> Result<Box<dyn Dataset>> {
        match base {
            Some(base) => Ok(Box::new(preparation.labelled(part, &names).with_context(|| base.hint())?)),
            None => Ok(Box::new(preparation.labelled(part, &names)?)),
        }
    };
    let shows = Shows::Words(test.iter().flat_map(around).collect());
    let words: usize =
        [&train, &valid, &test].into_iter().flatten().map(|sentence| sentence.words.len()).sum();
    let said = format!(
        "{} of {} with {}: {}; {} different {} in training",
        counted(train.len() + valid.len() + test.len(), "sentence"),
        counted(words, "word"),
        counted(names.len(), "tag"),
        listed(&names),
        preparation.tokens.count(),
        called(&preparation.tokens)
    );
    let (train, valid, test) = (rows(&train)?, rows(&valid)?, rows(&test)?);
    Ok(TrainingData {
        ties: Ties::Free,
        name: name_of(path),
        said: vec![said, counts(&*train, &*valid, &*test)],
        task: Task::Tags { names },
        train,
        valid,
        test,
        preparation: preparation.into(),
        front: String::new(),
        shows,
        habits: TAGS,
    })
}

/// Each word of a sentence with those around it.
fn around(sentence: &TaggedSentence) -> Vec<String> {
    const SIDE: usize = 3;
    let words = &sentence.words;
    let shown = |at: usize| {
        let before = words[at.saturating_sub(SIDE)..at].join(" ");
        let behind = words[at + 1..words.len().min(at + 1 + SIDE)].join(" ");
        format!("{before} [{}] {behind}", words[at]).trim().to_string()
    };
    (0..words.len()).map(shown).collect()
}
