//! Tables as they come: every file looked at, and every way to write one table through training, prediction and evaluation, which must
//! come to the same as the plain way.

use std::io::Write;
use std::process::Stdio;

use kiln_testkit::Program;
use kiln_testkit::awkward::{Awkward, files};
use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;
use super::zip::zip;

#[test]
fn every_awkward_file_can_be_looked_at_and_what_was_decided_is_said() {
    let (folder, all) = (kiln("awkward"), files());
    assert!(all.len() >= 60, "{}", all.len());
    for Awkward { name, bytes, rows, said, .. } in all {
        folder.write(name, bytes);
        let shown = folder.out(&["inspect", name]);
        let counted = format!("{rows} {}, ", if rows == 1 { "row" } else { "rows" });
        assert!(shown.starts_with(&counted), "{name}: {shown}");
        assert!(said.iter().all(|said| shown.contains(said)), "{name}: {shown}");
    }
    let shown = folder.out(&["inspect", "ambiguous.csv", "--dates", "dmy"]);
    assert!(shown.contains("2024-04-03") && !shown.contains("nothing in it shows"), "{shown}");
    let shown = folder.out(&["inspect", "commas-ambiguous.csv", "--decimal", ","]);
    assert!(shown.contains("1.234 to 5.678"), "{shown}");
    assert!(folder.out(&["inspect", "none.csv", "--header", "yes"]).starts_with("2 rows"));
    assert!(folder.error(&["inspect", "none.csv", "--header", "perhaps"]).1.contains("yes or no"));
}

/// A row of the table: an amount that may be missing, a day, a word, a share, and what follows from them.
struct Row {
    amount: Option<f64>,
    day: [usize; 3],
    word: &'static str,
    label: &'static str,
}

fn row(number: usize) -> Row {
    let kind = number % 2;
    Row {
        amount: (number % 13 != 5).then_some(1000.25 + 40.5 * (number * 7 % 50) as f64 + 900.0 * kind as f64),
        day: [2020 + number % 4, 1 + number % 12, 1 + number * 5 % 28],
        word: ["süß", "sauer", "salzig"][number % 3],
        label: ["low", "high"][kind],
    }
}

/// How a table is written: its delimiter, and each of its cells.
struct Style {
    name: &'static str,
    first: &'static str,
    header: &'static str,
    delimiter: char,
    cells: fn(usize, &Row) -> Vec<String>,
    bytes: fn(&str) -> Vec<u8>,
    flags: &'static [&'static str],
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// An amount with groups of thousands.
fn grouped(amount: f64, thousands: &str, decimal: &str) -> String {
    let (whole, rest) = (amount.trunc() as u64, (amount.fract() * 100.0).round() as u64);
    format!("{}{thousands}{:03}{decimal}{rest:02}", whole / 1000, whole % 1000)
}

fn cells(row: &Row, amount: String, day: String) -> Vec<String> {
    vec![amount, day, row.word.to_string(), row.label.to_string()]
}

fn or(amount: Option<f64>, missing: &str, write: impl Fn(f64) -> String) -> String {
    amount.map_or(missing.to_string(), write)
}

fn plain(_: usize, row: &Row) -> Vec<String> {
    let [year, month, day] = row.day;
    cells(row, or(row.amount, "", |amount| amount.to_string()), format!("{year}-{month:02}-{day:02}"))
}

fn german(_: usize, row: &Row) -> Vec<String> {
    let [year, month, day] = row.day;
    cells(row, or(row.amount, "-", |amount| grouped(amount, ".", ",")), format!("{day:02}.{month:02}.{year}"))
}

fn british(_: usize, row: &Row) -> Vec<String> {
    let [year, month, day] = row.day;
    let amount = or(row.amount, "missing", |amount| format!("\"£{}\"", grouped(amount, ",", ".")));
    cells(row, amount, format!("{day:02}/{month:02}/{year}"))
}

fn american(_: usize, row: &Row) -> Vec<String> {
    let [year, month, day] = row.day;
    cells(row, or(row.amount, "#N/A", |amount| format!("{amount} USD")), format!("{month}/{day}/{year}"))
}

fn compact(_: usize, row: &Row) -> Vec<String> {
    let [year, month, day] = row.day;
    cells(row, or(row.amount, "n.b.", |amount| amount.to_string()), format!("{year}{month:02}{day:02}"))
}

fn indexed(number: usize, row: &Row) -> Vec<String> {
    [vec![number.to_string()], plain(number, row)].concat()
}

const NAMES: &str = "amount,day,word,label";

