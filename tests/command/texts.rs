//! Texts: long ones that go on, and short ones with classes.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use super::kiln;

#[test]
fn a_text_is_learned_and_goes_on() {
    let folder = kiln("text");
    folder.write("rhyme.txt", "the cat sat on the mat, and the rat sat on the hat. ".repeat(120));
    let out =
        folder.out(&["train", "rhyme.txt", "--window", "32", "--epochs", "8", "--batch-size", "8", "--json"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["perplexity"].as_f64().unwrap() < 1.5, "{done}");
    let model = "runs/rhyme-1/model.kiln";
    let said = folder.out(&[
        "predict",
        model,
        "--prompt",
        "the cat sat on the mat, and the",
        "--length",
        "60",
        "--temperature",
        "0",
    ]);
    assert!(said.contains("and the rat sat on the hat."), "{said}");
    let again = |seed: &str| {
        folder.out(&[
            "predict",
            model,
            "--prompt",
            "the ",
            "--length",
            "40",
            "--temperature",
            "2",
            "--seed",
            seed,
        ])
    };
    assert_eq!(again("1"), again("1"));
    assert_ne!(again("1"), again("2"));
    assert!(folder.out(&["eval", model, "rhyme.txt"]).contains("perplexity"));
    let ended = folder.out(&[
        "predict",
        model,
        "--prompt",
        "the cat",
        "--temperature",
        "0",
        "--stop",
        "mat",
        "--json",
    ]);
    let ended: Value = serde_json::from_str(&ended).unwrap();
    assert_eq!((&ended["text"], &ended["stopped"]), (&" sat on the ".into(), &"stop".into()));
    let beams = folder.out(&["predict", model, "--prompt", "the cat", "--tokens", "15", "--beams", "4"]);
    assert_eq!(beams, "the cat sat on the mat\n");
    let two = ["--prompt", "the cat", "--prompt", "and the", "--tokens", "12", "--top-k", "1"];
    let two = folder.out(&[&["predict", model], &two[..]].concat());
    assert_eq!(two, "the cat sat on the \n\nand the rat sat on \n\n");
    let score = |text: &str| -> Value {
        serde_json::from_str(&folder.out(&["predict", model, "--prompt", text, "--score", "--json"])).unwrap()
    };
    let (known, odd) = (score("the cat sat on the mat"), score("tac eht tas no"));
    assert!(known["perplexity"].as_f64().unwrap() < 2.0, "{known}");
    assert!(odd["bits_per_character"].as_f64() > known["bits_per_character"].as_f64(), "{odd}");
    assert!(
        folder.out(&["predict", model, "rhyme.txt", "--score"]).starts_with("rhyme.txt: 6239 pieces, 0.")
    );
    for (flags, said) in [
        (&["--score"][..], "--score of which text?"),
        (&["--prompt", "a", "--top-p", "1.5"], "top-p 1.5"),
        (&["--prompt", "a", "--beams", "2", "--temperature", "1"], "cannot be used with"),
        (&["--prompt", "a", "--temperature=-1"], "temperature -1"),
    ] {
        let error = folder.error(&[&["predict", model], flags].concat()).1;
        assert!(error.contains(said), "{error}");
    }
    assert!(folder.out(&["inspect", model]).contains("embedding"));
    let pieces = ["--pieces", "learned 270", "--window", "16", "--epochs", "1", "--quiet", "--out", "pieces"];
    folder.out(&[&["train", "rhyme.txt"], &pieces[..]].concat());
    assert!(folder.out(&["inspect", "pieces/model.kiln"]).contains("270 pieces of text"));
    let said = folder.out(&["predict", "pieces/model.kiln", "--prompt", "thé cat", "--length", "0"]);
    assert_eq!(said, "thé cat\n");
    assert_eq!(
        folder.out(&["export", "pieces/model.kiln", "tokenizer.json"]),
        "tokenizer.json: 270 pieces\n"
    );
    let tokenizer = kiln::data::Tokenizer::read(folder.at("tokenizer.json")).unwrap();
    assert!(tokenizer.encode("the cat").unwrap().codes.len() < 7);
    assert!(folder.error(&["train", "rhyme.txt", "--pieces", "sillables"]).1.contains("learned 1000"));
    folder.write("short.txt", "too short");
    assert!(folder.error(&["train", "short.txt"]).1.contains("shorter windows"));
    folder.write("bytes.txt", [b'a', 0xff, b'b'].repeat(100));
    assert!(folder.error(&["train", "bytes.txt"]).1.contains("UTF-8"));
}

#[test]
fn texts_with_classes_are_told_apart() {
    let folder = kiln("texts");
    let (good, bad) = (["great", "lovely", "fine"], ["awful", "sad", "poor"]);
    let row = |row: usize| {
        let (word, mood) = if row.is_multiple_of(2) { (good[row % 3], "up") } else { (bad[row % 3], "down") };
        format!("\"it was {} a {word} day number {row}\",{mood}\n", ["quite", "such", "really"][row % 3])
    };
    folder.write("days.csv", "text,mood\n".to_string() + &(0..300).map(row).collect::<String>());
    let out = folder.out(&["train", "days.csv", "--text", "text", "--target", "mood", "--json"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.95, "{done}");
    // The same from the standard input, which has no name.
    let flags = ["train", "-", "--text", "text", "--target", "mood", "--quiet", "--out", "fed"];
    let mut child = folder.command(&flags).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&folder.read("days.csv")).unwrap();
    assert!(child.wait().unwrap().success());
    let result: Value = serde_json::from_slice(&folder.read("fed/result.json")).unwrap();
    assert_eq!(result["test"], done["test"]);
    folder.write("new.csv", "text\nwhat a lovely day\nan awful one\n");
    let predicted = folder.out(&["predict", "runs/days-1/model.kiln", "new.csv"]);
    assert!(
        predicted.contains("what a lovely day,up,") && predicted.contains("an awful one,down,"),
        "{predicted}"
    );
}

#[test]
fn free_text_beside_other_columns_is_exported_as_the_words_it_has() {
    let folder = kiln("free-text");
    let row = |row: usize| {
        let word = if row.is_multiple_of(2) { "great" } else { "awful" };
        let filler = ["quite", "such", "really"][row % 3];
        format!(
            "{},\"It was {filler} a {word} stay, number {row}\",{}\n",
            row % 5,
            ["down", "up"][(row + 1) % 2]
        )
    };
    folder.write("stays.csv", "stars,review,mood\n".to_string() + &(0..200).map(row).collect::<String>());
    folder.out(&["train", "stays.csv", "--target", "mood", "--epochs", "20", "--quiet", "--out", "r"]);
    let said = folder.run(&["export", "r/model.kiln", "m.onnx"]);
    assert!(kiln_testkit::folder::texts(&said).0.contains("largest difference"), "{said:?}");
    let network = kiln::onnx::load(folder.at("m.onnx")).unwrap();
    let words = network.words().into_iter().find(|(name, _)| name == "words of review").unwrap().1;
    let words: Vec<String> = serde_json::from_str(&words).unwrap();
    assert!(words.contains(&"great".to_string()) && words.is_sorted(), "{words:?}");
    let input = network.inputs().into_iter().find(|port| port.name == "review").unwrap();
    assert_eq!(input.sizes, [None, Some(words.len())]);
}
