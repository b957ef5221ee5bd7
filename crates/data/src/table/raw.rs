//! A cell as a file or a person gives it, and what it says where a number, a date or a word is meant.

use std::borrow::Cow;

use super::kind::ColumnKind;
use super::{cell, date};

/// What a cell isn't, and the mend.
pub(super) const NUMBER: &str = "number; mend it, or leave the cell empty";
pub(super) const FINITE: &str = "finite number; leave the cell empty, or read the column as a category";
pub(super) const DATE: &str = "date as 2024-01-31 or 2024-01-31T08:30";
pub(super) const TRUTH: &str = "boolean: true or false, yes or no, 1 or 0";

/// A value as it comes, before it is known what its column holds. Texts, numbers, booleans and options of them become one.
///
/// ```
/// use kiln_data::RawCell;
///
/// let row: [(&str, RawCell); 3] = [("age", 63.into()), ("sex", "male".into()), ("weight", None::<f64>.into())];
/// assert_eq!(row[2].1, RawCell::Missing);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawCell<'a> {
    /// Text that may say anything: a number, a date, that there is nothing.
    Text(&'a str),
    /// Text that shows no number, though it may say one where that was told: a string of JSON.
    Quoted(&'a str),
    /// A number; one that is none (NaN) is missing.
    Number(f64),
    /// True or false.
    Truth(bool),
    /// Nothing.
    Missing,
}

impl<'a> RawCell<'a> {
    /// Without the space around it, and missing where it says so.
    pub(super) fn settled(self) -> RawCell<'a> {
        match self {
            RawCell::Text(text) | RawCell::Quoted(text) if cell::is_missing(text.trim().as_bytes()) => {
                RawCell::Missing
            }
            RawCell::Text(text) => RawCell::Text(text.trim()),
            RawCell::Number(number) if number.is_nan() => RawCell::Missing,
            other => other,
        }
    }

    /// The number it says, also in quotes where the column was told to hold numbers.
    pub(super) fn number(self, told: bool) -> Option<f64> {
        match self {
            RawCell::Number(value) => Some(value),
            RawCell::Text(text) => cell::number(text.as_bytes()),
            RawCell::Quoted(text) if told => cell::number(text.trim().as_bytes()),
            RawCell::Quoted(_) | RawCell::Truth(_) | RawCell::Missing => None,
        }
    }

    /// The moment it says, in seconds since 1970, and whether it is a time of the day.
    pub(super) fn moment(self) -> Option<(i64, bool)> {
        match self {
            RawCell::Text(text) | RawCell::Quoted(text) => date::parse(text.as_bytes()),
            RawCell::Number(_) | RawCell::Truth(_) | RawCell::Missing => None,
        }
    }

    /// The truth it says, as the word of a boolean.
    pub(super) fn truth(self) -> Option<&'static str> {
        cell::truth(&self.text()).map(|truth| if truth { "true" } else { "false" })
    }

    /// As text; of what is missing none.
    pub fn text(self) -> Cow<'a, str> {
        match self {
            RawCell::Text(text) | RawCell::Quoted(text) => text.into(),
            RawCell::Number(value) if !value.is_nan() => cell::word(value).into(),
            RawCell::Truth(true) => "true".into(),
            RawCell::Truth(false) => "false".into(),
            RawCell::Number(_) | RawCell::Missing => "".into(),
        }
    }

    /// The kind of a column of which nothing but this is known.
    pub(super) fn kind(self) -> ColumnKind {
        match self {
            RawCell::Number(_) => ColumnKind::Number,
            RawCell::Text(text) if cell::number(text.as_bytes()).is_some() => ColumnKind::Number,
            RawCell::Text(text) | RawCell::Quoted(text) if date::parse(text.as_bytes()).is_some() => {
                ColumnKind::Date
            }
            _ => ColumnKind::Category,
        }
    }

    /// That it isn't what it should be.
    pub(super) fn isnt(self, what: &str) -> String {
        format!("\"{}\" is no {what}", self.text())
    }
}

impl<'a> From<&'a str> for RawCell<'a> {
    fn from(text: &'a str) -> RawCell<'a> {
        RawCell::Text(text)
    }
}

impl<'a> From<&'a String> for RawCell<'a> {
    fn from(text: &'a String) -> RawCell<'a> {
        RawCell::Text(text)
    }
}

impl From<f64> for RawCell<'_> {
    fn from(number: f64) -> Self {
        RawCell::Number(number)
    }
}

impl From<f32> for RawCell<'_> {
    fn from(number: f32) -> Self {
        f64::from(number).into()
    }
}

impl From<i32> for RawCell<'_> {
    fn from(number: i32) -> Self {
        RawCell::Number(number.into())
    }
}

impl From<i64> for RawCell<'_> {
    fn from(number: i64) -> Self {
        RawCell::Number(number as f64)
    }
}

impl From<bool> for RawCell<'_> {
    fn from(truth: bool) -> Self {
        RawCell::Truth(truth)
    }
}

impl<'a, T: Into<RawCell<'a>>> From<Option<T>> for RawCell<'a> {
    fn from(value: Option<T>) -> RawCell<'a> {
        value.map_or(RawCell::Missing, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_is_missing() {
        for none in [RawCell::Number(f64::NAN), f64::NAN.into(), f32::NAN.into(), Some(f64::NAN).into()] {
            assert_eq!(none.settled(), RawCell::Missing);
            assert_eq!(none.text(), "");
        }
        assert_eq!(RawCell::Number(f64::INFINITY).settled(), RawCell::Number(f64::INFINITY));
    }
}
