//! The directory of a zip archive: what lies where in it, also of more than 4 GiB (zip64). Nothing is unpacked here: whoever unpacks
//! knows how much it may be.

use std::ops::Range;

/// What lies in an archive.
#[derive(Clone, Debug)]
pub struct ArchiveEntry {
    /// Its name with its folders, `/` between them.
    pub name: String,
    /// Where its bytes stand, or why they can't be read: it is encrypted, or packed in a way that isn't known.
    pub place: Result<ArchivePlace, String>,
}

/// Where an entry's bytes stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePlace {
    /// The bytes as they stand in the archive.
    pub range: Range<usize>,
    /// Their number when unpacked, where they are packed with deflate.
    pub unpacked: Option<usize>,
    /// The CRC-32 of all of them.
    pub crc: u32,
}

/// What each record starts with, little-endian.
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Deflate can't do better than 1032 bytes for one. Whoever promises more has a bomb.
const MOST_FOR_ONE: usize = 1032;

/// Whether a file starts like a zip archive.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL.to_le_bytes()) || bytes.starts_with(&END.to_le_bytes())
}

/// A place in the bytes that moves as numbers are read.
struct ByteReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ByteReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at = end.unwrap_or(usize::MAX);
        taken.ok_or_else(|| "its zip directory is cut off or damaged".to_string())
    }

    fn number<const BYTES: usize>(&mut self) -> Result<u64, String> {
        let bytes = self.take(BYTES)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

/// What lies in an archive, in the order of its directory.
///
/// # Errors
/// Where the directory is missing or damaged, or makes much of little.
pub fn zip_entries(bytes: &[u8]) -> Result<Vec<ArchiveEntry>, String> {
    let (count, start, size) = directory(bytes)?;
    let (start, size) = (whole(start)?, whole(size)?);
    // An entry of the directory takes 46 bytes at least.
    if count > (size / 46) as u64 {
        return Err(format!("its zip directory promises {count} entries in {size} bytes"));
    }
    let mut cursor = ByteReader { bytes, at: start };
    let mut entries = Vec::new();
    let mut stored = 0usize;
    for _ in 0..count {
        let entry = entry(&mut cursor)?;
        // Entries that lie over each other make much of little.
        stored = stored.saturating_add(entry.place.as_ref().map_or(0, |place| place.range.len()));
        if stored > bytes.len() {
            return Err("its entries lie over each other".to_string());
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn whole(number: u64) -> Result<usize, String> {
    usize::try_from(number).map_err(|_| format!("it speaks of {number} bytes, more than this machine has"))
}

/// How many entries the directory has, where it starts, and its bytes.
fn directory(bytes: &[u8]) -> Result<(u64, u64, u64), String> {
    // The last record is 22 bytes and a comment of at most 65,535.
    let first = bytes.len().saturating_sub(22 + 0xffff);
    let found = (first..bytes.len().saturating_sub(21)).rev().find(|&at| {
        bytes[at..].starts_with(&END.to_le_bytes()) && {
            let comment = usize::from(u16::from_le_bytes([bytes[at + 20], bytes[at + 21]]));
            at + 22 + comment == bytes.len()
        }
    });
    let end = found.ok_or("its zip directory is missing; the file is cut off")?;
    let mut cursor = ByteReader { bytes, at: end + 10 };
    let small = (cursor.number::<2>()?, cursor.number::<4>()?, cursor.number::<4>()?);
    let (count, size, start) = small;
    if count != 0xffff && size != 0xffff_ffff && start != 0xffff_ffff {
        return Ok((count, start, size));
    }
    let mut locator = ByteReader { bytes, at: end.saturating_sub(20) };
    if locator.number::<4>()? != u64::from(LOCATOR_64) {
        return Ok((count, start, size));
    }
    locator.take(4)?;
    let mut cursor = ByteReader { bytes, at: whole(locator.number::<8>()?)? };
    if cursor.number::<4>()? != u64::from(END_64) {
        return Err("its zip64 directory is damaged".to_string());
    }
    cursor.take(28)?;
    let (count, size) = (cursor.number::<8>()?, cursor.number::<8>()?);
    Ok((count, cursor.number::<8>()?, size))
}

/// The next entry of the directory.
fn entry(cursor: &mut ByteReader) -> Result<ArchiveEntry, String> {
    if cursor.number::<4>()? != u64::from(CENTRAL) {
        return Err("its zip directory is damaged".to_string());
    }
    cursor.take(4)?;
    let (flags, method) = (cursor.number::<2>()?, cursor.number::<2>()?);
    cursor.take(4)?;
    let crc = cursor.number::<4>()? as u32;
    let (mut stored, mut unpacked) = (cursor.number::<4>()?, cursor.number::<4>()?);
    let (name, extra, comment) = (cursor.number::<2>()?, cursor.number::<2>()?, cursor.number::<2>()?);
    cursor.take(8)?;
    let mut local = cursor.number::<4>()?;
    // Older programs write names in an encoding that isn't said.
    let name = String::from_utf8_lossy(cursor.take(name as usize)?).into_owned();
    let mut extra = ByteReader { bytes: cursor.take(extra as usize)?, at: 0 };
    cursor.take(comment as usize)?;
    while extra.bytes.len() - extra.at >= 4 {
        let (id, size) = (extra.number::<2>()?, extra.number::<2>()?);
        let mut field = ByteReader { bytes: extra.take(size as usize)?, at: 0 };
        if id == 1 {
            // Only those that don't fit above, in this order.
            for number in [&mut unpacked, &mut stored, &mut local] {
                if *number == 0xffff_ffff {
                    *number = field.number::<8>()?;
                }
            }
        }
    }
    let place = place(cursor.bytes, flags & 1 != 0, method, [stored, unpacked, local], crc);
    Ok(ArchiveEntry { name, place })
}

fn place(
    bytes: &[u8],
    is_encrypted: bool,
    method: u64,
    [stored, unpacked, local]: [u64; 3],
    crc: u32,
) -> Result<ArchivePlace, String> {
    if is_encrypted {
        return Err("it is encrypted".to_string());
    }
    let (stored, unpacked, local) = (whole(stored)?, whole(unpacked)?, whole(local)?);
    let unpacked = match method {
        0 if stored != unpacked => return Err("a stored entry has two sizes".to_string()),
        0 => None,
        8 if unpacked > stored.saturating_mul(MOST_FOR_ONE) => {
            return Err(format!("it promises {unpacked} bytes out of {stored}, more than deflate can"));
        }
        8 => Some(unpacked),
        _ => return Err(format!("it is packed by method {method}; kiln reads stored and deflated ones")),
    };
    let mut head = ByteReader { bytes, at: local };
    if head.number::<4>()? != u64::from(LOCAL) {
        return Err("its zip directory points nowhere".to_string());
    }
    head.take(22)?;
    let (name_size, extra_size) = (head.number::<2>()?, head.number::<2>()?);
    head.take((name_size + extra_size) as usize)?;
    let start = head.at;
    head.take(stored)?;
    Ok(ArchivePlace { range: start..start + stored, unpacked, crc })
}
