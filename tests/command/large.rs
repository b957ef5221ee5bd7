//! Many classes, many columns, and little time: what is made of them grows with them and not with their square, and a limit holds for all.

use serde_json::Value;

use super::{flowers, kiln};

/// So many classes, each with four rows.
fn many_classes(classes: usize) -> String {
    let mut text = "a,b,kind\n".to_string();
    for row in 0..4 * classes {
        let class = row % classes;
        text += &format!("{},{},k{class}\n", class as f64 / classes as f64, (class * 7) % classes);
    }
    text
}

/// So many columns, of which the last but one decides.
fn many_columns(columns: usize) -> String {
    let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
    let mut text = format!("{},kind\n", names.join(","));
    for row in 0..60usize {
        let cell = |column: usize| (row * 7919 + column * 104_729) % 1009 % 97;
        let cells: Vec<String> = (1..columns).map(|column| cell(column).to_string()).collect();
        let kind = ["low", "high"][usize::from(row % 2 == 0)];
        text += &format!("{},{},{kind}\n", cells.join(","), 100 * (row % 2) + row);
    }
    text
}

#[test]
fn thousands_of_classes_are_told_by_the_worst() {
    let folder = kiln("classes");
    folder.write("many.csv", many_classes(3000));
    let train = ["train", "many.csv", "--epochs", "1", "--batch-size", "256", "--quiet", "--out", "r"];
    folder.out(&[&train[..], &["--preset", "linear"]].concat());
    let report = String::from_utf8(folder.read("r/report.html")).unwrap();
    assert!(report.contains("The worst 20 of 3000 classes") && report.len() < 100_000, "{}", report.len());
    assert!(report.contains("Mistakes made most often"));
    let said = folder.out(&["eval", "r/model.kiln", "many.csv"]);
    assert!(said.contains("the worst 20 of 3000 classes") && said.lines().count() < 40, "{said}");
}

#[test]
fn importances_of_thousands_of_columns_are_bounded_by_time_and_begin_with_those_that_matter() {
    let folder = kiln("columns");
    folder.write("wide.csv", many_columns(8000));
    let train = ["train", "wide.csv", "--epochs", "3", "--lr", "0.001", "--quiet", "--preset", "linear"];
    folder.out(&[&train[..], &["--time-limit", "8s", "--out", "r"]].concat());
    let result: Value = serde_json::from_slice(&folder.read("r/result.json")).unwrap();
    let importances = &result["importances"];
    let measured = importances["measured"].as_array().unwrap().len();
    assert_eq!(importances["columns"], 8000);
    assert!((1..8000).contains(&measured), "{measured} were measured");
    assert!(folder.read("r/report.html").len() < 200_000);
    let predicted = folder.out(&["predict", "r/model.kiln", "wide.csv", "--json"]);
    assert_eq!(predicted.lines().count(), 60);
}

#[test]
fn a_time_limit_covers_all_and_the_schedule_comes_to_its_end() {
    let folder = kiln("limit");
    folder.write("flowers.csv", flowers(600));
    let train = ["train", "flowers.csv", "--target", "kind", "--epochs", "1000000", "--early-stop", "0"];
    folder.out(&[&train[..], &["--time-limit", "4s", "--quiet", "--out", "r"]].concat());
    let result: Value = serde_json::from_slice(&folder.read("r/result.json")).unwrap();
    let seconds = result["seconds"].as_f64().unwrap();
    // Others may share the processor.
    assert!((1.0..6.0).contains(&seconds), "{seconds} s");
    assert!(result["stopped"].as_str().unwrap().contains("the time limit of 4s"), "{result}");
    let log = String::from_utf8(folder.read("r/metrics.csv")).unwrap();
    let rate = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap();
    let rates: Vec<f64> = log.lines().skip(1).map(rate).collect();
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    assert!(last < 0.1 * first, "the rate went from {first} to {last}");
}
