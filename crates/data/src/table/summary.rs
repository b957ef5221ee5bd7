//! What is to be known of a column's training rows before it can be prepared: gathered part by part, so that a file larger than
//! memory is summed up as well as a table.

use std::collections::{BTreeMap, HashMap};

use super::behaviour::{Behaviour, are_codes, target_of};
use super::cell;
use super::column::{Cell, Cells, Column, ColumnKind};
use super::date::DateTime;
use super::format::CellFormat;
use crate::rng::Rng;

/// How many different numbers are told apart; more are amounts.
const DISTINCT: usize = 1000;
/// How many numbers stand for all of those in a file larger than memory, where a median is wanted.
const SAMPLE: usize = 1 << 16;

/// From how many rows on numbers that follow each other are taken for a count of rows.
const COUNTED: u64 = 20;

/// Count, mean and spread, after Welford.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    pub count: u64,
    pub mean: f64,
    squares: f64,
}

impl Moments {
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (value - self.mean);
    }

    /// The deviation of the whole; 0 where all are the same.
    pub fn deviation(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }
}

/// The parts of a date that a model sees.
pub(super) const DATE_PARTS: [&str; 5] = ["year", "month", "day", "weekday", "hour"];

/// Those parts of a moment.
pub(super) fn date_parts(seconds: i64) -> [f64; 5] {
    let DateTime { year, month, day, weekday, second } = DateTime::of(seconds);
    [year as f64, month as f64, day as f64, weekday as f64, second as f64 / 3600.0]
}

/// A column and its training rows.
pub(super) struct SummarisedColumn {
    pub name: String,
    pub kind: ColumnKind,
    pub format: CellFormat,
    /// Whether the file gives it no name.
    pub unnamed: bool,
    pub summary: ColumnSummary,
}

/// A column's training rows.
#[derive(Clone, Debug)]
pub(super) struct ColumnSummary {
    pub rows: u64,
    pub missing: u64,
    pub numbers: Moments,
    /// Of the logarithms.
    pub logs: Moments,
    pub least: f64,
    pub most: f64,
    pub whole: bool,
    pub words: BTreeMap<String, u64>,
    pub dates: [Moments; 5],
    pub timed: bool,
    /// A number less the row it stands in, where it is the same in all rows.
    distance: Option<f64>,
    follows: bool,
    /// Different numbers and how often they come; nothing once there are too many.
    distinct: Option<HashMap<u64, Behaviour>>,
    /// The numbers themselves, or a sample of them.
    kept: Vec<f64>,
    /// How many are kept at most.
    room: usize,
    rng: Rng,
}

/// The logarithm that keeps the sign, so that every number has one.
pub(super) fn signed_log(value: f64) -> f64 {
    libm::log1p(value.abs()).copysign(value)
}

impl ColumnSummary {
    /// Nothing yet. `exact` keeps every number, so that medians are exact.
    pub fn new(exact: bool) -> ColumnSummary {
        ColumnSummary {
            rows: 0,
            missing: 0,
            numbers: Moments::default(),
            logs: Moments::default(),
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
            whole: true,
            words: BTreeMap::new(),
            dates: [Moments::default(); 5],
            timed: false,
            distance: None,
            follows: true,
            distinct: Some(HashMap::new()),
            kept: Vec::new(),
            room: if exact { usize::MAX } else { SAMPLE },
            rng: Rng::new(0),
        }
    }

    /// Whether whole numbers are more likely the codes of some kinds than amounts: only a few different ones, each often.
    pub fn are_codes(&self) -> bool {
        let few = self.distinct.as_ref().map(HashMap::len).filter(|count| (3..=6).contains(count));
        self.whole && few.is_some_and(|count| self.present() >= 20 * count as u64)
    }

    /// Whether the numbers count the rows of the file.
    pub fn counts_rows(&self) -> bool {
        self.follows && self.whole && self.missing == 0 && self.numbers.count >= COUNTED
    }

    /// Whether whole numbers are many kinds, each of some rows.
    pub fn are_many_codes(&self) -> bool {
        let many = self.distinct.as_ref().map(HashMap::len).filter(|count| *count > 6);
        self.whole && many.is_some_and(|count| self.present() >= 5 * count as u64)
    }

    /// Whether whole numbers are many kinds by how the target behaves beside them.
    pub fn behave_as_codes(&self) -> bool {
        let Some(distinct) = self.distinct.as_ref().filter(|_| self.are_many_codes()) else { return false };
        let mut ordered: Vec<(f64, Behaviour)> =
            distinct.iter().map(|(bits, behaviour)| (f64::from_bits(*bits), *behaviour)).collect();
        ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
        are_codes(&ordered.into_iter().map(|(_, behaviour)| behaviour).collect::<Vec<_>>())
    }

