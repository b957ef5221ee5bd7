//! Tokens back to a text.

use serde::Deserialize;

use super::bytes::from_char;
use super::pattern::Pattern;
use super::pretokenizer::{Metaspace, Prepend};
use crate::error::Result;

/// One step, or several in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum TextDecoder {
    Sequence {
        decoders: Vec<TextDecoder>,
    },
    ByteLevel,
    Metaspace(Metaspace),
    #[serde(rename = "BPEDecoder")]
    Bpe {
        suffix: String,
    },
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
    ByteFallback,
    Fuse,
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    #[serde(rename = "CTC")]
    Ctc {
        pad_token: String,
        word_delimiter_token: String,
        cleanup: bool,
    },
}

impl TextDecoder {
    pub(super) fn apply(&self, tokens: Vec<String>) -> Result<Vec<String>> {
        Ok(match self {
            TextDecoder::Sequence { decoders } => {
                return decoders.iter().try_fold(tokens, |tokens, each| each.apply(tokens));
            }
            TextDecoder::ByteLevel => {
                let bytes = |token: &String| {
                    let bytes: Option<Vec<u8>> = token.chars().map(from_char).collect();
                    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
                };
                let bytes: Vec<u8> = tokens.iter().flat_map(bytes).collect();
                vec![String::from_utf8_lossy(&bytes).into_owned()]
            }
            TextDecoder::Metaspace(metaspace) => each(tokens, |at, token| {
                let drops = at == 0 && metaspace.prepend != Prepend::Never;
                let space = if drops { "" } else { " " };
                token.replace(metaspace.replacement, space)
            }),
            TextDecoder::Bpe { suffix } => {
                let last = tokens.len().wrapping_sub(1);
                each(tokens, |at, token| token.replace(suffix, if at == last { "" } else { " " }))
            }
            TextDecoder::WordPiece { prefix, cleanup } => each(tokens, |at, token| {
                let token = match token.strip_prefix(prefix.as_str()) {
                    _ if at == 0 => token,
                    Some(rest) => rest.to_string(),
                    None => format!(" {token}"),
                };
                if *cleanup { cleaned(&token) } else { token }
            }),
            TextDecoder::ByteFallback => from_bytes(tokens),
            TextDecoder::Fuse => vec![tokens.concat()],
            TextDecoder::Strip { content, start, stop } => each(tokens, |_, token| {
                let cut = |count: usize, chars: &mut dyn Iterator<Item = char>| {
                    chars.take(count).take_while(|c| c == content).count() * content.len_utf8()
                };
                let from = cut(*start, &mut token.chars());
                let to = token.len() - cut(*stop, &mut token.chars().rev());
                token.get(from..to).unwrap_or_default().to_string()
            }),
            TextDecoder::Replace { pattern, content } => {
                let replace = |token: String| Ok(pattern.replace(&token, content)?.unwrap_or(token));
                return tokens.into_iter().map(replace).collect();
            }
            TextDecoder::Ctc { pad_token, word_delimiter_token, cleanup } => {
                let mut tokens = tokens;
                tokens.dedup();
                let one = |token: String| {
                    let token = token.replace(pad_token.as_str(), "");
                    if *cleanup { cleaned(&token).replace(word_delimiter_token.as_str(), " ") } else { token }
                };
                tokens.into_iter().map(one).filter(|token| !token.is_empty()).collect()
            }
        })
    }
}

fn each(tokens: Vec<String>, change: impl Fn(usize, String) -> String) -> Vec<String> {
    tokens.into_iter().enumerate().map(|(at, token)| change(at, token)).collect()
}

/// Runs of tokens such as `<0x0A>` as the text of their bytes; where they are none, a mark for each.
fn from_bytes(tokens: Vec<String>) -> Vec<String> {
    let byte = |token: &str| {
        u8::from_str_radix(token.strip_prefix("<0x")?.strip_suffix('>').filter(|hex| hex.len() == 2)?, 16)
            .ok()
    };
    let mut all = Vec::with_capacity(tokens.len());
    let mut bytes = Vec::new();
    let flush = |bytes: &mut Vec<u8>, all: &mut Vec<String>| match String::from_utf8(std::mem::take(bytes)) {
        Ok(text) if text.is_empty() => {}
        Ok(text) => all.push(text),
        Err(error) => all.extend(error.as_bytes().iter().map(|_| char::REPLACEMENT_CHARACTER.to_string())),
    };
    for token in tokens {
        match byte(&token) {
            Some(byte) => bytes.push(byte),
            None => {
                flush(&mut bytes, &mut all);
                all.push(token);
            }
        }
    }
    flush(&mut bytes, &mut all);
    all
}

/// English as it is written: no spaces before signs and endings.
fn cleaned(token: &str) -> String {
    const CHANGES: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    CHANGES.iter().fold(token.to_string(), |token, (from, to)| token.replace(from, to))
}
