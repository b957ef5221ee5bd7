//! Texts as a hub's models take them: one, or two that belong together.

use kiln_data::{EncodedText, Tokenizer};

use super::folder::TOKENIZER;
use crate::text_rows::CodedText;
use crate::{Error, Result};

/// A text, or two that are one row, such as a question and what may answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPair<'t> {
    /// The text.
    pub first: &'t str,
    /// The one that belongs to it.
    pub second: Option<&'t str>,
}

impl<'t> From<&'t str> for TextPair<'t> {
    fn from(first: &'t str) -> TextPair<'t> {
        TextPair { first, second: None }
    }
}

impl<'t> From<&&'t str> for TextPair<'t> {
    fn from(first: &&'t str) -> TextPair<'t> {
        TextPair { first, second: None }
    }
}

impl<'t> From<&'t String> for TextPair<'t> {
    fn from(first: &'t String) -> TextPair<'t> {
        TextPair { first, second: None }
    }
}

impl<'t> From<(&'t str, &'t str)> for TextPair<'t> {
    fn from((first, second): (&'t str, &'t str)) -> TextPair<'t> {
        TextPair { first, second: Some(second) }
    }
}

/// The pieces of a model that takes texts.
pub(super) fn pieces(tokenizer: Option<&Tokenizer>) -> Result<&Tokenizer> {
    tokenizer.ok_or_else(|| {
        Error::Preparation(format!("the model's folder has no {TOKENIZER}, so it takes codes and no texts"))
    })
}

/// Texts as codes, longer ones cut to the window.
pub(super) fn coded<'t>(
    tokenizer: &Tokenizer,
    window: usize,
    texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>,
) -> Result<Vec<CodedText>> {
    let tokenizer = tokenizer.clone().cut_to(window);
    let coded = |text: TextPair<'t>| {
        let EncodedText { codes, types, .. } = match text.second {
            Some(second) => tokenizer.encode_pair(text.first, second)?,
            None => tokenizer.encode(text.first)?,
        };
        match codes.is_empty() {
            true => {
                Err(Error::Preparation(format!("{:?} has no piece that the model could read", text.first)))
            }
            false => Ok(CodedText { codes, types }),
        }
    };
    texts.into_iter().map(|text| coded(text.into())).collect()
}
