//! Several columns predicted at once, of which some are classes: every combination through the life of a model.

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;

/// Rows whose kind follows from `a`, whose price from `a` and `b`, whose health from `b`; whether it is old is a truth, and how many stars it
/// has is written with a comma.
fn homes() -> String {
    let comma = |number: f64| format!("{number:.3}").replace('.', ",");
    let mut text = "a;b;kind;price;sick;old;stars\n".to_string();
    for row in 0..500usize {
        let (a, b) = (((row * 7919) % 101) as f64 / 50.0 - 1.0, ((row * 104_729) % 97) as f64 / 48.0 - 1.0);
        let kind = ["low, or lower", "mid", "high"][usize::from(a > -0.3) + usize::from(a > 0.4)];
        let price = if row == 7 { String::new() } else { comma(1000.0 + 300.0 * a + 100.0 * b) };
        let (sick, old, stars) = (["no", "yes"][usize::from(b > 0.1)], a + b > 0.0, comma(2.5 + a - b));
        text += &format!("{};{};{kind};{price};{sick};{old};{stars}\n", comma(a), comma(b));
    }
    text
}

#[test]
fn every_combination_of_targets_goes_through_the_life_of_a_model() {
    let folder = kiln("targets");
    folder.write("homes.csv", homes());
    let result = |name: &str| -> Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    // The targets, the task that is told, and what the first figure of each is called.
    for (at, (targets, task, figures)) in [
        ("kind,sick", None, &["kind.accuracy", "sick.accuracy"][..]),
        ("kind,price", None, &["kind.accuracy", "price.r2"]),
        ("price,kind,old,stars", None, &["price.r2", "kind.accuracy", "old.accuracy", "stars.r2"]),
        ("3,5", Some("classes"), &["kind.accuracy", "sick.accuracy"]),
        ("stars,kind", Some("number,classes"), &["stars.r2", "kind.accuracy"]),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("r{at}");
        let task: Vec<&str> = task.map_or(Vec::new(), |task| vec!["--task", task]);
        let metric = if targets.contains("kind,") { vec!["--metric", "kind.accuracy"] } else { Vec::new() };
        let common = ["train", "homes.csv", "--target", targets, "--epochs", "40", "--out", &out];
        let (shown, said) = texts(&folder.run(&[&common[..], &task, &metric].concat()));
        let names: Vec<&str> = figures.iter().map(|figure| figure.split('.').next().unwrap()).collect();
        for name in &names {
            assert!(shown.lines().any(|line| line.trim_start().starts_with(name)), "{targets}: {shown}");
            assert!(
                said.contains(&format!("{name} is a number")) || said.contains(&format!("classes of {name}"))
            );
        }
        let done = result(&format!("{out}/result.json"));
        for figure in figures {
            assert!(done["test"][*figure].as_f64().is_some_and(|value| value > 0.8), "{targets}: {done}");
        }
        assert_eq!(done["importances"]["measured"][0]["rise"].as_f64().map(|rise| rise > 0.0), Some(true));
        let report = String::from_utf8(folder.read(&format!("{out}/report.html"))).unwrap();
        for (name, figure) in names.iter().zip(figures) {
            let chart = if figure.ends_with("r2") { "Predicted and true" } else { "Calibration" };
            assert!(report.contains(&format!("{chart}: {name}")), "{targets}: no {chart} of {name}");
        }
        // What is predicted is what the evaluation counts.
        let model = format!("{out}/model.kiln");
        let told: Value =
            serde_json::from_str(&folder.out(&["eval", &model, "homes.csv", "--json"])).unwrap();
        let rows: Vec<Value> = folder
            .out(&["predict", &model, "homes.csv", "--json"])
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let csv = folder.out(&["predict", &model, "homes.csv"]);
        let header = csv.lines().next().unwrap();
        let answered = |row: &usize| !(targets.contains("price") && *row == 7);
        for (name, figure) in names.iter().zip(figures) {
            assert!(header.contains(&format!("predicted {name}")), "{header}");
            if figure.ends_with("r2") {
                assert!(rows.iter().all(|row| row["prediction"][*name].is_number()));
                continue;
            }
            let place = csv_names().iter().position(|column| column == name).unwrap();
            let text = homes();
            let truth: Vec<&str> =
                text.lines().skip(1).map(|line| line.split(';').nth(place).unwrap()).collect();
            let kept: Vec<usize> = (0..rows.len()).filter(answered).collect();
            let right = kept.iter().filter(|&&row| rows[row]["prediction"][*name] == truth[row]).count();
            let own = told["numbers"][*figure].as_f64().unwrap();
            assert!((own - right as f64 / kept.len() as f64).abs() < 1e-9, "{targets}: {own} of {name}");
            let sum: f64 = rows[0]["probabilities"][*name]
                .as_object()
                .unwrap()
                .values()
                .map(|share| share.as_f64().unwrap())
                .sum();
            assert!((sum - 1.0).abs() < 1e-5);
        }
        assert!(names.iter().all(|name| folder.out(&["inspect", &model]).contains(name)));
        // Exported whole and without, gone on with, taught further, and with a new last layer for other targets.
        let exported = texts(&folder.run(&["export", &model, "m.onnx"])).0;
        assert!(exported.contains("largest difference"), "{exported}");
        let plain = ["export", &model, "p.onnx", "--without-preprocessing"];
        folder.out(&plain);
        folder.out(&["import", "p.onnx", "--out", "p.kiln"]);
        let again: Value =
            serde_json::from_str(&folder.out(&["eval", "p.kiln", "homes.csv", "--json"])).unwrap();
        for figure in figures {
            let [was, is] = [&told, &again].map(|told| told["numbers"][*figure].as_f64().unwrap());
            assert!((was - is).abs() < 1e-6, "{targets}: {figure} {was}, {is}");
        }
        folder.out(&["train", "--resume", &out, "--quiet"]);
        let after = folder.out(&["eval", &model, "homes.csv", "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&after).unwrap()["numbers"], told["numbers"]);
        let further = ["train", "homes.csv", "--from", &model, "--epochs", "1", "--quiet", "--out"];
        folder.out(&[&further[..], &[&format!("f{at}")]].concat());
        let other = format!("h{at}");
        let head = [&further[..], &[&other, "--head", "--target", "sick,stars"]].concat();
        folder.out(&head);
        assert!(result(&format!("{other}/result.json"))["test"]["sick.accuracy"].is_number());
    }
    let cut = ["train", "homes.csv", "--target", "kind,price,sick", "--epochs", "6", "--quiet", "--refit"];
    folder.out(&[&cut[..], &["--out", "whole"]].concat());
    assert_eq!(result("whole/result.json")["refit"]["rows"], 399);
    let refused =
        |more: &[&str]| folder.error(&[&["train", "homes.csv", "--target", "kind,sick"], more].concat()).1;
    for (more, says) in [
        (&["--class-weights", "balanced"][..], "--class-weights: of several targets"),
        (&["--sampling", "balanced"], "--sampling: of several targets"),
        (&["--metric", "r2"], "isn't of classes"),
        (&["--task", "classes,classes,number"], "3 kinds are told of 2 targets"),
        (&["--task", "number"], "column kind: the target is a column of kind category"),
        (&["--target", "kind,kind"], "cannot be used multiple times"),
    ] {
        let said = refused(more);
        assert!(said.contains(says), "{more:?}: {said}");
    }
}

fn csv_names() -> Vec<String> {
    homes().lines().next().unwrap().split(';').map(str::to_string).collect()
}
