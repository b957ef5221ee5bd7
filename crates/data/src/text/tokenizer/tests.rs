//! Against the library that writes such files where `scripts/tokenizers.sh` made them; a few worked out by hand everywhere.

use std::path::PathBuf;

use super::*;

fn tokenizer(json: &str) -> Tokenizer {
    Tokenizer::from_json(json.as_bytes()).unwrap()
}

/// What the library made of a text.
#[derive(Deserialize)]
struct Case {
    text: String,
    second: String,
    one: [Vec<u32>; 3],
    pair: [Vec<u32>; 3],
    plain: [Vec<u32>; 3],
    decoded: [String; 2],
}

/// Run by `scripts/tokenizers.sh`.
#[test]
#[ignore = "compares with another library's files: scripts/tokenizers.sh makes them and runs this, in the gate"]
fn odd_texts_get_the_codes_that_the_library_gives_them() {
    let folder =
        PathBuf::from(std::env::var_os("KILN_TOKENIZERS").expect("KILN_TOKENIZERS names the folder"));
    let (mut checked, mut faults) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cases") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let tokenizer = Tokenizer::read(path.with_extension("json")).unwrap();
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut wrong = 0;
        for case in &cases {
            let Case { text, second, one, pair, plain, decoded } = case;
            let ours =
                [tokenizer.encode(text), tokenizer.encode_pair(text, second), tokenizer.encode_plain(text)];
            for (ours, theirs) in ours.into_iter().zip([one, pair, plain]) {
                let EncodedText { codes, types, mask } = ours.unwrap();
                if [&codes, &types, &mask] != [&theirs[0], &theirs[1], &theirs[2]] {
                    wrong += 1;
                    if wrong <= 3 {
                        let tokens = |codes: &[u32]| {
                            codes
                                .iter()
                                .map(|code| tokenizer.token(*code).unwrap_or("?").to_string())
                                .collect::<Vec<_>>()
                        };
                        faults.push(format!(
                            "{name}: {text:?} | {second:?}\n  {:?}\n  {:?}",
                            tokens(&codes),
                            tokens(&theirs[0])
                        ));
                    }
                }
            }
            for (skip, theirs) in [true, false].into_iter().zip(decoded) {
                let ours = tokenizer.decode(&pair[0], skip).unwrap();
                if ours != *theirs {
                    wrong += 1;
                    if wrong <= 3 {
                        faults.push(format!("{name}: decoded\n  {ours:?}\n  {theirs:?}"));
                    }
                }
            }
        }
        checked += cases.len();
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked >= 100, "only {checked} texts");
}

#[test]
fn bytes_of_words_are_merged_as_the_file_says() {
    let json = r#"{
        "added_tokens": [{"id": 9, "content": "<end>", "special": true, "normalized": false}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<end>", "type_id": 0}}],
            "pair": [], "special_tokens": {"<end>": {"id": "<end>", "ids": [9], "tokens": ["<end>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "Ã": 5, "©": 6, "c": 7, "d": 8}, "merges": ["a b", ["Ġ", "ab"]]}
    }"#;
    assert!(Tokenizer::from_json(json.as_bytes()).is_err(), "merges of two forms");
    let tokenizer = tokenizer(&json.replace(r#"["Ġ", "ab"]"#, r#""Ġ ab""#));
    let encoded = tokenizer.encode("ab abé<end>b").unwrap();
    assert_eq!(encoded.codes, [3, 4, 5, 6, 9, 1, 9]);
    assert_eq!(tokenizer.decode(&encoded.codes, false).unwrap(), "ab abé<end>b<end>");
    assert_eq!(tokenizer.decode(&encoded.codes, true).unwrap(), "ab abéb");
    assert_eq!((tokenizer.count(), tokenizer.code("<end>"), tokenizer.token(4)), (10, Some(9), Some("Ġab")));
}

#[test]
fn a_batch_is_filled_up_to_its_longest() {
    let tokenizer = tokenizer(
        r#"{"model": {"vocab": {"?": 0, "a": 1, "b": 2}, "unk_token": "?"}, "pre_tokenizer": {"type": "WhitespaceSplit"},
            "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 7, "pad_type_id": 0, "pad_token": "p"},
            "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0}}"#,
    );
    let batch = tokenizer.encode_batch(&["a b a b", "x"]).unwrap();
    assert_eq!(batch[0].codes, [1, 2, 1]);
    assert_eq!((&batch[1].codes[..], &batch[1].mask[..]), (&[0, 7, 7][..], &[1, 0, 0][..]));
    assert_eq!(tokenizer.encode("x").unwrap().codes, [0]);
}

/// Each message names the part of the file.
#[test]
fn what_is_not_understood_is_named() {
    let model = r#""model": {"vocab": {"a": 0}, "unk_token": "a"}"#;
    for (json, part, said) in [
        ("[]".to_string(), "tokenizer.json", ""),
        ("{".to_string(), "tokenizer.json", "EOF"),
        ("{}".to_string(), "tokenizer.json", "model"),
        (r#"{"model": {"type": "Magic"}}"#.to_string(), "model", "Magic"),
        (format!(r#"{{{model}, "version": "2.0"}}"#), "version", "1.0"),
        (format!(r#"{{{model}, "normalizer": {{"type": "Up"}}}}"#), "normalizer", "Up"),
        (
            format!(
                r#"{{{model}, "pre_tokenizer": {{"type": "Split", "pattern": {{"Regex": "("}}, "behavior": "Removed", "invert": false}}}}"#
            ),
            "pre_tokenizer",
            "(",
        ),
        (format!(r#"{{{model}, "decoder": {{"type": "Strip"}}}}"#), "decoder", "content"),
        (
            format!(
                r#"{{{model}, "post_processor": {{"type": "TemplateProcessing", "single": [{{"SpecialToken": {{"id": "x", "type_id": 0}}}}], "pair": [], "special_tokens": {{}}}}}}"#
            ),
            "post_processor",
            "\"x\"",
        ),
        (r#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#.to_string(), "model", "\"b\""),
        (r#"{"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 3}}"#.to_string(), "model", "3"),
    ] {
        let error = Tokenizer::from_json(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(said), "{json}: {error}");
    }
}

/// What is cut by hand-written rules and what is cut by the expressions in the file are the same.
#[test]
fn own_pieces_give_the_same_codes_when_they_are_read_back() {
    use crate::rng::Rng;
    use crate::text::{Cut, Tokens};

    let text =
        "It's  3 o'clock,\n\n   naïve 日本語! \u{a0}Ⅷ1Ⅷ ½ \r\n\tthe cat, the mat  \n the hat ".repeat(3);
    let characters: Vec<char> = text.chars().chain("?€\u{301}\u{3000}zq".chars()).collect();
    let mut rng = Rng::new(3);
    for cut in [Cut::Characters, Cut::Bytes, Cut::Words, Cut::Merged] {
        let tokens = Tokens::fit(&text, cut, 300).unwrap();
        let tokenizer = tokenizer(&tokens.to_tokenizer_json());
        assert_eq!(tokenizer.count(), tokens.count());
        for _ in 0..1000 {
            let text: String = (0..rng.below(30)).map(|_| characters[rng.below(characters.len())]).collect();
            let codes = tokenizer.encode(&text).unwrap().codes;
            assert_eq!(codes, tokens.encode(&text), "{cut:?} of {text:?}");
            if cut != Cut::Words {
                assert_eq!(tokenizer.decode(&codes, true).unwrap(), tokens.decode(&codes));
            }
        }
    }
}
