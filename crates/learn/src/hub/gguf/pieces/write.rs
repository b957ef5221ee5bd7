//! Pieces in the names of a GGUF file. What is written is read as any file is, and holds if the same pieces come out: then other programs
//! know them too. Else they stand in the file as they are.

use std::collections::{BTreeMap, HashMap};

use kiln_data::Tokenizer;
use serde_json::{Value, json};

use super::{
    AS_JSON, BYTE, CONTROL, GgufValue, OF_USER, PRE_TOKENIZERS, PieceMetadata, UNKNOWN, UNUSED, USUAL,
    described,
};

/// How a file has its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PiecesForm {
    /// In the format's own names, which every program that reads such files knows.
    Named,
    /// As the JSON of `tokenizer.json`, since the format has no names for their kind.
    Json,
    /// Not at all: the model has none.
    None,
}

/// What a file says of a tokenizer of a model with so many codes.
pub(in crate::hub::gguf) fn written(
    tokenizer: Option<&Tokenizer>,
    codes: usize,
) -> (Vec<(String, GgufValue)>, PiecesForm) {
    let none = ("tokenizer.ggml.model".to_string(), GgufValue::Text("none".to_string()));
    let Some(tokenizer) = tokenizer else { return (vec![none], PiecesForm::None) };
    match named(tokenizer, codes) {
        Some(metadata) => (metadata, PiecesForm::Named),
        None => {
            let json = (AS_JSON.to_string(), GgufValue::Text(tokenizer.to_json().to_string()));
            (vec![none, json], PiecesForm::Json)
        }
    }
}

/// In the format's own names, if it has them.
fn named(tokenizer: &Tokenizer, codes: usize) -> Option<Vec<(String, GgufValue)>> {
    let json: Value = serde_json::from_str(tokenizer.to_json()).ok()?;
    let own = PiecesMeaning::of(&json)?;
    if tokenizer.count() > codes {
        return None;
    }
    let common = common(tokenizer, &own, codes);
    let merges = || own.merges.iter().map(|pair| pair.join(" ")).collect();
    let of_bytes = PRE_TOKENIZERS.iter().map(|pre| {
        vec![
            ("model", GgufValue::Text("gpt2".to_string())),
            ("pre", GgufValue::Text((*pre).to_string())),
            ("merges", GgufValue::Texts(merges())),
        ]
    });
    let of_scores = [true, false].into_iter().map(|prefix| {
        vec![
            ("model", GgufValue::Text("llama".to_string())),
            ("pre", GgufValue::Text("default".to_string())),
            ("scores", GgufValue::Numbers(scores(tokenizer, &own, codes))),
            ("add_space_prefix", GgufValue::Flag(prefix)),
        ]
    });
    let ways: Vec<_> = if own.byte_fallback { of_scores.collect() } else { of_bytes.collect() };
    ways.into_iter().find_map(|way| {
        let named = way.into_iter().map(|(name, value)| (format!("tokenizer.ggml.{name}"), value));
        let metadata: Vec<(String, GgufValue)> = named.chain(common.iter().cloned()).collect();
        let read = described(PieceMetadata(&metadata))?.ok()?;
        let mut read = PiecesMeaning::of(&read)?;
        // What fills up codes that stand for nothing.
        read.codes.retain(|token, code| tokenizer.token(*code as u32) == Some(token));
        (read == own).then_some(metadata)
    })
}

/// What is said of pieces of every kind: what each is, and what is put around texts.
fn common(tokenizer: &Tokenizer, own: &PiecesMeaning, codes: usize) -> Vec<(String, GgufValue)> {
    let token = |code: usize| tokenizer.token(code as u32);
    let tokens = (0..codes).map(|code| token(code).map_or_else(|| format!("[PAD{code}]"), str::to_string));
    let kind = |code: usize| {
        let added = own.added.iter().find(|added| added.0 == code as u64);
        match (token(code), added) {
            (None, _) => UNUSED,
            (Some(token), Some(_)) if Some(token) == own.unknown.as_deref() => UNKNOWN,
            (_, Some(added)) if added.2 => CONTROL,
            (_, Some(_)) => OF_USER,
            (Some(token), None) if own.byte_fallback && is_byte(token) => BYTE,
            (Some(_), None) => USUAL,
        }
    };
    let mut said = vec![
        ("tokens", GgufValue::Texts(tokens.collect())),
        ("token_type", GgufValue::Wholes((0..codes).map(kind).collect())),
    ];
    let code =
        |token: &Option<String>| tokenizer.code(token.as_deref()?).map(|code| GgufValue::Whole(code.into()));
    for (name, token) in [
        ("bos_token_id", &own.around[0]),
        ("eos_token_id", &own.around[1]),
        ("unknown_token_id", &own.unknown),
    ] {
        said.extend(code(token).map(|code| (name, code)));
    }
    said.push(("add_bos_token", GgufValue::Flag(own.around[0].is_some())));
    said.push(("add_eos_token", GgufValue::Flag(own.around[1].is_some())));
    said.into_iter().map(|(name, value)| (format!("tokenizer.ggml.{name}"), value)).collect()
}

fn is_byte(token: &str) -> bool {
    token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
}

/// A score for each token, higher for those that are made of two earlier.
fn scores(tokenizer: &Tokenizer, own: &PiecesMeaning, codes: usize) -> Vec<f64> {
    let mut first: HashMap<String, usize> = HashMap::new();
    for (rank, pair) in own.merges.iter().enumerate() {
        let ranks = first.len();
        let made = first.entry(pair.concat()).or_insert(ranks);
        debug_assert!(*made <= rank);
    }
    let score = |code: usize| {
        let rank = tokenizer.token(code as u32).and_then(|token| first.get(token));
        -(rank.copied().unwrap_or(first.len()) as f64)
    };
    (0..codes).map(score).collect()
}

