//! Texts: long ones that go on, and short ones with classes.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use kiln_testkit::Program;
use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;

/// What the command prints of what comes in from a file.
fn out_of(folder: &Program, file: &str, arguments: &[&str]) -> String {
    let input = File::open(folder.at(file)).unwrap();
    let output = folder.command(arguments).stdin(input).output().unwrap();
    let (out, errors) = texts(&output);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    out
}

const RHYME: &str = "the cat sat on the mat, and the rat sat on the hat. ";

#[test]
fn a_text_is_learned_and_goes_on() {
    let folder = kiln("text");
    folder.write("rhyme.txt", RHYME.repeat(120));
    let small = ["--preset", "wavenet", "--window", "32", "--epochs", "8", "--batch-size", "8", "--json"];
    let out = folder.out(&[&["train", "rhyme.txt"], &small[..]].concat());
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["perplexity"].as_f64().unwrap() < 1.5, "{done}");
    let loss = done["val"]["loss"].as_f64().unwrap();
    let close = |number: &Value, to: f64| (number.as_f64().unwrap() - to).abs() < 1e-9;
    assert!(close(&done["val"]["perplexity"], loss.exp()), "{done}");
    assert!(close(&done["val"]["bits-per-character"], loss / std::f64::consts::LN_2), "{done}");
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
    embeds(&folder.at(model), &["the cat sat", "and the rat sat on the", &"the mat ".repeat(9)], 32);
    assert!(
        folder.out(&["predict", model, "--text", "the", "--embed", "--json"]).contains("\"embedding\":[")
    );
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
fn what_a_model_of_texts_says_as_it_learns_is_shown_and_kept() {
    let folder = kiln("samples");
    folder.write("rhyme.txt", RHYME.repeat(40));
    let flags = ["train", "rhyme.txt", "--window", "16", "--epochs", "3", "--early-stop", "0"];
    let output = folder.run(&[&flags[..], &["--out", "said"]].concat());
    let (_, said) = texts(&output);
    assert!(output.status.success(), "{said}");
    let log = String::from_utf8(folder.read("said/metrics.jsonl")).unwrap();
    let epochs: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = epochs.last().unwrap();
    let sample = last["sample"].as_str().unwrap();
    assert!((80..=120).contains(&sample.chars().count()), "{sample}");
    // On the terminal it stands below its epoch, set apart.
    let shown: String = said.lines().filter_map(|line| line.trim_start().strip_prefix("│ ")).collect();
    let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
    assert!(letters(&shown).ends_with(&letters(sample)), "{said}");
    let bits = last["val_loss"].as_f64().unwrap() / std::f64::consts::LN_2;
    assert!((last["val_bits-per-character"].as_f64().unwrap() - bits).abs() < 1e-9, "{last}");
    assert!(said.contains("val_perplexity"), "{said}");
    let report = String::from_utf8(folder.read("said/report.html")).unwrap();
    assert!(report.contains("What it says after each epoch") && report.contains(sample.trim_end()));
    // Nobody is shown anything who wants nothing.
    let output = folder.run(&[&flags[..], &["--out", "quiet", "--quiet"]].concat());
    assert_eq!(texts(&output).1, "");
    assert_eq!(folder.read("quiet/model.kiln"), folder.read("said/model.kiln"));
    let events = folder.out(&[&flags[..], &["--out", "json", "--json"]].concat());
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epoch = events.iter().rfind(|event| event["event"] == "epoch").unwrap();
    assert_eq!(epoch["sample"], last["sample"]);
    // Bits a character are those of the text, however it is cut.
    let pieces = ["--pieces", "learned 270", "--epochs", "1", "--json", "--out", "pieces"];
    let done = folder.out(&[&flags[..4], &pieces].concat());
    let done: Value = serde_json::from_str(done.lines().last().unwrap()).unwrap();
    let of_a_piece = done["val"]["loss"].as_f64().unwrap() / std::f64::consts::LN_2;
    assert!(done["val"]["bits-per-character"].as_f64().unwrap() < 0.8 * of_a_piece, "{done}");
}

