//! Cells of a column while they are read, one after the other, with the kind inferred or told.

use std::sync::Arc;

use kiln_map::{Budget, Exceeded};

use super::cell::is_missing_amount;
use super::column::{Cells, ColumnKind, Dictionary, NO_DATE, NO_WORD};
use super::format::CellFormat;
use super::raw::{DATE, FINITE, NUMBER, RawCell, TRUTH};

/// The columns as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub columns: Vec<ColumnLayout>,
}

/// What is known of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ColumnLayout {
    pub name: String,
    /// Nothing while no value was seen. Booleans are words until all are read.
    pub kind: Option<ColumnKind>,
    /// Whether the kind was told, so that what doesn't fit is a fault.
    pub told: bool,
    /// How its cells are written.
    pub format: Arc<CellFormat>,
}

impl Layout {
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(|column| column.name.as_str())
    }
}

/// Why a cell can't be added.
pub(super) enum Misfit {
    /// The column isn't of the kind that its earlier cells had.
    Kind,
    /// The cell is wrong in itself, or isn't of the kind told.
    Fault(String),
}

/// A column while it is read.
pub(super) struct ColumnBuilder {
    told: Option<ColumnKind>,
    cells: Cells,
    dictionary: Dictionary,
    format: Arc<CellFormat>,
    /// Words that were taken for missing amounts, and how often.
    pub skipped: SkippedWords,
}

/// Words that say that an amount is missing, and how often each does.
pub(super) type SkippedWords = std::collections::BTreeMap<String, u64>;

/// How many such words of a column are told apart.
const SKIPPED: usize = 32;

/// Counts a word; those that come after many others aren't told apart.
pub(super) fn count_skipped(skipped: &mut SkippedWords, word: &str, times: u64) {
    if let Some(known) = skipped.get_mut(word) {
        *known += times;
    } else if skipped.len() < SKIPPED {
        skipped.insert(word.to_string(), times);
    }
}

impl ColumnBuilder {
    /// An empty column.
    pub fn new(known: &ColumnLayout, rows: usize) -> ColumnBuilder {
        let cells = match known.kind {
            None => Cells::Missing(0),
            Some(kind) => ColumnBuilder::start(kind, 0, rows),
        };
        ColumnBuilder {
            told: known.kind.filter(|_| known.told),
            cells,
            dictionary: Dictionary::default(),
            format: known.format.clone(),
            skipped: SkippedWords::new(),
        }
    }

    /// Cells of a kind, of which some are missing already.
    pub fn start(kind: ColumnKind, missing: usize, rows: usize) -> Cells {
        let room = rows.max(missing);
        match kind {
            ColumnKind::Number => Cells::Numbers(filled(f64::NAN, missing, room)),
            ColumnKind::Date => Cells::Dates { seconds: filled(NO_DATE, missing, room), timed: false },
            ColumnKind::Category | ColumnKind::Boolean => {
                Cells::Words { codes: filled(NO_WORD, missing, room), words: Vec::new() }
            }
        }
    }

    /// The kind, once a value was seen.
    pub fn kind(&self) -> Option<ColumnKind> {
        match self.cells {
            Cells::Missing(_) => None,
            Cells::Numbers(_) => Some(ColumnKind::Number),
            Cells::Dates { .. } => Some(ColumnKind::Date),
            Cells::Words { .. } => Some(ColumnKind::Category),
        }
    }

    /// Where numbers go, in a column of numbers that are written the plain way.
    #[inline]
    pub fn numbers(&mut self) -> Option<&mut Vec<f64>> {
        match &mut self.cells {
            Cells::Numbers(values) if self.format.number.is_none() && self.format.missing.is_empty() => {
                Some(values)
            }
            _ => None,
        }
    }

    /// Adds a cell.
    pub fn push(&mut self, raw: RawCell<'_>) -> Result<(), Misfit> {
        let raw = self.format.settled(raw);
        let raw = match (&self.cells, raw) {
            (Cells::Numbers(_) | Cells::Dates { .. }, RawCell::Text(word) | RawCell::Quoted(word))
                if is_missing_amount(word) =>
            {
                count_skipped(&mut self.skipped, word, 1);
                RawCell::Missing
            }
            _ => raw,
        };
        if let RawCell::Missing = raw {
            match &mut self.cells {
                Cells::Missing(rows) => *rows += 1,
                Cells::Numbers(values) => values.push(f64::NAN),
                Cells::Dates { seconds, .. } => seconds.push(NO_DATE),
                Cells::Words { codes, .. } => codes.push(NO_WORD),
            }
            return Ok(());
        }
        if let Cells::Missing(rows) = self.cells {
            self.cells = ColumnBuilder::start(self.format.kind(raw), rows, 0);
        }
        let misfit = |what: &str, raw: RawCell<'_>| match self.told {
            Some(_) => Misfit::Fault(raw.isnt(what)),
            None => Misfit::Kind,
        };
        match &mut self.cells {
            Cells::Missing(_) => {}
            Cells::Numbers(values) => match self.format.number(raw, self.told.is_some()) {
                Some(value) if value.is_finite() => values.push(value),
                Some(_) => return Err(Misfit::Fault(raw.isnt(FINITE))),
                None => return Err(misfit(NUMBER, raw)),
            },
            Cells::Dates { seconds, timed } => {
                let Some((moment, has_time)) = self.format.moment(raw) else { return Err(misfit(DATE, raw)) };
                seconds.push(moment);
                *timed |= has_time;
            }
            Cells::Words { codes, .. } => {
                let word = match self.told {
                    Some(ColumnKind::Boolean) => raw.truth().ok_or_else(|| misfit(TRUTH, raw))?.into(),
                    _ => raw.text(),
                };
                codes.push(self.dictionary.code(&word));
            }
        }
        Ok(())
    }

    /// The cells, all of them read, and the words among them that were taken for missing amounts.
    pub fn finish(self) -> (Cells, SkippedWords) {
        let cells = match self.cells {
            Cells::Words { codes, .. } => Cells::Words { codes, words: self.dictionary.words },
            other => other,
        };
        (cells, self.skipped)
    }
}

