//! The command, run as a person would: from a file to a model, and every mistake with its mend.

#[path = "command/awkward.rs"]
mod awkward;
#[path = "command/explain.rs"]
mod explain;
#[path = "command/fields.rs"]
mod fields;
#[path = "command/fitted.rs"]
mod fitted;
#[path = "command/forecast.rs"]
mod forecast;
#[path = "command/interrupted.rs"]
mod interrupted;
#[path = "command/kinds.rs"]
mod kinds;
#[path = "command/large.rs"]
mod large;
#[path = "command/numbers.rs"]
mod numbers;
#[path = "command/pairs.rs"]
mod pairs;
#[path = "command/pictures.rs"]
mod pictures;
#[path = "command/search.rs"]
mod search;
#[path = "command/selected.rs"]
mod selected;
#[path = "command/series.rs"]
mod series;
#[path = "command/sizes.rs"]
mod sizes;
#[path = "command/tables.rs"]
mod tables;
#[path = "command/tags.rs"]
mod tags;
#[path = "command/targets.rs"]
mod targets;
#[path = "command/texts.rs"]
mod texts;
#[path = "command/trees.rs"]
mod trees;
#[path = "command/trust.rs"]
mod trust;
#[path = "kit/zip.rs"]
mod zip;

use kiln_testkit::Program;
use kiln_testkit::folder::texts;
use serde_json::Value;