/// What a `tokenizer.json` means, whichever way it is said.
#[derive(PartialEq)]
struct PiecesMeaning {
    normalizer: Value,
    words: Value,
    /// The tokens that are put in front of a text and behind it.
    around: [Option<String>; 2],
    decoder: Value,
    codes: BTreeMap<String, u64>,
    merges: Vec<[String; 2]>,
    unknown: Option<String>,
    byte_fallback: bool,
    /// Unknown characters beside each other are one token; a word that is a piece is taken as one.
    rules: [bool; 2],
    /// Code, text and whether it isn't said, of tokens that are found in texts as they are.
    added: Vec<(u64, String, bool)>,
}

impl PiecesMeaning {
    /// Of a file whose model is BPE without what GGUF has no names for.
    fn of(json: &Value) -> Option<PiecesMeaning> {
        let model = &json["model"];
        let is_empty =
            |name: &str| matches!(&model[name], Value::Null) || model[name] == "" || model[name] == 0.0;
        let is_plain =
            ["dropout", "continuing_subword_prefix", "end_of_word_suffix"].into_iter().all(is_empty);
        if model["type"].as_str().is_some_and(|kind| kind != "BPE") || !is_plain {
            return None;
        }
        let flag = |name: &str| model[name].as_bool().unwrap_or(false);
        let unknown = model["unk_token"].as_str().filter(|token| !token.is_empty()).map(str::to_string);
        let codes =
            model["vocab"].as_object()?.iter().map(|(token, code)| Some((token.clone(), code.as_u64()?)));
        let normalizer = json["normalizer"].clone();
        let added = json["added_tokens"].as_array().map_or(&[] as &[Value], Vec::as_slice).iter();
        let added = added.map(|token| added_token(token, normalizer.is_null()));
        let mut added = added.collect::<Option<Vec<(u64, String, bool)>>>()?;
        added.sort_unstable();
        let all = codes.chain(added.iter().map(|(code, token, _)| Some((token.clone(), *code))));
        Some(PiecesMeaning {
            words: words(&json["pre_tokenizer"], &normalizer),
            around: around(&json["post_processor"])?,
            decoder: plain(&json["decoder"]),
            codes: all.collect::<Option<_>>()?,
            merges: model["merges"].as_array()?.iter().map(pair).collect::<Option<_>>()?,
            byte_fallback: flag("byte_fallback"),
            rules: [flag("fuse_unk") && unknown.is_some(), flag("ignore_merges")],
            added,
            unknown,
            normalizer,
        })
    }
}

/// Two pieces that merge: as a list, or as a text with a space between.
fn pair(merge: &Value) -> Option<[String; 2]> {
    match merge {
        Value::String(text) => {
            text.split_once(' ').map(|(first, second)| [first.to_string(), second.to_string()])
        }
        Value::Array(two) => match two.as_slice() {
            [Value::String(first), Value::String(second)] => Some([first.clone(), second.clone()]),
            _ => None,
        },
        _ => None,
    }
}

/// A token without what concerns the characters around it, which GGUF has no names for.
fn added_token(token: &Value, is_same: bool) -> Option<(u64, String, bool)> {
    let flag = |name: &str| token[name].as_bool().unwrap_or(false);
    let around = ["single_word", "lstrip", "rstrip"].into_iter().any(flag);
    let normalized = flag("normalized") && !is_same;
    let told = (token["id"].as_u64()?, token["content"].as_str()?.to_string(), flag("special"));
    (!around && !normalized).then_some(told)
}

/// A part with what it leaves out said, and without what changes no code.
fn plain(part: &Value) -> Value {
    match part {
        Value::Array(parts) => parts.iter().map(plain).collect(),
        Value::Object(own) => {
            let mut own: serde_json::Map<String, Value> =
                own.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
            if own.get("type").is_some_and(|kind| kind == "ByteLevel") {
                own.remove("trim_offsets");
                own.entry("use_regex").or_insert(true.into());
                own.entry("add_prefix_space").or_insert(true.into());
            }
            Value::Object(own)
        }
        other => other.clone(),
    }
}

/// How texts are cut in words. Where no space is left of them, cutting at spaces does nothing.
fn words(part: &Value, normalizer: &Value) -> Value {
    let at_spaces = part["type"] == "Split" && part["pattern"] == json!({ "String": " " });
    let without_spaces = normalizer["type"] == "Replace" && normalizer["pattern"] == json!({ "String": " " });
    if at_spaces && without_spaces { Value::Null } else { plain(part) }
}

/// The tokens that a file puts in front of a text and behind it, if it puts nothing else there.
fn around(part: &Value) -> Option<[Option<String>; 2]> {
    match part["type"].as_str() {
        None => part.is_null().then_some([None, None]),
        Some("ByteLevel") => Some([None, None]),
        Some("Sequence") => {
            let mut all = part["processors"].as_array()?.iter().map(around);
            all.try_fold([None, None], |found, each| match (found, each?) {
                (found, [None, None]) => Some(found),
                ([None, None], each) => Some(each),
                _ => None,
            })
        }
        Some("TemplateProcessing") => {
            let token = |piece: &Value| piece["SpecialToken"]["id"].as_str().map(str::to_string);
            let is_text = |piece: &Value| piece["Sequence"]["id"] == "A";
            match part["single"].as_array()?.as_slice() {
                [text] if is_text(text) => Some([None, None]),
                [begin, text] if is_text(text) => Some([Some(token(begin)?), None]),
                [text, end] if is_text(text) => Some([None, Some(token(end)?)]),
                [begin, text, end] if is_text(text) => Some([Some(token(begin)?), Some(token(end)?)]),
                _ => None,
            }
        }
        Some(_) => None,
    }
}
