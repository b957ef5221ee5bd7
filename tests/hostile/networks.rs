//! Networks of others, damaged, and small ones that ask for much.

use std::time::{Duration, Instant};

use kiln::onnx::{Error, Network, OnnxDType, Value, load, parse};
use kiln::prelude::*;
use kiln_testkit::Folder;

use super::{ROOM, damage, held, nets, turn};

/// What a network gives for zeros of the sizes that it says.
fn walk(network: &Network) -> kiln::onnx::Result<Vec<Value>> {
    let zeros = |port: &kiln::onnx::Port| {
        let sizes: Vec<usize> = port.sizes.iter().map(|size| size.unwrap_or(1).min(8)).collect();
        let sizes = if sizes.is_empty() { vec![2, 2] } else { sizes };
        let (element, count) = (port.element.unwrap_or(OnnxDType::F32), sizes.iter().product::<usize>());
        match element.dtype() {
            Some(dtype) if count <= 4096 => {
                Value::new(Data::filled(dtype, count, 0i64.into()), &sizes, element)
            }
            _ => Value::texts(vec![String::new()], &[1]),
        }
    };
    network.run(network.inputs().iter().map(zeros).collect(), &Context::inference())
}

#[test]
fn what_stands_in_the_tests_is_a_network() {
    let folder = Folder::new("nets");
    folder.write("weights.bin", [0; 16]);
    for (number, bytes) in nets::good().into_iter().enumerate() {
        let network = load(folder.write("net.onnx", bytes)).unwrap();
        for value in walk(&network).unwrap_or_else(|error| panic!("network {number}: {error}")) {
            assert!(value.constant().is_some(), "network {number}");
        }
    }
}

#[test]
fn damaged_networks() {
    let folder = Folder::new("networks");
    folder.write("weights.bin", [0; 16]);
    let path = folder.at("net.onnx");
    damage("networks", &nets::good(), |input| {
        std::fs::write(&path, input).unwrap();
        let Ok(network) = load(&path) else { return };
        let Ok(outputs) = walk(&network) else { return };
        outputs.iter().for_each(|output| drop(output.constant()));
        let _ = kiln::onnx::parse(network.structure());
    });
    damage("recorded tensors", &[tensor()], |input| {
        drop(kiln::onnx::tensor_file(&folder.write("x.pb", input)))
    });
}

fn tensor() -> Vec<u8> {
    use kiln::onnx::proto::Message;
    nets::floats("x", &[2, 2], vec![1.0; 4]).encode_to_vec()
}

/// Each ends with an error that names a limit, soon, and holds no more than it may.
#[test]
fn small_files_that_ask_for_much() {
    let _turn = turn();
    for (name, bytes) in nets::greedy() {
        let begun = Instant::now();
        let (most, error) = held(|| parse(bytes.clone()).and_then(|network| walk(&network)).err());
        let error = error.unwrap_or_else(|| panic!("{name}: it was computed"));
        let is_limit = matches!(error, Error::Limit { .. }) && error.to_string().contains("kiln --limit ");
        assert!(is_limit || name == "a function that calls itself", "{name}: {error}");
        assert!(most < ROOM + 1000 * bytes.len(), "{name}: {most} bytes");
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}: {:?}", begun.elapsed());
    }
}

/// A network of texts says itself how long its rows are, and three of them are made for each text.
#[cfg(feature = "tokenizer")]
#[test]
fn texts_of_more_pieces_than_there_may_be_are_refused() {
    let _turn = turn();
    let folder = Folder::new("long-texts");
    let tokenizer =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub/onnx/bert/tokenizer.json");
    std::fs::copy(tokenizer, folder.at("tokenizer.json")).unwrap();
    let of = |pieces: i64| {
        let mut graph =
            nets::graph("", "y", Vec::new(), vec![nets::node("Identity", "input_ids", "y", Vec::new())]);
        graph.input = vec![nets::texts_of("input_ids", pieces)];
        folder.write("long.onnx", nets::file(graph, Vec::new()))
    };
    for pieces in [i64::MAX, 1 << 40, (1 << 20) + 1, 0] {
        let path = of(pieces);
        let (most, error) = held(|| kiln::hub::TextNetwork::open(&path).unwrap_err().to_string());
        assert!(error.contains("long.onnx: it takes texts of ") && error.contains("1 to 1048576"), "{error}");
        assert!(most < ROOM, "{pieces}: {most}");
    }
    assert!(kiln::hub::TextNetwork::open(of(32)).is_ok());
}

#[cfg(unix)]
#[test]
fn weights_outside_of_the_folder_are_not_read() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("outside");
    folder.write("secret", [7; 16]);
    folder.write("own/sub/inside", [7; 16]);
    symlink("../secret", folder.at("own/escape")).unwrap();
    symlink("..", folder.at("own/up")).unwrap();
    symlink("sub/inside", folder.at("own/link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.at("own/pipe")).status().unwrap().success());
    let add = || vec![nets::node("Add", "x w", "y", Vec::new())];
    let secret = folder.at("secret").display().to_string();
    let cases = [
        ("sub/inside", ""),
        ("link", ""),
        ("escape", "outside"),
        ("up/secret", "outside"),
        ("../secret", "isn't named as a file"),
        (secret.as_str(), "isn't named as a file"),
        ("pipe", "no regular file"),
        ("sub", "no regular file"),
        ("/dev/zero", "isn't named as a file"),
        ("none", "go together"),
    ];
    for (location, said) in cases {
        let graph = nets::graph("x", "y", vec![nets::beside("w", &[2, 2], location)], add());
        let bytes = nets::file(graph, Vec::new());
        match load(folder.write("own/net.onnx", &bytes)) {
            Ok(_) => assert_eq!(said, "", "{location}"),
            Err(error) => {
                assert!(!said.is_empty() && error.to_string().contains(said), "{location}: {error}")
            }
        }
        assert!(parse(bytes).is_err(), "bytes have no files beside them");
    }
    // The same of weights in several files.
    let layer = Dense::new(2, 2, Key::new(1));
    kiln::weights::save(&layer, folder.at("part.safetensors")).unwrap();
    std::fs::copy(folder.at("part.safetensors"), folder.at("own/part.safetensors")).unwrap();
    symlink("../part.safetensors", folder.at("own/outside.safetensors")).unwrap();
    symlink("part.safetensors", folder.at("own/near.safetensors")).unwrap();
    for (file, said) in [
        ("part.safetensors", ""),
        ("near.safetensors", ""),
        ("outside.safetensors", "outside"),
        ("pipe", "no regular file"),
    ] {
        let index = format!("{{\"weight_map\": {{\"weight\": \"{file}\"}}}}");
        match kiln::weights::Weights::open(folder.write("own/a.safetensors.index.json", index)) {
            Ok(weights) => assert!(said.is_empty() && weights.get("weight").is_some(), "{file}"),
            Err(error) => assert!(!said.is_empty() && error.to_string().contains(said), "{file}: {error}"),
        }
    }
}
