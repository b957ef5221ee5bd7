//! Files of weights: what PyTorch and NumPy wrote is read to the same numbers, what is written is read back, what doesn't fit is
//! named, and nothing in a file can do harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use half::{bf16, f16};
use kiln::ir::packed::BlockFormat;
use kiln::prelude::*;
use kiln::store::{HostTensor, TensorFile};
use kiln::variable::with_unfilled_parameters;
use kiln::weights::{self, ElementType, Fit, Mapping, Weights};
use kiln_testkit::Folder;

#[path = "kit/zip.rs"]
mod zip;

/// A file that `tests/data/weights/make.py` made.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/weights").join(name)
}

fn stored(shape: &[usize], data: Data) -> HostTensor {
    HostTensor { shape: shape.to_vec(), data }
}

fn write(tensors: &BTreeMap<String, HostTensor>, path: PathBuf) -> kiln::Result<()> {
    weights::write(&TensorFile { tensors: tensors.clone(), ..TensorFile::default() }, path)
}

/// A tensor of each of kiln's types, among them an empty one and a scalar.
fn examples() -> BTreeMap<String, HostTensor> {
    let tensors = [
        ("bool", stored(&[3], Data::Bool(vec![true, false, true]))),
        ("u8", stored(&[2, 0], Data::U8(vec![]))),
        ("u16", stored(&[1], Data::U16(vec![65535]))),
        ("i32", stored(&[], Data::I32(vec![-7]))),
        ("i64", stored(&[2], Data::I64(vec![i64::MIN, i64::MAX]))),
        ("f16", stored(&[2], Data::F16(vec![f16::NAN, f16::MIN_POSITIVE_SUBNORMAL]))),
        ("bf16", stored(&[1], Data::Bf16(vec![bf16::from_f32(1.5)]))),
        ("layer.f32", stored(&[2, 3], Data::F32(vec![1.5, -0.0, f32::INFINITY, 0.1, 2.0, 3.0]))),
        ("layer.f64", stored(&[1, 1], Data::F64(vec![0.1]))),
    ];
    tensors.into_iter().map(|(name, stored)| (name.to_string(), stored)).collect()
}

fn bits(weights: &Weights) -> BTreeMap<String, (Vec<usize>, DType, Vec<u8>)> {
    let one = |weight: kiln::weights::StoredTensor| {
        let data = weight.data().unwrap();
        (weight.name().to_string(), (weight.shape().to_vec(), data.dtype(), data.to_le_bytes()))
    };
    weights.iter().map(one).collect()
}

fn bits_of(tensors: &BTreeMap<String, HostTensor>) -> BTreeMap<String, (Vec<usize>, DType, Vec<u8>)> {
    let one = |(name, HostTensor { shape, data }): (&String, &HostTensor)| {
        (name.clone(), (shape.clone(), data.dtype(), data.to_le_bytes()))
    };
    tensors.iter().map(one).collect()
}

#[test]
fn what_is_written_is_read_back_bit_for_bit() {
    let folder = Folder::new("back");
    for name in ["a.safetensors", "a.json", "a.npz", "a.safetensors.index.json"] {
        let mut tensors = examples();
        write(&tensors, folder.at(name)).unwrap();
        if name.ends_with("npz") {
            let widened = tensors["bf16"].data.cast(DType::F32);
            tensors.insert("bf16".to_string(), stored(&[1], widened));
        }
        let read = Weights::open(folder.at(name)).unwrap();
        assert_eq!(bits(&read), bits_of(&tensors), "{name}");
    }
    let one: BTreeMap<_, _> = examples().into_iter().filter(|(name, _)| name == "i64").collect();
    write(&one, folder.at("a.npy")).unwrap();
    let read = Weights::open(folder.at("a.npy")).unwrap();
    assert_eq!(read.get("array").unwrap().data().unwrap(), one["i64"].data);
    let error = write(&examples(), folder.at("b.npy")).unwrap_err().to_string();
    assert!(error.contains("b.npy") && error.contains(".npz"), "{error}");
    let error = write(&one, folder.at("b.pt")).unwrap_err().to_string();
    assert!(error.contains("b.pt") && error.contains(".safetensors"), "{error}");
}

