//! What is changed in a text before it is cut.

use serde::Deserialize;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_segmentation::UnicodeSegmentation;

use super::bytes::mapped;
use super::charsmap::CharsMap;
use super::classes::{is_control, is_ideograph, is_nonspacing};
use super::pattern::Pattern;
use crate::error::Result;

/// One change, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Normalizer {
    Sequence {
        normalizers: Vec<Normalizer>,
    },
    #[serde(rename = "BertNormalizer")]
    Bert {
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: Option<bool>,
        lowercase: bool,
    },
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    StripAccents,
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    Nmt,
    Precompiled {
        precompiled_charsmap: CharsMap,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Prepend {
        prepend: String,
    },
    ByteLevel,
}

/// A part of a text on its way to codes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TextPart<'a> {
    pub(super) text: std::borrow::Cow<'a, str>,
    /// Whether its first character is what the first of the whole text became.
    pub(super) is_first: bool,
}

impl TextPart<'_> {
    fn change(&mut self, changed: String) {
        self.text = changed.into();
    }

    /// Only the characters for which `keep` holds.
    fn filter(&mut self, keep: impl Fn(char) -> bool) {
        if self.text.chars().all(&keep) {
            return;
        }
        self.is_first &= self.text.chars().next().is_some_and(&keep);
        self.change(self.text.chars().filter(|c| keep(*c)).collect());
    }
}

impl Normalizer {
    pub(super) fn apply(&self, part: &mut TextPart) -> Result<()> {
        match self {
            Normalizer::Sequence { normalizers } => {
                for normalizer in normalizers {
                    normalizer.apply(part)?;
                }
            }
            Normalizer::Bert { clean_text, handle_chinese_chars, strip_accents, lowercase } => {
                if *clean_text {
                    part.filter(|c| !matches!(c, '\0' | '\u{fffd}') && !is_control(c));
                    part.change(part.text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect());
                }
                if *handle_chinese_chars && part.text.chars().any(is_ideograph) {
                    let spaced =
                        |c| [is_ideograph(c).then_some(' '), Some(c), is_ideograph(c).then_some(' ')];
                    part.change(part.text.chars().flat_map(spaced).flatten().collect());
                }
                if strip_accents.unwrap_or(*lowercase) {
                    part.change(part.text.nfd().collect());
                    part.filter(|c| !is_nonspacing(c));
                }
                if *lowercase {
                    part.change(lowered(&part.text));
                }
            }
            Normalizer::Strip { strip_left, strip_right } => {
                let right = if *strip_right { part.text.trim_end() } else { &part.text };
                let both = if *strip_left { right.trim_start() } else { right };
                part.is_first &= both.len() == right.len();
                part.change(both.to_string());
            }
            Normalizer::StripAccents => part.filter(|c| !is_combining_mark(c)),
            Normalizer::Nfc => part.change(part.text.nfc().collect()),
            Normalizer::Nfd => part.change(part.text.nfd().collect()),
            Normalizer::Nfkc => part.change(part.text.nfkc().collect()),
            Normalizer::Nfkd => part.change(part.text.nfkd().collect()),
            Normalizer::Lowercase => part.change(lowered(&part.text)),
            Normalizer::Nmt => {
                part.filter(|c| !matches!(u32::from(c), 1..=8 | 0xb | 0xe..=0x1f | 0x7f | 0x8f | 0x9f));
                let space = |c: char| {
                    matches!(
                        u32::from(c),
                        9 | 0xa | 0xc | 0xd | 0x1680 | 0x200b
                            ..=0x200f | 0x2028 | 0x2029 | 0x2581 | 0xfeff | 0xfffd
                    )
                };
                part.change(part.text.chars().map(|c| if space(c) { ' ' } else { c }).collect());
            }
            Normalizer::Precompiled { precompiled_charsmap } => {
                part.change(by_map(&part.text, precompiled_charsmap))
            }
            Normalizer::Replace { pattern, content } => {
                let mut head = 0;
                pattern.find(&part.text, |found| head = if found.start == 0 { found.end } else { head })?;
                if let Some(replaced) = pattern.replace(&part.text, content)? {
                    // What several characters became is said to come from the last of them.
                    part.is_first &=
                        head == 0 || !content.is_empty() && part.text[..head].chars().nth(1).is_none();
                    part.change(replaced);
                }
            }
            Normalizer::Prepend { prepend } if !part.text.is_empty() => {
                part.change(format!("{prepend}{}", part.text));
            }
            Normalizer::Prepend { .. } => {}
            Normalizer::ByteLevel => part.change(mapped(&part.text)),
        }
        Ok(())
    }
}

/// Character by character: a sigma at the end of a word is as any other.
fn lowered(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Short clusters of characters as a whole where there is a rule, else each character.
fn by_map(text: &str, map: &CharsMap) -> String {
    let mut changed = String::with_capacity(text.len());
    for cluster in text.graphemes(true) {
        match map.get(cluster).filter(|_| cluster.len() < 6) {
            Some(rule) => changed.push_str(rule),
            None => cluster.chars().for_each(|c| match map.get(c.encode_utf8(&mut [0; 4])) {
                Some(rule) => changed.push_str(rule),
                None => changed.push(c),
            }),
        }
    }
    changed
}
