//! JSON as a request brings it: rows of cells by name, and lists of numbers, which are held as numbers and not as values one by one.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use kiln_learn::data::RawCell;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::refusal::Refusal;

/// A value. Keys stay in their order, and one that comes twice is there twice: the reader of rows refuses it.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Truth(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list of numbers alone, one at least.
    Numbers(Vec<f64>),
    /// Another list.
    List(Vec<Json<'a>>),
    /// An object.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// What a text says.
    ///
    /// # Errors
    /// Where it isn't JSON.
    pub fn read(text: &'a [u8]) -> Result<Json<'a>, Refusal> {
        let limits = ReadLimits { objects: Cell::new(MOST_OBJECTS), is_over: Cell::new(false) };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let read = limits.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
        read.map_err(|error| match limits.is_over.get() {
            true => Refusal::large(error.to_string()),
            false => Refusal::bad(format!("the body is no JSON: {error}")),
        })
    }

    /// The value of a key, the first of that name.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Json::Null
            | Json::Truth(_)
            | Json::Number(_)
            | Json::Text(_)
            | Json::Numbers(_)
            | Json::List(_) => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        if let Json::Number(number) = self { Some(*number) } else { None }
    }

    /// The truth, if it is one.
    pub fn truth(&self) -> Option<bool> {
        if let Json::Truth(truth) = self { Some(*truth) } else { None }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self, Json::List(_) | Json::Numbers(_))
    }

    /// The cells of an object that is a row.
    ///
    /// # Errors
    /// Where it is no object, or a cell is a list or an object.
    pub fn cells<'s>(&'s self) -> Result<Vec<(&'s str, RawCell<'s>)>, Refusal> {
        let Json::Object(pairs) = self else {
            return Err(Refusal::bad(
                "a row is an object such as {\"age\": 63, \"sex\": \"male\"}, and this is none",
            ));
        };
        let cell = |(name, value): &'s (Cow<'a, str>, Json<'a>)| match value.cell() {
            Some(cell) => Ok((name.as_ref(), cell)),
            None => Err(Refusal::bad(format!(
                "\"{name}\" is a list or an object, which can't be a cell of a row"
            ))),
        };
        pairs.iter().map(cell).collect()
    }

    /// As a cell of a row.
    fn cell(&self) -> Option<RawCell<'_>> {
        match self {
            Json::Null => Some(RawCell::Missing),
            Json::Truth(truth) => Some(RawCell::Truth(*truth)),
            Json::Number(number) => Some(RawCell::Number(*number)),
            Json::Text(text) => Some(RawCell::Quoted(text)),
            Json::Numbers(_) | Json::List(_) | Json::Object(_) => None,
        }
    }

    /// Adds the numbers of lists in lists, in their order.
    ///
    /// # Errors
    /// Where something else is among them.
    pub fn flatten(&self, into: &mut Vec<f64>) -> Result<(), Refusal> {
        match self {
            Json::Number(number) => into.push(*number),
            Json::Truth(truth) => into.push(f64::from(u8::from(*truth))),
            Json::Numbers(numbers) => into.extend_from_slice(numbers),
            Json::List(list) => return list.iter().try_for_each(|value| value.flatten(into)),
            Json::Null | Json::Text(_) | Json::Object(_) => {
                return Err(Refusal::bad("numbers are asked for, and something else is among them"));
            }
        }
        Ok(())
    }
}

/// So many rows come in one request at most.
pub const MOST_ROWS: usize = 10_000;

/// A text holds so many objects at most: its rows, and what is around them. A row of seven bytes is hundreds in memory, so they are
/// counted while they are read.
const MOST_OBJECTS: usize = MOST_ROWS + 100;

/// An object has so many keys at most.
const MOST_KEYS: usize = 10_000;

/// How much may still be read.
struct ReadLimits {
    objects: Cell<usize>,
    is_over: Cell<bool>,
}

impl ReadLimits {
    fn over<E: Error>(&self, message: String) -> E {
        self.is_over.set(true);
        E::custom(message)
    }
}

impl<'de> DeserializeSeed<'de> for &ReadLimits {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(JsonVisitor(self))
    }
}

struct JsonVisitor<'l>(&'l ReadLimits);

