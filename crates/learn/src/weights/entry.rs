//! Where a tensor lies in a file, checked against it, and its numbers when they are asked for. Readers of formats make entries and
//! copy nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use kiln_map::{Budget, shown};
use kiln_nn::Data;

use super::deflate::{Crc32, inflated};
use super::{ElementType, Read};
use crate::store::elements;
use crate::{Error, Result};

/// So many numbers of a tensor may be repeats of fewer.
const MOST_REPEATED: usize = 1 << 24;

/// What a reader finds in a file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub entries: Vec<Entry>,
    /// What it says besides tensors, by name.
    pub notes: Vec<(String, String)>,
}

/// A tensor and where its numbers lie.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<usize>,
    pub place: TensorPlace,
    /// How many numbers lie between neighbours along each axis; `None` for row-major.
    pub strides: Option<Vec<usize>>,
    /// The first number, counted in numbers.
    pub offset: usize,
    pub is_big_endian: bool,
}

/// Bytes of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct TensorPlace {
    /// Which of the files that were opened together.
    pub source: usize,
    /// The bytes as they stand in it.
    pub range: Range<usize>,
    /// Their number when unpacked, where they are packed (deflate).
    pub unpacked: Option<usize>,
    /// The checksum of all of them.
    pub crc: Option<u32>,
    /// How many bytes stand before the first number.
    pub head: usize,
}

impl TensorPlace {
    fn len(&self) -> usize {
        self.unpacked.unwrap_or(self.range.len()).saturating_sub(self.head)
    }

    /// The bytes, unpacked and checked.
    pub fn bytes<'a>(&self, source: &'a [u8]) -> Read<Cow<'a, [u8]>> {
        let stored = source.get(self.range.clone()).ok_or("it lies outside of the file")?;
        let mut bytes = match self.unpacked {
            None => Cow::Borrowed(stored),
            Some(size) => Cow::Owned(unpack(stored, size)?),
        };
        if let Some(expected) = self.crc {
            let mut sum = Crc32::new();
            sum.update(&bytes);
            if sum.sum() != expected {
                return Err("its checksum is wrong; the file is damaged".to_string());
            }
        }
        match &mut bytes {
            Cow::Borrowed(bytes) => *bytes = bytes.get(self.head..).unwrap_or_default(),
            Cow::Owned(bytes) => drop(bytes.drain(..self.head.min(bytes.len()))),
        }
        Ok(bytes)
    }
}

/// Deflated bytes unpacked, which are as many as promised.
fn unpack(packed: &[u8], size: usize) -> Read<Vec<u8>> {
    let mut unpacked = Vec::new();
    // One more than promised, to see that there are no more.
    let read = Budget::default().read_some(inflated(packed)?, &mut unpacked, size.saturating_add(1));
    match read {
        Ok(_) if unpacked.len() == size => Ok(unpacked),
        Ok(_) => Err(format!("it doesn't unpack to the {size} bytes that are promised")),
        Err(error) => Err(format!("it can't be unpacked: {error}")),
    }
}

impl Contents {
    /// Entries that lie where they can, each under a name of its own.
    pub fn new(entries: Vec<Entry>, notes: Vec<(String, String)>) -> Read<Contents> {
        let mut names = HashSet::with_capacity(entries.len());
        // Many tensors that each repeat a little are much together.
        let budget = Budget::default();
        for entry in &entries {
            entry.check(&budget).map_err(|error| format!("{}: {error}", shown(&entry.name)))?;
            if !names.insert(entry.name.as_str()) {
                return Err(format!("two tensors are named {}", shown(&entry.name)));
            }
        }
        Ok(Contents { entries, notes })
    }
}

impl Entry {
    /// How many numbers it has, where that can be said.
    pub fn elements(&self) -> Option<usize> {
        elements(&self.shape)
    }

    /// That every number lies in the place, and that there aren't many more of them than the place holds: a few bytes whose strides
    /// are 0 could else stand for more numbers than there is memory. What is repeated is taken from the budget.
    fn check(&self, budget: &Budget) -> Read<()> {
        let room = self.place.len() / self.element.size();
        let outside = || format!("its shape {:?} doesn't fit the {room} numbers stored for it", self.shape);
        let count = self.elements().ok_or_else(outside)?;
        if count == 0 {
            return Ok(());
        }
        let Some(strides) = &self.strides else {
            return if self.offset.checked_add(count).is_some_and(|end| end <= room) {
                Ok(())
            } else {
                Err(outside())
            };
        };
        if strides.len() != self.shape.len() {
            return Err(format!("its shape {:?} has other axes than its strides {strides:?}", self.shape));
        }
        let last = self.shape.iter().zip(strides).try_fold(self.offset, |last, (&size, &stride)| {
            last.checked_add((size - 1).checked_mul(stride)?)
        });
        if last.is_none_or(|last| last >= room) {
            return Err(outside());
        }
        if count > room.max(MOST_REPEATED) {
            return Err(format!(
                "it repeats {room} numbers to {count}; in PyTorch, `.contiguous()` before saving writes them all"
            ));
        }
        let repeated = count.saturating_sub(room) as u64;
        let bytes = repeated.saturating_mul(self.element.size() as u64);
        budget.bytes(bytes).map_err(|exceeded| format!("it repeats {room} numbers to {count}: {exceeded}"))
    }

