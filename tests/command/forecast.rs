//! Series through the command: what comes next in them, and every mistake with its mend.

use kiln_testkit::Program;
use serde_json::Value;

use super::kiln;

/// A day of 2023, counted from 0.
fn day(number: usize) -> String {
    const LENGTHS: [usize; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut month, mut left) = (0, number);
    while left >= LENGTHS[month] {
        (month, left) = (month + 1, left - LENGTHS[month]);
    }
    format!("2023-{:02}-{:02}", month + 1, left + 1)
}

/// What a shop sells on a day: a week's rhythm, a trend, more where the price is low.
fn sold(size: f64, step: usize, price: usize) -> f64 {
    let week = [1.0, 0.9, 0.9, 1.0, 1.3, 1.6, 0.4][step % 7];
    let noise = ((step * 7919 + size as usize * 31) % 100) as f64 / 1000.0;
    size * (week + 0.002 * step as f64 + noise - 0.1 * price as f64)
}

/// Two shops for so many days, and so many more of which the price is known.
fn sales(days: usize, further: usize) -> String {
    let mut text = "day,shop,price,sold\n".to_string();
    for step in 0..days + further {
        for (shop, size) in [("north", 20.0), ("south", 300.0)] {
            let price = (step * 5 + size as usize) % 3;
            let sold = if step < days { format!("{:.2}", sold(size, step, price)) } else { String::new() };
            text += &format!("{},{shop},{price},{sold}\n", day(step));
        }
    }
    text
}

const TRAIN: [&str; 8] = ["train", "sales.csv", "--target", "sold", "--forecast", "7", "--known", "price"];

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn trained(name: &str, further: &[&str]) -> Program {
    let folder = kiln(name);
    folder.write("sales.csv", sales(200, 0));
    folder.out(&[&TRAIN[..], further, &["--out", "run", "--quiet"]].concat());
    folder
}

#[test]
fn series_of_a_table_are_forecast_better_than_by_repeating_the_season() {
    let folder = trained("forecast", &["--time-limit", "20s"]);
    let result = json(&folder.read("run/result.json"));
    let said = result["said"].to_string();
    assert!(said.contains("2 series of sold, daily by day: 200 steps"), "{said}");
    assert!(said.contains("seasons of 7 steps") && said.contains("price known of the future too"), "{said}");
    let (own, naive) = (&result["test"]["MASE"], &result["seasonal_naive"]["MASE"]);
    assert!(own.as_f64().unwrap() < 0.7 * naive.as_f64().unwrap(), "{own} beside {naive}");
    for name in ["linear", "trees", "mlp", "seasonal naive", "drift", "exponential smoothing"] {
        let lines = result["leaderboard"]["standings"].as_array().unwrap();
        assert!(lines.iter().any(|line| line["name"] == name && line["score"].is_f64()), "{name}");
    }
    let report = String::from_utf8(folder.read("run/report.html")).unwrap();
    assert!(report.contains("Error by step") && report.contains("seasonal naive"));

    // What comes next, with prices that are known and bounds around it.
    folder.write("new.csv", sales(200, 7));
    let next = folder.out(&["predict", "run/model.kiln", "new.csv"]);
    let lines: Vec<Vec<&str>> = next.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], ["shop", "day", "sold", "sold_lower", "sold_upper"]);
    assert_eq!(lines.len(), 15);
    assert_eq!(lines[1][..2], ["north", day(200).as_str()]);
    for (line, size) in [(&lines[1..8], 20.0), (&lines[8..15], 300.0)] {
        for (step, cells) in line.iter().enumerate() {
            let number = |at: usize| cells[at].parse::<f64>().unwrap();
            let truth = sold(size, 200 + step, ((200 + step) * 5 + size as usize) % 3);
            assert!((number(2) - truth).abs() < 0.15 * size, "{cells:?} of {truth}");
            assert!(number(3) <= number(2) && number(2) <= number(4), "{cells:?}");
        }
    }
    let objects = folder.out(&["predict", "run/model.kiln", "new.csv", "--json"]);
    let first: Value = serde_json::from_str(objects.lines().next().unwrap()).unwrap();
    assert_eq!((&first["shop"], &first["day"]), (&"north".into(), &day(200).into()));
    assert_eq!(first["sold"].as_f64().unwrap().to_string(), lines[1][2]);

    let measured = folder.out(&["eval", "run/model.kiln", "sales.csv", "--json"]);
    let measured: Value = serde_json::from_str(&measured).unwrap();
    assert_eq!(measured["numbers"]["MASE"], result["test"]["MASE"]);
    let shown = folder.out(&["inspect", "run/model.kiln"]);
    assert!(
        shown.contains("forecasts 7 steps of sold, daily by day") && shown.contains("by shop"),
        "{shown}"
    );
}

