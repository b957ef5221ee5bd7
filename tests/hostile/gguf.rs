//! Language models in GGUF files: damaged ones, and such as say what isn't there.

#![cfg(feature = "tokenizer")]

use std::path::Path;

use kiln::hub::{LanguageModel, gguf};
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

#[test]
fn pieces_whose_merges_are_many_times_the_file_are_refused() {
    let _turn = turn();
    let folder = Folder::new("gguf-merges");
    // Each piece is made of all shorter ones in as many ways as it is long.
    let tokens: Vec<String> = (1..500).map(|length| "a".repeat(length)).collect();
    let whole = good("pieces-llama.gguf");
    let mut names = vec![
        [text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("llama")].concat(),
        [text("tokenizer.ggml.model"), 8u32.to_le_bytes().to_vec(), text("llama")].concat(),
    ];
    for (name, value) in [
        ("context_length", 64u32),
        ("embedding_length", 16),
        ("block_count", 1),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
    ] {
        names.push(
            [text(&format!("llama.{name}")), 4u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()]
                .concat(),
        );
    }
    let list = |kind: u32, count: usize| {
        [9u32.to_le_bytes().as_slice(), &kind.to_le_bytes(), &(count as u64).to_le_bytes()].concat()
    };
    names.push(
        [
            text("tokenizer.ggml.tokens"),
            list(8, tokens.len()),
            tokens.iter().flat_map(|token| text(token)).collect(),
        ]
        .concat(),
    );
    names.push([text("tokenizer.ggml.scores"), list(6, tokens.len()), vec![0; 4 * tokens.len()]].concat());
    assert!(whole.starts_with(b"GGUF"));
    let mut tensors = Vec::new();
    let mut at = 0u64;
    let shapes: [(&str, &[u64]); 11] = [
        ("token_embd.weight", &[16, 499]),
        ("output.weight", &[16, 499]),
        ("output_norm.weight", &[16]),
        ("blk.0.attn_norm.weight", &[16]),
        ("blk.0.attn_q.weight", &[16, 16]),
        ("blk.0.attn_k.weight", &[16, 16]),
        ("blk.0.attn_v.weight", &[16, 16]),
        ("blk.0.attn_output.weight", &[16, 16]),
        ("blk.0.ffn_norm.weight", &[16]),
        ("blk.0.ffn_gate.weight", &[16, 32]),
        ("blk.0.ffn_up.weight", &[16, 32]),
    ];
    for (name, sizes) in shapes.into_iter().chain([("blk.0.ffn_down.weight", [32u64, 16].as_slice())]) {
        tensors.push(tensor(name, sizes, 0, at));
        at = (at + 4 * sizes.iter().product::<u64>()).next_multiple_of(32);
    }
    let head = [begin(tensors.len() as u64, names.len() as u64), names.concat(), tensors.concat()].concat();
    let bytes = [head, vec![0; at as usize + 64]].concat();
    let path = folder.write("merges.gguf", &bytes);
    let (most, model) = held(|| LanguageModel::open(&path).unwrap());
    assert!(model.no_pieces().contains("--limit bytes="), "{}", model.no_pieces());
    assert!(most < ROOM + 1000 * bytes.len(), "{most}");
}