#[test]
fn numbers_are_borrowed_where_they_lie_right() {
    let folder = Folder::new("borrowed");
    for name in ["a.safetensors", "a.npz"] {
        write(&examples(), folder.at(name)).unwrap();
        let file = Weights::open(folder.at(name)).unwrap();
        for weight in file.iter() {
            assert!(
                matches!(weight.bytes().unwrap(), std::borrow::Cow::Borrowed(_)),
                "{name} {}",
                weight.name()
            );
        }
    }
    let file = Weights::open(made("views.pt")).unwrap();
    for (name, is_borrowed) in
        [("base", true), ("param", true), ("scalar", true), ("turned", false), ("steps", false)]
    {
        let bytes = file.get(name).unwrap().bytes().unwrap();
        assert_eq!(matches!(bytes, std::borrow::Cow::Borrowed(_)), is_borrowed, "{name}");
    }
}

#[test]
fn files_of_pytorch_and_numpy_have_the_numbers_they_were_made_with() {
    for (file, expected) in [
        ("linear.pt", "linear.json"),
        ("views.pt", "views.json"),
        ("old.pt", "views.json"),
        ("checkpoint.pt", "checkpoint.json"),
        ("types.pt", "types.json"),
        ("packed.npz", "packed.json"),
    ] {
        let (read, expected) = (Weights::open(made(file)).unwrap(), Weights::open(made(expected)).unwrap());
        let (read, expected) = (bits(&read), bits(&expected));
        for (name, numbers) in expected.iter().filter(|(name, _)| !["in", "out"].contains(&name.as_str())) {
            assert_eq!(read.get(name), Some(numbers), "{file}: {name}");
        }
    }
    let linear = Weights::open(made("linear.pt")).unwrap();
    assert_eq!(linear.len(), 2);
    let note = |name: &str, text: &str| (name.to_string(), text.to_string());
    assert_eq!(linear.notes(), [note("epoch", "3"), note("rate", "0.5"), note("name", "a test")]);
    let packed = Weights::open(made("packed.npz")).unwrap();
    assert_eq!(packed.get("many").unwrap().data().unwrap(), Data::F64(vec![0.0; 2000]));
    assert!(packed.notes()[0].1.contains("<U2"), "{:?}", packed.notes());
    let element = |name: &str| Weights::open(made("types.pt")).unwrap().get(name).unwrap().element();
    assert_eq!((element("e4m3"), element("i8")), (ElementType::F8E4M3, ElementType::I8));
}

#[test]
fn a_layer_of_pytorchs_computes_the_same_here() {
    let expected = Weights::open(made("linear.json")).unwrap();
    let numbers = |name: &str| expected.get(name).unwrap().data().unwrap();
    let layer = Dense::new(3, 2, Key::new(1));
    let file = Weights::open(made("linear.pt")).unwrap();
    let mapping = Mapping::new().rule("model.* -> * transposed").unwrap();
    let report = file.load_into(&layer, &mapping, Fit::Strict).unwrap();
    assert_eq!(report.to_string(), "2 tensors loaded");
    let out = layer.forward(&Tensor::from_data(numbers("in"), [2, 3]), &Context::inference());
    for (ours, theirs) in out.to_vec::<f32>().unwrap().iter().zip(numbers("out").as_slice::<f32>().unwrap()) {
        assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
    }
}

#[test]
fn a_pickle_that_would_run_something_is_not_run() {
    let witness = Path::new("/tmp/kiln-was-here");
    let file = Weights::open(made("evil.pt")).unwrap();
    assert_eq!(file.iter().map(|tensor| tensor.name()).collect::<Vec<_>>(), ["weight"]);
    assert_eq!(file.notes(), [("evil".to_string(), "made by posix.system".to_string())]);
    assert!(!witness.exists());
}

