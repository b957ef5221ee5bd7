//! A part of a workbook in XML, element by element, none of them longer than a row may be.

use std::io::{BufReader, Read};

use kiln_map::Budget;
use quick_xml::Reader;
use quick_xml::events::{BytesEnd, BytesStart, Event};

use crate::error::{Error, Result};
use crate::table::source::{longest_row, too_long};

/// What comes next in a part.
pub(super) enum XmlPiece<'a> {
    /// An element begins.
    Begin(XmlElement<'a>),
    /// An element ends.
    End(ElementEnd<'a>),
    Text(String),
}

/// The start of an element.
pub(super) struct XmlElement<'a>(BytesStart<'a>);

/// The end of an element.
pub(super) struct ElementEnd<'a>(BytesEnd<'a>);

impl ElementEnd<'_> {
    /// Its name, without a prefix.
    pub fn name(&self) -> &str {
        local(self.0.name().0)
    }
}

impl XmlElement<'_> {
    /// Its name, without a prefix.
    pub fn name(&self) -> &str {
        local(self.0.name().0)
    }

    /// An attribute by its name, with its prefix where it has one.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let found = self.0.attributes().flatten().find(|attribute| {
            let own = attribute.key.0;
            own == name || (name.contains(':') && local(own) == local(name) && own.contains(':'))
        })?;
        let value = found.value;
        Some(quick_xml::escape::unescape(&value).map_or_else(|_| value.to_string(), |text| text.into_owned()))
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.attribute(name)?.trim().parse().ok()
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// A reader that ends with an error where an element is too long, and takes a step for each byte.
struct RationedPart<R> {
    inner: R,
    left: u64,
    budget: Budget,
}

impl<R: Read> Read for RationedPart<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(too_long)?;
        self.budget.steps(read as u64).map_err(std::io::Error::other)?;
        Ok(read)
    }
}

/// A part that is read.
pub(super) struct PartReader {
    xml: Reader<BufReader<RationedPart<Box<dyn Read + Send>>>>,
    buffer: Vec<u8>,
    name: String,
}

/// How much is read at once.
const BUFFER: usize = 32 << 10;

impl PartReader {
    pub fn new(name: &str, part: Box<dyn Read + Send>) -> PartReader {
        let rationed = RationedPart { inner: part, left: ration(), budget: Budget::default() };
        let mut xml = Reader::from_reader(BufReader::with_capacity(BUFFER, rationed));
        xml.config_mut().expand_empty_elements = true;
        PartReader { xml, buffer: Vec::new(), name: name.to_string() }
    }

    /// What comes next; nothing at the end.
    pub fn next(&mut self) -> Result<Option<XmlPiece<'_>>> {
        self.buffer.clear();
        self.xml.get_mut().get_mut().left = ration();
        let name = &self.name;
        let fault = |error: quick_xml::Error| {
            let cause = match error {
                quick_xml::Error::Io(error) => error.to_string(),
                error => format!("{error}; the file is damaged"),
            };
            Error::new(format!("{name} in the workbook: {cause}"))
        };
        let event = self.xml.read_event_into(&mut self.buffer).map_err(fault)?;
        let damaged = |what: &str| Error::new(format!("{name} in the workbook: {what}; the file is damaged"));
        Ok(Some(match event {
            Event::Eof => return Ok(None),
            Event::Start(element) | Event::Empty(element) => XmlPiece::Begin(XmlElement(element)),
            Event::End(element) => XmlPiece::End(ElementEnd(element)),
            Event::Text(text) => XmlPiece::Text(text.xml10_content().into_owned()),
            Event::CData(text) => XmlPiece::Text(text.xml10_content().into_owned()),
            Event::GeneralRef(reference) => {
                let letter =
                    reference.resolve_char_ref().map_err(|_| damaged("a letter that there is none of"))?;
                XmlPiece::Text(match (letter, &*reference.xml10_content()) {
                    (Some(letter), _) => letter.to_string(),
                    (None, "lt") => "<".to_string(),
                    (None, "gt") => ">".to_string(),
                    (None, "amp") => "&".to_string(),
                    (None, "quot") => "\"".to_string(),
                    (None, "apos") => "'".to_string(),
                    (None, other) => return Err(damaged(&format!("there is no entity {other}"))),
                })
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                XmlPiece::Text(String::new())
            }
        }))
    }
}

fn ration() -> u64 {
    longest_row().max(4 * BUFFER as u64)
}
