//! Where a text is cut before its pieces are looked for; no piece reaches across a cut.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

use super::bytes::mapped;
use super::classes::{is_number, is_punctuation, is_word};
use super::normalizer::TextPart;
use super::pattern::{Behavior, Parts, Pattern};
use super::scanner::{GPT2, Scanner};
use crate::error::Result;

/// One way to cut, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Metaspace(Metaspace),
    Whitespace,
    WhitespaceSplit,
    #[serde(rename = "BertPreTokenizer")]
    Bert,
    Punctuation {
        #[serde(default = "isolated")]
        behavior: Behavior,
    },
    Digits {
        individual_digits: bool,
    },
    Split {
        pattern: Pattern,
        behavior: Behavior,
        invert: bool,
    },
    CharDelimiterSplit {
        delimiter: char,
    },
    FixedLength {
        #[serde(default = "five")]
        length: usize,
    },
}

/// Spaces as a character of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "MetaspaceFile")]
pub(super) struct Metaspace {
    pub(super) replacement: char,
    pub(super) prepend: Prepend,
    split: bool,
}

#[derive(Deserialize)]
struct MetaspaceFile {
    replacement: char,
    add_prefix_space: Option<bool>,
    #[serde(default)]
    prepend_scheme: Prepend,
    split: Option<bool>,
}

/// Which parts get a space in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Prepend {
    First,
    Never,
    #[default]
    Always,
}

impl TryFrom<MetaspaceFile> for Metaspace {
    type Error = &'static str;

    fn try_from(file: MetaspaceFile) -> std::result::Result<Metaspace, &'static str> {
        let MetaspaceFile { replacement, add_prefix_space, prepend_scheme, split } = file;
        if add_prefix_space == Some(false) && prepend_scheme != Prepend::Never {
            return Err("add_prefix_space is false, and prepend_scheme isn't \"never\"");
        }
        Ok(Metaspace { replacement, prepend: prepend_scheme, split: split.unwrap_or(true) })
    }
}

fn yes() -> bool {
    true
}

fn isolated() -> Behavior {
    Behavior::Isolated
}

fn five() -> usize {
    5
}

impl PreTokenizer {
    /// Whether the last thing done is to write bytes as characters, which can as well be done word by word.
    pub(super) fn ends_in_bytes(&self) -> bool {
        match self {
            PreTokenizer::ByteLevel { .. } => true,
            PreTokenizer::Sequence { pretokenizers } => {
                pretokenizers.last().is_some_and(PreTokenizer::ends_in_bytes)
            }
            _ => false,
        }
    }

