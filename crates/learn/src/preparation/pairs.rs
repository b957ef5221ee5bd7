//! Pairs of texts, of which the second is written when the first was read: one sequence of both, with a code between them and one at the end.

use kiln_data::{ColumnKind, FileFormat, Form, Meaning, NO_LABEL, Reading, Set, Table, Tokens, ValueKind};
use kiln_map::{Budget, counted};
use serde::{Deserialize, Serialize};

use super::room;
use super::text::sees;
use crate::generate::Pieces;
use crate::row::InputSpec;
use crate::{Error, Result};

/// How pairs of texts become rows: the pieces of both, and the columns they stand in. A model reads the source, and what it is to say at each place
/// behind it is the next piece of the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairPreparation {
    /// The pieces that are known.
    pub tokens: Tokens,
    /// How many are seen at once, of source and target together.
    pub window: usize,
    /// Whether pairs come as sequences of differing lengths, of which layers behind `embedding … padded` know where they end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub padded: bool,
    /// The column of what is read.
    pub source: String,
    /// The column of what is written.
    pub target: String,
    /// What was told of how the table's file is written.
    #[serde(default, skip_serializing_if = "FileFormat::is_unsaid")]
    pub file: FileFormat,
}

/// Pairs as rows, and how many were longer than what is seen at once.
pub struct PairRows {
    /// The rows.
    pub set: Set,
    /// Pairs that were left out.
    pub left_out: usize,
}

impl PairPreparation {
    /// Of these pieces, of which so many are seen at once, in two columns.
    pub fn new(
        tokens: Tokens,
        window: usize,
        source: impl Into<String>,
        target: impl Into<String>,
    ) -> PairPreparation {
        let (source, target) = (source.into(), target.into());
        PairPreparation { tokens, window, padded: true, source, target, file: FileFormat::default() }
    }

    /// How many codes there are, with those between and behind the texts.
    pub fn count(&self) -> usize {
        self.tokens.count() + 2
    }

    /// The code between source and target.
    fn between(&self) -> u32 {
        self.tokens.count() as u32
    }

    /// The codes that end a target.
    pub(crate) fn ends(&self) -> [u32; 2] {
        [self.between() + 1, self.between()]
    }

    /// How a table is read: all cells stay as they stand, whatever they look like.
    pub fn reading(&self) -> Reading {
        Reading::of_model(self.file.clone()).others(ColumnKind::Category)
    }

    /// The form of its rows.
    pub fn form(&self) -> Form {
        let meaning = Meaning::Codes { count: self.count() };
        Form { kind: ValueKind::I64, shape: vec![self.window], meaning }
    }

    /// How many places a pair takes.
    pub fn length(&self, source: &str, target: &str) -> usize {
        self.tokens.encode(source).len() + 1 + self.tokens.encode(target).len()
    }

    /// The pairs of a table's two columns; what is missing is empty.
    ///
    /// # Errors
    /// Where a column isn't there.
    pub fn pairs(&self, table: &Table) -> Result<Vec<[String; 2]>> {
        let columns = [table.column(&self.source)?, table.column(&self.target)?];
        let text =
            |row: usize| columns.map(|column| column.cell(row).text().unwrap_or_default().into_owned());
        Ok((0..table.len()).map(text).collect())
    }

    /// Pairs as rows, each with a label at every place from which a piece of the target follows.
    ///
    /// # Errors
    /// Where all are longer than what is seen at once.
    pub fn labelled<'p>(&self, pairs: impl IntoIterator<Item = &'p [String; 2]>) -> Result<PairRows> {
        let (mut codes, mut labels, mut lengths, mut left_out) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let budget = Budget::default();
        for [source, target] in pairs {
            let mut all = self.codes(source);
            let first = all.len() - 1;
            all.extend(self.tokens.encode(target));
            all.push(self.between() + 1);
            let length = all.len() - 1;
            if length > self.window {
                left_out += 1;
                continue;
            }
            room(&budget, self.window)?;
            let code = |at: usize| all.get(at).map_or(0, |&code| i64::from(code));
            codes.extend((0..self.window).map(|at| if at < length { code(at) } else { 0 }));
            let label = |at: usize| if (first..length).contains(&at) { code(at + 1) } else { NO_LABEL };
            labels.extend((0..self.window).map(label));
            lengths.push(length as u32);
        }
        if lengths.is_empty() && left_out > 0 {
            return Err(Error::Preparation(format!(
                "no pair has room in the {} that are seen at once; --window sees more",
                counted(self.window, "piece")
            )));
        }
        let set = Set::new(codes, self.form(), labels, self.form())?;
        let set = if self.padded { set.with_lengths(lengths)? } else { set };
        Ok(PairRows { set, left_out })
    }

    /// What a model reads before it writes.
    fn codes(&self, source: &str) -> Vec<u32> {
        let mut codes = self.tokens.encode(source);
        codes.push(self.between());
        codes
    }

    pub(super) fn check(&self, input: &InputSpec) -> Result<()> {
        // Codes of its own are there also where no piece is.
        let count = if self.tokens.count() == 0 { 0 } else { self.count() };
        sees(self.window, count, input)
    }
}

impl Pieces for PairPreparation {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.codes(text))
    }

    fn decode(&self, codes: &[u32]) -> String {
        let own: Vec<u32> = codes.iter().copied().filter(|&code| code < self.between()).collect();
        self.tokens.decode(&own)
    }

    fn unknown(&self) -> Option<u32> {
        self.tokens.unknown()
    }
}
