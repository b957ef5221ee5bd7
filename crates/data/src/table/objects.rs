//! JSON lines: each line an object, its keys the columns.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::part::{Parsing, no_text};
use super::raw::RawCell;
use super::reading::Reading;
use crate::error::{Error, Result};

/// An object's keys and values in the order of the file.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object such as {\"age\": 63, \"sex\": \"male\"}")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The rows of some lines.
pub(super) fn objects<'a>(
    bytes: &[u8],
    first_line: u64,
    mut parsing: Parsing<'a>,
    reading: &Reading,
) -> Result<Parsing<'a>> {
    let mut written = Vec::new();
    for (line, text) in (first_line..).zip(bytes.split(|byte| *byte == b'\n')) {
        let text = std::str::from_utf8(text).map_err(|_| no_text(text, line, None))?.trim();
        if text.is_empty() {
            continue;
        }
        let Object(pairs) = serde_json::from_str(text).map_err(|error| {
            Error::new(format!("the line is no object of JSON: {error}; write one object a line"))
                .at_line(line)
        })?;
        written.clear();
        written.resize(parsing.layout.columns.len(), false);
        for (name, value) in &pairs {
            let known = parsing.layout.names().position(|known| known == name);
            let column = known.unwrap_or(parsing.layout.columns.len());
            if known.is_none() {
                parsing.add(reading.column(name.clone()))?;
                written.push(false);
            }
            let fault = |message: &str| Error::new(message).at_line(line).in_column(name);
            if std::mem::replace(&mut written[column], true) {
                return Err(fault("the object says this key twice; leave one out"));
            }
            let raw = match value {
                Value::Null => RawCell::Missing,
                Value::Bool(truth) => RawCell::Truth(*truth),
                Value::Number(number) => RawCell::Number(number.as_f64().unwrap_or(f64::INFINITY)),
                Value::String(text) => RawCell::Quoted(text),
                Value::Array(_) | Value::Object(_) => {
                    return Err(fault(
                        "a list or an object can't be a cell; write a column for each of its values",
                    ));
                }
            };
            parsing.push(column, raw, line)?;
        }
        for (column, written) in written.iter().enumerate() {
            if !written {
                parsing.push(column, RawCell::Missing, line)?;
            }
        }
        parsing.end_row(line)?;
    }
    Ok(parsing)
}
