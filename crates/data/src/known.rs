//! What a file is by its first bytes, in words, for those that were meant to be something else.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// First bytes and what begins so. Texts have none.
const STARTS: [(&[u8], &str); 35] = [
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"PAR1\x15", "a Parquet file"),
    (b"ARROW1\0", "an Arrow file"),
    (b"FEA1", "a Feather file of version 1"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a file packed with gzip"),
    (b"\x28\xb5\x2f\xfd", "a file packed with zstd"),
    (b"BZh91AY", "a file packed with bzip2"),
    (b"\xfd7zXZ\0", "a file packed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of an old Excel or Word (.xls, .doc)"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"CDF\x01", "a NetCDF file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x02}", "a pickle of Python"),
    (b"\x80\x03", "a pickle of Python"),
    (b"\x80\x04\x95", "a pickle of Python"),
    (b"\x80\x05\x95", "a pickle of Python"),
    (b"RDX2", "a workspace of R"),
    (b"\x89KDF", "a frame of kiln's"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\0", "a program"),
    (b"OggS\0", "a sound"),
    (b"<!DOCTYPE", "a page of HTML"),
];

/// What a file is that begins so, where that is known and it is no text.
pub(crate) fn format_of(start: &[u8]) -> Option<&'static str> {
    let kind_at = |at: usize| start.get(at..at + 4);
    match start.first_chunk::<4>() {
        Some(b"RIFF") if start.get(8..12) == Some(b"WEBP") => return Some("a WebP picture"),
        Some(b"RIFF") if start.get(8..12) == Some(b"WAVE") => return Some("a sound"),
        Some([b'B', b'M', ..]) if start.get(6..10) == Some(&[0; 4]) => return Some("a BMP picture"),
        Some([b'P', b'1'..=b'7', b'\n' | b' ', b'0'..=b'9' | b'#' | b'W']) => return Some("a PNM picture"),
        _ if kind_at(4) == Some(b"ftyp") => return Some("a film or a picture of a telephone (MP4, HEIC)"),
        _ => {}
    }
    let lower = start.get(..9).map(<[u8]>::to_ascii_lowercase);
    if lower.is_some_and(|lower| lower.starts_with(b"<html") || lower == b"<!doctype") {
        return Some("a page of HTML");
    }
    STARTS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}

/// How many first bytes show what a file is.
pub(crate) const SHOWN: usize = 16;

/// What the first bytes of a file show that should be text and has others; nothing where it may be one.
pub(crate) fn binary(bytes: &[u8]) -> Option<String> {
    let start: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let odd = bytes.iter().filter(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()).count();
    // A text may have words that a terminal would obey; what cuts off its last letter isn't at fault.
    let cut = |error: std::str::Utf8Error| error.error_len().is_none();
    let is_utf8 = !bytes.contains(&0) && std::str::from_utf8(bytes).map_or_else(cut, |_| true);
    let is_binary = 20 * odd > bytes.len() && !is_utf8;
    is_binary.then(|| {
        format!(
            "the file is no text: it begins with the bytes {}, of no format that is known",
            start.join(" ")
        )
    })
}

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A table that isn't text, or something packed that may hold one.
    Table,
    /// Something else, in words.
    Known(&'static str),
    /// Text, or a format that isn't known.
    Unknown,
}

/// What a file is by its first bytes.
///
/// # Errors
/// Where it can't be read.
pub fn file_kind(path: impl AsRef<Path>) -> Result<FileKind> {
    let path = path.as_ref();
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Error::io(path, error))?;
    file.take(SHOWN as u64).read_to_end(&mut start).map_err(|error| Error::io(path, error))?;
    Ok(match format_of(&start) {
        Some(name) if TABLES.contains(&name) => FileKind::Table,
        Some(name) => FileKind::Known(name),
        None => FileKind::Unknown,
    })
}

/// Those of the formats that are tables, or may hold one.
const TABLES: [&str; 5] = [
    "a Parquet file",
    "an Arrow file",
    "a zip archive",
    "a file packed with gzip",
    "a file packed with zstd",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes_and_texts_are_none() {
        assert_eq!(format_of(b"RIFF\0\0\0\0WEBPVP8 "), Some("a WebP picture"));
        assert_eq!(format_of(b"\0\0\0 ftypheic"), Some("a film or a picture of a telephone (MP4, HEIC)"));
        assert_eq!(format_of(b"<HTML><body>"), Some("a page of HTML"));
        for (start, name) in STARTS {
            assert_eq!(format_of(start), Some(name));
        }
        for text in ["a,b\n1,2\n", "", "BM,CM\n1,2\n", "P1,P2\n1,2", "PKW,price\n", "RIFFS,b\n", "größe"] {
            assert_eq!(format_of(text.as_bytes()), None, "{text}");
        }
    }
}
