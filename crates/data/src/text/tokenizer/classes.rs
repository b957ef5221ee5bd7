//! What a character is, as the patterns and rules of tokenizers ask.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// `\p{L}`.
pub(super) fn is_letter(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_alphabetic(),
        false => c.general_category_group() == GeneralCategoryGroup::Letter,
    }
}

/// `\p{N}`.
pub(super) fn is_number(c: char) -> bool {
    c.is_numeric()
}

/// `\w`.
pub(super) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    let category = c.general_category();
    c.is_alphabetic()
        || c.general_category_group() == GeneralCategoryGroup::Mark
        || matches!(category, GeneralCategory::DecimalNumber | GeneralCategory::ConnectorPunctuation)
        || matches!(c, '\u{200c}' | '\u{200d}')
}

/// Signs between words: those of ASCII, and `\p{P}`.
pub(super) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// What BERT takes out of a text: controls, formats and what is for private use, other than spaces.
pub(super) fn is_control(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse, Surrogate};
    let other = || matches!(c.general_category(), Control | Format | PrivateUse | Surrogate);
    !matches!(c, '\t' | '\n' | '\r') && other()
}

/// A mark that takes no room of its own.
pub(super) fn is_nonspacing(c: char) -> bool {
    !c.is_ascii() && c.general_category() == GeneralCategory::NonspacingMark
}

/// The blocks of ideographs that BERT cuts one by one.
pub(super) fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}
