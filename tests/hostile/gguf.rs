//! Language models in GGUF files: damaged ones, and such as say what isn't there.

#![cfg(feature = "tokenizer")]

use std::path::Path;

use kiln::hub::{LanguageModel, gguf};
use kiln::prelude::*;
use kiln_testkit::Folder;

use super::{ROOM, damage, held, turn};

/// A file that is whole.
fn good(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub/gguf").join(name)).unwrap()
}

#[test]
fn damaged_files() {
    let folder = Folder::new("gguf");
    let seeds = ["llama.gguf", "gpt2.gguf", "qwen3.gguf", "gemma.gguf"].map(good);
    damage("gguf", &seeds, |input| {
        let path = folder.write("input.gguf", input);
        let _ = LanguageModel::open(&path);
        let _ = gguf::about(&path);
    });
    // Those with pieces take longer, so their names alone are damaged: numbers follow at the end.
    let seeds = ["pieces-llama.gguf", "pieces-qwen2.gguf"].map(|name| good(name)[..16_000].to_vec());
    damage("gguf with pieces", &seeds, |input| drop(gguf::about(folder.write("input.gguf", input))));
}

#[test]
fn a_file_that_ends_early_says_where() {
    let _turn = turn();
    let folder = Folder::new("gguf-short");
    let whole = good("llama.gguf");
    for end in (0..whole.len()).step_by(97) {
        let path = folder.write("short.gguf", &whole[..end]);
        let (most, error) = held(|| gguf::about(&path).unwrap_err().to_string());
        assert!(most < ROOM, "{end}: {most}");
        let known = ["the file ends after", "can hold", "leave the file", "doesn't start"];
        assert!(end < 4 || known.iter().any(|part| error.contains(part)), "{end}: {error}");
    }
}

