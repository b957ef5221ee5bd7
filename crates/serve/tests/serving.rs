//! A server with models of every kind: what it answers is what the models say, by every way they are asked.

mod kit;

use std::sync::Arc;

use kiln_learn::{Prediction, Predictor};
use kiln_serve::ServeOptions;
use kiln_testkit::Folder;
use serde_json::{Value, json};

use kit::{Running, of_images, of_number, of_prompts, of_table, of_texts, picture};

fn rows() -> Vec<Value> {
    (0..40)
        .map(|row| {
            let age = if row % 7 == 0 { Value::Null } else { json!(20 + row) };
            let sex = if row % 2 == 0 { "male" } else { "female" };
            json!({ "age": age, "sex": sex, "since": format!("2020-{:02}-05", row % 12 + 1) })
        })
        .collect()
}

/// The bits of a probability as an answer says it.
fn probability(said: &Value, class: &str) -> u32 {
    (said["probabilities"][class].as_f64().unwrap() as f32).to_bits()
}

#[test]
fn rows_of_json_and_csv_are_answered_as_the_model_says() {
    let folder = Folder::new("rows");
    let path = folder.at("ill.kiln");
    of_table(1).save(&path).unwrap();
    let running = Running::new(&[&path], ServeOptions::default());
    let predictor = Predictor::load(&path).unwrap();
    let own = predictor.predict_row([("age", "50"), ("sex", "male"), ("since", "2020-05-05")]).unwrap();

    let row = json!({ "age": 50, "sex": "male", "since": "2020-05-05" });
    let said = running.post_json("/predict", &row).json(200);
    assert_eq!(said["prediction"], own.class().unwrap());
    assert_eq!(probability(&said, "yes"), own.probability("yes").unwrap().to_bits());
    assert_eq!(running.post_json("/models/ill/predict", &row).json(200), said);
    assert_eq!(running.post_json("/models/ill/versions/1/predict", &row).json(200), said);
    // Lists of rows, cells in any order, numbers as text, more columns than needed.
    let other = json!({ "since": "2020-05-05", "more": 1, "sex": "male", "age": "50" });
    for many in [json!([row, other]), json!({ "rows": [row, other] })] {
        assert_eq!(running.post_json("/predict", &many).json(200), json!({ "predictions": [said, said] }));
    }
    assert_eq!(running.post_json("/predict", &json!([])).json(200), json!({ "predictions": [] }));

    let csv = "sex,age,since\nmale,50,2020-05-05\nfemale,,2021-01-01\n";
    let all = running.post("/predict", "text/csv", csv).json(200);
    assert_eq!(all["predictions"][0], said);
    let table = running.ask(
        "POST",
        "/predict",
        &[("Content-Type", "text/csv"), ("Accept", "text/csv")],
        csv.as_bytes(),
    );
    assert!(
        table.text().starts_with("sex,age,since,prediction,p(no),p(yes)\nmale,50,2020-05-05,"),
        "{}",
        table.text()
    );
}

#[test]
fn an_answer_is_the_same_bits_alone_and_in_any_batch() {
    let folder = Folder::new("bits");
    let path = folder.at("ill.kiln");
    of_table(1).save(&path).unwrap();
    let running = Arc::new(Running::new(&[&path], ServeOptions::default()));
    let rows = rows();
    let mut client = running.client();
    let alone: Vec<u32> = rows
        .iter()
        .map(|row| {
            let body = row.to_string();
            let said =
                client.ask("POST", "/predict", &[("Content-Type", "application/json")], body.as_bytes());
            probability(&said.json(200), "yes")
        })
        .collect();
    let together = running.post_json("/predict", &json!(rows)).json(200);
    for (row, said) in together["predictions"].as_array().unwrap().iter().enumerate() {
        assert_eq!(probability(said, "yes"), alone[row], "row {row} among all");
    }
    std::thread::scope(|scope| {
        for first in 0..8 {
            let (running, rows, alone) = (&running, &rows, &alone);
            scope.spawn(move || {
                let mut client = running.client();
                for row in (0..200).map(|at| (first * 5 + at) % rows.len()) {
                    let body = rows[row].to_string();
                    let kind = [("Content-Type", "application/json")];
                    let said = client.ask("POST", "/predict", &kind, body.as_bytes()).json(200);
                    assert_eq!(probability(&said, "yes"), alone[row], "row {row} in batches");
                }
            });
        }
    });
    let metrics = running.get("/metrics").text();
    let batches = metrics.lines().find(|line| line.starts_with("kiln_batch_rows_count")).unwrap();
    let batches: u64 = batches.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(batches <= 1641, "{batches} batches of 1641 requests");
    assert!(metrics.contains("kiln_requests_total{model=\"ill\",status=\"2xx\"} 1641"), "{metrics}");
}

