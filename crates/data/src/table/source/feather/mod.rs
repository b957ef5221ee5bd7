//! What the feature `feather` brings: Arrow files and streams as tables, which Feather (version 2) is another name of. `no_feather.rs` stands
//! in for it where the feature is off.
//!
//! A reader of its own: `arrow-ipc` takes as much memory for a packed buffer as the file says, and brings eight packages.

mod column;
mod flat;
mod schema;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use kiln_map::Budget;

use self::column::{ArrowColumn, ArrowValue, BatchReader};
use self::flat::FlatTable;
use self::schema::ArrowField;
use super::typed::{RowSource, TypedBlock, TypedCell, TypedRows};
use crate::archive::WholeFile;
use crate::error::{Error, Result};
use crate::table::findings::FileFindings;

const MAGIC: &[u8] = b"ARROW1";
/// What stands before each message.
const CONTINUED: [u8; 4] = [0xff; 4];

/// What pandas calls an index without a name.
const INDEX: &str = "__index_level_0__";

/// Whether a file begins as those of Arrow do, or as streams of it.
pub(super) fn is_arrow(start: &[u8]) -> bool {
    // A column of a text may be called ARROW1.
    start.strip_prefix(MAGIC).is_some_and(|rest| rest.starts_with(&[0])) || start.starts_with(&CONTINUED)
}

fn damaged(what: &str) -> Error {
    Error::new(format!("the Arrow file can't be read: {what}; it is cut off or damaged"))
}

/// The rows of a file.
pub(super) fn rows(whole: &WholeFile) -> Result<TypedRows> {
    let bytes = whole.bytes();
    let is_file = bytes.starts_with(MAGIC);
    if is_file && (!bytes.ends_with(MAGIC) || bytes.len() < 24) {
        return Err(damaged("its end is missing"));
    }
    let (messages, schema) = if is_file { of_file(whole)? } else { of_stream(whole)? };
    let fields = schema::fields(FlatTable::at(bytes, schema)?)?;
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    if names.is_empty() {
        return Err(Error::new("the table has no columns"));
    }
    let unnamed = names.iter().find(|name| *name == INDEX).cloned();
    let count = messages.clone().rows();
    let source = ArrowRows {
        messages,
        fields: Arc::new(fields),
        dictionaries: HashMap::new(),
        held: Budget::default(),
        columns: Vec::new(),
        left: 0..0,
        number: 0,
    };
    Ok(TypedRows {
        names,
        found: FileFindings { unnamed, ..FileFindings::default() },
        count,
        source: Box::new(source),
    })
}

/// What a message holds.
#[derive(Clone, Copy, PartialEq)]
enum ArrowMessageKind {
    Schema,
    Dictionary,
    Batch,
    Other,
}

/// A message: where its header and its body stand in the file.
struct ArrowMessage {
    kind: ArrowMessageKind,
    header: usize,
    body: Range<usize>,
}

/// The messages of a file, one after the other.
#[derive(Clone)]
struct Messages {
    whole: WholeFile,
    at: usize,
    /// Where those stand that are left, in a file that lists them; in a stream each follows the last.
    listed: Option<VecDeque<usize>>,
}

/// The messages of a stream, and where its schema stands.
fn of_stream(whole: &WholeFile) -> Result<(Messages, usize)> {
    let mut messages = Messages { whole: whole.clone(), at: 0, listed: None };
    match messages.next()? {
        Some(ArrowMessage { kind: ArrowMessageKind::Schema, header, .. }) => Ok((messages, header)),
        _ => Err(damaged("it doesn't say what its columns are")),
    }
}

/// The messages that the end of a file lists, dictionaries first, and where its schema stands.
fn of_file(whole: &WholeFile) -> Result<(Messages, usize)> {
    let bytes = whole.bytes();
    let cut = || damaged("its end points outside of it");
    let end = bytes.len() - MAGIC.len() - 4;
    let length =
        bytes.get(end..).and_then(|rest| rest.first_chunk::<4>()).map(|length| i32::from_le_bytes(*length));
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
    let start = end.checked_sub(length).ok_or_else(cut)?;
    let footer = FlatTable::root(bytes, start..end)?;
    let schema = footer.offset(1)?.ok_or_else(|| damaged("it doesn't say what its columns are"))?;
    let mut listed = VecDeque::new();
    for blocks in [footer.list(2, 24)?, footer.list(3, 24)?] {
        for block in 0..blocks.len {
            listed.push_back(usize::try_from(blocks.long(3 * block)?).map_err(|_| cut())?);
        }
    }
    Ok((Messages { whole: whole.clone(), at: 0, listed: Some(listed) }, schema))
}

impl Messages {
    /// How many rows the batches that are left say they have; what is wrong with one is said when it is read.
    fn rows(mut self) -> Option<u64> {
        let mut rows = 0u64;
        while let Some(ArrowMessage { kind, header, .. }) = self.next().ok()? {
            if kind == ArrowMessageKind::Batch {
                let own = FlatTable::at(self.whole.bytes(), header).ok()?.long(0).ok()?;
                rows = rows.saturating_add(u64::try_from(own.unwrap_or(0)).ok()?);
            }
        }
        Some(rows)
    }

