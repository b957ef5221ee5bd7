//! Rows of numbers in a file that is mapped into memory: for tables larger than memory, made once and read at random ever after.
//!
//! A `.kdf` file is a header and rows: `KDF1`, the kind of numbers, how many columns of inputs and targets, how many rows, the
//! length and checksum of a description in JSON (names, classes), the description, filled up to 64 bytes, and then each row's
//! inputs and targets, all little-endian.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::preparation::{Choices, Preparation, Target};
use super::reading::Reading;
use super::{Table, nearest};
use crate::dataset::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::values::{Form, Kind, Meaning, Values};

/// The type of a frame's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameKind {
    /// Two bytes each; prepared numbers lose little by it.
    F16,
    /// Four bytes each.
    F32,
}

impl FrameKind {
    fn bytes(self) -> usize {
        match self {
            FrameKind::F16 => 2,
            FrameKind::F32 => 4,
        }
    }
}

const MAGIC: [u8; 8] = *b"KDF1\r\n\x1a\n";
const FIXED: usize = 48;
const ALIGN: usize = 64;

/// What the numbers are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Description {
    features: Vec<String>,
    preparation: Preparation,
}

/// A mapped file of rows.
#[derive(Debug)]
pub struct Frame {
    map: Mmap,
    kind: FrameKind,
    rows: usize,
    start: usize,
    preparation: Preparation,
    names: Vec<String>,
    features: Vec<String>,
}

/// Turns a file of a table into a frame, a block of rows at a time. The preparation is fitted on the first rows (200,000 at most); or
/// is one that was fitted before. What was at the place stays until the frame is whole.
///
/// ```
/// use kiln_data::{Choices, Dataset, Frame, FrameKind, Reading, write_frame};
///
/// let folder = std::env::temp_dir();
/// let (from, to) = (folder.join("kiln-example.csv"), folder.join("kiln-example.kdf"));
/// std::fs::write(&from, "x,y,class\n1,2,a\n3,4,b\n5,6,a\n").unwrap();
/// write_frame(&from, &to, &Reading::new(), &Choices::new().target("class"), FrameKind::F16)?;
/// let frame = Frame::open(&to)?;
/// assert_eq!((frame.len(), frame.x().shape.as_slice(), frame.names().len()), (3, &[2][..], 2));
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// Where the table can't be read or prepared, or the frame can't be written.
pub fn write_frame(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    reading: &Reading,
    choices: &Choices,
    kind: FrameKind,
) -> Result<Preparation> {
    const FITTED: usize = 200_000;
    let (from, to) = (from.as_ref(), to.as_ref());
    let mut writer: Option<Writer> = None;
    Table::each_part(from, reading, FITTED, |part| {
        let rows: Vec<usize> = (0..part.rows()).collect();
        let writer = match &mut writer {
            Some(writer) => writer,
            none => {
                let preparation = Preparation::fit(part, &rows, choices)?;
                none.insert(Writer::new(to, preparation, kind)?)
            }
        };
        writer.add(part, &rows)
    })?;
    match writer {
        Some(writer) => writer.finish(),
        None => Err(Error::new("the table has no rows").in_file(from)),
    }
}

struct Writer {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    preparation: Preparation,
    kind: FrameKind,
    rows: u64,
}

impl Writer {
    fn new(path: &Path, preparation: Preparation, kind: FrameKind) -> Result<Writer> {
        preparation.to_json()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = folder.join(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&beside).map_err(|error| Error::io(&beside, error))?;
        let mut writer = Writer {
            path: path.to_path_buf(),
            beside,
            file: BufWriter::new(file),
            preparation,
            kind,
            rows: 0,
        };
        writer.header()?;
        Ok(writer)
    }

    fn header(&mut self) -> Result<()> {
        let bytes = header(&self.preparation, self.kind, self.rows)?;
        self.file.write_all(&bytes).map_err(|error| Error::io(&self.path, error))
    }