#[test]
fn tensors_go_in_and_out_by_the_inference_protocol() {
    let folder = Folder::new("tensors");
    of_table(1).save(folder.at("ill.kiln")).unwrap();
    of_images().save(folder.at("insects.kiln")).unwrap();
    let running = Running::new(&[folder.path()], ServeOptions::default());
    for path in ["/v2/health/live", "/v2/health/ready", "/healthz", "/readyz", "/v2/models/ill/ready"] {
        assert_eq!(running.get(path).status, 200, "{path}");
    }
    assert_eq!(running.get("/v2").json(200)["extensions"], json!(["binary_tensor_data"]));
    let about = running.get("/v2/models/ill").json(200);
    assert_eq!(about["versions"], json!(["1"]));
    assert_eq!(about["inputs"][0], json!({ "name": "age", "datatype": "FP64", "shape": [-1] }));
    assert_eq!(about["outputs"][1], json!({ "name": "probabilities", "datatype": "FP32", "shape": [-1, 2] }));

    let row = json!({ "age": 50, "sex": "male", "since": "2020-05-05" });
    let plain = running.post_json("/models/ill/predict", &row).json(200);
    let column = |name: &str, kind: &str, data: Value| json!({ "name": name, "shape": [2, 1], "datatype": kind, "data": data });
    let request = json!({
        "id": "7",
        "inputs": [
            column("age", "FP64", json!([50, 50])),
            column("sex", "BYTES", json!(["male", "male"])),
            column("since", "BYTES", json!([["2020-05-05"], ["2020-05-05"]])),
        ],
    });
    let said = running.post_json("/v2/models/ill/infer", &request).json(200);
    assert_eq!(
        (&said["id"], &said["model_name"], &said["model_version"]),
        (&json!("7"), &json!("ill"), &json!("1"))
    );
    assert_eq!(said["outputs"][0]["data"], json!([plain["prediction"], plain["prediction"]]));
    assert_eq!(said["outputs"][1]["shape"], json!([2, 2]));
    let yes = said["outputs"][1]["data"][3].as_f64().unwrap() as f32;
    assert_eq!(yes.to_bits(), probability(&plain, "yes"));

    // Pixels as bytes behind the JSON, and probabilities as bytes behind the answer's.
    let pixels: Vec<u8> = (0..36).map(|at| if (13..17).contains(&at) { 200 } else { 0 }).collect();
    let head = json!({
        "inputs": [{ "name": "image", "shape": [1, 1, 6, 6], "datatype": "UINT8", "parameters": { "binary_data_size": 36 } }],
        "outputs": [{ "name": "probabilities", "parameters": { "binary_data": true } }],
    })
    .to_string();
    let body = [head.as_bytes(), &pixels].concat();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let said = running.ask("POST", "/v2/models/insects/infer", &headers, &body);
    let length: usize = said.header("inference-header-content-length").unwrap().parse().unwrap();
    let (head, bytes) = said.body.split_at(length);
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 12);
    let own = Predictor::new(of_images()).unwrap().predict_image(&picture(1).png().unwrap()).unwrap();
    let own: Vec<u8> = own.probabilities().flat_map(|(_, p)| p.to_le_bytes()).collect();
    assert_eq!(bytes, own);
}

