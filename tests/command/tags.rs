//! Sentences whose words have tags, through the command: names of entities, parts of speech.

use std::fs::File;

use kiln::data::Rng;
use kiln_testkit::Program;
use kiln_testkit::folder::texts;
use serde_json::Value;

/// Sentences made of a few patterns: names of people of two words, of places of one, and what else there is.
pub fn sentences(count: usize, seed: u64) -> String {
    const FIRST: [&str; 4] = ["Ada", "Alan", "Grace", "Kurt"];
    const LAST: [&str; 4] = ["Lovelace", "Turing", "Hopper", "Gödel"];
    const PLACES: [&str; 5] = ["London", "Paris", "Wien", "Oslo", "Rom"];
    let mut rng = Rng::new(seed);
    let mut text = "-DOCSTART- O\n\n".to_string();
    for _ in 0..count {
        let person = format!("{} B-PER\n{} I-PER\n", FIRST[rng.below(4)], LAST[rng.below(4)]);
        let place = format!("{} B-LOC\n", PLACES[rng.below(5)]);
        let far = "very O\n".repeat(rng.below(9));
        text += &match rng.below(3) {
            0 => format!("{person}lives O\nin O\n{place}. O\n\n"),
            1 => format!("in O\n{place}it O\nis O\n{far}cold O\n\n"),
            _ => format!("yesterday O\n{person}left O\n{place}\n"),
        };
    }
    text
}

#[test]
fn words_get_tags_from_data_to_predictions() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "tags");
    program.write("news.conll", sentences(240, 1));
    program.write("test.conll", sentences(60, 2));
    let output = program.run(&[
        "train",
        "news.conll",
        "--epochs",
        "6",
        "--seed",
        "3",
        "--out",
        "run",
        "--threads",
        "1",
    ]);
    let (learned, said) = texts(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("240 sentences") && said.contains("B-LOC, B-PER, I-PER, O"), "{said}");
    assert!(learned.contains("entity f1"), "{learned}");
    let measured = program.out(&["eval", "run/model.kiln", "test.conll"]);
    assert!(
        measured.contains("precision") && measured.contains("LOC") && measured.contains("PER"),
        "{measured}"
    );
    let numbers: Value =
        serde_json::from_str(&program.out(&["eval", "run/model.kiln", "test.conll", "--json"])).unwrap();
    let number = |name: &str| numbers["numbers"][name].as_f64().unwrap();
    assert!(number("entity f1") > 0.95 && number("accuracy") > 0.97, "{numbers}");

    // A sentence says the same alone, from a file among others, and however it comes.
    let prompt = "Grace Hopper lives in Oslo.";
    let alone = program.out(&["predict", "run/model.kiln", "--text", prompt]);
    let words: Vec<&str> = alone.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(words, ["Grace", "Hopper", "lives", "in", "Oslo", "."]);
    let tags: Vec<&str> = alone.lines().map(|line| line.split('\t').nth(1).unwrap()).collect();
    assert_eq!(tags, ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]);
    program.write("lines.txt", format!("{prompt}\nin Paris it is very very very very very very cold\n"));
    let both = program.out(&["predict", "run/model.kiln", "lines.txt"]);
    assert!(both.starts_with(&alone) && both.contains("\n\nin\tO\nParis\tB-LOC\n"), "{both}");
    let json = |arguments: &[&str]| -> Vec<Value> {
        let text = program.out(&[&["predict", "run/model.kiln", "--json"], arguments].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (one, two) = (json(&["--text", prompt]), json(&["lines.txt"]));
    assert_eq!(one[0], two[0]);
    assert_eq!(one[0]["entities"][0]["text"], "Grace Hopper");
    assert_eq!(one[0]["entities"][1]["kind"], "LOC");
    // The keys don't depend on what is said.
    let none = &json(&["--text", "it is cold"])[0]["entities"];
    assert_eq!(none.as_array().map(Vec::len), Some(0), "{none}");
    // The standard input is read as a file is, a mark of its encoding too.
    let marked = program.write("marked.txt", format!("\u{feff}{prompt}\n"));
    let marked = File::open(marked).unwrap();
    let output = program.command(&["predict", "run/model.kiln", "-"]).stdin(marked).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), alone);
    // What it writes, it reads.
    program.write("again.conll", &both);
    assert_eq!(program.out(&["predict", "run/model.kiln", "again.conll"]), both);
    let measured = program.out(&["eval", "run/model.kiln", "again.conll"]);
    assert!(measured.contains("accuracy 1.0000"), "{measured}");
    let about = program.out(&["inspect", "run/model.kiln"]);
    assert!(about.contains("gives     each word one of 4 tags"), "{about}");
    assert!(program.read("run/report.html").windows(8).any(|part| part == b"Entities"));
}

