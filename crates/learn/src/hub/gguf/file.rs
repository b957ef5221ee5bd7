//! GGUF files as they lie: what they say of themselves by name, and tensors whose numbers may be packed.
//!
//! A file begins with `GGUF`, its version (2 or 3), how many tensors and names there are; then the names with their values, the tensors'
//! names, sizes, types and places, and their numbers, each from a multiple of the alignment on. All little-endian.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kiln_ir::packed::BlockFormat;
use kiln_map::{Budget, MemoryMap, shown};

use crate::{Error, Result};

/// What such a file begins with.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";

/// What is wrong with a file's bytes.
type GgufResult<T> = std::result::Result<T, String>;

/// A file that is open.
#[derive(Debug)]
pub(super) struct GgufFile {
    path: PathBuf,
    bytes: MemoryMap,
    contents: GgufContents,
}

/// What a file says.
#[derive(Debug, Default)]
struct GgufContents {
    version: u32,
    metadata: Vec<(String, GgufValue)>,
    tensors: Vec<GgufTensor>,
}

/// What stands behind a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GgufValue {
    Whole(i128),
    Number(f64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Wholes(Vec<i64>),
    Numbers(Vec<f64>),
}

impl GgufValue {
    /// A number with a fraction.
    fn number(&self) -> Option<f64> {
        match *self {
            GgufValue::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A whole number, or 1 for what holds and 0 for what doesn't.
    fn whole(&self) -> Option<i64> {
        match *self {
            GgufValue::Whole(whole) => i64::try_from(whole).ok(),
            GgufValue::Flag(flag) => Some(flag.into()),
            _ => None,
        }
    }
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct GgufTensor {
    pub(super) name: String,
    /// Outermost axis first; the numbers are row-major.
    pub(super) shape: Vec<usize>,
    pub(super) kind: TensorKind,
    place: Range<usize>,
}

/// How a tensor's numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TensorKind {
    F32,
    Packed(BlockFormat),
    /// In a way that kiln knows by name alone.
    Other(&'static str),
}

/// The kinds as files number them, with the numbers and bytes of a block.
const KINDS: [(u32, TensorKind, usize, usize); 32] = [
    (0, TensorKind::F32, 1, 4),
    packed(1, BlockFormat::F16),
    packed(2, BlockFormat::Q4_0),
    packed(3, BlockFormat::Q4_1),
    packed(6, BlockFormat::Q5_0),
    packed(7, BlockFormat::Q5_1),
    packed(8, BlockFormat::Q8_0),
    (9, TensorKind::Other("Q8_1"), 32, 36),
    (10, TensorKind::Other("Q2_K"), 256, 84),
    (11, TensorKind::Other("Q3_K"), 256, 110),
    packed(12, BlockFormat::Q4K),
    packed(13, BlockFormat::Q5K),
    packed(14, BlockFormat::Q6K),
    (15, TensorKind::Other("Q8_K"), 256, 292),
    (16, TensorKind::Other("IQ2_XXS"), 256, 66),
    (17, TensorKind::Other("IQ2_XS"), 256, 74),
    (18, TensorKind::Other("IQ3_XXS"), 256, 98),
    (19, TensorKind::Other("IQ1_S"), 256, 50),
    (20, TensorKind::Other("IQ4_NL"), 32, 18),
    (21, TensorKind::Other("IQ3_S"), 256, 110),
    (22, TensorKind::Other("IQ2_S"), 256, 82),
    (23, TensorKind::Other("IQ4_XS"), 256, 136),
    (24, TensorKind::Other("I8"), 1, 1),
    (25, TensorKind::Other("I16"), 1, 2),
    (26, TensorKind::Other("I32"), 1, 4),
    (27, TensorKind::Other("I64"), 1, 8),
    (28, TensorKind::Other("F64"), 1, 8),
    (29, TensorKind::Other("IQ1_M"), 256, 56),
    packed(30, BlockFormat::Bf16),
    (34, TensorKind::Other("TQ1_0"), 256, 54),
    (35, TensorKind::Other("TQ2_0"), 256, 66),
    (39, TensorKind::Other("MXFP4"), 32, 17),
];

const fn packed(number: u32, format: BlockFormat) -> (u32, TensorKind, usize, usize) {
    (number, TensorKind::Packed(format), format.numbers(), format.bytes())
}

impl TensorKind {
    /// The kind of this number, with the numbers and bytes of a block.
    fn of(number: u32) -> Option<(TensorKind, usize, usize)> {
        let found = KINDS.iter().find(|(own, ..)| *own == number);
        found.map(|&(_, kind, numbers, bytes)| (kind, numbers, bytes))
    }

    /// The number of this kind in files.
    pub(super) fn number(self) -> u32 {
        KINDS.iter().find(|(_, kind, ..)| *kind == self).map_or(0, |(number, ..)| *number)
    }

    /// The bytes of so many numbers in rows of whole blocks.
    pub(super) fn bytes(self, numbers: usize) -> usize {
        let block = KINDS.iter().find(|(_, kind, ..)| *kind == self);
        block.map_or(0, |(_, _, count, bytes)| numbers / count * bytes)
    }

    /// What files call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            TensorKind::F32 => "F32",
            TensorKind::Packed(format) => format.name(),
            TensorKind::Other(name) => name,
        }
    }
}

impl GgufFile {
    /// Opens a file and reads what it says; its numbers are looked at when they are asked for.
    pub(super) fn open(path: &Path) -> Result<GgufFile> {
        let bytes = MemoryMap::open(path).map_err(Error::file(path))?;
        let contents = read(&bytes).map_err(|message| Error::format(path, message))?;
        Ok(GgufFile { path: path.to_path_buf(), bytes, contents })
    }

