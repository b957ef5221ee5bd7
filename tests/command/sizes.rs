//! Tables larger than what a file may take: nobody has to know of frames to train, evaluate and predict with them.

use std::io::Write;
use std::process::Stdio;

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;

/// Numbers that follow from others, of which some are missing.
fn houses(rows: usize) -> String {
    let mut text = "area,rooms,kind,price\n".to_string();
    for row in 0..rows {
        let (area, rooms) = (40 + (row * 7919) % 97, 1 + (row * 31) % 6);
        let kind = ["flat", "house", "hut"][(row / 3) % 3];
        let price = if row % 50 == 7 { String::new() } else { (1000 * area + 5000 * rooms).to_string() };
        text += &format!("{area},{rooms},{kind},{price}\n");
    }
    text
}

const LIMIT: [&str; 2] = ["--limit", "bytes=20M"];

#[test]
fn a_table_larger_than_memory_is_trained_on_evaluated_and_predicted() {
    let folder = kiln("large");
    folder.write("houses.csv", houses(400_000));
    folder.write("few.csv", houses(500));
    let train = ["train", "houses.csv", "--epochs", "1", "--test", "few.csv", "--out", "r"];
    let (_, said) = texts(&folder.run(&[&LIMIT[..], &train].concat()));
    assert!(said.contains("more than the 20.0 MiB that a file may"), "{said}");
    assert!(said.contains("8000 rows are left out"), "{said}");
    assert!(said.contains("490 rows of few.csv to test with"), "{said}");
    let result: Value = serde_json::from_slice(&folder.read("r/result.json")).unwrap();
    assert!(result["test"]["r2"].as_f64().unwrap() > 0.9, "{result}");
    assert_eq!(result["importances"]["measured"][0]["column"], "area", "{result}");
    // Nothing is left behind.
    let left = |at: &str| {
        let files = std::fs::read_dir(folder.path().join(at)).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("kdf")).count()
    };
    assert_eq!((left("."), left("r")), (0, 0));
    // The same figures, however much memory there is.
    let eval = |limit: &[&str]| {
        let told = folder.out(&[limit, &["eval", "r/model.kiln", "houses.csv", "--json"]].concat());
        serde_json::from_str::<Value>(&told).unwrap()
    };
    assert_eq!(eval(&LIMIT), eval(&[]));
    assert_eq!(eval(&[])["rows"], 392_000);
    // From the standard input too.
    let fed = |arguments: &[&str]| {
        let mut command = folder.command(&[&LIMIT[..], arguments].concat());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(houses(400_000).as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", texts(&output).1);
        texts(&output).0
    };
    let predicted = fed(&["predict", "r/model.kiln", "-"]);
    assert_eq!(predicted.lines().count(), 400_001);
    assert_eq!(predicted, folder.out(&["predict", "r/model.kiln", "houses.csv"]));
    let evaluated: Value = serde_json::from_str(&fed(&["eval", "r/model.kiln", "-", "--json"])).unwrap();
    assert_eq!(evaluated["numbers"], eval(&[])["numbers"]);
    fed(&["train", "-", "--epochs", "1", "--out", "fed", "--target", "price", "--quiet"]);
    assert_eq!((left("."), left("fed")), (0, 0));
    let (_, refused) = folder.error(&[&LIMIT[..], &["train", "houses.csv", "--group", "kind"]].concat());
    assert!(refused.contains("--group changes nothing for a table that takes more memory"), "{refused}");
}
