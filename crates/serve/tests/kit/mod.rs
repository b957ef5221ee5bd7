//! What the tests of the server share: models that are made at once, a server of its own for each test, and a client that says exactly
//! the bytes it is told to.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use kiln_learn::data::{Choices, Cut, ImageSize, Picture, Set, Table, TablePreparation, TargetKind, Tokens};
use kiln_learn::model::Model;
use kiln_learn::prelude::*;
use kiln_learn::preparation::{ImagePreparation, TextPreparation};
use kiln_serve::{ServeOptions, Server, Source, Stop};
use serde_json::Value;

pub const TABLE: &str = "age,sex,since,ill\n63,male,2020-01-31,yes\n41,female,2021-06-01,no\n,male,2019-12-24,no\n\
    55,female,,yes\n29,male,2024-02-29,no\n70,female,2018-03-03,yes\n";

fn trained(layers: Sequential, set: &Set) -> kiln_learn::trainer::Run<'static, Sequential> {
    Trainer::new(layers, CrossEntropy::new(), Adam::new(0.02)).epochs(3).quiet().fit(set).unwrap()
}

/// A model of a table, whose weights begin with this seed.
pub fn of_table(seed: u64) -> Model {
    let table = Table::read(TABLE.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..table.len()).collect();
    let plan = TablePreparation::fit(&table, &rows, &Choices::new().target("ill")).unwrap();
    let set = plan.apply(&table, &rows).unwrap();
    trained(Sequential::new().dense(8).relu().dense(2).seed(seed), &set).with_preparation(plan).unwrap()
}

/// A model of one that predicts a number.
pub fn of_number() -> Model {
    let table = Table::read(TABLE.as_bytes()).unwrap();
    let rows = table.rows_with("age").unwrap();
    let choices = Choices::new().target("age").target_kind(TargetKind::Number);
    let plan = TablePreparation::fit(&table, &rows, &choices).unwrap();
    let trainer = Trainer::new(Sequential::new().dense(8).relu().dense(1), Mse::new(), Adam::new(0.02));
    let run = trainer.epochs(3).quiet().fit(&plan.apply(&table, &rows).unwrap()).unwrap();
    run.with_preparation(plan).unwrap()
}

/// Pictures with a bright line in one of three rows.
pub fn picture(class: usize) -> Picture {
    let mut picture = Picture::blank(6, 6);
    (1..5).for_each(|at| picture.put(class + 1, at, 200));
    picture
}

pub fn of_images() -> Model {
    let images = ImagePreparation::new(ImageSize { channels: 1, height: 6, width: 6 });
    let pixels: Vec<u8> = (0..12).flat_map(|row| images.pixels(&picture(row % 3)).0).collect();
    let set = Set::classes(pixels, images.form(), (0..12).map(|row| row % 3).collect()).unwrap();
    let set = set.named(["ant", "bee", "cat"]);
    let images = ImagePreparation::fit(&set).unwrap();
    trained(Sequential::new().flatten().dense(3), &set).with_preparation(images).unwrap()
}

pub const REVIEWS: &str = "review,kind\na good story,up\na bad story,down\ngood good,up\nbad,down\n";

/// A model that tells texts apart.
pub fn of_texts() -> Model {
    let table = Table::read(REVIEWS.as_bytes()).unwrap();
    let tokens = Tokens::fit("a good bad story", Cut::Words, 100).unwrap();
    let set = kiln_learn::data::labelled(&table, "review", "kind", &tokens, 4, false).unwrap();
    let layers = format!("embedding {} 4, flatten, dense 2", tokens.count()).parse().unwrap();
    let text = TextPreparation::new(tokens, 4).with_columns("review", "kind");
    trained(layers, &set).with_preparation(text).unwrap()
}

/// A model that goes on with texts, with a state of so many numbers.
pub fn of_prompts(width: usize) -> Model {
    let text = "the cat sat on the mat. the dog sat on the log. ".repeat(8);
    let tokens = Tokens::fit(&text, Cut::Characters, 100).unwrap();
    let window = 8;
    let codes: Vec<i64> = tokens.encode(&text).iter().map(|&code| i64::from(code)).collect();
    let rows = codes.len() - window - 1;
    let slide = |shift: usize| -> Vec<i64> {
        (0..rows).flat_map(|row| codes[row + shift..row + shift + window].to_vec()).collect()
    };
    let form = TextPreparation::new(tokens.clone(), window).form();
    let set = Set::new(slide(0), form.clone(), slide(1), form).unwrap();
    let count = tokens.count();
    let layers = format!("embedding {count} 8, gru {width}, dense {count}, transpose").parse().unwrap();
    let trainer = Trainer::new(layers, CrossEntropy::new(), Adam::new(0.01));
    trainer
        .epochs(1)
        .quiet()
        .fit(&set)
        .unwrap()
        .with_preparation(TextPreparation::new(tokens, window))
        .unwrap()
}

/// A server that runs until the test is over.
pub struct Running {
    pub address: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// With models at these places.
    pub fn new(paths: &[&Path], options: ServeOptions) -> Running {
        let sources = paths.iter().map(|path| Source::named(path.to_str().unwrap()).unwrap()).collect();
        let options = ServeOptions { address: ([127, 0, 0, 1], 0).into(), ..options };
        let server = Server::bind(sources, options).unwrap();
        let (address, stop) = (server.address(), server.stop());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Running { address, stop, thread: Some(thread) }
    }

    /// Asks it to stop, and goes on.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// Waits until it has stopped.
    pub fn wait(mut self) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Said {
        self.client().ask(method, path, headers, body)
    }

    pub fn get(&self, path: &str) -> Said {
        self.ask("GET", path, &[], b"")
    }

    /// Posts content of a kind.
    pub fn post(&self, path: &str, kind: &str, body: impl AsRef<[u8]>) -> Said {
        self.ask("POST", path, &[("Content-Type", kind)], body.as_ref())
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Said {
        self.post(path, "application/json", body.to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Said {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Said {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON of an answer with this status.
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A connection that is kept.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Said {
        self.try_ask(method, path, headers, body).expect("the connection ends before there is an answer")
    }

    /// The answer; nothing where the connection ends before there is one.
    pub fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Said> {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: kiln\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        let mut request = format!("{request}\r\n").into_bytes();
        request.extend_from_slice(body);
        self.send(&request).ok()?;
        self.read()
    }

    /// Reads an answer; nothing where the connection ends before one.
    pub fn read(&mut self) -> Option<Said> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_string(), value.to_string()));
        }
        let mut said = Said { status, headers, body: Vec::new() };
        if said.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                said.body.extend(chunk);
            }
        } else {
            let length = said.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            said.body.resize(length, 0);
            self.stream.read_exact(&mut said.body).ok()?;
        }
        Some(said)
    }

    /// The next piece of an answer that comes in pieces; nothing at the end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes).ok()?;
        bytes.truncate(size);
        (size > 0).then_some(bytes)
    }
}
