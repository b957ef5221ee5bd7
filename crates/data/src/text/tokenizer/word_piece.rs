//! WordPiece: the longest piece that is known, from the left. And whole words.

use serde::Deserialize;

use super::piece_table::PieceTable;
use crate::error::{Error, Result};

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WordPiece {
    #[serde(rename = "vocab")]
    pub(super) vocabulary: PieceTable,
    unk_token: String,
    continuing_subword_prefix: String,
    #[serde(default = "hundred")]
    max_input_chars_per_word: usize,
}

fn hundred() -> usize {
    100
}

impl WordPiece {
    pub(super) fn encode(&self, word: &str) -> Result<Vec<u32>> {
        let is_long = word.chars().count() > self.max_input_chars_per_word;
        match self.pieces(word).filter(|_| !is_long) {
            Some(codes) => Ok(codes),
            None => unknown(&self.vocabulary, &self.unk_token).map(|code| vec![code]),
        }
    }

    fn pieces(&self, word: &str) -> Option<Vec<u32>> {
        let mut codes = Vec::new();
        let mut start = 0;
        let mut piece = String::with_capacity(word.len() + self.continuing_subword_prefix.len());
        while start < word.len() {
            piece.clear();
            piece.push_str(if start > 0 { &self.continuing_subword_prefix } else { "" });
            let prefix = piece.len();
            piece.push_str(&word[start..]);
            let code = loop {
                if piece.len() == prefix {
                    return None;
                }
                match self.vocabulary.code(&piece) {
                    Some(code) => break code,
                    None => piece.pop(),
                };
            };
            codes.push(code);
            start += piece.len() - prefix;
        }
        Some(codes)
    }
}

/// Words that are known, and one code for all others.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WordLevel {
    #[serde(rename = "vocab")]
    pub(super) vocabulary: PieceTable,
    unk_token: String,
}

impl WordLevel {
    pub(super) fn encode(&self, word: &str) -> Result<Vec<u32>> {
        let code = self.vocabulary.code(word);
        code.map_or_else(|| unknown(&self.vocabulary, &self.unk_token), Ok).map(|code| vec![code])
    }
}

fn unknown(vocabulary: &PieceTable, token: &str) -> Result<u32> {
    let missing =
        || Error::new(format!("a word isn't known, and the token for what isn't, {token:?}, has no code"));
    vocabulary.code(token).ok_or_else(missing)
}
