//! A column of a batch: its buffers, unpacked where they are packed, and its values.

use std::ops::Range;

use kiln_map::Budget;

use super::damaged;
use super::flat::{FlatList, FlatTable};
use super::schema::{ArrowField, ArrowKind};
use crate::archive::WholeFile;
use crate::error::{Error, Result};
use crate::table::date;

/// Bytes of a batch.
enum ArrowBuffer {
    Part(WholeFile, Range<usize>),
    Held(Vec<u8>),
}

impl ArrowBuffer {
    fn bytes(&self) -> &[u8] {
        match self {
            ArrowBuffer::Part(whole, range) => whole.bytes().get(range.clone()).unwrap_or_default(),
            ArrowBuffer::Held(bytes) => bytes,
        }
    }

    fn number<const SIZE: usize>(&self, at: usize) -> Result<[u8; SIZE]> {
        let start = at.checked_mul(SIZE);
        let found = start.and_then(|start| self.bytes().get(start..)?.first_chunk::<SIZE>().copied());
        found.ok_or_else(|| damaged("a column is shorter than its batch"))
    }

    fn bit(&self, at: usize) -> Result<bool> {
        let [byte] = self.number::<1>(at / 8)?;
        Ok(byte >> (at % 8) & 1 == 1)
    }
}

/// A column of a batch.
pub(super) struct ArrowColumn {
    kind: ArrowKind,
    is_coded: bool,
    pub rows: usize,
    /// A bit for each value that is there; none where all are.
    valid: Option<ArrowBuffer>,
    buffers: Vec<ArrowBuffer>,
}

/// A value of a column.
pub(super) enum ArrowValue<'a> {
    Missing,
    Number(f64),
    Truth(bool),
    Word(&'a str),
    /// A date or a time as text.
    Moment(String),
    /// A code of the column's dictionary.
    Code(usize),
}

/// A batch whose columns are taken one after the other.
pub(super) struct BatchReader<'a> {
    whole: &'a WholeFile,
    body: Range<usize>,
    budget: &'a Budget,
    rows: i64,
    nodes: FlatList<'a>,
    node: usize,
    buffers: FlatList<'a>,
    buffer: usize,
    packing: Option<u8>,
    /// How many buffers each column of views has besides.
    variadic: FlatList<'a>,
    view: usize,
    /// All bytes that were seen.
    bytes: usize,
}

const LZ4: u8 = 0;
const ZSTD: u8 = 1;