const STYLES: [Style; 9] = [
    Style { name: "plain", first: "", header: NAMES, delimiter: ',', cells: plain, bytes: utf8, flags: &[] },
    Style {
        name: "german",
        first: "",
        header: NAMES,
        delimiter: ';',
        cells: german,
        bytes: latin1,
        flags: &[],
    },
    Style {
        name: "excel",
        first: "sep=;\r\n",
        header: NAMES,
        delimiter: ';',
        cells: german,
        bytes: utf8,
        flags: &[],
    },
    Style {
        name: "british",
        first: "",
        header: NAMES,
        delimiter: ',',
        cells: british,
        bytes: utf8,
        flags: &[],
    },
    Style {
        name: "american",
        first: "",
        header: NAMES,
        delimiter: '\t',
        cells: american,
        bytes: utf16,
        flags: &[],
    },
    Style {
        name: "compact",
        first: "",
        header: NAMES,
        delimiter: ',',
        cells: compact,
        bytes: utf8,
        flags: &["--missing", "n.b."],
    },
    Style {
        name: "indexed",
        first: "",
        header: ",amount,day,word,label",
        delimiter: ',',
        cells: indexed,
        bytes: utf8,
        flags: &[],
    },
    Style { name: "nameless", first: "", header: "", delimiter: ',', cells: plain, bytes: utf8, flags: &[] },
    Style {
        name: "told",
        first: "",
        header: NAMES,
        delimiter: ',',
        cells: plain,
        bytes: utf8,
        flags: &["--header", "yes"],
    },
];

impl Style {
    fn text(&self, rows: impl Iterator<Item = usize>) -> Vec<u8> {
        let sign = self.delimiter.to_string();
        let mut text = self.first.to_string();
        if !self.header.is_empty() {
            text += &format!("{}\n", self.header.replace(',', &sign));
        }
        for number in rows {
            text += &((self.cells)(number, &row(number)).join(&sign) + "\n");
        }
        (self.bytes)(&text)
    }
}

fn json(folder: &Program, name: &str) -> Value {
    serde_json::from_slice(&folder.read(name)).unwrap()
}

#[test]
fn one_table_comes_to_the_same_in_every_way_it_is_written() {
    let folder = kiln("styles");
    let mut plain: Option<(Value, Vec<String>, Value)> = None;
    for style in STYLES {
        let name = style.name;
        let file = format!("{name}.csv");
        folder.write(&file, style.text(0..120));
        // The first rows alone, which show less of how they are written than the whole file does.
        folder.write("few.csv", style.text(0..3));
        let common = ["train", &file, "--epochs", "2", "--seed", "3", "--out", name];
        texts(&folder.run(&[&common[..], style.flags].concat()));
        let result = json(&folder, &format!("{name}/result.json"));
        let model = format!("{name}/model.kiln");
        let predicted = folder.out(&["predict", &model, "few.csv", "--json"]);
        let predicted: Vec<String> = predicted.lines().map(str::to_string).collect();
        let eval = folder.out(&["eval", &model, &file, "--json"]);
        let eval: Value = serde_json::from_str(&eval).unwrap();
        let exported = texts(&folder.run(&["export", &model, "m.onnx"]));
        assert!(
            exported.0.contains("largest difference") || exported.1.contains("largest difference"),
            "{exported:?}"
        );
        let found = (result["test"].clone(), predicted, eval["numbers"].clone());
        assert!(result["said"].as_array().is_some_and(|said| said.len() > 2), "{name}: {result}");
        match &plain {
            None => plain = Some(found),
            // Without a header columns have other names, and nothing else is other.
            Some(plain) => assert_eq!(found, *plain, "{name}"),
        }
    }
}

#[test]
fn the_standard_input_and_files_of_their_own_for_each_part_are_data() {
    let folder = kiln("parts");
    let style = &STYLES[1];
    folder.write("train.csv", style.text(0..90));
    folder.write("val.csv", style.text(90..110));
    folder.write("test.csv", style.text(110..150));
    let counted = |arguments: &[&str]| {
        let output = folder.run(&[&["train", "train.csv", "--epochs", "1"], arguments].concat());
        texts(&output).1
    };
    let said = counted(&["--test", "test.csv", "--val", "val.csv", "--out", "own"]);
    assert!(said.contains("90 to train on, 20 to validate with, 40 to test with"), "{said}");
    let said = counted(&["--test-fraction", "0", "--target", "4"]);
    assert!(said.contains("72 to train on, 18 to validate with, 0 to test with"), "{said}");
    assert!(counted(&["--test", "test.csv", "--test-fraction", "0.3"]).contains("leave one out"));
    let fed = |arguments: &[&str]| {
        let mut command = folder.command(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&style.text(0..90)).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", texts(&output).1);
        texts(&output).0
    };
    assert!(fed(&["inspect", "-"]).starts_with("90 rows"));
    fed(&["train", "-", "--epochs", "1", "--out", "fed"]);
    assert!(fed(&["predict", "fed/model.kiln", "-"]).lines().count() == 91);
    assert!(fed(&["eval", "fed/model.kiln", "-"]).contains("(90 rows)"));
}

