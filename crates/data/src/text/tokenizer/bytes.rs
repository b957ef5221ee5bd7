//! Bytes as characters that can be seen, as GPT-2 writes its pieces.

/// The character of a byte: itself where it can be seen, else one behind Latin-1, in order.
pub(super) fn to_char(byte: u8) -> char {
    let hidden = match byte {
        0..=0x20 => u32::from(byte),
        0x7f..=0xa0 => u32::from(byte) - 0x7f + 0x21,
        0xad => 0x43,
        _ => return char::from(byte),
    };
    char::from_u32(0x100 + hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte of such a character.
pub(super) fn from_char(c: char) -> Option<u8> {
    let byte = match u32::from(c) {
        code @ 0x100..=0x120 => code - 0x100,
        code @ 0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        code => code,
    };
    u8::try_from(byte).ok().filter(|byte| to_char(*byte) == c)
}

/// A text with a character for each of its bytes.
pub(super) fn mapped(text: &str) -> String {
    text.bytes().map(to_char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_a_character_of_its_own_that_can_be_seen() {
        for byte in 0..=255 {
            assert_eq!(from_char(to_char(byte)), Some(byte));
            assert!(!to_char(byte).is_whitespace() && !to_char(byte).is_control());
        }
        assert_eq!(mapped("a b\n\u{e9}"), "aĠbĊÃ©");
        assert_eq!([' ', '\u{144}', '中'].map(from_char), [None; 3]);
    }
}