fn filled<T: Clone>(value: T, count: usize, room: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(room);
    values.resize(count, value);
    values
}

fn extend<T: Clone>(values: &mut Vec<T>, count: usize, value: T, budget: &Budget) -> Result<(), Exceeded> {
    budget.reserve(values, count)?;
    values.resize(values.len() + count, value);
    Ok(())
}

impl Cells {
    /// The same cells as what the column was decided to be when all of it was read.
    pub fn decided(self, kind: Option<ColumnKind>, format: &CellFormat) -> Cells {
        match (self, kind) {
            (Cells::Words { codes, words }, Some(ColumnKind::Number)) => {
                let value = |word: &String| format.number(RawCell::Text(word), false).unwrap_or(f64::NAN);
                let values: Vec<f64> = words.iter().map(value).collect();
                let of_code = |code: &u32| values.get(*code as usize).copied().unwrap_or(f64::NAN);
                Cells::Numbers(codes.iter().map(of_code).collect())
            }
            (Cells::Words { codes, words }, Some(ColumnKind::Date)) => {
                let moments: Vec<Option<(i64, bool)>> =
                    words.iter().map(|word| format.moment(RawCell::Text(word))).collect();
                let of_code = |code: &u32| moments.get(*code as usize).copied().flatten();
                let seconds = codes.iter().map(|code| of_code(code).map_or(NO_DATE, |(at, _)| at)).collect();
                Cells::Dates { seconds, timed: moments.iter().flatten().any(|(_, timed)| *timed) }
            }
            (Cells::Numbers(values), Some(ColumnKind::Date)) => {
                let moment = |value: &f64| format.moment(RawCell::Number(*value));
                let timed = values.iter().filter_map(moment).any(|(_, timed)| timed);
                let seconds =
                    values.iter().map(|value| moment(value).map_or(NO_DATE, |(at, _)| at)).collect();
                Cells::Dates { seconds, timed }
            }
            (cells, _) => cells,
        }
    }

    /// Adds the cells of a further part of the same column; they are of one kind, or either has no value.
    pub fn append(
        &mut self,
        part: Cells,
        dictionary: &mut Dictionary,
        budget: &Budget,
    ) -> Result<(), Exceeded> {
        let kind = match (&*self, &part) {
            (Cells::Missing(_), Cells::Missing(_)) => None,
            (Cells::Missing(rows), Cells::Numbers(_)) => Some((ColumnKind::Number, *rows)),
            (Cells::Missing(rows), Cells::Dates { .. }) => Some((ColumnKind::Date, *rows)),
            (Cells::Missing(rows), Cells::Words { .. }) => Some((ColumnKind::Category, *rows)),
            _ => None,
        };
        if let Some((kind, rows)) = kind {
            *self = ColumnBuilder::start(kind, 0, 0);
            self.append(Cells::Missing(rows), dictionary, budget)?;
        }
        match (self, part) {
            (Cells::Missing(rows), Cells::Missing(more)) => *rows += more,
            (Cells::Numbers(values), Cells::Numbers(mut more)) => {
                budget.reserve(values, more.len())?;
                values.append(&mut more);
            }
            (Cells::Dates { seconds, timed }, Cells::Dates { seconds: more, timed: also }) => {
                budget.reserve(seconds, more.len())?;
                seconds.extend(more);
                *timed |= also;
            }
            (Cells::Words { codes, words }, Cells::Words { codes: more, words: others }) => {
                budget.reserve(codes, more.len())?;
                let renamed: Vec<u32> = others.iter().map(|word| dictionary.code(word)).collect();
                codes.extend(
                    more.into_iter().map(|code| renamed.get(code as usize).copied().unwrap_or(NO_WORD)),
                );
                let new = &dictionary.words[words.len()..];
                // Each is here, in the dictionary, and a key there.
                let bytes = |word: &String| 3 * (word.len() + size_of::<String>() + 16) as u64;
                budget.bytes(new.iter().map(bytes).sum())?;
                words.extend_from_slice(new);
            }
            (Cells::Numbers(values), Cells::Missing(rows)) => extend(values, rows, f64::NAN, budget)?,
            (Cells::Dates { seconds, .. }, Cells::Missing(rows)) => extend(seconds, rows, NO_DATE, budget)?,
            (Cells::Words { codes, .. }, Cells::Missing(rows)) => extend(codes, rows, NO_WORD, budget)?,
            _ => {}
        }
        Ok(())
    }
}
