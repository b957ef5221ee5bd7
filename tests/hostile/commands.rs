//! The command on damaged files, as a person would run it, with less memory than the machine has.

use std::process::{Command, Output};

use kiln::data::Rng;
use kiln_testkit::folder::texts;
use kiln_testkit::{Folder, Program};

use super::{change, nets, turn};

/// The command with so many megabytes of addresses; with all of them under the address sanitizer, which reserves most of what there are.
#[cfg(target_os = "linux")]
fn within(folder: &Folder, megabytes: usize, arguments: &[&str]) -> Output {
    let most = match std::env::var_os("KILN_ASAN") {
        Some(_) => "unlimited".to_string(),
        None => (megabytes << 10).to_string(),
    };
    let mut command = Command::new("sh");
    let line = format!("ulimit -v {most}; exec \"$0\" \"$@\"");
    command.args(["-c", &line, env!("CARGO_BIN_EXE_kiln")]).args(arguments);
    command.current_dir(folder).env("KILN_THREADS", "1").output().unwrap()
}

/// That it ended by itself, with one of its codes and a message.
fn ended(name: &str, output: &Output) -> String {
    let (out, errors) = texts(output);
    let code = output.status.code();
    assert!(matches!(code, Some(0..=3)), "{name}: {code:?} {errors}");
    assert!(!errors.contains("panicked") && !errors.contains("overflowed"), "{name}: {errors}");
    assert!(code == Some(0) || errors.starts_with("error: "), "{name}: {errors}");
    assert!(!errors.contains("crates/") && !errors.contains(".rs:"), "{name}: {errors}");
    out + &errors
}

/// A folder of this name with a file of each kind.
fn made(name: &str) -> Program {
    let folder = Program::new(env!("CARGO_BIN_EXE_kiln"), name);
    let rows: String =
        (0..40).map(|at| format!("{},{},{}\n", at % 7, at % 5, ["no", "yes"][at % 2])).collect();
    folder.write("table.csv", format!("a,b,y\n{rows}"));
    folder.out(&["train", "table.csv", "--target", "y", "--epochs", "1", "--quiet", "--out", "run"]);
    folder.write("net.onnx", &nets::good()[0]);
    folder.write(
        "config.toml",
        "data = \"table.csv\"\ntarget = \"y\"\nepochs = 1\nlr = 1e-3\nquiet = true\nout = \"again\"\n",
    );
    folder
}

#[cfg(target_os = "linux")]
#[test]
fn damaged_files_are_errors_of_the_command() {
    let folder = made("damaged");
    let jobs: [(&str, &[&[&str]]); 6] = [
        ("table.csv", &[&["inspect", "bad.csv"], &["predict", "run/model.kiln", "bad.csv"]]),
        ("run/model.kiln", &[&["inspect", "bad.kiln"], &["predict", "bad.kiln", "table.csv"]]),
        ("run/checkpoints/last.state", &[&["inspect", "bad.state"]]),
        ("run/config.toml", &[&["train", "bad.toml", "--print-config"]]),
        ("config.toml", &[&["train", "bad.toml", "--print-config"]]),
        ("net.onnx", &[&["import", "bad.onnx"], &["import", "bad.onnx", "--out", "new.kiln"]]),
    ];
    let cases = std::env::var("KILN_FUZZ").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400) / 50;
    for (file, commands) in jobs {
        let good = folder.read(file);
        let kind = file.rsplit('.').next().unwrap();
        for case in 0..cases {
            let mut rng = Rng::new(11).derive(case);
            let mut bytes = good.clone();
            (0..1 + rng.below(3)).for_each(|_| change(&mut bytes, std::slice::from_ref(&good), &mut rng));
            folder.write(&format!("bad.{kind}"), &bytes);
            for command in commands {
                ended(&format!("{file}, case {case}, {command:?}"), &within(&folder, 2000, command));
            }
        }
    }
}

