//! Language models in GGUF files: what other libraries compute with each (`gguf/make.py` made the files), and that packed weights stay packed.

use std::path::PathBuf;

use kiln::data::Windows;
use kiln::generate::GenerateOptions;
use kiln::hub::gguf::UnpackedTensor;
use kiln::hub::{LanguageModel, TrainedDecoder, gguf};
use kiln::prelude::*;
use kiln::schedule::RateFinder;
use kiln::store::TensorFile;
use serde_json::Value;

use super::{apart, codes, folders, program};

pub fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hub/gguf").join(name)
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(here(name)).unwrap()).unwrap()
}

#[test]
fn every_kind_gives_the_logits_of_its_folder_and_is_written_as_one() {
    let mut count = 0;
    for (from, expected) in folders() {
        let name = from.file_name().unwrap().to_string_lossy().into_owned();
        let file = here(&format!("{name}.gguf"));
        if !file.is_file() {
            continue;
        }
        count += 1;
        let model = LanguageModel::open(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let far = apart(&model, &expected);
        assert!(far < 1e-5, "{name}: {far}");
        // Plain numbers aren't packed.
        assert!(model.decoder().parameters().iter().all(|(_, param)| param.packed().is_none()));
        let why = model.generate("w1", &GenerateOptions::new()).map(drop).unwrap_err().to_string();
        assert!(why.contains("the file holds no pieces"), "{why}");

        let folder = program(&format!("gguf-{name}"));
        model.save(folder.path()).unwrap();
        assert_eq!(apart(&LanguageModel::open(folder.path()).unwrap(), &expected), far, "{name}");
    }
    assert_eq!(count, 6);
}

#[test]
fn packed_numbers_are_those_of_another_library() {
    let expected = expected("packed.json");
    let expected = expected["unpacked"].as_object().unwrap();
    let tensors = gguf::tensors(here("packed.gguf")).unwrap();
    let mut formats: Vec<&str> = Vec::new();
    for (name, unpacked) in expected {
        let UnpackedTensor { shape, numbers, .. } = tensors.iter().find(|own| own.name == *name).unwrap();
        assert_eq!(numbers.len(), shape.iter().product::<usize>());
        for (found, wanted) in numbers.iter().zip(unpacked[1].as_array().unwrap()) {
            assert_eq!(*found, wanted.as_f64().unwrap() as f32, "{name}");
        }
        let (sum, wanted) =
            (numbers.iter().map(|&x| f64::from(x)).sum::<f64>(), unpacked[2].as_f64().unwrap());
        assert!((sum - wanted).abs() < 1e-6 * numbers.len() as f64, "{name}: {sum} {wanted}");
        formats.push(unpacked[0].as_str().unwrap());
    }
    formats.sort_unstable();
    formats.dedup();
    assert_eq!(formats, ["BF16", "F16", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"]);
}

#[test]
fn packed_weights_are_multiplied_packed_to_the_logits_of_another_library() {
    let expected = expected("packed.json");
    let model = LanguageModel::open(here("packed.gguf")).unwrap();
    let far = apart(&model, &expected);
    let logits = expected["logits"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    let largest = logits.map(|x| x.as_f64().unwrap().abs()).fold(0.0, f64::max);
    assert!(far < 2e-6 * largest, "{far} of {largest}");
    // Only norms aren't packed, and none can be changed.
    for (path, param) in model.decoder().parameters() {
        assert_eq!(param.packed().is_some(), !path.contains("norm"), "{path}");
        assert!(!path.contains("gate") || param.is_frozen());
    }
    let (_, gate) =
        model.decoder().parameters().into_iter().find(|(path, _)| path.ends_with("gate.weight")).unwrap();
    let refused = gate.set(&Tensor::zeros(gate.shape())).unwrap_err().to_string();
    assert!(refused.contains("packed as Q"), "{refused}");

    // No kernel writes as much as one of its matrices has: the rows that were looked up alone are unpacked.
    let steps = 9;
    let mut forward = Function::inference(model.decoder(), |model, cx, [x]| model.forward(&x, cx));
    let program = forward.program([Input::new(&vec![1i64; steps], &[1, steps])]).unwrap();
    let listing = program.to_string();
    assert_eq!(listing.matches("unpack").count(), 1, "{listing}");
    assert!(program.arena < 256 * 256 * 4 && program.hoisted == 0, "{listing}");

    // The same step by step, and in many rows at once.
    let wanted: Vec<i64> = codes(&expected["greedy"]);
    let said = said(&model, &codes(&expected["codes"][0]), 20);
    let ended: Vec<i64> = wanted.into_iter().take_while(|&code| code != 39).collect();
    assert_eq!(said, ended);
}

/// What an adapted model's adapters hold, and nothing of what is packed.
fn adapters(model: &LanguageModel) -> Vec<(String, Data)> {
    let all = model.decoder().parameters().into_iter().filter(|(path, _)| path.contains(".lora_"));
    all.map(|(path, param)| (path, param.value().unwrap())).collect()
}

fn trainer<'m>(
    model: &'m LanguageModel,
    valid: &'m Windows,
    epochs: u64,
    rate: f64,
) -> Trainer<'m, TrainedDecoder<'m>> {
    let trainer = Trainer::new(model.trained(), CrossEntropy::new(), AdamW::new(rate));
    trainer.epochs(epochs).batch_size(4).seed(3).validate(valid).quiet()
}

#[test]
fn adapters_beside_packed_weights_keep_their_best_and_go_on_bit_for_bit() {
    let folder = program("gguf-adapters");
    let text: Vec<u32> = (0..160).map(|at| 2 + (at * at + at / 3) % 11).collect();
    let (train, valid) = Windows::new(text, 40, 8).unwrap().split(0.75).unwrap();
    let adapted = || {
        let model = LanguageModel::open(here("packed.gguf")).unwrap();
        assert_eq!(model.adapt_dense(2, 4.0, Key::new(7)).unwrap(), 14);
        model
    };
    let blocks = |model: &LanguageModel| -> Vec<Data> {
        let packed = model.decoder().parameters().into_iter().filter(|(_, param)| param.packed().is_some());
        packed.map(|(_, param)| param.variable().unwrap().read().unwrap()).collect()
    };

    // A rate that soon does harm: what is left are the adapters of the best epoch.
    let model = adapted();
    let before = (adapters(&model), blocks(&model));
    let found = trainer(&model, &valid, 1, 0.02).find_rate(&train, RateFinder::new(1e-4, 1.0, 5)).unwrap();
    assert!(!found.curve().is_empty());
    assert!((adapters(&model), blocks(&model)) == before);
    let stopping = EarlyStopping::on("val_loss").patience(1);
    let run = trainer(&model, &valid, 8, 0.3).callback(stopping).fit(&train).unwrap();
    let losses = run.history().series("val_loss").unwrap().to_vec();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses.len() > 1 && *losses.last().unwrap() > best, "{losses:?}");
    assert_eq!(run.evaluate(&valid).unwrap().number("loss"), Some(best), "{losses:?}");
    assert!(blocks(&model) == before.1 && adapters(&model) != before.0);

    let whole = adapted();
    trainer(&whole, &valid, 3, 0.02).fit(&train).unwrap();
    let checkpoints = folder.at("checkpoints");
    let first = adapted();
    trainer(&first, &valid, 2, 0.02).checkpoints(Checkpoints::new(&checkpoints)).fit(&train).unwrap();
    let saved = TensorFile::load(Checkpoints::last(&checkpoints)).unwrap();
    let kept: Vec<&String> = saved.tensors.keys().filter(|name| name.starts_with("model.")).collect();
    assert!(kept.iter().all(|name| name.contains("norm") || name.contains(".lora_")), "{kept:?}");
    let second = adapted();
    trainer(&second, &valid, 3, 0.02).resume(Checkpoints::last(&checkpoints)).fit(&train).unwrap();
    assert!(adapters(&second) == adapters(&whole) && adapters(&second) != adapters(&first));
}

/// The codes that follow, chosen by the greatest logit, one step for each.
fn said(model: &LanguageModel, prompt: &[i64], most: usize) -> Vec<i64> {
    let cache = kiln::Cache::new(1, 64);
    let mut go_on = Function::cached(model.decoder(), &cache, |model, cx, [x]| model.forward(&x, cx));
    let mut given = prompt.to_vec();
    let mut said = Vec::new();
    for _ in 0..most {
        let logits = go_on.run([Input::new(&given, &[1, given.len()])]).unwrap();
        let logits = logits[0].as_slice::<f32>().unwrap();
        let last = &logits[logits.len() - 40..];
        let next = (0..40).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap() as i64;
        if next == 39 {
            break;
        }
        said.push(next);
        given = vec![next];
    }
    said
}

#[test]
fn pieces_cut_texts_as_the_libraries_that_trained_them_do() {
    for (name, cases) in expected("pieces.json").as_object().unwrap() {
        let model = LanguageModel::open(here(&format!("pieces-{name}.gguf"))).unwrap();
        let tokenizer = model.tokenizer().unwrap_or_else(|| panic!("{name}: {}", model.no_pieces()));
        let mut count = 0;
        for case in cases.as_array().unwrap().iter().filter(|case| !case[1].is_null()) {
            let text = case[0].as_str().unwrap();
            let found: Vec<i64> =
                tokenizer.encode(text).unwrap().codes.iter().map(|&code| code.into()).collect();
            assert_eq!(found, codes(&case[1]), "{name}: {text:?}");
            let back = tokenizer.decode(&tokenizer.encode(text).unwrap().codes, true).unwrap();
            assert_eq!(back, text, "{name}");
            count += 1;
        }
        assert!(count >= 9, "{name}");
    }
}

#[test]
fn the_command_takes_a_file_as_it_takes_a_folder() {
    let folder = program("gguf-command");
    std::fs::copy(here("pieces-qwen2.gguf"), folder.at("model.gguf")).unwrap();
    std::fs::copy(here("packed.gguf"), folder.at("packed.gguf")).unwrap();
    let said = folder.out(&["predict", "model.gguf", "--prompt", "It was", "--tokens", "5", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["tokens"], 5);
    assert!(folder.out(&["predict", "model.gguf", "--prompt", "It was", "--score"]).contains("perplexity"));
    let about = folder.out(&["inspect", "model.gguf"]);
    for part in [
        "GGUF version 3",
        "general.architecture: qwen2",
        "tokenizer.ggml.tokens: a list of",
        "F32: ",
        "in the file",
    ] {
        assert!(about.contains(part), "{part}: {about}");
    }
    let about = folder.out(&["inspect", "packed.gguf"]);
    for part in ["Q4_K: 3 tensors", "Q6_K: ", "blocks.1", "none: it takes codes"] {
        assert!(about.contains(part), "{part}: {about}");
    }
}
