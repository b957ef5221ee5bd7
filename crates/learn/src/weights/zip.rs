//! Zip archives as weights are kept in them (`.npz`, PyTorch's files): their entries as places of tensors, and writing stored ones.

use std::borrow::Cow;
use std::io::Read as _;

pub(super) use kiln_map::is_zip;

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

/// The entries, in the order of the directory.
pub(super) fn read(bytes: &[u8]) -> Read<Vec<Packed>> {
    let packed = |entry: kiln_map::ArchiveEntry| {
        let place = entry.place.map_err(|what| format!("{}: {what}", kiln_map::shown(&entry.name)))?;
        let kiln_map::ArchivePlace { range, unpacked, crc } = place;
        let place = TensorPlace { range, unpacked, crc: Some(crc), ..TensorPlace::default() };
        Ok(Packed { name: entry.name, place })
    };
    kiln_map::zip_entries(bytes)?.into_iter().map(packed).collect()
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
