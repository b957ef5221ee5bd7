//! Encoders of texts: what another library computes with each kind and head (`encoders/make.py` made the folders), and back.

use std::fs;

use kiln::Prediction;
use kiln::hub::{EncoderModel, TextPair};
use kiln::models::Encoder;
use kiln::prelude::*;
use serde_json::{Value, json};

use crate::kept::{apart, descended, folders, numbers, tensors, wave, whole};
use crate::program;

/// What a model makes of the expected codes, and zeros for padding.
fn computed(model: &EncoderModel, expected: &Value) -> Vec<f32> {
    let [codes, mask, types] = ["codes", "mask", "types"].map(|name| whole(&expected[name]));
    let shape = [2, codes.len() / 2];
    let mut answers = Function::inference(model.encoder(), |model: &Encoder, cx, [codes, types, mask]| {
        model.answers(&codes, Some(&types), Some(&mask), cx)
    });
    let found = answers.run([&codes, &types, &mask].map(|x| Input::new(x, &shape))).unwrap();
    let found = found[0].as_slice::<f32>().unwrap();
    let seen = seen(expected, found.len());
    found.iter().zip(seen).map(|(x, seen)| if seen { *x } else { 0.0 }).collect()
}

/// Which outputs are those of pieces, and not of padding.
fn seen(expected: &Value, outputs: usize) -> Vec<bool> {
    let mask = whole(&expected["mask"]);
    match numbers(&expected["shape"]).len() {
        2 => vec![true; outputs],
        _ => (0..outputs).map(|at| mask[at / (outputs / mask.len())] == 1).collect(),
    }
}

#[test]
fn every_encoder_gives_what_another_library_gives_and_is_written_as_it_was_read() {
    let all = folders("encoders");
    assert!(all.len() >= 12);
    for (name, from, expected) in all {
        let model = EncoderModel::open(&from).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = computed(&model, &expected);
        let far = apart(&found, &numbers(&expected["out"]));
        assert!(far < 1e-5, "{name}: {far}");

        let folder = program(&format!("hub-encoder-{name}"));
        let written = folder.at(&name);
        model.save(&written).unwrap();
        assert!(tensors(&from) == tensors(&written), "{name} has other tensors");
        let again = EncoderModel::open(&written).unwrap();
        assert_eq!(computed(&again, &expected), found, "{name}");

        // A step down the gradient of a loss.
        let [codes, mask, types] = ["codes", "mask", "types"].map(|name| whole(&expected[name]));
        let shape = [2, codes.len() / 2];
        let weights: Vec<f32> = wave(found.len())
            .into_iter()
            .zip(seen(&expected, found.len()))
            .map(|(w, seen)| if seen { w } else { 0.0 })
            .collect();
        let sizes: Vec<usize> = whole(&expected["shape"]).into_iter().map(|size| size as usize).collect();
        let mut step = Step::train(
            again.encoder(),
            Sgd::new(1.0),
            |model: &Encoder, cx, [codes, types, mask, weights]| {
                (model.answers(&codes, Some(&types), Some(&mask), cx) * weights).sum(..)
            },
        );
        let [codes, types, mask] = [&codes, &types, &mask].map(|x| Input::new(x, &shape));
        step.run([codes, types, mask, Input::new(&weights, &sizes)]).unwrap();
        drop(step);
        let stepped = folder.at("stepped");
        again.save(&stepped).unwrap();
        descended(&name, &from, &stepped, &expected["gradients"]);
    }
}

fn texts(expected: &Value) -> Vec<TextPair<'_>> {
    let all = expected["texts"].as_array().unwrap().iter();
    all.map(|text| TextPair { first: text["first"].as_str().unwrap(), second: text["second"].as_str() })
        .collect()
}

/// Probabilities or numbers.
fn amounts(said: &Prediction) -> Vec<f64> {
    match said {
        Prediction::Classes { probabilities, .. } => probabilities.iter().map(|&p| p.into()).collect(),
        Prediction::Numbers { numbers, .. } => numbers.clone(),
        Prediction::Several { .. } | Prediction::Text { .. } => panic!("{said:?}"),
    }
}