    fn add(&mut self, table: &Table, rows: &[usize]) -> Result<()> {
        let set = self.preparation.apply(table, rows)?;
        let (x, y) = (set.inputs(), set.targets());
        let (width, count) = (self.preparation.width(), rows.len());
        let mut write = |number: f32| match self.kind {
            FrameKind::F16 => self.file.write_all(&f16::from_f32(number).to_le_bytes()),
            FrameKind::F32 => self.file.write_all(&number.to_le_bytes()),
        };
        let x = x.as_f32().unwrap_or_default();
        for row in 0..count {
            let target = y.get(row).unwrap_or(f64::NAN) as f32;
            let numbers = x[row * width..(row + 1) * width].iter().copied().chain([target]);
            for number in numbers {
                write(number).map_err(|error| Error::io(&self.path, error))?;
            }
        }
        self.rows += count as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<Preparation> {
        let io = |error| Error::io(&self.path, error);
        self.file.flush().map_err(io)?;
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        self.header()?;
        let io = |error| Error::io(&self.path, error);
        self.file.flush().map_err(io)?;
        self.file.get_ref().sync_all().map_err(io)?;
        fs::rename(&self.beside, &self.path).map_err(io)?;
        Ok(self.preparation.clone())
    }
}

impl Drop for Writer {
    /// What wasn't finished is no use to anybody.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

fn header(preparation: &Preparation, kind: FrameKind, rows: u64) -> Result<Vec<u8>> {
    let description = Description { features: preparation.feature_names(), preparation: preparation.clone() };
    let text = serde_json::to_string(&description).map_err(|error| Error::new(error.to_string()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((kind.bytes() as u32).to_le_bytes());
    bytes.extend((preparation.width() as u32).to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(rows.to_le_bytes());
    bytes.extend([0; 8]);
    let sum = checksum(&[&bytes, text.as_bytes()].concat());
    bytes.extend(sum.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    Ok(bytes)
}

/// FNV-1a in 64 bits: headers are short, and faults in them are accidents.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl Frame {
    /// Opens a file that [`write_frame`] wrote.
    ///
    /// # Errors
    /// Where there is none, or it isn't whole.
    pub fn open(path: impl AsRef<Path>) -> Result<Frame> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let map = map(&file).map_err(|error| Error::io(path, error))?;
        Frame::of(map).map_err(|error| error.in_file(path))
    }

    fn of(map: Mmap) -> Result<Frame> {
        let bytes: &[u8] = &map;
        let damaged =
            |what: &str| Error::new(format!("{what}; the frame is cut off or damaged: make it again"));
        let Some(fixed) = bytes.get(..FIXED) else { return Err(damaged("it is shorter than a header")) };
        if fixed[..8] != MAGIC {
            return Err(Error::new("this is no .kdf frame"));
        }
        let word =
            |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
        let long = |at: usize| (word(at) as u64) | (word(at + 4) as u64) << 32;
        let (size, width, targets, length) = (word(8), word(12), word(16), word(20));
        let (rows, sum) = (long(24), long(40));
        let Some(text) = bytes.get(FIXED..FIXED.saturating_add(length)) else {
            return Err(damaged("its description isn't all there"));
        };
        if checksum(&[&fixed[..40], text].concat()) != sum {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let kind = match size {
            2 => FrameKind::F16,
            4 => FrameKind::F32,
            _ => return Err(damaged("its numbers have an unknown size")),
        };
        let Description { features, preparation } = serde_json::from_slice(text)
            .map_err(|error| damaged(&format!("its description can't be read ({error})")))?;
        let start = (FIXED + length).next_multiple_of(ALIGN);
        let row = (width + targets) * kind.bytes();
        let needed = usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(row)?.checked_add(start));
        if targets != 1 || preparation.width() != width {
            return Err(damaged("its description isn't of its columns"));
        }
        match needed {
            Some(needed) if needed == bytes.len() => {}
            _ => {
                return Err(damaged(&format!(
                    "it says it has {rows} rows of {row} bytes, and has {} bytes",
                    bytes.len()
                )));
            }
        }
        let names = match preparation.target() {
            Some(Target::Classes { names, .. }) => names.clone(),
            _ => Vec::new(),
        };
        Ok(Frame { kind, rows: rows as usize, start, preparation, names, features, map })
    }

    /// How raw rows became these numbers.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// Where among a row's inputs a feature stands.
    ///
    /// # Errors
    /// Where there is none of this name; with the nearest.
    pub fn feature(&self, name: &str) -> Result<usize> {
        let found = self.features.iter().position(|feature| feature == name);
        found.ok_or_else(|| nearest::unknown(name, self.features.iter().map(String::as_str)))
    }

    /// The bytes of a row.
    fn row(&self, row: usize) -> Option<&[u8]> {
        let length = (self.features.len() + 1) * self.kind.bytes();
        let start = self.start + row.checked_mul(length)?;
        self.map.get(start..start + length).filter(|_| row < self.rows)
    }
}

/// Maps a file for reading.
#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the bytes are only read as numbers, each of which is valid whatever its bits; frames are replaced by renaming, never
    // written in place, so no writer of kiln's changes a file that is mapped.
    unsafe { Mmap::map(file) }
}

impl Dataset for Frame {
    fn len(&self) -> usize {
        self.rows
    }

    fn x(&self) -> Form {
        let kind = match self.kind {
            FrameKind::F16 => Kind::F16,
            FrameKind::F32 => Kind::F32,
        };
        Form { kind, shape: vec![self.features.len()], meaning: Meaning::Numbers { scale: 1.0 } }
    }

    fn y(&self) -> Form {
        match self.names.len() {
            0 => Form::numbers(&[1]),
            count => Form::class(count),
        }
    }

    fn read(&self, row: usize, _draw: u64, batch: &mut Batch) -> Result<()> {
        let bytes =
            self.row(row).ok_or_else(|| Error::new(format!("there is no row {row} of {}", self.rows)))?;
        let (x, y) = bytes.split_at(bytes.len() - self.kind.bytes());
        match (self.kind, &mut batch.x) {
            (FrameKind::F16, Values::F16(values)) => {
                values.extend(x.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes)));
            }
            (FrameKind::F32, Values::F32(values)) => {
                values.extend(x.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
            _ => return Err(Error::new("the batch is of another type than the frame")),
        }
        batch.y.push(match self.kind {
            FrameKind::F16 => {
                y.as_chunks().0.first().map_or(f64::NAN, |&bytes| f16::from_le_bytes(bytes).into())
            }
            FrameKind::F32 => {
                y.as_chunks().0.first().map_or(f64::NAN, |&bytes| f32::from_le_bytes(bytes).into())
            }
        });
        Ok(())
    }

    fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("kiln-frame-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn table(rows: usize) -> String {
        let row = |row: usize| format!("{row},{},{}\n", (row * 7) % 13, ["no", "yes"][row % 2]);
        "a,b,class\n".to_string() + &(0..rows).map(row).collect::<String>()
    }

    #[test]
    fn a_frame_has_the_rows_of_its_table() {
        let folder = folder("rows");
        let (csv, kdf) = (folder.join("t.csv"), folder.join("t.kdf"));
        fs::write(&csv, table(1000)).unwrap();
        let choices = Choices::new().target("class");
        for (kind, error) in [(FrameKind::F16, 2e-3), (FrameKind::F32, 0.0)] {
            let preparation = write_frame(&csv, &kdf, &Reading::new(), &choices, kind).unwrap();
            let frame = Frame::open(&kdf).unwrap();
            let rows = [999, 0, 17, 500];
            let expected = preparation.apply(&Table::open(&csv).unwrap(), &rows).unwrap().all().unwrap();
            let read = frame.gather(&rows).unwrap();
            for at in 0..expected.x.len() {
                let (a, b) = (read.x.get(at).unwrap(), expected.x.get(at).unwrap());
                assert!((a - b).abs() <= error, "{a} and {b}");
            }
            assert_eq!(read.y, expected.y);
            assert_eq!((frame.len(), frame.names().len(), frame.feature("b").unwrap()), (1000, 2, 1));
            assert!(frame.feature("c").is_err());
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left beside it");
        assert!(csv.exists(), "the table is still there");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_frame_that_is_cut_or_changed_in_its_header_is_refused() {
        let folder = folder("damage");
        let (csv, kdf) = (folder.join("t.csv"), folder.join("t.kdf"));
        fs::write(&csv, table(20)).unwrap();
        write_frame(&csv, &kdf, &Reading::new(), &Choices::new().target("class"), FrameKind::F32).unwrap();
        let whole = fs::read(&kdf).unwrap();
        let open = |bytes: &[u8]| {
            fs::write(&kdf, bytes).unwrap();
            Frame::open(&kdf)
        };
        for cut in 0..whole.len() {
            assert!(open(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(open(&[&whole[..], &[0]].concat()).is_err(), "a byte too many");
        let length = u32::from_le_bytes(whole[20..24].try_into().unwrap()) as usize;
        for at in 0..FIXED + length {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(open(&changed).is_err(), "byte {at} changed");
        }
        assert!(open(&whole).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
