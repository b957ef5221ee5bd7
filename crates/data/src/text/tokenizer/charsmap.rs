//! SentencePiece's own rules of what characters become, as its files hold them: a trie of bytes in one array, and texts.

use serde::Deserialize;

/// The rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CharsMap {
    /// A unit says where its children begin, which byte leads to it and whether a value follows.
    units: Vec<u32>,
    /// What characters become, each text with a zero behind it.
    texts: Vec<u8>,
}

impl TryFrom<String> for CharsMap {
    type Error = &'static str;

    fn try_from(encoded: String) -> Result<CharsMap, &'static str> {
        let bytes = from_base64(&encoded).ok_or("the character map isn't base64")?;
        let cut = || {
            let (size, rest) = bytes.split_first_chunk()?;
            rest.split_at_checked(u32::from_le_bytes(*size) as usize)
        };
        let (trie, texts) = cut().ok_or("the character map ends early")?;
        std::str::from_utf8(texts).map_err(|_| "the character map holds texts that aren't UTF-8")?;
        let units = trie.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
        Ok(CharsMap { units: units.collect(), texts: texts.to_vec() })
    }
}

impl CharsMap {
    /// What some characters become: by the shortest beginning that has a rule, as the reference does.
    pub(super) fn get(&self, characters: &str) -> Option<&str> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut at = offset(*self.units.first()?);
        for byte in characters.bytes().take_while(|byte| *byte != 0) {
            at ^= usize::from(byte);
            let unit = *self.units.get(at)?;
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                return None;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let start = (*self.units.get(at)? & !(1 << 31)) as usize;
                let text = self.texts.get(start..)?.split(|byte| *byte == 0).next()?;
                return std::str::from_utf8(text).ok();
            }
        }
        None
    }
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for &byte in group {
            bits = bits << 6 | u32::from(digit(byte)?);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend(&bits.to_be_bytes()[1..group.len().max(1)]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        let text = |encoded| from_base64(encoded).and_then(|bytes| String::from_utf8(bytes).ok());
        for (encoded, expected) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(text(encoded).as_deref(), Some(expected));
        }
        assert_eq!(from_base64("Zm9\u{e9}"), None);
    }

    #[test]
    fn a_damaged_map_is_refused() {
        for damaged in ["!", "AAAA", "/////w=="] {
            assert!(CharsMap::try_from(damaged.to_string()).is_err(), "{damaged}");
        }
        let empty = CharsMap::try_from("AAAAAA==".to_string()).unwrap();
        assert_eq!(empty.get("a"), None);
    }
}
