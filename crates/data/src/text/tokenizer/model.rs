//! What makes pieces of a word.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt as _};
use serde::Deserialize;

use super::bpe::Bpe;
use super::bytes::mapped;
use super::normalizer::TextPart;
use super::piece_table::PieceTable;
use super::unigram::Unigram;
use super::word_piece::{WordLevel, WordPiece};
use crate::error::Result;

/// One of the kinds there are.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum PieceModel {
    #[serde(rename = "BPE")]
    Bpe(Bpe),
    WordPiece(WordPiece),
    WordLevel(WordLevel),
    Unigram(Unigram),
}

impl PieceModel {
    pub(super) fn vocabulary(&self) -> &PieceTable {
        match self {
            PieceModel::Bpe(model) => &model.vocabulary,
            PieceModel::WordPiece(model) => &model.vocabulary,
            PieceModel::WordLevel(model) => &model.vocabulary,
            PieceModel::Unigram(model) => &model.vocabulary,
        }
    }

    /// A word in parts whose codes are those of the word.
    fn cut<'w>(&self, word: &'w str) -> Vec<&'w str> {
        match self {
            PieceModel::Bpe(model) => model.cut(word),
            PieceModel::WordPiece(_) | PieceModel::WordLevel(_) | PieceModel::Unigram(_) => vec![word],
        }
    }

    fn encode(&self, word: &str) -> Result<Vec<u32>> {
        match self {
            PieceModel::Bpe(model) => Ok(model.encode(word)),
            PieceModel::WordPiece(model) => model.encode(word),
            PieceModel::WordLevel(model) => model.encode(word),
            PieceModel::Unigram(model) => model.encode(word),
        }
    }
}

/// WordCodes that were seen in a text, so that each is cut once.
pub(super) struct WordCodes<'m, 'a> {
    model: &'m PieceModel,
    /// Whether bytes are written as characters first.
    in_bytes: bool,
    seen: HashMap<Cow<'a, str>, Box<[u32]>>,
    /// Of longer words.
    parts: HashMap<Box<str>, Box<[u32]>>,
}

impl<'m, 'a> WordCodes<'m, 'a> {
    pub(super) fn new(model: &'m PieceModel, in_bytes: bool) -> WordCodes<'m, 'a> {
        WordCodes { model, in_bytes, seen: HashMap::new(), parts: HashMap::new() }
    }

    /// Adds the codes of a word.
    pub(super) fn encode(&mut self, part: TextPart<'a>, codes: &mut Vec<u32>) -> Result<()> {
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