impl<'a> BatchReader<'a> {
    pub fn new(
        whole: &'a WholeFile,
        batch: FlatTable<'a>,
        body: Range<usize>,
        budget: &'a Budget,
    ) -> Result<BatchReader<'a>> {
        let packing =
            batch.table(3)?.map(|packing| Ok::<u8, Error>(packing.byte(0)?.unwrap_or(LZ4))).transpose()?;
        Ok(BatchReader {
            whole,
            body,
            budget,
            rows: batch.long(0)?.unwrap_or(0),
            nodes: batch.list(1, 16)?,
            node: 0,
            buffers: batch.list(2, 16)?,
            buffer: 0,
            packing,
            variadic: batch.list(4, 8)?,
            view: 0,
            bytes: 0,
        })
    }

    /// How many rows the batch has: not more than there are bits.
    pub fn rows(&self) -> Result<usize> {
        let rows = usize::try_from(self.rows).ok().filter(|rows| *rows <= self.bytes.saturating_mul(8));
        rows.ok_or_else(|| damaged("a batch promises more rows than it holds"))
    }

    fn buffer(&mut self) -> Result<ArrowBuffer> {
        if self.buffer >= self.buffers.len {
            return Err(damaged("a batch lacks a buffer"));
        }
        let (offset, length) = (self.buffers.long(2 * self.buffer)?, self.buffers.long(2 * self.buffer + 1)?);
        self.buffer += 1;
        let cut = || damaged("a buffer lies outside of its batch");
        let (offset, length) =
            (usize::try_from(offset).map_err(|_| cut())?, usize::try_from(length).map_err(|_| cut())?);
        let start = self.body.start.checked_add(offset).ok_or_else(cut)?;
        let end = start.checked_add(length).filter(|end| *end <= self.body.end).ok_or_else(cut)?;
        let buffer = match self.packing {
            Some(packing) if length > 0 => self.unpacked(packing, start..end)?,
            _ => ArrowBuffer::Part(self.whole.clone(), start..end),
        };
        self.bytes = self.bytes.saturating_add(buffer.bytes().len());
        Ok(buffer)
    }

    /// A packed buffer, which says its size first: not believed, but held to.
    fn unpacked(&self, packing: u8, range: Range<usize>) -> Result<ArrowBuffer> {
        let packed = self.whole.bytes().get(range.clone()).unwrap_or_default();
        let (size, packed) =
            packed.split_first_chunk::<8>().ok_or_else(|| damaged("a packed buffer has no size"))?;
        let size = i64::from_le_bytes(*size);
        if size == -1 {
            return Ok(ArrowBuffer::Part(self.whole.clone(), range.start + 8..range.end));
        }
        let fault = |error: std::io::Error| {
            let name = if packing == LZ4 { "lz4" } else { "zstd" };
            Error::new(format!("a buffer of the Arrow file can't be unpacked ({name}): {error}"))
        };
        let bytes = match packing {
            LZ4 => self.budget.read(lz4_flex::frame::FrameDecoder::new(packed)).map_err(fault)?,
            #[cfg(feature = "zstd")]
            ZSTD => self.budget.read(crate::zstd::unpacked(packed).map_err(fault)?).map_err(fault)?,
            #[cfg(not(feature = "zstd"))]
            ZSTD => {
                return Err(Error::new(
                    "the Arrow file is packed with zstd, and kiln was built without its feature `zstd`",
                ));
            }
            _ => return Err(damaged("it is packed in a way that isn't known")),
        };
        match usize::try_from(size) == Ok(bytes.len()) {
            true => Ok(ArrowBuffer::Held(bytes)),
            false => Err(damaged("a packed buffer isn't as long as it says")),
        }
    }

    /// The next column.
    pub fn column(&mut self, field: &ArrowField) -> Result<ArrowColumn> {
        if self.node >= self.nodes.len {
            return Err(damaged("a batch lacks a column"));
        }
        let (rows, missing) = (self.nodes.long(2 * self.node)?, self.nodes.long(2 * self.node + 1)?);
        self.node += 1;
        let placed = |error: Error| error.in_column(&field.name);
        if rows != self.rows {
            return Err(placed(damaged("a column isn't as long as its batch")));
        }
        let rows = usize::try_from(rows).map_err(|_| damaged("a batch has less than no row"))?;
        let kind = field.dictionary.map_or(field.kind, |(_, codes)| codes);
        if kind == ArrowKind::Null {
            return Ok(ArrowColumn { kind, is_coded: false, rows, valid: None, buffers: Vec::new() });
        }
        let valid = self.buffer().map_err(placed)?;
        let count = match kind {
            ArrowKind::Text(_) => 2,
            ArrowKind::View => {
                let more = if self.view < self.variadic.len { self.variadic.long(self.view)? } else { 0 };
                self.view += 1;
                1 + usize::try_from(more)
                    .ok()
                    .filter(|more| *more <= self.buffers.len)
                    .ok_or_else(|| damaged("a column of views lacks its buffers"))?
            }
            _ => 1,
        };
        let buffers = (0..count).map(|_| self.buffer().map_err(placed)).collect::<Result<_>>()?;
        let valid = (missing != 0 && !valid.bytes().is_empty()).then_some(valid);
        Ok(ArrowColumn { kind, is_coded: field.dictionary.is_some(), rows, valid, buffers })
    }
}

const DAY: i64 = 86_400;