/// A table that needs more memory than there is, whoever says so: the system, or a flag.
#[cfg(target_os = "linux")]
#[test]
fn a_table_larger_than_the_memory_is_an_error() {
    let folder = Folder::new("large");
    let row = "12.5,7,-3.25,1e3,0.125,99,4.5,8\n";
    {
        let _turn = turn();
        folder.write("table.csv", format!("a,b,c,d,e,f,g,h\n{}", row.repeat((40 << 20) / row.len())));
    }
    let said = ended("--limit", &within(&folder, 4000, &["inspect", "table.csv", "--limit", "20M"]));
    assert!(said.contains("more than 20971520 bytes") && said.contains("--limit bytes="), "{said}");
    let said = ended("ulimit", &within(&folder, 400, &["inspect", "table.csv"]));
    let sanitized = std::env::var_os("KILN_ASAN").is_some();
    let refused = said.contains("--limit bytes=") || said.contains("which the system doesn't have");
    assert!(refused || sanitized, "{said}");
    let said = ended("enough", &within(&folder, 4000, &["inspect", "table.csv", "--limit", "bytes=1G"]));
    assert!(said.contains("numbers") || !said.contains("error"), "{said}");
    let said = ended("no limit", &within(&folder, 4000, &["inspect", "table.csv", "--limit", "lots"]));
    assert!(said.contains("--limit"), "{said}");
}

/// Names of columns, classes, tensors and nodes that would move the cursor, or turn what is read.
#[test]
fn nothing_from_a_file_reaches_a_terminal_as_a_command() {
    let folder = made("terminal");
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}lit\u{9b}1m\u{8}";
    let rows: String = (0..40).map(|at| format!("{},{}\n", at % 7, ["no", evil][at % 2])).collect();
    folder.write("evil.csv", format!("a{evil}b,y{evil}\n{rows}"));
    let node = nets::node("Neg", &format!("x{evil}"), "y", Vec::new());
    let node = kiln::onnx::proto::NodeProto { name: Some(format!("node {evil}")), ..node };
    folder.write("evil.onnx", nets::file(nets::graph("x", "y", Vec::new(), vec![node]), Vec::new()));
    let unknown = nets::node(&format!("Op{evil}"), "x", "y", Vec::new());
    folder.write("unknown.onnx", nets::file(nets::graph("x", "y", Vec::new(), vec![unknown]), Vec::new()));
    let ports = nets::graph(
        &format!("x{evil}"),
        "y",
        Vec::new(),
        vec![nets::node("Neg", &format!("x{evil}"), "y", Vec::new())],
    );
    folder.write("ports.onnx", nets::file(ports, Vec::new()));
    folder.write(
        "evil.json",
        format!("{{\"weight_map{}\": 3}}", serde_json::to_string(evil).unwrap().trim_matches('"')),
    );
    folder.write("evil.toml", format!("\"{}\" = 3\n", "key \\u001b[2J"));
    let target = format!("y{evil}");
    let wrong = format!("z{evil}");
    for arguments in [
        &["inspect", "evil.csv"][..],
        &["train", "evil.csv", "--target", &target, "--epochs", "1", "--out", "evil"],
        &["train", "evil.csv", "--target", &wrong],
        &["train", "evil.csv", "--target", &target, "--task", "number", "--out", "other"],
        &["eval", "evil/model.kiln", "evil.csv"],
        &["inspect", "evil/model.kiln"],
        &["runs", "."],
        &["import", "evil.onnx", "--out", "new.kiln"],
        &["import", "unknown.onnx"],
        &["import", "ports.onnx"],
        &["import", "evil.json", "--into", "run/model.kiln", "--out", "new.kiln"],
        &["inspect", "evil.json"],
        &["train", "evil.toml"],
    ] {
        let (out, errors) = texts(&folder.run(arguments));
        for text in [&out, &errors] {
            let hidden = text.chars().find(|&letter| {
                letter.is_control() && !"\n\t".contains(letter) || ('\u{202a}'..='\u{202e}').contains(&letter)
            });
            assert_eq!(hidden, None, "{arguments:?}: {text:?}");
        }
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    }
    let (out, _) = texts(&folder.run(&["inspect", "evil.csv"]));
    assert!(out.contains("\\u001b[2J") && out.contains("\\u202e"), "{out}");
}
