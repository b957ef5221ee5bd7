//! What the cells of a column may be besides what they were read as: every way to write numbers and dates that suits all of them so
//! far. Parts of a file are surveyed side by side and put together, so that a column is decided by all of its cells.

use std::collections::HashMap;

use super::builder::{ColumnLayout, SkippedWords, count_skipped};
use super::cell::{self, is_missing_amount};
use super::column::{Cells, ColumnKind, NO_DATE, NO_WORD};
use super::date_forms::DateFormat;
use super::format::{CellFormat, NumberFormat, split};

/// Ways to write numbers: what stands before decimals, and what between groups of three digits.
pub(super) const NUMBERS: [(char, Option<char>); 7] = [
    ('.', None),
    ('.', Some(',')),
    ('.', Some(' ')),
    ('.', Some('\'')),
    (',', Some('.')),
    (',', Some(' ')),
    (',', Some('\'')),
];

/// Ways to write dates that are texts.
pub(super) const DATES: [DateFormat; 3] =
    [DateFormat::YearFirst, DateFormat::DayFirst, DateFormat::MonthFirst];

/// Ways to write dates that are numbers, and what numbers each has.
pub(super) const MOMENTS: [(DateFormat, std::ops::RangeInclusive<f64>); 3] = [
    (DateFormat::YearFirst, 19_000_101.0..=21_001_231.0),
    // From 1980 to 2050.
    (DateFormat::UnixSeconds, 315_532_800.0..=2_524_608_000.0),
    (DateFormat::UnixMilliseconds, 315_532_800_000.0..=2_524_608_000_000.0),
];

/// What is known of each column's cells, by its name.
pub(super) type Surveys = HashMap<String, Survey>;

/// What is known of a column's cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Survey {
    /// How many cells were looked at.
    pub rows: u64,
    /// Which of [`NUMBERS`] suit all words.
    pub numbers: [bool; NUMBERS.len()],
    /// Whether the plain way suits all words, brackets and signs of other alphabets aside.
    pub plain: bool,
    /// The unit that numbers among words have, where some has one.
    pub unit: String,
    /// Which of [`DATES`] suit all words.
    pub dates: [bool; DATES.len()],
    /// Which of [`MOMENTS`] suit all numbers.
    pub moments: [bool; MOMENTS.len()],
    /// Whether some word is an amount or a date.
    pub amounts: bool,
    /// Whether some number that was read the plain way has decimals.
    pub decimals: bool,
    /// How often the column's name is a word in it, and a sum that differs where other rows have it.
    pub named: (u64, u64),
    /// A word that shows how the others are written.
    pub example: Option<String>,
    /// Words that say that an amount is missing.
    pub skipped: SkippedWords,
}

impl Default for Survey {
    fn default() -> Survey {
        Survey {
            rows: 0,
            numbers: [true; NUMBERS.len()],
            plain: true,
            unit: String::new(),
            dates: [true; DATES.len()],
            moments: [true; MOMENTS.len()],
            amounts: false,
            decimals: false,
            named: (0, 0),
            example: None,
            skipped: SkippedWords::new(),
        }
    }
}

impl Survey {
    /// A survey of these cells.
    pub fn of(cells: &Cells, skipped: SkippedWords, known: &ColumnLayout) -> Survey {
        let mut survey = Survey { skipped, ..Survey::default() };
        match cells {
            Cells::Missing(rows) => survey.rows = *rows as u64,
            Cells::Dates { seconds, .. } => {
                survey.rows = seconds.len() as u64;
                survey.numbers.fill(false);
                survey.moments.fill(false);
                // ISO dates are dates in any format.
                survey.amounts = seconds.iter().any(|second| *second != NO_DATE);
            }
            Cells::Numbers(values) => {
                survey.rows = values.len() as u64;
                survey.numbers.fill(known.format.number.is_none());
                survey.dates.fill(false);
                survey.numbers(values);
            }
            Cells::Words { codes, words } => {
                survey.rows = codes.len() as u64;
                survey.moments.fill(false);
                if let Some(name) = words.iter().position(|word| *word == known.name) {
                    let rows = (1u64..).zip(codes).filter(|(_, code)| **code as usize == name);
                    survey.named = rows.fold((0, 0), |(count, sum), (row, _)| (count + 1, sum + row * row));
                }
                if known.told {
                    (survey.numbers, survey.dates) = Default::default();
                } else {
                    survey.words(codes, words);
                }
            }
        }
        survey
    }

    fn numbers(&mut self, values: &[f64]) {
        self.amounts = values.iter().any(|value| !value.is_nan());
        self.decimals = values.iter().any(|value| value.fract() != 0.0 && !value.is_nan());
        for (suits, (format, range)) in self.moments.iter_mut().zip(&MOMENTS) {
            let fits = |value: &f64| range.contains(value) && format.of_number(*value).is_some();
            *suits = values.iter().all(|value| value.is_nan() || fits(value));
        }
    }

