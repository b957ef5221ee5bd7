//! Language models in a hub's folders: what another library computes with each kind (`make.py` made the folders), and back.

#![cfg(feature = "tokenizer")]

mod encoders;
mod gguf;
mod gguf_written;
mod kept;
mod onnx;
mod said;
mod seq2seq;
mod settings;
mod tuning;
mod vision;

use std::fs;
use std::path::{Path, PathBuf};

use kiln::generate::GenerateOptions;
use kiln::hub::LanguageModel;
use kiln::prelude::*;
use kiln_testkit::Program;
use serde_json::{Value, json};

/// The folders, each with what is expected of it.
fn folders() -> Vec<(PathBuf, Value)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub");
    let mut all: Vec<PathBuf> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.join("expected.json").is_file());
    all.sort();
    assert!(all.len() >= 8, "{all:?}");
    let expected =
        |folder: &PathBuf| serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    all.into_iter().map(|folder| (folder.clone(), expected(&folder))).collect()
}

fn codes(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|code| code.as_i64().unwrap()).collect()
}

/// The farthest that logits for the expected codes are from those expected.
fn apart(model: &LanguageModel, expected: &Value) -> f64 {
    let rows: Vec<Vec<i64>> = expected["codes"].as_array().unwrap().iter().map(codes).collect();
    let x: Vec<i64> = rows.concat();
    let steps = rows[0].len();
    let mut forward = Function::inference(model.decoder(), |model, cx, [x]| model.forward(&x, cx));
    let found =
        forward.run([Input::new(&x, &[rows.len(), steps])]).unwrap()[0].as_slice::<f32>().unwrap().to_vec();
    let wanted: Vec<f64> = expected["logits"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|x| x.as_f64().unwrap())
        .collect();
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(&wanted).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max)
}