/// The command, in a folder of this name.
fn kiln(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

/// A table whose class follows from its columns, with words, missing cells and a number that says nothing.
fn flowers(rows: usize) -> String {
    let mut text = "length,width,colour,noise,kind\n".to_string();
    for row in 0..rows {
        let kind = row % 3;
        let wobble = ((row * 7919) % 100) as f64 / 100.0;
        let width = if row % 17 == 5 { String::new() } else { format!("{:.2}", 1.0 + kind as f64 - wobble) };
        let colour = ["red", "blue", "white"][(kind + usize::from(row % 11 == 0)) % 3];
        text += &format!(
            "{:.2},{width},{colour},{},k{kind}\n",
            4.0 + 2.0 * kind as f64 + wobble,
            (row * 31) % 53
        );
    }
    text
}

#[test]
fn settings_that_would_change_nothing_are_refused() {
    let folder = kiln("nothing");
    folder.write("flowers.csv", flowers(60));
    folder.write("some.txt", "to be or not to be ".repeat(300));
    for (arguments, wrong) in [
        (&["train", "flowers.csv", "--augment", "flip"][..], "--augment changes nothing for a table"),
        (&["train", "some.txt", "--target", "kind"], "--target changes nothing for a text"),
        (&["train", "--columns", "a: log"], "--columns changes nothing for the digits"),
    ] {
        let (code, said) = folder.error(arguments);
        assert!(said.contains(wrong) && code == 1, "{said}");
    }
    assert!(folder.out(&["inspect", "some.txt"]).contains("characters of 7 kinds"));
}

#[test]
fn a_configuration_repeats_its_run_bit_for_bit() {
    let folder = kiln("config");
    folder.write("flowers.csv", flowers(150));
    let flags = [
        "--epochs",
        "5",
        "--seed",
        "3",
        "--optimizer",
        "sgd",
        "--lr",
        "0.1",
        "--schedule",
        "warmup 3, linear",
        "--clip",
        "1",
    ];
    let said = ["train", "flowers.csv", "--target", "kind"];
    folder.out(&[&said[..], &flags, &["--quiet", "--out", "a"]].concat());
    let printed = folder.out(&[&said[..], &flags, &["--print-config"]].concat());
    folder.write("again.toml", &printed);
    folder.out(&["train", "again.toml", "--quiet", "--out", "b", "--threads", "1"]);
    assert_eq!(folder.read("a/model.kiln"), folder.read("b/model.kiln"));
    // Flags win over the file.
    folder.out(&["train", "again.toml", "--quiet", "--out", "c", "--seed", "4"]);
    assert_ne!(folder.read("a/model.kiln"), folder.read("c/model.kiln"));
}

#[test]
fn mistakes_are_named_with_their_mend() {
    let folder = kiln("mistakes");
    folder.write("flowers.csv", flowers(60));
    let says = |arguments: &[&str], parts: &[&str]| {
        let (code, error) = folder.error(arguments);
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
        code
    };
    assert_eq!(says(&["train", "flowers.csv", "--epochs", "many"], &["--epochs", "whole number"]), 2);
    assert_eq!(says(&["train", "flowers.csv", "--epoch", "3"], &["--epochs"]), 2);
    assert_eq!(
        says(&["train", "flowers.csv", "--target", "kin"], &["flowers.csv", "did you mean \"kind\"?"]),
        1
    );
    says(&["train", "nowhere.csv"], &["nowhere.csv", "no such file"]);
    says(&["train", "flowers.csv", "--optimizer", "adm"], &["did you mean adam"]);
    says(&["train", "flowers.csv", "--preset", "cnn"], &["cnn is for images"]);
    says(&["train", "flowers.csv", "--layers", "dense 3, rellu"], &["relu"]);
    says(&["train", "flowers.csv", "--schedule", "cosin"], &["did you mean cosine?"]);
    folder.write("bad.toml", "data = \"flowers.csv\"\nepoch = 3\n");
    says(&["train", "bad.toml"], &["bad.toml", "line 2", "did you mean epochs?"]);
    folder.write("ragged.csv", "a,b\n1,2\n3\n");
    says(&["train", "ragged.csv"], &["ragged.csv:3", "1 cell"]);
    folder.write("same.csv", "a,y\n1,x\n2,x\n3,x\n4,x\n5,x\n6,x\n");
    says(&["train", "same.csv", "--target", "y"], &["same.csv", "column y"]);
    folder.write("notes.docx", "x");
    says(&["train", "notes.docx"], &["no table"]);
    says(&["train", "--resume", "nothing"], &["no run's folder"]);
    folder.out(&["train", "flowers.csv", "--target", "kind", "--quiet", "--epochs", "1", "--out", "r"]);
    says(&["train", "flowers.csv", "--out", "r"], &["there is a run in this folder", "--resume"]);
    folder.write("other.csv", "lenght,width\n1,2\n");
    says(&["predict", "r/model.kiln", "other.csv"], &["\"length\" (there is \"lenght\")", "\"colour\""]);
    says(&["predict", "flowers.csv", "other.csv"], &["flowers.csv"]);
    says(&["eval", "r/model.kiln"], &["say which data"]);
    let whole = folder.read("r/model.kiln");
    folder.write("cut.kiln", &whole[..whole.len() / 2]);
    says(&["predict", "cut.kiln", "flowers.csv"], &["cut.kiln", "cut off"]);
    folder.out(&["export", "r/model.kiln", "wrong.json"]);
    let text = String::from_utf8(folder.read("wrong.json")).unwrap();
    let others = text.replace("\"layers\": \"", "\"layers\": \"conv 3 3, ");
    let unsigned = others.lines().filter(|line| !line.contains("\"checksum\"")).collect::<Vec<_>>();
    folder.write("wrong.json", unsigned.join("\n"));
    says(&["inspect", "wrong.json"], &["wrong.json", "conv 3 3: takes"]);
    let rows: String = (1..60).map(|row| format!("{row}e8,{row}e8\n")).collect();
    folder.write("large.csv", format!("a,y\n{rows}"));
    let wild = "train large.csv --target y --task number --columns a:as-is --lr 900 --optimizer sgd --quiet";
    says(&wild.split(' ').collect::<Vec<_>>(), &["step 2", "isn't finite", "A smaller rate"]);
    let mut flipped = whole.clone();
    let last = flipped.len() - 100;
    flipped[last] ^= 4;
    folder.write("flipped.kiln", &flipped);
    says(&["predict", "flipped.kiln", "flowers.csv"], &["flipped.kiln", "checksum"]);
}

#[test]
fn a_file_that_is_none_of_its_kind_is_said_to_be_so_once() {
    let folder = kiln("garbage");
    let garbage: Vec<u8> = (0..3000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, kind) in [
        ("a.kiln", "no file of kiln's"),
        ("a.onnx", "no ONNX file"),
        ("a.kdf", "no frame"),
        ("a.safetensors", "no file of weights"),
        ("a.npz", "no file of weights"),
        ("a.pt", "no file of weights"),
        ("a.json", "no file of weights"),
        ("a.state", "no file of weights"),
    ] {
        folder.write(name, &garbage);
        let (_, error) = folder.error(&["inspect", name]);
        assert!(error.contains(name) && error.contains(kind), "{name}: {error}");
        assert!(error.matches("cut off").count() <= 1, "{name}: {error}");
    }
}

#[test]
fn images_are_learned_from_folders_and_told_apart_from_files() {
    let folder = kiln("images");
    // Light strokes on dark ground: upright ones and lying ones.
    for (class, upright) in [("lying", false), ("upright", true)] {
        for number in 0..60usize {
            let mut image = kiln::data::Picture::blank(16, 16);
            let (at, start) = (2 + number % 12, number % 5);
            for along in start..start + 10 {
                let (row, column) = if upright { (along, at) } else { (at, along) };
                image.put(row, column, 200 + (number % 40) as u8);
            }
            folder.write(&format!("strokes/{class}/{number}.png"), image.png().unwrap());
        }
    }
    folder.write("strokes/lying/broken.png", "no picture");
    let output = folder.run(&["train", "strokes", "--epochs", "8", "--augment", "shift 1"]);
    let (out, errors) = texts(&output);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("broken.png") && errors.contains("1 file is left out"), "{errors}");
    assert!(out.contains("test  accuracy"), "{out}");
    let model = "runs/strokes-1/model.kiln";
    let eval: Value = serde_json::from_str(&folder.out(&["eval", model, "strokes", "--json"])).unwrap();
    assert!(eval["numbers"]["accuracy"].as_f64().unwrap() > 0.9, "{eval}");
    // Dark on light, and larger: inverted, resized, and said so.
    let mut paper = kiln::data::Picture::blank(32, 32);
    (0..32 * 32).for_each(|at| paper.put(at / 32, at % 32, 255));
    for row in 4..28 {
        (14..17).for_each(|column| paper.put(row, column, 10));
    }
    folder.write("paper.png", paper.png().unwrap());
    let output = folder.run(&["predict", model, "paper.png", "--top", "2"]);
    let (out, errors) = texts(&output);
    assert!(out.starts_with("paper.png  upright"), "{out}");
    assert!(errors.contains("inverted") && errors.contains("resized from 32 × 32"), "{errors}");
    // Raw bytes of exactly the input's size, and not one more.
    let channels = 1;
    folder.write(
        "stroke.raw",
        (0..channels * 256).map(|at| if at % 16 == 7 { 230 } else { 0 }).collect::<Vec<u8>>(),
    );
    assert!(folder.out(&["predict", model, "stroke.raw"]).contains("upright"));
    folder.write("long.raw", vec![0; 257]);
    assert!(folder.error(&["predict", model, "long.raw"]).1.contains("long.raw"));
    // What can't be read is named, the others go on, and the exit code says so; folders of folders are looked through.
    folder.write("new/may/a.png", folder.read("strokes/upright/3.png"));
    folder.write("new/b.png", folder.read("strokes/lying/4.png"));
    folder.write("new/cut.png", &folder.read("strokes/lying/4.png")[..40]);
    folder.write("new/notes.txt", "no picture");
    let output = folder.run(&["predict", model, "new", "nowhere.png", "strokes/lying/7.png"]);
    let (out, errors) = texts(&output);
    assert_eq!((output.status.code(), out.lines().count()), (Some(1), 3), "{out}{errors}");
    assert!(
        out.contains("a.png  upright") && out.contains("b.png  lying") && out.contains("7.png  lying"),
        "{out}"
    );
    assert!(
        errors.contains("cut.png") && errors.contains("nowhere.png") && errors.contains("1 with .txt"),
        "{errors}"
    );
    // By the standard input, as a file and as raw bytes.
    for name in ["strokes/upright/3.png", "stroke.raw"] {
        let input = std::fs::File::open(folder.at(name)).unwrap();
        let output = folder.command(&["predict", model, "-"]).stdin(input).output().unwrap();
        assert!(texts(&output).0.contains("upright"), "{name}: {:?}", texts(&output));
    }
    let strict = folder.error(&["train", "strokes", "--strict"]).1;
    assert!(strict.contains("broken.png"), "{strict}");
    assert!(folder.out(&["inspect", "strokes"]).contains("16 × 16"));
}

#[test]
fn help_is_there_for_everything() {
    let folder = kiln("help");
    let all = folder.out(&["--help"]);
    for command in ["train", "eval", "predict", "inspect", "runs", "export", "bench", "completions", "man"] {
        assert!(all.contains(command));
        let help = folder.out(&[command, "--help"]);
        assert!(help.contains("Usage") && help.len() > 200, "{command}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(folder.out(&["completions", shell]).contains("label-smoothing"), "{shell}");
    }
    folder.out(&["man", "pages"]);
    let page = String::from_utf8(folder.read("pages/kiln-train.1")).unwrap();
    assert!(page.contains("early\\-stop"), "{page}");
    assert!(folder.out(&["train", "--help"]).contains("kiln train heart.csv --target target"));
    assert!(folder.out(&["--version"]).starts_with("kiln "));
}