    fn words(&mut self, codes: &[u32], words: &[String]) {
        let mut absent: Vec<u32> = Vec::new();
        for (code, word) in (0..).zip(words) {
            if is_missing_amount(word) {
                absent.push(code);
                continue;
            }
            self.amount(word);
            if !self.is_open() {
                return;
            }
            self.amounts = true;
        }
        if !absent.is_empty() {
            let mut counts = vec![0u64; words.len()];
            for code in codes.iter().filter(|code| **code != NO_WORD) {
                if let Some(count) = counts.get_mut(*code as usize) {
                    *count += 1;
                }
            }
            for code in absent {
                if let (Some(word), Some(count)) = (words.get(code as usize), counts.get(code as usize)) {
                    count_skipped(&mut self.skipped, word, *count);
                }
            }
        }
    }

    /// Leaves what suits this word too.
    fn amount(&mut self, word: &str) {
        if self.numbers.contains(&true) {
            self.number(word);
        }
        for (suits, format) in self.dates.iter_mut().zip(DATES) {
            *suits = *suits && format.parse(word).is_some();
        }
        // One with many signs between its digits shows most.
        let shows = |word: &str| {
            let signs = word.matches(['.', ',', '/', ' ', '\'', '\u{a0}', '\u{202f}']).count();
            signs + usize::from(!word.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if shows(word) > self.example.as_deref().map_or(0, shows) {
            self.example = Some(word.to_string());
        }
    }

    fn number(&mut self, word: &str) {
        self.plain &= cell::number(word.as_bytes()).is_some();
        let unit = split(word).map(|(unit, ..)| unit);
        match unit {
            Some("") => {}
            Some(unit) if self.unit == unit => {}
            Some(unit) if self.unit.is_empty() => self.unit = unit.to_string(),
            Some(_) | None => {
                self.numbers.fill(false);
                return;
            }
        }
        for (suits, (decimal, thousands)) in self.numbers.iter_mut().zip(NUMBERS) {
            let format = NumberFormat { decimal, thousands, unit: self.unit.clone() };
            *suits = *suits && format.parse(word).is_some_and(f64::is_finite);
        }
    }

    /// Whether it can be anything but words.
    pub fn is_open(&self) -> bool {
        self.numbers.contains(&true) || self.dates.contains(&true)
    }

    /// This part and another.
    pub fn join(&mut self, other: &Survey) {
        self.rows += other.rows;
        let (count, sum) = other.named;
        self.named = (self.named.0 + count, self.named.1.wrapping_add(sum));
        let both = |own: &mut [bool], other: &[bool]| {
            own.iter_mut().zip(other).for_each(|(own, other)| *own &= *other);
        };
        both(&mut self.numbers, &other.numbers);
        self.plain &= other.plain;
        both(&mut self.dates, &other.dates);
        both(&mut self.moments, &other.moments);
        match (self.unit.is_empty(), other.unit.is_empty()) {
            (true, _) => self.unit.clone_from(&other.unit),
            (false, false) if self.unit != other.unit => self.numbers.fill(false),
            (false, _) => {}
        }
        self.amounts |= other.amounts;
        self.decimals |= other.decimals;
        self.example = self.example.take().or_else(|| other.example.clone());
        for (word, count) in &other.skipped {
            count_skipped(&mut self.skipped, word, *count);
        }
    }
}

/// What a file says of how numbers and dates are written, column by column and as a whole.
pub(super) struct TableHabits {
    /// The decimal sign that columns show which can be read in one way only.
    decimal: Option<char>,
    /// Whether a column has commas before its decimals, whatever others have.
    pub commas: bool,
    /// Whether the day stands before the month, where a column shows it.
    dates: Option<DateFormat>,
    /// Whether cells are parted as where commas stand before decimals.
    semicolons: bool,
}

/// What a column was decided to be.
pub(super) struct Decision {
    pub kind: ColumnKind,
    pub format: CellFormat,
    /// Whether the cells could mean something else too.
    pub ambiguous: bool,
}

impl TableHabits {
    /// Of all columns together.
    pub fn of(
        columns: &[(&ColumnLayout, &Survey)],
        told: &super::reading::Reading,
        delimiter: u8,
    ) -> TableHabits {
        let (mut point, mut comma) = (false, false);
        let (mut day, mut month) = (false, false);
        for (known, survey) in columns.iter().filter(|(_, survey)| survey.amounts) {
            match known.kind {
                Some(ColumnKind::Number) => match &known.format.number {
                    Some(format) => comma |= format.decimal == ',',
                    None => point |= survey.decimals,
                },
                Some(ColumnKind::Date) => {
                    day |= known.format.date == Some(DateFormat::DayFirst);
                    month |= known.format.date == Some(DateFormat::MonthFirst);
                }
                Some(ColumnKind::Category | ColumnKind::Boolean) | None => {
                    let [_, points @ .., a, b, c] = survey.numbers;
                    let commas = [a, b, c].contains(&true);
                    point |= points.contains(&true) && !commas;
                    comma |= commas && !points.contains(&true) && !survey.numbers[0];
                    day |= survey.dates == [false, true, false];
                    month |= survey.dates == [false, false, true];
                }
            }
        }
        let one = |is: bool, other: bool| is && !other;
        let decimal = match (one(point, comma), one(comma, point)) {
            (true, _) => Some('.'),
            (_, true) => Some(','),
            _ => None,
        };
        let dates = match (one(day, month), one(month, day)) {
            (true, _) => Some(DateFormat::DayFirst),
            (_, true) => Some(DateFormat::MonthFirst),
            _ => None,
        };
        TableHabits {
            decimal: told.decimal.or(decimal),
            commas: comma && told.decimal.is_none(),
            dates: told.dates.or(dates),
            semicolons: delimiter == b';',
        }
    }

    /// What a column is, if it isn't what it was read as.
    pub fn decide(
        &self,
        known: &ColumnLayout,
        survey: &Survey,
        told: &super::reading::Reading,
    ) -> Option<Decision> {
        if known.told || !survey.amounts {
            return None;
        }
        match known.kind? {
            ColumnKind::Number => self.moment(known, survey),
            ColumnKind::Category | ColumnKind::Boolean => {
                self.date(known, survey).or_else(|| self.number(known, survey, told))
            }
            ColumnKind::Date => None,
        }
    }

    /// Numbers that are days or moments. Moments of Unix are believed where the column is named so.
    fn moment(&self, known: &ColumnLayout, survey: &Survey) -> Option<Decision> {
        let (_, (format, _)) = survey.moments.iter().zip(&MOMENTS).find(|(suits, (format, _))| {
            **suits && (*format == DateFormat::YearFirst || names_a_time(&known.name))
        })?;
        let format = CellFormat { date: Some(*format), number: None, ..(*known.format).clone() };
        Some(Decision { kind: ColumnKind::Date, format, ambiguous: false })
    }

    fn date(&self, known: &ColumnLayout, survey: &Survey) -> Option<Decision> {
        use DateFormat::{DayFirst, MonthFirst, YearFirst};
        let [year, day, month] = survey.dates;
        let separator = survey.example.as_deref().unwrap_or_default();
        // Both suit where no day is later than the twelfth, and where months have names.
        let numeric = !separator.contains(|c: char| c.is_alphabetic() && c != 'T');
        let both = day && month && !year && numeric && self.dates.is_none();
        let date = match (year, day, month) {
            (true, ..) => YearFirst,
            (_, true, true) => match self.dates {
                Some(told @ (DayFirst | MonthFirst)) => told,
                _ if separator.contains('/') && numeric => MonthFirst,
                _ => DayFirst,
            },
            (_, true, false) => DayFirst,
            (_, false, true) => MonthFirst,
            (false, false, false) => return None,
        };
        let format = CellFormat { date: Some(date), number: None, ..(*known.format).clone() };
        Some(Decision { kind: ColumnKind::Date, format, ambiguous: both && !separator.contains('.') })
    }

    fn number(
        &self,
        known: &ColumnLayout,
        survey: &Survey,
        told: &super::reading::Reading,
    ) -> Option<Decision> {
        let allowed = |(decimal, thousands): (char, Option<char>)| {
            told.decimal.is_none_or(|told| told == decimal)
                && told.thousands.is_none_or(|told| thousands == Some(told))
        };
        let mut suits: Vec<(char, Option<char>)> =
            NUMBERS.into_iter().zip(survey.numbers).filter(|(_, suits)| *suits).map(|(way, _)| way).collect();
        // A column that what was told doesn't suit is written otherwise.
        if suits.iter().any(|way| allowed(*way)) {
            suits.retain(|way| allowed(*way));
        }
        let point = suits.iter().find(|(decimal, _)| *decimal == '.').copied();
        let comma = suits.iter().find(|(decimal, _)| *decimal == ',').copied();
        // What has neither sign in it means the same in both.
        let example = survey.example.as_deref().unwrap_or_default();
        let (decimal, thousands) = match (point, comma) {
            (Some(point), Some(comma)) => match self.decimal {
                Some(',') => comma,
                Some(_) => point,
                None if self.semicolons && example.contains(',') => comma,
                None => point,
            },
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        let signs = example.contains([',', '.']);
        let ambiguous = point.is_some() && comma.is_some() && signs && self.decimal.is_none();
        let plain = decimal == '.' && thousands.is_none() && survey.plain;
        let number = (!plain).then(|| NumberFormat { decimal, thousands, unit: survey.unit.clone() });
        let format = CellFormat { number, date: None, ..(*known.format).clone() };
        Some(Decision { kind: ColumnKind::Number, format, ambiguous })
    }
}

/// Whether a column's name says that it holds moments.
fn names_a_time(name: &str) -> bool {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let ends = ["time", "date", "stamp", "epoch", "unix", "datetime"];
    let exact = ["ts", "at", "when", "created", "updated", "modified", "time", "zeit", "datum"];
    words.into_iter().any(|word| exact.contains(&word) || ends.iter().any(|end| word.ends_with(end)))
        || ["createdat", "updatedat"].contains(&lower.as_str())
}
