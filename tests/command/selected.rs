//! Tables of which nobody says the model: several are tried on the same folds, and what comes of them is one.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kiln_testkit::Program;
use kiln_testkit::folder::texts;
use serde_json::Value;

use super::{flowers, kiln};

fn result(folder: &Program, name: &str) -> Value {
    serde_json::from_slice(&folder.read(&format!("{name}/result.json"))).unwrap()
}

/// Homes of four streets, with a price, a kind and a year; the price is no straight line.
fn homes(rows: usize) -> String {
    let mut text = "area,rooms,street,year,price,kind\n".to_string();
    for row in 0..rows {
        let (area, rooms) = (40 + (row * 7919) % 97, 1 + (row * 31) % 6);
        let price = area as f64 * if rooms > 3 { 2.0 } else { 1.0 } + ((row * 37) % 11) as f64;
        let kind = if area * rooms > 200 { "house" } else { "flat" };
        text += &format!("{area},{rooms},s{},{},{price},{kind}\n", row % 40, 1950 + row / 8);
    }
    text
}

#[test]
fn a_table_gets_the_best_of_several_models_with_a_leaderboard_and_is_repeated_to_the_bit() {
    let folder = kiln("selected");
    folder.write("flowers.csv", flowers(300));
    let train = ["train", "flowers.csv", "--target", "kind", "--time-limit", "6s"];
    let out = folder.out(&[&train[..], &["--json", "--out", "r"]].concat());
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    let (fits, done) = (of("fit"), &events[events.len() - 1]);
    assert!(of("begin")[0]["candidates"].as_array().unwrap().len() > 1 && !fits.is_empty());
    assert!(fits[0]["score"].is_number() && fits[0]["seconds"].is_number(), "{}", fits[0]);
    assert_eq!((&done["event"], done), (&"done".into(), &result(&folder, "r")));
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.9, "{done}");
    let board = of("leaderboard")[0]["leaderboard"]["standings"].as_array().unwrap();
    let linear = board.iter().find(|standing| standing["name"] == "linear").unwrap();
    assert!(linear["score"].is_number() && linear["spread"].is_number(), "{linear}");
    let scores: Vec<f64> = board.iter().filter_map(|standing| standing["score"].as_f64()).collect();
    assert!(scores.is_sorted() && board.len() > 1, "{scores:?}");
    let shares: f64 = board.iter().map(|standing| standing["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let report = String::from_utf8(folder.read("r/report.html")).unwrap();
    assert!(report.contains("<h2>Models</h2>") && report.contains("class=\"dots\""));
    assert!(!done["importances"]["measured"].as_array().unwrap().is_empty());
    // One model, one ONNX file.
    assert_eq!(folder.out(&["predict", "r/model.kiln", "flowers.csv"]).lines().count(), 301);
    assert!(folder.out(&["export", "r/model.kiln", "flowers.onnx"]).contains("the largest difference is"));
    assert!(folder.out(&["inspect", "r/model.kiln"]).contains("3 classes"));
    // The same again, on one thread; what was printed says how.
    folder.out(&["train", "--repeat", "r/result.json", "--threads", "1", "--quiet", "--out", "again"]);
    assert_eq!(folder.read("again/model.kiln"), folder.read("r/model.kiln"));
    folder.out(&["train", "--resume", "r", "--quiet"]);
    assert_eq!(folder.read("again/model.kiln"), folder.read("r/model.kiln"));
    folder.out(&["train", "--repeat", "again/result.json", "--quiet", "--out", "third"]);
    assert_eq!(folder.read("third/model.kiln"), folder.read("r/model.kiln"));
    let config = folder.out(&[&train[..], &["--print-config"]].concat());
    assert!(config.contains("time-limit") && !config.contains("epochs"), "{config}");
}

#[test]
fn what_describes_one_model_trains_one_and_is_said() {
    let folder = kiln("one-model");
    folder.write("flowers.csv", flowers(120));
    folder.write("few.csv", flowers(40));
    let says = |arguments: &[&str]| texts(&folder.run(&[&["train"], arguments].concat())).1;
    let said = says(&["flowers.csv", "--epochs", "2", "--out", "a"]);
    assert!(said.contains("--epochs is of one model, and no others are tried beside it"), "{said}");
    let said = says(&["flowers.csv", "--quick", "--out", "b"]);
    assert!(said.contains("model: waves") && !said.contains("others"), "{said}");
    let said = says(&["few.csv", "--out", "c"]);
    assert!(said.contains("40 rows don't tell which model is the best: one network is trained"), "{said}");
    for run in ["a", "b", "c"] {
        assert!(result(&folder, run).get("leaderboard").is_none(), "{run}");
    }
    let said = says(&["flowers.csv", "--time-limit", "1s", "--out", "d"]);
    assert!(
        said.contains("trying linear") && said.contains("--quick") && said.contains("the answer is"),
        "{said}"
    );
    for (arguments, mend) in [
        (&["--repeat", "d/result.json", "--epochs", "3"][..], "--epochs is of one model"),
        (&["--repeat", "a/result.json"], "chose among no models"),
        (&["--repeat", "nowhere.json"], "nowhere.json"),
        (&["--resume", "d", "--lr", "0.1"], "this run chooses among models, and --lr is of one"),
        (&["flowers.csv", "--metric", "r2"], "isn't of classes"),
    ] {
        let said = says(arguments);
        assert!(said.contains(mend), "{arguments:?}: {said}");
    }
}

#[test]
fn every_kind_of_target_and_cut_is_chosen_for() {
    let folder = kiln("selected-kinds");
    folder.write("homes.csv", homes(320));
    for (at, flags) in [
        &["--target", "price"][..],
        &["--target", "kind", "--metric", "roc-auc"],
        &["--target", "price", "--metric", "mae", "--group", "street"],
        &["--target", "price", "--time", "year"],
        &["--target", "price,kind", "--metric", "loss"],
        &["--target", "price", "--interval", "0.8"],
        &["--target", "price", "--monotone", "area:+"],
        &["--target", "rooms", "--task", "count"],
        &["--target", "price", "--val-fraction", "0.2"],
        &["--target", "price", "--val", "homes.csv", "--test-fraction", "0"],
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("r{at}");
        let common = ["train", "homes.csv", "--time-limit", "1s", "--quiet", "--out", &out];
        folder.out(&[&common[..], flags].concat());
        let result = result(&folder, &out);
        let standings = result["leaderboard"]["standings"].as_array().unwrap();
        let failed: Vec<&Value> = standings.iter().filter(|standing| standing["score"].is_null()).collect();
        assert!(
            standings.len() > usize::from(!flags.contains(&"--monotone")) && failed.is_empty(),
            "{flags:?}: {failed:?}"
        );
        let folds = result["leaderboard"]["folds"].as_u64().unwrap();
        assert!(folds == 1 || !flags.iter().any(|flag| flag.starts_with("--val")), "{flags:?}: {folds}");
        let model = format!("{out}/model.kiln");
        assert!(folder.out(&["predict", &model, "homes.csv"]).lines().count() == 321, "{flags:?}");
        folder.out(&["export", &model, &format!("{out}.onnx")]);
        folder.out(&[
            "train",
            "--repeat",
            &format!("{out}/result.json"),
            "--quiet",
            "--out",
            &format!("again{at}"),
        ]);
        assert_eq!(folder.read(&format!("again{at}/model.kiln")), folder.read(&model), "{flags:?}");
    }
}

/// Starts a run and waits until so many of its fits are kept.
#[cfg(unix)]
fn begun(folder: &Program, out: &str, fits: usize) -> std::process::Child {
    let flags = ["train", "flowers.csv", "--target", "kind", "--time-limit", "60s", "--out", out];
    let mut child = folder.command(&flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let list = folder.at(out).join("candidates/journal.jsonl");
    let began = Instant::now();
    while std::fs::read_to_string(&list).map_or(0, |text| text.lines().count()) < fits + 1 {
        assert!(
            began.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(),
            "no fit came"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
#[test]
fn a_choice_that_is_interrupted_or_killed_goes_on_and_fits_nothing_twice() {
    let folder = kiln("selected-cut");
    folder.write("flowers.csv", flowers(300));
    let list = |out: &str| -> Vec<String> {
        let text = String::from_utf8(folder.read(&format!("{out}/candidates/journal.jsonl"))).unwrap();
        text.lines().map(str::to_string).collect()
    };
    let child = begun(&folder, "ctrl-c", 3);
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = texts(&output).1;
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("kiln train --resume ctrl-c"), "{said}");
    assert!(folder.out(&["predict", "ctrl-c/model.kiln", "flowers.csv"]).lines().count() == 301);
    let mut child = begun(&folder, "killed", 4);
    child.kill().unwrap();
    child.wait().unwrap();
    for out in ["ctrl-c", "killed"] {
        let before = list(out);
        folder.out(&["train", "--resume", out, "--quiet"]);
        let after = list(out);
        assert!(after.len() >= before.len() && after[..before.len()] == before[..], "{out}");
        assert!(folder.at(out).join("report.html").exists());
    }
}
