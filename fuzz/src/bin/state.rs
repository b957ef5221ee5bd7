//! Trainings: the file as it is, and with a good checksum, made of JSON. A training goes on from it, or says why it can't.
#![no_main]

use kiln::prelude::*;
use kiln::store::TensorFile;
use kiln::trainer::{Callback, EarlyStopping, Moment, TrainState};
use kiln_fuzz::{as_json, file, fuzz_target, path, seeds};

struct Save(std::path::PathBuf);

impl Callback for Save {
    fn after_epoch(&mut self, at: &mut Moment) -> kiln::Result<()> {
        at.save(&self.0);
        Ok(())
    }
}

fn trainer() -> Trainer<'static, Sequential> {
    let model = Sequential::new().dense(2).batch_norm().dense(2);
    Trainer::new(model, CrossEntropy::new(), Adam::new(0.1))
        .epochs(2)
        .metrics(["accuracy"])
        .callback(EarlyStopping::on("loss"))
        .quiet()
}

fn all() -> [Vec<u8>; 2] {
    let path = path("good.state");
    trainer().epochs(1).callback(Save(path.clone())).fit(&data::moons(8, 0.1, 1)).unwrap();
    [std::fs::read(&path).unwrap(), as_json(&path)]
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let _ = TrainState::load(file("input.state", bytes));
    let Ok(store) = TensorFile::load_json(file("input.json", bytes)) else { return };
    let path = path("changed.state");
    store.save(&path).unwrap();
    if TrainState::load(&path).is_ok() {
        let _ = trainer().resume(&path).fit(&data::moons(8, 0.1, 1));
    }
});
