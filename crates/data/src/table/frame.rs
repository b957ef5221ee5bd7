//! `.kdf`: prepared rows in a file that is mapped, not read, so that a set may be larger than memory.
//!
//! All numbers are little-endian. The file is a head of 64 bytes, its description as JSON, zeros up to a multiple of 64, then the
//! rows: each its inputs and its target, all of one kind, with nothing between them and nothing after them.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `89 4B 44 46 0D 0A 1A 0A` (`\x89KDF\r\n\x1a\n`) |
//! | 8..12 | version, 1 |
//! | 12..16 | `01 02 03 04`, which says the order of bytes |
//! | 16..20 | kind of the numbers: 1 for `f16`, 2 for `f32` |
//! | 20..24 | inputs of a row |
//! | 24..32 | classes of the target; 0 where it is a number |
//! | 32..40 | rows |
//! | 40..48 | bytes of the description |
//! | 48..56 | zero |
//! | 56..64 | FNV-1a, 64 bits, of everything before the rows but these eight bytes |

use std::path::{Path, PathBuf};

use half::f16;
use kiln_map::{MemoryMap, counted};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::preparation::TablePreparation;
use crate::dataset::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::values::{Form, Meaning, ValueKind, Values};

pub(super) const HEAD: usize = 64;
const MAGIC: [u8; 8] = *b"\x89KDF\r\n\x1a\n";
const VERSION: u32 = 1;
const ORDER: [u8; 4] = [1, 2, 3, 4];

/// What a frame says of itself besides its sizes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameDescription {
    pub features: Vec<String>,
    pub classes: Vec<String>,
    pub preparation: Option<TablePreparation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Value>,
    /// How many targets a row has besides the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_targets: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What is before the rows.
#[derive(Clone, Debug)]
pub(super) struct FrameHeader {
    pub kind: ValueKind,
    pub columns: usize,
    /// None where the target is a number.
    pub classes: Option<usize>,
    pub rows: u64,
    pub description: FrameDescription,
}

impl FrameHeader {
    /// How many targets a row has.
    pub fn targets(&self) -> usize {
        1 + self.description.more_targets as usize
    }

    /// Bytes of a row.
    fn row(&self) -> usize {
        (self.columns + self.targets()) * self.kind.bytes()
    }

    pub fn bytes(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(&self.description).map_err(|error| Error::new(error.to_string()))?;
        let columns =
            u32::try_from(self.columns).map_err(|_| Error::new("a frame has at most 2³² inputs a row"))?;
        let kind: u32 = if self.kind == ValueKind::F16 { 1 } else { 2 };
        let mut bytes = Vec::with_capacity(HEAD + text.len() + HEAD);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(ORDER);
        bytes.extend(kind.to_le_bytes());
        bytes.extend(columns.to_le_bytes());
        bytes.extend((self.classes.unwrap_or(0) as u64).to_le_bytes());
        bytes.extend(self.rows.to_le_bytes());
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(text);
        bytes.resize(bytes.len().next_multiple_of(HEAD), 0);
        let sum = checksum(&bytes);
        if let Some(place) = bytes.get_mut(56..HEAD) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        Ok(bytes)
    }

