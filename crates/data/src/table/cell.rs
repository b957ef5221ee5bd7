//! What the text of one cell says: nothing, a number, a truth.

/// Powers of ten that are exact in `f64`.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Whether the cell says that its value is missing.
pub(super) fn is_missing(text: &[u8]) -> bool {
    let is = |word: &[u8]| text.eq_ignore_ascii_case(word);
    match text.len() {
        0 => true,
        1 => text == b"?",
        2 => is(b"na"),
        3 => is(b"n/a") || is(b"nan"),
        4 => [&b"null"[..], b"none", b"#n/a", b"<na>"].into_iter().any(is),
        _ => false,
    }
}

/// What says that a value is missing where numbers or dates are meant, and may be a word elsewhere.
const ELSEWHERE_WORDS: [&str; 46] = [
    "-",
    "--",
    "---",
    "–",
    "—",
    "−",
    ".",
    "..",
    "...",
    "…",
    "*",
    "#",
    "??",
    "nil",
    "missing",
    "unknown",
    "unk",
    "undefined",
    "blank",
    "empty",
    "n.a.",
    "n.a",
    "n.d.",
    "n.d",
    "nd",
    "n/d",
    "k.a.",
    "not available",
    "not applicable",
    "no data",
    "keine angabe",
    "unbekannt",
    "fehlt",
    "#na",
    "#n/a n/a",
    "#null!",
    "#div/0!",
    "#value!",
    "#ref!",
    "#name?",
    "#num!",
    "-nan",
    "(null)",
    "<null>",
    "(missing)",
    "(blank)",
];

/// Whether the cell says that its value is missing, in a column of numbers or dates.
pub(super) fn is_missing_amount(text: &str) -> bool {
    // Amounts, which are most of what is asked about, begin with a digit.
    let may_be = text.len() <= 14 && !text.as_bytes().iter().take(2).any(u8::is_ascii_digit);
    may_be && ELSEWHERE_WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// The number a cell says; infinite where it says so or is out of range.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    if let Some((value, end)) = plain_number(text, 0)
        && end == text.len()
    {
        return Some(value);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The plain decimal number that starts at a place, and where it ends; nothing where it needs more care than this.
///
/// Up to 2⁵³ and 22 digits after the point both parts are exact in `f64`, so their quotient is the nearest number
/// (Clinger's fast path).
#[inline]
pub(super) fn plain_number(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    let mut at = first;
    let mut whole = 0u64;
    while let Some(digit) = digit(bytes, at) {
        whole = whole.wrapping_mul(10).wrapping_add(digit);
        at += 1;
    }
    let mut digits = at - first;
    let mut after = 0;
    if bytes.get(at) == Some(&b'.') {
        let point = at;
        at += 1;
        while let Some(digit) = digit(bytes, at) {
            whole = whole.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        after = at - point - 1;
        digits += after;
    }
    // Nineteen digits are sure not to have wrapped.
    if digits == 0 || digits > 19 || whole > 1 << 53 {
        return None;
    }
    let value = if after == 0 { whole as f64 } else { whole as f64 / POWERS[after] };
    Some((if negative { -value } else { value }, at))
}

#[inline]
fn digit(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

/// The truth that a word says.
pub(super) fn truth(word: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|other| word.eq_ignore_ascii_case(other));
    if is(&["true", "yes", "t", "y", "1"]) {
        Some(true)
    } else if is(&["false", "no", "f", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Whether a column of these words says truths: `true` and `false`, or `yes` and `no`, each in one spelling.
pub(super) fn are_truths(words: &[String]) -> bool {
    let spelled =
        |pair: [&str; 2]| words.iter().all(|word| pair.iter().any(|other| word.eq_ignore_ascii_case(other)));
    let differ = match words {
        [_] => true,
        [a, b] => truth(a) != truth(b),
        _ => false,
    };
    differ && (spelled(["true", "false"]) || spelled(["yes", "no"]))
}

/// The place of the word that says the same truth as another, among two that say truths: files write `True`, `true` and `yes`, and some
/// have truths of their own.
pub(super) fn same_truth(words: &[String], word: &str) -> Option<usize> {
    if !are_truths(words) {
        return None;
    }
    let said = truth(word)?;
    words.iter().position(|other| truth(other) == Some(said))
}

/// The text of a number, as a category's name.
pub(super) fn word(value: f64) -> String {
    // Adding zero makes −0 plain.
    format!("{}", value + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn numbers_are_read_to_the_last_bit() {
        let mut rng = Rng::new(3);
        for round in 0..20_000 {
            let value = match round % 4 {
                0 => f64::from_bits(rng.bits()),
                1 => rng.normal(),
                2 => (rng.normal() * 1e5).round() / 1e3,
                _ => rng.below(1 << 40) as f64,
            };
            if value.is_finite() {
                for text in [format!("{value}"), format!("{value:e}"), format!("{value:.6}")] {
                    let wanted: f64 = text.parse().unwrap();
                    assert_eq!(number(text.as_bytes()).map(f64::to_bits), Some(wanted.to_bits()), "{text}");
                }
            }
        }
        for text in [
            "1.",
            ".5",
            "+5",
            "1e5",
            "9007199254740993",
            "0.1234567890123456789012345",
            "18446744073709551617",
        ] {
            assert_eq!(number(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "-", ".", "1,5", "1 000", "abc", "1e", "0x10", "--1", "1.2.3"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
        assert_eq!(number(b"1e999"), Some(f64::INFINITY));
    }

    #[test]
    fn words_for_missing_are_known_in_any_case() {
        for text in ["", "NA", "na", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "#N/A", "<NA>"] {
            assert!(is_missing(text.as_bytes()), "{text}");
        }
        for text in ["0", "-", "nana", "nil", "??"] {
            assert!(!is_missing(text.as_bytes()), "{text}");
        }
        assert!(["-", "Missing", "#DIV/0!", "N.A."].into_iter().all(is_missing_amount));
        assert!(!["0", "nana", "low", ""].into_iter().any(is_missing_amount));
    }
}
