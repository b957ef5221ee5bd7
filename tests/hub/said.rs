//! What encoders say of masked pieces and of the tags of words: what another library's pipelines say (`encoders/said.py`), and by the command.

use std::path::PathBuf;

use kiln::hub::{EncoderModel, PieceAggregation};
use serde_json::Value;

use super::program;

fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hub/encoders").join(name)
}

fn said() -> Value {
    serde_json::from_slice(&std::fs::read(here("said.json")).unwrap()).unwrap()
}

fn near(found: f32, wanted: &Value) -> bool {
    (f64::from(found) - wanted.as_f64().unwrap()).abs() < 1e-5
}

#[test]
fn masked_pieces_are_found_as_another_library_finds_them() {
    for (name, cases) in said()["masked"].as_object().unwrap() {
        let model = EncoderModel::open(here(name)).unwrap();
        assert_eq!(model.mask(), Some(if name.starts_with("roberta") { "<mask>" } else { "[MASK]" }));
        let texts = cases.as_array().unwrap().iter().map(|case| case[0].as_str().unwrap());
        let together = model.fill(texts, 4).unwrap();
        for (case, found) in cases.as_array().unwrap().iter().zip(&together) {
            let text = case[0].as_str().unwrap();
            assert_eq!(&model.fill([text], 4).unwrap()[0], found, "{name}: {text}");
            let wanted = case[1].as_array().unwrap();
            assert_eq!(found.len(), wanted.len(), "{name}: {text}");
            for (found, wanted) in found.iter().zip(wanted) {
                for (found, wanted) in found.iter().zip(wanted.as_array().unwrap()) {
                    assert_eq!(found.piece, wanted[0].as_str().unwrap().trim(), "{name}: {text}");
                    assert!(near(found.probability, &wanted[1]), "{name}: {found:?} {wanted}");
                }
            }
        }
        let why = model.fill(["a fine film"], 4).unwrap_err().to_string();
        assert!(why.contains("has no ") && why.contains("mask") | why.contains("MASK"), "{why}");
        let why = model.predict(["a fine film"]).unwrap_err().to_string();
        assert!(why.contains("no classes of texts") && why.contains("EncoderModel::fill"), "{why}");
    }
    assert!(EncoderModel::open(here("bert")).unwrap().fill(["a [MASK]"], 1).is_err());
}

#[test]
fn words_are_tagged_by_their_pieces_as_another_library_tags_them() {
    let rules = [
        ("first", PieceAggregation::First),
        ("mean", PieceAggregation::Mean),
        ("max", PieceAggregation::Max),
    ];
    for (name, cases) in said()["tags"].as_object().unwrap() {
        let model = EncoderModel::open(here(name)).unwrap();
        for (rule, by) in rules {
            let texts: Vec<&str> =
                cases.as_array().unwrap().iter().map(|case| case[0].as_str().unwrap()).collect();
            let together = model.predict_tags(texts.iter().copied(), by).unwrap();
            for ((case, text), found) in cases.as_array().unwrap().iter().zip(&texts).zip(&together) {
                assert_eq!(&model.predict_tags([*text], by).unwrap()[0], found, "{text}: {rule}");
                let words: Vec<&str> = found.iter().map(|word| word.word.as_str()).collect();
                assert_eq!(
                    &model.predict_tags_of_words(std::slice::from_ref(&words), by).unwrap()[0],
                    found,
                    "{text}: {rule}"
                );
                let wanted = case[1][rule].as_array().unwrap();
                assert_eq!(words, wanted.iter().map(|word| word[0].as_str().unwrap()).collect::<Vec<_>>());
                for (found, wanted) in found.iter().zip(wanted) {
                    assert_eq!(found.tag, wanted[1].as_str().unwrap(), "{text}: {rule} {}", found.word);
                    assert!(near(found.probability, &wanted[2]), "{text}: {rule} {found:?} {wanted}");
                }
            }
        }
        // Longer than the model sees: each part as it is by itself.
        let long = "the movie was fine and short ".repeat(20);
        let tagged = &model.predict_tags([long.as_str()], PieceAggregation::First).unwrap()[0];
        assert_eq!(tagged.len(), 120, "{name}");
        let part = "the movie was fine and short ".repeat(5);
        let first = &model.predict_tags([part.as_str()], PieceAggregation::First).unwrap()[0];
        assert_eq!(first[..], tagged[..30], "{name}");
        assert_eq!(first[..], tagged[90..], "{name}");
        assert!(model.predict_tags([""], PieceAggregation::First).unwrap()[0].is_empty());
        let why = model.fill(["a [MASK]"], 1).unwrap_err().to_string();
        assert!(why.contains("says nothing of masked pieces"), "{why}");
    }
}

#[test]
fn the_command_says_masked_pieces_and_tags() {
    let folder = program("hub-said");
    let path = |name: &str| here(name).to_string_lossy().into_owned();
    let (masked, tags, classes) = (path("bert-masked"), path("bert-tokens"), path("bert-classes"));
    let out = folder.out(&["predict", &masked, "a [MASK] film"]);
    assert!(
        out.starts_with("a [MASK] film  end 8.98 %  [CLS] 6.28 %") && out.matches(" %").count() == 5,
        "{out}"
    );
    let out = folder.out(&["predict", &masked, "--text", "a [MASK] film [MASK]", "--top", "2"]);
    assert!(out.lines().count() == 3 && out.contains("\n  [MASK] 2  "), "{out}");
    let out = folder.out(&["predict", &masked, "a [MASK] film", "--top", "1", "--json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&out["text"], &out["masked"][0][0]["piece"]), (&"a [MASK] film".into(), &"end".into()));
    folder.write("lines.txt", "a [MASK] film\n\nthe [MASK] was bad\n");
    assert_eq!(folder.out(&["predict", &masked, "lines.txt"]).lines().count(), 2);
    assert!(folder.out(&["predict", &masked, "lines.txt", "--embed"]).starts_with("text,e0,"));

    let by_text = folder.out(&["predict", &tags, "it is movies"]);
    assert_eq!(by_text, "it\tgood\nis\tso, so\nmovies\tso, so\n");
    folder.write("sentences.txt", "it is movies\na fine film\n");
    folder.write("words.conll", "it\nis\nmovies\n\na\nfine\nfilm\n");
    let lines = folder.out(&["predict", &tags, "sentences.txt"]);
    assert_eq!(lines, folder.out(&["predict", &tags, "words.conll"]));
    assert_eq!(lines, folder.out(&["predict", &tags, "it is movies", "a fine film"]));
    assert!(lines.starts_with(&by_text) && lines.lines().count() == 7, "{lines}");
    let out = folder.out(&["predict", &tags, "--text", "the times", "--aggregate", "mean", "--json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&out["words"][1], out["tags"].as_array().unwrap().len()), (&"times".into(), 2));

    for (arguments, part) in [
        (["predict", &masked, "a film", "--json"], "has no [MASK]"),
        (["predict", &classes, "a film", "--aggregate=max"], "--aggregate is for"),
        (["predict", &tags, "a film", "--aggregate=last"], "first, mean or max"),
        (["predict", &tags, "a film", "--pair=b"], "--pair is for"),
    ] {
        let (_, said) = folder.error(&arguments);
        assert!(said.contains(part), "{said}");
    }
}
