//! The pieces of a GGUF file as a `tokenizer.json` says them: byte-level BPE with its merges, or SentencePiece's with its scores. Others
//! stand in the file as that JSON itself.

mod write;

use std::collections::HashMap;

use kiln_data::Tokenizer;
use kiln_map::Budget;
use serde_json::{Map, Value, json};

use super::file::{GgufFile, GgufValue};
pub use write::PiecesForm;
pub(super) use write::written;

/// The name under which a file has its pieces as `tokenizer.json` has them.
const AS_JSON: &str = "tokenizer.huggingface.json";

/// What a token is, as files number it.
const USUAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const OF_USER: i64 = 4;
const UNUSED: i64 = 5;
const BYTE: i64 = 6;

/// How texts are cut in words before they are merged: the patterns of the models that files name.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a file says by name.
#[derive(Clone, Copy)]
struct PieceMetadata<'f>(&'f [(String, GgufValue)]);

impl<'f> PieceMetadata<'f> {
    fn value(self, name: &str) -> Option<&'f GgufValue> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

/// The pieces that a file holds, or why they aren't understood; nothing where it holds none.
pub(super) fn tokenizer(file: &GgufFile) -> Option<Result<Tokenizer, String>> {
    let metadata = PieceMetadata(file.metadata());
    let described = described(metadata).map(|described| described.map(|described| described.to_string()));
    let json = match (described, metadata.value(AS_JSON)) {
        (None, Some(GgufValue::Text(json))) => Some(Ok(json.clone())),
        (described, _) => described,
    };
    json.map(|json| {
        let json = json?;
        let weighed = Budget::default().bytes(10 * json.len() as u64);
        weighed.map_err(|exceeded| exceeded.to_string())?;
        Tokenizer::from_json(json.as_bytes()).map_err(|error| error.to_string())
    })
}

/// What `tokenizer.json` would hold, as far as the file says it in names of its own.
fn described(file: PieceMetadata) -> Option<Result<Value, String>> {
    let kind = match file.value("tokenizer.ggml.model")? {
        GgufValue::Text(kind) => kind.as_str(),
        _ => "",
    };
    if kind == "none" {
        return None;
    }
    let Some(GgufValue::Texts(tokens)) = file.value("tokenizer.ggml.tokens") else {
        return Some(Err("there is no list tokenizer.ggml.tokens".to_string()));
    };
    Some(match kind {
        "gpt2" => merged_bytes(file, tokens),
        "llama" => scored(file, tokens),
        _ => Err(format!("tokenizer.ggml.model is \"{kind}\"; kiln reads gpt2 and llama")),
    })
}

/// The codes of all tokens.
fn vocabulary(tokens: &[String]) -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    for (code, token) in tokens.iter().enumerate() {
        if all.insert(token.clone(), code.into()).is_some() {
            return Err(format!("the token {token:?} is there twice"));
        }
    }
    Ok(all)
}

/// Tokens that are found in texts as they are, and those among them that aren't said.
fn added(file: PieceMetadata, tokens: &[String]) -> Vec<Value> {
    let Some(GgufValue::Wholes(kinds)) = file.value("tokenizer.ggml.token_type") else { return Vec::new() };
    let entry = |(code, (token, &kind)): (usize, (&String, &i64))| {
        let special = kind == CONTROL || kind == UNKNOWN;
        (special || kind == OF_USER).then(|| {
            json!({ "id": code, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special })
        })
    };
    tokens.iter().zip(kinds).enumerate().filter_map(entry).collect()
}

fn code(file: PieceMetadata, name: &str) -> Option<usize> {
    match file.value(&format!("tokenizer.ggml.{name}")) {
        Some(&GgufValue::Whole(code)) => usize::try_from(code).ok(),
        _ => None,
    }
}

/// Whether a token is put at the begin or the end.
fn adds(file: PieceMetadata, name: &str, otherwise: bool) -> bool {
    match file.value(&format!("tokenizer.ggml.{name}")) {
        Some(&GgufValue::Flag(adds)) => adds,
        _ => otherwise,
    }
}

/// What is put around a text.
fn template(file: PieceMetadata, tokens: &[String], begins: bool) -> Value {
    let token = |name: &str| code(file, name).and_then(|code| Some((code, tokens.get(code)?)));
    let begin = token("bos_token_id").filter(|_| adds(file, "add_bos_token", begins));
    let end = token("eos_token_id").filter(|_| adds(file, "add_eos_token", false));
    if begin.is_none() && end.is_none() {
        return Value::Null;
    }
    let special = |token: Option<(usize, &String)>, kind: usize| {
        token.map(|(_, token)| json!({ "SpecialToken": { "id": token, "type_id": kind } }))
    };
    let around = |name: &str, kind: usize| -> Vec<Value> {
        let text = json!({ "Sequence": { "id": name, "type_id": kind } });
        special(begin, kind).into_iter().chain([text]).chain(special(end, kind)).collect()
    };
    let named = |(code, token): (usize, &String)| {
        (token.clone(), json!({ "id": token, "ids": [code], "tokens": [token] }))
    };
    let names: Map<String, Value> = begin.into_iter().chain(end).map(named).collect();
    let pair = [around("A", 0), around("B", 1)].concat();
    json!({ "type": "TemplateProcessing", "single": around("A", 0), "pair": pair, "special_tokens": names })
}

