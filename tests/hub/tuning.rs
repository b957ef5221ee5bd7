//! Folders of language models that go on learning by the command: all weights or adapters, resumed, asked, and written as folders again.

use std::fs;

use kiln::hub::LanguageModel;
use kiln::weights::Weights;
use kiln_testkit::Program;
use serde_json::Value;

use super::{folders, program, with_words};

/// A folder `base/` with a tiny model, and a text of its words that has a pattern.
fn prepared(name: &str) -> Program {
    let (from, _) = folders().into_iter().find(|(path, _)| path.ends_with("llama")).unwrap();
    let folder = program(name);
    let base = program(&format!("{name}-base"));
    with_words(&from, &base);
    fs::create_dir_all(folder.at("base")).unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(base.at(file), folder.at("base").join(file)).unwrap();
    }
    let text: String = (0..1500).map(|at| format!("w{} ", 2 + (at * at + at / 3) % 11)).collect();
    folder.write("novel.txt", text);
    folder
}

const TRAIN: [&str; 14] = [
    "train",
    "novel.txt",
    "--from",
    "base",
    "--window",
    "16",
    "--batch-size",
    "4",
    "--schedule",
    "constant",
    "--threads",
    "1",
    "--quiet",
    "--out",
];

fn train(folder: &Program, out: &str, more: &[&str]) -> String {
    folder.out(&[&TRAIN[..], &[out], more].concat())
}

fn perplexity(folder: &Program, arguments: &[&str]) -> f64 {
    let said = folder.out(&[&["predict"], arguments, &["novel.txt", "--score", "--json"]].concat());
    serde_json::from_str::<Value>(&said).unwrap()["perplexity"].as_f64().unwrap()
}