#[test]
fn a_run_is_repeated_and_gone_on_with_to_the_bit() {
    let folder = trained("forecast-repeat", &["--time-limit", "15s"]);
    folder.out(&["train", "--repeat", "run/result.json", "--out", "again", "--quiet", "--threads", "1"]);
    assert_eq!(folder.read("run/model.kiln"), folder.read("again/model.kiln"));
    folder.out(&["train", "--resume", "run", "--quiet"]);
    assert_eq!(folder.read("run/model.kiln"), folder.read("again/model.kiln"));
}

#[test]
fn mistakes_in_series_are_said_with_their_mend() {
    let folder = kiln("forecast-mistakes");
    folder.write("sales.csv", sales(60, 0));
    folder.write("words.csv", "day,sold\n2023-01-01,a\n2023-01-02,b\n2023-01-03,c\n");
    folder.write(
        "short.csv",
        (0..12).fold("day,sold\n".to_string(), |text, at| text + &format!("{},{at}\n", day(at))),
    );
    folder.write(
        "no.csv",
        (0..40).fold("when,sold\n".to_string(), |text, at| text + &format!("{},{at}\n", at * at * 37 % 1009)),
    );
    for (file, flags, wrong) in [
        ("sales.csv", &["--forecast", "7"][..], "--forecast needs --target"),
        ("sales.csv", &["--target", "sold", "--forecast", "0"], "whole number from 1"),
        ("sales.csv", &["--target", "sild", "--forecast", "7"], "did you mean \"sold\""),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--series", "shpo"], "did you mean \"shop\""),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--known", "prize"], "did you mean \"price\""),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--known", "sold"], "is what is forecast"),
        (
            "sales.csv",
            &["--target", "sold", "--forecast", "7", "--time", "shop"],
            "must be a date or a number",
        ),
        ("sales.csv", &["--target", "sold", "--forecast", "40"], "forecast fewer"),
        ("sales.csv", &["--target", "sold", "--forecast", "25"], "shorter horizon"),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--season", "30"], "should come three times"),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--gaps", "none"], "missing or zero"),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--duplicates", "last"], "mean or sum"),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--frequency", "often"], "a frequency is"),
        (
            "sales.csv",
            &["--target", "sold", "--forecast", "7", "--augment", "flip"],
            "changes nothing for series",
        ),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--refit"], "changes nothing for forecasts"),
        ("sales.csv", &["--target", "sold", "--forecast", "7", "--preset", "cnn"], "for images"),
        (
            "sales.csv",
            &["--target", "sold", "--forecast", "7", "--preset", "trees", "--epochs", "3"],
            "--epochs changes nothing for --preset trees",
        ),
        ("sales.csv", &["--target", "sold", "--season", "7"], "--season changes nothing for a table"),
        ("words.csv", &["--target", "sold", "--forecast", "1"], "must be a finite number"),
        ("short.csv", &["--target", "sold", "--forecast", "4"], "shorter horizon"),
        ("no.csv", &["--target", "sold", "--forecast", "2"], "--time names the column"),
        ("none.csv", &["--target", "sold", "--forecast", "2"], "no such file"),
    ] {
        let (code, said) = folder.error(&[&["train", file], flags].concat());
        assert!(code != 0 && said.contains(wrong), "{file} {flags:?}: {said}");
    }
}

#[test]
fn a_model_of_forecasts_refuses_what_is_no_series_and_is_exported_with_its_way_from_raw_values() {
    let folder = trained("forecast-export", &["--preset", "linear"]);
    let model = "run/model.kiln";
    let (_, said) = folder.error(&["predict", model]);
    assert!(said.contains("name one"), "{said}");
    folder.write("other.csv", "a,b\n1,2\n");
    let (_, said) = folder.error(&["predict", model, "other.csv"]);
    assert!(said.contains("day") || said.contains("column"), "{said}");
    // Prices that aren't told are said.
    let output = folder.run(&["predict", model, "sales.csv"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("price isn't told for 7 of the 7 next steps"), "{said}");
    let said = folder.out(&["export", model, "next.onnx"]);
    assert!(said.contains("random rows"), "{said}");
    folder.out(&["export", model, "rows.onnx", "--without-preprocessing"]);
}
