//! Models: the file as it is, and with a good checksum, made of JSON. One that is taken predicts, and comes back from its own file.
#![no_main]

use kiln::Model;
use kiln::prelude::*;
use kiln::store::TensorFile;
use kiln_fuzz::{as_json, file, fuzz_target, path, seeds};

fn all() -> [Vec<u8>; 3] {
    let model = Sequential::new().dense(2).batch_norm().relu().dense(2);
    let trainer = Trainer::new(model, CrossEntropy::new(), Adam::new(0.1)).epochs(1).quiet();
    let path = path("good.kiln");
    trainer.fit(&data::moons(8, 0.1, 1)).unwrap().save(&path).unwrap();
    let small = String::from_utf8(as_json(&path)).unwrap();
    let large = small.replacen("dense 2", "dense 4000000000", 1).into_bytes();
    [std::fs::read(&path).unwrap(), small.into_bytes(), large]
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let _ = Model::load(file("input.kiln", bytes));
    let Ok(store) = TensorFile::load_json(file("input.json", bytes)) else { return };
    let (once, twice) = (path("once.kiln"), path("twice.kiln"));
    store.save(&once).unwrap();
    if let Ok(model) = Model::load(&once) {
        let numbers: usize = store.tensors.values().map(|stored| stored.data.len()).sum();
        assert!(model.parameter_count() <= numbers, "no layers beyond the weights");
        let set = data::moons(4, 0.1, 1);
        let predicted = model.predict(&set);
        model.save(&twice).unwrap();
        let again = Model::load(&twice).unwrap();
        assert_eq!(again.about(), model.about());
        assert_eq!(again.predict(&set).is_ok(), predicted.is_ok());
    }
});