    pub(super) fn version(&self) -> u32 {
        self.contents.version
    }

    pub(super) fn metadata(&self) -> &[(String, GgufValue)] {
        &self.contents.metadata
    }

    pub(super) fn tensors(&self) -> &[GgufTensor] {
        &self.contents.tensors
    }

    /// What stands behind a name.
    pub(super) fn value(&self, name: &str) -> Option<&GgufValue> {
        self.contents.metadata.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The tensor of this name.
    pub(super) fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.contents.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// A tensor's bytes.
    pub(super) fn bytes(&self, tensor: &GgufTensor) -> &[u8] {
        &self.bytes[tensor.place.clone()]
    }

    /// A fault of this file.
    pub(super) fn fault(&self, message: impl Into<String>) -> Error {
        Error::format(&self.path, message)
    }
}

/// What is left of a file.
struct GgufCursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> GgufCursor<'b> {
    fn take(&mut self, count: usize, what: &str) -> GgufResult<&'b [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            let left = self.bytes.len() - self.at;
            format!("{what} at byte {} would take {count} bytes, and the file ends after {left}", self.at)
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self, what: &str) -> GgufResult<[u8; COUNT]> {
        let mut array = [0; COUNT];
        array.copy_from_slice(self.take(COUNT, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> GgufResult<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A count of things that take so many bytes each at least, all of which must be there.
    fn count(&mut self, least: usize, what: &str) -> GgufResult<usize> {
        let at = self.at;
        let count = u64::from_le_bytes(self.array(what)?);
        let left = self.bytes.len() - self.at;
        usize::try_from(count).ok().filter(|&count| count <= left / least).ok_or_else(|| {
            format!("{what} at byte {at}: {count}, more than the {left} bytes behind it can hold")
        })
    }

    fn text(&mut self, budget: &Budget, what: &str) -> GgufResult<String> {
        let at = self.at;
        let count = self.count(1, what)?;
        let bytes = self.take(count, what)?;
        budget.bytes(count as u64).map_err(|exceeded| exceeded.to_string())?;
        let text = std::str::from_utf8(bytes);
        text.map(str::to_string).map_err(|_| format!("{what} at byte {at} isn't UTF-8"))
    }

    /// A value of this type.
    fn value(&mut self, kind: u32, budget: &Budget, what: &str) -> GgufResult<GgufValue> {
        Ok(match kind {
            7 => match self.array::<1>(what)? {
                [byte @ 0..=1] => GgufValue::Flag(byte == 1),
                [byte] => return Err(format!("{what} should be 0 or 1, and is {byte}")),
            },
            8 => GgufValue::Text(self.text(budget, what)?),
            9 => {
                let kind = self.u32(what)?;
                if kind == 8 {
                    let count = self.count(8, what)?;
                    let mut texts = budget.room(count).map_err(|exceeded| exceeded.to_string())?;
                    for _ in 0..count {
                        texts.push(self.text(budget, what)?);
                    }
                    return Ok(GgufValue::Texts(texts));
                }
                let size = scalar_size(kind)
                    .ok_or_else(|| format!("{what} is a list of type {kind}, which kiln doesn't read"))?;
                let count = self.count(size, what)?;
                match kind {
                    6 | 12 => GgufValue::Numbers(self.list(kind, count, budget, what, GgufValue::number)?),
                    _ => GgufValue::Wholes(self.list(kind, count, budget, what, GgufValue::whole)?),
                }
            }
            _ => self.scalar(kind, what)?,
        })
    }

    /// So many numbers of this type.
    fn list<T>(
        &mut self,
        kind: u32,
        count: usize,
        budget: &Budget,
        what: &str,
        number: fn(&GgufValue) -> Option<T>,
    ) -> GgufResult<Vec<T>> {
        let mut numbers = budget.room(count).map_err(|exceeded| exceeded.to_string())?;
        for _ in 0..count {
            let value = self.scalar(kind, what)?;
            numbers.push(number(&value).ok_or_else(|| format!("{what} has a number beyond 63 bits"))?);
        }
        Ok(numbers)
    }

    fn scalar(&mut self, kind: u32, what: &str) -> GgufResult<GgufValue> {
        Ok(match kind {
            0 => GgufValue::Whole(u8::from_le_bytes(self.array(what)?).into()),
            1 => GgufValue::Whole(i8::from_le_bytes(self.array(what)?).into()),
            2 => GgufValue::Whole(u16::from_le_bytes(self.array(what)?).into()),
            3 => GgufValue::Whole(i16::from_le_bytes(self.array(what)?).into()),
            4 => GgufValue::Whole(u32::from_le_bytes(self.array(what)?).into()),
            5 => GgufValue::Whole(i32::from_le_bytes(self.array(what)?).into()),
            6 => GgufValue::Number(f32::from_le_bytes(self.array(what)?).into()),
            7 => GgufValue::Flag(u8::from_le_bytes(self.array(what)?) != 0),
            10 => GgufValue::Whole(u64::from_le_bytes(self.array(what)?).into()),
            11 => GgufValue::Whole(i64::from_le_bytes(self.array(what)?).into()),
            12 => GgufValue::Number(f64::from_le_bytes(self.array(what)?)),
            _ => return Err(format!("{what} is of type {kind}, which kiln doesn't read")),
        })
    }
}

/// The bytes of a number of this type.
fn scalar_size(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Names and tensors take at least so many bytes.
const LEAST_NAME: usize = 8 + 4 + 1;
const LEAST_TENSOR: usize = 8 + 4 + 4 + 8;

/// Where tensors begin if the file doesn't say otherwise.
pub(super) const ALIGNMENT: usize = 32;

fn read(bytes: &[u8]) -> GgufResult<GgufContents> {
    let mut cursor = GgufCursor { bytes, at: 0 };
    let budget = Budget::default();
    if cursor.take(4, "its first word")? != MAGIC {
        return Err("it doesn't start as a GGUF file does".to_string());
    }
    let version = cursor.u32("its version")?;
    match version {
        2 | 3 => {}
        _ if (1..=3).contains(&version.swap_bytes()) => {
            return Err("its numbers are big-endian; kiln reads little-endian files".to_string());
        }
        _ => return Err(format!("it is of version {version}; kiln reads 2 and 3")),
    }
    let tensor_count = cursor.count(LEAST_TENSOR, "the number of tensors")?;
    let names = cursor.count(LEAST_NAME, "the number of names")?;
    budget.nodes(tensor_count as u64).map_err(|exceeded| exceeded.to_string())?;
    let mut contents = GgufContents { version, ..GgufContents::default() };
    let mut seen = HashSet::new();
    for _ in 0..names {
        let name = cursor.text(&budget, "a name")?;
        let kind = cursor.u32(&shown(&name))?;
        let value = cursor.value(kind, &budget, &shown(&name))?;
        if !seen.insert(name.clone()) {
            return Err(format!("{} is there twice", shown(&name)));
        }
        budget.reserve(&mut contents.metadata, 1).map_err(|exceeded| exceeded.to_string())?;
        contents.metadata.push((name, value));
    }
    let alignment = contents.metadata.iter().find(|(name, _)| name == "general.alignment");
    let alignment = match alignment.map(|(_, value)| value) {
        None => ALIGNMENT,
        Some(&GgufValue::Whole(of)) if (1..=1 << 20).contains(&of) && of.count_ones() == 1 => of as usize,
        Some(_) => return Err("general.alignment should be a power of two up to 1048576".to_string()),
    };
    let mut seen = HashSet::new();
    let mut described = Vec::new();
    for _ in 0..tensor_count {
        let tensor = described_tensor(&mut cursor, &budget)?;
        if !seen.insert(tensor.0.clone()) {
            return Err(format!("the tensor {} is there twice", shown(&tensor.0)));
        }
        described.push(tensor);
    }
    let start = cursor.at.next_multiple_of(alignment);
    for (name, shape, kind, offset) in described {
        contents.tensors.push(placed(name, shape, kind, (start, offset, alignment), bytes.len())?);
    }
    // No bytes serve two tensors: a small file would stand for much.
    let mut places: Vec<(&Range<usize>, &str)> =
        contents.tensors.iter().map(|tensor| (&tensor.place, tensor.name.as_str())).collect();
    places.sort_by_key(|(place, _)| (place.start, place.end));
    for pair in places.windows(2) {
        let [(before, first), (after, second)] = pair else { continue };
        if before.end > after.start {
            return Err(format!("the tensors {} and {} share bytes", shown(first), shown(second)));
        }
    }
    Ok(contents)
}

/// Name, shape, type and offset.
type DescribedTensor = (String, Vec<usize>, u32, u64);

fn described_tensor(cursor: &mut GgufCursor, budget: &Budget) -> GgufResult<DescribedTensor> {
    let name = cursor.text(budget, "a tensor's name")?;
    let what = shown(&name);
    let rank = cursor.u32(&what)?;
    if rank > 4 {
        return Err(format!("{what} has {rank} axes; there are four at most"));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        let size = u64::from_le_bytes(cursor.array(&what)?);
        shape.push(usize::try_from(size).map_err(|_| format!("{what} has an axis of {size}"))?);
    }
    // The file counts from the innermost.
    shape.reverse();
    Ok((name, shape, cursor.u32(&what)?, u64::from_le_bytes(cursor.array(&what)?)))
}

/// A tensor with the place of its numbers, which must be in the file.
fn placed(
    name: String,
    shape: Vec<usize>,
    kind: u32,
    (start, offset, alignment): (usize, u64, usize),
    length: usize,
) -> GgufResult<GgufTensor> {
    let what = shown(&name);
    let Some((kind, numbers, bytes)) = TensorKind::of(kind) else {
        return Err(format!("{what} is of type {kind}, which kiln doesn't know"));
    };
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(numbers) {
        return Err(format!(
            "{what}: rows of {row} aren't whole blocks of {numbers}, which {} has",
            kind.name()
        ));
    }
    let size = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
    let size = size.and_then(|all| (all / numbers).checked_mul(bytes));
    let first = usize::try_from(offset).ok().and_then(|offset| start.checked_add(offset));
    let place = first.zip(size).and_then(|(first, size)| Some(first..first.checked_add(size)?));
    let place = place.filter(|place| place.end <= length).ok_or_else(|| {
        format!("{what}: {shape:?} of {} from byte {offset} of the numbers on leave the file", kind.name())
    })?;
    match offset.is_multiple_of(alignment as u64) {
        true => Ok(GgufTensor { name, shape, kind, place }),
        false => Err(format!("{what} begins at {offset}, which isn't a multiple of {alignment}")),
    }
}