    /// The header of a file's bytes, and where the rows start. Nothing is allocated before every size is checked against the
    /// bytes that are there.
    fn read(bytes: &[u8]) -> Result<(FrameHeader, usize)> {
        let damaged = |what: &str| Error::new(format!("the frame is damaged: {what}; make it again"));
        let head: &[u8; HEAD] =
            bytes.first_chunk().ok_or_else(|| damaged("it is shorter than the head of a frame"))?;
        let word = |at: usize| {
            head.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
        };
        let long = |at: usize| {
            head.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        if !head.starts_with(&MAGIC) {
            return Err(Error::new("this is no frame: it doesn't start as a .kdf file"));
        }
        if word(8) != VERSION {
            return Err(Error::new(format!(
                "the frame is of version {}, and {VERSION} is known here",
                word(8)
            )));
        }
        if word(12).to_le_bytes() != ORDER {
            return Err(damaged("its bytes are in another order"));
        }
        let kind = match word(16) {
            1 => ValueKind::F16,
            2 => ValueKind::F32,
            other => return Err(damaged(&format!("there is no kind {other} of numbers"))),
        };
        let (columns, rows) = (word(20) as usize, long(32));
        let start = usize::try_from(long(40)).ok().and_then(|text| text.checked_add(HEAD));
        let start = start.and_then(|end| Some((end, end.checked_next_multiple_of(HEAD)?)));
        let Some((end, start)) = start.filter(|(_, start)| *start <= bytes.len()) else {
            return Err(damaged("its description is longer than the file"));
        };
        if checksum(bytes.get(..start).unwrap_or_default()) != long(56) {
            return Err(damaged("its head doesn't match its checksum"));
        }
        if columns == 0 || rows == 0 {
            return Err(damaged("it has no inputs or no rows"));
        }
        let text = bytes.get(HEAD..end).unwrap_or_default();
        let description: FrameDescription =
            serde_json::from_slice(text).map_err(|error| damaged(&format!("its description: {error}")))?;
        let row = (columns as u64 + 1 + u64::from(description.more_targets)) * kind.bytes() as u64;
        let length = rows.checked_mul(row).and_then(|all| all.checked_add(start as u64));
        if length != Some(bytes.len() as u64) {
            let wanted = length.map_or("more than a file can have".to_string(), |length| length.to_string());
            return Err(damaged(&format!(
                "it has {}, and its {} of {} need {wanted}",
                counted(bytes.len(), "byte"),
                counted(rows as usize, "row"),
                counted(columns, "input")
            )));
        }
        let classes = usize::try_from(long(24)).ok().filter(|classes| *classes > 0);
        let named = description.classes.is_empty() || Some(description.classes.len()) == classes;
        let is_one = description.more_targets == 0 || classes.is_none();
        if description.features.len() != columns || !named || !is_one {
            return Err(damaged("it doesn't name each input and class"));
        }
        Ok((FrameHeader { kind, columns, classes, rows, description }, start))
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let before = bytes.get(..56).unwrap_or_default().iter();
    before.chain(bytes.get(HEAD..).unwrap_or_default()).fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Prepared rows in a mapped file, served in any order. A frame is made by [`Framing`](crate::Framing) or
/// [`FrameWriter`](crate::FrameWriter); no program may change the file while it is open.
pub struct Frame {
    map: MemoryMap,
    header: FrameHeader,
    start: usize,
    path: PathBuf,
    temporary: bool,
    pub(super) left_out: u64,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FrameHeader { kind, columns, rows, .. } = &self.header;
        write!(f, "Frame {{ {:?}, {rows} rows of {columns} {kind:?} }}", self.path)
    }
}

impl Frame {
    /// Opens a frame. Its head and length are checked, its rows aren't read.
    ///
    /// # Errors
    /// Where the file can't be read, is no frame, is cut off or damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Frame> {
        Frame::open_at(path.as_ref())
    }

    fn open_at(path: &Path) -> Result<Frame> {
        let fault = |error| Error::io(path, error);
        let map = MemoryMap::open(path).map_err(fault)?;
        if map.is_empty() {
            return Err(Error::new("the frame is empty; make it again").in_file(path));
        }
        let (header, start) = FrameHeader::read(&map).map_err(|error| error.in_file(path))?;
        Ok(Frame { map, header, start, path: path.to_path_buf(), temporary: false, left_out: 0 })
    }

    /// The same frame, whose file goes with it: where the system allows, its name at once, so that nothing is left however the process
    /// ends.
    pub(super) fn temporary(mut self) -> Frame {
        self.temporary = std::fs::remove_file(&self.path).is_err();
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of each input.
    pub fn feature_names(&self) -> &[String] {
        &self.header.description.features
    }

    /// How the rows were prepared, where they were made of a table.
    pub fn preparation(&self) -> Option<&TablePreparation> {
        self.header.description.preparation.as_ref()
    }

    /// What it was made of, as its maker wrote it down; see [`Framing::origin`](crate::Framing::origin).
    pub fn origin(&self) -> Option<&Value> {
        self.header.description.origin.as_ref()
    }

    /// How many rows of the table it was just made of have no target, and were left out; nothing is known of that in one that was opened.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The bytes of a row.
    fn row(&self, row: usize) -> Result<&[u8]> {
        let length = self.header.row();
        let start = row.checked_mul(length).and_then(|before| before.checked_add(self.start));
        let bytes = start.and_then(|start| self.map.get(start..start.checked_add(length)?));
        bytes.ok_or_else(|| {
            Error::new(format!("there is no row {row}; the frame has {}", self.header.rows))
                .in_file(&self.path)
        })
    }

    /// A target at the end of a row.
    fn target(&self, row: usize, bytes: &[u8], which: usize) -> Result<f64> {
        let start = (self.header.columns + which) * self.header.kind.bytes();
        let bytes = bytes.get(start..).unwrap_or_default();
        let value = match self.header.kind {
            ValueKind::F16 => bytes.first_chunk().map(|bytes| f16::from_le_bytes(*bytes).to_f64()),
            _ => bytes.first_chunk().map(|bytes| f32::from_le_bytes(*bytes).into()),
        };
        let value = value.unwrap_or(f64::NAN);
        match self.header.classes {
            Some(classes) if !(value >= 0.0 && value < classes as f64 && value.fract() == 0.0) => {
                let message = format!(
                    "the target of row {row} is {value}, none of {}; make the frame again",
                    counted(classes, "class")
                );
                Err(Error::new(message).in_file(&self.path))
            }
            _ => Ok(value),
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.temporary {
            // Nobody is left to be told.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Dataset for Frame {
    fn len(&self) -> usize {
        self.header.rows as usize
    }

    fn x(&self) -> Form {
        let shape = vec![self.header.columns];
        Form { kind: self.header.kind, shape, meaning: Meaning::Numbers { scale: 1.0 } }
    }

    fn y(&self) -> Form {
        match self.header.classes {
            Some(classes) => Form::class(classes),
            None => Form::numbers(&[self.header.targets()]),
        }
    }

    fn read(&self, row: usize, _draw: u64, batch: &mut Batch) -> Result<()> {
        let bytes = self.row(row)?;
        let inputs = bytes.get(..self.header.columns * self.header.kind.bytes()).unwrap_or_default();
        match &mut batch.x {
            Values::F16(values) if self.header.kind == ValueKind::F16 => {
                values.extend(inputs.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)));
            }
            Values::F32(values) if self.header.kind == ValueKind::F32 => {
                values.extend(inputs.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            other => {
                return Err(Error::new(format!(
                    "a batch of {:?} takes no rows of {:?}",
                    other.kind(),
                    self.header.kind
                )));
            }
        }
        (0..self.header.targets()).try_for_each(|which| {
            batch.y.push(self.target(row, bytes, which)?);
            Ok(())
        })
    }

    fn names(&self) -> &[String] {
        &self.header.description.classes
    }

    fn labels(&self) -> Result<Vec<i64>> {
        if self.header.classes.is_none() {
            return Err(Error::new("the targets aren't classes, one for each row").in_file(&self.path));
        }
        (0..self.len()).map(|row| Ok(self.target(row, self.row(row)?, 0)? as i64)).collect()
    }
}
