//! A layer's arguments, from the words behind its own.

use std::mem;

use super::Token;
use crate::sequential::table::{ArgumentKind, ArgumentVisitor, LayerArgument, Mistake, Word};
use crate::sequential::{Blended, Spec, is_name};
use crate::tensor::window::SpatialRank;
use kiln_map::nearest;

/// The words that are yet to be taken.
pub(super) struct Arguments<'a> {
    /// The layer's word, as it was written.
    word: &'a str,
    tokens: Vec<Token<'a>>,
    /// Where the layer ends.
    end: usize,
    rank: Option<SpatialRank>,
    /// How such a layer is written.
    usage: String,
    /// Arguments by name.
    names: Vec<&'static str>,
    turn: Turn,
}

/// What is taken in one visit to a layer: names may stand anywhere, and only when they are gone the others come in their turn.
#[derive(PartialEq)]
enum Turn {
    Names,
    Values,
}

impl<'a> Arguments<'a> {
    pub fn new(word: &'a str, tokens: Vec<Token<'a>>, end: usize) -> Arguments<'a> {
        let (usage, names) = (word.to_string(), Vec::new());
        Arguments { word, tokens, end, rank: None, usage, names, turn: Turn::Names }
    }

    /// Takes the name that the layer is given.
    pub fn name(&mut self) -> Result<Option<String>, Mistake> {
        let Some((name, given)) = self.behind("as", "a name such as `head`")? else { return Ok(None) };
        match is_name(given.text) {
            true => Ok(Some(given.text.to_string())),
            false => {
                let message = format!(
                    "`{name}` gives a name, and `{}` is none; it has letters, digits, - and _",
                    given.text
                );
                Err(Mistake { at: given.at, message })
            }
        }
    }

    /// The layer whose arguments these are, all of them.
    pub fn layer(&mut self, word: &Word, rank: Option<SpatialRank>, blank: Spec) -> Result<Spec, Mistake> {
        let (start, mut spec) = (self.tokens.first().map_or(self.end, |token| token.at), blank);
        (self.rank, self.usage, self.names) = (rank, word.usage(), word.named_arguments());
        self.turn = Turn::Names;
        spec.visit(self)?;
        self.turn = Turn::Values;
        spec.visit(self)?;
        self.end(&self.names)?;
        match spec.uneven() {
            None => Ok(spec),
            Some(wrong) => Err(Mistake { at: start, message: format!("`{}`: {wrong}", self.word) }),
        }
    }

    /// What is averaged, behind the bracket of a blend.
    pub fn blended(&mut self, word: &Word) -> Result<Blended, Mistake> {
        (self.usage, self.names) = (word.usage(), word.named_arguments());
        if self.take("classes").is_some() {
            return Ok(Blended::Classes);
        }
        let Some(own) = self.take("targets") else { return Ok(Blended::Numbers) };
        let size = |token: &Token| token.text.parse::<usize>().ok().filter(|size| *size > 0);
        match mem::take(&mut self.tokens).iter().map(size).collect::<Option<Vec<_>>>() {
            Some(sizes) if !sizes.is_empty() => Ok(Blended::Targets(sizes)),
            _ => {
                let message = format!(
                    "`{}`: behind `targets` stands how many outputs each target has, such as `targets 3 1`",
                    self.word
                );
                Err(Mistake { at: own.at, message })
            }
        }
    }

    /// Nothing may be left.
    pub fn end(&self, names: &[&'static str]) -> Result<(), Mistake> {
        let Some(Token { at, text }) = self.tokens.first() else { return Ok(()) };
        let mend = match names.contains(text) {
            true => "it stands twice".to_string(),
            false => self.meant(text),
        };
        Err(Mistake { at: *at, message: format!("`{}`: `{text}` means nothing here; {mend}", self.word) })
    }

    /// The mend where a word stands that can't be taken.
    fn meant(&self, text: &str) -> String {
        match nearest(text, self.names.iter().copied()) {
            Some(near) if text.parse::<f64>().is_err() => format!("did you mean `{near}`?"),
            _ => format!("write {}", self.usage),
        }
    }

    /// Takes a word.
    fn take(&mut self, name: &str) -> Option<Token<'a>> {
        let at = self.tokens.iter().position(|token| token.text == name)?;
        Some(self.tokens.remove(at))
    }

    /// Takes a name and the word behind it.
    fn behind(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<(&'static str, Token<'a>)>, Mistake> {
        let Some(at) = self.tokens.iter().position(|token| token.text == name) else { return Ok(None) };
        let own = self.tokens.remove(at);
        if at < self.tokens.len() {
            return Ok(Some((name, self.tokens.remove(at))));
        }
        let message = format!("`{}`: `{name}` needs a value, {expected}", self.word);
        Err(Mistake { at: own.at, message })
    }
}

impl ArgumentVisitor for Arguments<'_> {
    fn rank(&mut self, rank: &mut Option<SpatialRank>) -> Result<(), Mistake> {
        *rank = self.rank;
        Ok(())
    }

    fn argument(&mut self, argument: LayerArgument) -> Result<(), Mistake> {
        let LayerArgument { name, value, kind, .. } = argument;
        let is_named = kind == ArgumentKind::Named;
        if is_named != (self.turn == Turn::Names) {
            return Ok(());
        }
        let expected = value.expected();
        let (at, text) = match kind {
            ArgumentKind::Named => match self.behind(name, expected)? {
                Some((_, token)) => (token.at, token.text.to_string()),
                None => return Ok(()),
            },
            ArgumentKind::Optional if self.tokens.is_empty() => return Ok(()),
            ArgumentKind::Required | ArgumentKind::Rest if self.tokens.is_empty() => {
                let message = format!("`{}` needs the {name}, {expected}; write {}", self.word, self.usage);
                return Err(Mistake { at: self.end, message });
            }
            ArgumentKind::Required | ArgumentKind::Optional => {
                let token = self.tokens.remove(0);
                (token.at, token.text.to_string())
            }
            ArgumentKind::Rest => {
                let tokens = mem::take(&mut self.tokens);
                let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
                (tokens[0].at, texts.join(" "))
            }
        };
        match value.read(&text) {
            true => Ok(()),
            false => {
                let meant = self.meant(&text);
                let message =
                    format!("`{}`: the {name} should be {expected}, not `{text}`; {meant}", self.word);
                Err(Mistake { at, message })
            }
        }
    }

    fn flag(&mut self, name: &'static str, on: &mut bool) -> Result<(), Mistake> {
        if self.turn == Turn::Names {
            *on = self.take(name).is_some();
        }
        Ok(())
    }

    fn former(&mut self, name: &'static str, has_value: bool) -> Result<(), Mistake> {
        if self.turn == Turn::Names && has_value {
            self.behind(name, "a number")?;
        } else if self.turn == Turn::Names {
            self.take(name);
        }
        Ok(())
    }
}