#[test]
fn a_text_comes_in_by_the_standard_input() {
    let folder = kiln("text-stdin");
    folder.write("rhyme.txt", RHYME.repeat(40));
    let flags = ["--window", "16", "--epochs", "1", "--quiet"];
    out_of(&folder, "rhyme.txt", &[&["train", "-", "--out", "piped"], &flags[..]].concat());
    folder.out(&[&["train", "rhyme.txt", "--out", "named"], &flags[..]].concat());
    assert_eq!(folder.read("piped/model.kiln"), folder.read("named/model.kiln"));
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
    let model = "runs/days-1/model.kiln";
    let said = folder.out(&[
        "predict",
        model,
        "--text",
        "what a lovely day",
        "--text",
        "an awful one",
        "--top",
        "2",
    ]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("what a lovely day  up ") && lines[0].contains("  down "), "{said}");
    assert!(lines[1].starts_with("an awful one  down "), "{said}");
    let said: Value =
        serde_json::from_str(&folder.out(&["predict", model, "--text", "what a lovely day", "--json"]))
            .unwrap();
    assert_eq!((&said["text"], &said["prediction"]), (&"what a lovely day".into(), &"up".into()));
    assert!(folder.error(&["predict", model]).1.contains("--text TEXT"));
    assert!(folder.error(&["predict", model, "new.csv", "--text", "a"]).1.contains("cannot be used with"));
    let flags = ["--text", "text", "--target", "mood", "--epochs", "1", "--quiet"];
    out_of(&folder, "days.csv", &[&["train", "-", "--out", "piped"], &flags[..]].concat());
    folder.out(&[&["train", "days.csv", "--out", "named"], &flags[..]].concat());
    assert_eq!(folder.read("piped/model.kiln"), folder.read("named/model.kiln"));
    folder.write("rhyme.txt", RHYME.repeat(40));
    let flags = ["--window", "16", "--epochs", "1", "--quiet"];
    folder.out(&[&["train", "rhyme.txt", "--out", "rhyme"], &flags[..]].concat());
    let error = folder.error(&["predict", "rhyme/model.kiln", "--text", "a"]).1;
    assert!(error.contains("goes on with them: --prompt TEXT"), "{error}");
    // Sentences without a table, and what they mean to it.
    let said = folder.out(&["predict", model, "what a lovely day", "an awful one"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("what a lovely day  up ") && lines[1].starts_with("an awful one  down "),
        "{said}"
    );
    let said: Value =
        serde_json::from_str(&folder.out(&["predict", model, "--text", "poor.day", "--json"])).unwrap();
    assert!(said["probabilities"]["down"].as_f64().unwrap() > 0.0 && said["text"] == "poor.day", "{said}");
    assert!(folder.error(&["predict", model, "lovely.csv"]).1.contains("lovely.csv"));
    // A table's column of texts is what is embedded, as it is what is predicted.
    let by_table = folder.out(&["predict", model, "new.csv", "--embed"]);
    assert_eq!(by_table, folder.out(&["predict", model, "what a lovely day", "an awful one", "--embed"]));
    assert_eq!(by_table, out_of(&folder, "new.csv", &["predict", model, "-", "--embed"]));
    let figures = |out: String| out.replace("\"data\":\"-\"", "\"data\":\"days.csv\"");
    let by_name = folder.out(&["eval", model, "days.csv", "--json"]);
    assert_eq!(figures(out_of(&folder, "days.csv", &["eval", model, "-", "--json"])), by_name);
    let refused = folder.error(&["predict", model, "new.csv", "--encoding", "utf-8", "--decimal", ","]).1;
    assert!(
        refused.contains("--decimal is for models of the columns") && refused.contains("as they stand"),
        "{refused}"
    );
    assert!(folder.out(&["predict", model, "new.csv", "--encoding", "utf-8"]).contains("lovely"));
    embeds(&folder.at(model), &["what a lovely day", "an awful one", "fine"], 1);
    let meant = folder.out(&["predict", model, "what a lovely day", "an awful one", "--embed"]);
    assert!(meant.starts_with("text,e0,e1,") && meant.lines().count() == 3, "{meant}");
}

/// What texts mean to a model gives, in its last layer, what it says of them: in the mean over so many places at most.
fn embeds(path: &std::path::Path, texts: &[&str], places: usize) {
    let predictor = kiln::Predictor::load(path).unwrap();
    let meant = predictor.embed(texts.iter().copied()).unwrap();
    let parameters = predictor.model().parameters();
    let last = |end: &str| {
        let found = parameters.iter().rev().find(|(path, _)| path.ends_with(end)).unwrap();
        // A convolution's weight has its outputs first, a dense layer's last.
        let value = found.1.tensor();
        let value = if value.rank() == 3 { value.squeeze([2]).t() } else { value };
        value.to_vec::<f32>().unwrap()
    };
    let (weight, bias) = (last("weight"), last("bias"));
    for (text, row) in texts.iter().zip(meant.rows()) {
        let found: Vec<f64> = (0..bias.len())
            .map(|at| {
                let products = row.iter().zip(weight.iter().skip(at).step_by(bias.len()));
                products.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>() + f64::from(bias[at])
            })
            .collect();
        let wanted: Vec<f64> = match predictor.predict_text(text).unwrap() {
            kiln::Prediction::Classes { probabilities, .. } => {
                let log = |p: &f32| f64::from(*p).ln();
                // Logits up to a constant.
                let shift = found[0] - log(&probabilities[0]);
                probabilities.iter().map(|p| log(p) + shift).collect()
            }
            _ => {
                // Of what comes next after each of the first places.
                let codes = |count: usize| text.chars().take(count).collect::<String>();
                let count = text.chars().count().min(places);
                let mut sums = vec![0.0; bias.len()];
                for end in 1..=count {
                    let said = predictor.predict_text(&codes(end)).unwrap();
                    said.scores()
                        .zip(&mut sums)
                        .for_each(|(score, sum)| *sum += f64::from(score) / count as f64);
                }
                sums
            }
        };
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() < 1e-3 * (1.0 + wanted.abs()), "{text}: {found} and {wanted}");
        }
        let alone = predictor.embed([*text]).unwrap();
        assert_eq!(alone.rows().next().unwrap(), row);
    }
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
    assert!(texts(&said).0.contains("largest difference"), "{said:?}");
    let network = kiln::onnx::load(folder.at("m.onnx")).unwrap();
    let words = network.words().into_iter().find(|(name, _)| name == "words of review").unwrap().1;
    let words: Vec<String> = serde_json::from_str(&words).unwrap();
    assert!(words.contains(&"great".to_string()) && words.is_sorted(), "{words:?}");
    let input = network.inputs().into_iter().find(|port| port.name == "review").unwrap();
    assert_eq!(input.sizes, [None, Some(words.len())]);
}