#[test]
fn a_model_is_asked_of_files_that_are_written_otherwise() {
    let folder = kiln("otherwise");
    // Of these numbers and days nothing shows that they are written otherwise: 1.234 may be one and some.
    let row = |number: usize, decimal: &str, day_first: bool| {
        let (amount, day, month) = (1000 + number * 37 % 900, 1 + number % 12, 1 + number * 5 % 12);
        let amount = format!("{}{decimal}{:03}", amount / 1000, amount % 1000);
        let date =
            if day_first { format!("{day:02}/{month:02}/2024") } else { format!("2024-{month:02}-{day:02}") };
        let label = ["low", "high"][number % 2];
        let level = if number.is_multiple_of(9) { "none given" } else { ["a", "b"][number % 2] };
        [amount, date, level.to_string(), label.to_string()]
    };
    let text = |sign: &str, decimal: &str, day_first: bool, missing: &str, header: bool| {
        let mut lines = if header { vec!["amount,day,level,label".replace(',', sign)] } else { Vec::new() };
        for number in 0..120 {
            lines.push(row(number, decimal, day_first).join(sign).replace("none given", missing));
        }
        lines.join("\n") + "\n"
    };
    folder.write("plain.csv", text(",", ".", false, "", true));
    folder.out(&["train", "plain.csv", "--target", "label", "--epochs", "2", "--quiet", "--out", "r"]);
    let model = "r/model.kiln";
    let ask = |file: &str, flags: &[&str]| {
        let lines = folder.out(&[&["predict", model, file, "--json"], flags].concat());
        let probabilities =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["probabilities"].clone();
        let eval = folder.out(&[&["eval", model, file, "--json"], flags].concat());
        let eval: Value = serde_json::from_str(&eval).unwrap();
        (lines.lines().map(probabilities).collect::<Vec<_>>(), eval["numbers"].clone())
    };
    let wanted = ask("plain.csv", &[]);
    let other = text(",", ".", false, "", true);
    for (name, bytes, flags) in [
        ("commas.csv", text(";", ",", false, "", true).into_bytes(), &["--decimal", ","][..]),
        ("days.csv", text(",", ".", true, "", true).into_bytes(), &["--dates", "dmy"]),
        ("words.csv", text(",", ".", false, "n.b.", true).into_bytes(), &["--missing", "n.b."]),
        ("signs.csv", text("~", ".", false, "", true).into_bytes(), &["--delimiter", "~"]),
        ("utf-16.csv", other.encode_utf16().flat_map(u16::to_le_bytes).collect(), &["--encoding", "utf-16"]),
        (
            "two.zip",
            zip(&[("other.csv", b"x,y\n1,2\n".to_vec()), ("new.csv", other.clone().into_bytes())]),
            &["--member", "new.csv"],
        ),
        (
            "all.csv",
            text(";", ",", true, "n.b.", true).into_bytes(),
            &["--decimal", ",", "--dates", "dmy", "--missing", "n.b."],
        ),
    ] {
        folder.write(name, bytes);
        assert!(ask(name, flags) == wanted, "{name} {flags:?}");
    }
    // What was told of the training's file is a guess for others.
    let told = ["--target", "label", "--epochs", "2", "--quiet", "--encoding", "utf-16", "--out", "wide"];
    folder.out(&[&["train", "utf-16.csv"], &told[..]].concat());
    for file in ["plain.csv", "utf-16.csv"] {
        let lines = folder.out(&["predict", "wide/model.kiln", file]);
        assert_eq!(lines.lines().count(), 121, "{file}");
        folder.out(&["eval", "wide/model.kiln", file]);
    }
    let refused = |arguments: &[&str]| folder.error(arguments).1;
    let said = refused(&["predict", model, "two.zip", "--member", "third.csv"]);
    assert!(said.contains("there is no third.csv in the archive"), "{said}");
    assert!(refused(&["eval", model, "plain.csv", "--decimal", "x"]).contains("--decimal is . or ,"));
    folder.out(&["train", "--epochs", "1", "--layers", "flatten, dense", "--quiet", "--out", "digits"]);
    let said = refused(&["predict", "digits/model.kiln", "plain.csv", "--sheet", "2"]);
    assert!(said.contains("--sheet is for models of tables"), "{said}");
}
