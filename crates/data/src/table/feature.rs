//! A column as inputs: what was fitted on the training rows, and how a value becomes numbers by it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Table;
use super::cell;
use super::column::{Cell, Cells, Column, ColumnKind};
use super::format::CellFormat;
use super::summary::{DATE_PARTS, date_parts, signed_log};
use super::words::KnownWords;
use crate::error::{Error, Result};

/// The words that a column of words is told apart by. Their codes count from 0: the words in order, then one code for all other
/// words where there is one, then one for missing cells where there were some in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// The words, in order.
    pub words: Vec<String>,
    /// Whether words that were rare or unseen in training have a code. Otherwise they are nothing: 0 in every one-hot input.
    pub other: bool,
    /// Whether missing cells have a code of their own. Otherwise they count as other words.
    pub missing: bool,
}

impl Vocabulary {
    /// How many codes there are.
    pub fn size(&self) -> usize {
        self.words.len() + usize::from(self.other) + usize::from(self.missing)
    }

    /// What each code stands for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let other = self.other.then_some("(other)");
        self.words.iter().map(String::as_str).chain(other).chain(self.missing.then_some("(missing)"))
    }

    /// The code of each word.
    pub(super) fn known(&self) -> HashMap<&str, usize> {
        self.words.iter().enumerate().map(|(code, word)| (word.as_str(), code)).collect()
    }

    /// The codes of other words and of missing cells.
    pub(super) fn unknown(&self) -> [Option<usize>; 2] {
        let other = self.other.then_some(self.words.len());
        let missing = self.missing.then_some(self.words.len() + usize::from(self.other));
        [other, missing.or(other)]
    }

    /// The code of each row's value.
    fn codes<'a>(
        &'a self,
        column: &'a Column,
        rows: &'a [usize],
    ) -> impl Iterator<Item = Option<usize>> + 'a {
        let (known, [other, missing]) = (self.known(), self.unknown());
        let same = |word: &str| cell::same_truth(&self.words, word);
        let code = move |word: &str| known.get(word).copied().or_else(|| same(word)).or(other);
        // Each word of the column is looked up once.
        let renamed: Vec<Option<usize>> = match column.cells() {
            Cells::Words { words, .. } => words.iter().map(|word| code(word)).collect(),
            _ => Vec::new(),
        };
        rows.iter().map(move |&row| match column.cells() {
            Cells::Words { codes, .. } => match codes.get(row).and_then(|&code| renamed.get(code as usize)) {
                Some(code) => *code,
                None => missing,
            },
            _ => column.cell(row).text().map_or(missing, |word| code(&word)),
        })
    }
}

/// A number less `shift`, times `factor`; its logarithm where `log` says so; drawn in to within ±3 where `clip` does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Whether of the logarithm, `±ln(1 + |x|)`.
    pub log: bool,
    /// What is taken off.
    pub shift: f64,
    /// What it is multiplied by then.
    pub factor: f64,
    /// Whether it becomes `x / √(1 + (x/3)²)` then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clip: bool,
}

impl Scale {
    /// A number as it is.
    pub(super) const PLAIN: Scale = Scale { log: false, shift: 0.0, factor: 1.0, clip: false };

    pub(super) fn of(self, value: f64) -> f32 {
        let value = if self.log { signed_log(value) } else { value };
        let value = ((value - self.shift) * self.factor).clamp(f32::MIN.into(), f32::MAX.into());
        if self.clip { (value / (1.0 + (value / 3.0) * (value / 3.0)).sqrt()) as f32 } else { value as f32 }
    }

    /// The number that became this, about.
    ///
    /// ```
    /// use kiln_data::Scale;
    ///
    /// // ln(1 + 99), less 1, by 2, drawn in.
    /// let scale = Scale { log: true, shift: 1.0, factor: 0.5, clip: true };
    /// let drawn = (100f64.ln() - 1.0) / 2.0;
    /// let drawn = drawn / (1.0 + drawn * drawn / 9.0).sqrt();
    /// assert!((scale.back(drawn as f32) - 99.0).abs() < 1e-3);
    /// ```
    pub fn back(self, value: f32) -> f64 {
        let mut value = f64::from(value);
        if self.clip {
            value /= (1.0 - (value / 3.0) * (value / 3.0)).max(1e-12).sqrt();
        }
        let factor = if self.factor == 0.0 { 1.0 } else { self.factor };
        let value = value / factor + self.shift;
        if self.log { libm::expm1(value.abs()).copysign(value) } else { value }
    }
}

/// A part of a date: which, less a mean, by a deviation; or as a sine and cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatePart {
    /// Year, month, day, weekday or hour, counted from 0.
    pub part: usize,
    /// What is taken off, unless it is a cycle.
    pub mean: f64,
    /// What it is divided by then.
    pub deviation: f64,
    /// Whether it is a place on a circle.
    pub cycle: bool,
}