/// The command in an empty folder.
fn program(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

/// A folder with the same files and pieces that are the words w0, w1, …
fn with_words(from: &Path, folder: &Program) {
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        fs::copy(from.join(name), folder.at(name)).unwrap();
    }
    let vocab: serde_json::Map<String, Value> =
        (0..40).map(|code| (format!("w{code}"), code.into())).collect();
    let tokenizer = json!({ "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "w0" }, "pre_tokenizer": { "type": "Whitespace" } });
    folder.write("tokenizer.json", tokenizer.to_string());
}

fn words(codes: &[i64]) -> String {
    codes.iter().map(|code| format!("w{code}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_kind_gives_the_logits_and_texts_of_another_library_and_is_written_as_it_was_read() {
    for (from, expected) in folders() {
        let name = from.file_name().unwrap().to_string_lossy().into_owned();
        let model = LanguageModel::open(&from).unwrap_or_else(|error| panic!("{name}: {error}"));
        let far = apart(&model, &expected);
        assert!(far < 1e-5, "{name}: {far}");
        assert!(
            model
                .generate("w1", &GenerateOptions::new())
                .map(drop)
                .unwrap_err()
                .to_string()
                .contains("tokenizer.json")
        );

        let folder = program(&format!("hub-{name}"));
        with_words(&from, &folder);
        let model = LanguageModel::open(folder.path()).unwrap();
        let greedy = codes(&expected["greedy"]);
        let prompt = words(&codes(&expected["codes"][0]));
        let options = GenerateOptions::new().tokens(20).temperature(0.0);
        let said = model.generate(&prompt, &options).unwrap().text().unwrap();
        let ended: Vec<i64> = greedy.iter().copied().take_while(|&code| code != 39).collect();
        assert_eq!(said.trim(), words(&ended), "{name}");
        let both = model.generate_many(&[&prompt, "w3 w4"], &options).unwrap();
        assert_eq!(both[0], said, "{name}");
        assert!(model.score_text(&prompt).unwrap().perplexity() > 1.0);

        let out = |arguments: &[&str]| folder.out(arguments);
        let command =
            out(&["predict", ".", "--prompt", &prompt, "--tokens", "20", "--temperature", "0", "--json"]);
        let command: Value = serde_json::from_str(&command).unwrap();
        assert_eq!(command["text"].as_str().unwrap(), said, "{name}");
        assert!(out(&["predict", ".", "--prompt", &prompt, "--score"]).contains("perplexity"));
        let about = out(&["inspect", "."]);
        assert!(about.contains("blocks.1") && about.contains("of 40 pieces, seeing 64 at once"), "{about}");

        let written = folder.at("written");
        model.save(&written).unwrap();
        let again = LanguageModel::open(&written).unwrap();
        assert_eq!(apart(&again, &expected), far, "{name}");
        let tensors = |folder: &Path| {
            let weights = kiln::weights::Weights::open(folder.join("model.safetensors")).unwrap();
            let mut all: Vec<_> = weights
                .iter()
                .map(|t| (t.name().to_string(), t.shape().to_vec(), t.data().unwrap()))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        assert!(tensors(&from) == tensors(&written), "{name} has other tensors");
    }
}

/// What a file of next steps makes of the expected codes, which come in parts.
fn by_steps(path: &Path, expected: &Value) -> f64 {
    let rows: Vec<Vec<i64>> = expected["codes"].as_array().unwrap().iter().map(codes).collect();
    let network = kiln::onnx::load(path).unwrap();
    let mut past: Vec<kiln::onnx::Value> = Vec::new();
    for port in &network.inputs()[1..] {
        let sizes: Vec<usize> = port.sizes.iter().map(|size| size.unwrap_or(0)).collect();
        let sizes = [&[rows.len()], &sizes[1..]].concat();
        past.push(kiln::onnx::Value::new(Data::F32(Vec::new()), &sizes, kiln::onnx::OnnxDType::F32));
    }
    let (mut from, mut far, mut parts) = (0, 0.0f64, vec![3, 2].into_iter());
    while from < rows[0].len() {
        let steps = parts.next().unwrap_or(1).min(rows[0].len() - from);
        let part: Vec<i64> = rows.iter().flat_map(|row| row[from..from + steps].to_vec()).collect();
        let codes = kiln::onnx::Value::new(Data::I64(part), &[rows.len(), steps], kiln::onnx::OnnxDType::I64);
        let given = network.run([vec![codes], past].concat(), &Context::inference()).unwrap();
        let numbers = |value: &kiln::onnx::Value| match value {
            kiln::onnx::Value::Numbers(tensor, _) => tensor.clone(),
            other => panic!("{other:?}"),
        };
        let logits = numbers(&given[0]).to_vec::<f32>().unwrap();
        let width = logits.len() / (rows.len() * steps);
        for (place, logits) in logits.chunks(width).enumerate() {
            let row = expected["logits"][place / steps].as_array().unwrap();
            let at = (from + place % steps) * width;
            let wanted = row[at..at + width].iter().map(|x| x.as_f64().unwrap());
            for (&own, wanted) in logits.iter().zip(wanted) {
                far = far.max((f64::from(own) - wanted).abs());
            }
        }
        past = given[1..]
            .iter()
            .map(|value| {
                let tensor = numbers(value);
                kiln::onnx::Value::new(tensor.to_data().unwrap(), tensor.shape().sizes(), value.element())
            })
            .collect();
        from += steps;
    }
    far
}

#[test]
fn every_kind_goes_on_step_by_step_as_an_onnx_file() {
    for (from, expected) in folders() {
        let name = from.file_name().unwrap().to_string_lossy().into_owned();
        let folder = program(&format!("hub-onnx-{name}"));
        let path = folder.at("net.onnx");
        let out = folder.out(&["export", &from.to_string_lossy(), "net.onnx", "--cache"]);
        assert!(out.contains("read back and run beside the model"), "{name}: {out}");
        let far = by_steps(&path, &expected);
        assert!(far < 1e-5, "{name}: {far}");
        let refused = folder.run(&["export", &from.to_string_lossy(), "net.onnx"]);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--cache"));
    }
}

#[test]
fn the_same_text_comes_of_every_way_past_the_window() {
    let (from, _) = folders().into_iter().find(|(path, _)| path.ends_with("llama")).unwrap();
    let folder = program("hub-long");
    with_words(&from, &folder);
    let config = fs::read_to_string(folder.at("config.json"))
        .unwrap()
        .replace("\"max_position_embeddings\": 64", "\"max_position_embeddings\": 12");
    folder.write("config.json", config);
    let model = LanguageModel::open(folder.path()).unwrap();
    let prompts = ["w3", "w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19 w20", "w21 w5"];
    let options = GenerateOptions::new().tokens(40).temperature(1.5).stop("w39");
    let alone = prompts.map(|prompt| model.generate(prompt, &options).unwrap().text().unwrap());
    assert_eq!(model.generate_many(&prompts, &options).unwrap(), alone);
    assert!(alone.iter().any(|text| text.split_whitespace().count() > 20), "{alone:?}");
}

#[test]
fn a_folder_that_isnt_what_it_says_is_refused() {
    let (from, _) = folders().into_iter().find(|(path, _)| path.ends_with("llama")).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let folder = program("hub-wrong");
        with_words(&from, &folder);
        let mut config = config.clone();
        change(&mut config);
        folder.write("config.json", config.to_string());
        LanguageModel::open(folder.path()).map(drop).unwrap_err().to_string()
    };
    let set = |name: &'static str, value: Value| refused(&move |config| config[name] = value.clone());
    for (error, said) in [
        (set("model_type", json!("bloom")), "\"bloom\"; kiln reads gpt2, llama"),
        (set("model_type", json!(null)), "doesn't say which \"model_type\""),
        (set("hidden_size", json!(-3)), "\"hidden_size\" is -3"),
        (set("hidden_size", json!(20)), "doesn't fit"),
        (set("hidden_size", json!(8)), "which doesn't fit"),
        (set("attention_bias", json!(true)), "model.layers.0.self_attn.q_proj.bias is missing"),
        // More than the file has numbers for is never made.
        (set("num_hidden_layers", json!(2_000_000_000)), "far more than the"),
        (set("vocab_size", json!(2_000_000_000)), "far more than the"),
        (set("hidden_act", json!("cube")), "activation \"cube\""),
        (set("rope_parameters", json!({ "rope_type": "yarn" })), "\"yarn\""),
        (set("head_dim", json!(7)), "can't be turned in pairs"),
        (
            set("rope_parameters", json!({ "partial_rotary_factor": 2.0 })),
            "8 of 4 features of a head can't be turned in pairs",
        ),
        (set("num_key_value_heads", json!(3)), "doesn't fit"),
    ] {
        assert!(error.contains(said) && error.contains("config.json"), "{error}\n{said}");
    }
    let folder = program("hub-empty");
    folder.write("config.json", "[1, 2]");
    assert!(LanguageModel::open(folder.path()).unwrap_err().to_string().contains("an object of JSON"));
    folder.write("config.json", config.to_string());
    assert!(
        LanguageModel::open(folder.path()).unwrap_err().to_string().contains("there is no model.safetensors")
    );
}
