//! Settings of every kind of folder that are anything but what they should be: an error that names the file, or a model that takes them;
//! never a panic, nor memory for what isn't there.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::kept::folders;
use crate::program;

/// What a setting might be in a file that somebody wrote by hand, or broke.
fn odd() -> Vec<Value> {
    vec![
        json!(null),
        json!(-1),
        json!(0),
        json!(1),
        json!(7),
        json!(2_147_483_647),
        json!(1e300),
        json!(0.5),
        json!(true),
        json!(false),
        json!("odd"),
        json!([]),
        json!([3, 0]),
        json!({ "0": 1 }),
    ]
}

#[test]
fn any_setting_of_any_kind_is_taken_or_refused_by_name() {
    let decoders = folders("").into_iter().filter(|(name, ..)| ["gpt2", "qwen3"].contains(&name.as_str()));
    let kinds = ["encoders", "seq2seq", "vision"].map(folders).into_iter().flatten();
    let all: Vec<(String, PathBuf)> = decoders.chain(kinds).map(|(name, path, _)| (name, path)).collect();
    let (mut taken, mut refused) = (0, 0);
    for (name, from) in all {
        let folder = program(&format!("hub-odd-{name}"));
        for file in ["config.json", "model.safetensors", "preprocessor_config.json"] {
            if from.join(file).is_file() {
                fs::copy(from.join(file), folder.at(file)).unwrap();
            }
        }
        for file in ["config.json", "preprocessor_config.json"] {
            let Ok(bytes) = fs::read(from.join(file)) else { continue };
            let object: Map<String, Value> = serde_json::from_slice(&bytes).unwrap();
            for setting in object.keys() {
                for value in odd() {
                    let mut changed = object.clone();
                    changed.insert(setting.clone(), value.clone());
                    folder.write(file, Value::Object(changed).to_string());
                    match kiln::hub::open(folder.path()) {
                        Ok(_) => taken += 1,
                        Err(error) => {
                            let error = error.to_string();
                            assert!(error.contains(".json"), "{name}, {setting} {value}: {error}");
                            refused += 1;
                        }
                    }
                }
            }
            folder.write(file, &bytes);
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}