#[test]
fn every_kind_of_model_takes_what_people_have() {
    let folder = Folder::new("kinds");
    of_number().save(folder.at("age.kiln")).unwrap();
    of_images().save(folder.at("insects.kiln")).unwrap();
    of_texts().save(folder.at("reviews.kiln")).unwrap();
    let running = Running::new(&[folder.path()], ServeOptions::default());
    let number =
        running.post("/models/age/predict", "text/csv", "sex,since,ill\nmale,2020-05-05,yes\n").json(200);
    let own = Predictor::load(folder.at("age.kiln")).unwrap();
    let own = own
        .predict_row([("sex", "male"), ("since", "2020-05-05"), ("ill", "yes")])
        .unwrap()
        .number()
        .unwrap();
    assert_eq!(number["predictions"][0]["prediction"].as_f64().unwrap() as f32, own as f32);

    let png = picture(2).png().unwrap();
    let own = Predictor::load(folder.at("insects.kiln")).unwrap().predict_image(&png).unwrap();
    for kind in ["image/png", "image/*", "application/octet-stream"] {
        let said = running.post("/models/insects/predict", kind, &png).json(200);
        assert_eq!(said["prediction"], own.class().unwrap());
        assert_eq!(probability(&said, "cat"), own.probability("cat").unwrap().to_bits());
    }
    let raw: Vec<u8> = (0..36).map(|at| if (19..23).contains(&at) { 200 } else { 0 }).collect();
    let said = running.post_json("/models/insects/predict", &json!({ "inputs": [raw] })).json(200);
    assert_eq!(said["predictions"][0]["prediction"], own.class().unwrap());

    let own = Predictor::load(folder.at("reviews.kiln")).unwrap().predict_text("a good day").unwrap();
    let texts: [(&str, Vec<u8>); 4] = [
        ("text/plain", b"a good day".to_vec()),
        ("application/json", br#"{"text": "a good day"}"#.to_vec()),
        ("application/json", br#"{"review": "a good day"}"#.to_vec()),
        ("application/json", br#""a good day""#.to_vec()),
    ];
    for (kind, body) in texts {
        let said = running.post("/models/reviews/predict", kind, &body).json(200);
        assert_eq!(probability(&said, "up"), own.probability("up").unwrap().to_bits(), "{kind}");
    }
    let many = running.post("/models/reviews/predict", "text/csv", "review\na good day\nbad\n").json(200);
    assert_eq!(probability(&many["predictions"][0], "up"), own.probability("up").unwrap().to_bits());
    // Several models, and none is named.
    let error = running.post("/predict", "text/plain", "x").json(404);
    assert!(error["error"].as_str().unwrap().contains("age, insects, reviews"), "{error}");
    assert_eq!(Prediction::class(&own), own.class());
}

#[test]
fn texts_go_on_whole_and_piece_by_piece() {
    let folder = Folder::new("prompts");
    let path = folder.at("cats.kiln");
    of_prompts(16).save(&path).unwrap();
    let running = Running::new(&[&path], ServeOptions::default());
    let request = json!({ "prompt": "the ", "tokens": 40, "temperature": 0.9, "seed": 3 });
    let said = running.post_json("/predict", &request).json(200);
    assert_eq!((&said["tokens"], &said["stopped"]), (&json!(40), &json!("length")));
    let options = kiln_learn::generate::GenerateOptions::new().tokens(40).temperature(0.9).seed(3);
    let own = Predictor::load(&path).unwrap().generate("the ", &options).unwrap().text().unwrap();
    assert_eq!(said["text"], own);

    let mut streamed = request.clone();
    streamed["stream"] = true.into();
    let events = running.post_json("/predict", &streamed);
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let events: Vec<Value> = events
        .text()
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(text, own);
    assert_eq!(events.last().unwrap(), &json!({ "done": true, "tokens": 40, "stopped": "length" }));

    for (wrong, word) in [
        (json!({ "prompt": "a", "temprature": 1 }), "\"temperature\" is one"),
        (json!({ "prompt": "a", "tokens": -1 }), "whole number"),
        (json!({ "prompt": "a", "top_p": 7, "stream": true }), "top-p"),
        (json!({ "tokens": 3 }), "\"prompt\""),
    ] {
        let error = running.post_json("/predict", &wrong).json(400);
        assert!(error["error"].as_str().unwrap().contains(word), "{error}");
    }
}

#[test]
fn pages_and_lists_say_what_there_is() {
    let folder = Folder::new("pages");
    of_table(1).save(folder.at("run/model.kiln")).unwrap_or_else(|_| {
        std::fs::create_dir_all(folder.at("run")).unwrap();
        of_table(1).save(folder.at("run/model.kiln")).unwrap();
    });
    folder.write("run/report.html", "<!doctype html><title>report</title>");
    let running = Running::new(&[&folder.at("run")], ServeOptions::default());
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/api", "text/html; charset=utf-8"),
        ("/models/run/report", "text/html; charset=utf-8"),
    ] {
        let said = running.get(path);
        assert_eq!((said.status, said.header("content-type")), (200, Some(kind)), "{path}");
        let policy = said.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!said.text().contains("//cdn") && !said.text().contains("http://www"), "{path}");
    }
    let about = running.get("/models/run").json(200);
    assert_eq!(about["columns"][0]["kind"], "number");
    assert_eq!(
        about["columns"][1],
        json!({ "name": "sex", "kind": "choice", "choices": ["female", "male"] })
    );
    assert_eq!((&about["report"], &about["classes"]), (&json!(true), &json!(["no", "yes"])));
    let document = running.get("/openapi.json").json(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["components"]["schemas"]["run"]["properties"]["age"].is_object(), "{document}");
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "run").replace("{version}", "1");
        let status = match item.get("get") {
            Some(_) => running.get(&path).status,
            None => running.post_json(&path, &json!([])).status,
        };
        assert!(status != 404 && status < 500, "{path}: {status}");
    }
}
