//! How a column's cells are written where it isn't the plain way: decimal commas, thousands apart, units, national dates, words for what
//! is missing. Found once over a whole file, stored with the model, and kept ever after.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cell;
use super::date_forms::DateFormat;
use super::kind::ColumnKind;
use super::raw::RawCell;

/// How a column's cells are written. The default is the plain way: `1234.5`, `2024-01-31`, and nothing where a value is missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellFormat {
    /// How numbers are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberFormat>,
    /// How dates are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<DateFormat>,
    /// Words that say that a value is missing, besides the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// How numbers are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberFormat {
    /// What stands before the decimals: a point or a comma.
    pub decimal: char,
    /// What stands between groups of three digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousands: Option<char>,
    /// What may stand before or behind a number: a currency, a percent sign, a unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

impl CellFormat {
    /// The plain way.
    pub(super) const PLAIN: CellFormat = CellFormat { number: None, date: None, missing: Vec::new() };

    /// The same, of words: only what says that one is missing is left.
    pub(super) fn of_words(&self) -> Arc<CellFormat> {
        Arc::new(CellFormat { missing: self.missing.clone(), ..CellFormat::PLAIN })
    }

    /// Whether nothing differs from the plain way.
    pub fn is_plain(&self) -> bool {
        *self == CellFormat::PLAIN
    }

    /// Without the space around it, and missing where it says so in any column.
    pub(super) fn settled<'a>(&self, raw: RawCell<'a>) -> RawCell<'a> {
        match raw.settled() {
            RawCell::Text(text) | RawCell::Quoted(text) if self.says_missing(text) => RawCell::Missing,
            other => other,
        }
    }

    fn says_missing(&self, text: &str) -> bool {
        !self.missing.is_empty() && self.missing.iter().any(|word| word.eq_ignore_ascii_case(text.trim()))
    }

    /// The number a settled cell says, also in quotes where the column was told to hold numbers.
    pub(super) fn number(&self, raw: RawCell<'_>, told: bool) -> Option<f64> {
        match (raw, &self.number) {
            (RawCell::Text(text), Some(format)) => format.parse(text),
            (RawCell::Quoted(text), Some(format)) if told => format.parse(text.trim()),
            _ => raw.number(told),
        }
    }

    /// The moment a settled cell says, in seconds since 1970, and whether it is a time of the day.
    pub(super) fn moment(&self, raw: RawCell<'_>) -> Option<(i64, bool)> {
        match (raw, self.date) {
            (RawCell::Text(text) | RawCell::Quoted(text), Some(format)) => format.parse(text),
            (RawCell::Number(value), Some(format)) => format.of_number(value),
            _ => raw.moment(),
        }
    }

    /// The kind of a column of which nothing but this settled cell is known.
    pub(super) fn kind(&self, raw: RawCell<'_>) -> ColumnKind {
        match raw {
            _ if self.date.is_some() && self.moment(raw).is_some() => ColumnKind::Date,
            RawCell::Text(_) if self.number(raw, false).is_some() => ColumnKind::Number,
            RawCell::Text(_) | RawCell::Quoted(_) if self.moment(raw).is_some() => ColumnKind::Date,
            other => other.kind(),
        }
    }
}

impl NumberFormat {
    /// The number a cell says.
    pub(super) fn parse(&self, text: &str) -> Option<f64> {
        let (unit, digits, negative) = split(text)?;
        let fits = unit.is_empty() || unit == self.unit;
        let value = grouped(digits, self.decimal, self.thousands).filter(|_| fits)?;
        Some(if negative { -value } else { value })
    }
}

/// A cell as its unit, its digits with what is between them, and whether it is negative: `-$1,234.5` → `$`, `1,234.5`, true.
pub(super) fn split(text: &str) -> Option<(&str, &str, bool)> {
    let text = text.trim();
    // Bookkeepers put what is owed in brackets.
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let (text, owed) = (inner.unwrap_or(text).trim(), inner.is_some());
    let is_digit = |c: char| c.is_ascii_digit();
    let last = text.rfind(is_digit)? + 1;
    let (head, behind) = text.split_at_checked(last)?;
    let first = head.find(|c: char| is_digit(c) || c == '.' || c == ',')?;
    let (before, digits) = head.split_at_checked(first)?;
    let signs = |c: char| matches!(c, '-' | '−' | '+');
    let minus = before.contains(['-', '−']);
    let before = before.trim_matches(|c: char| signs(c) || c.is_whitespace());
    // A number may end in its point.
    let (digits, behind) = match behind.starts_with(['.', ',']) && behind.len() == 1 {
        true => (text.get(first..)?, ""),
        false => (digits, behind.trim()),
    };
    let unit = match (before.is_empty(), behind.is_empty()) {
        (true, _) => Some(behind).filter(|unit| unit.is_empty() || is_unit(unit)),
        (false, true) => Some(before).filter(|unit| is_currency(unit)),
        (false, false) => None,
    }?;
    (!(owed && minus)).then_some((unit, digits, owed || minus))
}

