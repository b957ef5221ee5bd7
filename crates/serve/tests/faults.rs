//! What goes wrong: clients that are slow, break off or send what nobody takes, files that break, more than there is room for. Every request is
//! answered with a status that says what is wrong, or its connection ends; nothing panics, and what is good goes on.

mod kit;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use kiln_serve::{BearerTokens, ServeOptions};
use kiln_testkit::{Folder, Rng};
use serde_json::{Value, json};

use kit::{Client, Running, of_images, of_prompts, of_table};

fn row() -> Value {
    json!({ "age": 50, "sex": "male", "since": "2020-05-05" })
}

fn served(name: &str, options: ServeOptions) -> (Folder, Running) {
    let folder = Folder::new(name);
    of_table(1).save(folder.at("ill.kiln")).unwrap();
    let running = Running::new(&[&folder.at("ill.kiln")], options);
    (folder, running)
}

/// That it still answers.
fn is_well(running: &Running) {
    assert_eq!(running.post_json("/predict", &row()).status, 200);
}

#[test]
fn what_nobody_takes_is_refused_with_its_reason() {
    let (_folder, running) = served("wrong", ServeOptions::default());
    let json_cases = [
        (r#"{"age": 50, "sex": "male"}"#, "since"),
        (r#"{"age": "old", "sex": "male", "since": ""}"#, "age"),
        (r#"{"age": 1, "age": 2, "sex": "male", "since": ""}"#, "twice"),
        (r#"{"age": [1], "sex": "male", "since": ""}"#, "\"age\""),
        (r#"{"age": 1e999, "sex": "male", "since": ""}"#, "number"),
        ("7", "row"),
        ("[7, {}]", "row"),
        ("[[1, 2]]", "numbers"),
        ("[null]", "row"),
        ("", "JSON"),
        ("{", "JSON"),
        ("\u{0}", "JSON"),
    ];
    for (body, word) in json_cases {
        let error = running.post("/predict", "application/json", body).json(400);
        assert!(error["error"].as_str().unwrap().contains(word), "{body}: {error}");
    }
    let deep = "[".repeat(200_000);
    assert_eq!(running.post("/predict", "application/json", deep).status, 400);
    for (kind, body) in [
        ("text/csv", &b"age,sex\n1,male\n"[..]),
        ("text/csv", b""),
        ("text/csv", b"\x1f\x8b\x08\x00\x00"),
        ("text/csv", b"PK\x03\x04aaaaaaaa"),
        ("text/csv", b"age,sex,since\nold,male,\n"),
        ("text/csv", b"age,sex,since\n1,\"male\n"),
        ("text/csv", b"\xff\xfe\x00\xd8"),
        ("text/plain", b"hello"),
        ("image/png", b"\x89PNG\r\n\x1a\n"),
        ("application/octet-stream", b"\x00"),
    ] {
        let said = running.post("/predict", kind, body);
        assert!((400..500).contains(&said.status), "{kind} {body:?}: {} {}", said.status, said.text());
        assert!(said.json(said.status)["error"].is_string());
    }
    for kind in ["", "application/xml", "multipart/form-data", "text", "*/*"] {
        assert_eq!(running.post("/predict", kind, "{}").status, 415, "{kind}");
    }
    for (method, path, status) in [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/models/ill", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/models/none", 404),
        ("GET", "/models/ill/report", 404),
        ("GET", "/v2/models/ill/versions/2", 404),
        ("GET", "/v2/models/ill/nothing", 404),
        ("GET", "/%ff", 400),
        ("GET", "/..%2f..%2fetc/passwd", 404),
        ("HEAD", "/healthz", 200),
    ] {
        let mut client = running.client();
        client
            .send(format!("{method} {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut said = String::new();
        client.stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {said}");
    }
    is_well(&running);
}

#[test]
fn tensors_that_lie_are_refused() {
    let (_folder, running) = served("tensors", ServeOptions::default());
    let input = |shape: Value, data: Value| json!({ "inputs": [{ "name": "input", "datatype": "FP32", "shape": shape, "data": data }] });
    for request in [
        json!({}),
        json!({ "inputs": [] }),
        json!({ "inputs": [{}] }),
        input(json!([1, 3]), json!([1])),
        input(json!([-1, 3]), json!([1, 2, 3])),
        input(json!([1e30, 1e30]), json!([])),
        input(json!([0.5]), json!([1])),
        input(json!("x"), json!([1])),
        input(json!([1, 2]), json!(["a", "b"])),
        json!({ "inputs": [{ "name": "age", "datatype": "FP8", "shape": [1], "data": [1] }] }),
        json!({ "inputs": [{ "name": "age", "datatype": "FP64", "shape": [1], "parameters": { "binary_data_size": 1e18 } }] }),
        json!({ "inputs": [{ "name": "age", "datatype": "FP64", "shape": [1], "parameters": { "binary_data_size": 8 }, "data": [1] }] }),
        json!({ "inputs": [{ "name": "age", "datatype": "FP64", "shape": [2], "data": [1, 2] }, { "name": "sex", "datatype": "BYTES", "shape": [1], "data": ["male"] }] }),
    ] {
        let error = running.post_json("/v2/models/ill/infer", &request).json(400);
        assert!(error["error"].is_string(), "{request}");
    }
    for length in ["x", "-1", "99999999999999999999", "1000", "3"] {
        let headers = [("Inference-Header-Content-Length", length)];
        assert_eq!(
            running.ask("POST", "/v2/models/ill/infer", &headers, b"{\"inputs\": []}").status,
            400,
            "{length}"
        );
    }
    is_well(&running);
}

#[test]
fn bodies_have_a_bound_each_and_together() {
    let options = ServeOptions { body_limit: 1000, body_memory: 3000, ..ServeOptions::default() };
    let (_folder, running) = served("large", options);
    assert_eq!(running.post("/predict", "application/json", vec![b' '; 1001]).status, 413);
    // Said by nobody beforehand, in pieces.
    let mut client = running.client();
    client.send(b"POST /predict HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let piece = format!("1f4\r\n{}\r\n", " ".repeat(500));
    (0..3).for_each(|_| drop(client.send(piece.as_bytes())));
    assert_eq!(client.read().unwrap().status, 413);
    // Three hold nearly all there is; a fourth is told to come again.
    let mut held: Vec<Client> = (0..3).map(|_| running.client()).collect();
    for client in &mut held {
        client.send(b"POST /predict HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n").unwrap();
        client.send(&[b' '; 990]).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let said = running.post("/predict", "application/json", vec![b' '; 900]);
    assert_eq!((said.status, said.header("retry-after")), (429, Some("1")));
    drop(held);
    let until = Instant::now() + Duration::from_secs(10);
    while running.post_json("/predict", &row()).status != 200 {
        assert!(Instant::now() < until, "the room isn't given back");
    }
}

#[test]
fn slow_clients_are_given_up() {
    let short = Duration::from_millis(400);
    let options = ServeOptions { header_timeout: short, body_timeout: short, ..ServeOptions::default() };
    let (_folder, running) = served("slow", options);
    let ends = |client: &mut Client| {
        let began = Instant::now();
        client.stream.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut said = Vec::new();
        // What the server hasn't read when it closes makes the end a reset.
        if let Err(error) = client.stream.read_to_end(&mut said) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it isn't given up: {error}");
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        String::from_utf8_lossy(&said).into_owned()
    };
    // Nothing at all, half a head, half a body, and one that has asked once and is silent.
    ends(&mut running.client());
    let mut client = running.client();
    client.send(b"POST /predict HTTP/1.1\r\nHost: k\r\nX-").unwrap();
    ends(&mut client);
    let mut client = running.client();
    client.send(b"POST /predict HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let said = ends(&mut client);
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    let mut client = running.client();
    assert_eq!(client.ask("GET", "/healthz", &[], b"").status, 200);
    ends(&mut client);
    // One that sends a letter at a time.
    let mut client = running.client();
    let began = Instant::now();
    for letter in b"GET /healthz HTTP/1.1\r\nHost: a-name-that-is-long-enough\r\n\r\n" {
        if client.send(&[*letter]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    ends(&mut client);
    assert!(began.elapsed() < Duration::from_secs(5));
    is_well(&running);
}

#[test]
fn broken_requests_end_their_own_connection_alone() {
    let (_folder, running) = served("broken", ServeOptions::default());
    let mut rng = Rng::new(5);
    let good =
        b"POST /predict HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    for round in 0..300 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len());
            match rng.below(3) {
                0 => bytes[at] = rng.below(256) as u8,
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, rng.below(256) as u8),
            }
        }
        let mut stream = TcpStream::connect(running.address).unwrap();
        let _ = stream.write_all(&bytes);
        if round % 3 == 0 {
            let _ = stream.shutdown(Shutdown::Write);
        }
        // Others leave without a word.
    }
    for bytes in [
        &b"GET / HTTP/9.9\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[b'a'; 100_000],
    ] {
        let mut stream = TcpStream::connect(running.address).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&said));
    }
    is_well(&running);
}

#[test]
fn there_is_room_for_so_many_connections_and_no_more() {
    let (_folder, running) = served("many", ServeOptions { connections: 4, ..ServeOptions::default() });
    let mut open: Vec<Client> = (0..4).map(|_| running.client()).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.ask("GET", "/healthz", &[], b"").status, 200));
    let said = running.client().read().unwrap();
    assert_eq!((said.status, said.header("retry-after")), (503, Some("1")));
    assert!(said.json(503)["error"].is_string());
    drop(open);
    let until = Instant::now() + Duration::from_secs(10);
    while running.client().try_ask("GET", "/healthz", &[], b"").is_none_or(|said| said.status != 200) {
        assert!(Instant::now() < until, "the room isn't given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_waits_has_a_bound_and_a_deadline() {
    let folder = Folder::new("waits");
    of_prompts(512).save(folder.at("cats.kiln")).unwrap();
    let running = Running::new(
        &[&folder.at("cats.kiln")],
        ServeOptions { writers: 1, queue: 1, ..ServeOptions::default() },
    );
    let long = json!({ "prompt": "the ", "tokens": 8000, "stream": true }).to_string();
    let long = format!(
        "POST /predict HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{long}",
        long.len()
    );
    let mut writes = running.client();
    writes.send(long.as_bytes()).unwrap();
    let mut line = [0; 15];
    writes.stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 200 OK");
    let mut waits = running.client();
    waits.send(long.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    let short = json!({ "prompt": "the ", "tokens": 1 });
    let said = running.post_json("/predict", &short);
    assert_eq!((said.status, said.header("retry-after")), (429, Some("1")));
    drop(waits);
    std::thread::sleep(Duration::from_millis(40));
    let headers = [("Content-Type", "application/json"), ("Request-Timeout", "0.05")];
    let said = running.ask("POST", "/predict", &headers, short.to_string().as_bytes());
    assert_eq!(said.status, 504);
    // Whoever leaves makes room: the text isn't written to its end.
    drop(writes);
    let until = Instant::now() + Duration::from_secs(10);
    while running.post_json("/predict", &short).status != 200 {
        assert!(Instant::now() < until, "the text is written on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    }
    for wrong in ["-1", "soon", "nan", "1e9"] {
        let headers = [("Content-Type", "application/json"), ("Request-Timeout", wrong)];
        assert_eq!(running.ask("POST", "/predict", &headers, b"{}").status, 400, "{wrong}");
    }
}

#[test]
fn a_stop_answers_what_was_accepted() {
    let folder = Folder::new("stop");
    of_prompts(64).save(folder.at("cats.kiln")).unwrap();
    let running = Running::new(&[&folder.at("cats.kiln")], ServeOptions::default());
    let body = json!({ "prompt": "the ", "tokens": 600 }).to_string();
    let mut client = running.client();
    let mut idle = running.client();
    assert_eq!(idle.ask("GET", "/readyz", &[], b"").status, 200);
    client
        .send(format!("POST /predict HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    running.stop();
    let said = client.read().expect("what was accepted is answered");
    assert_eq!(said.json(200)["tokens"], 600);
    assert!(idle.read().is_none(), "a connection that asks nothing is closed");
    let address = running.address;
    running.wait();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_broken_file_leaves_the_old_model_where_it_is() {
    let folder = Folder::new("reload");
    std::fs::create_dir_all(folder.at("models")).unwrap();
    of_table(1).save(folder.at("models/ill.kiln")).unwrap();
    let options = ServeOptions { reload: Some(Duration::from_millis(50)), ..ServeOptions::default() };
    let running = Running::new(&[&folder.at("models")], options);
    let ask = || running.post_json("/models/ill/predict", &row()).json(200);
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !is() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let first = ask();
    let troubles = || running.get("/models/ill").json(200)["troubles"].as_array().unwrap().len();
    assert_eq!(troubles(), 0);
    let whole = std::fs::read(folder.at("models/ill.kiln")).unwrap();
    for broken in [&b"no model"[..], &whole[..whole.len() / 2], b""] {
        folder.write("models/ill.kiln", broken);
        until("the broken file is said", &|| troubles() == 1);
        assert_eq!(ask(), first);
    }
    of_table(2).save(folder.at("models/ill.kiln")).unwrap();
    until("the new file is served", &|| ask() != first);
    assert_eq!(troubles(), 0);
    // Another comes and goes, and nobody who asks meanwhile is left without an answer.
    let second = ask();
    of_images().save(folder.at("models/insects.kiln")).unwrap();
    until("a new model is served", &|| running.get("/models/insects").status == 200);
    std::fs::remove_file(folder.at("models/insects.kiln")).unwrap();
    until("a model that is gone isn't", &|| running.get("/models/insects").status == 404);
    // One that was never read is said, and the other is still the only one.
    folder.write("models/new.kiln", b"no model");
    until("the trouble is said", &|| running.get("/models/new").text().contains("isn't served"));
    assert_eq!(running.post_json("/predict", &row()).status, 200);
    std::fs::remove_file(folder.at("models/new.kiln")).unwrap();
    // A version that moves stays where it is.
    for place in ["models/c/1.kiln", "models/c/01/model.kiln"] {
        std::fs::create_dir_all(folder.at(place).parent().unwrap()).unwrap();
        of_table(1).save(folder.at(place)).unwrap();
        until("the version is served", &|| running.get("/models/c").status == 200);
    }
    std::fs::remove_file(folder.at("models/c/1.kiln")).unwrap();
    for _ in 0..20 {
        assert_eq!(running.get("/models/c").status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            (0..300).for_each(|_| {
                assert!([200].contains(&running.post_json("/models/ill/predict", &row()).status))
            })
        });
        for seed in [1, 2, 1, 2] {
            of_table(seed).save(folder.at("models/ill.kiln")).unwrap();
            std::thread::sleep(Duration::from_millis(80));
        }
        asks.join().unwrap();
    });
    until("the last file is served", &|| ask() == second);
}

#[test]
fn nobody_asks_without_a_token_where_some_are_known() {
    let options = ServeOptions { tokens: BearerTokens::of("secret").unwrap(), ..ServeOptions::default() };
    let (_folder, running) = served("tokens", options);
    for path in ["/", "/page.js", "/page.css", "/healthz", "/readyz", "/v2/health/live"] {
        assert_eq!(running.get(path).status, 200, "{path}");
    }
    let body = row().to_string();
    for path in ["/metrics", "/models", "/v2", "/openapi.json", "/models/ill", "/nothing/at/all"] {
        let said = running.get(path);
        assert!([401, 404].contains(&said.status), "{path}");
    }
    let ask = |token: &str| {
        let headers = [("Content-Type", "application/json"), ("Authorization", token)];
        running.ask("POST", "/predict", &headers, body.as_bytes())
    };
    assert_eq!((ask("Bearer secret").status, ask("Bearer secreT").status, ask("").status), (200, 401, 401));
    assert_eq!(ask("").header("www-authenticate"), Some("Bearer"));
}
