//! A prepared table's way from one raw row to inputs, without a table: which cells are needed, and where each goes. It gives what
//! [`TablePreparation::apply_inputs`] gives for the row in a file, to the bit.

use std::collections::HashMap;

use super::cell;
use super::column::ColumnKind;
use super::date;
use super::feature::{DATES, DatePart, Encoding, Feature, NUMBERS, Scale, calendar, put};
use super::format::CellFormat;
use super::preparation::TablePreparation;
use super::raw::{DATE, FINITE, NUMBER, RawCell, TRUTH};
use super::words::KnownWords;
use crate::error::{Error, Result};
use kiln_map::nearest;

/// How raw rows become inputs, one by one.
///
/// ```
/// use kiln_data::{Choices, Table, TablePreparation};
///
/// let table = Table::read(b"age,sex,ill\n63,male,yes\n41,female,no\n,male,no\n55,female,yes\n")?;
/// let plan = TablePreparation::fit(&table, &[0, 1, 2, 3], &Choices::new().target("ill"))?.row_plan()?;
/// let mut inputs = vec![0.0; plan.width()];
/// plan.encode(&plan.cells([("sex", "male"), ("age", "53")])?, &mut inputs)?;
/// assert_eq!(inputs, [0.0, 0.0, 1.0]);
/// let error = plan.cells([("sex", "male"), ("agee", "53")]).unwrap_err().to_string();
/// assert!(error.contains("\"age\" (there is \"agee\")"), "{error}");
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowPlan {
    /// The columns that a row needs, each with its place.
    places: HashMap<String, usize>,
    columns: Vec<String>,
    slots: Vec<ColumnEncoder>,
    width: usize,
}

/// A column's inputs.
#[derive(Clone, Debug)]
struct ColumnEncoder {
    kind: ColumnKind,
    format: CellFormat,
    /// The place of its first input.
    first: usize,
    encode: Encode,
    flag: bool,
    /// Whether numbers are meant, and written in no way of their own.
    is_of_plain_numbers: bool,
    /// Whether there are words, and no place for others.
    is_closed: bool,
}

#[derive(Clone, Debug)]
enum Encode {
    Number {
        scale: Scale,
        /// Scaled.
        fill: f32,
    },
    Words {
        codes: Codes,
        how: Words,
    },
    /// The words that are inputs.
    Text(KnownWords),
    Date(Vec<DatePart>),
}

/// What becomes of a word's code.
#[derive(Clone, Copy, Debug)]
enum Words {
    /// The code, or the share where there is none.
    Pair(f32),
    OneHot,
    Codes,
}

/// A vocabulary to look words up in.
#[derive(Clone, Debug)]
struct Codes {
    words: HashMap<String, usize>,
    /// Words that are numbers, by their bits, where a column holds numbers.
    numbers: HashMap<u64, usize>,
    /// The codes of what is false and what is true, where the words say that.
    truths: [Option<usize>; 2],
    /// Of other words and of missing cells.
    unknown: [Option<usize>; 2],
}

impl TablePreparation {
    /// The way of single rows.
    ///
    /// # Errors
    /// Where there are transforms of one's own, which are written for tables.
    pub fn row_plan(&self) -> Result<RowPlan> {
        let width = self.width();
        // Codes come after all amounts.
        let (codes, amounts): (Vec<_>, Vec<_>) =
            self.features().iter().partition(|feature| feature.codes().is_some());
        let mut next = 0;
        let (mut slots, mut columns) = (Vec::new(), Vec::new());
        for feature in amounts.into_iter().chain(codes) {
            slots.push(ColumnEncoder::of(feature, next));
            columns.push(feature.column.clone());
            next += feature.names().len();
        }
        if next != width {
            let own = width - next;
            return Err(Error::new(format!(
                "{own} of the {width} inputs are computed by transforms of one's own, which need a table: \
                 apply_inputs"
            )));
        }
        let places = columns.iter().enumerate().map(|(place, column)| (column.clone(), place)).collect();
        Ok(RowPlan { places, columns, slots, width })
    }
}

