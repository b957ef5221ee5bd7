//! Runs that are killed, and places that can't be written.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_testkit::folder::texts;

use super::{flowers, kiln};

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
