//! Language models in GGUF files. What is taken can be looked at, a model of it computes a step, and it is written so that the same comes back.
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
    // A file may say what no other can: settings that are rounded when they are written, or numbers that can't be added to.
    let again = path("again.gguf");
    let Ok(written) = model.save_gguf(&again, None) else { return };
    let back = LanguageModel::open(&again).unwrap();
    assert_eq!((back.config(), back.tokenizer().is_some()), (model.config(), model.tokenizer().is_some()));
    assert_eq!(written.tensors, gguf::tensors(&again).unwrap().len());
});
