//! `kiln serve` as a person starts and ends it: the model of a run, asked over HTTP, says what `kiln predict` says of the same rows.
#![cfg(all(unix, feature = "serve"))]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln_testkit::Program;
use serde_json::Value;

/// A server that ends with the test.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(folder: &Program, arguments: &[&str]) -> Serving {
        let mut command = folder.command(&[&["serve", "--port", "0"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (_, address) = line.trim_end().split_once(" at http://").unwrap_or_else(|| panic!("{line}"));
        Serving { address: address.to_string(), child }
    }

    fn ask(&self, request: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        write!(stream, "{request}\r\nHost: k\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        (head.to_string(), body.to_string())
    }

    /// Sends a signal, and says how the server ended and what it logged.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trained(name: &str) -> Program {
    let folder = Program::new(env!("CARGO_BIN_EXE_kiln"), name);
    let row =
        |row: usize| format!("{},{},{}\n", row % 10, row * 7 % 13, if row % 10 > 4 { "in" } else { "out" });
    folder.write("t.csv", format!("x,y,kind\n{}", (0..400).map(row).collect::<String>()));
    folder.out(&[
        "train", "t.csv", "--target", "kind", "--quick", "--epochs", "3", "--quiet", "--out", "runs/t-1",
    ]);
    folder
}

#[test]
fn a_run_is_served_and_says_what_predict_says() {
    let folder = trained("run");
    folder.write("new.csv", "y,x\n3,1\n4,8\n5,\n");
    let predicted = folder.out(&["predict", "runs/t-1/model.kiln", "new.csv"]);
    let serving = Serving::start(&folder, &["runs/t-1"]);
    let csv = std::fs::read_to_string(folder.at("new.csv")).unwrap();
    let (head, said) =
        serving.ask("POST /predict HTTP/1.1\r\nContent-Type: text/csv\r\nAccept: text/csv", &csv);
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {said}");
    assert_eq!(said, predicted);
    let (_, one) = serving
        .ask("POST /models/t-1/predict HTTP/1.1\r\nContent-Type: application/json", r#"{"x": 8, "y": 4}"#);
    let one: Value = serde_json::from_str(&one).unwrap();
    let line = predicted.lines().nth(2).unwrap();
    assert_eq!(line.split(',').nth(2), one["prediction"].as_str(), "{line} {one}");
    let (head, report) = serving.ask("GET /models/t-1/report HTTP/1.1", "");
    assert!(head.contains("200 OK") && report.contains("<title>"), "{head}");

    let (code, log) = serving.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    // Each line of the log is an object of JSON.
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["message"], "the server has stopped");
    assert!(lines.iter().all(|line| line["time"].is_string() && line["level"].is_string()), "{log}");
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is() {
    let folder = trained("refused");
    folder.write("broken.kiln", b"no model");
    for (arguments, code, word) in [
        (&["serve"][..], 2, "MODEL"),
        (&["serve", "nowhere.kiln"], 1, "nowhere.kiln"),
        (&["serve", "broken.kiln", "--port", "0"], 1, "broken.kiln"),
        (&["serve", "t.csv", "--port", "0"], 1, "t.csv"),
        (&["serve", "runs/t-1", "runs/t-1/model.kiln", "--port", "0"], 1, "NAME=PATH"),
        (&["serve", "runs/t-1", "--tokens", "none.txt"], 1, "none.txt"),
        (&["serve", "runs/t-1", "--batch-size", "0"], 2, "batch-size"),
        (&["serve", "runs/t-1", "--deadline", "0"], 2, "deadline"),
        (&["serve", "runs/t-1", "--host", "nowhere"], 2, "host"),
    ] {
        let (ended, errors) = folder.error(arguments);
        assert_eq!(ended, code, "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
    // A port that is taken.
    let serving = Serving::start(&folder, &["runs/t-1"]);
    let port = serving.address.rsplit(':').next().unwrap().to_string();
    let (_, errors) = folder.error(&["serve", "runs/t-1", "--port", &port]);
    assert!(errors.contains(&port), "{errors}");
    assert_eq!(serving.end("-INT").0, Some(0));
}
