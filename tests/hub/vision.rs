//! Transformers of pictures: what another library computes and says with each kind (`vision/make.py` made the folders), and back.

#![cfg(feature = "image")]

use std::fs;

use kiln::data::Picture;
use kiln::hub::VisionModel;
use kiln::models::VisionTransformer;
use kiln::prelude::*;
use serde_json::{Value, json};

use crate::kept::{apart, descended, folders, numbers, tensors, wave, whole};
use crate::program;

fn sizes(value: &Value) -> Vec<usize> {
    whole(value).into_iter().map(|size| size as usize).collect()
}

fn pixels(expected: &Value) -> (Vec<f32>, Vec<usize>) {
    let pixels = numbers(&expected["pixels"]).into_iter().map(|x| x as f32).collect();
    (pixels, sizes(&expected["pixels_shape"]))
}

fn computed(model: &VisionModel, expected: &Value) -> Vec<f32> {
    let (pixels, shape) = pixels(expected);
    let mut forward =
        Function::inference(model.model(), |model: &VisionTransformer, cx, [x]| model.forward(&x, cx));
    forward.run([Input::new(&pixels, &shape)]).unwrap()[0].as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn every_transformer_of_pictures_gives_what_another_library_gives_and_is_written_as_it_was_read() {
    let all = folders("vision");
    assert!(all.len() >= 3);
    for (name, from, expected) in all {
        let model = VisionModel::open(&from).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = computed(&model, &expected);
        let far = apart(&found, &numbers(&expected["out"]));
        assert!(far < 1e-5, "{name}: {far}");

        let folder = program(&format!("hub-vision-{name}"));
        let written = folder.at(&name);
        model.save(&written).unwrap();
        assert!(tensors(&from) == tensors(&written), "{name} has other tensors");
        let prepared = |folder: &std::path::Path| -> Value {
            serde_json::from_slice(&fs::read(folder.join("preprocessor_config.json")).unwrap()).unwrap()
        };
        assert_eq!(prepared(&from), prepared(&written), "{name}");
        let again = VisionModel::open(&written).unwrap();
        assert_eq!(computed(&again, &expected), found, "{name}");

        let weights = wave(found.len());
        let (pixels, shape) = pixels(&expected);
        let mut step =
            Step::train(again.model(), Sgd::new(1.0), |model: &VisionTransformer, cx, [x, weights]| {
                (model.forward(&x, cx) * weights).sum(..)
            });
        step.run([Input::new(&pixels, &shape), Input::new(&weights, &sizes(&expected["shape"]))]).unwrap();
        drop(step);
        let stepped = folder.at("stepped");
        again.save(&stepped).unwrap();
        descended(&name, &from, &stepped, &expected["gradients"]);
    }
}

#[test]
fn pictures_have_the_classes_that_another_library_says() {
    for (name, from, expected) in folders("vision") {
        let model = VisionModel::open(&from).unwrap();
        let folder = program(&format!("hub-vision-says-{name}"));
        let path = from.to_string_lossy();
        let about = folder.out(&["inspect", &path]);
        assert!(about.contains("blocks.1") && about.contains("takes     pictures of"), "{about}");
        let kept = expected["pictures"].as_object().unwrap();
        for (file, said) in kept {
            let picture = from.join(file);
            let of_one = model.predict(&[Picture::open(&picture).unwrap()]).unwrap();
            let found: Vec<f32> = of_one[0].probabilities().map(|(_, p)| p).collect();
            // One of another size is rounded to bytes between the two directions there, and isn't here.
            let most = if file == "21x30.png" { 5e-3 } else { 1e-5 };
            let far = apart(&found, &numbers(said));
            assert!(far < most, "{name}: {far} for {file}");
            let line = folder.out(&["predict", &path, &picture.to_string_lossy(), "--json"]);
            let line: Value = serde_json::from_str(&line).unwrap();
            let each = model.labels().iter().map(|label| line["probabilities"][label].as_f64().unwrap());
            assert!(apart(&each.collect::<Vec<f64>>(), &numbers(said)) < most, "{line}");
        }
        if kept.is_empty() {
            folder.write("a.png", Picture::blank(4, 4).png().unwrap());
            let refused = folder.error(&["predict", &path, "a.png"]).1;
            assert!(refused.contains("no classes of pictures"), "{refused}");
            continue;
        }
        // All of a folder; one that is none is named, and the others go on.
        folder.write("all/a.png", fs::read(from.join("21x30.png")).unwrap());
        folder.write("all/b.png", "no picture");
        let output = folder.run(&["predict", &path, "all", "--top", "2"]);
        let [out, errors] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(out.lines().count() == 1 && out.matches('%').count() == 2, "{out}");
        assert!(!output.status.success() && errors.contains("b.png"), "{errors}");
    }
}

#[test]
fn a_transformer_of_pictures_that_isnt_what_it_says_is_refused() {
    let (_, from, _) = folders("vision").into_iter().find(|(name, ..)| name == "vit-classes").unwrap();
    let read = |file: &str| -> Value { serde_json::from_slice(&fs::read(from.join(file)).unwrap()).unwrap() };
    for (file, name, value, said) in [
        ("config", "architectures", json!(["ViTForMaskedImageModeling"]), "kiln reads ViTModel and"),
        ("config", "pooler_act", json!("relu"), "\"pooler_act\" is \"relu\""),
        ("config", "hidden_act", json!("cube"), "activation \"cube\""),
        ("config", "patch_size", json!(9), "\"patch_size\" 9 × 9 is more"),
        ("config", "patch_size", json!(2), "doesn't fit"),
        ("config", "image_size", json!([8, "x"]), "a height and a width"),
        ("config", "qkv_bias", json!("yes"), "true or false"),
        ("config", "num_hidden_layers", json!(2_000_000_000), "far more than the"),
        ("preprocessor_config", "resample", json!(3), "\"resample\" is 3; kiln resizes by 2"),
        ("preprocessor_config", "size", json!({ "height": 9, "width": 8 }), "the model takes 8 × 8"),
        ("preprocessor_config", "image_std", json!([1.0, 0.0, 1.0]), "\"image_std\" has a 0"),
        ("preprocessor_config", "image_mean", json!([1.0]), "should be 3 numbers"),
    ] {
        let folder = program("hub-vision-wrong");
        fs::copy(from.join("model.safetensors"), folder.at("model.safetensors")).unwrap();
        for own in ["config", "preprocessor_config"] {
            let mut object = read(&format!("{own}.json"));
            if own == file {
                object[name] = value.clone();
            }
            folder.write(&format!("{own}.json"), object.to_string());
        }
        let error = kiln::hub::open(folder.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(&format!("{file}.json")), "{error}\n{said}");
    }
}
