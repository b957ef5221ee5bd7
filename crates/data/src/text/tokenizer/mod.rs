//! Tokenizers as `tokenizer.json` describes them, applied as the library that writes those files does.
//!
//! A text walks through: added tokens are found, the [`Normalizer`] changes what lies between, the [`PreTokenizer`] cuts it in words,
//! the [`PieceModel`] makes codes of each, the [`Template`] puts special tokens around. [`TextDecoder`] goes back.

mod added;
mod bpe;
mod bytes;
mod charsmap;
mod classes;
mod decoder;
mod length;
mod model;
mod normalizer;
mod pattern;
mod piece_table;
mod pretokenizer;
mod scanner;
mod template;
#[cfg(test)]
mod tests;
mod unigram;
mod word_piece;
mod write;

use std::path::Path;

use kiln_map::Budget;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::added::{AddedTokens, TextSegment};
use self::decoder::TextDecoder;
use self::length::{PaddingRule, TruncationRule};
use self::model::{PieceModel, WordCodes};
use self::normalizer::Normalizer;
use self::pretokenizer::PreTokenizer;
use self::template::{Template, Typed};
use crate::error::{Error, Result};

/// A tokenizer from a file `tokenizer.json`: texts to codes and back, to the same codes as the library that wrote it.
///
/// ```
/// use kiln_data::Tokenizer;
///
/// let tokenizer = Tokenizer::from_json(br#"{
///     "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "to": 1, "be": 2}, "unk_token": "[UNK]"},
///     "pre_tokenizer": {"type": "Whitespace"}
/// }"#)?;
/// assert_eq!(tokenizer.encode("to be or")?.codes, [1, 2, 0]);
/// assert_eq!(tokenizer.decode(&[1, 2], true)?, "to be");
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    model: PieceModel,
    template: Option<Template>,
    decoder: Option<TextDecoder>,
    added: AddedTokens,
    truncation: Option<TruncationRule>,
    padding: Option<PaddingRule>,
    json: Box<str>,
}

/// A text as codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedText {
    /// The codes, special tokens and padding among them.
    pub codes: Vec<u32>,
    /// Of which text each is: 0 or, of the second of two, 1, where the tokenizer tells them apart.
    pub types: Vec<u32>,
    /// 1 for each code, 0 for padding.
    pub mask: Vec<u32>,
}

/// What a file holds.
#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    added_tokens: Value,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Value,
}

impl Tokenizer {
    /// From a file.
    ///
    /// # Errors
    /// Where there is none, or it isn't a tokenizer; with the part that isn't understood.
    pub fn read(path: impl AsRef<Path>) -> Result<Tokenizer> {
        let path = path.as_ref();
        let budget = Budget::default();
        let bytes = budget.read_file(path).map_err(|error| Error::io(path, error))?;
        // Tables of pieces take some ten times what they take as text.
        budget.bytes(10 * bytes.len() as u64).map_err(|exceeded| Error::from(exceeded).in_file(path))?;
        Tokenizer::from_json(&bytes).map_err(|error| error.in_file(path))
    }

    /// From what a file holds.
    ///
    /// # Errors
    /// Where it isn't a tokenizer; with the part that isn't understood.
    pub fn from_json(bytes: &[u8]) -> Result<Tokenizer> {
        let json = std::str::from_utf8(bytes)
            .map_err(|_| Error::new("a tokenizer's file is JSON in UTF-8, and this isn't"))?;
        let fault = |error| Error::new(format!("this isn't a tokenizer.json: {error}"));
        let file: TokenizerFile = serde_json::from_str(json).map_err(fault)?;
        if let Some(version) = file.version.filter(|version| version != "1.0") {
            return Err(Error::new(format!("the tokenizer is of version {version:?}; 1.0 is known")));
        }
        let normalizer = part("normalizer", file.normalizer)?;
        let model: PieceModel =
            part("model", typed(file.model))?.ok_or_else(|| Error::new("the tokenizer has no model"))?;
        let added = match file.added_tokens {
            Value::Null => AddedTokens::default(),
            list => AddedTokens::new(list, &model, normalizer.as_ref())
                .map_err(|error| in_part("added_tokens", error))?,
        };
        let template: Option<Template> = part("post_processor", file.post_processor)?;
        if let Some(template) = &template {
            template.check().map_err(|error| in_part("post_processor", error))?;
        }
        Ok(Tokenizer {
            pre_tokenizer: part("pre_tokenizer", file.pre_tokenizer)?,
            template,
            decoder: part("decoder", file.decoder)?,
            truncation: part("truncation", file.truncation)?,
            padding: part("padding", file.padding)?,
            normalizer,
            model,
            added,
            json: json.into(),
        })
    }

    /// The file it came from.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// One more than the highest code.
    pub fn count(&self) -> usize {
        let highest = self.model.vocabulary().highest().max(self.added.highest());
        highest.map_or(0, |highest| highest as usize + 1)
    }

    /// The code of a token, as it is written in the file.
    pub fn code(&self, token: &str) -> Option<u32> {
        self.added.code(token).or_else(|| self.model.vocabulary().code(token))
    }

    /// The token of a code, as it is written in the file.
    pub fn token(&self, code: u32) -> Option<&str> {
        self.added.token(code).or_else(|| self.model.vocabulary().token(code))
    }

    /// The code that texts are filled up with, where the file says one.
    pub fn padding(&self) -> Option<u32> {
        self.padding.map(|padding| padding.pad_id)
    }

