//! Damaged and hostile files: whatever stands in them, a reader gives a value or an error. It never panics and never takes memory
//! without bound. The number of cases of each reader is in `KILN_FUZZ`.

mod commands;
mod containers;
mod gguf;
mod nets;
mod networks;
mod packed;
#[path = "../kit/zip.rs"]
mod zip;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use kiln::Limits;
use kiln::data::{
    Augment, Choices, Cut, FrameWriter, Picture, Rng, Table, TablePreparation, Tokenizer, Tokens, ValueKind,
    mnist, read_conll, read_idx, read_text,
};
use kiln::prelude::*;
use kiln::store::TensorFile;
use kiln::trainer::{Callback, Moment, TrainState};
use kiln_testkit::Folder;

/// Knows how much is held at most.
struct Watched;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// Readers take turns, so that what is held is one reader's.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Besides what is a thousand times the input no reader may hold more than this.
const ROOM: usize = 96 << 20;

/// What files may ask for here.
const LIMITS: Limits = Limits { bytes: 48 << 20, nodes: 1 << 16, steps: 1 << 32 };

/// Held while readers are watched, and while much is made for them.
fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a reader holds at most while it reads, and what it gives. It has the turn.
fn held<T>(read: impl FnOnce() -> T) -> (usize, T) {
    LIMITS.set();
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let given = read();
    (MOST.load(Ordering::Relaxed).saturating_sub(before), given)
}

/// Feeds a reader with inputs that come from good ones by damage.
fn damage(name: &str, good: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
    let _turn = turn();
    let cases: u64 = std::env::var("KILN_FUZZ").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    for case in 0..cases {
        let mut rng = Rng::new(7).derive(case);
        let mut input = good[rng.below(good.len())].clone();
        for _ in 0..1 + rng.below(4) {
            change(&mut input, good, &mut rng);
        }
        let (most, ()) = held(|| read(&input));
        assert!(
            most < ROOM + 1000 * input.len(),
            "{name}, case {case}: {most} bytes for {} of input",
            input.len()
        );
    }
}

fn change(input: &mut Vec<u8>, good: &[Vec<u8>], rng: &mut Rng) {
    const TEXTS: [&str; 14] = [
        "9999999999999999999",
        "-1",
        "1e999",
        "NaN",
        "\"",
        "\n",
        ",",
        "{",
        "}",
        "\u{fffd}",
        "null",
        "0",
        ":",
        "[[[[[[",
    ];
    let at = rng.below(input.len() + 1);
    let length = rng.below(input.len() - at + 1).min(64);
    match rng.below(8) {
        0 if at < input.len() => input[at] ^= 1 << rng.below(8),
        1 if at < input.len() => input[at] = rng.bits() as u8,
        2 => input.truncate(at),
        3 => drop(input.drain(at..at + length)),
        4 => drop(input.splice(at..at, TEXTS[rng.below(TEXTS.len())].bytes())),
        5 => {
            let again: Vec<u8> = input[at..at + length].to_vec();
            drop(input.splice(at..at, again));
        }
        6 => {
            let other = &good[rng.below(good.len())];
            let from = rng.below(other.len() + 1);
            drop(input.splice(at..at, other[from..other.len().min(from + 64)].iter().copied()));
        }
        _ if at + 8 <= input.len() => {
            let number = [0, 1, u64::MAX, 1 << 31, 1 << 62, 0x7fff_ffff][rng.below(6)];
            input[at..at + 8].copy_from_slice(&if rng.below(2) == 0 {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            });
        }
        _ => {}
    }
}

const TABLES: [&str; 4] = [
    "a,b,c,y\n1,x,2024-01-31,0\n2.5,\"y, z\",,1\n-3,x,2024-02-01T08:30,0\n",
    "a;b\r\n1;2\r\n\r\n3;4\r\n",
    "{\"a\": 1, \"b\": \"x\", \"y\": true}\n{\"a\": null, \"y\": false}\n",
    "a\ty\n1e5\tno\n\tyes\n?\tno\n",
];