impl<'de> Visitor<'de> for JsonVisitor<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Truth(truth))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut numbers = Vec::new();
        let mut others = loop {
            match list.next_element_seed(self.0)? {
                Some(Json::Number(number)) => numbers.push(number),
                Some(other) => {
                    let mut values: Vec<Json> = numbers.drain(..).map(Json::Number).collect();
                    values.push(other);
                    break values;
                }
                None if numbers.is_empty() => return Ok(Json::List(Vec::new())),
                None => return Ok(Json::Numbers(numbers)),
            }
        };
        while let Some(value) = list.next_element_seed(self.0)? {
            others.push(value);
            // Truths, numbers and nothings may be elements of tensors; all else is a row or a text.
            let is_row = !matches!(others.last(), Some(Json::Null | Json::Truth(_) | Json::Number(_)));
            if others.len() > MOST_ROWS && is_row {
                return Err(self.0.over(format!("more than {MOST_ROWS} rows at once")));
            }
        }
        Ok(Json::List(others))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let Some(left) = self.0.objects.get().checked_sub(1) else {
            return Err(self.0.over(format!("more than {MOST_ROWS} rows at once")));
        };
        self.0.objects.set(left);
        let mut pairs = Vec::new();
        while let Some(JsonKey(name)) = map.next_key()? {
            if pairs.len() == MOST_KEYS {
                return Err(self.0.over(format!("an object of more than {MOST_KEYS} keys")));
            }
            pairs.push((name, map.next_value_seed(self.0)?));
        }
        Ok(Json::Object(pairs))
    }
}

/// A key, borrowed from the text where it has no escapes.
struct JsonKey<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for JsonKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonKey<'de>, D::Error> {
        let none = ReadLimits { objects: Cell::new(0), is_over: Cell::new(false) };
        match deserializer.deserialize_str(JsonVisitor(&none))? {
            Json::Text(text) => Ok(JsonKey(text)),
            _ => Err(D::Error::custom("a key is a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_are_numbers_and_keys_keep_their_order() {
        let read = |text: &'static str| Json::read(text.as_bytes()).unwrap();
        assert_eq!(read("[1, -2.5, 3e2]"), Json::Numbers(vec![1.0, -2.5, 300.0]));
        assert_eq!(read("[]"), Json::List(vec![]));
        assert_eq!(read("[1, null]"), Json::List(vec![Json::Number(1.0), Json::Null]));
        let row = read(r#"{"b": 1, "a": "x\n", "b": true, "c": null}"#);
        let cells = row.cells().unwrap();
        assert_eq!(cells.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["b", "a", "b", "c"]);
        assert_eq!(cells[1].1, RawCell::Quoted("x\n"));
        let mut all = Vec::new();
        read("[[1, 2], [[3], true], 4]").flatten(&mut all).unwrap();
        assert_eq!(all, [1.0, 2.0, 3.0, 1.0, 4.0]);
    }

    #[test]
    fn rows_and_keys_are_counted_while_they_are_read() {
        let list = |one: &str, many: usize| format!("[{}]", vec![one; many].join(","));
        let nested = list(&list("{}", 5_000), 3);
        let keys = |many: usize| format!("{{{}}}", vec!["\"a\":1"; many].join(","));
        let status =
            |text: &str| Json::read(text.as_bytes()).map(|_| ()).map_err(|error| error.status.as_u16());
        for text in [list("{\"a\":1}", 10_000), list("true", 20_000), list("1", 20_000), keys(10_000)] {
            assert_eq!(status(&text), Ok(()));
        }
        for text in [list("{\"a\":1}", 10_001), list("\"a\"", 10_001), nested, keys(10_001)] {
            assert_eq!(status(&text), Err(413));
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in ["", "{", "[1,", "nul", "{\"a\": }", "[1] 2", "\"\u{7}\"", "[\"\\ud800\"]"] {
            let error = Json::read(text.as_bytes()).unwrap_err();
            assert!(error.message.contains("column"), "{text}: {}", error.message);
        }
        let deep = "[".repeat(100_000);
        assert!(Json::read(deep.as_bytes()).unwrap_err().message.contains("recursion"));
    }
}