impl ArrowColumn {
    /// The value in a row.
    pub fn value(&self, row: usize) -> Result<ArrowValue<'_>> {
        if !self.valid.as_ref().map_or(Ok(true), |valid| valid.bit(row))? || self.kind == ArrowKind::Null {
            return Ok(ArrowValue::Missing);
        }
        let first = self.buffers.first().ok_or_else(|| damaged("a column has no buffer"))?;
        let four = || first.number::<4>(row).map(i32::from_le_bytes);
        let eight = || first.number::<8>(row).map(i64::from_le_bytes);
        // A moment at midnight is a day, unless others of the column have times.
        let moment = |seconds: i64| Ok(ArrowValue::Moment(date::text(seconds, seconds.rem_euclid(DAY) != 0)));
        let whole = |number: i64| match self.is_coded {
            true => usize::try_from(number).map(ArrowValue::Code).map_err(|_| damaged("a code is below 0")),
            false => Ok(ArrowValue::Number(number as f64)),
        };
        match self.kind {
            ArrowKind::Null => Ok(ArrowValue::Missing),
            ArrowKind::Int { bytes: 1, signed: true } => whole(i8::from_le_bytes(first.number(row)?).into()),
            ArrowKind::Int { bytes: 1, .. } => whole(u8::from_le_bytes(first.number(row)?).into()),
            ArrowKind::Int { bytes: 2, signed: true } => whole(i16::from_le_bytes(first.number(row)?).into()),
            ArrowKind::Int { bytes: 2, .. } => whole(u16::from_le_bytes(first.number(row)?).into()),
            ArrowKind::Int { bytes: 4, signed: true } => whole(four()?.into()),
            ArrowKind::Int { bytes: 4, .. } => whole(u32::from_le_bytes(first.number(row)?).into()),
            ArrowKind::Int { signed: true, .. } => whole(eight()?),
            ArrowKind::Int { .. } if self.is_coded => whole(eight()?),
            ArrowKind::Int { .. } => Ok(ArrowValue::Number(u64::from_le_bytes(first.number(row)?) as f64)),
            ArrowKind::Float(2) => {
                Ok(ArrowValue::Number(half::f16::from_le_bytes(first.number(row)?).into()))
            }
            ArrowKind::Float(4) => Ok(ArrowValue::Number(f32::from_le_bytes(first.number(row)?).into())),
            ArrowKind::Float(_) => Ok(ArrowValue::Number(f64::from_le_bytes(first.number(row)?))),
            ArrowKind::Bool => Ok(ArrowValue::Truth(first.bit(row)?)),
            ArrowKind::Date32 => moment(i64::from(four()?) * DAY),
            ArrowKind::Date64 => moment(eight()?.div_euclid(1000)),
            ArrowKind::Timestamp(unit) => moment(eight()?.div_euclid(unit)),
            ArrowKind::Time(bytes, unit) => {
                let time = if bytes == 8 { eight()? } else { four()?.into() };
                let seconds = time.div_euclid(unit).rem_euclid(DAY);
                let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
                Ok(ArrowValue::Moment(format!("{hour:02}:{minute:02}:{:02}", seconds % 60)))
            }
            ArrowKind::Decimal(scale) => {
                let digits = i128::from_le_bytes(first.number(row)?);
                Ok(ArrowValue::Number(format!("{digits}e{}", -i64::from(scale)).parse().unwrap_or(f64::NAN)))
            }
            ArrowKind::Text(4) => {
                let offset = |at| first.number::<4>(at).map(|offset| i64::from(i32::from_le_bytes(offset)));
                self.text(1, offset(row)?, offset(row + 1)?)
            }
            ArrowKind::Text(_) => {
                let offset = |at| first.number::<8>(at).map(i64::from_le_bytes);
                self.text(1, offset(row)?, offset(row + 1)?)
            }
            ArrowKind::View => {
                // Its length, and then the text itself or its first letters, a buffer and a place in it.
                let view: [u8; 16] = first.number(row)?;
                let part = |at: usize| {
                    let bytes =
                        view.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
                    i64::from(i32::from_le_bytes(bytes))
                };
                match part(0) {
                    length @ ..=12 => self.text(0, row as i64 * 16 + 4, row as i64 * 16 + 4 + length),
                    length => {
                        let buffer = usize::try_from(part(8)).unwrap_or(usize::MAX).saturating_add(1);
                        self.text(buffer, part(12), part(12) + length)
                    }
                }
            }
        }
    }

    fn text(&self, buffer: usize, start: i64, end: i64) -> Result<ArrowValue<'_>> {
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let bytes = range.and_then(|(start, end)| self.buffers.get(buffer)?.bytes().get(start..end));
        let bytes = bytes.ok_or_else(|| damaged("a text lies outside of its buffer"))?;
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Error::new("the column has bytes that are no text, which can't be cells of a table")
        })?;
        Ok(ArrowValue::Word(text))
    }
}