#[test]
fn tables_and_preparations() {
    let good = TABLES.map(|text| text.as_bytes().to_vec());
    damage("tables", &good, |input| {
        let Ok(table) = Table::read(input) else { return };
        let rows: Vec<usize> = (0..table.len()).collect();
        let target = table.names().last().map(str::to_string).unwrap_or_default();
        if let Ok(plan) = TablePreparation::fit(&table, &rows, &Choices::new().target(target)) {
            let set = plan.apply(&table, &rows).unwrap().all().unwrap();
            assert!(set.x.as_f32().unwrap().iter().all(|x| x.is_finite()));
        }
    });
    let table = Table::read(TABLES[0].as_bytes()).unwrap();
    let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new().target("y")).unwrap();
    damage("preparations", &[plan.to_json().unwrap().into_bytes()], |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(plan) = TablePreparation::from_json(text) {
            let _ = plan.apply_inputs(&table);
        }
    });
}

#[test]
fn frames_images_and_texts() {
    let folder = Folder::new("files");
    let path = folder.at("good.kdf");
    let mut writer = FrameWriter::new(&path, ValueKind::F16, ["a", "b"]).unwrap().classes(["x", "y"]);
    (0..20).for_each(|row| writer.row(&[row as f32, 1.0], f64::from(row % 2)).unwrap());
    drop(writer.finish().unwrap());
    damage("frames", &[std::fs::read(&path).unwrap()], |input| {
        if let Ok(frame) = kiln::data::Frame::open(folder.write("input", input)) {
            (0..frame.len()).for_each(|row| drop(frame.gather(&[row])));
        }
    });
    let mut picture = Picture::blank(9, 7);
    picture.put(3, 3, 200);
    damage("pictures", &[picture.png().unwrap()], |input| drop(Picture::open(folder.write("input", input))));
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 12]].concat();
    damage("idx", &[idx], |input| drop(read_idx(folder.write("input", input))));
    damage("texts", &["Grüße\nto all".as_bytes().to_vec()], |input| {
        drop(read_text(folder.write("input", input)))
    });
    let tagged = [
        "EU B-ORG\nrejects O\n\n-DOCSTART-\n\nRom B-LOC\n",
        "# x\n1-2\tzum\t_\t_\t_\t_\t_\t_\t_\t_\n1\tzu\tzu\tADP\t_\t_\t_\t_\t_\t_\n",
    ];
    damage("sentences with tags", &tagged.map(|text| text.as_bytes().to_vec()), |input| {
        drop(read_conll(folder.write("input", input)))
    });
    assert!(mnist(&folder).is_err());
}

#[test]
fn tokenizers() {
    let merged =
        Tokens::fit("the cat sat on the mat, the cat", Cut::Merged, 270).unwrap().to_tokenizer_json();
    let words = Tokens::fit("the cat sat on the mat", Cut::Words, 9).unwrap().to_tokenizer_json();
    let pieces = r#"{"added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "CAAAAAAEAABhAABhYgA="}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"},
        "post_processor": {"type": "BertProcessing", "sep": ["<s>", 4], "cls": ["<s>", 4]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 1, "stop": 1}]},
        "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": 4, "pad_id": 0, "pad_type_id": 0, "pad_token": "?"},
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [["?", 0], ["_", -1], ["t", -2], ["<0x41>", -3]]}}"#;
    let good = [merged, words, pieces.to_string()].map(String::into_bytes);
    damage("tokenizers", &good, |input| {
        let Ok(tokenizer) = Tokenizer::from_json(input) else { return };
        for text in ["", " The cat<s>\u{e9}\u{301}\n\n", &"x".repeat(1000)] {
            if let Ok(encoded) = tokenizer.encode_pair(text, text) {
                drop(tokenizer.decode(&encoded.codes, false));
            }
        }
    });
}

/// The same file with the checksum it would have, so that what is behind it is reached.
fn with_checksum(store: &mut TensorFile, rng: &mut Rng) {
    let names: Vec<String> = store.tensors.keys().cloned().collect();
    let name = &names[rng.below(names.len())];
    match rng.below(5) {
        0 => drop(store.tensors.remove(name)),
        1 => {
            if let Some(stored) = store.tensors.get_mut(name) {
                stored.data =
                    stored.data.cast([DType::F64, DType::U8, DType::I64, DType::Bool][rng.below(4)]);
            }
        }
        2 => {
            let stored = store.tensors[name].clone();
            drop(store.tensors.insert(format!("{name}.more"), stored));
        }
        3 => {
            if let Some(stored) = store.tensors.get_mut(name) {
                stored.shape = vec![stored.data.len()];
            }
        }
        _ => {
            let text = serde_json::to_string(&store.about).unwrap();
            let mut bytes = text.clone().into_bytes();
            change(&mut bytes, &[text.into_bytes()], rng);
            if let Some(about) =
                std::str::from_utf8(&bytes).ok().and_then(|text| serde_json::from_str(text).ok())
            {
                store.about = about;
            }
        }
    }
}

