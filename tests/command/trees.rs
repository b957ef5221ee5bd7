//! Boosted trees through the life of a model: fitted, looked at, asked, evaluated, exported, and what makes no sense of them refused.

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;

/// Rows whose price jumps with `a` and with a word, and whose kind follows from both.
fn rough(rows: usize) -> String {
    let mut text = "a,b,place,price,kind\n".to_string();
    for row in 0..rows {
        let (a, b) = (((row * 7919) % 1009) as f64 / 100.0, ((row * 104_729) % 997) as f64 / 100.0);
        let place = ["north", "south", "east", "west"][(row * 31) % 4];
        let price = 10.0 * (a.floor() % 3.0) + if place == "east" { 15.0 } else { 0.0 } + 0.1 * b;
        let kind = ["low", "mid", "high"][usize::from(price > 12.0) + usize::from(price > 24.0)];
        let a = if row % 17 == 0 { String::new() } else { format!("{a:.2}") };
        text += &format!("{a},{b:.2},{place},{price:.3},{kind}\n");
    }
    text
}

#[test]
fn trees_go_through_the_life_of_a_model() {
    let folder = kiln("trees");
    folder.write("rough.csv", rough(400));
    let result = |name: &str| -> Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    for (target, more, figure, least) in [
        ("price", &[][..], "r2", 0.8),
        ("kind", &["--class-weights", "balanced", "--refit"], "accuracy", 0.75),
        ("price,kind", &[], "price.r2", 0.8),
        ("price", &["--frame", "rough.kdf"], "r2", 0.8),
        ("kind", &["--group", "place", "--test-fraction", "0"], "trees", 1.0),
    ] {
        let out = format!("r-{target}-{}", more.len());
        // The one follows from the other.
        let other = if target == "price" { "kind" } else { "price" };
        let ignored = if target.contains(',') { vec![] } else { vec!["--ignore", other] };
        let common = ["train", "rough.csv", "--preset", "trees", "--target", target, "--out", &out];
        let (_, said) = texts(&folder.run(&[&common[..], &ignored, more].concat()));
        assert!(said.contains("gained by "), "{target}: {said}");
        let done = result(&format!("{out}/result.json"));
        let number = done["test"][figure].as_f64().or(done[figure].as_f64());
        assert!(number.is_some_and(|number| number >= least), "{target}: {done}");
        assert!(done["chosen"][0]["rounds"].is_array() && done["gains"]["a"].as_f64() > Some(0.1), "{done}");
        let report = String::from_utf8(folder.read(&format!("{out}/report.html"))).unwrap();
        assert!(report.contains("preset = ") && report.contains("gained by "), "{target}");
        let model = format!("{out}/model.kiln");
        let shown = folder.out(&["inspect", &model]);
        assert!(shown.contains(" deep\n") && shown.contains("gained by "), "{shown}");
        folder.out(&["eval", &model, "rough.csv"]);
        let (_, said) = texts(&folder.run(&["export", &model, &format!("{out}.onnx")]));
        assert!(folder.read(&format!("{out}.onnx")).len() > 1000, "{said}");
        // The same again, to the bit, by the settings that stand in its folder and on another number of threads.
        let again = format!("{out}-again");
        folder.out(&["train", &format!("{out}/config.toml"), "--out", &again, "--threads", "3"]);
        assert_eq!(result(&format!("{again}/result.json"))["test"], done["test"]);
        let states = |name: &str| folder.out(&["predict", name, "rough.csv"]);
        assert_eq!(states(&model), states(&format!("{again}/model.kiln")));
        let resumed = folder.run(&["train", "--resume", &out]);
        assert!(texts(&resumed).1.contains("and so from the start again"), "{}", texts(&resumed).1);
        assert_eq!(result(&format!("{out}/result.json"))["test"], done["test"]);
    }
    let first = folder.out(&["eval", "r-kind-3/first.kiln", "rough.csv"]);
    assert!(first.contains("accuracy"), "{first}");
    let folds =
        folder.run(&["train", "rough.csv", "--preset", "trees", "--target", "price", "--k-fold", "3"]);
    let said = texts(&folds).1;
    assert!(said.contains("3 folds:\n") && said.contains("  r2 0."), "{said}");
}

#[test]
fn what_is_of_descent_is_refused_and_time_is_kept() {
    let folder = kiln("trees-refused");
    folder.write("rough.csv", rough(300));
    let common = ["train", "rough.csv", "--preset", "trees", "--target", "price"];
    for flags in [
        &["--lr", "0.1"][..],
        &["--epochs", "3"],
        &["--optimizer", "sgd"],
        &["--batch-size", "8"],
        &["--from", "x.kiln"],
        &["--layers", "dense"],
        &["--metric", "mae"],
    ] {
        let (_, error) = folder.error(&[&common[..], flags].concat());
        let why = if ["--from", "--layers"].contains(&flags[0]) { "leave" } else { "fitted at once" };
        assert!(error.contains(flags[0]) && error.contains(why), "{error}");
    }
    let (_, error) = folder.error(&["train", "--preset", "trees"]);
    assert!(error.contains("for tables"), "{error}");
    folder.out(&[&common[..], &["--time-limit", "2s", "--quiet", "--out", "limited"]].concat());
    let (_, error) =
        folder.error(&["train", "rough.csv", "--target", "price", "--from", "limited/model.kiln"]);
    assert!(error.contains("trees are grown anew"), "{error}");
}
