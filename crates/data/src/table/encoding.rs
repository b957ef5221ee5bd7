//! Texts that aren't UTF-8 as such: UTF-16 by its mark or its zeros, and Windows-1252, which has Latin-1 in it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many bytes show an encoding.
pub(super) const SHOWN: usize = 64;

/// How a text is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextEncoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// Each unit of two bytes, the lower first.
    #[serde(rename = "utf-16le")]
    Utf16Little,
    /// Each unit of two bytes, the upper first.
    #[serde(rename = "utf-16be")]
    Utf16Big,
    /// Windows-1252, which has Latin-1 in it.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl FromStr for TextEncoding {
    type Err = Error;

    /// By the names that people say: `utf-8`, `utf-16` (also `utf-16le`, `utf-16be`), `latin-1`, `windows-1252`.
    fn from_str(said: &str) -> Result<TextEncoding> {
        let plain: String = said.to_lowercase().chars().filter(|letter| letter.is_alphanumeric()).collect();
        match plain.as_str() {
            "utf8" | "ascii" => Ok(TextEncoding::Utf8),
            "utf16" | "utf16le" => Ok(TextEncoding::Utf16Little),
            "utf16be" => Ok(TextEncoding::Utf16Big),
            "latin1" | "iso88591" | "windows1252" | "cp1252" | "ansi" => Ok(TextEncoding::Windows1252),
            _ => Err(Error::new(format!(
                "{said} is no encoding that kiln knows: utf-8, utf-16, utf-16be, latin-1 and windows-1252 are"
            ))),
        }
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextEncoding::Utf8 => "UTF-8",
            TextEncoding::Utf16Little | TextEncoding::Utf16Big => "UTF-16",
            TextEncoding::Windows1252 => "Latin-1 (Windows-1252)",
        })
    }
}

/// What Windows has where Latin-1 has controls.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl TextEncoding {
    /// What the first bytes of a text show.
    pub(in crate::table) fn of_start(start: &[u8]) -> Option<TextEncoding> {
        match start {
            [0xff, 0xfe, ..] => Some(TextEncoding::Utf16Little),
            [0xfe, 0xff, ..] => Some(TextEncoding::Utf16Big),
            // Texts have no zeros, and names of columns are mostly ASCII.
            [first, 0, second, 0, ..] if *first != 0 && *second != 0 => Some(TextEncoding::Utf16Little),
            [0, first, 0, second, ..] if *first != 0 && *second != 0 => Some(TextEncoding::Utf16Big),
            _ => None,
        }
    }

    /// What bytes are that aren't UTF-8: Windows-1252, unless letters of UTF-8 stand among them, so that the text is a damaged one.
    pub(in crate::table) fn of_others(mut reader: impl Read) -> io::Result<Option<TextEncoding>> {
        let (mut bytes, mut begun) = (vec![0; 256 << 10], 0);
        loop {
            let read = reader.read(bytes.get_mut(begun..).unwrap_or_default())?;
            let all = begun + read;
            let text = bytes.get(..all).unwrap_or_default();
            let has_letters = text.utf8_chunks().any(|chunk| !chunk.valid().is_ascii());
            let has_zeros = memchr::memchr(0, text).is_some();
            if has_letters || has_zeros {
                return Ok(None);
            }
            if read == 0 {
                return Ok(Some(TextEncoding::Windows1252));
            }
            // A letter may be cut here.
            let kept = text.len().min(3);
            bytes.copy_within(all - kept..all, 0);
            begun = kept;
        }
    }

    /// The text as UTF-8.
    pub(in crate::table) fn decoded<'a>(self, reader: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
        match self {
            TextEncoding::Utf8 => Box::new(reader),
            TextEncoding::Utf16Little | TextEncoding::Utf16Big | TextEncoding::Windows1252 => {
                Box::new(Decoded { reader, encoding: self, rest: Vec::new(), ready: VecDeque::new() })
            }
        }
    }
}