#[test]
fn models_and_checkpoints() {
    struct Save(PathBuf);
    impl Callback for Save {
        fn after_epoch(&mut self, at: &mut Moment) -> kiln::Result<()> {
            at.save(&self.0);
            Ok(())
        }
    }
    let folder = Folder::new("models");
    let set = data::moons(20, 0.1, 1);
    let trainer = || {
        let model = Sequential::new().dense(4).batch_norm().relu().dense(2);
        Trainer::new(model, CrossEntropy::new(), Adam::new(0.1)).epochs(2).metrics(["accuracy"]).quiet()
    };
    let state = folder.at("good.state");
    let run = trainer().callback(Save(state.clone())).fit(&set).unwrap();
    let (model, json) = (folder.at("good.kiln"), folder.at("good.json"));
    run.save(&model).unwrap();
    run.save(&json).unwrap();
    damage("models", &[std::fs::read(&model).unwrap()], |input| {
        drop(kiln::Model::load(folder.write("input", input)))
    });
    let input = folder.at("input.json");
    damage("models as text", &[std::fs::read(&json).unwrap()], |bytes| {
        std::fs::write(&input, bytes).unwrap();
        let _ = kiln::Model::load(&input);
    });
    damage("checkpoints", &[std::fs::read(&state).unwrap()], |input| {
        drop(TrainState::load(folder.write("input", input)))
    });
    let (models, states) = (TensorFile::load(&model).unwrap(), TensorFile::load(&state).unwrap());
    let mut rng = Rng::new(3);
    let changed = folder.at("changed");
    damage("what a checksum lets through", &[Vec::new()], |_| {
        let mut store = models.clone();
        with_checksum(&mut store, &mut rng);
        store.save(&changed).unwrap();
        if let Ok(model) = kiln::Model::load(&changed) {
            let _ = model.predict(&set);
        }
        let mut store = states.clone();
        with_checksum(&mut store, &mut rng);
        store.save(&changed).unwrap();
        let _ = trainer().epochs(3).resume(&changed).fit(&set);
    });
}

#[test]
fn layers_beyond_the_weights_of_their_file() {
    let folder = Folder::new("beyond");
    let trainer =
        Trainer::new(Sequential::new().dense(2), CrossEntropy::new(), Adam::new(0.1)).epochs(1).quiet();
    let path = folder.at("good.kiln");
    trainer.fit(&data::moons(8, 0.1, 1)).unwrap().save(&path).unwrap();
    let good = TensorFile::load(&path).unwrap();
    for (layers, shape) in [
        ("dense 4000000000", &[2][..]),
        ("dense 100000, dense 100000, dense 2", &[2]),
        ("dense 1, dense 1, dense 1, dense 2", &[2]),
        ("batch-norm", &[4_000_000_000u64]),
        ("lstm 1 layers 4000000000", &[3, 2]),
        ("transformer 1 feedforward 3000000", &[3, 2]),
        ("conv 2000000 3", &[1, 8, 8]),
        ("prelu", &[4_000_000_000]),
        ("trees 1 1 2000000000", &[2]),
        ("trees 4000000000 1 1", &[2]),
        ("trees 1 4000000 4000000", &[2]),
    ] {
        let mut store = good.clone();
        store.about["model"]["layers"] = layers.into();
        store.about["model"]["input"]["shape"] = shape.into();
        store.save(&path).unwrap();
        let _turn = turn();
        let (most, error) = held(|| kiln::Model::load(&path).err().unwrap().to_string());
        assert!(error.contains("good.kiln"), "{layers}: {error}");
        assert!(most < 1 << 20, "{layers}: {most} bytes");
    }
}

