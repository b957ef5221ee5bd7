//! Encoder-decoders: what another library computes and says with each kind (`seq2seq/make.py` made the folders), and back.

use std::fs;

use kiln::generate::GenerateOptions;
use kiln::hub::Seq2SeqModel;
use kiln::models::EncoderDecoder;
use kiln::prelude::*;
use serde_json::{Value, json};

use crate::kept::{apart, descended, folders, numbers, tensors, wave, whole};
use crate::program;

/// The codes that are read, which of them are no padding, and those that are said; with their shapes.
fn inputs(expected: &Value) -> [(Vec<i64>, [usize; 2]); 3] {
    ["codes", "mask", "target"].map(|name| {
        let codes = whole(&expected[name]);
        let shape = [2, codes.len() / 2];
        (codes, shape)
    })
}

fn computed(model: &Seq2SeqModel, expected: &Value) -> Vec<f32> {
    let mut answers =
        Function::inference(model.model(), |model: &EncoderDecoder, cx, [codes, mask, target]| {
            model.answers(&codes, Some(&mask), &target, cx)
        });
    let inputs = inputs(expected);
    let found = answers.run([&inputs[0], &inputs[1], &inputs[2]].map(|(x, shape)| Input::new(x, shape)));
    found.unwrap()[0].as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn every_encoder_decoder_gives_what_another_library_gives_and_is_written_as_it_was_read() {
    let all = folders("seq2seq");
    assert!(all.len() >= 3);
    for (name, from, expected) in all {
        let model = Seq2SeqModel::open(&from).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = computed(&model, &expected);
        let far = apart(&found, &numbers(&expected["out"]));
        assert!(far < 1e-5, "{name}: {far}");

        let folder = program(&format!("hub-seq2seq-{name}"));
        let written = folder.at(&name);
        model.save(&written).unwrap();
        assert!(tensors(&from) == tensors(&written), "{name} has other tensors");
        let again = Seq2SeqModel::open(&written).unwrap();
        assert_eq!(computed(&again, &expected), found, "{name}");

        let sizes: Vec<usize> = whole(&expected["shape"]).into_iter().map(|size| size as usize).collect();
        let weights = wave(found.len());
        let mut step = Step::train(
            again.model(),
            Sgd::new(1.0),
            |model: &EncoderDecoder, cx, [codes, mask, target, weights]| {
                (model.answers(&codes, Some(&mask), &target, cx) * weights).sum(..)
            },
        );
        let inputs = inputs(&expected);
        let [codes, mask, target] =
            [&inputs[0], &inputs[1], &inputs[2]].map(|(x, shape)| Input::new(x, shape));
        step.run([codes, mask, target, Input::new(&weights, &sizes)]).unwrap();
        drop(step);
        let stepped = folder.at("stepped");
        again.save(&stepped).unwrap();
        descended(&name, &from, &stepped, &expected["gradients"]);
    }
}

#[test]
fn what_is_said_of_texts_alone_and_together_is_what_another_library_says() {
    for (name, from, expected) in folders("seq2seq") {
        let mut model = Seq2SeqModel::open(&from).unwrap();
        let folder = program(&format!("hub-seq2seq-says-{name}"));
        let kept = expected["texts"].as_array().unwrap();
        let texts: Vec<&str> = kept.iter().map(|text| text["text"].as_str().unwrap()).collect();
        let options = GenerateOptions::new().tokens(40).temperature(0.0);
        let together = model.generate_many(&texts, &options).unwrap();
        let meant = model.embed(&texts).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let said = kept[at]["said"].as_str().unwrap();
            assert_eq!(model.generate(text, &options).unwrap().text().unwrap(), said, "{name}: {text}");
            assert_eq!(together[at], said, "{name}: {text}");
            let alone = model.embed([*text]).unwrap();
            assert_eq!(alone.rows().next().unwrap(), meant.rows().nth(at).unwrap(), "{name}: {text}");
            let far = apart(alone.rows().next().unwrap(), &numbers(&kept[at]["embedding"]));
            assert!(far < 1e-5, "{name}: {far}");
        }
        // One beam after another is the greedy text; several find one that is likelier, or the same.
        let beams = GenerateOptions::new().tokens(12).beams(3);
        assert!(!model.generate(texts[0], &beams).unwrap().text().unwrap().is_empty(), "{name}");

        let from = from.to_string_lossy();
        let from: &str = &from;
        let flags = ["--prompt", texts[1], "--tokens", "40", "--temperature", "0"];
        let said = folder.out(&[&["predict", from], &flags[..]].concat());
        assert_eq!(said.trim_end(), kept[1]["said"].as_str().unwrap(), "{name}");
        let said = folder.out(&[&["predict", from, "--json"], &flags[..]].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["text"], kept[1]["said"], "{name}");
        let two = folder.out(&[&["predict", from, "--prompt", texts[0]], &flags[..]].concat());
        let wanted: Vec<&str> = kept[..2].iter().map(|text| text["said"].as_str().unwrap()).collect();
        assert_eq!(two.lines().collect::<Vec<_>>(), wanted, "{name}");
        let meant = folder.out(&["predict", from, texts[0], "--embed", "--json"]);
        let meant: Value = serde_json::from_str(&meant).unwrap();
        assert!(apart(&numbers(&meant["embedding"]), &numbers(&kept[0]["embedding"])) < 1e-5, "{name}");
        let about = folder.out(&["inspect", from]);
        assert!(about.contains("what follows from a text, of 40 pieces"), "{about}");
        let refused = folder.error(&["predict", from, "--prompt", "a", "--score"]).1;
        assert!(refused.contains("--score is for"), "{refused}");
    }
}

#[test]
fn an_encoder_decoder_that_isnt_what_it_says_is_refused() {
    let (_, from, _) = folders("seq2seq").into_iter().find(|(name, ..)| name == "t5").unwrap();
    let config: Value = serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    for (name, value, said) in [
        (
            "architectures",
            json!(["T5EncoderModel"]),
            "\"T5EncoderModel\"; kiln reads T5ForConditionalGeneration",
        ),
        ("feed_forward_proj", json!("gated-cube"), "activation \"cube\""),
        ("feed_forward_proj", json!("gated-gelu"), "wi_0.weight is missing"),
        ("relative_attention_num_buckets", json!(7), "\"relative_attention_num_buckets\" 7"),
        ("relative_attention_num_buckets", json!(10), "doesn't fit"),
        ("relative_attention_max_distance", json!(2), "can't be told apart"),
        ("dropout_rate", json!(-0.5), "a share below 1"),
        ("d_kv", json!(6), "doesn't fit"),
        ("num_layers", json!(2_000_000_000), "far more than the"),
    ] {
        let folder = program("hub-seq2seq-wrong");
        fs::copy(from.join("model.safetensors"), folder.at("model.safetensors")).unwrap();
        let mut config = config.clone();
        config[name] = value;
        folder.write("config.json", config.to_string());
        let error = kiln::hub::open(folder.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("config.json"), "{error}\n{said}");
    }
}
