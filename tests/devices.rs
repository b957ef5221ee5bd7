//! The Trainer, its checkpoints and model files on every device that kiln brings.

#![cfg(feature = "cpu")]

use std::sync::Arc;

use kiln::model::{About, Task};
use kiln::prelude::*;
use kiln::trainer::Checkpoints;
use kiln::{Device, Model};
use kiln_testkit::Folder;

fn devices() -> Vec<Arc<dyn Device>> {
    let found = kiln::devices().into_iter().map(|(_, device)| device.unwrap()).collect::<Vec<_>>();
    let names: Vec<&str> = found.iter().map(|device| device.name()).collect();
    assert_eq!(names, ["cpu", "reference", "reference:late"]);
    found
}

fn model() -> Sequential {
    Sequential::new().dense(8).relu().dropout(0.2).dense(2).seed(5)
}

/// The loss of each epoch.
fn losses(run: &kiln::trainer::Run<Sequential>) -> Vec<f64> {
    run.history().series("loss").unwrap().to_vec()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
}

#[test]
fn a_trainer_gives_the_same_on_every_device() {
    let (train, test) = data::moons(100, 0.1, 3).split(0.8);
    let on = |device: &Arc<dyn Device>| {
        Trainer::new(model(), CrossEntropy::new(), AdamW::new(0.02))
            .epochs(3)
            .validate(&test)
            .metrics(["accuracy"])
            .ema(0.9)
            .quiet()
            .device(device)
            .fit(&train)
            .unwrap()
    };
    let all: Vec<_> = devices().iter().map(on).collect();
    for (run, device) in all.iter().zip(devices()) {
        assert!(close(&losses(run), &losses(&all[0])), "{}", device.name());
        let weight = run.model().parameters().remove(0).1;
        assert_eq!(weight.variable().unwrap().device().unwrap().name(), device.name());
    }
}

#[test]
fn a_run_goes_on_on_another_device() {
    let train = data::moons(100, 0.1, 3);
    let folder = Folder::new("devices");
    let trainer = |epochs| {
        Trainer::new(model(), CrossEntropy::new(), Adam::new(0.02)).epochs(epochs).quiet().batch_size(16)
    };
    let whole = trainer(4).fit(&train).unwrap();
    let all = devices();
    for (first, second) in [(0, 1), (1, 0), (1, 2), (2, 0), (0, 2)] {
        let place = folder.path().join(format!("{first}-{second}"));
        let cut = trainer(2).checkpoints(Checkpoints::new(&place)).device(&all[first]).fit(&train).unwrap();
        drop(cut);
        let rest = trainer(4).resume(Checkpoints::last(&place)).device(&all[second]);
        let rest = rest.fit(&train).unwrap();
        assert!(
            close(&losses(&rest), &losses(&whole)),
            "from {} to {}",
            all[first].name(),
            all[second].name()
        );
    }
}

#[test]
fn a_model_file_predicts_the_same_on_every_device() {
    let (train, test) = data::moons(100, 0.1, 3).split(0.8);
    let folder = Folder::new("devices");
    let run =
        Trainer::new(model(), CrossEntropy::new(), Adam::new(0.05)).epochs(3).quiet().fit(&train).unwrap();
    let about = About::new(run.model(), &train.x(), Task::of(&train)).unwrap();
    let path = folder.path().join("model.kiln");
    about.save(run.model(), &path).unwrap();
    let predictions: Vec<_> = devices()
        .iter()
        .map(|device| {
            let model = Model::load(&path).unwrap();
            model.to(device).unwrap();
            // What is saved from there is the same file.
            let again = folder.path().join("again.kiln");
            model.save(&again).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap(), "{}", device.name());
            model.predict(&test).unwrap().classes().to_vec()
        })
        .collect();
    assert!(predictions.iter().all(|found| *found == predictions[0]));
}