#[test]
fn forests_that_lead_nowhere() {
    let folder = Folder::new("forests");
    let set = data::moons(60, 0.1, 1);
    let options = kiln::trees::TreeOptions { seed: 1, ..Default::default() };
    let task = kiln::model::Task::of(&set);
    let layers = kiln::trees::fit(&set, &task, &options).unwrap().layers;
    let about = kiln::model::About::new(&layers, &set.x(), task).unwrap();
    let path = folder.at("good.kiln");
    kiln::Model::new(layers, about).save(&path).unwrap();
    let good = kiln::Model::load(&path).unwrap();
    let count =
        good.layers().states().iter().find(|(path, _)| path == "0.columns").unwrap().1.shape()[0] as i32;
    // What is wrong, in which list and place.
    for (list, place, number, said) in [
        ("children", 0, -1, "lead on within their tree"),
        ("children", 0, count, "lead on within their tree"),
        ("children", 2, i32::MAX, "lead on within their tree"),
        ("columns", 0, 2, "column 2 of 2"),
        ("columns", 0, -1, "asks of column"),
        ("roots", 0, -1, "begins where it can't"),
        ("roots", 1, 0, "begins where it can't"),
        ("roots", 1, i32::MAX, "begins where it can't"),
    ] {
        let model = kiln::Model::load(&path).unwrap();
        let states = model.layers().states();
        let (_, state) = states.iter().find(|(path, _)| *path == format!("0.{list}")).unwrap();
        let Data::I32(mut numbers) = state.read().unwrap() else { panic!("{list} are whole") };
        numbers[place] = number;
        state.write(&Data::I32(numbers)).unwrap();
        let _turn = turn();
        let (most, error) = held(|| model.predict(&set).err().map(|error| error.to_string()));
        let error = error.unwrap_or_else(|| panic!("{list} {place} {number} is let through"));
        assert!(error.contains(said), "{list} {place} {number}: {error}");
        assert!(most < 8 << 20, "{list}: {most} bytes");
        let export = kiln::onnx::Export::default();
        assert!(model.save_onnx(folder.at("model.onnx"), &export).is_err(), "{list} {place} {number}");
    }
}

#[test]
fn words_of_people() {
    let layers = [
        "conv 8 3 padding same, batch-norm, relu, pool 2, residual(conv 8 3 padding 1, relu), flatten, dropout 0.2, dense 10",
        "embed-columns 3:2 4:1, dense 4, parallel(dense 2; dense 3), sum(dense 2; dense 2), reshape 2 1, transpose",
        "conv-transpose 4 3 stride 2x1 padding 1:0, depthwise 3, group-norm 2, upsample 2, adaptive-avg-pool 2, global-pool",
        "lstm 4 layers 2 bidirectional dropout 0.1, positions 16, attention 2 causal, transformer 2 feedforward 8 relu, last",
    ];
    damage("layers", &layers.map(|text| text.as_bytes().to_vec()), |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(model) = text.parse::<Sequential>() {
            let _ = model.to_text();
            for shape in [&[2, 1, 8, 8][..], &[3, 6], &[2, 3, 8]] {
                let _ = model.build(shape);
            }
        }
    });
    let words = ["flip, shift 2, rotate 10, cutout 6", "f1 macro", "top-3", "recall binary", "roc-auc"];
    damage("small texts", &words.map(|text| text.as_bytes().to_vec()), |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let _ = text.parse::<Augment>();
        let _ = text.parse::<kiln::metrics::Figure>();
        let _ = serde_json::from_str::<Tokens>(text);
    });
}

#[test]
fn weights() {
    let folder = Folder::new("weights");
    let made = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/weights");
    let mut good: Vec<Vec<u8>> = ["linear.pt", "views.pt", "types.pt", "packed.npz", "linear.json"]
        .map(|name| std::fs::read(made.join(name)).unwrap())
        .to_vec();
    let layer = Dense::new(3, 2, Key::new(1));
    for name in ["a.safetensors", "a.npz"] {
        kiln::weights::save(&layer, folder.at(name)).unwrap();
        good.push(std::fs::read(folder.at(name)).unwrap());
    }
    damage("weights", &good, |input| {
        let Ok(weights) = kiln::weights::Weights::read(input) else { return };
        for weight in weights.iter() {
            let _ = weight.data();
        }
    });
}