impl RowPlan {
    /// How many inputs a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The columns that a row needs, in the order in which [`RowPlan::encode`] takes their cells.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// A row's cells in the order of the columns. Columns that aren't needed are ignored.
    ///
    /// # Errors
    /// Where one that is needed isn't there, or is there twice.
    pub fn cells<'a, K, V>(&self, row: impl IntoIterator<Item = (K, V)>) -> Result<Vec<RawCell<'a>>>
    where
        K: AsRef<str>,
        V: Into<RawCell<'a>>,
    {
        let mut cells = vec![None; self.columns.len()];
        let mut spare: Vec<K> = Vec::new();
        for (at, (name, value)) in row.into_iter().enumerate() {
            // Rows mostly have their cells in the table's order.
            let place = match self.columns.get(at) {
                Some(column) if column == name.as_ref() => Some(at),
                _ => self.places.get(name.as_ref()).copied(),
            };
            match place.and_then(|place| cells.get_mut(place)) {
                // Which of the two is meant nobody knows.
                Some(Some(_)) => {
                    return Err(
                        Error::new("the row has the column twice; give it once").in_column(name.as_ref())
                    );
                }
                Some(cell) => *cell = Some(value.into()),
                None => spare.push(name),
            }
        }
        if cells.iter().all(Option::is_some) {
            return Ok(cells.into_iter().flatten().collect());
        }
        let said = |name: &String| match nearest(name, spare.iter().map(|name| name.as_ref())) {
            Some(near) => format!("\"{name}\" (there is \"{near}\")"),
            None => format!("\"{name}\""),
        };
        let lacking = self.columns.iter().zip(&cells).filter(|(_, cell)| cell.is_none());
        let lacking: Vec<String> = lacking.map(|(name, _)| said(name)).collect();
        let columns = if lacking.len() == 1 { "a column" } else { "columns" };
        Err(Error::new(format!("the row lacks {columns} that training had: {}", lacking.join(", "))))
    }

    /// Writes the inputs of a row whose cells are in the order of [`RowPlan::columns`]; a cell that isn't there is missing.
    ///
    /// # Errors
    /// Where a value is of another kind than in training.
    pub fn encode(&self, cells: &[RawCell], inputs: &mut [f32]) -> Result<()> {
        inputs.fill(0.0);
        for at in 0..self.slots.len() {
            self.put(at, cells.get(at).copied().unwrap_or(RawCell::Missing), inputs)?;
        }
        Ok(())
    }

    /// The place of a column among those that are needed.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Writes the inputs of one cell among those of a row, which were zero. Whether its word was there in training, where words are told
    /// apart that have no place for others.
    pub(super) fn put(&self, place: usize, cell: RawCell, inputs: &mut [f32]) -> Result<bool> {
        let Some(slot) = self.slots.get(place) else { return Ok(true) };
        let inputs = inputs.get_mut(slot.first..).unwrap_or_default();
        slot.write(slot.settled(cell), inputs).map_err(|message| {
            Error::new(message).in_column(self.columns.get(place).map_or("", String::as_str))
        })
    }

    /// Whether a number that is written the plain way needs no more care than [`RowPlan::put_number`] takes.
    #[inline]
    pub(super) fn takes_plain_numbers(&self, place: usize) -> bool {
        self.slots.get(place).is_some_and(|slot| slot.is_of_plain_numbers)
    }

    /// Writes the inputs of a number.
    #[inline]
    pub(super) fn put_number(&self, place: usize, value: f64, inputs: &mut [f32]) {
        if let Some(ColumnEncoder { encode: Encode::Number { scale, .. }, first, flag, .. }) =
            self.slots.get(place)
        {
            put(inputs.get_mut(*first..).unwrap_or_default(), &[scale.of(value)], *flag, false);
        }
    }

