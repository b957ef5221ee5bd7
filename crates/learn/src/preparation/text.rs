//! Texts as codes.

use kiln_data::{
    ColumnKind, FileFormat, Form, Meaning, PADDING, Reading, Set, Table, Tokens, ValueKind, bucket,
};
use kiln_map::counted;
use serde::{Deserialize, Serialize};

use super::unanswered::unanswered;
use crate::row::InputSpec;
use crate::{Error, Result};

/// How a text becomes rows of codes: the pieces it is cut in, and how many of them are seen at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredText", into = "StoredText")]
pub struct TextPreparation {
    /// The pieces that are known.
    pub tokens: Tokens,
    /// How many are seen at once.
    pub window: usize,
    /// Whether texts come as sequences of differing lengths, of which layers behind `embedding … padded` know where they end.
    pub padded: bool,
    /// Where the texts stand, of a model that tells classes apart; nothing of one that goes on with a text.
    pub columns: Option<TextColumns>,
}

/// The columns of a table of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextColumns {
    /// That of the texts.
    pub text: String,
    /// That of the classes.
    pub target: String,
    /// What was told of how the table's file is written.
    pub file: Box<FileFormat>,
}

impl TextColumns {
    /// How a table is read: texts stay as they stand, whatever they look like.
    pub fn reading(&self) -> Reading {
        Reading::of_model((*self.file).clone()).kind(&self.text, ColumnKind::Category)
    }
}

/// What a file holds of it.
#[derive(Clone, Serialize, Deserialize)]
struct StoredText {
    tokens: Tokens,
    window: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    padded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "FileFormat::is_unsaid")]
    file: FileFormat,
}

impl From<StoredText> for TextPreparation {
    fn from(stored: StoredText) -> TextPreparation {
        let StoredText { tokens, window, padded, column, target, file } = stored;
        let columns =
            column.map(|text| TextColumns { text, target: target.unwrap_or_default(), file: Box::new(file) });
        TextPreparation { tokens, window, padded, columns }
    }
}

impl From<TextPreparation> for StoredText {
    fn from(text: TextPreparation) -> StoredText {
        let TextPreparation { tokens, window, padded, columns } = text;
        let Some(TextColumns { text, target, file }) = columns else {
            return StoredText {
                tokens,
                window,
                padded,
                column: None,
                target: None,
                file: FileFormat::default(),
            };
        };
        StoredText { tokens, window, padded, column: Some(text), target: Some(target), file: *file }
    }
}

impl TextPreparation {
    /// Of a model that goes on with a text.
    pub fn new(tokens: Tokens, window: usize) -> TextPreparation {
        TextPreparation { tokens, window, padded: false, columns: None }
    }

    /// The same, with texts as sequences of differing lengths.
    pub fn padded(self, padded: bool) -> TextPreparation {
        TextPreparation { padded, ..self }
    }

    /// Of a model that tells the texts of a column apart by the classes of another.
    pub fn with_columns(self, text: impl Into<String>, target: impl Into<String>) -> TextPreparation {
        let (text, target, file) = (text.into(), target.into(), Box::default());
        TextPreparation { columns: Some(TextColumns { text, target, file }), ..self }
    }

    /// The same, of a table whose file is written so.
    pub fn of_file(mut self, file: &FileFormat) -> TextPreparation {
        self.columns.iter_mut().for_each(|columns| columns.file.as_mut().clone_from(file));
        self
    }

    /// The form of its rows.
    pub fn form(&self) -> Form {
        let meaning = Meaning::Codes { count: self.tokens.count() };
        Form { kind: ValueKind::I64, shape: vec![self.window], meaning }
    }

    /// A text as a row: its first pieces, filled up with 0; as a sequence with [`PADDING`] to one of few lengths.
    pub fn codes(&self, text: &str) -> Vec<i64> {
        let codes = self.tokens.encode(text);
        if !self.padded {
            return self.row(&codes);
        }
        let codes = &codes[..codes.len().min(self.window)];
        let mut row: Vec<i64> = codes.iter().map(|&code| i64::from(code)).collect();
        row.resize(bucket(codes.len(), self.window), PADDING);
        row
    }

    /// What is seen of a text that goes on: its last pieces, filled up with 0, and the place of the last.
    pub fn last(&self, codes: &[u32]) -> (Vec<i64>, usize) {
        let seen = &codes[codes.len().saturating_sub(self.window)..];
        (self.row(seen), seen.len().max(1) - 1)
    }

    fn row(&self, codes: &[u32]) -> Vec<i64> {
        let codes = codes.iter().map(|&code| i64::from(code));
        codes.chain(std::iter::repeat(0)).take(self.window).collect()
    }

    /// A column of texts as rows; a missing one is empty.
    pub(crate) fn rows(&self, table: &Table, column: &str) -> Result<Set> {
        let texts = table.column(column)?;
        let mut codes = Vec::with_capacity(table.len() * self.window);
        let mut lengths = Vec::new();
        for row in 0..table.len() {
            let own = self.tokens.encode(&texts.cell(row).text().unwrap_or_default());
            lengths.push(own.len().min(self.window) as u32);
            codes.extend(self.row(&own));
        }
        let set = unanswered(codes, self.form(), table.len())?;
        if self.padded { Ok(set.with_lengths(lengths)?) } else { Ok(set) }
    }

    pub(super) fn check(&self, input: &InputSpec) -> Result<()> {
        sees(self.window, self.tokens.count(), input)
    }
}

/// An error where a model's input isn't a window of so many kinds of codes, or there is nothing to see.
pub(super) fn sees(window: usize, count: usize, input: &InputSpec) -> Result<()> {
    match window == 0 || count == 0 || input.shape != [window] || input.codes != Some(count) {
        false => Ok(()),
        true => Err(Error::Preparation(format!(
            "the model's file says that it sees {window} of {} of text, and its input is {:?} of {}",
            counted(count, "piece"),
            input.shape,
            input.codes.unwrap_or(0)
        ))),
    }
}
