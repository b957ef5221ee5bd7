//! Where a text is cut: at a text, or at what a regular expression matches.

use std::ops::Range;

use serde::Deserialize;

use super::scanner::Scanner;
use crate::error::{Error, Result};

/// What a file says of a pattern.
#[derive(Deserialize)]
enum PatternFile {
    String(String),
    Regex(String),
}

/// What is looked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PatternFile")]
pub(super) enum Pattern {
    Text(String),
    /// An expression that is so common that it has a scanner of its own.
    Known(Scanner),
    Expression(Box<fancy_regex::Regex>),
}

impl TryFrom<PatternFile> for Pattern {
    type Error = String;

    fn try_from(file: PatternFile) -> std::result::Result<Pattern, String> {
        match file {
            PatternFile::String(text) if text.is_empty() => Err("a pattern is an empty text".to_string()),
            PatternFile::String(text) => Ok(Pattern::Text(text)),
            PatternFile::Regex(expression) => match Scanner::of(&expression) {
                Some(scanner) => Ok(Pattern::Known(scanner)),
                None => Pattern::expression(&expression),
            },
        }
    }
}

impl Pattern {
    /// By an expression, without a scanner.
    pub(super) fn expression(expression: &str) -> std::result::Result<Pattern, String> {
        let compiled = fancy_regex::Regex::new(&with_words(expression));
        let regex =
            compiled.map_err(|error| format!("the pattern {expression:?} isn't understood: {error}"))?;
        Ok(Pattern::Expression(Box::new(regex)))
    }

    /// Calls `found` with each match, one after the other; none overlap.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(Range<usize>)) -> Result<()> {
        match self {
            Pattern::Text(sought) => {
                text.match_indices(sought.as_str()).for_each(|(at, sought)| found(at..at + sought.len()));
            }
            Pattern::Known(scanner) => scanner.words(text, found),
            Pattern::Expression(regex) => {
                for matched in regex.find_iter(text) {
                    let fault =
                        |error| Error::new(format!("the pattern {:?} fails: {error}", regex.as_str()));
                    found(matched.map_err(fault)?.range());
                }
            }
        }
        Ok(())
    }

    /// The text with `content` for each match; whether anything matched.
    pub(super) fn replace(&self, text: &str, content: &str) -> Result<Option<String>> {
        let (mut replaced, mut end, mut any) = (String::new(), 0, false);
        self.find(text, |found| {
            replaced.push_str(&text[end..found.start]);
            replaced.push_str(content);
            end = found.end;
            any = true;
        })?;
        replaced.push_str(&text[end..]);
        Ok(any.then_some(replaced))
    }
}

/// An expression with what `\\w` means to those who write such files: letters, marks, numbers and connectors.
fn with_words(expression: &str) -> String {
    const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}²³¹¼½¾";
    let (mut all, mut chars, mut depth) = (String::with_capacity(expression.len()), expression.chars(), 0);
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next().filter(|_| c == '\\')) {
            ('\\', Some('w')) if depth > 0 => all.push_str(WORD),
            ('\\', Some('w')) => all.push_str(&format!("[{WORD}]")),
            ('\\', Some('W')) => all.push_str(&format!("[^{WORD}]")),
            ('\\', Some(escaped)) => all.extend(['\\', escaped]),
            _ => {
                depth = match c {
                    '[' => depth + 1,
                    ']' => (depth - 1).max(0),
                    _ => depth,
                };
                all.push(c);
                continue;
            }
        }
        chars.next();
    }
    all
}

/// What becomes of what a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// The parts of a text, from whether each is a match.
#[derive(Default)]
pub(super) struct Parts(Vec<(Range<usize>, bool)>);

impl Parts {
    /// What a pattern matches, and what lies between.
    pub(super) fn of(text: &str, pattern: &Pattern, invert: bool) -> Result<Parts> {
        let mut parts = Parts::default();
        pattern.find(text, |found| parts.matched(found, invert))?;
        parts.finish(text, invert);
        Ok(parts)
    }

    /// Each character for which `is_match` holds, and what lies between.
    pub(super) fn chars(text: &str, is_match: impl Fn(char) -> bool) -> Parts {
        let mut parts = Parts::default();
        for (at, c) in text.char_indices().filter(|(_, c)| is_match(*c)) {
            parts.matched(at..at + c.len_utf8(), false);
        }
        parts.finish(text, false);
        parts
    }

    fn end(&self) -> usize {
        self.0.last().map_or(0, |(part, _)| part.end)
    }

    fn matched(&mut self, found: Range<usize>, invert: bool) {
        let end = self.end();
        if end < found.start {
            self.0.push((end..found.start, invert));
        }
        self.0.push((found, !invert));
    }

    fn finish(&mut self, text: &str, invert: bool) {
        let end = self.end();
        if end < text.len() {
            self.0.push((end..text.len(), invert));
        }
    }

    /// What is left of them, none empty.
    pub(super) fn cut(self, behavior: Behavior) -> impl Iterator<Item = Range<usize>> {
        use Behavior::{Contiguous, Isolated, MergedWithNext, MergedWithPrevious, Removed};
        let mut parts = self.0;
        match behavior {
            Removed => parts.retain(|(_, matched)| !matched),
            Isolated => {}
            Contiguous => parts = joined(parts, |before, matched| before == matched),
            MergedWithPrevious => parts = joined(parts, |before, matched| matched && !before),
            MergedWithNext => {
                parts.reverse();
                parts = joined(parts, |before, matched| matched && !before);
                parts.reverse();
            }
        }
        parts.into_iter().map(|(part, _)| part).filter(|part| !part.is_empty())
    }
}

/// Parts joined with their neighbour where `join` says so of whether both are matches. Before the first there is no match.
fn joined(parts: Vec<(Range<usize>, bool)>, join: impl Fn(bool, bool) -> bool) -> Vec<(Range<usize>, bool)> {
    let mut before = false;
    let mut all: Vec<(Range<usize>, bool)> = Vec::with_capacity(parts.len());
    for (part, matched) in parts {
        match all.last_mut() {
            Some((last, _)) if join(before, matched) => {
                *last = last.start.min(part.start)..last.end.max(part.end);
            }
            _ => all.push((part, matched)),
        }
        before = matched;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_small_numbers_in_it() {
        assert!(with_words(r"\\w\[[a\w]").starts_with(r"\\w\[[a\p{Alphabetic}"));
        for (expression, text, found) in [
            (r"\w+", "a³b c", 0..4),
            (r"[\w-]+", "!a-³", 1..5),
            (r"\W+", "a ³", 1..2),
            (r"[.\W]+", "a. b", 1..3),
        ] {
            let mut all = Vec::new();
            Pattern::expression(expression).unwrap().find(text, |found| all.push(found)).unwrap();
            assert_eq!(all[0], found, "{expression}");
        }
    }
}
