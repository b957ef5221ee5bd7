//! `kiln search`: a space of settings, its trials as runs, and what comes of them.

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::{flowers, kiln};

#[test]
fn a_search_finds_settings_that_train_takes_and_goes_on_where_it_was() {
    let folder = kiln("search");
    folder.write("flowers.csv", flowers(120));
    let space = "data = \"flowers.csv\"\ntarget = \"kind\"\nepochs = 3\nlayers = [\"dense 8, relu, dense\", \"dense\"]\n\
                 lr = { from = 1e-5, to = 0.1, log = true }\nbatch-size = { from = 8, to = 32 }\n";
    folder.write("space.toml", space);
    for (strategy, more) in [("tpe", &["--jobs", "2"][..]), ("random", &[]), ("halving", &["--first", "1"])] {
        let flags = ["search", "space.toml", "--strategy", strategy, "--trials", "9", "--out", strategy];
        let output = folder.run(&[&flags[..], more].concat());
        let (best, said) = texts(&output);
        assert!(output.status.success() && said.contains("trial 9: loss"), "{strategy}: {said}");
        let list = || -> Vec<Value> {
            let text = String::from_utf8(folder.read(&format!("{strategy}/trials.jsonl"))).unwrap();
            text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let trials = list();
        let scores: Vec<f64> = trials.iter().map(|trial| trial["score"].as_f64().unwrap()).collect();
        assert_eq!(trials.len(), if strategy == "halving" { 9 + 3 + 1 } else { 9 }, "{strategy}");
        let sizes = trials.iter().map(|trial| trial["settings"]["batch-size"].as_f64().unwrap());
        assert!(sizes.into_iter().all(|size| size.fract() == 0.0 && (8.0..=32.0).contains(&size)));
        // The best settings are printed as a file, and training by it comes to that score.
        assert_eq!(best.as_bytes(), folder.read(&format!("{strategy}/best.toml")));
        folder.write("best.toml", &best);
        folder.out(&["train", "best.toml", "--quiet", "--out", &format!("{strategy}-best")]);
        let result: Value =
            serde_json::from_slice(&folder.read(&format!("{strategy}-best/result.json"))).unwrap();
        let reached = result["best"]["value"].as_f64().unwrap();
        let least = match strategy {
            "halving" => scores[scores.len() - 1],
            _ => scores.iter().copied().fold(f64::INFINITY, f64::min),
        };
        assert!((reached - least).abs() < 1e-9, "{strategy}: {reached} of {scores:?}");
        // Ended between two trials, it goes on: what is over isn't done again.
        let text = String::from_utf8(folder.read(&format!("{strategy}/trials.jsonl"))).unwrap();
        let cut: Vec<&str> = text.split_inclusive('\n').take(6).collect();
        folder.write(&format!("{strategy}/trials.jsonl"), cut.concat() + "{\"half");
        folder.out(&[&flags[..], more, &["--quiet"]].concat());
        assert_eq!(list().len(), trials.len(), "{strategy}");
    }
}

#[test]
fn trials_that_fail_are_named_and_mistakes_of_a_space_have_their_mend() {
    let folder = kiln("search-mistakes");
    folder.write("flowers.csv", flowers(80));
    let common = "data = \"flowers.csv\"\ntarget = \"kind\"\nepochs = 1\n";
    folder.write("space.toml", format!("{common}optimizer = [\"adam\", \"nothing\"]\n"));
    let output = folder.run(&["search", "space.toml", "--strategy", "random", "--trials", "6", "--out", "s"]);
    let said = texts(&output).1;
    assert!(output.status.success() && said.contains("failed: ") && said.contains("nothing"), "{said}");
    for (space, mend) in [
        ("", "no setting is open"),
        ("learning = [1, 2]\n", "nothing that can be set"),
        ("lr = [0.1, -1]\n", "lr = -1"),
        ("lr = []\n", "the list is empty"),
        ("lr = { from = 0.1 }\n", "a range has from and to"),
        ("lr = { from = 0.1, to = 0.01 }\n", "is no range"),
        ("lr = { from = 0.1, to = 0.2, step = 1 }\n", "no step"),
        ("out = [\"a\", \"b\"]\n", "one and the same"),
        ("epochs = { from = 1, to\n", "line 1"),
    ] {
        folder.write("bad.toml", space);
        let (_, said) = folder.error(&["search", "bad.toml", "--out", "bad"]);
        assert!(said.contains("bad.toml") || said.contains("lr"), "{said}");
        assert!(said.contains(mend), "{space}: {said}");
    }
    folder.write("other.toml", format!("{common}lr = [0.1, 0.01]\n"));
    let (_, said) = folder.error(&["search", "other.toml", "--out", "s"]);
    assert!(said.contains("another search"), "{said}");
    assert!(folder.error(&["search", "other.toml", "--strategy", "grid"]).1.contains("there are tpe"));
}
