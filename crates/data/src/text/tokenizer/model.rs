//! What makes pieces of a word.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt as _};
use serde::Deserialize;

use super::bpe::Bpe;
use super::bytes::mapped;
use super::normalizer::Part;
use super::unigram::Unigram;
use super::vocabulary::Vocabulary;
use super::word_piece::{WordLevel, WordPiece};
use crate::error::Result;

/// One of the kinds there are.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Model {
    #[serde(rename = "BPE")]
    Bpe(Bpe),
    WordPiece(WordPiece),
    WordLevel(WordLevel),
    Unigram(Unigram),
}

impl Model {
    pub(super) fn vocabulary(&self) -> &Vocabulary {
        match self {
            Model::Bpe(model) => &model.vocabulary,
            Model::WordPiece(model) => &model.vocabulary,
            Model::WordLevel(model) => &model.vocabulary,
            Model::Unigram(model) => &model.vocabulary,
        }
    }

    /// A word in parts whose codes are those of the word.
    fn cut<'w>(&self, word: &'w str) -> Vec<&'w str> {
        match self {
            Model::Bpe(model) => model.cut(word),
            Model::WordPiece(_) | Model::WordLevel(_) | Model::Unigram(_) => vec![word],
        }
    }

    fn encode(&self, word: &str) -> Result<Vec<u32>> {
        match self {
            Model::Bpe(model) => Ok(model.encode(word)),
            Model::WordPiece(model) => model.encode(word),
            Model::WordLevel(model) => model.encode(word),
            Model::Unigram(model) => model.encode(word),
        }
    }
}

/// Words that were seen in a text, so that each is cut once.
pub(super) struct Words<'m, 'a> {
    model: &'m Model,
    /// Whether bytes are written as characters first.
    in_bytes: bool,
    seen: HashMap<Cow<'a, str>, Box<[u32]>>,
    /// Of longer words.
    parts: HashMap<Box<str>, Box<[u32]>>,
}

impl<'m, 'a> Words<'m, 'a> {
    pub(super) fn new(model: &'m Model, in_bytes: bool) -> Words<'m, 'a> {
        Words { model, in_bytes, seen: HashMap::new(), parts: HashMap::new() }
    }

    /// Adds the codes of a word.
    pub(super) fn encode(&mut self, part: Part<'a>, codes: &mut Vec<u32>) -> Result<()> {
        if let Some(seen) = self.seen.get(&part.text) {
            codes.extend_from_slice(seen);
            return Ok(());
        }
        let word = if self.in_bytes { mapped(&part.text).into() } else { Cow::Borrowed(&*part.text) };
        let from = codes.len();
        for part in self.model.cut(&word) {
            if let Some(seen) = self.parts.get(part) {
                codes.extend_from_slice(seen);
                continue;
            }
            let own = self.model.encode(part)?;
            codes.extend_from_slice(&own);
            if part.len() < word.len() {
                self.parts.insert(part.into(), own.into());
            }
        }
        self.seen.insert(part.text, codes[from..].into());
        Ok(())
    }
}
