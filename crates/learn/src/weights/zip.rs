//! Zip archives, as far as `.npz` and PyTorch's files need them: reading stored and deflated entries, also of more than 4 GiB (zip64),
//! and writing stored ones. Names and sizes come from the directory at the end; nothing is unpacked until it is asked for.

use std::borrow::Cow;
use std::io::Read as _;

use super::Read;
use super::deflate::{Crc32, inflated};
use super::entry::TensorPlace;

/// One entry.
#[derive(Debug)]
pub(super) struct Packed {
    pub name: String,
    pub place: TensorPlace,
}

/// What each record starts with, little-endian.
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Deflate can't do better than 1032 bytes for one. Whoever promises more has a bomb.
const MOST_FOR_ONE: usize = 1032;

/// Whether a file starts like an archive.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL.to_le_bytes()) || bytes.starts_with(&END.to_le_bytes())
}

/// A place in the bytes that moves as numbers are read.
struct ByteReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ByteReader<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at = end.unwrap_or(usize::MAX);
        taken.ok_or_else(|| "its zip directory is cut off or damaged".to_string())
    }

    fn number<const BYTES: usize>(&mut self) -> Read<u64> {
        let bytes = self.take(BYTES)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

/// The entries, in the order of the directory.
pub(super) fn read(bytes: &[u8]) -> Read<Vec<Packed>> {
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
        stored = stored.saturating_add(entry.place.range.len());
        if stored > bytes.len() {
            return Err("its entries lie over each other".to_string());
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn whole(number: u64) -> Read<usize> {
    usize::try_from(number).map_err(|_| format!("it speaks of {number} bytes, more than this machine has"))
}

/// How many entries the directory has, where it starts, and its bytes.
fn directory(bytes: &[u8]) -> Read<(u64, u64, u64)> {
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
fn entry(cursor: &mut ByteReader) -> Read<Packed> {
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
    let name = std::str::from_utf8(cursor.take(name as usize)?)
        .map_err(|_| "a name in its zip directory isn't UTF-8")?
        .to_string();
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
    let fault = |what: &str| Err(format!("{}: {what}", kiln_map::shown(&name)));
    if flags & 1 != 0 {
        return fault("it is encrypted");
    }
    let (stored, unpacked, local) = (whole(stored)?, whole(unpacked)?, whole(local)?);
    let unpacked = match method {
        0 if stored != unpacked => return fault("a stored entry has two sizes"),
        0 => None,
        8 if unpacked > stored.saturating_mul(MOST_FOR_ONE) => {
            return fault(&format!("it promises {unpacked} bytes out of {stored}, more than deflate can"));
        }
        8 => Some(unpacked),
        _ => return fault(&format!("it is packed by method {method}; kiln reads stored and deflated ones")),
    };
    let mut head = ByteReader { bytes: cursor.bytes, at: local };
    if head.number::<4>()? != u64::from(LOCAL) {
        return fault("its zip directory points nowhere");
    }
    head.take(22)?;
    let (name_size, extra_size) = (head.number::<2>()?, head.number::<2>()?);
    head.take((name_size + extra_size) as usize)?;
    let start = head.at;
    head.take(stored)?;
    let place =
        TensorPlace { range: start..start + stored, unpacked, crc: Some(crc), ..TensorPlace::default() };
    Ok(Packed { name, place })
}

/// At most the first `most` bytes of an entry.
pub(super) fn beginning<'a>(bytes: &'a [u8], place: &TensorPlace, most: usize) -> Read<Cow<'a, [u8]>> {
    let stored = bytes.get(place.range.clone()).ok_or("it lies outside of the file")?;
    if place.unpacked.is_none() {
        return Ok(Cow::Borrowed(&stored[..stored.len().min(most)]));
    }
    let mut start = Vec::new();
    inflated(stored)?
        .take(most as u64)
        .read_to_end(&mut start)
        .map_err(|error| format!("it can't be unpacked: {error}"))?;
    Ok(Cow::Owned(start))
}

/// Writes an archive of stored entries.
pub(super) struct ZipWriter {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: usize,
    /// Sizes and places from here on are written as zip64.
    limit: u64,
}

impl ZipWriter {
    pub fn new() -> ZipWriter {
        ZipWriter { bytes: Vec::new(), directory: Vec::new(), count: 0, limit: 0xffff_ffff }
    }

    /// Adds an entry.
    pub fn add(&mut self, name: &str, content: &[u8]) -> Read<()> {
        let name_size = u16::try_from(name.len()).map_err(|_| "a name is longer than 65,535 bytes")?;
        let (size, local) = (content.len() as u64, self.bytes.len() as u64);
        let mut sum = Crc32::new();
        sum.update(content);
        let is_large = size >= self.limit || local >= self.limit;
        let small = if is_large { [0xff; 4] } else { (size as u32).to_le_bytes() };
        // What both heads have: version, UTF-8, stored, the first of January 1980, checksum, sizes, lengths of name and extra.
        let head = |extra: &[u8]| {
            let mut head = Vec::new();
            for field in [45u16, 0x0800, 0, 0, 0x0021] {
                head.extend(field.to_le_bytes());
            }
            head.extend(sum.sum().to_le_bytes());
            head.extend(small);
            head.extend(small);
            head.extend(name_size.to_le_bytes());
            head.extend((extra.len() as u16).to_le_bytes());
            head
        };
        let field = |numbers: &[u64]| {
            let mut field = Vec::new();
            if is_large {
                field.extend(1u16.to_le_bytes());
                field.extend((8 * numbers.len() as u16).to_le_bytes());
                numbers.iter().for_each(|number| field.extend(number.to_le_bytes()));
            }
            field
        };
        let (near, far) = (field(&[size, size]), field(&[size, size, local]));
        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(head(&near));
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(near);
        self.bytes.extend(content);
        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(45u16.to_le_bytes());
        self.directory.extend(head(&far));
        self.directory.extend([0; 10]);
        self.directory.extend(if is_large { [0xff; 4] } else { (local as u32).to_le_bytes() });
        self.directory.extend(name.as_bytes());
        self.directory.extend(far);
        self.count += 1;
        Ok(())
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        let (start, size, count) = (self.bytes.len() as u64, self.directory.len() as u64, self.count as u64);
        self.bytes.append(&mut self.directory);
        let is_large = start >= self.limit || size >= self.limit || count >= 0xffff;
        if is_large {
            let end = self.bytes.len() as u64;
            self.bytes.extend(END_64.to_le_bytes());
            self.bytes.extend(44u64.to_le_bytes());
            self.bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            for number in [count, count, size, start] {
                self.bytes.extend(number.to_le_bytes());
            }
            self.bytes.extend(LOCATOR_64.to_le_bytes());
            self.bytes.extend([0; 4]);
            self.bytes.extend(end.to_le_bytes());
            self.bytes.extend(1u32.to_le_bytes());
        }
        self.bytes.extend(END.to_le_bytes());
        self.bytes.extend([0; 4]);
        let (count, size, start) =
            if is_large { (0xffff, u32::MAX, u32::MAX) } else { (count as u16, size as u32, start as u32) };
        self.bytes.extend(count.to_le_bytes());
        self.bytes.extend(count.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_both_forms() {
        for limit in [0xffff_ffff, 3] {
            let mut writer = ZipWriter { limit, ..ZipWriter::new() };
            writer.add("a", b"").unwrap();
            writer.add("folder/b.npy", b"some bytes").unwrap();
            let file = writer.finish();
            let entries = read(&file).unwrap();
            let contents: Vec<(&str, Vec<u8>)> = entries
                .iter()
                .map(|entry| (entry.name.as_str(), entry.place.bytes(&file).unwrap().into_owned()))
                .collect();
            assert_eq!(contents, [("a", b"".to_vec()), ("folder/b.npy", b"some bytes".to_vec())]);
        }
    }

    #[test]
    fn bombs_are_seen_before_they_are_unpacked() {
        let mut writer = ZipWriter::new();
        writer.add("x", &[7; 100]).unwrap();
        let mut file = writer.finish();
        let directory = file.windows(4).position(|bytes| bytes == CENTRAL.to_le_bytes()).unwrap();
        file[directory + 10] = 8;
        file[directory + 24..directory + 28].copy_from_slice(&u32::MAX.to_le_bytes()[..]);
        assert!(read(&file).unwrap_err().contains("more than deflate can"));
    }
}
