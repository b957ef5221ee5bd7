//! kiln's own pieces in the form of `tokenizer.json`.

use serde_json::{Value, json};

use super::super::merges::WORDS;
use super::super::tokens::{Cut, Tokens};
use super::bytes::to_char;

impl Tokens {
    /// These pieces as a `tokenizer.json`, which gives the same codes to other programs.
    ///
    /// ```
    /// use kiln_data::{Cut, Tokenizer, Tokens};
    ///
    /// let text = "the cat sat on the mat";
    /// let tokens = Tokens::fit(text, Cut::Merged, 260)?;
    /// let tokenizer = Tokenizer::from_json(tokens.to_tokenizer_json().as_bytes())?;
    /// assert_eq!(tokenizer.encode(text)?.codes, tokens.encode(text));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn to_tokenizer_json(&self) -> String {
        let split = |pattern: &str, behavior: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert});
        let (pre_tokenizer, decoder, model) = match self.cut() {
            Cut::Bytes | Cut::Merged => {
                let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
                let cuts =
                    json!({"type": "Sequence", "pretokenizers": [split(WORDS, "Isolated", false), bytes]});
                (cuts, bytes, self.merges_json())
            }
            Cut::Characters => {
                (split(r"[\s\S]", "Isolated", false), json!({"type": "Fuse"}), self.pieces_json())
            }
            Cut::Words => {
                let words = r"[\p{Alphabetic}\p{N}_']+|[^\s\p{Alphabetic}\p{N}_']";
                (split(words, "Removed", true), Value::Null, self.pieces_json())
            }
        };
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": decoder,
            "model": model,
        })
        .to_string()
    }

    fn merges_json(&self) -> Value {
        let merges = self.merges();
        let piece = |code: u32| -> String {
            merges.bytes()[code as usize].iter().map(|byte| to_char(*byte)).collect()
        };
        let codes = 0..merges.count() as u32;
        // Of two pieces with the same bytes, which files of early versions have, the first one is written.
        let vocabulary: serde_json::Map<String, Value> =
            codes.rev().map(|code| (piece(code), code.into())).collect();
        let pairs: Vec<[String; 2]> =
            merges.pairs().iter().map(|pair| [piece(pair.0), piece(pair.1)]).collect();
        json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": pairs,
        })
    }

    fn pieces_json(&self) -> Value {
        let vocabulary: serde_json::Map<String, Value> = self
            .pieces()
            .iter()
            .enumerate()
            .rev()
            .map(|(code, piece)| (piece.clone(), code.into()))
            .collect();
        json!({"type": "WordLevel", "vocab": vocabulary, "unk_token": self.pieces().first()})
    }
}