#[test]
fn texts_alone_and_together_are_said_and_embedded_as_another_library_does() {
    for (name, from, expected) in folders("encoders") {
        let model = EncoderModel::open(&from).unwrap();
        let texts = texts(&expected);
        let together = model.embed(texts.iter().copied()).unwrap();
        let says = model.predict(texts.iter().copied());
        for (at, text) in texts.iter().enumerate() {
            let kept = &expected["texts"][at];
            let alone = model.embed([*text]).unwrap();
            let [alone, among] = [&alone, &together]
                .map(|all| all.rows().nth(if all.rows().len() > 1 { at } else { 0 }).unwrap());
            assert_eq!(alone, among, "{name}: padding changes bits of {text:?}");
            let far = apart(alone, &numbers(&kept["embedding"]));
            assert!(far < 1e-5, "{name}: {far} for {text:?}");
            match (&says, kept["said"].is_null()) {
                (Ok(says), false) => {
                    assert_eq!(model.predict([*text]).unwrap()[0], says[at], "{name}");
                    let far = apart(&amounts(&says[at]), &numbers(&kept["said"]));
                    assert!(far < 1e-5, "{name}: {far} for {text:?}");
                }
                (Err(error), true) => assert!(error.to_string().contains("no classes of texts"), "{error}"),
                (says, _) => panic!("{name}: {says:?}"),
            }
        }
    }
}

#[test]
fn an_encoder_that_isnt_what_it_says_is_refused() {
    let (_, from, _) = folders("encoders").into_iter().find(|(name, ..)| name == "bert-classes").unwrap();
    let config: Value = serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    for (name, value, said) in [
        ("model_type", json!("xlnet"), "\"xlnet\"; kiln reads"),
        (
            "architectures",
            json!(["BertForQuestionAnswering"]),
            "\"BertForQuestionAnswering\"; kiln reads BertModel",
        ),
        ("position_embedding_type", json!("relative_key"), "\"relative_key\"; kiln computes absolute"),
        ("is_decoder", json!(true), "\"is_decoder\" is true"),
        ("hidden_act", json!("cube"), "activation \"cube\""),
        ("problem_type", json!("ranking"), "\"problem_type\" is \"ranking\""),
        ("id2label", json!({ "0": "a", "7": "b" }), "none for class 1"),
        ("id2label", json!({ "0": "a" }), "doesn't fit"),
        ("hidden_size", json!(13), "don't divide"),
        ("hidden_dropout_prob", json!(1.5), "a share below 1"),
        ("num_hidden_layers", json!(2_000_000_000), "far more than the"),
        ("vocab_size", json!(41), "doesn't fit"),
        ("num_hidden_layers", json!(3), "encoder.layer.2.attention.self.query.weight is missing"),
    ] {
        let folder = program("hub-encoder-wrong");
        fs::copy(from.join("model.safetensors"), folder.at("model.safetensors")).unwrap();
        let mut config = config.clone();
        config[name] = value;
        folder.write("config.json", config.to_string());
        let error = kiln::hub::open(folder.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("config.json"), "{error}\n{said}");
    }
    // Without pieces it takes codes.
    let folder = program("hub-encoder-codes");
    for file in ["model.safetensors", "config.json"] {
        fs::copy(from.join(file), folder.at(file)).unwrap();
    }
    let error = EncoderModel::open(folder.path()).unwrap().predict(["a film"]).unwrap_err();
    assert!(error.to_string().contains("no tokenizer.json"), "{error}");
}