impl DatePart {
    /// After how much each part begins again, and where it begins.
    const CYCLES: [(f64, f64); 5] = [(1.0, 0.0), (12.0, 1.0), (31.0, 1.0), (7.0, 0.0), (24.0, 0.0)];

    fn angle(self, value: f64) -> f64 {
        let (length, start) = self.circle();
        std::f64::consts::TAU * (value - start) / length
    }

    /// After how much the part begins again, and where it begins.
    pub fn circle(self) -> (f64, f64) {
        Self::CYCLES.get(self.part).copied().unwrap_or((1.0, 0.0))
    }
}

/// How the values of a column become inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// `fill` stands for missing ones; `flag` adds an input that says so.
    Number {
        /// How it is scaled.
        scale: Scale,
        /// What stands for missing ones.
        fill: f64,
        /// Whether an input says that it was missing.
        flag: bool,
    },
    /// 0 for the first word, 1 for the second, the share of the second where neither is said.
    Pair {
        /// The words.
        words: [String; 2],
        /// What stands for all others.
        share: f64,
        /// Whether an input says that it was missing.
        flag: bool,
    },
    /// 1 for its word, 0 for all others.
    OneHot {
        /// The words.
        vocabulary: Vocabulary,
    },
    /// The number of its word.
    Codes {
        /// The words.
        vocabulary: Vocabulary,
    },
    /// 1 for each word that a text has.
    Text {
        /// The words, in lower case and in order.
        words: Vec<String>,
    },
    /// Parts of a date.
    Date {
        /// Which.
        parts: Vec<DatePart>,
        /// Whether an input says that it was missing.
        flag: bool,
    },
}

/// A column and its inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The column's name.
    pub column: String,
    /// What the column holds.
    pub kind: ColumnKind,
    /// How its values become inputs.
    pub encoding: Encoding,
    /// How its cells are written.
    #[serde(default, skip_serializing_if = "CellFormat::is_plain")]
    pub format: CellFormat,
}

impl Feature {
    /// The names of its inputs.
    pub fn names(&self) -> Vec<String> {
        let column = &self.column;
        let mut names = match &self.encoding {
            Encoding::Number { .. } | Encoding::Codes { .. } => vec![column.clone()],
            Encoding::Pair { words: [_, word], .. } => vec![format!("{column}={word}")],
            Encoding::OneHot { vocabulary } => {
                vocabulary.names().map(|word| format!("{column}={word}")).collect()
            }
            Encoding::Text { words } => words.iter().map(|word| format!("{column} has {word}")).collect(),
            Encoding::Date { parts, .. } => {
                let name = |part: &DatePart| {
                    let name = DATE_PARTS.get(part.part).unwrap_or(&"");
                    match part.cycle {
                        true => vec![format!("{column}.{name}.sin"), format!("{column}.{name}.cos")],
                        false => vec![format!("{column}.{name}")],
                    }
                };
                parts.iter().flat_map(name).collect()
            }
        };
        if self.flagged() {
            names.push(format!("{column} is missing"));
        }
        names
    }

    fn flagged(&self) -> bool {
        match &self.encoding {
            Encoding::Number { flag, .. } | Encoding::Pair { flag, .. } | Encoding::Date { flag, .. } => {
                *flag
            }
            Encoding::OneHot { .. } | Encoding::Codes { .. } | Encoding::Text { .. } => false,
        }
    }

    /// The vocabulary, if the input is a code of it.
    pub fn codes(&self) -> Option<&Vocabulary> {
        if let Encoding::Codes { vocabulary } = &self.encoding { Some(vocabulary) } else { None }
    }

