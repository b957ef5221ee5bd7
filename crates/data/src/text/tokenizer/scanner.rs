//! The expressions that nearly all files cut words by, without an engine of expressions.

use std::ops::Range;

use super::classes::{is_letter, is_number};

/// How words are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scanner {
    /// A word of letters may begin with any one sign, not only a space; endings in any case; new lines stand with what is before them.
    modern: bool,
    /// The most digits in a piece.
    digits: usize,
}

/// Of GPT-2 and all who took it over.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Of GPT-4 and Llama 3.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Of Qwen.
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const KNOWN: [(&str, Scanner); 3] = [
    (GPT2, Scanner { modern: false, digits: usize::MAX }),
    (LLAMA3, Scanner { modern: true, digits: 3 }),
    (QWEN, Scanner { modern: true, digits: 1 }),
];

impl Scanner {
    /// That of an expression, if it is known.
    pub(super) fn of(expression: &str) -> Option<Scanner> {
        KNOWN.iter().find(|(known, _)| *known == expression).map(|(_, scanner)| *scanner)
    }

    /// Calls `found` with each word in turn; together they are the text.
    pub(super) fn words(self, text: &str, mut found: impl FnMut(Range<usize>)) {
        let mut at = 0;
        while at < text.len() {
            let length = self.word(&text[at..]).max(1);
            found(at..at + length);
            at += length;
        }
    }

    /// The length of the first word.
    fn word(self, text: &str) -> usize {
        let mut chars = text.chars();
        let Some(first) = chars.next() else { return 0 };
        if let Some(length) = self.ending(text) {
            return length;
        }
        let second = chars.next();
        let lead = if first == ' ' { 1 } else { 0 };
        // Letters, and what may stand before them.
        let before = match self.modern {
            true if !is_letter(first) && !is_number(first) && !matches!(first, '\r' | '\n') => {
                first.len_utf8()
            }
            true => 0,
            false => lead,
        };
        if is_letter(first) || before > 0 && second.is_some_and(is_letter) {
            return before + run(&text[before..], is_letter);
        }
        let (own, rest) = match (lead, second) {
            (1, Some(second)) => (second, &text[1..]),
            _ => (first, text),
        };
        let lead = text.len() - rest.len();
        if is_number(first) || !self.modern && is_number(own) {
            let lead = if self.modern { 0 } else { lead };
            return lead
                + text[lead..]
                    .chars()
                    .take(self.digits)
                    .take_while(|c| is_number(*c))
                    .map(char::len_utf8)
                    .sum::<usize>();
        }
        if is_sign(own) {
            let length = lead + run(rest, is_sign);
            let lines = if self.modern { run(&text[length..], |c| matches!(c, '\r' | '\n')) } else { 0 };
            return length + lines;
        }
        self.spaces(text)
    }

    /// `'s`, `'t` and their like.
    fn ending(self, text: &str) -> Option<usize> {
        let mut chars = text.strip_prefix('\'')?.chars();
        // The long s is an s in another case.
        let fold = |c: char| match c {
            '\u{17f}' if self.modern => 's',
            c if self.modern => c.to_ascii_lowercase(),
            c => c,
        };
        let (first, second) = (chars.next()?, chars.next());
        match (fold(first), second.map(fold)) {
            ('s' | 't' | 'm' | 'd', _) => Some(1 + first.len_utf8()),
            ('r' | 'v', Some('e')) | ('l', Some('l')) => Some(3),
            _ => None,
        }
    }

    /// A run of spaces: up to its last new line, or without its last if a word follows.
    fn spaces(self, text: &str) -> usize {
        let length = run(text, char::is_whitespace);
        let spaces = &text[..length];
        if let Some(line) = spaces.rfind(['\r', '\n']).filter(|_| self.modern) {
            return line + 1;
        }
        let last = spaces.chars().next_back().map_or(0, char::len_utf8);
        match length < text.len() && last < length {
            true => length - last,
            false => length,
        }
    }
}

fn is_sign(c: char) -> bool {
    !c.is_whitespace() && !is_letter(c) && !is_number(c)
}

/// The length of the characters at the start for which `holds` does.
fn run(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|c| !holds(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;
    use crate::rng::Rng;

    /// The scanners against the engine of expressions, on texts made of what the expressions tell apart.
    #[test]
    fn scanners_cut_as_their_expressions_do() {
        let pieces = [
            "'s", "'S", "'ll", "'LL", "'re", "'\u{17f}", "'", "a", "Zb", "é", "中", "ª", "1", "23", "4567",
            "½", "٣", "Ⅷ", " ", "  ", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}", "!", "?!", "-", "_", "😀",
            "\u{301}", "\u{200d}", "'ve", "'d", "don't", "\u{85}",
        ];
        let mut rng = Rng::new(7);
        for (expression, scanner) in KNOWN {
            let expected = Pattern::expression(expression).unwrap();
            for _ in 0..3000 {
                let text: String = (0..rng.below(12)).map(|_| pieces[rng.below(pieces.len())]).collect();
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                scanner.words(&text, |word| ours.push(word));
                expected.find(&text, |word| theirs.push(word)).unwrap();
                assert_eq!(ours, theirs, "{text:?} by {expression}");
            }
        }
    }
}