    /// Takes in some rows of a column, which begins at this row of the file, beside those of the target.
    pub fn extend(
        &mut self,
        column: &Column,
        target: Option<&Column>,
        start: u64,
        rows: impl Iterator<Item = usize>,
    ) {
        match column.cells() {
            Cells::Words { codes, words } => {
                let mut counts = vec![0u64; words.len()];
                for row in rows {
                    self.rows += 1;
                    match codes.get(row).and_then(|&code| counts.get_mut(code as usize)) {
                        Some(count) => *count += 1,
                        None => self.missing += 1,
                    }
                }
                for (word, count) in words.iter().zip(counts).filter(|(_, count)| *count > 0) {
                    match self.words.get_mut(word) {
                        Some(known) => *known += count,
                        None => drop(self.words.insert(word.clone(), count)),
                    }
                }
            }
            _ => rows.for_each(|row| {
                self.rows += 1;
                match column.cell(row) {
                    Cell::Number(value) => {
                        let distance = value - (start + row as u64) as f64;
                        self.follows &= *self.distance.get_or_insert(distance) == distance;
                        self.number(value, target.and_then(|target| target_of(target, row)));
                    }
                    Cell::Date { seconds, timed } => {
                        self.timed |= timed;
                        let parts = self.dates.iter_mut().zip(date_parts(seconds));
                        parts.for_each(|(moments, part)| moments.push(part));
                    }
                    Cell::Missing | Cell::Word(_) => self.missing += 1,
                }
            }),
        }
    }

    fn number(&mut self, value: f64, target: Option<f64>) {
        self.numbers.push(value);
        self.logs.push(signed_log(value));
        self.least = self.least.min(value);
        self.most = self.most.max(value);
        self.whole &= value.fract() == 0.0;
        if let Some(distinct) = &mut self.distinct {
            distinct.entry((value + 0.0).to_bits()).or_default().add(target);
            if distinct.len() > DISTINCT {
                self.distinct = None;
            }
        }
        if self.kept.len() < self.room {
            self.kept.push(value);
        } else {
            // Each number so far stays with the same chance.
            let place = self.rng.below(self.numbers.count as usize);
            if let Some(kept) = self.kept.get_mut(place) {
                *kept = value;
            }
        }
    }

    /// How many values there are.
    pub fn present(&self) -> u64 {
        self.rows - self.missing
    }

    /// How many different numbers there are, if they are few enough to count.
    pub fn distinct(&self) -> Option<usize> {
        self.distinct.as_ref().map(HashMap::len)
    }

    /// The values as words and how often they come, in order; numbers in the order of numbers. Nothing for too many numbers.
    pub fn counts(&self) -> Option<Vec<(String, u64)>> {
        if self.numbers.count == 0 {
            return Some(self.words.iter().map(|(word, count)| (word.clone(), *count)).collect());
        }
        let mut numbers: Vec<(f64, u64)> =
            self.distinct.as_ref()?.iter().map(|(bits, own)| (f64::from_bits(*bits), own.count)).collect();
        numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(numbers.into_iter().map(|(value, count)| (cell::word(value), count)).collect())
    }

    /// The moments of the numbers bent so.
    pub fn moments(&self, bend: impl Fn(f64) -> f64) -> Moments {
        let mut moments = Moments::default();
        self.kept.iter().for_each(|&number| moments.push(bend(number)));
        moments
    }

    /// A number beside which those above 0 are large: where all are, a hundredth of nearly the least; else nearly the least, or a hundredth of
    /// the middle.
    pub fn small(&self) -> f64 {
        let mut above: Vec<f64> = self.kept.iter().copied().filter(|number| *number > 0.0).collect();
        above.sort_by(f64::total_cmp);
        let at = |share: f64| above.get((share * above.len() as f64) as usize).copied().unwrap_or(1.0);
        let small = if self.least > 0.0 { 0.01 * at(0.01) } else { at(0.01).max(0.01 * at(0.5)) };
        small.max(f64::MIN_POSITIVE)
    }

    /// The numbers below which these shares of all lie.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut sorted = self.kept.clone();
        sorted.sort_by(f64::total_cmp);
        shares.map(|share| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(0.0);
            let (below, above) = (at(place.floor()), at(place.ceil()));
            below + (above - below) * place.fract()
        })
    }
}
