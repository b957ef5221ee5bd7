//! The command, run as a person would: from a file to a model, and every mistake with its mend.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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
fn a_table_becomes_a_model_that_predicts() {
    let folder = kiln("table");
    folder.write("flowers.csv", flowers(300));
    let out = folder.out(&["train", "flowers.csv", "--target", "kind", "--json"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(done["event"], "done");
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.95, "{done}");
    assert!(
        done["val"]["loss"].is_number()
            && done["train"]["accuracy"].is_number()
            && done["seconds"].is_number()
    );
    let model = done["model"].as_str().unwrap();
    for file in [
        "config.toml",
        "environment.json",
        "metrics.csv",
        "metrics.jsonl",
        "result.json",
        "report.html",
        "checkpoints/last.state",
    ] {
        assert!(!folder.read(&format!("runs/flowers-1/{file}")).is_empty(), "{file}");
    }
    // Evaluated on all of it, and asked about new rows with columns in another order.
    let eval: Value = serde_json::from_str(&folder.out(&["eval", model, "flowers.csv", "--json"])).unwrap();
    assert!(eval["numbers"]["accuracy"].as_f64().unwrap() > 0.95 && eval["rows"] == 300);
    assert!(folder.out(&["eval", model, "flowers.csv"]).contains("taken for"));
    folder.write("new.csv", "colour,noise,length,width\nred,3,4.1,1.0\nwhite,9,8.2,\n");
    let predicted = folder.out(&["predict", model, "new.csv"]);
    let lines: Vec<&str> = predicted.lines().collect();
    assert_eq!(lines[0], "colour,noise,length,width,prediction,p(k0),p(k1),p(k2)");
    assert!(lines[1].contains(",k0,") && lines[2].contains(",k2,"), "{predicted}");
    let json = folder.out(&["predict", model, "new.csv", "--json"]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["prediction"], "k0");
    let sum: f64 = first["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5);
    // The same by the standard input, and by the command's other name.
    let mut child =
        folder.command(&["run", model, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &folder.read("new.csv")).unwrap();
    assert_eq!(texts(&child.wait_with_output().unwrap()).0, predicted);
    assert!(folder.out(&["inspect", model]).contains("dense 128"));
    assert!(folder.out(&["inspect", model, "--show", "program"]).contains("kernel"));
    assert!(folder.out(&["inspect", "flowers.csv"]).contains("colour"));
    assert!(folder.out(&["runs"]).contains("flowers-1"));
    // As JSON and back it is the same model, and says the same.
    folder.out(&["export", model, "flowers.json"]);
    assert_eq!(folder.out(&["predict", "flowers.json", "new.csv"]), predicted);
    folder.out(&["export", "flowers.json", "again.kiln"]);
    assert_eq!(folder.read("again.kiln"), folder.read(model));
    assert!(folder.error(&["export", model, "flowers.pb"]).1.contains(".json"));
}

#[test]
fn what_is_predicted_alone_is_what_was_counted_in_the_evaluation() {
    let folder = kiln("alone");
    let table = flowers(240);
    folder.write("flowers.csv", &table);
    folder.out(&[
        "train",
        "flowers.csv",
        "--target",
        "kind",
        "--preset",
        "linear",
        "--lr",
        "0.001",
        "--epochs",
        "2",
        "--quiet",
        "--out",
        "run",
    ]);
    let eval: Value =
        serde_json::from_str(&folder.out(&["eval", "run/model.kiln", "flowers.csv", "--json"])).unwrap();
    // Row by row, each in a file of its own: no statistic of the rows around it can take part.
    let (header, rows) = table.split_once('\n').unwrap();
    let mut right = 0;
    for row in rows.lines().step_by(6) {
        folder.write("one.csv", format!("{header}\n{row}\n"));
        let predicted = folder.out(&["predict", "run/model.kiln", "one.csv"]);
        let cells: Vec<&str> = predicted.lines().nth(1).unwrap().split(',').collect();
        right += usize::from(cells[4] == cells[5]);
    }
    folder.write(
        "some.csv",
        rows.lines().step_by(6).fold(format!("{header}\n"), |text, row| text + row + "\n"),
    );
    let some: Value =
        serde_json::from_str(&folder.out(&["eval", "run/model.kiln", "some.csv", "--json"])).unwrap();
    assert_eq!(some["numbers"]["accuracy"].as_f64().unwrap(), right as f64 / 40.0);
    assert!(right < 40 && eval["rows"] == 240, "a model that is always right would hide a fault");
}

#[test]
fn rows_that_stand_in_two_parts_are_counted_and_said() {
    let folder = kiln("repeated");
    folder.write("once.csv", flowers(120));
    let rows: String = flowers(120).lines().skip(1).map(|row| format!("{row}\n{row}\n")).collect();
    folder.write("twice.csv", format!("length,width,colour,noise,kind\n{rows}"));
    let said = |file: &str| {
        let output = folder.run(&[
            "train",
            file,
            "--target",
            "kind",
            "--epochs",
            "1",
            "--out",
            file.trim_end_matches(".csv"),
        ]);
        texts(&output).1
    };
    assert!(said("twice.csv").contains("test rows also stand among the others"), "{}", said("twice.csv"));
    assert!(!said("once.csv").contains("also stand"));
}

#[test]
fn columns_are_treated_as_told_and_frames_are_data() {
    let folder = kiln("columns");
    folder.write("flowers.csv", flowers(300));
    let train = |more: &[&str]| {
        let common = ["--target", "kind", "--epochs", "1"];
        texts(&folder.run(&[&["train", "flowers.csv"], &common[..], more].concat())).1
    };
    assert!(train(&["--columns", "length: robust, noise: drop"]).contains("3 columns become"));
    assert!(train(&["--columns", "noise: words"]).contains("4 columns become"));
    assert!(!train(&["--columns", "noise: words"]).contains("become 7 numbers"));
    assert!(train(&[]).contains("4 columns become 7 numbers"), "{}", train(&[]));
    for (told, mend) in [
        ("length: robst", "did you mean robust?"),
        ("lenght: robust", "did you mean \"length\"?"),
        ("length", "a colon"),
        ("colour: robust", "colour"),
    ] {
        assert!(train(&["--columns", told]).contains(mend), "{told}: {}", train(&["--columns", told]));
    }
    folder.out(&["train", "flowers.csv", "--target", "kind", "--epochs", "1", "--frame", "f.kdf", "--quiet"]);
    assert!(folder.out(&["inspect", "f.kdf"]).contains("300 prepared rows"));
    folder.out(&["train", "f.kdf", "--epochs", "1", "--quiet", "--out", "framed"]);
    folder.out(&["eval", "framed/model.kiln", "flowers.csv"]);
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
fn a_number_is_predicted_in_its_own_unit() {
    let folder = kiln("number");
    let mut text = "rooms,area,price\n".to_string();
    for row in 0..200u32 {
        let (rooms, area) = (1 + row % 5, 30 + (row * 37) % 90);
        text += &format!("{rooms},{area},{}\n", 50_000 + 20_000 * rooms + 1_000 * area);
    }
    folder.write("houses.csv", text);
    let out = folder.out(&["train", "houses.csv", "--json", "--epochs", "200"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["r2"].as_f64().unwrap() > 0.95, "{done}");
    folder.write("new.csv", "rooms,area\n3,60\n");
    let predicted = folder.out(&["predict", "runs/houses-1/model.kiln", "new.csv"]);
    let price: f64 = predicted.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!((price - 170_000.0).abs() < 15_000.0, "{predicted}");
}

#[test]
fn words_become_vectors_that_are_learned() {
    let folder = kiln("embed");
    let mut text = "place,x,y\n".to_string();
    for row in 0..600 {
        let place = (row * 7) % 40;
        text +=
            &format!("place{place},{},{}\n", row % 13, if (place * place) % 5 < 2 { "low" } else { "high" });
    }
    folder.write("places.csv", text);
    let out =
        folder.out(&["train", "places.csv", "--target", "y", "--embed", "place", "--json", "--epochs", "60"]);
    let begin: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert!(begin["layers"].as_str().unwrap().starts_with("embed-columns 41:"), "{begin}");
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.95, "{done}");
    folder.write("new.csv", "x,place\n1,place1\n2,nowhere\n");
    let predicted = folder.out(&["predict", "runs/places-1/model.kiln", "new.csv"]);
    assert!(predicted.lines().nth(1).unwrap().contains(",low,"), "{predicted}");
}

#[test]
fn a_text_is_learned_and_goes_on() {
    let folder = kiln("text");
    folder.write("rhyme.txt", "the cat sat on the mat, and the rat sat on the hat. ".repeat(120));
    let out =
        folder.out(&["train", "rhyme.txt", "--window", "32", "--epochs", "8", "--batch-size", "8", "--json"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["perplexity"].as_f64().unwrap() < 1.5, "{done}");
    let model = "runs/rhyme-1/model.kiln";
    let said = folder.out(&[
        "predict",
        model,
        "--prompt",
        "the cat sat on the mat, and the",
        "--length",
        "60",
        "--temperature",
        "0",
    ]);
    assert!(said.contains("and the rat sat on the hat."), "{said}");
    let again = |seed: &str| {
        folder.out(&[
            "predict",
            model,
            "--prompt",
            "the ",
            "--length",
            "40",
            "--temperature",
            "2",
            "--seed",
            seed,
        ])
    };
    assert_eq!(again("1"), again("1"));
    assert_ne!(again("1"), again("2"));
    assert!(folder.out(&["eval", model, "rhyme.txt"]).contains("perplexity"));
    assert!(folder.out(&["inspect", model]).contains("embedding"));
    let pieces = ["--pieces", "learned 270", "--window", "16", "--epochs", "1", "--quiet", "--out", "pieces"];
    folder.out(&[&["train", "rhyme.txt"], &pieces[..]].concat());
    assert!(folder.out(&["inspect", "pieces/model.kiln"]).contains("270 pieces of text"));
    let said = folder.out(&["predict", "pieces/model.kiln", "--prompt", "thé cat", "--length", "0"]);
    assert_eq!(said, "thé cat\n");
    assert!(folder.error(&["train", "rhyme.txt", "--pieces", "sillables"]).1.contains("learned 1000"));
    folder.write("short.txt", "too short");
    assert!(folder.error(&["train", "short.txt"]).1.contains("shorter windows"));
    folder.write("bytes.txt", [b'a', 0xff, b'b'].repeat(100));
    assert!(folder.error(&["train", "bytes.txt"]).1.contains("UTF-8"));
}

#[test]
fn texts_with_classes_are_told_apart() {
    let folder = kiln("texts");
    let (good, bad) = (["great", "lovely", "fine"], ["awful", "sad", "poor"]);
    let row = |row: usize| {
        let (word, mood) = if row.is_multiple_of(2) { (good[row % 3], "up") } else { (bad[row % 3], "down") };
        format!("\"it was {} a {word} day number {row}\",{mood}\n", ["quite", "such", "really"][row % 3])
    };
    folder.write("days.csv", "text,mood\n".to_string() + &(0..300).map(row).collect::<String>());
    let out = folder.out(&["train", "days.csv", "--text", "text", "--target", "mood", "--json"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.95, "{done}");
    folder.write("new.csv", "text\nwhat a lovely day\nan awful one\n");
    let predicted = folder.out(&["predict", "runs/days-1/model.kiln", "new.csv"]);
    assert!(
        predicted.contains("what a lovely day,up,") && predicted.contains("an awful one,down,"),
        "{predicted}"
    );
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
    let mut flipped = whole.clone();
    let last = flipped.len() - 100;
    flipped[last] ^= 4;
    folder.write("flipped.kiln", &flipped);
    says(&["predict", "flipped.kiln", "flowers.csv"], &["flipped.kiln", "checksum"]);
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
    assert!(errors.contains("broken.png") && errors.contains("1 files are left out"), "{errors}");
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
    let strict = folder.error(&["train", "strokes", "--strict"]).1;
    assert!(strict.contains("broken.png"), "{strict}");
    assert!(folder.out(&["inspect", "strokes"]).contains("16 × 16"));
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_and_ends_with_the_same_bits() {
    let folder = kiln("kill");
    folder.write("flowers.csv", flowers(400));
    let flags = [
        "train",
        "flowers.csv",
        "--target",
        "kind",
        "--epochs",
        "12",
        "--early-stop",
        "0",
        "--quiet",
        "--checkpoint-every",
        "3 steps",
    ];
    folder.out(&[&flags[..], &["--out", "whole"]].concat());
    let expected = folder.read("whole/model.kiln");
    let log = |run: &str| {
        let text = String::from_utf8(folder.read(&format!("{run}/metrics.csv"))).unwrap();
        let row = |line: &str| {
            line.split(',')
                .enumerate()
                .filter(|(at, _)| *at != 2)
                .map(|(_, cell)| cell.to_string())
                .collect::<Vec<_>>()
        };
        text.lines().map(row).collect::<Vec<_>>()
    };
    let kills = std::env::var("KILN_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(8u64);
    for kill in 0..kills {
        let run = format!("run{kill}");
        let mut arguments = [&flags[..], &["--out", &run]].concat();
        // Killed again and again until it comes through, each time a little later.
        let mut attempts = 0;
        loop {
            let mut child =
                folder.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let wait = 5 + (kill * 37 + attempts * 61) % 120 + attempts * 20;
            std::thread::sleep(Duration::from_millis(wait));
            if child.try_wait().unwrap().is_some_and(|status| status.success()) {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            attempts += 1;
            if folder.at(&run).join("config.toml").exists() {
                arguments = vec!["train", "--resume", &run];
            }
        }
        assert_eq!(folder.read(&format!("{run}/model.kiln")), expected, "after {attempts} kills");
        assert_eq!(log(&run), log("whole"), "after {attempts} kills");
    }
}

#[test]
fn a_folder_that_cannot_be_written_and_a_full_disk_are_errors() {
    let folder = kiln("readonly");
    folder.write("flowers.csv", flowers(60));
    folder.write("file", "no folder");
    let (code, error) = folder.error(&["train", "flowers.csv", "--target", "kind", "--out", "file/run"]);
    assert!(code == 1 && error.contains("file"), "{error}");
    if Path::new("/dev/full").exists() {
        let (code, error) = folder.error(&[
            "train",
            "flowers.csv",
            "--target",
            "kind",
            "--epochs",
            "1",
            "--quiet",
            "--log-csv",
            "/dev/full",
        ]);
        assert!(code == 1 && error.contains("/dev/full"), "{error}");
    } else {
        kiln_testkit::not_run("there is no /dev/full");
    }
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_is_an_error_and_leaves_what_was_whole() {
    let folder = kiln("full");
    folder.write("flowers.csv", flowers(120));
    let flags = "train flowers.csv --target kind --quiet --early-stop 0";
    folder.out(&[&flags.split(' ').collect::<Vec<_>>()[..], &["--epochs", "2", "--out", "run"]].concat());
    let whole = folder.read("run/checkpoints/last.state");
    // No file may grow beyond 32 blocks from now on, as on a disk that is nearly full.
    let limited = |command: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 32; exec {} {command}", env!("CARGO_BIN_EXE_kiln"));
        Command::new("sh").args(["-c", &script]).current_dir(folder.as_ref()).output().unwrap()
    };
    for command in ["train --resume run --epochs 4 --quiet".to_string(), format!("{flags} --out other")] {
        let output = limited(&command);
        let (_, errors) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("last.state") || errors.contains("best.state"), "{errors}");
    }
    assert_eq!(folder.read("run/checkpoints/last.state"), whole, "the old checkpoint is whole");
    let left = std::fs::read_dir(folder.at("run/checkpoints")).unwrap();
    assert!(left.into_iter().all(|entry| !entry.unwrap().file_name().to_string_lossy().ends_with(".part")));
    // With room again it goes on.
    folder.out(&["train", "--resume", "run", "--epochs", "4", "--quiet"]);
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
