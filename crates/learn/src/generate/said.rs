//! What is said of a text that goes on: whole characters alone, and nothing from what ends it on.

use super::speaker::Pieces;

/// The text that codes become, bit by bit.
pub(super) struct Said<'t> {
    pieces: &'t dyn Pieces,
    stop: Vec<String>,
    /// Codes before this place are text; those from `read` on aren't yet, being part of a character.
    read: usize,
    /// Where the codes begin that stand in front of the next text: how a piece reads follows from what it comes after.
    before: usize,
    /// What isn't said yet, since a text that ends all may begin with it.
    held: String,
    is_over: bool,
}

/// So many pieces at most are part of one character; more are damaged.
const PARTS: usize = 4;

impl<'t> Said<'t> {
    /// Behind these codes, with these texts ending it.
    pub(super) fn new(pieces: &'t dyn Pieces, codes: &[u32], stop: &[String]) -> Said<'t> {
        let (read, before) = (codes.len(), codes.len().saturating_sub(PARTS + 1));
        Said { pieces, stop: stop.to_vec(), read, before, held: String::new(), is_over: false }
    }

    /// Whether a text came that ends it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Nothing more is said.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// What may be said, now that there is one more code.
    pub(super) fn add(&mut self, codes: &[u32]) -> String {
        let whole = self.whole(codes, false);
        self.held += &whole;
        if let Some(end) = self.stop.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.is_over = true;
            self.held.truncate(end);
            return std::mem::take(&mut self.held);
        }
        let begins = |at: usize| self.stop.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let safe = self.held.char_indices().map(|(at, _)| at).find(|&at| begins(at));
        let held = self.held.split_off(safe.unwrap_or(self.held.len()));
        std::mem::replace(&mut self.held, held)
    }

    /// What is left to be said of a text that goes on no further.
    pub(super) fn rest(&mut self, codes: &[u32]) -> String {
        if self.is_over {
            return String::new();
        }
        let last = self.whole(codes, true);
        std::mem::take(&mut self.held) + &last
    }

    /// The text of the codes that aren't text yet, unless a part of a character lacks the rest.
    fn whole(&mut self, codes: &[u32], all: bool) -> String {
        let front = self.pieces.decode(&codes[self.before..self.read]);
        let text = self.pieces.decode(&codes[self.before..]);
        let is_part = text.ends_with(char::REPLACEMENT_CHARACTER) && codes.len() - self.read < PARTS;
        let (true, Some(new)) = (all || !is_part, text.get(front.len()..)) else { return String::new() };
        // A piece that says nothing doesn't part those beside it: the next still comes after what was said last.
        if !new.is_empty() {
            self.before = self.read;
        }
        self.read = codes.len();
        new.to_string()
    }
}

#[cfg(test)]
mod tests {
    use kiln_data::{Cut, Tokens};

    use super::*;

    /// What is said at each code, and at the end.
    fn said(text: &str, cut: Cut, prompt: usize, stop: &[&str]) -> Vec<String> {
        let tokens = Tokens::fit(text, cut, 300).unwrap();
        let codes = tokens.encode(text);
        let stop: Vec<String> = stop.iter().map(|stop| stop.to_string()).collect();
        let mut own = Said::new(&tokens, &codes[..prompt], &stop);
        let mut parts = Vec::new();
        for count in prompt + 1..=codes.len() {
            parts.push(own.add(&codes[..count]));
            if own.is_over() {
                return parts;
            }
        }
        parts.push(own.rest(&codes));
        parts
    }

    #[test]
    fn characters_are_said_whole() {
        let parts = said("é→🦀!", Cut::Bytes, 0, &[]);
        assert_eq!(parts, ["", "é", "", "", "→", "", "", "", "🦀", "!", ""]);
        assert_eq!(said("go on", Cut::Words, 1, &[]).concat(), " on");
        assert_eq!(said("end. of it", Cut::Words, 1, &[]).concat(), ". of it");
    }

    /// Pieces that are words, and one that is skipped.
    struct Skipping;

    impl Pieces for Skipping {
        fn encode(&self, _: &str) -> crate::Result<Vec<u32>> {
            Ok(Vec::new())
        }

        fn decode(&self, codes: &[u32]) -> String {
            codes
                .iter()
                .filter(|&&code| code > 0)
                .map(|code| format!("w{code}"))
                .collect::<Vec<_>>()
                .join(" ")
        }

        fn unknown(&self) -> Option<u32> {
            None
        }
    }

    #[test]
    fn pieces_that_say_nothing_stand_between_words_unseen() {
        let codes = [0, 3, 0, 0, 4, 0, 5, 0];
        let mut own = Said::new(&Skipping, &codes[..1], &[]);
        let parts: Vec<String> = (2..=codes.len()).map(|count| own.add(&codes[..count])).collect();
        assert_eq!(parts, ["w3", "", "", " w4", "", " w5", ""]);
        assert_eq!(parts.concat(), Skipping.decode(&codes));
    }

    #[test]
    fn nothing_is_said_of_what_ends_a_text() {
        let parts = said("one. two. three", Cut::Characters, 0, &[". t", ". th"]);
        assert_eq!(parts.concat(), "one");
        let parts = said("aab aac end", Cut::Characters, 0, &["aac"]);
        assert_eq!(parts.concat(), "aab ");
        assert_eq!(parts[..3], ["", "", "aab"]);
        assert_eq!(said("almost en", Cut::Characters, 0, &["end"]).concat(), "almost en");
        assert_eq!(said("x🦀y", Cut::Bytes, 0, &["🦀"]).concat(), "x");
    }
}