/// A text that is read as UTF-8.
struct Decoded<R> {
    reader: R,
    encoding: TextEncoding,
    /// Bytes of a letter that isn't whole yet.
    rest: Vec<u8>,
    ready: VecDeque<u8>,
}

impl<R: Read> Decoded<R> {
    /// Decodes some more; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        let mut bytes = std::mem::take(&mut self.rest);
        let before = bytes.len();
        let read = self.reader.by_ref().take(64 << 10).read_to_end(&mut bytes)?;
        let text = match self.encoding {
            TextEncoding::Utf8 | TextEncoding::Windows1252 => windows_text(&bytes),
            TextEncoding::Utf16Little | TextEncoding::Utf16Big => {
                let (pairs, odd) = bytes.as_chunks::<2>();
                let unit = |pair: &[u8; 2]| match self.encoding {
                    TextEncoding::Utf16Big => u16::from_be_bytes(*pair),
                    _ => u16::from_le_bytes(*pair),
                };
                let mut units: Vec<u16> = pairs.iter().map(unit).collect();
                self.rest = odd.to_vec();
                // The second half of a pair may be in what follows.
                if read > 0
                    && let Some(half) = units.pop_if(|unit| (0xd800..0xdc00).contains(unit))
                {
                    let bytes = if self.encoding == TextEncoding::Utf16Big {
                        half.to_be_bytes()
                    } else {
                        half.to_le_bytes()
                    };
                    self.rest = [&bytes[..], odd].concat();
                }
                if read == 0 && !self.rest.is_empty() {
                    let message = "the text is UTF-16 and ends within a letter; it may be cut off";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                let decoded: std::result::Result<String, _> = char::decode_utf16(units).collect();
                decoded.map_err(|_| {
                    io::Error::other("the text begins as UTF-16 and has what is none; save it as UTF-8")
                })?
            }
        };
        self.ready.extend(text.bytes());
        Ok(read > 0 || before > self.rest.len())
    }
}

/// A text of Windows-1252.
pub(in crate::table) fn windows_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| letter(*byte)).collect()
}

fn letter(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS.get(usize::from(byte - 0x80)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
        byte => char::from(byte),
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            if !self.more()? {
                return Ok(0);
            }
        }
        self.ready.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slowly<'a>(&'a [u8], usize);

    impl Read for Slowly<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            (&mut self.0).take(count as u64).read(&mut buffer[..count])
        }
    }

    #[test]
    fn texts_of_each_encoding_come_out_as_utf_8() {
        let text = "name,größe €\n𝄞,5\n".repeat(9000);
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for (bytes, encoding) in [(&little, TextEncoding::Utf16Little), (&big, TextEncoding::Utf16Big)] {
            assert_eq!(TextEncoding::of_start(bytes), Some(encoding));
            for piece in [1, 7, 1 << 20] {
                let mut out = String::new();
                encoding.decoded(Slowly(bytes, piece)).read_to_string(&mut out).unwrap();
                assert_eq!(out, text);
            }
            let cut = &bytes[..bytes.len() - 1];
            assert!(encoding.decoded(cut).read_to_string(&mut String::new()).is_err());
        }
        let mut out = String::new();
        TextEncoding::Windows1252.decoded(&b"caf\xe9 5\x80"[..]).read_to_string(&mut out).unwrap();
        assert_eq!(out, "café 5€");
    }

    #[test]
    fn damaged_utf_8_is_not_taken_for_latin_1() {
        let of = |bytes: &[u8]| TextEncoding::of_others(Slowly(bytes, 5)).unwrap();
        assert_eq!(of(b"a,b\ncaf\xe9,1\n"), Some(TextEncoding::Windows1252));
        assert_eq!(of("größe\n".as_bytes()), None);
        assert_eq!(of(b"gr\xc3\xb6\xe9"), None);
        assert_eq!(of(b"\x00\xe9"), None);
    }
}