/// A folder's tensors, by name.
fn tensors(folder: &Program, name: &str) -> Vec<(String, Vec<f64>)> {
    let weights = Weights::open(folder.at(name).join("model.safetensors")).unwrap();
    let mut all: Vec<(String, Vec<f64>)> = weights
        .iter()
        .map(|t| (t.name().to_string(), t.data().unwrap().scalars().iter().map(|x| x.as_f64()).collect()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn all_weights_go_on_learning_and_a_resumed_run_is_bit_identical() {
    let folder = prepared("tuning-all");
    let before = perplexity(&folder, &["base"]);
    let said = train(&folder, "whole", &["--epochs", "4", "--lr", "0.003"]);
    assert!(said.contains("perplexity") && said.contains("report.html"), "{said}");
    let after = perplexity(&folder, &["whole/model"]);
    assert!(after < 0.6 * before, "{before} {after}");
    assert!(folder.at("whole/report.html").is_file() && folder.at("whole/metrics.csv").is_file());
    let said = fs::read_to_string(folder.at("whole/metrics.jsonl")).unwrap();
    assert!(said.lines().last().unwrap().contains("\"sample\":"), "{said}");
    let result: Value = serde_json::from_slice(&fs::read(folder.at("whole/result.json")).unwrap()).unwrap();
    assert!(result["test"]["loss"].as_f64().unwrap() < before.ln());

    train(&folder, "parts", &["--epochs", "2", "--lr", "0.003"]);
    folder.out(&["train", "--resume", "parts", "--epochs", "4", "--quiet"]);
    assert!(tensors(&folder, "whole/model") == tensors(&folder, "parts/model"));
    let changed = folder.error(&["train", "--resume", "parts", "--epochs", "5", "--lr", "0.1"]).1;
    assert!(changed.contains("--allow-changes lr"), "{changed}");

    let said = folder.out(&["export", "whole", "exported"]);
    assert!(said.contains("parameters"), "{said}");
    assert!(tensors(&folder, "exported") == tensors(&folder, "whole/model"));
    assert!(tensors(&folder, "exported") != tensors(&folder, "base"));
    assert!(folder.out(&["runs", "."]).contains("whole"));
    let config = folder.out(&[&TRAIN[..], &["shown", "--print-config"]].concat());
    assert!(config.contains("from = \"base\"") && config.contains("clip = 1"), "{config}");
}

#[test]
fn adapters_learn_beside_weights_that_stay_and_say_the_same_merged() {
    let folder = prepared("tuning-lora");
    let before = perplexity(&folder, &["base"]);
    let own = tensors(&folder, "base");
    train(&folder, "run", &["--epochs", "4", "--lora", "4", "--lr", "0.02"]);
    assert!(tensors(&folder, "base") == own);
    let adapters = Weights::open(folder.at("run/adapters.safetensors")).unwrap();
    // Seven dense layers in each of two blocks, two matrices each.
    assert_eq!(adapters.len(), 28);
    let (merged, beside) = (
        perplexity(&folder, &["run/model"]),
        perplexity(&folder, &["base", "--adapters", "run/adapters.safetensors"]),
    );
    assert!(merged < 0.8 * before && (merged / beside - 1.0).abs() < 1e-4, "{before} {merged} {beside}");
    let say = |arguments: &[&str]| {
        folder.out(
            &[&["predict"], arguments, &["--prompt", "w3 w4 w5", "--temperature", "0", "--tokens", "12"]]
                .concat(),
        )
    };
    assert_eq!(say(&["run/model"]), say(&["base", "--adapters", "run/adapters.safetensors"]));

    // What isn't dense in a block is as it was; the rest differs by a matrix of the rank.
    for ((name, was), (_, is)) in own.iter().zip(tensors(&folder, "run/model")) {
        let dense = name.contains("_proj");
        assert_eq!(*was != is, dense, "{name}");
    }
    folder.out(&["export", "base", "joined", "--adapters", "run/adapters.safetensors"]);
    assert!(tensors(&folder, "joined") == tensors(&folder, "run/model"));

    train(&folder, "parts", &["--epochs", "2", "--lora", "4", "--lr", "0.02"]);
    folder.out(&["train", "--resume", "parts", "--epochs", "4", "--quiet"]);
    assert!(tensors(&folder, "parts/model") == tensors(&folder, "run/model"));
    let packed = super::gguf::here("pieces-qwen2.gguf");
    fs::copy(packed, folder.at("model.gguf")).unwrap();
    folder.out(&["export", "model.gguf", "unpacked"]);
    LanguageModel::open(folder.at("unpacked")).unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let folder = prepared("tuning-wrong");
    fs::copy(super::gguf::here("llama.gguf"), folder.at("model.gguf")).unwrap();
    folder.write("table.csv", "a,y\n1,0\n2,1\n");
    let refused = |arguments: &[&str]| folder.error(&[&["train"], arguments].concat()).1;
    for (arguments, said) in [
        (&["novel.txt", "--from", "model.gguf"][..], "packed for predictions and aren't trained"),
        (&["novel.txt", "--lora", "4"], "name it, --from FOLDER"),
        (&["table.csv", "--target", "y", "--from", "base"], "--target changes nothing for a language model"),
        (&["table.csv", "--from", "base"], "learns a text"),
        (&["--from", "base"], "it learns a text; name one"),
        (&["novel.txt", "--from", "base", "--window", "65"], "sees 64 pieces at once"),
        (
            &["novel.txt", "--from", "base", "--preset", "gru"],
            "--preset is what the model of --from says already",
        ),
        (&["novel.txt", "--from", "base", "--head"], "--head changes nothing for a language model"),
        (&["novel.txt", "--from", "base", "--lora", "17"], "rank 17"),
        (&["novel.txt", "--from", "base", "--freeze", "*"], "nothing is left to train"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let error = folder.error(&["predict", "base", "--adapters", "novel.txt", "--prompt", "w1"]).1;
    assert!(error.contains("novel.txt"), "{error}");
    let error = folder.error(&["export", "base", "out.onnx"]).1;
    assert!(error.contains("`--cache`"), "{error}");
    let error = folder.error(&["export", "base", "out.npz"]).1;
    assert!(error.contains("as a folder"), "{error}");
}
