//! The files of kiln's first versions, kept: what is written today has the same bytes, and what was written then is read today.
//! `UPDATE_FORMATS=1 cargo test --test formats` writes them anew, which a change of a format's version asks for.

use std::path::{Path, PathBuf};

use kiln::data::{Choices, Dataset, Form, Frame, FrameWriter, Framing, Set, ValueKind, Values};
use kiln::model::{About, Model, Task};
use kiln::prelude::*;
use kiln::store::TensorFile;
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
        let mut store = if json { TensorFile::load_json(&path) } else { TensorFile::load(&path) }.unwrap();
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
    for (name, kind) in [("half.kdf", ValueKind::F16), ("single.kdf", ValueKind::F32)] {
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

/// What a frame of a table says of what it was made of stands in its description.
#[test]
fn a_frame_that_says_what_it_was_made_of_is_read() {
    let folder = folder("origin");
    let (table, path) = (folder.join("t.csv"), folder.join("origin.kdf"));
    std::fs::write(&table, "a,b,kind\n1,2,x\n3,5,y\n2,4,x\n5,1,y\n").unwrap();
    let origin = serde_json::json!({ "content": "0123456789abcdef", "seed": 7, "shares": [0.7, 0.1, 0.2] });
    Framing::new(Choices::new().target("kind")).origin(origin.clone()).make(&table, &path).unwrap();
    same("origin.kdf", &path);
    let frame = Frame::open(kept("origin.kdf")).unwrap();
    assert_eq!((frame.origin(), frame.len()), (Some(&origin), 4));
    assert_eq!(frame.labels().unwrap(), [0, 1, 0, 1]);
    assert_eq!(
        Frame::open(kept("half.kdf")).unwrap().origin(),
        None,
        "one of the version before says nothing"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// A run's folder of this version: `kiln train points.csv --epochs 2 --layers 'dense 2, relu, dense' --out run`, with what is needed
/// to go on. A later kiln goes on with it, and finds that it is the same training.
#[cfg(feature = "cli")]
#[test]
fn a_run_that_was_begun_by_this_version_goes_on() {
    let folder = folder("run");
    let kept = kept("run");
    let kiln = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"));
        let output = command.args(arguments).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    std::fs::copy(kept.join("points.csv"), folder.join("points.csv")).unwrap();
    let files = [
        "config.toml",
        "metrics.csv",
        "metrics.jsonl",
        "result.json",
        "model.kiln",
        "checkpoints/last.state",
    ];
    if std::env::var_os("UPDATE_FORMATS").is_some() {
        let flags =
            ["train", "points.csv", "--epochs", "2", "--layers", "dense 2, relu, dense", "--out", "run"];
        assert_eq!(kiln(&flags).0, Some(0));
        std::fs::create_dir_all(kept.join("checkpoints")).unwrap();
        for file in files {
            std::fs::copy(folder.join("run").join(file), kept.join(file)).unwrap();
        }
        std::fs::remove_dir_all(folder.join("run")).unwrap();
    }
    std::fs::create_dir_all(folder.join("run/checkpoints")).unwrap();
    for file in files {
        std::fs::copy(kept.join(file), folder.join("run").join(file)).unwrap();
    }
    assert_eq!(kiln(&["eval", "run/model.kiln", "points.csv"]).0, Some(0));
    assert_eq!(kiln(&["runs", "."]).0, Some(0));
    let (code, said) = kiln(&["train", "--resume", "run", "--epochs", "3", "--quiet", "--lr", "0.5"]);
    assert!(code == Some(1) && said.contains("--allow-changes lr"), "{said}");
    let (code, said) = kiln(&["train", "--resume", "run", "--epochs", "3", "--quiet"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(folder.join("run/metrics.csv")).unwrap().lines().count(), 4);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A run of layers by words that have other names today, or said no rank: `--layers 'reshape 1 2, conv 4 2 padding same, norm, leaky-relu, depthwise 1
/// groups 4, upsample 2, pool 2 without-padding, adaptive-pool 2, conv-transpose 2 2, celu, spatial-dropout 0.1, global-pool, dense'`. It is never
/// written anew.
#[cfg(feature = "cli")]
#[test]
fn a_run_with_the_words_of_the_first_version_goes_on() {
    let folder = folder("words");
    let copied = [
        "config.toml",
        "metrics.csv",
        "metrics.jsonl",
        "result.json",
        "model.kiln",
        "checkpoints/last.state",
    ];
    std::fs::create_dir_all(folder.join("run/checkpoints")).unwrap();
    for file in copied {
        std::fs::copy(kept("words").join(file), folder.join("run").join(file)).unwrap();
    }
    std::fs::copy(kept("words").join("points.csv"), folder.join("points.csv")).unwrap();
    let kiln = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"));
        let output = command.args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = kiln(&["predict", "run/model.kiln", "points.csv", "--json"]);
    let first = told.lines().next().unwrap();
    assert!(first.contains("\"prediction\":\"in\"") && first.contains("0.55390"), "{first}");
    kiln(&["train", "--resume", "run", "--epochs", "3", "--quiet"]);
    let layers = Model::load(folder.join("run/model.kiln")).unwrap().about().layers.clone();
    for word in [
        "conv1d 4 2 padding same",
        "batch-norm",
        "depthwise-conv1d 1,",
        "max-pool1d 2,",
        "adaptive-max-pool1d 2",
        "global-max-pool",
    ] {
        assert!(layers.contains(word), "{layers}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The same from Rust: a checkpoint says what it is of, and a later version still finds it so.
#[test]
fn a_training_that_was_cut_by_this_version_is_known_again() {
    let set = kiln::data::moons(20, 0.1, 1);
    let trainer = || {
        Trainer::new(layers(), CrossEntropy::new().label_smoothing(0.1), AdamW::new(0.1))
            .epochs(2)
            .metrics(["accuracy"])
            .schedule_over(kiln::schedule::Cosine::new)
            .clip(Clip::GlobalNorm(1.0))
            .accumulate(2)
            .ema(0.9)
            .quiet()
    };
    let path = kept("parts.state");
    if std::env::var_os("UPDATE_FORMATS").is_some() {
        trainer().callback(Save(path.clone())).fit(&set).unwrap();
    }
    trainer().resume(&path).fit(&set).unwrap();
    let error = |trainer: Trainer<Sequential>| trainer.resume(&path).fit(&set).err().unwrap().to_string();
    assert!(error(trainer().clip(Clip::Norm(1.0))).contains("clip"));
    let flipped = Set::classes(vec![0f32; 40], Form::numbers(&[2]), vec![1; 20]).unwrap();
    let other = trainer().resume(&path).fit(&flipped).err().unwrap().to_string();
    assert!(other.contains("data: other rows"), "{other}");
}

/// Saves after the first epoch.
struct Save(PathBuf);

impl Callback for Save {
    fn after_epoch(&mut self, at: &mut Moment) -> kiln::Result<()> {
        if at.epoch == 1 {
            at.save(&self.0);
        }
        Ok(())
    }
}

#[test]
fn a_training_that_was_cut_by_the_first_version_goes_on() {
    let set = kiln::data::moons(20, 0.1, 1);
    let trainer = |epochs| {
        Trainer::new(layers(), CrossEntropy::new(), Adam::new(0.1))
            .epochs(epochs)
            .metrics(["accuracy"])
            .quiet()
    };
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