    /// Cuts parts further. With `late_bytes` the last step leaves bytes as they are.
    pub(super) fn apply<'a>(&self, parts: Vec<TextPart<'a>>, late_bytes: bool) -> Result<Vec<TextPart<'a>>> {
        let mut all = Vec::with_capacity(parts.len());
        match self {
            PreTokenizer::Sequence { pretokenizers } => {
                let last = pretokenizers.len().wrapping_sub(1);
                return pretokenizers
                    .iter()
                    .enumerate()
                    .try_fold(parts, |parts, (at, each)| each.apply(parts, late_bytes && at == last));
            }
            PreTokenizer::ByteLevel { add_prefix_space, use_regex } => {
                for mut part in parts {
                    if *add_prefix_space && !part.text.starts_with(' ') {
                        part.text = Cow::Owned(format!(" {}", part.text));
                    }
                    let from = all.len();
                    match Scanner::of(GPT2).filter(|_| *use_regex) {
                        Some(words) => {
                            let mut ranges = Vec::new();
                            words.words(&part.text, |word| ranges.push(word));
                            cut(&part, ranges.into_iter(), &mut all);
                        }
                        None => all.push(part),
                    }
                    if !late_bytes {
                        all[from..].iter_mut().for_each(|part| part.text = mapped(&part.text).into());
                    }
                }
            }
            PreTokenizer::Metaspace(metaspace) => {
                for part in parts {
                    metaspace.apply(part, &mut all);
                }
            }
            PreTokenizer::Whitespace => {
                for part in parts {
                    cut(&part, words_and_signs(&part.text).into_iter(), &mut all);
                }
            }
            PreTokenizer::WhitespaceSplit => {
                by_char(&parts, char::is_whitespace, Behavior::Removed, &mut all)
            }
            PreTokenizer::Bert => {
                let mut words = Vec::with_capacity(parts.len());
                by_char(&parts, char::is_whitespace, Behavior::Removed, &mut words);
                by_char(&words, is_punctuation, Behavior::Isolated, &mut all);
            }
            PreTokenizer::Punctuation { behavior } => by_char(&parts, is_punctuation, *behavior, &mut all),
            PreTokenizer::Digits { individual_digits } => {
                let behavior = if *individual_digits { Behavior::Isolated } else { Behavior::Contiguous };
                by_char(&parts, is_number, behavior, &mut all);
            }
            PreTokenizer::Split { pattern, behavior, invert } => {
                for part in parts {
                    let found = Parts::of(&part.text, pattern, *invert)?;
                    cut(&part, found.cut(*behavior), &mut all);
                }
            }
            PreTokenizer::CharDelimiterSplit { delimiter } => {
                by_char(&parts, |c| c == *delimiter, Behavior::Removed, &mut all);
            }
            PreTokenizer::FixedLength { length } => {
                for part in parts {
                    let starts = part.text.char_indices().map(|(at, _)| at).step_by((*length).max(1));
                    let ends = starts.clone().skip(1).chain([part.text.len()]);
                    cut(&part, starts.zip(ends).map(|(start, end)| start..end), &mut all);
                }
            }
        }
        Ok(all)
    }
}

impl Metaspace {
    fn apply<'a>(&self, part: TextPart<'a>, all: &mut Vec<TextPart<'a>>) {
        let sign = self.replacement;
        let mut text = part.text.replace(' ', sign.encode_utf8(&mut [0; 4]));
        let prepends = match self.prepend {
            Prepend::Always => true,
            Prepend::First => part.is_first,
            Prepend::Never => false,
        };
        if prepends && !text.starts_with(sign) {
            text.insert(0, sign);
        }
        let part = TextPart { text: text.into(), is_first: part.is_first };
        match self.split {
            true => cut(&part, Parts::chars(&part.text, |c| c == sign).cut(Behavior::MergedWithNext), all),
            false => all.push(part),
        }
    }
}

/// `\w+|[^\w\s]+`: runs of letters and digits, and runs of signs.
fn words_and_signs(text: &str) -> Vec<Range<usize>> {
    let sort = |c: char| if is_word(c) { Some(true) } else { (!c.is_whitespace()).then_some(false) };
    let mut words: Vec<(Range<usize>, bool)> = Vec::new();
    for (at, c) in text.char_indices() {
        let Some(sort) = sort(c) else { continue };
        let end = at + c.len_utf8();
        match words.last_mut() {
            Some((last, before)) if last.end == at && *before == sort => last.end = end,
            _ => words.push((at..end, sort)),
        }
    }
    words.into_iter().map(|(word, _)| word).collect()
}

fn by_char<'a>(
    parts: &[TextPart<'a>],
    is_match: impl Fn(char) -> bool,
    behavior: Behavior,
    all: &mut Vec<TextPart<'a>>,
) {
    for part in parts {
        cut(part, Parts::chars(&part.text, &is_match).cut(behavior), all);
    }
}

/// Parts of a part; of one that is borrowed they are borrowed too.
pub(super) fn cut<'a>(
    part: &TextPart<'a>,
    ranges: impl Iterator<Item = Range<usize>>,
    all: &mut Vec<TextPart<'a>>,
) {
    all.extend(ranges.map(|range| {
        let is_first = part.is_first && range.start == 0;
        let text = match &part.text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
            Cow::Owned(text) => Cow::Owned(text[range].to_string()),
        };
        TextPart { text, is_first }
    }));
}
