//! The pieces a text is cut in, and their codes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::merges::Merges;
use crate::error::{Error, Result};

/// What the pieces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Letters, signs and spaces, one by one.
    Characters,
    /// Bytes: 256 codes whatever the text.
    Bytes,
    /// Words, numbers and single signs, without the spaces between them.
    Words,
    /// Bytes, and what stands together most often in the text, up to whole words: byte pair encoding.
    Merged,
}

/// The pieces that are known. Of characters and words the first code, 0, stands for all others.
///
/// ```
/// use kiln_data::{Cut, Tokens};
///
/// let tokens = Tokens::fit("to be or not to be", Cut::Words, 100)?;
/// let codes = tokens.encode("to be, or what?");
/// assert_eq!(codes.iter().filter(|code| **code == 0).count(), 3);
/// assert_eq!(tokens.decode(&tokens.encode("not to be")), "not to be");
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredTokens", into = "StoredTokens")]
pub struct Tokens {
    cut: Cut,
    pieces: Vec<String>,
    codes: HashMap<String, u32>,
    merges: Merges,
}

/// What a file holds of them.
#[derive(Clone, Serialize, Deserialize)]
struct StoredTokens {
    cut: Cut,
    pieces: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    merges: Vec<(u32, u32)>,
}

/// What stands in a text for a piece that isn't known.
const UNKNOWN: &str = "\u{fffd}";

impl TryFrom<StoredTokens> for Tokens {
    type Error = &'static str;

    fn try_from(stored: StoredTokens) -> std::result::Result<Tokens, &'static str> {
        let StoredTokens { cut, pieces, merges } = stored;
        let codes = pieces.iter().enumerate().map(|(code, piece)| (piece.clone(), code as u32)).collect();
        let merges = Merges::from_pairs(merges).ok_or("a merge names a piece that isn't known before it")?;
        Ok(Tokens { cut, pieces, codes, merges })
    }
}

impl From<Tokens> for StoredTokens {
    fn from(tokens: Tokens) -> StoredTokens {
        let Tokens { cut, pieces, merges, .. } = tokens;
        StoredTokens { cut, pieces, merges: merges.pairs().to_vec() }
    }
}

impl Tokens {
    /// The pieces of a text, the most frequent `most` of them, in a fixed order.
    ///
    /// # Errors
    /// Where the text has no piece, or none may be kept.
    pub fn fit(text: &str, cut: Cut, most: usize) -> Result<Tokens> {
        let merges = match cut {
            Cut::Merged if most < 257 => {
                return Err(Error::new(format!("{most} pieces are too few: there are 256 bytes already")));
            }
            Cut::Merged => Merges::fit(text, most),
            _ => Merges::default(),
        };
        if matches!(cut, Cut::Bytes | Cut::Merged) {
            return Ok(Tokens { cut, pieces: Vec::new(), codes: HashMap::new(), merges });
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        pieces(text, cut)
            .filter(|piece| *piece != UNKNOWN)
            .for_each(|piece| *counts.entry(piece).or_default() += 1);
        if counts.is_empty() || most == 0 {
            return Err(Error::new("there is nothing to read in the text"));
        }
        let mut sorted: Vec<(&str, usize)> = counts.into_iter().collect();
        sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let known = sorted.into_iter().take(most).map(|(piece, _)| piece.to_string());
        let pieces = std::iter::once(UNKNOWN.to_string()).chain(known).collect();
        StoredTokens { cut, pieces, merges: Vec::new() }.try_into().map_err(Error::new)
    }

    /// How many codes there are.
    pub fn count(&self) -> usize {
        match self.cut {
            Cut::Bytes | Cut::Merged => self.merges.count(),
            Cut::Characters | Cut::Words => self.pieces.len(),
        }
    }

    /// What the pieces are.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    /// The code that stands for all pieces that aren't known, where one does.
    pub fn unknown(&self) -> Option<u32> {
        match self.cut {
            Cut::Characters | Cut::Words => Some(0),
            Cut::Bytes | Cut::Merged => None,
        }
    }

    #[cfg(feature = "tokenizer")]
    pub(super) fn merges(&self) -> &Merges {
        &self.merges
    }

    #[cfg(feature = "tokenizer")]
    pub(super) fn pieces(&self) -> &[String] {
        &self.pieces
    }

    /// A text as codes.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        match self.cut {
            Cut::Bytes | Cut::Merged => self.merges.encode(text),
            cut => pieces(text, cut).map(|piece| self.codes.get(piece).copied().unwrap_or(0)).collect(),
        }
    }

    /// Codes as a text.
    pub fn decode(&self, codes: &[u32]) -> String {
        let piece = |code: &u32| self.pieces.get(*code as usize).map_or(UNKNOWN, String::as_str);
        match self.cut {
            Cut::Bytes | Cut::Merged => String::from_utf8_lossy(&self.merges.decode(codes)).into_owned(),
            Cut::Characters => codes.iter().map(piece).collect(),
            Cut::Words => {
                let mut text = String::new();
                for piece in codes.iter().map(piece) {
                    let sign = piece.chars().all(|c| c.is_ascii_punctuation());
                    if !text.is_empty() && !sign {
                        text.push(' ');
                    }
                    text += piece;
                }
                text
            }
        }
    }
}

/// The pieces of a text, one after the other.
fn pieces(text: &str, cut: Cut) -> Box<dyn Iterator<Item = &str> + '_> {
    let character = |(at, c): (usize, char)| &text[at..at + c.len_utf8()];
    if cut == Cut::Characters {
        return Box::new(text.char_indices().map(character));
    }
    let mut rest = text;
    Box::new(std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
        let end = match word(first) {
            true => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        Some(piece)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_comes_back() {
        let text = "Grüße, «Welt»!\nIt's 3 o'clock.";
        for cut in [Cut::Characters, Cut::Bytes, Cut::Merged] {
            let tokens = Tokens::fit(text, cut, 1000).unwrap();
            assert_eq!(tokens.decode(&tokens.encode(text)), text);
        }
        let words = Tokens::fit(text, Cut::Words, 1000).unwrap();
        assert_eq!(words.encode("It's o'clock").len(), 2);
        for tokens in [words, Tokens::fit(&text.repeat(3), Cut::Merged, 300).unwrap()] {
            let stored = serde_json::to_string(&tokens).unwrap();
            assert_eq!(serde_json::from_str::<Tokens>(&stored).unwrap(), tokens);
        }
        let damaged = r#"{"cut":"merged","pieces":[],"merges":[[97,300]]}"#;
        assert!(serde_json::from_str::<Tokens>(damaged).is_err());
    }

    #[test]
    fn only_the_most_frequent_have_a_code() {
        let tokens = Tokens::fit("aaabbc", Cut::Characters, 2).unwrap();
        assert_eq!(tokens.count(), 3);
        assert_eq!(tokens.encode("abcx"), [1, 2, 0, 0]);
        let mark = Tokens::fit("a\u{fffd}", Cut::Characters, 9).unwrap();
        assert_eq!((mark.count(), mark.encode("\u{fffd}a")), (2, vec![0, 1]));
        assert!(Tokens::fit("  \n", Cut::Words, 10).is_err());
    }
}
