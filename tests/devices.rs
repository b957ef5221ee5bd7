//! The Trainer, its checkpoints and model files on every device that kiln brings.

#![cfg(feature = "cpu")]

use std::sync::Arc;

use kiln::model::{About, Task};
use kiln::prelude::*;
use kiln::trainer::Checkpoints;
use kiln::{Device, Model};
use kiln_testkit::{Folder, Program};

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
    let folder = Folder::new("devices-model");
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

/// The command in a folder of its own.
fn command(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

#[test]
fn the_command_computes_where_it_is_told_to() {
    let kiln = command("device-flags");
    let listed = kiln.out(&["devices"]);
    assert!(listed.contains("cpu") && listed.contains("reference:late"), "{listed}");
    let json: serde_json::Value = serde_json::from_str(&kiln.out(&["devices", "--json"])).unwrap();
    assert_eq!(json["devices"][0]["name"], "cpu");
    kiln.write("moons.csv", moons());
    let train = ["train", "moons.csv", "--epochs", "2", "--layers", "dense 4, relu, dense", "--quiet"];
    kiln.out(&[&train[..], &["--device", "reference", "--out", "there"]].concat());
    let config = String::from_utf8(kiln.read("there/config.toml")).unwrap();
    assert!(config.contains("device = \"reference\""), "{config}");
    kiln.out(&[&train[..], &["--out", "here"]].concat());
    // Trained there, asked here, and the other way round: the same rows, the same answers.
    let asked = |model: &str, device: &str| {
        kiln.out(&["predict", &format!("{model}/model.kiln"), "moons.csv", "--device", device])
    };
    for model in ["here", "there"] {
        let (cpu, reference) = (asked(model, "cpu"), asked(model, "reference"));
        assert!(cpu.lines().count() == 61 && cpu.contains("up") && cpu.contains("down"), "{cpu}");
        for (a, b) in cpu.split([',', '\n']).zip(reference.split([',', '\n'])) {
            let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
            let same = a == b || a.parse().is_ok_and(|a| b.parse().is_ok_and(|b| near(a, b)));
            assert!(same, "{model}: {a} on the cpu, {b} on the reference");
        }
    }
    // It goes on where it is told to, too.
    kiln.out(&["train", "--resume", "there", "--epochs", "3", "--device", "cpu", "--quiet"]);
    let (code, error) = kiln.error(&["eval", "there/model.kiln", "moons.csv", "--device", "abacus"]);
    assert_eq!(code, 1);
    assert!(error.contains("there is no device abacus; there are: cpu, reference"), "{error}");
}

#[test]
fn what_the_environment_says_wrongly_is_an_error() {
    let kiln = command("environment");
    for (name, value, mend) in [
        ("KILN_THREADS", "abc", "a number from 1 to 1024"),
        ("KILN_THREADS", "0", "a number from 1 to 1024"),
        ("KILN_SIMD", "bogus", "portable"),
        ("KILN_CACHES", "48k,2m", "first, second and share of the third cache, as 32k,1m,16m"),
        ("KILN_CHECK", "infinite", "should be finite"),
    ] {
        let output = kiln.command(&["train", "--epochs", "1", "--quiet"]).env(name, value).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        assert!(text.contains(name) && text.contains(value) && text.contains(mend), "{text}");
        assert!(!kiln.at("runs").exists(), "{name}={value} left a run behind");
    }
}

/// Two moons as a table.
fn moons() -> String {
    let set = data::moons(60, 0.1, 3);
    let mut text = "a,b,side\n".to_string();
    for batch in set.batches(60) {
        let batch = batch.unwrap();
        for row in 0..batch.rows() {
            let at = |place: usize| batch.x.get(2 * row + place).unwrap();
            let side = if batch.y.get(row) == Some(0.0) { "up" } else { "down" };
            text += &format!("{:.4},{:.4},{side}\n", at(0), at(1));
        }
    }
    text
}