    fn is_row_major(&self) -> bool {
        let Some(strides) = &self.strides else { return true };
        let mut expected = 1usize;
        self.shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            fits
        })
    }

    /// The same numbers with the axes in the opposite order.
    pub fn transposed(&self) -> Entry {
        let strides = self.strides.clone().unwrap_or_else(|| row_major(&self.shape));
        let reversed = |sizes: &[usize]| sizes.iter().rev().copied().collect();
        Entry { shape: reversed(&self.shape), strides: Some(reversed(&strides)), ..self.clone() }
    }

    /// Its numbers as little-endian bytes, row-major; borrowed where they lie so.
    pub fn bytes<'a>(&self, source: &'a [u8]) -> Read<Cow<'a, [u8]>> {
        let (size, count) = (self.element.size(), self.elements().unwrap_or(0));
        if count == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let bytes = self.place.bytes(source)?;
        let outside = "it lies outside of its place";
        let mut bytes = if self.is_row_major() {
            let range = self.offset * size..(self.offset + count) * size;
            match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(range).ok_or(outside)?),
                Cow::Owned(bytes) if range == (0..bytes.len()) => Cow::Owned(bytes),
                Cow::Owned(bytes) => Cow::Owned(bytes.get(range).ok_or(outside)?.to_vec()),
            }
        } else {
            Cow::Owned(self.gathered(&bytes).ok_or(outside)?)
        };
        if self.is_big_endian && size > 1 {
            bytes.to_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    /// The numbers one by one along the strides.
    fn gathered(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (size, count) = (self.element.size(), self.elements()?);
        let strides = self.strides.as_deref()?;
        let mut gathered = Vec::with_capacity(count * size);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..count {
            gathered.extend_from_slice(bytes.get(at * size..(at + 1) * size)?);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                // An axis of one may have any stride: what is added here is taken away below.
                at = at.wrapping_add(strides[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                at = at.wrapping_sub(strides[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
        }
        Some(gathered)
    }
}

/// How many numbers lie between neighbours where the last axis is innermost.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1usize;
    for size in shape.iter().rev() {
        strides.push(stride);
        stride = stride.wrapping_mul(*size);
    }
    strides.reverse();
    strides
}

/// One tensor of a file.
#[derive(Clone, Copy, Debug)]
pub struct StoredTensor<'a> {
    pub(super) entry: &'a Entry,
    pub(super) source: &'a [u8],
    pub(super) path: &'a Path,
}

impl<'a> StoredTensor<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// The type of its numbers in the file; [`ElementType::dtype`] is what [`StoredTensor::data`] gives.
    pub fn element(&self) -> ElementType {
        self.entry.element
    }

    /// Its shape.
    pub fn shape(&self) -> &'a [usize] {
        &self.entry.shape
    }

    /// How many numbers it has.
    pub fn elements(&self) -> usize {
        self.entry.elements().unwrap_or(0)
    }

    /// Its numbers as they are in the file, row-major and little-endian: borrowed where they lie so, else put in order.
    ///
    /// # Errors
    /// Where packed bytes are damaged.
    pub fn bytes(&self) -> Result<Cow<'a, [u8]>> {
        self.entry.bytes(self.source).map_err(|error| self.fault(&error))
    }

    /// Its numbers, row-major, in the narrowest of kiln's types that holds them.
    ///
    /// # Errors
    /// Where packed bytes are damaged, or a `u64` is beyond `i64`.
    pub fn data(&self) -> Result<Data> {
        self.entry.element.decode(&self.bytes()?).map_err(|error| self.fault(&error))
    }

    fn fault(&self, message: &str) -> Error {
        Error::format(self.path, format!("{}: {message}", shown(self.name())))
    }
}

#[cfg(test)]
mod tests {
    use kiln_map::Limits;

    use super::*;

    #[test]
    fn repeats_take_from_one_budget() {
        let entry = Entry {
            name: "w".to_string(),
            element: ElementType::F32,
            shape: vec![1 << 10, 1 << 10],
            place: TensorPlace { range: 0..4, ..TensorPlace::default() },
            strides: Some(vec![0, 0]),
            offset: 0,
            is_big_endian: false,
        };
        let budget = Budget::of(Limits { bytes: 10 << 20, ..Limits::of_machine() });
        assert!(entry.check(&budget).is_ok() && entry.check(&budget).is_ok());
        assert!(entry.check(&budget).unwrap_err().contains("--limit bytes="));
    }
}
