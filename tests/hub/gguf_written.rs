//! GGUF files that kiln writes: the bytes that other libraries pack, the tensors that others write, and the same model when it is read.

use kiln::hub::gguf::{PiecesForm, UnpackedTensor, WeightFormat};
use kiln::hub::{LanguageModel, gguf};
use kiln::ir::packed::BlockFormat;
use kiln::prelude::*;
use kiln_testkit::Program;
use serde_json::Value;

use super::gguf::here;
use super::{apart, folders, program, with_words};

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap().as_bytes();
    hex.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

#[test]
fn numbers_are_packed_in_the_bytes_of_other_libraries() {
    let kept: Value = serde_json::from_slice(&std::fs::read(here("packing.json")).unwrap()).unwrap();
    // What 16 bits hold is where all others come from.
    let halves = bytes(&kept["F16"]);
    let mut numbers = vec![0.0; halves.len() / 2];
    BlockFormat::F16.unpack(&halves, &mut numbers);
    for format in BlockFormat::ALL {
        let wanted = bytes(&kept[format.name()]);
        let mut found = vec![0; format.row_bytes(numbers.len()).unwrap()];
        format.pack(&numbers, &mut found);
        let first = found.iter().zip(&wanted).position(|(a, b)| a != b);
        assert_eq!((first, found.len()), (None, wanted.len()), "{format}");
    }
}