    /// Whether a column's numbers and dates are written the plain way.
    pub(super) fn is_plain(&self, place: usize) -> bool {
        self.slots.get(place).is_none_or(|slot| slot.format.number.is_none() && slot.format.date.is_none())
    }

    /// A cell in the plain way, where its column has another.
    pub(super) fn plainly(&self, place: usize, cell: &str) -> Option<String> {
        let slot = self.slots.get(place).filter(|_| !self.is_plain(place))?;
        let raw = slot.settled(RawCell::Text(cell));
        match slot.kind {
            _ if raw == RawCell::Missing => Some(String::new()),
            ColumnKind::Number => slot.amount(raw).ok().map(cell::word),
            ColumnKind::Date => slot.moment(raw).ok().map(|(seconds, timed)| date::text(seconds, timed)),
            ColumnKind::Category | ColumnKind::Boolean => None,
        }
    }
}

impl ColumnEncoder {
    fn of(feature: &Feature, first: usize) -> ColumnEncoder {
        let words = |vocabulary: &super::feature::Vocabulary, how| Encode::Words {
            codes: Codes::of(&vocabulary.words, vocabulary.unknown()),
            how,
        };
        let (encode, flag) = match &feature.encoding {
            Encoding::Number { scale, fill, flag } => {
                (Encode::Number { scale: *scale, fill: scale.of(*fill) }, *flag)
            }
            Encoding::Pair { words, share, flag } => {
                (Encode::Words { codes: Codes::of(words, [None; 2]), how: Words::Pair(*share as f32) }, *flag)
            }
            Encoding::OneHot { vocabulary } => (words(vocabulary, Words::OneHot), false),
            Encoding::Codes { vocabulary } => (words(vocabulary, Words::Codes), false),
            Encoding::Text { words } => (Encode::Text(KnownWords::of(words)), false),
            Encoding::Date { parts, flag } => (Encode::Date(parts.clone()), *flag),
        };
        let is_closed = match &feature.encoding {
            Encoding::Pair { .. } => true,
            Encoding::OneHot { vocabulary } | Encoding::Codes { vocabulary } => !vocabulary.other,
            Encoding::Number { .. } | Encoding::Date { .. } | Encoding::Text { .. } => false,
        };
        let is_of_plain_numbers = matches!(encode, Encode::Number { .. })
            && feature.kind == ColumnKind::Number
            && feature.format.is_plain();
        let format = feature.format.clone();
        ColumnEncoder { kind: feature.kind, format, first, encode, flag, is_of_plain_numbers, is_closed }
    }

