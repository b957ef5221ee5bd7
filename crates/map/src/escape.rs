//! Words of files as people may see them. A terminal takes some characters for commands, and others turn the order of what is read.

use std::borrow::Cow;
use std::fmt::Write;

/// A name longer than this is cut in messages.
const LONGEST: usize = 120;

/// Text in which nothing but line feeds and tabs is other than it looks: what a terminal obeys, and what turns the order of letters,
/// stands as `\u001b`, which JSON reads as the same.
///
/// ```
/// use kiln_map::visible;
///
/// assert_eq!(visible("a\u{1b}[2J\u{202e}b"), "a\\u001b[2J\\u202eb");
/// assert_eq!(visible("two\n\tlines, größe"), "two\n\tlines, größe");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |letter: char| !matches!(letter, '\n' | '\t') && is_hidden(letter);
    match text.contains(hidden) {
        true => Cow::Owned(written(text.chars(), hidden)),
        false => Cow::Borrowed(text),
    }
}

/// A name from a file as messages show it: on one line, [`visible`], and not too long.
pub fn shown(name: &str) -> String {
    let mut text = written(name.chars().take(LONGEST), is_hidden);
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn written(letters: impl Iterator<Item = char>, hidden: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    for letter in letters {
        if hidden(letter) {
            // Writing to a string can't fail.
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

/// Whether a letter is a command: control characters, ends of lines that are no line feed, and marks of direction.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let all: String = (0..=0x2fff).filter_map(char::from_u32).collect();
        for text in [visible(&all).into_owned(), shown(&all), shown(&all[..64])] {
            assert!(text.chars().all(|letter| !is_hidden(letter) || "\n\t".contains(letter)));
            assert_eq!(visible(&text), text);
        }
        assert_eq!(shown("a\nb"), "a\\u000ab");
        assert_eq!(shown(&"ä".repeat(121)).chars().count(), 121);
    }
}