/// The ways to cut texts in words that files name.
const PRE_TOKENIZERS: [&str; 4] = ["gpt-2", "llama-bpe", "qwen2", "smollm"];

/// Words written as bytes.
fn byte_level(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

/// How texts are cut in words by this name, whether a word that is a piece is taken as one, and what is done to texts before.
fn words(pre: &str) -> Option<(Value, bool, Value)> {
    let cut = |pattern: &str| {
        let split = json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
        json!({ "type": "Sequence", "pretokenizers": [split, byte_level(false)] })
    };
    Some(match pre {
        "gpt-2" => (byte_level(true), false, Value::Null),
        "llama-bpe" | "llama3" | "llama-v3" => (cut(LLAMA3), true, Value::Null),
        "qwen2" | "deepseek-r1-qwen" => (cut(QWEN2), false, json!({ "type": "NFC" })),
        "smollm" => {
            let digits = json!({ "type": "Digits", "individual_digits": true });
            (json!({ "type": "Sequence", "pretokenizers": [digits, byte_level(true)] }), false, Value::Null)
        }
        _ => return None,
    })
}

/// Byte-level BPE: merges in their order, words cut as the model's name says.
fn merged_bytes(file: PieceMetadata, tokens: &[String]) -> Result<Value, String> {
    let Some(GgufValue::Texts(merges)) = file.value("tokenizer.ggml.merges") else {
        return Err("there is no list tokenizer.ggml.merges".to_string());
    };
    let is_gpt2 = matches!(file.value("general.architecture"), Some(GgufValue::Text(kind)) if kind == "gpt2");
    let pre = match file.value("tokenizer.ggml.pre") {
        Some(GgufValue::Text(pre)) if !(pre == "default" && is_gpt2) => pre.as_str(),
        _ if is_gpt2 => "gpt-2",
        _ => return Err("it doesn't say tokenizer.ggml.pre, how texts are cut in words".to_string()),
    };
    let (words, whole, normalizer) = words(pre).ok_or_else(|| {
        let known = PRE_TOKENIZERS.join(", ");
        format!("texts are cut in words as \"{pre}\" does (tokenizer.ggml.pre); kiln knows {known}")
    })?;
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(file, tokens),
        "normalizer": normalizer,
        "pre_tokenizer": words,
        "post_processor": template(file, tokens, whole),
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole,
            "vocab": vocabulary(tokens)?, "merges": merges,
        },
    }))
}

/// SentencePiece's BPE: two pieces merge where they make one, the one with the highest score first.
fn scored(file: PieceMetadata, tokens: &[String]) -> Result<Value, String> {
    let scores = match file.value("tokenizer.ggml.scores") {
        Some(GgufValue::Numbers(scores)) if scores.len() == tokens.len() => scores,
        _ => return Err("there is no list tokenizer.ggml.scores with a number for each token".to_string()),
    };
    let vocab = vocabulary(tokens)?;
    let unknown = code(file, "unknown_token_id").unwrap_or(0);
    let prefix = adds(file, "add_space_prefix", true);
    let space = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let normalizer = match prefix {
        true => json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, space] }),
        false => space,
    };
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(file, tokens),
        "normalizer": normalizer,
        "pre_tokenizer": null,
        "post_processor": template(file, tokens, true),
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": tokens.get(unknown), "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": merges(tokens, scores)?,
        },
    }))
}

/// All pairs of pieces that make a piece, in the order in which they are merged.
fn merges(tokens: &[String], scores: &[f64]) -> Result<Vec<Value>, String> {
    let codes: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(code, token)| (token.as_str(), code)).collect();
    let budget = Budget::default();
    // The code of what is made, and of both that make it.
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (made, token) in tokens.iter().enumerate() {
        budget.steps(token.len() as u64 * token.len() as u64).map_err(|exceeded| exceeded.to_string())?;
        let cuts = token.char_indices().skip(1).filter_map(|(at, _)| {
            let (first, second) = token.split_at(at);
            Some((made, *codes.get(first)?, *codes.get(second)?))
        });
        let mut own: Vec<_> = cuts.collect();
        own.sort_by_key(|&(_, first, second)| (first, second));
        // Each stands there as two texts, and once more as JSON.
        let bytes = own.len() as u64 * (2 * token.len() as u64 + MERGE);
        budget.bytes(bytes).map_err(|exceeded| exceeded.to_string())?;
        pairs.extend(own);
    }
    pairs.sort_by(|a, b| scores[b.0].total_cmp(&scores[a.0]));
    Ok(pairs.into_iter().map(|(_, first, second)| json!([tokens[first], tokens[second]])).collect())
}

/// Bytes that a merge takes beside its texts.
const MERGE: u64 = 200;
