//! The command with its streams closed, full or cut off, and with arguments that are no text; for every subcommand there is.
#![cfg(unix)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kiln_testkit::Program;
use kiln_testkit::folder::texts;

fn kiln(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

/// The subcommands that the help lists.
fn subcommands(folder: &Program) -> Vec<String> {
    let help = folder.out(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> =
        names.filter_map(|line| line.split_whitespace().next()).map(str::to_string).collect();
    assert!(names.len() >= 11 && names.contains(&"train".to_string()), "{names:?}");
    names.into_iter().filter(|name| name != "help").collect()
}

/// The command with its streams as the shell is told: `>&-`, `| head -1`.
fn shell(folder: &Program, arguments: &[&str], streams: &str) -> Output {
    let script = format!("{} \"$@\" {streams}", env!("CARGO_BIN_EXE_kiln"));
    Command::new("bash")
        .args([&["-c", &format!("set -o pipefail; {script}"), "sh"], arguments].concat())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn trained(name: &str) -> Program {
    let folder = kiln(name);
    let row =
        |row: usize| format!("{},{},{}\n", row % 10, row * 7 % 13, if row % 10 > 4 { "in" } else { "out" });
    folder.write("t.csv", format!("x,y,kind\n{}", (0..4000).map(row).collect::<String>()));
    folder.out(&["train", "t.csv", "--epochs", "1", "--quiet", "--out", "run"]);
    folder
}

/// What prints a result, each long enough to be cut off in a pipe or not.
const PRINTING: [&[&str]; 9] = [
    &["predict", "run/model.kiln", "t.csv"],
    &["predict", "run/model.kiln", "t.csv", "--json"],
    &["eval", "run/model.kiln", "t.csv"],
    &["inspect", "run/model.kiln"],
    &["inspect", "run/model.kiln", "--show", "program"],
    &["export", "run/model.kiln", "out.json"],
    &["completions", "bash"],
    &["runs", "."],
    &["train", "--help"],
];

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_one_that_nobody_reads_is_none() {
    let folder = trained("results");
    for arguments in PRINTING {
        let output = shell(&folder, arguments, "| head -n 1 >/dev/null");
        let (_, said) = texts(&output);
        assert!(output.status.success() && said.is_empty(), "{arguments:?} | head: {said}");
        let output = shell(&folder, arguments, "| true");
        assert!(
            output.status.success() && texts(&output).1.is_empty(),
            "{arguments:?} | true: {}",
            texts(&output).1
        );
        if Path::new("/dev/full").exists() {
            let output = shell(&folder, arguments, ">/dev/full");
            let (_, said) = texts(&output);
            assert_eq!(output.status.code(), Some(1), "{arguments:?} > /dev/full: {said}");
            assert!(said.contains("No space left") && !said.contains("panicked"), "{said}");
        }
    }
}

#[test]
fn a_training_goes_on_whatever_becomes_of_its_streams() {
    let folder = trained("training");
    let whole = folder.read("run/model.kiln");
    let streams = [
        "| true",
        "| head -n 1",
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>/dev/full",
    ];
    for (number, streams) in streams.iter().enumerate() {
        for (kind, flags) in [("text", &[][..]), ("json", &["--json"])] {
            let run = format!("{kind}{number}");
            let common = ["train", "t.csv", "--epochs", "1", "--out", &run];
            let output = shell(&folder, &[&common[..], flags].concat(), streams);
            let (_, said) = texts(&output);
            assert!(!said.contains("panicked"), "{streams}: {said}");
            assert_eq!(folder.read(&format!("{run}/model.kiln")), whole, "{kind} {streams}");
            assert!(folder.at(&format!("{run}/result.json")).exists(), "{kind} {streams}");
            // Its last words are a result: what can't be written is an error, when all is saved.
            let is_full = streams.starts_with(">/dev/full");
            assert_eq!(output.status.code(), Some(i32::from(is_full)), "{kind} {streams}: {said}");
        }
    }
}

#[test]
fn no_subcommand_panics_on_closed_streams_or_on_arguments_that_are_no_text() {
    let folder = kiln("odd");
    for name in subcommands(&folder) {
        let strange = OsStr::from_bytes(b"caf\xe9\xff.csv");
        for arguments in [
            vec![strange],
            vec![OsStr::new("--out"), strange],
            vec![OsStr::new("x"), strange, OsStr::new("y")],
        ] {
            let output = folder.command(&[&name]).args(&arguments).output().unwrap();
            let (_, said) = texts(&output);
            assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {said}");
            assert!(said.contains("UTF-8") && !said.contains("panicked"), "{name}: {said}");
        }
        // A name that isn't there, nothing at all, emptiness, and text of every kind.
        for arguments in [
            &["nowhere"][..],
            &[""],
            &["nowhere", "nowhere"],
            &["--", "-x"],
            &["größe/名前\n"],
            &["-"],
            &["--help"],
        ] {
            if name == "bench" && arguments.first() != Some(&"--help")
                || name == "man" && arguments[0] != "--help"
            {
                continue;
            }
            for streams in ["", "<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"] {
                let output = shell(&folder, &[&[name.as_str()], arguments].concat(), streams);
                let code = output.status.code();
                let said = texts(&output).1;
                assert!(
                    matches!(code, Some(0..=3)) && !said.contains("panicked"),
                    "{name} {arguments:?} {streams}: {code:?} {said}"
                );
            }
        }
    }
}

#[test]
fn the_library_neither_prints_nor_ends_the_process_and_the_command_prints_through_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        folders.push(entry.unwrap().path().join("src"));
    }
    folders.retain(|folder| !folder.ends_with("testkit/src"));
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for (number, line) in
                text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                let text = |text: &str| line.contains(text);
                let streams = ["io::stderr()", "io::stdout()", "stderr().lock", "stdout().lock"];
                let ends = ["process::exit", "process::abort", "low_level::exit", "conditional_shutdown"];
                let prints_there = ["command/src", "learn/src/terminal", "ir/src/pass.rs"];
                assert!(
                    !streams.iter().any(|stream| text(stream))
                        || prints_there.iter().any(|place| path.to_string_lossy().contains(place)),
                    "{}:{}: only the command and the feature `terminal` print, and passes that KILN_LOG asks for",
                    path.display(),
                    number + 1
                );
                assert!(
                    !ends.iter().any(|end| text(end)),
                    "{}:{}: a library ends no process; give an error, or a code to `main`",
                    path.display(),
                    number + 1
                );
                let prints = ["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("];
                let is_printing = prints.iter().any(|print| line.contains(print));
                assert!(
                    !is_printing,
                    "{}:{}: prints past out.rs and note.rs, and panics where nobody reads",
                    path.display(),
                    number + 1
                );
            }
        }
    }
    assert!(seen > 200, "{seen} files are few");
}
