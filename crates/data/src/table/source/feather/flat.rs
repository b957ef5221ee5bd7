//! Tables of flatbuffers, as far as messages of Arrow need them: every offset is held against the file.

use std::ops::Range;

use super::damaged;
use crate::error::{Error, Result};

fn cut() -> Error {
    damaged("a description points behind its end")
}

/// A table: where it stands, and where its fields are listed.
#[derive(Clone, Copy)]
pub(super) struct FlatTable<'a> {
    bytes: &'a [u8],
    at: usize,
    list: usize,
    fields: usize,
}

/// Numbers and structures, one after the other.
#[derive(Clone, Copy)]
pub(super) struct FlatList<'a> {
    bytes: &'a [u8],
    start: usize,
    pub len: usize,
}

fn number<const SIZE: usize>(bytes: &[u8], at: usize) -> Result<[u8; SIZE]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<SIZE>()).copied().ok_or_else(cut)
}

/// The place an offset leads to.
fn led(bytes: &[u8], at: usize) -> Result<usize> {
    let offset = u32::from_le_bytes(number(bytes, at)?) as usize;
    at.checked_add(offset).filter(|place| *place < bytes.len() && offset > 0).ok_or_else(cut)
}

impl<'a> FlatTable<'a> {
    /// The table that a description begins with.
    pub fn root(bytes: &'a [u8], description: Range<usize>) -> Result<FlatTable<'a>> {
        FlatTable::at(bytes, led(bytes, description.start)?)
    }

    /// The table at a place.
    pub fn at(bytes: &'a [u8], at: usize) -> Result<FlatTable<'a>> {
        let back = i64::from(i32::from_le_bytes(number(bytes, at)?));
        let list = usize::try_from(at as i64 - back).map_err(|_| cut())?;
        let size = usize::from(u16::from_le_bytes(number(bytes, list)?));
        Ok(FlatTable { bytes, at, list, fields: size.saturating_sub(4) / 2 })
    }

    /// Where a field stands, if it is there.
    fn place(&self, field: usize) -> Result<Option<usize>> {
        if field >= self.fields {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(number(self.bytes, self.list + 4 + 2 * field)?);
        Ok((offset != 0).then(|| self.at + usize::from(offset)))
    }

    fn read<T, const SIZE: usize>(&self, field: usize, make: impl Fn([u8; SIZE]) -> T) -> Result<Option<T>> {
        self.place(field)?.map(|place| Ok(make(number(self.bytes, place)?))).transpose()
    }

    pub fn byte(&self, field: usize) -> Result<Option<u8>> {
        self.read(field, u8::from_le_bytes)
    }

    pub fn short(&self, field: usize) -> Result<Option<i16>> {
        self.read(field, i16::from_le_bytes)
    }

    pub fn int(&self, field: usize) -> Result<Option<i32>> {
        self.read(field, i32::from_le_bytes)
    }

    pub fn long(&self, field: usize) -> Result<Option<i64>> {
        self.read(field, i64::from_le_bytes)
    }

    /// Where a table of this one's stands.
    pub fn offset(&self, field: usize) -> Result<Option<usize>> {
        self.place(field)?.map(|place| led(self.bytes, place)).transpose()
    }

    pub fn table(&self, field: usize) -> Result<Option<FlatTable<'a>>> {
        self.offset(field)?.map(|at| FlatTable::at(self.bytes, at)).transpose()
    }

    /// A list of items of so many bytes.
    pub fn list(&self, field: usize, size: usize) -> Result<FlatList<'a>> {
        let Some(at) = self.offset(field)? else {
            return Ok(FlatList { bytes: self.bytes, start: 0, len: 0 });
        };
        let len = u32::from_le_bytes(number(self.bytes, at)?) as usize;
        let start = at + 4;
        let end = len.checked_mul(size).and_then(|bytes| start.checked_add(bytes));
        end.filter(|end| *end <= self.bytes.len()).ok_or_else(cut)?;
        Ok(FlatList { bytes: self.bytes, start, len })
    }

    pub fn text(&self, field: usize) -> Result<Option<&'a str>> {
        let list = self.list(field, 1)?;
        let text = self.bytes.get(list.start..list.start + list.len).unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| damaged("a name isn't UTF-8"))?;
        Ok((list.len > 0).then_some(text))
    }
}

impl<'a> FlatList<'a> {
    /// The table that an item of offsets leads to.
    pub fn table(&self, item: usize) -> Result<FlatTable<'a>> {
        FlatTable::at(self.bytes, led(self.bytes, self.start + 4 * item)?)
    }

    /// The number at a place in a list of numbers, eight bytes each.
    pub fn long(&self, item: usize) -> Result<i64> {
        Ok(i64::from_le_bytes(number(self.bytes, self.start + 8 * item)?))
    }
}