    /// A line on words that training didn't have, where they count as none of its words.
    pub(super) fn unseen(&self, column: &Column) -> Option<String> {
        let words = match &self.encoding {
            Encoding::Pair { words, .. } => words.as_slice(),
            Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } if !vocabulary.other => {
                vocabulary.words.as_slice()
            }
            _ => return None,
        };
        let is_known =
            |text: &str| words.iter().any(|word| word == text) || cell::same_truth(words, text).is_some();
        let unseen = |row: &usize| column.cell(*row).text().is_some_and(|text| !is_known(&text));
        let mut rows = (0..column.len()).filter(unseen);
        let (name, first) = (&self.column, rows.next()?);
        let (word, count) = (column.cell(first).text().unwrap_or_default(), 1 + rows.count());
        Some(format!("column {name} says what training didn't have, \"{word}\" first; rows: {count}"))
    }

    /// Writes the inputs of some rows into a row-major array: those of a row from `inputs[row * width + first]` on.
    pub fn write(
        &self,
        table: &Table,
        column: &Column,
        rows: &[usize],
        inputs: &mut [f32],
        (width, first): (usize, usize),
    ) -> Result<()> {
        let name = &self.column;
        let fault = |row: usize, what: &str| {
            let shown = column.cell(row).text().unwrap_or_default().into_owned();
            table.place(Some(row), Error::new(format!("\"{shown}\" is no {what}")).in_column(name))
        };
        let places = inputs.chunks_exact_mut(width).filter_map(|inputs| inputs.get_mut(first..));
        match &self.encoding {
            Encoding::Number { scale, fill, flag } => {
                let fill = scale.of(*fill);
                for (&row, inputs) in rows.iter().zip(places) {
                    let cell = column.cell(row);
                    let value = match cell {
                        Cell::Missing => None,
                        cell => Some(cell.number().ok_or_else(|| fault(row, NUMBERS))?),
                    };
                    put(inputs, &[value.map_or(fill, |value| scale.of(value))], *flag, value.is_none());
                }
            }
            Encoding::Pair { words, share, flag } => {
                let vocabulary = Vocabulary { words: words.to_vec(), other: false, missing: false };
                for ((code, inputs), &row) in vocabulary.codes(column, rows).zip(places).zip(rows) {
                    let value = code.map_or(*share as f32, |code| code as f32);
                    put(inputs, &[value], *flag, column.cell(row) == Cell::Missing);
                }
            }
            Encoding::OneHot { vocabulary } => {
                for (code, inputs) in vocabulary.codes(column, rows).zip(places) {
                    if let Some(input) = code.and_then(|code| inputs.get_mut(code)) {
                        *input = 1.0;
                    }
                }
            }
            Encoding::Codes { vocabulary } => {
                for (code, inputs) in vocabulary.codes(column, rows).zip(places) {
                    put(inputs, &[code.unwrap_or(0) as f32], false, false);
                }
            }
            Encoding::Text { words } => {
                let known = KnownWords::of(words);
                // Each text of the column is cut once.
                let cut = |text: &String| known.places(text).collect::<Vec<usize>>();
                let texts: Vec<Vec<usize>> = match column.cells() {
                    Cells::Words { words, .. } => words.iter().map(cut).collect(),
                    _ => Vec::new(),
                };
                for (&row, inputs) in rows.iter().zip(places) {
                    let own = match column.cells() {
                        Cells::Words { codes, .. } => {
                            codes.get(row).and_then(|code| texts.get(*code as usize)).cloned()
                        }
                        _ => column.cell(row).text().map(|text| cut(&text.into_owned())),
                    };
                    for place in own.into_iter().flatten() {
                        put(inputs.get_mut(place..).unwrap_or_default(), &[1.0], false, false);
                    }
                }
            }
            Encoding::Date { parts, flag } => {
                let mut values = Vec::new();
                for (&row, inputs) in rows.iter().zip(places) {
                    let seconds = match column.cell(row) {
                        Cell::Date { seconds, .. } => Some(seconds),
                        Cell::Missing => None,
                        _ => return Err(fault(row, DATES)),
                    };
                    values.clear();
                    values.extend(calendar(parts, seconds));
                    put(inputs, &values, *flag, seconds.is_none());
                }
            }
        }
        Ok(())
    }
}

/// What a cell isn't that training had.
pub(super) const NUMBERS: &str = "number, and training had numbers here; mend it, or leave the cell empty";
pub(super) const DATES: &str = "date as 2024-01-31, and training had dates here";

/// The parts of a moment as inputs. The mean stands for what is missing, and for an angle the middle of the circle.
pub(super) fn calendar(parts: &[DatePart], seconds: Option<i64>) -> impl Iterator<Item = f32> {
    let moment = seconds.map(date_parts);
    parts.iter().flat_map(move |part| {
        let value = moment.and_then(|moment| moment.get(part.part).copied());
        let (first, second) = match part.cycle {
            true => {
                let angle = value.map(|value| part.angle(value));
                (angle.map_or(0.0, libm::sin), Some(angle.map_or(0.0, libm::cos)))
            }
            false => (value.map_or(0.0, |value| (value - part.mean) / part.deviation), None),
        };
        std::iter::once(first as f32).chain(second.map(|second| second as f32))
    })
}

/// Writes values and, where it is flagged, whether they are missing.
pub(super) fn put(inputs: &mut [f32], values: &[f32], flag: bool, missing: bool) {
    for (input, value) in inputs.iter_mut().zip(values) {
        *input = *value;
    }
    if flag && let Some(input) = inputs.get_mut(values.len()) {
        *input = f32::from(u8::from(missing));
    }
}