    /// The same, but texts are cut to so many codes, special ones among them, at the end of the longest of two, and nothing is filled up.
    /// Where the file asks for fewer codes, or says where they are cut, it is heard.
    ///
    /// ```
    /// use kiln_data::Tokenizer;
    ///
    /// let words = br#"{
    ///     "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "to": 1, "be": 2}, "unk_token": "[UNK]"},
    ///     "pre_tokenizer": {"type": "Whitespace"}
    /// }"#;
    /// assert_eq!(Tokenizer::from_json(words)?.cut_to(2).encode("be to be")?.codes, [2, 1]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn cut_to(self, most: usize) -> Tokenizer {
        let truncation = Some(TruncationRule::within(self.truncation, most));
        Tokenizer { truncation, padding: None, ..self }
    }

    /// A text as codes, with the special tokens that the file puts around it.
    ///
    /// # Errors
    /// Where a character isn't known and the tokenizer has no code for what isn't.
    pub fn encode(&self, text: &str) -> Result<EncodedText> {
        self.encode_parts(&[text], true)
    }

    /// The codes of a text alone.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<EncodedText> {
        self.encode_parts(&[text], false)
    }

    /// Two texts as one row of codes, such as a question and what may answer it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<EncodedText> {
        self.encode_parts(&[first, second], true)
    }

    /// Many texts, each as [`Tokenizer::encode`] does, filled up to the longest where the file asks for it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<EncodedText>> {
        let mut words = self.words();
        let all =
            texts.iter().map(|text| self.around(&[text], true, &mut words)).collect::<Result<Vec<_>>>()?;
        let longest = all.iter().map(|typed| typed.codes.len()).max().unwrap_or(0);
        Ok(all.into_iter().map(|typed| self.filled(typed, longest)).collect())
    }

    /// Codes as a text, without special tokens if they are to be skipped. A code that isn't known is nothing.
    ///
    /// # Errors
    /// Where a pattern of the file fails.
    pub fn decode(&self, codes: &[u32], skip_special: bool) -> Result<String> {
        let token = |code: &u32| {
            let token = self.added.written(*code).or_else(|| self.model.vocabulary().token(*code))?;
            (!skip_special || !self.added.is_special(token)).then(|| token.to_string())
        };
        let tokens: Vec<String> = codes.iter().filter_map(token).collect();
        match &self.decoder {
            Some(decoder) => Ok(decoder.apply(tokens)?.concat()),
            None => Ok(tokens.join(" ")),
        }
    }

    fn words<'a>(&self) -> WordCodes<'_, 'a> {
        WordCodes::new(&self.model, self.late_bytes())
    }

    /// Whether bytes are written as characters only of words that weren't seen before.
    fn late_bytes(&self) -> bool {
        self.pre_tokenizer.as_ref().is_some_and(PreTokenizer::ends_in_bytes)
    }

    fn encode_parts(&self, texts: &[&str], with_special: bool) -> Result<EncodedText> {
        let typed = self.around(texts, with_special, &mut self.words())?;
        let length = typed.codes.len();
        Ok(self.filled(typed, length))
    }

    /// The codes of one or two texts, cut to the file's length, in its template.
    fn around<'a>(
        &self,
        texts: &[&'a str],
        with_special: bool,
        words: &mut WordCodes<'_, 'a>,
    ) -> Result<Typed> {
        let mut parts = texts.iter().map(|text| self.codes(text, words)).collect::<Result<Vec<_>>>()?;
        let template = self.template.as_ref();
        if let Some(truncation) = &self.truncation {
            let added =
                template.filter(|_| with_special).map_or(0, |template| template.added(parts.len() > 1));
            truncation.apply(&mut parts, added)?;
        }
        let parts = (0..).zip(parts).map(|(kind, codes)| Typed::new(codes, kind)).collect();
        Ok(Typed::joined(match template {
            Some(template) => template.apply(parts, with_special),
            None => parts,
        }))
    }

    fn codes<'a>(&self, text: &'a str, words: &mut WordCodes<'_, 'a>) -> Result<Vec<u32>> {
        let mut codes = Vec::with_capacity(text.len() / 3);
        for segment in self.added.split(text, self.normalizer.as_ref())? {
            match segment {
                TextSegment::Token(code) => codes.push(code),
                TextSegment::Part(part) => {
                    let parts = match &self.pre_tokenizer {
                        Some(pre_tokenizer) => pre_tokenizer.apply(vec![part], self.late_bytes())?,
                        None => vec![part],
                    };
                    for part in parts.into_iter().filter(|part| !part.text.is_empty()) {
                        words.encode(part, &mut codes)?;
                    }
                }
            }
        }
        Ok(codes)
    }

    fn filled(&self, mut typed: Typed, longest: usize) -> EncodedText {
        let mask = match &self.padding {
            Some(padding) => padding.fill(&mut typed, padding.length(longest)),
            None => vec![1; typed.codes.len()],
        };
        EncodedText { codes: typed.codes, types: typed.types, mask }
    }
}

/// A part of a file; none where there is nothing.
fn part<T: DeserializeOwned>(name: &str, value: Value) -> Result<Option<T>> {
    match value {
        Value::Null => Ok(None),
        value => serde_json::from_value(value).map(Some).map_err(|error| in_part(name, error)),
    }
}

fn in_part(name: &str, error: impl std::fmt::Display) -> Error {
    Error::new(format!("the tokenizer's {name} isn't understood: {error}"))
}

/// Models of old files don't say what they are.
fn typed(mut model: Value) -> Value {
    if let Value::Object(fields) = &mut model
        && !fields.contains_key("type")
    {
        let has = |name| fields.contains_key(name);
        let kind = match () {
            _ if has("merges") => "BPE",
            _ if fields.get("vocab").is_some_and(Value::is_array) => "Unigram",
            _ if has("continuing_subword_prefix") => "WordPiece",
            _ => "WordLevel",
        };
        fields.insert("type".to_string(), kind.into());
    }
    model
}
