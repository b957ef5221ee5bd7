//! Tokens that stand beside the vocabulary and are looked for in a text before it is cut.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use serde::Deserialize;

use super::classes::is_word;
use super::model::PieceModel;
use super::normalizer::{Normalizer, TextPart};
use crate::error::Result;

/// One of them, as a file has it.
#[derive(Clone, Debug, Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    single_word: bool,
    /// Whether the spaces before it belong to it.
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Whether it is looked for in the text as it was changed.
    #[serde(default = "yes")]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

fn yes() -> bool {
    true
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct AddedTokens {
    codes: HashMap<String, u32>,
    tokens: BTreeMap<u32, AddedToken>,
    special: HashSet<String>,
    /// How those read that are changed as a text is.
    changed: HashMap<u32, String>,
    raw: Finder,
    normalized: Finder,
}

impl AddedTokens {
    /// A token that the vocabulary has keeps its code; others go behind the last.
    pub(super) fn new(
        list: serde_json::Value,
        model: &PieceModel,
        normalizer: Option<&Normalizer>,
    ) -> Result<AddedTokens, String> {
        let list: Vec<AddedToken> = serde_json::from_value(list).map_err(|error| error.to_string())?;
        let mut added = AddedTokens::default();
        let mut next = model.vocabulary().count() as u32;
        for token in list.into_iter().filter(|token| !token.content.is_empty()) {
            let code = added.code(&token.content).or_else(|| model.vocabulary().code(&token.content));
            let code = code.unwrap_or(next);
            next = next.max(code + 1);
            if token.normalized {
                let mut part = TextPart { text: Cow::Borrowed(&token.content), is_first: true };
                if let Some(normalizer) = normalizer {
                    normalizer.apply(&mut part).map_err(|error| error.to_string())?;
                }
                if part.text != token.content {
                    let text = part.text.into_owned();
                    added.changed.insert(code, text);
                }
            }
            if token.special {
                added.special.insert(token.content.clone());
            }
            added.codes.insert(token.content.clone(), code);
            added.tokens.insert(code, token);
        }
        for (&code, token) in &added.tokens {
            let finder = if token.normalized { &mut added.normalized } else { &mut added.raw };
            finder.add(added.changed.get(&code).unwrap_or(&token.content), code);
        }
        Ok(added)
    }

    pub(super) fn code(&self, token: &str) -> Option<u32> {
        self.codes.get(token).copied()
    }

    pub(super) fn token(&self, code: u32) -> Option<&str> {
        self.tokens.get(&code).map(|token| token.content.as_str())
    }

    /// A token as it stands among others before they are decoded.
    pub(super) fn written(&self, code: u32) -> Option<&str> {
        self.changed.get(&code).map(String::as_str).or_else(|| self.token(code))
    }

    pub(super) fn is_special(&self, token: &str) -> bool {
        self.special.contains(token)
    }

    pub(super) fn highest(&self) -> Option<u32> {
        self.tokens.keys().next_back().copied()
    }

    /// A text as parts to be cut further and codes of added tokens, changed by the normalizer.
    pub(super) fn split<'a>(
        &self,
        text: &'a str,
        normalizer: Option<&Normalizer>,
    ) -> Result<Vec<TextSegment<'a>>> {
        let mut segments = Vec::new();
        for raw in self.segments(TextPart { text: Cow::Borrowed(text), is_first: true }, &self.raw) {
            match raw {
                TextSegment::Part(mut part) => {
                    if let Some(normalizer) = normalizer {
                        normalizer.apply(&mut part)?;
                    }
                    segments.extend(self.segments(part, &self.normalized));
                }
                token @ TextSegment::Token(_) => segments.push(token),
            }
        }
        Ok(segments)
    }

    fn segments<'a>(&self, part: TextPart<'a>, finder: &Finder) -> Vec<TextSegment<'a>> {
        let found = self.found(&part.text, finder);
        if found.is_empty() {
            return if part.text.is_empty() { Vec::new() } else { vec![TextSegment::Part(part)] };
        }
        let mut segments = Vec::with_capacity(2 * found.len() + 1);
        let mut end = 0;
        let between = |range: Range<usize>, segments: &mut Vec<TextSegment<'a>>| {
            let mut parts = Vec::new();
            super::pretokenizer::cut(
                &part,
                [range].into_iter().filter(|range| !range.is_empty()),
                &mut parts,
            );
            segments.extend(parts.into_iter().map(TextSegment::Part));
        };
        for (range, code) in found {
            between(end..range.start, &mut segments);
            if !range.is_empty() {
                segments.push(TextSegment::Token(code));
            }
            end = range.end;
        }
        between(end..part.text.len(), &mut segments);
        segments
    }

    /// Where added tokens stand, with the spaces that belong to them.
    fn found(&self, text: &str, finder: &Finder) -> Vec<(Range<usize>, u32)> {
        let mut all: Vec<(Range<usize>, u32)> = Vec::new();
        let mut end = 0;
        let mut at = 0;
        while let Some((found, code)) = finder.next(text, at) {
            at = found.end;
            let Some(token) = self.tokens.get(&code) else { continue };
            let (before, behind) = (&text[..found.start], &text[found.end..]);
            let in_word =
                before.chars().next_back().is_some_and(is_word) || behind.chars().next().is_some_and(is_word);
            if token.single_word && in_word {
                continue;
            }
            let start = if token.lstrip { before.trim_end().len().max(end) } else { found.start };
            end = if token.rstrip { text.len() - behind.trim_start().len() } else { found.end };
            all.push((start..end, code));
        }
        all
    }
}

/// A piece of a text that is cut further, or an added token.
pub(super) enum TextSegment<'a> {
    Part(TextPart<'a>),
    Token(u32),
}

/// Looks for tokens in a text: the leftmost, and of those the longest.
#[derive(Clone, Debug, Default)]
struct Finder {
    /// By the first byte, the longest first.
    by_byte: HashMap<u8, Vec<(String, u32)>>,
    /// The first bytes.
    first: Vec<bool>,
}

impl Finder {
    fn add(&mut self, text: &str, code: u32) {
        let Some(&byte) = text.as_bytes().first() else { return };
        self.first.resize(256, false);
        self.first[usize::from(byte)] = true;
        let texts = self.by_byte.entry(byte).or_default();
        let place = texts.partition_point(|(known, _)| known.len() >= text.len());
        texts.insert(place, (text.to_string(), code));
    }

    fn next(&self, text: &str, from: usize) -> Option<(Range<usize>, u32)> {
        if self.first.is_empty() {
            return None;
        }
        let bytes = text.as_bytes();
        let starts = (from..bytes.len()).filter(|at| self.first[usize::from(bytes[*at])]);
        starts.into_iter().find_map(|at| {
            let texts = self.by_byte.get(&bytes[at])?;
            let (token, code) = texts.iter().find(|(token, _)| bytes[at..].starts_with(token.as_bytes()))?;
            Some((at..at + token.len(), *code))
        })
    }
}
