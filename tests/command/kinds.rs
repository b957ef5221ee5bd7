//! Every kind of file with every command: tables of each kind come to what the plain one comes to, and a file that is none for a model is
//! said to be so.

use std::path::Path;

use kiln_testkit::Program;
use serde_json::Value;

use super::kiln;

/// The files of `tests/data/tables`, which are one table, copied beside the program.
fn tables(folder: &Program) -> Vec<String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tables");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".py") {
            folder.write(&name, std::fs::read(&path).unwrap());
            names.push(name);
        }
    }
    names.sort();
    names
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The probabilities that a model says of a table.
fn predicted(folder: &Program, model: &str, file: &str) -> Vec<Value> {
    let said = folder.out(&["predict", model, file, "--json"]);
    said.lines().map(|line| json(line)["probabilities"].clone()).collect()
}

#[test]
fn every_kind_of_table_goes_through_every_command() {
    let folder = kiln("kinds");
    let names = tables(&folder);
    let endings: Vec<&str> = names.iter().map(|name| name.rsplit_once('.').unwrap().1).collect();
    for kind in [
        "csv", "tsv", "tab", "psv", "jsonl", "ndjson", "json", "parquet", "feather", "arrow", "arrows",
        "xlsx", "xlsm", "zip", "gz", "zst",
    ] {
        assert!(endings.contains(&kind), "no table in {kind}");
    }
    let train = |name: &str, out: &str| {
        folder.out(&["train", name, "--target", "level", "--epochs", "2", "--quiet", "--out", out]);
        let result = json(&String::from_utf8(folder.read(&format!("{out}/result.json"))).unwrap());
        result["test"].clone()
    };
    let wanted = train("plain.csv", "plain");
    let model = "plain/model.kiln";
    let answers = predicted(&folder, model, "plain.csv");
    let figures = json(&folder.out(&["eval", model, "plain.csv", "--json"]))["numbers"].clone();
    for name in &names {
        assert_eq!(train(name, &format!("of-{name}")), wanted, "train {name}");
        assert_eq!(predicted(&folder, model, name), answers, "predict {name}");
        assert_eq!(predicted(&folder, &format!("of-{name}/model.kiln"), "plain.csv"), answers, "by {name}");
        let eval = folder.out(&["eval", model, name, "--json"]);
        assert_eq!(json(&eval)["numbers"], figures, "eval {name}");
        assert!(folder.out(&["inspect", name]).starts_with("90 rows, 8 columns"), "inspect {name}");
    }
}

#[test]
fn a_file_of_another_kind_is_named_by_every_command() {
    let folder = kiln("other-kinds");
    tables(&folder);
    let picture = |shade: u8| [&b"P5 8 8 255\n"[..], &[shade; 64]].concat();
    for number in 0..20u8 {
        folder.write(&format!("photos/dark/{number}.pgm"), picture(number));
        folder.write(&format!("photos/light/{number}.pgm"), picture(200 + number));
    }
    folder.write("picture.pgm", picture(9));
    folder.write("some.txt", "to be or not to be that is the question ".repeat(40));
    let train = |data: &str, more: &[&str]| {
        let out = format!("of-{data}");
        folder.out(&[&["train", data, "--epochs", "1", "--quiet", "--out", &out], more].concat());
        format!("{out}/model.kiln")
    };
    let of_table = train("plain.csv", &["--target", "level"]);
    let of_photos = train("photos", &["--layers", "flatten, dense"]);
    let of_text = train("some.txt", &["--window", "8", "--preset", "lstm"]);
    for (model, file, said) in [
        (&of_table, "picture.pgm", "this is a PNM picture, and no table"),
        (&of_table, "photos", "photos"),
        (&of_photos, "plain.csv", "this is a text, as tables are, and no picture"),
        (&of_photos, "snappy.parquet", "this is a Parquet file, and no picture"),
        (&of_photos, "pandas.xlsx", "this is a zip archive, and no picture"),
        (&of_text, "picture.pgm", "this is a PNM picture, and no text"),
        (&of_text, "snappy.parquet", "this is a Parquet file, and no text"),
    ] {
        for command in ["predict", "eval"] {
            let (code, error) = folder.error(&[command, model, file]);
            assert_eq!(code, 1, "{command} {model} {file}: {error}");
            assert!(error.contains(file), "{command} {model} {file}: {error}");
            assert!(!error.contains("a header and no row"), "{command} {model} {file}: {error}");
            // Evaluating pictures takes folders of them.
            if command == "predict" || model != &of_photos {
                assert!(error.contains(said), "{command} {model} {file}: {error}");
            }
        }
    }
    for (file, said) in
        [("picture.pgm", "this is a PNM picture, no table"), ("of-photos/model.kiln", "this is no table")]
    {
        let (_, error) = folder.error(&["train", file]);
        assert!(error.contains(said), "{error}");
    }
}
