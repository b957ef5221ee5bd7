//! Sentences as codes with a tag for each word.

use kiln_data::{Form, Meaning, NO_LABEL, PADDING, Set, TaggedSentence, Tokens, ValueKind, bucket};
use kiln_map::Budget;
use serde::{Deserialize, Serialize};

use super::room;
use super::text::sees;
use super::unanswered::unanswered;
use crate::row::InputSpec;
use crate::{Error, Result};

/// How sentences become rows of codes of which each word has one that its tag stands at: its first piece. A sentence of more pieces than are seen at
/// once is cut between words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagPreparation {
    /// The pieces that are known.
    pub tokens: Tokens,
    /// How many are seen at once.
    pub window: usize,
    /// Whether sentences come as sequences of differing lengths, of which layers behind `embedding … padded` know where they end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub padded: bool,
}

/// A part of a sentence as a row.
pub(crate) struct TagRow {
    pub codes: Vec<u32>,
    /// Where each word begins.
    pub places: Vec<usize>,
}

impl TagPreparation {
    /// Of these pieces, of which so many are seen at once, in sequences of differing lengths.
    pub fn new(tokens: Tokens, window: usize) -> TagPreparation {
        TagPreparation { tokens, window, padded: true }
    }

    /// The form of its rows.
    pub fn form(&self) -> Form {
        let meaning = Meaning::Codes { count: self.tokens.count() };
        Form { kind: ValueKind::I64, shape: vec![self.window], meaning }
    }

    /// A sentence in parts that are seen at once.
    pub(crate) fn parts<W: AsRef<str>>(&self, words: &[W]) -> Vec<TagRow> {
        let mut parts: Vec<TagRow> = Vec::new();
        for word in words {
            let mut codes = self.tokens.encode(word.as_ref());
            if codes.is_empty() {
                codes.push(self.tokens.unknown().unwrap_or(0));
            }
            codes.truncate(self.window);
            let fits = |part: &TagRow| part.codes.len() + codes.len() <= self.window;
            if !parts.last().is_some_and(fits) {
                parts.push(TagRow { codes: Vec::new(), places: Vec::new() });
            }
            if let Some(part) = parts.last_mut() {
                part.places.push(part.codes.len());
                part.codes.extend(codes);
            }
        }
        parts
    }

    /// Sentences with tags as rows with a label at each word. Labels count as these names do.
    ///
    /// # Errors
    /// Where a word has no tag, or one that isn't among the names; it names it.
    pub fn labelled(&self, sentences: &[TaggedSentence], names: &[String]) -> Result<Set> {
        let known: std::collections::HashMap<&str, i64> = names.iter().map(String::as_str).zip(0..).collect();
        let (mut codes, mut labels, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        let budget = Budget::default();
        for (place, sentence) in sentences.iter().enumerate() {
            if sentence.tags.len() != sentence.words.len() {
                return Err(Error::Preparation(format!("the words of sentence {} have no tags", place + 1)));
            }
            let own = sentence.tags.iter().zip(&sentence.words).map(|(tag, word)| {
                known.get(tag.as_str()).copied().ok_or_else(|| {
                    let names = crate::model::listed(names);
                    Error::Preparation(format!(
                        "{word} in sentence {} has the tag {tag}, and the model knows {names}",
                        place + 1
                    ))
                })
            });
            let mut own = own.collect::<Result<Vec<i64>>>()?.into_iter();
            for part in self.parts(&sentence.words) {
                room(&budget, self.window)?;
                let mut row = vec![NO_LABEL; self.window];
                part.places.iter().zip(&mut own).for_each(|(&at, label)| row[at] = label);
                labels.extend(row);
                self.add(&part, &mut codes, &mut lengths);
            }
        }
        let form = Form {
            kind: ValueKind::I64,
            shape: vec![self.window],
            meaning: Meaning::Codes { count: names.len() },
        };
        let set = Set::new(codes, self.form(), labels, form)?.named(names);
        if self.padded { Ok(set.with_lengths(lengths)?) } else { Ok(set) }
    }

    /// Parts of sentences as rows without tags.
    pub(crate) fn rows(&self, parts: &[TagRow]) -> Result<Set> {
        let (mut codes, mut lengths) = (Vec::new(), Vec::new());
        parts.iter().for_each(|part| self.add(part, &mut codes, &mut lengths));
        let set = unanswered(codes, self.form(), parts.len())?;
        if self.padded { Ok(set.with_lengths(lengths)?) } else { Ok(set) }
    }

    fn add(&self, part: &TagRow, codes: &mut Vec<i64>, lengths: &mut Vec<u32>) {
        let own = part.codes.iter().map(|&code| i64::from(code));
        codes.extend(own.chain(std::iter::repeat(0)).take(self.window));
        lengths.push(part.codes.len() as u32);
    }

    /// A part as one row, as long as it needs.
    pub(crate) fn row(&self, part: &TagRow) -> (Form, Vec<i64>) {
        let (length, filling) = match self.padded {
            true => (bucket(part.codes.len(), self.window), PADDING),
            false => (self.window, 0),
        };
        let own = part.codes.iter().map(|&code| i64::from(code));
        let codes = own.chain(std::iter::repeat(filling)).take(length).collect();
        (Form { shape: vec![length], ..self.form() }, codes)
    }

    pub(super) fn check(&self, input: &InputSpec) -> Result<()> {
        sees(self.window, self.tokens.count(), input)
    }
}