    /// As a column of a table takes the cell.
    fn settled<'a>(&self, raw: RawCell<'a>) -> RawCell<'a> {
        match (self.kind, self.format.settled(raw)) {
            (ColumnKind::Number | ColumnKind::Date, RawCell::Text(word) | RawCell::Quoted(word))
                if cell::is_missing_amount(word) =>
            {
                RawCell::Missing
            }
            (_, settled) => settled,
        }
    }

    /// Writes a cell's inputs, and says whether its word is a known one or needn't be.
    fn write(&self, raw: RawCell, inputs: &mut [f32]) -> Result<bool, String> {
        let is_missing = raw == RawCell::Missing;
        let mut is_known = true;
        match &self.encode {
            Encode::Number { scale, fill } => {
                let value = if is_missing { *fill } else { scale.of(self.number(raw)?) };
                put(inputs, &[value], self.flag, is_missing);
            }
            Encode::Words { codes, how } => {
                let code = match is_missing {
                    true => codes.unknown[1],
                    false => {
                        let known = self.code(raw, codes)?;
                        is_known = known.is_some() || !self.is_closed;
                        known.or(codes.unknown[0])
                    }
                };
                match (how, code) {
                    (Words::Pair(share), code) => {
                        put(inputs, &[code.map_or(*share, |code| code as f32)], self.flag, is_missing);
                    }
                    (Words::OneHot, code) => {
                        if let Some(input) = code.and_then(|code| inputs.get_mut(code)) {
                            *input = 1.0;
                        }
                    }
                    (Words::Codes, code) => put(inputs, &[code.unwrap_or(0) as f32], false, false),
                }
            }
            Encode::Text(_) if is_missing => {}
            Encode::Text(known) => {
                let text = self.word(raw)?;
                for place in known.places(&text) {
                    put(inputs.get_mut(place..).unwrap_or_default(), &[1.0], false, false);
                }
            }
            Encode::Date(parts) => {
                let seconds = match self.kind {
                    _ if is_missing => None,
                    ColumnKind::Date => Some(self.moment(raw)?.0),
                    ColumnKind::Number | ColumnKind::Category | ColumnKind::Boolean => {
                        return Err(raw.isnt(DATES));
                    }
                };
                let mut count = 0;
                for (input, value) in inputs.iter_mut().zip(calendar(parts, seconds)) {
                    *input = value;
                    count += 1;
                }
                put(inputs.get_mut(count..).unwrap_or_default(), &[], self.flag, is_missing);
            }
        }
        Ok(is_known)
    }

    /// The number of a cell, which may be a word that reads as one.
    fn number(&self, raw: RawCell) -> Result<f64, String> {
        match self.kind {
            ColumnKind::Number => self.amount(raw),
            ColumnKind::Category | ColumnKind::Boolean => {
                let value = cell::number(self.word(raw)?.as_bytes()).filter(|value| value.is_finite());
                value.ok_or_else(|| raw.isnt(NUMBERS))
            }
            ColumnKind::Date => Err(raw.isnt(NUMBERS)),
        }
    }

    fn word<'a>(&self, raw: RawCell<'a>) -> Result<std::borrow::Cow<'a, str>, String> {
        match self.kind {
            ColumnKind::Boolean => raw.truth().map(Into::into).ok_or_else(|| raw.isnt(TRUTH)),
            _ => Ok(raw.text()),
        }
    }

    /// The code of a word, if it has one of its own.
    fn code(&self, raw: RawCell, codes: &Codes) -> Result<Option<usize>, String> {
        let known = match self.kind {
            ColumnKind::Number => codes.numbers.get(&(self.amount(raw)? + 0.0).to_bits()),
            ColumnKind::Category | ColumnKind::Boolean => codes.words.get(self.word(raw)?.as_ref()),
            ColumnKind::Date => {
                let (seconds, timed) = self.moment(raw)?;
                codes.words.get(&date::text(seconds, timed))
            }
        };
        let same = || cell::truth(&raw.text()).and_then(|truth| codes.truths[usize::from(truth)]);
        Ok(known.copied().or_else(same))
    }

    fn amount(&self, raw: RawCell) -> Result<f64, String> {
        match self.format.number(raw, true) {
            Some(value) if value.is_finite() => Ok(value),
            Some(_) => Err(raw.isnt(FINITE)),
            None => Err(raw.isnt(NUMBER)),
        }
    }

    fn moment(&self, raw: RawCell) -> Result<(i64, bool), String> {
        self.format.moment(raw).ok_or_else(|| raw.isnt(DATE))
    }
}

impl Codes {
    fn of(words: &[String], unknown: [Option<usize>; 2]) -> Codes {
        let number = |word: &String| {
            let value = cell::number(word.as_bytes())?;
            (cell::word(value) == *word).then_some((value + 0.0).to_bits())
        };
        let truths = ["false", "true"].map(|truth| cell::same_truth(words, truth));
        let numbers = words.iter().enumerate().filter_map(|(code, word)| Some((number(word)?, code)));
        let words = words.iter().enumerate().map(|(code, word)| (word.clone(), code));
        Codes { numbers: numbers.collect(), words: words.collect(), truths, unknown }
    }
}