#[test]
fn a_run_of_tags_goes_on_to_the_same_bits() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "tags-resume");
    program.write("news.txt", sentences(60, 5));
    let train = ["train", "news.txt", "--preset", "bigru", "--threads", "1", "--quiet"];
    program.out(&[&train[..], &["--epochs", "3", "--out", "whole"]].concat());
    program.out(&[&train[..], &["--epochs", "1", "--schedule", "constant", "--out", "a"]].concat());
    program.out(&["train", "--resume", "a", "--epochs", "3", "--quiet"]);
    program.out(&[&train[..], &["--epochs", "3", "--schedule", "constant", "--out", "b"]].concat());
    let weights = |name: &str| {
        program.out(&["export", &format!("{name}/model.kiln"), &format!("{name}.npz")]);
        program.read(&format!("{name}.npz"))
    };
    assert!(weights("a") == weights("b"));
    assert!(weights("a") != weights("whole"));
}

#[test]
fn parts_of_their_own_and_another_head() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "tags-parts");
    program.write("train.conll", sentences(60, 5));
    program.write("dev.conll", sentences(10, 6));
    program.write("test.conll", sentences(12, 7));
    let quick = ["--epochs", "1", "--threads", "1", "--quiet"];
    let parts = ["train", "train.conll", "--val", "dev.conll", "--test", "test.conll", "--out", "run"];
    program.out(&[&parts[..], &quick].concat());
    let result: Value = serde_json::from_slice(&program.read("run/result.json")).unwrap();
    assert!(
        result["said"].to_string().contains("60 to train on, 10 to validate with, 12 to test with"),
        "{result}"
    );
    // Other tags, with a new last layer; without one they are refused by name.
    program.write("other.conll", sentences(40, 8).replace("B-LOC", "B-CITY"));
    let from = ["train", "other.conll", "--from", "run/model.kiln", "--out", "head"];
    let refused = program.run(&[&from[..], &quick].concat());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("B-CITY") && error.contains("--head"), "{error}");
    program.out(&[&from[..], &["--head"], &quick].concat());
    let said = program.out(&["predict", "head/model.kiln", "--text", "in Paris"]);
    assert_eq!(said.lines().count(), 2);
}

#[test]
fn sentences_of_one_word_fill_batches() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "tags-single");
    program.write("single.conll", "Rom B-LOC\n\nso O\n\n".repeat(20) + &sentences(8, 9));
    let train = ["train", "single.conll", "--batch-size", "4", "--epochs", "1", "--threads", "1", "--quiet"];
    for (out, more) in [("run", &[][..]), ("again", &["--refit"])] {
        program.out(&[&train[..], &["--out", out], more].concat());
        let measured = program.out(&["eval", &format!("{out}/model.kiln"), "single.conll"]);
        assert!(measured.contains("accuracy"), "{measured}");
    }
}

#[test]
fn what_is_no_file_of_tags_is_said() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "tags-wrong");
    for (text, says) in [
        ("", "there is no sentence"),
        ("a O\nb O\nc\n", "wrong.conll:3: it has 1 column, "),
        ("a\nb\n\nc\n", "words without tags"),
        ("a O\nb O\n\nc O\n\nd O\n", "every word has the tag O"),
        ("a\tX\nb\t\n", "wrong.conll:2: a word or tag is empty"),
    ] {
        program.write("wrong.conll", text);
        let output = program.run(&["train", "wrong.conll", "--epochs", "1"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(says), "{text}: {error}");
    }
    let refused = program.run(&["train", "wrong.conll", "--target", "x"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("--target changes nothing for sentences with tags")
    );
}
