//! Runs as people treat them: gone on with otherwise than they began, twice at once, ended by signals, their folder taken away.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_testkit::Program;
use kiln_testkit::folder::texts;

/// The command, in a folder of this name.
fn kiln(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

/// A table of points with a class each; `flipped` has another label in one row.
fn points(rows: usize, flipped: Option<usize>) -> String {
    let row = |row: usize| {
        let (x, y) = ((row * 37 % 100) as f64 / 10.0, (row * 61 % 100) as f64 / 10.0);
        let is_in = (x + y > 9.0) != (flipped == Some(row));
        format!("{x},{y},{}\n", if is_in { "in" } else { "out" })
    };
    format!("a,b,kind\n{}", (0..rows).map(row).collect::<String>())
}

const SHORT: [&str; 10] = [
    "train",
    "points.csv",
    "--epochs",
    "2",
    "--early-stop",
    "0",
    "--quiet",
    "--layers",
    "dense 8, relu, dense",
    "--out",
];

/// A folder with a table and a finished run of two epochs.
fn begun(name: &str) -> Program {
    let folder = kiln(name);
    folder.write("points.csv", points(200, None));
    folder.out(&[&SHORT[..], &["run"]].concat());
    folder
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A training without an end, once it is under way.
fn endless(folder: &Program, run: &str, more: &[&str]) -> Child {
    let flags = [
        "train",
        "points.csv",
        "--epochs",
        "10000000",
        "--early-stop",
        "0",
        "--layers",
        "dense 8, relu, dense",
        "--out",
        run,
    ];
    let mut command = listening(folder, &[&flags[..], more].concat());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = folder.at(&format!("{run}/metrics.csv"));
    until("an epoch", || std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > 2));
    child
}

/// The command with no signal ignored, whatever the tests themselves were started with.
fn listening(folder: &Program, arguments: &[&str]) -> Command {
    if !cfg!(target_os = "linux") {
        return folder.command(arguments);
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_kiln")]).args(arguments);
    command.current_dir(folder.path()).env_remove("KILN_THREADS");
    command
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_run_goes_on_as_it_began_or_says_what_differs() {
    let folder = begun("differs");
    let config = folder.read("run/config.toml");
    let resume = |more: &[&str]| {
        folder.run(&[&["train", "--resume", "run", "--epochs", "3", "--quiet"], more].concat())
    };
    for (changed, name) in [
        (&["--lr", "0.5"][..], "lr"),
        (&["--schedule", "constant"], "schedule"),
        (&["--optimizer", "sgd"], "optimizer"),
        (&["--weight-decay", "0.3"], "weight-decay"),
        (&["--label-smoothing", "0.2"], "label-smoothing"),
        (&["--batch-size", "7"], "batch-size"),
        (&["--seed", "8"], "seed"),
        (&["--clip", "1"], "clip"),
        (&["--accumulate", "2"], "accumulate"),
        (&["--ema", "0.9"], "ema"),
        (&["--sampling", "balanced"], "sampling"),
        (&["--class-weights", "balanced"], "class-weights"),
        (&["--layers", "dense 8, tanh, dense"], "layers"),
        (&["--preset", "linear"], "layers"),
        (&["--target", "a"], "target"),
        (&["--val-fraction", "0.5"], "val-fraction"),
        (&["--columns", "a: log"], "columns"),
    ] {
        let output = resume(changed);
        let (_, said) = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{changed:?} was accepted");
        assert!(said.contains(&format!("--allow-changes {name}")), "{changed:?}: {said}");
        assert_eq!(
            folder.read("run/config.toml"),
            config,
            "{changed:?} is written down though it was refused"
        );
    }
    // What changes no number may be said anew; so may what is allowed, and then it is what repeats the run.
    for flags in [
        &["--threads", "1", "--keep", "2", "--time-limit", "1h"][..],
        &["--lr", "0.5", "--allow-changes", "lr"],
    ] {
        let output = resume(flags);
        assert!(output.status.success(), "{flags:?}: {}", texts(&output).1);
    }
    assert!(String::from_utf8(folder.read("run/config.toml")).unwrap().contains("lr = 0.5"));
    let (_, said) = folder.error(&["train", "--resume", "run", "--allow-changes", "shedule"]);
    assert!(said.contains("did you mean schedule?"), "{said}");
    assert!(folder.error(&["train", "points.csv", "--allow-changes", "lr"]).1.contains("--resume"));
}

#[test]
fn settings_that_are_changed_by_hand_or_allowed_are_what_the_run_goes_on_with() {
    let folder = begun("hand");
    let config = String::from_utf8(folder.read("run/config.toml")).unwrap();
    for (from, to, name) in [
        ("relu", "tanh", "layers"),
        ("optimizer = \"adamw\"", "optimizer = \"lion\"", "optimizer"),
        ("schedule = \"cosine\"", "schedule = \"linear\"", "schedule"),
        ("lr = 0.003", "lr = 0.001", "lr"),
        ("batch-size = 32", "batch-size = 16", "batch-size"),
        ("label-smoothing = 0", "label-smoothing = 0.1", "label-smoothing"),
    ] {
        assert!(config.contains(from), "{from}: {config}");
        let changed = config.replacen(from, to, 1);
        folder.write("run/config.toml", &changed);
        let (_, said) = folder.error(&["train", "--resume", "run", "--epochs", "3", "--quiet"]);
        assert!(said.contains(&format!("--allow-changes {name}")), "{to}: {said}");
        folder.write("other/config.toml", &changed);
        std::fs::create_dir_all(folder.at("other/checkpoints")).unwrap();
        folder.write("other/checkpoints/last.state", folder.read("run/checkpoints/last.state"));
        folder.out(&["train", "--resume", "other", "--epochs", "4", "--quiet", "--allow-changes", name]);
        std::fs::remove_dir_all(folder.at("other")).unwrap();
        folder.write("run/config.toml", &config);
    }
    for (text, what) in
        [("", "nothing is set"), ("data = \"points.csv\"\n", "settings of a run"), ("[x]\n", "table")]
    {
        folder.write("run/config.toml", text);
        let (code, said) = folder.error(&["train", "--resume", "run", "--quiet"]);
        assert!(code == 1 && said.contains(what) && said.contains("config.toml"), "{text:?}: {said}");
    }
    folder.write("empty.toml", "# nothing\n");
    assert!(folder.error(&["train", "empty.toml"]).1.contains("nothing is set"));
}

#[test]
fn other_rows_under_the_same_name_are_noticed() {
    let folder = begun("rows");
    let resume = ["train", "--resume", "run", "--epochs", "3", "--quiet"];
    let whole = points(200, None);
    let mut lines: Vec<&str> = whole.lines().collect();
    lines.swap(1, 150);
    for (other, what) in [
        (points(200, Some(17)), "a flipped label"),
        (whole.replacen("3.7,", "3.8,", 1), "another number"),
        (lines.join("\n") + "\n", "another order"),
        (points(230, None), "more rows"),
    ] {
        folder.write("points.csv", other);
        let (_, said) = folder.error(&resume);
        assert!(said.contains("--allow-changes data"), "{what}: {said}");
    }
    folder.out(&[&resume[..], &["--allow-changes", "data"]].concat());
    // The same rows elsewhere are the same rows.
    folder.out(&[&SHORT[..], &["second"]].concat());
    std::fs::rename(folder.at("points.csv"), folder.at("moved.csv")).unwrap();
    folder.out(&["train", "moved.csv", "--resume", "second", "--epochs", "3", "--quiet"]);
}

#[test]
fn a_frame_is_made_anew_where_anything_it_was_made_of_differs() {
    let folder = kiln("frames");
    folder.write("points.csv", points(300, None));
    let mut run = 0;
    let mut train = |more: &[&str]| {
        run += 1;
        let flags = ["--frame", "f.kdf", "--epochs", "1", "--out", &format!("run{run}")];
        texts(&folder.run(&[&["train"], more, &flags[..]].concat())).1
    };
    let points_csv = ["points.csv", "--target", "kind"];
    assert!(train(&points_csv).contains("f.kdf: made of the table"));
    let same = train(&points_csv);
    assert!(same.contains("is used as it is"), "{same}");
    for (flags, why) in [
        (&["points.csv", "--target", "a"][..], "its target was kind, and is a now"),
        (&["points.csv", "--target", "kind"], "its target was a"),
        (&["points.csv", "--target", "kind", "--seed", "3"], "its seed was 7, and is 3"),
        (&["points.csv", "--target", "kind", "--seed", "3", "--test-fraction", "0.4"], "its shares"),
        (&["points.csv", "--target", "kind", "--columns", "a: log"], "its columns"),
        (&["points.csv", "--target", "kind", "--ignore", "a"], "its ignore"),
    ] {
        let said = train(flags);
        assert!(said.contains("is made anew, because") && said.contains(why), "{flags:?}: {said}");
        let again = train(flags);
        assert!(again.contains("is used as it is"), "{flags:?}: {again}");
    }
    // A target that isn't there is an error, and the frame stays.
    let before = folder.read("f.kdf");
    let said = train(&["points.csv", "--target", "nothing"]);
    assert!(said.contains("error:") && said.contains("nothing"), "{said}");
    assert_eq!(folder.read("f.kdf"), before);
    train(&points_csv);
    // Another content of the same size and time; the same content at another time.
    let time = std::fs::metadata(folder.at("points.csv")).unwrap().modified().unwrap();
    let at = |time| {
        std::fs::File::options()
            .append(true)
            .open(folder.at("points.csv"))
            .unwrap()
            .set_modified(time)
            .unwrap()
    };
    at(time + Duration::from_secs(100));
    assert!(train(&points_csv).contains("is used as it is"));
    folder.write("points.csv", points(300, None).replacen("3.7,", "3.8,", 1));
    at(time);
    assert!(train(&points_csv).contains("the table has changed since"));
    folder.write("others.csv", points(250, None));
    assert!(train(&["others.csv", "--target", "kind"]).contains("it was made of"));
    // A frame is data of its own, and what is no frame isn't lost.
    folder.out(&["train", "f.kdf", "--epochs", "1", "--quiet", "--out", "direct"]);
    let said = texts(&folder.run(&[
        "train",
        "points.csv",
        "--target",
        "kind",
        "--frame",
        "others.csv",
        "--epochs",
        "1",
    ]))
    .1;
    assert!(said.contains("this is no frame"), "{said}");
    // A frame of the version before says nothing of what it was made of.
    folder.write(
        "f.kdf",
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/half.kdf")).unwrap(),
    );
    assert!(train(&points_csv).contains("it doesn't say what it was made of"));
}

#[test]
fn a_folder_has_one_training_and_names_are_given_once() {
    let folder = kiln("once");
    folder.write("points.csv", points(200, None));
    let mut first = endless(&folder, "run", &["--quiet"]);
    for arguments in [
        &["train", "--resume", "run", "--quiet"][..],
        &[&SHORT[..], &["run"]].concat(),
        &[&SHORT[..], &["other", "--checkpoint-dir", "run/checkpoints"]].concat(),
    ] {
        let (code, said) = folder.error(arguments);
        assert!(
            code == 1 && (said.contains("another process") || said.contains("another training")),
            "{said}"
        );
    }
    first.kill().unwrap();
    first.wait().unwrap();
    // Nobody has to clean up after a process that died.
    folder.write("run/.config.toml.1.2.part", "half");
    folder.write("run/checkpoints/.last.state.1.2.part", "half");
    folder.out(&["train", "--resume", "run", "--quiet", "--time-limit", "0.01s"]);
    for name in ["run/.config.toml.1.2.part", "run/checkpoints/.last.state.1.2.part"] {
        assert!(!folder.at(name).exists(), "{name}");
    }
    let start =
        |_| folder.command(&SHORT[..9]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..6).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", texts(&output).1);
    }
    for number in 1..=6 {
        let log = String::from_utf8(folder.read(&format!("runs/points-{number}/metrics.csv"))).unwrap();
        assert_eq!(log.lines().count(), 3, "{log}");
    }
}

#[cfg(unix)]
#[test]
fn signals_that_ask_for_the_end_save_and_say_how_to_go_on() {
    let folder = kiln("signals");
    folder.write("points.csv", points(200, None));
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let child = endless(&folder, name, &[]);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let (_, said) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(&format!("kiln train --resume {name}")), "{said}");
        assert!(folder.at(&format!("{name}/model.kiln")).exists());
        let state =
            kiln::trainer::TrainState::load(folder.at(&format!("{name}/checkpoints/last.state"))).unwrap();
        let (done, _) = (state.epoch(), state.step());
        // As far as it came, and one epoch more: a finished run.
        folder.out(&["train", "--resume", name, "--quiet", "--epochs", &(done + 1).to_string()]);
        assert!(folder.at(&format!("{name}/report.html")).exists());
    }
    let child = endless(&folder, "json", &["--json"]);
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let (out, _) = texts(&output);
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((output.status.code(), &last["event"]), (Some(143), &"interrupted".into()));
    // What is to be ignored stays ignored.
    let script = format!("trap '' HUP; exec {} \"$@\"", env!("CARGO_BIN_EXE_kiln"));
    let flags = ["train", "points.csv", "--epochs", "80", "--early-stop", "0", "--quiet", "--out", "nohup"];
    let mut child = Command::new("sh")
        .args([&["-c", &script, "sh"], &flags[..]].concat())
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("an epoch", || folder.at("nohup/metrics.csv").exists());
    signal(&child, "HUP");
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_folder_that_vanishes_is_noticed_and_the_training_is_kept_elsewhere() {
    let folder = kiln("vanish");
    folder.write("points.csv", points(200, None));
    for (number, how) in ["removed", "moved"].into_iter().enumerate() {
        let child = endless(&folder, "out/run", &["--quiet"]);
        match how {
            // A file may come while the others go.
            "removed" => until("its end", || std::fs::remove_dir_all(folder.at("out/run")).is_ok()),
            _ => std::fs::rename(folder.at("out/run"), folder.at("moved")).unwrap(),
        }
        let output = child.wait_with_output().unwrap();
        let (_, said) = texts(&output);
        let kept = if number == 0 { "out/run-rescued" } else { "out/run-rescued-2" };
        assert_eq!(output.status.code(), Some(1), "{how}: {said}");
        assert!(
            (said.contains("gone") || said.contains("No such file"))
                && said.contains(&format!("kiln train --resume {kept}")),
            "{how}: {said}"
        );
        assert!(!folder.at("out/run").exists(), "a folder with half a run is made again");
        folder.out(&["predict", &format!("{kept}/model.kiln"), "points.csv"]);
        let state =
            kiln::trainer::TrainState::load(folder.at(&format!("{kept}/checkpoints/last.state"))).unwrap();
        folder.out(&["train", "--resume", kept, "--quiet", "--epochs", &(state.epoch() + 1).to_string()]);
    }
}

#[cfg(unix)]
#[test]
fn a_second_training_whose_folder_vanishes_is_kept_elsewhere_with_what_the_first_came_to() {
    let folder = kiln("vanish-refit");
    folder.write("points.csv", points(400, None));
    // Every epoch is better than the last, so that the second training is as long as the first.
    let flags = "train points.csv --epochs 400 --early-stop 0 --lr 1e-5 --schedule constant --preset linear";
    let flags: Vec<&str> = flags.split(' ').chain(["--quiet", "--refit", "--out", "out/run"]).collect();
    let child = folder.command(&flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let epochs = || std::fs::read(folder.at("out/run/refit.jsonl")).unwrap_or_default();
    until("an epoch of the second training", || !epochs().is_empty());
    std::fs::rename(folder.at("out/run"), folder.at("moved")).unwrap();
    let output = child.wait_with_output().unwrap();
    let (_, said) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("kiln train --resume out/run-rescued"), "{said}");
    for name in ["model.kiln", "first.kiln", "first.json", "checkpoints/refit/last.state"] {
        assert!(folder.at(&format!("out/run-rescued/{name}")).exists(), "{name}");
    }
    // What is left is the second training alone.
    folder.out(&["train", "--resume", "out/run-rescued", "--quiet"]);
    let result = folder.read("out/run-rescued/result.json");
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    assert_eq!(result["refit"]["epochs"], 400);
    assert!(!folder.at("out/run-rescued/checkpoints/last.state").exists());
}