/// The begin of a file with so many tensors and names.
fn begin(tensors: u64, names: u64) -> Vec<u8> {
    [b"GGUF".as_slice(), &3u32.to_le_bytes(), &tensors.to_le_bytes(), &names.to_le_bytes()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A tensor of 32-bit floats, `[2, 4]`, from this offset on.
fn tensor(name: &str, sizes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((sizes.len() as u32).to_le_bytes());
    sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

#[test]
fn counts_and_places_that_cannot_be_are_one_error_each() {
    let _turn = turn();
    let folder = Folder::new("gguf-lies");
    let numbers = vec![0u8; 256];
    let named = |kind: u32, value: &[u8]| {
        [begin(0, 1), text("a.name"), kind.to_le_bytes().to_vec(), value.to_vec(), numbers.clone()].concat()
    };
    let of =
        |tensors: &[Vec<u8>]| [begin(tensors.len() as u64, 0), tensors.concat(), numbers.clone()].concat();
    let many = |kind: u32, count: u64| [kind.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
    let cases: [(Vec<u8>, &str); 17] = [
        ([begin(u64::MAX, 0), numbers.clone()].concat(), "the number of tensors"),
        ([begin(0, 4_000_000_000), numbers.clone()].concat(), "the number of names"),
        (named(8, &u64::MAX.to_le_bytes()), "more than the"),
        (named(9, &many(8, 3_000_000_000)), "more than the"),
        (named(9, &many(6, u64::MAX / 2)), "more than the"),
        (named(9, &many(9, 2)), "a list of type 9"),
        (named(77, &[0; 8]), "of type 77"),
        (named(7, &[9]), "should be 0 or 1"),
        (
            [
                begin(0, 2),
                text("x"),
                0u32.to_le_bytes().to_vec(),
                vec![1],
                text("x"),
                0u32.to_le_bytes().to_vec(),
                vec![1],
                numbers.clone(),
            ]
            .concat(),
            "x is there twice",
        ),
        (of(&[tensor("w", &[4, 2], 0, 1 << 62)]), "leave the file"),
        (of(&[tensor("w", &[4, 2], 0, u64::MAX - 31)]), "leave the file"),
        (of(&[tensor("w", &[u64::MAX, u64::MAX], 0, 0)]), "leave the file"),
        (of(&[tensor("w", &[4, 2], 0, 8)]), "isn't a multiple of 32"),
        (of(&[tensor("w", &[33], 2, 0)]), "aren't whole blocks of 32"),
        (of(&[tensor("w", &[4, 2], 99, 0)]), "of type 99"),
        (of(&[tensor("w", &[1; 5], 0, 0)]), "has 5 axes"),
        (of(&[tensor("w", &[4, 2], 0, 0), tensor("v", &[4, 2], 0, 0)]), "share bytes"),
    ];
    for (bytes, said) in cases {
        let path = folder.write("lie.gguf", &bytes);
        let (most, error) = held(|| LanguageModel::open(&path).unwrap_err().to_string());
        assert!(error.contains(said) && error.contains("lie.gguf"), "{said}: {error}");
        assert!(most < ROOM, "{said}: {most}");
    }
    let big_endian = [b"GGUF".as_slice(), &3u32.to_be_bytes(), &[0; 64]].concat();
    let error = LanguageModel::open(folder.write("big.gguf", &big_endian)).unwrap_err().to_string();
    assert!(error.contains("big-endian"), "{error}");
}

/// A name with a whole number, or one in single precision.
fn whole(name: &str, value: u32) -> Vec<u8> {
    [text(name), 4u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
}

fn single(name: &str, value: f32) -> Vec<u8> {
    [text(name), 6u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
}

/// A Llama of one block with 32 features and so many pieces, which says these names too. All its numbers are 0, but tensors that are given
/// as their names, sizes, types and bytes.
fn llama(pieces: u64, names: &[Vec<u8>], given: &[(&str, &[u64], u32, &[u8])]) -> Vec<u8> {
    deep_llama(1, pieces, names, given)
}

/// The same of so many blocks.
fn deep_llama(blocks: u32, pieces: u64, names: &[Vec<u8>], given: &[(&str, &[u64], u32, &[u8])]) -> Vec<u8> {
    let mut names = names.to_vec();
    names.push([text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("llama")].concat());
    for (name, value) in [
        ("context_length", 64),
        ("embedding_length", 32),
        ("block_count", blocks),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
    ] {
        names.push(whole(&format!("llama.{name}"), value));
    }
    let embedding = [32, pieces];
    let around: [(&str, &[u64]); 3] =
        [("token_embd.weight", &embedding), ("output.weight", &embedding), ("output_norm.weight", &[32])];
    let of_a_block: [(&str, &[u64]); 9] = [
        ("attn_norm", &[32]),
        ("attn_q", &[32, 32]),
        ("attn_k", &[32, 32]),
        ("attn_v", &[32, 32]),
        ("attn_output", &[32, 32]),
        ("ffn_norm", &[32]),
        ("ffn_gate", &[32, 64]),
        ("ffn_up", &[32, 64]),
        ("ffn_down", &[64, 32]),
    ];
    let block = |block: u32| of_a_block.map(|(name, sizes)| (format!("blk.{block}.{name}.weight"), sizes));
    let around = around.map(|(name, sizes)| (name.to_string(), sizes));
    let plain = around.into_iter().chain((0..blocks).flat_map(block));
    let (mut tensors, mut numbers) = (Vec::new(), Vec::new());
    let mut put = |name: &str, sizes: &[u64], kind: u32, bytes: &[u8]| {
        tensors.push(tensor(name, sizes, kind, numbers.len() as u64));
        numbers.extend(bytes);
        numbers.resize(numbers.len().next_multiple_of(32), 0);
    };
    for (name, sizes) in plain {
        if given.iter().all(|(given, ..)| *given != name) {
            put(&name, sizes, 0, &vec![0; 4 * sizes.iter().product::<u64>() as usize]);
        }
    }
    given.iter().for_each(|(name, sizes, kind, bytes)| put(name, sizes, *kind, bytes));
    let head = [begin(tensors.len() as u64, names.len() as u64), names.concat(), tensors.concat()].concat();
    let start = head.len().next_multiple_of(32);
    [head.clone(), vec![0; start - head.len()], numbers].concat()
}

#[test]
fn what_a_file_says_of_its_model_is_held_against_its_tensors_first() {
    let _turn = turn();
    let folder = Folder::new("gguf-says");
    let factors: (&str, &[u64], u32, &[u8]) = ("rope_freqs.weight", &[8], 0, &[0; 32]);
    let kind =
        |kind: &str| [text("llama.rope.scaling.type"), 8u32.to_le_bytes().to_vec(), text(kind)].concat();
    let width = whole("llama.attention.key_length", (1 << 31) - 2);
    let cases = [
        (llama(4, &[width], &[factors]), "a way that isn't Llama 3's"),
        (llama(4, &[whole("llama.rope.dimension_count", 64)], &[]), "64 of 16 features"),
        (llama(4, &[single("llama.rope.freq_base", f32::NAN)], &[]), "llama.rope.freq_base is NaN"),
        (llama(4, &[single("llama.rope.freq_base", f32::INFINITY)], &[]), "llama.rope.freq_base is inf"),
        (llama(4, &[single("llama.attention.layer_norm_rms_epsilon", f32::NAN)], &[]), "rms_epsilon is NaN"),
        (llama(4, &[kind("yarn")], &[]), "llama.rope.scaling.type is yarn"),
        (llama(4, &[kind("llama3")], &[]), "llama.rope.scaling.type is llama3"),
        (llama(0, &[], &[]), "token_embd.weight has no rows"),
    ];
    for (bytes, said) in cases {
        let path = folder.write("says.gguf", &bytes);
        let (most, error) = held(|| LanguageModel::open(&path).unwrap_err().to_string());
        assert!(error.contains(said) && error.contains("says.gguf"), "{said}: {error}");
        assert!(most < ROOM, "{said}: {most}");
    }
    let zeroth = [b"GGUF".as_slice(), &[0; 68]].concat();
    let error = LanguageModel::open(folder.write("zeroth.gguf", &zeroth)).unwrap_err().to_string();
    assert!(error.contains("it is of version 0; kiln reads 2 and 3"), "{error}");
}

#[test]
fn a_vector_in_blocks_is_unpacked() {
    let _turn = turn();
    let folder = Folder::new("gguf-vector");
    // A block of Q8_0: its scale, 0.5 in 16 bits, and whole numbers.
    let block: Vec<u8> = [0x00, 0x38].into_iter().chain((0..32).map(|at| (at as i8 - 16) as u8)).collect();
    let bytes = llama(4, &[], &[("output_norm.weight", &[32], 8, &block)]);
    let model = LanguageModel::open(folder.write("vector.gguf", &bytes)).unwrap();
    let (_, norm) =
        model.decoder().parameters().into_iter().find(|(path, _)| path.starts_with("norm.")).unwrap();
    let wanted: Vec<f32> = (0..32).map(|at| (at as f32 - 16.0) / 2.0).collect();
    assert_eq!(norm.value().unwrap(), Data::F32(wanted));
}

#[test]
fn weights_of_a_folder_are_held_once() {
    let _turn = turn();
    let folder = Folder::new("gguf-once");
    let model = LanguageModel::open(folder.write("deep.gguf", deep_llama(128, 4, &[], &[]))).unwrap();
    model.save(folder.at("saved")).unwrap();
    drop(model);
    let bytes = std::fs::metadata(folder.at("saved/model.safetensors")).unwrap().len() as usize;
    let (most, model) = held(|| LanguageModel::open(folder.at("saved")).unwrap());
    assert_eq!(model.decoder().parameters().len(), 128 * 9 + 3);
    assert!(most < bytes + bytes / 2, "{most} of {bytes}");
}

#[test]
fn pieces_whose_merges_are_many_times_the_file_are_refused() {
    let _turn = turn();
    let folder = Folder::new("gguf-merges");
    // Each piece is made of all shorter ones in as many ways as it is long.
    let tokens: Vec<String> = (1..500).map(|length| "a".repeat(length)).collect();
    let list = |kind: u32, count: usize| {
        [9u32.to_le_bytes().as_slice(), &kind.to_le_bytes(), &(count as u64).to_le_bytes()].concat()
    };
    let names = [
        [text("tokenizer.ggml.model"), 8u32.to_le_bytes().to_vec(), text("llama")].concat(),
        [
            text("tokenizer.ggml.tokens"),
            list(8, tokens.len()),
            tokens.iter().flat_map(|token| text(token)).collect(),
        ]
        .concat(),
        [text("tokenizer.ggml.scores"), list(6, tokens.len()), vec![0; 4 * tokens.len()]].concat(),
    ];
    let bytes = llama(tokens.len() as u64, &names, &[]);
    let path = folder.write("merges.gguf", &bytes);
    let (most, model) = held(|| LanguageModel::open(&path).unwrap());
    assert!(model.no_pieces().contains("--limit bytes="), "{}", model.no_pieces());
    assert!(most < ROOM + 1000 * bytes.len(), "{most}");
}
