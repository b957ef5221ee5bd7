//! Language models in GGUF files: what other libraries compute with each (`gguf/make.py` made the files), and that packed weights stay packed.

use std::path::PathBuf;

use kiln::generate::GenerateOptions;
use kiln::hub::gguf::UnpackedTensor;
use kiln::hub::{LanguageModel, gguf};
use kiln::prelude::*;
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
