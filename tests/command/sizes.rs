//! Tables larger than what a file may take: nobody has to know of frames to train, evaluate and predict with them.

use std::io::Write;
use std::process::Stdio;

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;
use super::zip::zip;

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
}

#[test]
fn a_table_larger_than_memory_is_cut_and_taught_further_as_one_that_is_held() {
    let folder = kiln("large-parts");
    let mut text = "street,day,area,rooms,price\n".to_string();
    for row in 0..60_000usize {
        let (area, rooms) = (40 + (row * 7919) % 97, 1 + (row * 31) % 6);
        let price = if row % 50 == 7 { String::new() } else { (1000 * area + 5000 * rooms).to_string() };
        let day = format!("{:02}.{:02}.{}", 1 + row % 28, 1 + (row / 28) % 12, 2000 + (row * 17) % 23);
        text += &format!("street {},{day},{area},{rooms},{price}\n", (row * 13) % 400);
    }
    folder.write("houses.csv", &text);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    folder.write("houses.csv.gz", packed.finish().unwrap());
    folder.write("houses.zip", zip(&[("houses.csv", text.clone().into_bytes())]));
    let train = |limit: &[&str], data: &str, flags: &[&str], out: &str| {
        let common = ["train", data, "--epochs", "1", "--batch-size", "256", "--out", out];
        let output = folder.run(&[limit, &common, flags].concat());
        let (_, said) = texts(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(
            said.contains("as a table it would take about"),
            !limit.is_empty(),
            "{data} {flags:?}: {said}"
        );
        let counts = said.lines().find(|line| line.contains(" to train on, ")).unwrap().to_string();
        let result: Value = serde_json::from_slice(&folder.read(&format!("{out}/result.json"))).unwrap();
        (counts, result["test"].clone())
    };
    const LIMIT: [&str; 2] = ["--limit", "bytes=4M"];
    let drop = ["--ignore", "street,day"];
    for (name, flags) in [("group", ["--group", "street"]), ("time", ["--time", "day"])] {
        let flags = [&flags[..], &drop].concat();
        // The same rows in each part, in the order of the file; what comes of them is as good.
        let held = train(&[], "houses.csv", &flags, &format!("{name}-held"));
        let framed = train(&LIMIT, "houses.csv", &flags, name);
        assert_eq!(held.0, framed.0, "{name}");
        for (figures, is) in [(held.1, "held"), (framed.1, "framed")] {
            assert!(figures["r2"].as_f64().unwrap() > 0.9, "{name} {is}: {figures}");
        }
        let packed = train(&LIMIT, "houses.csv.gz", &flags, &format!("{name}-gz"));
        assert_eq!(packed, train(&LIMIT, "houses.zip", &flags, &format!("{name}-zip")));
    }
    let (_, before) = train(&LIMIT, "houses.csv", &drop, "first");
    let (_, after) = train(&LIMIT, "houses.csv", &["--from", "first/model.kiln"], "further");
    assert!(after["loss"].as_f64().unwrap() <= before["loss"].as_f64().unwrap(), "{before} {after}");
    let (_, other) = train(
        &LIMIT,
        "houses.csv",
        &["--from", "first/model.kiln", "--head", "--target", "rooms", "--task", "number"],
        "head",
    );
    assert!(other["rmse"].is_number(), "{other}");
    // What is no text is predicted part by part where it is too large, and says the same.
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        format!(
            "{{\"street\":\"{}\",\"area\":{},\"rooms\":{},\"new\":\"in {}\"}}\n",
            cells[0], cells[2], cells[3], cells[0]
        )
    };
    let lines: String = text.lines().skip(1).map(row).collect();
    folder.write("houses.jsonl", lines);
    for json in [&[][..], &["--json"]] {
        let predict = ["predict", "first/model.kiln", "houses.jsonl"];
        let held = folder.run(&[&predict[..], json].concat());
        let parts = folder.run(&[&LIMIT[..], &predict, json].concat());
        assert!(held.status.success() && texts(&held) == texts(&parts), "{:?}", texts(&parts).1);
        assert_eq!(texts(&parts).0.lines().count(), 60_000 + usize::from(json.is_empty()));
    }
    let several = [&drop[..], &["--target", "price,rooms", "--task", "number,classes"]].concat();
    let (_, figures) = train(&LIMIT, "houses.csv", &several, "several");
    assert!(
        figures["price.r2"].as_f64().unwrap() > 0.9 && figures["rooms.accuracy"].is_number(),
        "{figures}"
    );
    folder.out(
        &[&["train", "houses.csv", "--frame", "f.kdf", "--epochs", "1", "--quiet"], &several[..]].concat(),
    );
    let shown = folder.out(&["inspect", "f.kdf"]);
    assert!(shown.contains("targets   price, rooms") && shown.matches('→').count() == 2, "{shown}");
    let (_, refused) = folder.error(&[&LIMIT[..], &["train", "houses.csv", "--time", "street"]].concat());
    assert!(refused.contains("--time street: row 1"), "{refused}");
}