    fn next(&mut self) -> Result<Option<ArrowMessage>> {
        match self.listed.as_mut().map(VecDeque::pop_front) {
            None => {}
            Some(None) => return Ok(None),
            Some(Some(place)) => self.at = place,
        }
        let bytes = self.whole.bytes();
        let cut = || damaged("a message ends behind its end");
        let Some(rest) = bytes.get(self.at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        let Some((start, behind)) = rest.split_first_chunk::<4>() else { return Err(cut()) };
        if *start != CONTINUED {
            return Err(damaged("a message doesn't begin as one"));
        }
        let length = behind.first_chunk::<4>().map(|length| i32::from_le_bytes(*length)).ok_or_else(cut)?;
        // The end of a stream.
        if length == 0 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| cut())?;
        let start = self.at + 8;
        let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        let message = FlatTable::root(bytes, start..end)?;
        let body = usize::try_from(message.long(3)?.unwrap_or(0)).map_err(|_| cut())?;
        let behind = end.checked_add(body).filter(|behind| *behind <= bytes.len()).ok_or_else(cut)?;
        self.at = behind;
        let kind = match message.byte(1)? {
            Some(1) => ArrowMessageKind::Schema,
            Some(2) => ArrowMessageKind::Dictionary,
            Some(3) => ArrowMessageKind::Batch,
            _ => ArrowMessageKind::Other,
        };
        let header = message.offset(2)?.ok_or_else(|| damaged("a message holds nothing"))?;
        Ok(Some(ArrowMessage { kind, header, body: end..behind }))
    }
}

struct ArrowRows {
    messages: Messages,
    fields: Arc<Vec<ArrowField>>,
    /// The values of each dictionary, in the parts in which they came.
    dictionaries: HashMap<i64, Vec<ArrowColumn>>,
    /// What dictionaries take.
    held: Budget,
    /// The batch that is handed out, and which of its rows are left.
    columns: Vec<ArrowColumn>,
    left: Range<usize>,
    number: u64,
}

impl ArrowRows {
    /// Reads on to the next batch; false where there is none.
    fn batch(&mut self) -> Result<bool> {
        while let Some(ArrowMessage { kind, header, body }) = self.messages.next()? {
            let whole = &self.messages.whole;
            let header = FlatTable::at(whole.bytes(), header)?;
            match kind {
                ArrowMessageKind::Batch => {
                    let budget = Budget::default();
                    let mut batch = BatchReader::new(whole, header, body, &budget)?;
                    self.columns =
                        self.fields.iter().map(|field| batch.column(field)).collect::<Result<_>>()?;
                    self.left = 0..batch.rows()?;
                    if !self.left.is_empty() {
                        return Ok(true);
                    }
                }
                ArrowMessageKind::Dictionary => {
                    let id = header.long(0)?.unwrap_or(0);
                    let data = header.table(1)?.ok_or_else(|| damaged("a dictionary holds nothing"))?;
                    let is_more = header.byte(2)?.unwrap_or(0) != 0;
                    let of =
                        self.fields.iter().find(|field| field.dictionary.is_some_and(|(own, _)| own == id));
                    let Some(field) = of else { continue };
                    let values = ArrowField { dictionary: None, ..field.clone() };
                    let mut batch = BatchReader::new(whole, data, body, &self.held)?;
                    let column = batch.column(&values)?;
                    batch.rows()?;
                    let parts = self.dictionaries.entry(id).or_default();
                    if !is_more {
                        parts.clear();
                    }
                    parts.push(column);
                }
                ArrowMessageKind::Schema | ArrowMessageKind::Other => {}
            }
        }
        Ok(false)
    }
}

/// The value of a code in the parts of a dictionary.
fn coded(parts: &[ArrowColumn], code: usize) -> Result<ArrowValue<'_>> {
    let mut place = code;
    for part in parts {
        if place < part.rows {
            return part.value(place);
        }
        place -= part.rows;
    }
    Err(damaged("a code is in no dictionary"))
}

impl RowSource for ArrowRows {
    fn add(&mut self, block: &mut TypedBlock) -> Result<bool> {
        let row = match self.left.next() {
            Some(row) => row,
            None if self.batch()? => self.left.next().unwrap_or(0),
            None => return Ok(false),
        };
        self.number += 1;
        for (column, field) in self.columns.iter().zip(self.fields.iter()) {
            let placed = |error: Error| error.at_line(self.number).in_column(&field.name);
            let value = match (column.value(row).map_err(placed)?, field.dictionary) {
                (ArrowValue::Code(code), Some((id, _))) => {
                    coded(self.dictionaries.get(&id).map_or(&[], Vec::as_slice), code).map_err(placed)?
                }
                (value, _) => value,
            };
            match value {
                ArrowValue::Missing | ArrowValue::Code(_) => block.cells.push(TypedCell::Missing),
                ArrowValue::Number(number) => block.cells.push(TypedCell::Number(number)),
                ArrowValue::Truth(truth) => block.cells.push(TypedCell::Truth(truth)),
                ArrowValue::Word(word) => block.push_word(word),
                ArrowValue::Moment(moment) => block.push_word(&moment),
            }
        }
        block.rows.push(self.number);
        Ok(true)
    }
}