fn is_currency(unit: &str) -> bool {
    const SIGNS: &str = "$€£¥₹₽₩₺₴₫₪฿₱₦";
    let is_code = unit.len() == 3 && unit.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code || (unit.chars().count() <= 3 && unit.chars().any(|c| SIGNS.contains(c)))
}

/// Whether what stands behind a number may be its unit: a few letters and signs.
fn is_unit(unit: &str) -> bool {
    let fits = |c: char| c.is_alphabetic() || "%‰°µ²³/·^.* $€£¥₹₽₩₺₴₫₪฿₱₦-".contains(c);
    let starts = unit.starts_with(|c: char| c.is_alphabetic() || "%‰°µ$€£¥₹₽₩₺₴₫₪฿₱₦".contains(c));
    starts && unit.chars().count() <= 12 && unit.chars().all(fits)
}

/// Signs that mean the same between groups of digits.
fn same(one: char, other: char) -> bool {
    let space = |c: char| matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}');
    let apostrophe = |c: char| matches!(c, '\'' | '’');
    one == other || (space(one) && space(other)) || (apostrophe(one) && apostrophe(other))
}

/// Digits as a number: groups of three with one sign between them, decimals behind another.
fn grouped(digits: &str, decimal: char, thousands: Option<char>) -> Option<f64> {
    let mut plain = String::with_capacity(digits.len());
    // How many digits the group has that is read, and whether it is the first.
    let (mut group, mut first, mut decimals) = (0, true, false);
    let mut letters = digits.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '0'..='9' => {
                plain.push(letter);
                group += 1;
            }
            sign if !decimals && sign == decimal => {
                if !first && group != 3 {
                    return None;
                }
                plain.push('.');
                (decimals, group) = (true, 0);
            }
            sign if !decimals && thousands.is_some_and(|thousands| same(sign, thousands)) => {
                if group == 0 || group > 3 || (!first && group != 3) || plain.starts_with('0') {
                    return None;
                }
                (first, group) = (false, 0);
            }
            'e' | 'E' if !plain.is_empty() => {
                plain.push('e');
                plain.extend(letters.by_ref());
                return cell::number(plain.as_bytes()).filter(|_| first);
            }
            _ => return None,
        }
    }
    if !first && !decimals && group != 3 {
        return None;
    }
    cell::number(plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, decimal: char, thousands: char, unit: &str) -> Option<f64> {
        NumberFormat { decimal, thousands: Some(thousands), unit: unit.to_string() }.parse(text)
    }

    #[test]
    fn numbers_are_read_with_their_separators_and_units() {
        for (text, decimal, thousands, unit, value) in [
            ("1.234,5", ',', '.', "", 1234.5),
            ("-1.234.567", ',', '.', "", -1_234_567.0),
            ("0,5", ',', '.', "", 0.5),
            (",5", ',', '.', "", 0.5),
            ("5,", ',', '.', "", 5.0),
            ("12", ',', '.', "", 12.0),
            ("1,234.50", '.', ',', "", 1234.5),
            ("$1,234.50", '.', ',', "$", 1234.5),
            ("-$1,234", '.', ',', "$", -1234.0),
            ("($12)", '.', ',', "$", -12.0),
            ("12 €", ',', '.', "€", 12.0),
            ("EUR 12,5", ',', '.', "EUR", 12.5),
            ("12,5%", ',', '.', "%", 12.5),
            ("3.2 km/h", '.', ',', "km/h", 3.2),
            ("−4 °C", '.', ',', "°C", -4.0),
            ("1 234,5", ',', ' ', "", 1234.5),
            ("1\u{202f}234", ',', ' ', "", 1234.0),
            ("1’234.5", '.', '\'', "", 1234.5),
            ("1,5e3", ',', '.', "", 1500.0),
            ("5", '.', ',', "kg", 5.0),
        ] {
            assert_eq!(read(text, decimal, thousands, unit), Some(value), "{text}");
        }
        for (text, decimal, thousands, unit) in [
            ("1.23,5", ',', '.', ""),
            ("12.3456", ',', '.', ""),
            ("1234.567", ',', '.', ""),
            ("0.123", ',', '.', ""),
            ("1,2,3", '.', ',', ""),
            ("5 kg", '.', ',', "g"),
            ("5-10", '.', ',', ""),
            ("12:30", '.', ',', ""),
            ("no 5", '.', ',', "no"),
            ("", '.', ',', ""),
            ("kg", '.', ',', "kg"),
            ("1.2.3", '.', ',', ""),
            ("٣", '.', ',', ""),
        ] {
            assert_eq!(read(text, decimal, thousands, unit), None, "{text}");
        }
    }

    #[test]
    fn a_format_says_only_what_is_not_plain_and_comes_back() {
        let number = NumberFormat { decimal: ',', thousands: Some('.'), unit: "€".to_string() };
        let format = CellFormat { number: Some(number), ..CellFormat::PLAIN };
        let text = serde_json::to_string(&format).unwrap();
        assert_eq!(text, r#"{"number":{"decimal":",","thousands":".","unit":"€"}}"#);
        assert_eq!(serde_json::from_str::<CellFormat>(&text).unwrap(), format);
        assert_eq!(serde_json::to_string(&CellFormat::PLAIN).unwrap(), "{}");
    }
}
