//! The files of kiln's first versions, kept: what is written today has the same bytes, and what was written then is read today.
//! `UPDATE_FORMATS=1 cargo test --test formats` writes them anew, which a change of a format's version asks for.

use std::path::{Path, PathBuf};

use kiln::data::{Dataset, Form, Frame, FrameWriter, Kind, Set, Values};
use kiln::model::{About, Model, Task};
use kiln::prelude::*;
use kiln::store::Store;
use kiln::trainer::{Callback, Moment, TrainState};

/// A file that is kept.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

/// Holds what was written beside what is kept.
fn same(name: &str, written: &Path) {
    let bytes = std::fs::read(written).unwrap();
    if std::env::var_os("UPDATE_FORMATS").is_some() {
        std::fs::write(kept(name), &bytes).unwrap();
    }
    let expected = std::fs::read(kept(name)).unwrap();
    assert!(
        bytes == expected,
        "{name} has {} bytes, other than the {} that are kept",
        bytes.len(),
        expected.len()
    );
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kiln-formats-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Layers whose weights are known.
fn layers() -> Sequential {
    let layers = Sequential::new().dense(3).relu().dense(2);
    layers.build([1, 2]).unwrap();
    for (_, param) in layers.parameters() {
        let count = param.shape().elements();
        let numbers = (0..count).map(|at| at as f32 * 0.5 - 1.0).collect();
        param.set(&Tensor::from_data(Data::F32(numbers), param.shape().sizes())).unwrap();
    }
    layers
}

fn rows() -> Set {
    Set::numbers(vec![1.0, 2.0, -3.0, 0.5], Form::numbers(&[2]), vec![0.0; 2], 1).unwrap()
}

#[test]
fn a_model_has_the_bytes_it_always_had_and_old_ones_are_read() {
    let folder = folder("model");
    let task = Task::Classes { names: vec!["no".to_string(), "yes".to_string()] };
    let mut about = About::new(&layers(), &Form::numbers(&[2]), task).unwrap();
    about.training.insert("epochs".to_string(), 3.into());
    for name in ["model.kiln", "model.json"] {
        let path = folder.join(name);
        Model::new(layers(), about.clone()).save(&path).unwrap();
        same(name, &path);
        let read = Model::load(kept(name)).unwrap();
        assert_eq!(read.about(), &about);
        let fresh = Model::new(layers(), about.clone());
        assert_eq!(read.predict(&rows()).unwrap(), fresh.predict(&rows()).unwrap());
        let later = folder.join(format!("later-{name}"));
        let json = name.ends_with("json");
        let mut store = if json { Store::load_json(&path) } else { Store::load(&path) }.unwrap();
        store.about.insert("version".to_string(), 2.into());
        if json { store.save_json(&later) } else { store.save(&later) }.unwrap();
        let message = Model::load(&later).err().unwrap().to_string();
        assert!(message.contains("version 2") && message.contains("reads version 1"), "{message}");
    }
    let mut longer = std::fs::read(kept("model.kiln")).unwrap();
    longer.push(0);
    let path = folder.join("longer.kiln");
    std::fs::write(&path, longer).unwrap();
    assert!(Model::load(&path).is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_frame_has_the_bytes_it_always_had_and_old_ones_are_read() {
    let folder = folder("frame");
    for (name, kind) in [("half.kdf", Kind::F16), ("single.kdf", Kind::F32)] {
        let path = folder.join(name);
        let mut writer = FrameWriter::new(&path, kind, ["a", "b"]).unwrap().classes(["x", "y"]);
        writer.row(&[1.0, -2.5], 1.0).unwrap();
        writer.row(&[0.125, 65504.0], 0.0).unwrap();
        writer.finish().unwrap();
        same(name, &path);
        let frame = Frame::open(kept(name)).unwrap();
        let batch = frame.all().unwrap();
        assert_eq!([0, 1, 2, 3].map(|at| batch.x.get(at).unwrap()), [1.0, -2.5, 0.125, 65504.0]);
        assert_eq!(
            (batch.y, frame.names()),
            (Values::I64(vec![1, 0]), &["x".to_string(), "y".to_string()][..])
        );
    }
    let good = std::fs::read(kept("half.kdf")).unwrap();
    let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
        let (path, mut bytes) = (folder.join("changed.kdf"), good.clone());
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        Frame::open(&path).unwrap_err().to_string()
    };
    assert!(refusal(&|bytes| bytes[8] = 2).contains("version 2"));
    assert!(refusal(&|bytes| bytes[12..16].reverse()).contains("order"));
    assert!(refusal(&|bytes| bytes.push(0)).contains("bytes"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_training_that_was_cut_by_the_first_version_goes_on() {
    struct Save(PathBuf);
    impl Callback for Save {
        fn after_epoch(&mut self, at: &mut Moment) -> kiln::Result<()> {
            if at.epoch == 1 {
                at.save(&self.0);
            }
            Ok(())
        }
    }
    let set = kiln::data::moons(20, 0.1, 1);
    let trainer = |epochs| {
        Trainer::new(layers(), CrossEntropy::new(), Adam::new(0.1))
            .epochs(epochs)
            .metrics(["accuracy"])
            .quiet()
    };
    if std::env::var_os("UPDATE_FORMATS").is_some() {
        trainer(2).callback(Save(kept("train.state"))).fit(&set).unwrap();
    }
    let state = TrainState::load(kept("train.state")).unwrap();
    assert_eq!((state.epoch(), state.step()), (1, 1));
    let whole = trainer(2).fit(&set).unwrap();
    let rest = trainer(2).resume(kept("train.state")).fit(&set).unwrap();
    // The first epoch may have been computed on another machine, in another order of sums.
    for ((path, a), (_, b)) in whole.model().parameters().into_iter().zip(rest.model().parameters()) {
        let numbers = |param: &Param| param.tensor().to_vec::<f32>().unwrap();
        let far = numbers(&a).iter().zip(numbers(&b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{path}: {far}");
    }
}
