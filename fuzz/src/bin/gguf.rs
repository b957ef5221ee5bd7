//! Language models in GGUF files. What is taken can be looked at, and a model of it computes a step.
#![no_main]

use std::path::Path;

use kiln::hub::{LanguageModel, gguf};
use kiln::prelude::*;
use kiln_fuzz::{fuzz_target, path, seeds};

fn all() -> Vec<Vec<u8>> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hub/gguf");
    let made = std::fs::read_dir(made).unwrap().map(|entry| entry.unwrap().path());
    let small = made.filter(|path| path.extension().is_some_and(|kind| kind == "gguf"));
    small.map(|path| std::fs::read(path).unwrap()).filter(|bytes| bytes.len() < 1 << 16).collect()
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let file = path("input.gguf");
    std::fs::write(&file, bytes).unwrap();
    let about = gguf::about(&file);
    let Ok(model) = LanguageModel::open(&file) else { return };
    assert!(about.is_ok());
    let mut forward = Function::inference(model.decoder(), |model, cx, [x]| model.forward(&x, cx));
    let logits = forward.run([Input::new(&[0i64], &[1, 1])]).unwrap();
    assert_eq!(logits[0].len(), model.config().vocabulary);
});