#[test]
fn files_of_other_kinds_are_named_for_what_they_are() {
    let keras = zip::zip(&[("config.json", b"{}".to_vec()), ("model.weights.h5", vec![0; 4])]);
    for (bytes, said) in [
        (b"\x89HDF\r\n\x1a\n\0\0".to_vec(), "HDF5"),
        (b"\x1c\0\0\0TFL3\0\0".to_vec(), "TensorFlow Lite"),
        (b"GGUF\x03\0\0\0".to_vec(), "GGUF"),
        (b"\x80\x04N.".to_vec(), "pickle"),
        (
            b"\x93NUMPY\x01\0\x46\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }             \n"
                .to_vec(),
            "objects",
        ),
        (keras, "Keras"),
    ] {
        let error = Weights::read(&bytes).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Two layers and a norm, as a model of one's own.
struct Net {
    hidden: Dense,
    norm: BatchNorm,
    out: Dense,
}
parameters!(Net { hidden, norm, out });

fn net(seed: u64) -> Net {
    let [first, second] = Key::new(seed).split();
    Net { hidden: Dense::new(3, 4, first), norm: BatchNorm::new(4), out: Dense::new(4, 2, second) }
}

fn values(net: &Net) -> Vec<Data> {
    let parameters = net.parameters().into_iter().map(|(_, param)| param.value().unwrap());
    parameters.chain(net.states().into_iter().map(|(_, state)| state.read().unwrap())).collect()
}

#[test]
fn strict_takes_all_or_nothing_and_says_what_is_the_matter() {
    let folder = Folder::new("strict");
    let (trained, other) = (net(1), net(2));
    let path = folder.at("net.safetensors");
    weights::save(&trained, &path).unwrap();
    let file = Weights::open(&path).unwrap();
    let before = values(&other);

    let wrong =
        Mapping::of(["hidden.* -> hidde.*", "out.weight -> out.weight transposed", "norm.bias ->"]).unwrap();
    let error = file.load_into(&other, &wrong, Fit::Strict).unwrap_err().to_string();
    for part in [
        "net.safetensors: the weights don't fit",
        "missing (3):",
        "hidden.weight [3, 4] (the file has hidden.weight)",
        "norm.bias [4]\n",
        "unexpected (2):",
        "mis-shaped (1):",
        "out.weight [4, 2]: out.weight is [4, 2] in the file",
        "`a.* ->` leaves out",
    ] {
        assert!(error.contains(part), "{part} in\n{error}");
    }
    let idle = Mapping::of(["hiden.* -> hidden.*", "hidden.* -> hidde.*"]).unwrap();
    let error = file.load_into(&other, &idle, Fit::Strict).unwrap_err().to_string();
    assert!(error.contains("rules that no name of the file fits (1):\n  hiden.* ->"), "{error}");
    let deeper = Mapping::of(["* -> model.*"]).unwrap();
    let error = file.load_into(&other, &deeper, Fit::Strict).unwrap_err().to_string();
    assert!(error.contains("missing (8)") && error.contains("unexpected (8)"), "{error}");
    let checkpoint = Weights::open(made("linear.pt")).unwrap();
    let layer = Dense::new(3, 2, Key::new(1));
    let error = checkpoint.load_into(&layer, &Mapping::new(), Fit::Strict).unwrap_err().to_string();
    assert!(error.contains("weight [3, 2] (the file has model.weight)"), "{error}");
    // Lenient lets names be missing, but shapes must fit.
    assert!(file.load_into(&other, &wrong, Fit::Lenient).unwrap_err().to_string().contains("mis-shaped"));
    let two = Mapping::of(["norm.weight -> norm.bias"]).unwrap();
    let error = file.load_into(&other, &two, Fit::Lenient).unwrap_err().to_string();
    assert!(error.contains("both norm.bias and norm.weight"), "{error}");
    let nothing = Mapping::of(["* -> a.*"]).unwrap();
    assert!(file.load_into(&other, &nothing, Fit::Lenient).is_err());
    assert_eq!(values(&other), before);

    let half = Mapping::of(["hidden.* ->"]).unwrap();
    let report = file.load_into(&other, &half, Fit::Lenient).unwrap();
    assert_eq!((report.loaded.len(), report.missing.len(), report.left_out.len()), (6, 2, 2));
    assert_eq!(values(&other)[0], before[0]);
    let report = file.load_into(&other, &Mapping::new(), Fit::Strict).unwrap();
    assert_eq!(report.loaded.len(), 8);
    assert_eq!(values(&other), values(&trained));
}

#[test]
fn packed_weights_stay_and_so_does_all_beside_them() {
    let folder = Folder::new("packed");
    let path = folder.at("dense.safetensors");
    let mut layer = with_unfilled_parameters(|| Dense::new(32, 2, Key::new(1)).without_bias());
    layer
        .weight
        .set_packed(BlockFormat::Q8_0, [[0x00, 0x3c].as_slice(), &[3; 32]].concat().repeat(2), &[1, 0])
        .unwrap();
    layer.bias = Some(Param::new(&Tensor::zeros([2])));
    // What is written are its numbers.
    weights::save(&layer, &path).unwrap();
    let file = Weights::open(&path).unwrap();
    let plain = Dense::new(32, 2, Key::new(2));
    file.load_into(&plain, &Mapping::new(), Fit::Strict).unwrap();
    assert_eq!(plain.weight.value().unwrap(), Data::F32(vec![3.0; 64]));

    plain.bias.as_ref().unwrap().set(&Tensor::ones([2])).unwrap();
    weights::save(&plain, &path).unwrap();
    let file = Weights::open(&path).unwrap();
    for fit in [Fit::Strict, Fit::Lenient] {
        let error = file.load_into(&layer, &Mapping::new(), fit).unwrap_err().to_string();
        assert!(
            error.contains("weight [32, 2]: it is packed as Q8_0 in the model, and isn't changed"),
            "{error}"
        );
    }
    assert_eq!(layer.bias.as_ref().unwrap().value().unwrap(), Data::F32(vec![0.0; 2]));
    let beside = Mapping::of(["weight ->"]).unwrap();
    file.load_into(&layer, &beside, Fit::Lenient).unwrap();
    assert_eq!(layer.bias.as_ref().unwrap().value().unwrap(), Data::F32(vec![1.0; 2]));
}

#[test]
fn types_are_converted_and_counts_of_batches_passed_over() {
    let folder = Folder::new("types");
    let mut tensors = BTreeMap::from([
        ("weight".to_string(), stored(&[2], Data::F64(vec![0.5, 1.5]))),
        ("bias".to_string(), stored(&[2], Data::Bf16(vec![bf16::ONE, bf16::ZERO]))),
        ("running_mean".to_string(), stored(&[2], Data::I32(vec![3, 4]))),
        ("running_var".to_string(), stored(&[2], Data::F16(vec![f16::ONE, f16::from_f32(0.25)]))),
        ("num_batches_tracked".to_string(), stored(&[], Data::I64(vec![9]))),
    ]);
    write(&tensors, folder.at("norm.npz")).unwrap();
    let norm = BatchNorm::new(2);
    let load = |name: &str| Weights::open(folder.at(name))?.load_into(&norm, &Mapping::new(), Fit::Strict);
    assert_eq!(load("norm.npz").unwrap().left_out, ["num_batches_tracked"]);
    assert_eq!(norm.weight.value().unwrap(), Data::F32(vec![0.5, 1.5]));
    assert_eq!(norm.running_mean.read().unwrap(), Data::F32(vec![3.0, 4.0]));
    assert_eq!(norm.running_var.read().unwrap(), Data::F32(vec![1.0, 0.25]));
    tensors.insert("weight".to_string(), stored(&[3], Data::F32(vec![0.0; 3])));
    write(&tensors, folder.at("norm.json")).unwrap();
    let error = load("norm.json").unwrap_err().to_string();
    assert!(error.contains("weight [2]: weight is [3] in the file"), "{error}");
}

#[test]
fn an_index_and_its_files_belong_together() {
    let folder = Folder::new("index");
    let path = folder.at("a.safetensors.index.json");
    write(&examples(), path.clone()).unwrap();
    let part = folder.at("a-00001-of-00001.safetensors");
    let index = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, index.replace("\"bool\"", "\"boolean\"")).unwrap();
    let error = Weights::open(&path).unwrap_err().to_string();
    assert!(error.contains("a-00001-of-00001") && error.contains("boolean"), "{error}");
    std::fs::write(&path, index.replace("a-00001", "../a-00001")).unwrap();
    assert!(Weights::open(&path).unwrap_err().to_string().contains("no file beside it"));
    std::fs::write(&path, &index).unwrap();
    std::fs::remove_file(&part).unwrap();
    assert!(Weights::open(&path).unwrap_err().to_string().contains("a-00001-of-00001"));
}

/// Reads everything there is.
fn read_all(bytes: &[u8]) -> bool {
    let Ok(weights) = Weights::read(bytes) else { return false };
    weights.iter().all(|weight| weight.data().is_ok())
}

#[test]
fn files_that_are_cut_or_changed_anywhere_never_panic() {
    let folder = Folder::new("damage");
    let mut files: Vec<Vec<u8>> = ["linear.pt", "views.pt", "types.pt", "evil.pt", "packed.npz"]
        .map(|name| std::fs::read(made(name)).unwrap())
        .to_vec();
    for name in ["a.safetensors", "a.npz", "a.json"] {
        write(&examples(), folder.at(name)).unwrap();
        files.push(std::fs::read(folder.at(name)).unwrap());
    }
    let one: BTreeMap<_, _> = examples().into_iter().filter(|(name, _)| name == "layer.f32").collect();
    write(&one, folder.at("a.npy")).unwrap();
    files.push(std::fs::read(folder.at("a.npy")).unwrap());
    for whole in &files {
        // The new line at the end of JSON says nothing.
        for cut in 0..whole.trim_ascii_end().len() {
            assert!(!read_all(&whole[..cut]), "cut at {cut} of {}", whole.len());
        }
        let mut changed = whole.clone();
        for at in 0..whole.len() {
            for mask in [1 << (at % 8), 0xff, 0x80] {
                changed[at] ^= mask;
                read_all(&changed);
                changed[at] ^= mask;
            }
        }
    }
}

/// What a command says, and whether it succeeded.
fn kiln(folder: &Folder, arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_kiln")).args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

#[test]
fn the_command_takes_weights_in_shows_them_and_gives_them_out() {
    let folder = Folder::new("command");
    let data = data::moons(60, 0.1, 1).named(["upper", "lower"]);
    let sizes = |seed| {
        let model = Sequential::new().seed(seed).dense(3).relu().dense(2);
        let trainer = Trainer::new(model, kiln::loss::CrossEntropy::new(), Adam::new(0.02));
        trainer.epochs(1).quiet().fit(&data).unwrap()
    };
    sizes(1).save(folder.at("one.kiln")).unwrap();
    sizes(2).save(folder.at("two.kiln")).unwrap();
    let run = |arguments: &[&str]| {
        let (is_good, text) = kiln(&folder, arguments);
        assert!(is_good, "{arguments:?}: {text}");
        text
    };
    let fail = |arguments: &[&str], reason: &str| {
        let (is_good, text) = kiln(&folder, arguments);
        assert!(!is_good && text.contains(reason) && !text.contains("panicked"), "{arguments:?}: {text}");
    };
    let exported = run(&["export", "one.kiln", "one.npz"]);
    assert!(exported.contains("one.npz: 17 parameters"), "{exported}");
    let shown = run(&["inspect", "one.npz"]);
    assert!(shown.contains("0.weight  f32     [2, 3]") && shown.contains("4 tensors, 17 numbers"), "{shown}");
    assert!(run(&["inspect", made("linear.pt").to_str().unwrap()]).contains("model.weight  f32     [2, 3]"));
    let imported = run(&["import", "one.npz", "--into", "two.kiln", "--out", "new.kiln"]);
    assert!(imported.contains("4 tensors loaded") && imported.contains("17 parameters"), "{imported}");
    let model = |name: &str| kiln::Model::load(folder.at(name)).unwrap();
    assert_eq!(model("new.kiln").predict(&data).unwrap(), model("one.kiln").predict(&data).unwrap());
    // A model's own forms are files of weights, and are shown as models.
    run(&["export", "one.kiln", "one.safetensors"]);
    run(&["export", "one.kiln", "one.json"]);
    for name in ["one.safetensors", "one.json"] {
        assert!(run(&["inspect", name]).contains("dense 3, relu, dense 2"), "{name}");
        run(&["import", name, "--into", "two.kiln", "--out", "again.kiln"]);
    }
    let into = ["--into", "two.kiln", "--out", "x.kiln"];
    fail(&[&["import", "one.npz", "--map", "0.* -> 1.*"][..], &into].concat(), "missing (2)");
    run(&[&["import", "one.npz", "--map", "0.* -> 1.*", "--lenient"][..], &into].concat());
    fail(&[&["import", "one.npz", "--map", "what"][..], &into].concat(), "`what` is no rule");
    fail(&[&["import", "net.onnx"][..], &into].concat(), "whole network");
    fail(&["import", "one.npz", "--into", "two.kiln", "--out", "x.npz"], ".kiln");
    assert!(run(&["inspect", made("evil.pt").to_str().unwrap()]).contains("made by posix.system"));
}