#[test]
fn numbers_that_a_format_cannot_hold_are_an_error_and_leave_no_file() {
    let folder = program("gguf-large");
    let (from, _) = folders().into_iter().find(|(path, _)| path.ends_with("llama")).unwrap();
    for (number, format, said) in [
        (1e6, "f16", "one of its numbers is 1000000"),
        (1e30, "q8_0", "can't be packed as F16"),
        (f32::NAN, "q4_0", "is NaN"),
    ] {
        let model = LanguageModel::open(&from).unwrap();
        let (_, up) =
            model.decoder().parameters().into_iter().find(|(path, _)| path.ends_with("up.weight")).unwrap();
        up.set(&Tensor::full(up.shape(), number)).unwrap();
        let path = folder.at("model.gguf");
        let error = model.save_gguf(&path, Some(format.parse().unwrap())).unwrap_err().to_string();
        assert!(error.contains("blk.0.ffn_up.weight") && error.contains(said), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{format}");
    }
}

/// The tensors of a file in the order of their names.
fn tensors(path: &std::path::Path) -> Vec<UnpackedTensor> {
    let mut all = gguf::tensors(path).unwrap();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

#[test]
fn every_kind_of_folder_becomes_the_file_that_the_format_s_own_library_writes() {
    let folder = program("gguf-written");
    let mut kinds = 0;
    for (from, expected) in folders() {
        let name = from.file_name().unwrap().to_string_lossy().into_owned();
        let model = LanguageModel::open(&from).unwrap();
        let path = folder.at("model.gguf");
        let written = match model.save_gguf(&path, None) {
            Ok(written) => written,
            Err(error) => {
                // Made with other settings than those of published models, which a file doesn't say.
                assert!(
                    name == "llama3" && error.to_string().contains("aren't found in that"),
                    "{name}: {error}"
                );
                continue;
            }
        };
        assert_eq!(written.pieces, PiecesForm::None, "{name}");
        let back = LanguageModel::open(&path).unwrap();
        assert_eq!((back.config(), back.window()), (model.config(), model.window()), "{name}");
        let far = apart(&back, &expected);
        assert!(far < 1e-5, "{name}: {far}");
        if here(&format!("{name}.gguf")).is_file() {
            kinds += 1;
            let wanted = tensors(&here(&format!("{name}.gguf")));
            assert!(tensors(&path) == wanted, "{name} has other tensors");
        }

        for format in WeightFormat::ALL {
            model.save_gguf(&path, Some(format)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let far = apart(&LanguageModel::open(&path).unwrap(), &expected);
            // Rows of 16 and 32 are whole blocks of 32 at the most, and the logits are of some ones.
            let most = match format {
                WeightFormat::Single => 1e-5,
                WeightFormat::Packed(BlockFormat::F16 | BlockFormat::Bf16) => 0.05,
                WeightFormat::Packed(_) => 1.0,
            };
            assert!(far < most, "{name}, {}: {far}", format.name());
        }
    }
    assert_eq!(kinds, 6);
}

#[test]
fn packed_weights_are_written_as_they_are_and_packed_again_where_it_is_asked_for() {
    let folder = program("gguf-again");
    let model = LanguageModel::open(here("packed.gguf")).unwrap();
    let path = folder.at("again.gguf");
    model.save_gguf(&path, None).unwrap();
    assert!(tensors(&path) == tensors(&here("packed.gguf")));
    let back = LanguageModel::open(&path).unwrap();
    let packed = |model: &LanguageModel| -> Vec<_> {
        model
            .decoder()
            .parameters()
            .into_iter()
            .map(|(path, own)| (path, own.packed(), own.variable().unwrap().read().unwrap()))
            .collect()
    };
    assert!(packed(&back) == packed(&model));

    model.save_gguf(&path, Some("q4_k".parse().unwrap())).unwrap();
    let about = gguf::about(&path).unwrap();
    assert!(about.contains("Q4_K: 14 tensors") && about.contains("Q5_0: 2 tensors"), "{about}");
    // Plain and packed again, each number stays within the step of its group.
    for (own, other) in tensors(&path).iter().zip(tensors(&here("packed.gguf"))) {
        let off = own.numbers.iter().zip(&other.numbers).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let all = other.numbers.iter().map(|b| b * b).sum::<f32>();
        assert!(off <= 0.01 * all, "{}: {off} of {all}", own.name);
    }
}

#[test]
fn pieces_come_back_by_the_names_that_every_reader_knows() {
    let folder = program("gguf-pieces");
    let texts = [
        "It was",
        " two  spaces ",
        "it's I'LL 12345",
        "naïve Bäume über",
        "日本語 😀",
        "\n\n\ttabs\n",
        "<s> </s>",
        "<|end|>",
    ];
    for name in ["gpt2", "llama", "llama3", "qwen2"] {
        let model = LanguageModel::open(here(&format!("pieces-{name}.gguf"))).unwrap();
        // By way of a hub's folder, where they are a tokenizer.json.
        model.save(folder.at(name)).unwrap();
        let model = LanguageModel::open(folder.at(name)).unwrap();
        let path = folder.at("model.gguf");
        assert_eq!(model.save_gguf(&path, None).unwrap().pieces, PiecesForm::Named, "{name}");
        let back = LanguageModel::open(&path).unwrap();
        let (own, other) = (model.tokenizer().unwrap(), back.tokenizer().unwrap());
        for text in texts {
            let codes = own.encode(text).unwrap().codes;
            assert_eq!(other.encode(text).unwrap().codes, codes, "{name}: {text:?}");
            for skip in [true, false] {
                assert_eq!(other.decode(&codes, skip).unwrap(), own.decode(&codes, skip).unwrap(), "{name}");
            }
        }
        let about = |path| gguf::about(path).unwrap();
        let lines = |about: String| -> Vec<String> {
            let pieces = about.lines().filter(|line| line.starts_with("tokenizer."));
            let mut all: Vec<String> = pieces.map(str::to_string).collect();
            all.sort();
            all
        };
        // Nothing that the first file said of its pieces is lost.
        let (first, second) = (lines(about(here(&format!("pieces-{name}.gguf")))), lines(about(path)));
        assert!(first.iter().all(|line| second.contains(line)), "{name}: {first:#?} {second:#?}");
    }
}

#[test]
fn pieces_of_other_kinds_stand_in_the_file_as_json() {
    let folder: Program = program("gguf-json");
    let (from, expected) = folders().into_iter().find(|(path, _)| path.ends_with("llama")).unwrap();
    with_words(&from, &folder);
    let said = folder.out(&["export", ".", "model.gguf", "--type", "q8_0"]);
    assert!(said.contains("model.gguf: 21 tensors") && said.contains("tokenizer.huggingface.json"), "{said}");
    let model = LanguageModel::open(folder.at("model.gguf")).unwrap();
    assert_eq!(model.tokenizer().unwrap().encode("w3 w5").unwrap().codes, [3, 5]);
    assert!(apart(&model, &expected) < 0.1);

    let fails = |arguments: &[&str], part: &str| {
        let said = folder.error(arguments).1;
        assert!(said.contains(part), "{said}");
    };
    fails(
        &["export", ".", "model.gguf", "--type", "q3_k"],
        "q3_k is no type of weights; there are f32, f16, bf16, q4_0",
    );
    fails(&["export", ".", "other", "--type", "q8_0"], "--type is for .gguf");
    fails(&["export", ".", "model.gguf", "--cache"], ".gguf has no such thing");
    folder.write("config.json", {
        let config = std::fs::read_to_string(from.join("config.json")).unwrap();
        config.replace("\"silu\"", "\"relu\"")
    });
    fails(&["export", ".", "relu.gguf"], "says no activation but Silu");
    assert!(!folder.at("relu.gguf").exists());
}