#[test]
fn the_command_says_classes_and_meanings_of_texts_alone_in_pairs_and_of_files() {
    for (name, from, expected) in folders("encoders") {
        let folder = program(&format!("hub-encoder-command-{name}"));
        let model = EncoderModel::open(&from).unwrap();
        let from = from.to_string_lossy();
        let kept = expected["texts"].as_array().unwrap();
        let lines = |out: String| -> Vec<Value> {
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let file: String = kept
            .iter()
            .map(|text| match text["second"].as_str() {
                Some(second) => format!("{}\t{second}\n\n", text["first"].as_str().unwrap()),
                None => format!("{}\n", text["first"].as_str().unwrap()),
            })
            .collect();
        folder.write("texts.txt", file);

        let about = folder.out(&["inspect", &from]);
        assert!(about.contains("blocks.1") && about.contains("40 pieces, seeing 32 at once"), "{about}");
        assert!(about.contains("pieces    tokenizer.json"), "{about}");

        let meant = lines(folder.out(&["predict", &from, "texts.txt", "--embed", "--json"]));
        for (line, kept) in meant.iter().zip(kept) {
            assert_eq!((&line["text"], &line["pair"]), (&kept["first"], &kept["second"]), "{name}");
            let far = apart(&numbers(&line["embedding"]), &numbers(&kept["embedding"]));
            assert!(far < 1e-5, "{name}: {far}");
        }
        let table = folder.out(&["predict", &from, "a fine film", "it is, not", "--embed", "--normalize"]);
        let rows: Vec<&str> = table.lines().collect();
        assert!(
            rows[0].starts_with("text,e0,e1,") && rows[0].ends_with(",e11") && rows.len() == 3,
            "{table}"
        );
        assert!(rows[2].starts_with("\"it is, not\","), "{table}");
        let length: f64 = rows[1].split(',').skip(1).map(|x| x.parse::<f64>().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{table}");

        if kept[0]["said"].is_null() {
            // What is said of masked pieces and of words has tests of its own.
            let said = match name.ends_with("-tokens") {
                true => folder.out(&["predict", &from, "a fine film"]),
                false => folder.error(&["predict", &from, "a fine film"]).1,
            };
            let part = match name.rsplit_once('-') {
                Some((_, "tokens")) => "film\t",
                Some((_, "masked")) => {
                    if name.starts_with("roberta") {
                        "has no <mask>"
                    } else {
                        "has no [MASK]"
                    }
                }
                _ => "--embed",
            };
            assert!(said.contains(part), "{name}: {said}");
            continue;
        }
        let said = lines(folder.out(&["predict", &from, "texts.txt", "--json"]));
        for (line, kept) in said.iter().zip(kept) {
            let found = match line.get("probabilities") {
                Some(each) => model.labels().iter().map(|label| each[label].as_f64().unwrap()).collect(),
                None => numbers(&line["prediction"]),
            };
            let far = apart(&found, &numbers(&kept["said"]));
            assert!(far < 1e-5, "{name}: {far}");
        }
        let pair = lines(folder.out(&["predict", &from, "is it good ?", "--pair", "it is not", "--json"]));
        assert_eq!(
            (&pair[0]["probabilities"], &pair[0]["prediction"]),
            (&said[2]["probabilities"], &said[2]["prediction"])
        );
        let words = folder.out(&["predict", &from, "a fine film", "--top", "3"]);
        assert!(words.starts_with("a fine film  "), "{words}");
        if name == "bert-classes" {
            assert!(["bad ", "so, so ", "good "].iter().all(|label| words.contains(label)), "{words}");
        }
        let missing = folder.error(&["predict", &from, "reviews.txt"]).1;
        assert!(missing.contains("reviews.txt: there is no such file"), "{missing}");
    }
}

#[test]
fn the_words_of_a_text_are_told_with_what_they_move() {
    for (name, from, expected) in folders("encoders") {
        let folder = program(&format!("hub-encoder-explain-{name}"));
        let from = from.to_string_lossy();
        let asked = ["explain", &*from, "--text", "a fine film, it is not", "--json"];
        let labels = EncoderModel::open(&*from).unwrap().labels().len();
        if expected["texts"][0]["said"].is_null() || labels < 2 {
            let (_, refused) = folder.error(&asked);
            assert!(refused.contains("tell"), "{name}: {refused}");
            continue;
        }
        let line: Value = serde_json::from_str(&folder.out(&asked)).unwrap();
        let pieces = line["pieces"].as_array().unwrap();
        let text: String = pieces.iter().map(|piece| piece["piece"].as_str().unwrap()).collect();
        let moved: f64 = pieces.iter().map(|piece| piece["moved"].as_f64().unwrap()).sum();
        assert_eq!(text, "a fine film, it is not", "{name}");
        let far = line["output"].as_f64().unwrap() - line["baseline"].as_f64().unwrap();
        assert!((far - moved).abs() < 1e-5 * (1.0 + far.abs()), "{name}: {line}");
        assert_eq!(line["errors"].as_array().map(Vec::len), Some(pieces.len()), "{name}");
        let (_, refused) = folder.error(&["explain", &from, "--text", "a fine film", "--sheet", "2"]);
        assert!(refused.contains("--sheet changes nothing"), "{name}: {refused}");
        folder.out(&["explain", &from, "--text", "a fine film", "--out", "why.html"]);
        assert!(String::from_utf8(folder.read("why.html")).unwrap().contains("<span style="), "{name}");
    }
}
