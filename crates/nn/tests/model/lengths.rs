//! Sequences of differing lengths: what is said of one is the same to the bit alone, among others, and with any padding behind it.

use std::collections::BTreeSet;

use kiln_ir::DType;
use kiln_nn::sequential::words;
use kiln_nn::{Context, Key, Layer, Sequential, Tensor};

const PIECES: usize = 9;
const LENGTHS: [usize; 5] = [7, 3, 1, 5, 0];

/// The codes of each sequence.
fn codes(row: usize) -> Vec<i64> {
    (0..LENGTHS[row]).map(|at| ((row * 5 + at * 3 + 1) % PIECES) as i64).collect()
}

/// Some sequences as a tensor, filled up to so many steps.
fn padded(rows: &[usize], steps: usize) -> Tensor {
    let mut all = Vec::new();
    for &row in rows {
        let mut own = codes(row);
        own.resize(steps, -1);
        all.extend(own);
    }
    Tensor::new(all, [rows.len(), steps])
}

/// The bits of each row's output, of its own steps where `per_step` says in which axis they are.
fn bits(
    layers: &Sequential,
    rows: &[usize],
    steps: usize,
    axis: Option<isize>,
) -> Result<Vec<Vec<u32>>, String> {
    let y = layers.forward(&padded(rows, steps), &Context::inference());
    if let Some(error) = y.error() {
        return Err(error.to_string());
    }
    let of_row = |(place, &row): (usize, &usize)| {
        let own = y.narrow(0, place as isize, 1);
        let own = match axis {
            // A layer may have left one of all steps.
            Some(axis) if own.rank() > 2 => own.narrow(axis, 0, LENGTHS[row]),
            _ => own,
        };
        own.cast(DType::F32).to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    Ok(rows.iter().enumerate().map(of_row).collect())
}

/// Whether the answers are the same alone and among others, with none, little and much padding; nothing where the layers refuse padding.
fn is_same(text: &str, axis: Option<isize>) -> Option<bool> {
    let layers: Sequential = text.parse().ok()?;
    let layers = layers.seed(5);
    let all = [0, 1, 2, 3, 4];
    let together = bits(&layers, &all, 7, axis).ok()?;
    // As many places as are learnt.
    let steps = if text.contains("positions 8") { 8 } else { 24 };
    let more = bits(&layers, &[4, 2, 0, 1], steps, axis).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut same = more == [4, 2, 0, 1].map(|row| together[row].clone());
    for row in 0..4 {
        // Alone there is nothing behind it.
        let alone =
            bits(&layers, &[row], LENGTHS[row], axis).unwrap_or_else(|error| panic!("{text}: {error}"));
        same &= alone[0] == together[row];
    }
    Some(same)
}

#[test]
fn padding_changes_no_bit_behind_any_layer() {
    let (mut went, mut wrong) = (BTreeSet::new(), Vec::new());
    for word in words() {
        for &(_, layer) in word.examples {
            for turn in ["", ", transpose"] {
                for (end, axis) in
                    [("", Some(1)), (", mean-over-time", None), (", max-over-time", None), (", last", None)]
                {
                    let back = if axis.is_some() && turn.is_empty() { "" } else { turn };
                    let text = format!("embedding {PIECES} 8 padded{turn}, {layer}{back}, dense 4{end}");
                    match is_same(&text, axis) {
                        Some(true) => drop(went.insert(word.word)),
                        Some(false) => wrong.push(text),
                        None => {}
                    }
                }
                if !turn.is_empty() {
                    for pool in ["global-pool", "global-avg-pool"] {
                        let text = format!("embedding {PIECES} 8 padded{turn}, {layer}, {pool}, dense 3");
                        match is_same(&text, None) {
                            Some(true) => drop(went.insert(word.word)),
                            Some(false) => wrong.push(text),
                            None => {}
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for word in [
        "lstm",
        "gru",
        "rnn",
        "attention",
        "transformer",
        "decoder",
        "conv",
        "dense",
        "layer-norm",
        "dropout",
    ] {
        assert!(went.contains(word), "{word} isn't among {went:?}");
    }
}

#[test]
fn rows_of_layers_know_where_sequences_end_through_all_branches() {
    for (text, axis) in [
        ("residual(gru 8 bidirectional, dense 8), mean-over-time", None),
        ("sum(lstm 6 bidirectional; dense 12), last", None),
        ("transpose, parallel(conv 4 3 padding same; conv 4 5 padding same), relu, global-pool", None),
        ("parallel(mean-over-time; max-over-time)", None),
        ("sinusoidal-positions, transformer 2, transformer 4, layer-norm, dense 3", Some(1)),
        ("lstm 5 bidirectional layers 2, dense 3", Some(1)),
    ] {
        let text = format!("embedding {PIECES} 8 padded, {text}");
        assert_eq!(is_same(&text, axis), Some(true), "{text}");
    }
}

/// The means of a sequence's own steps, computed by hand.
#[test]
fn what_is_said_is_of_the_steps_that_are_there() {
    let layers: Sequential = format!("embedding {PIECES} 3 padded, mean-over-time").parse().unwrap();
    let y = layers.forward(&padded(&[1, 4], 6), &Context::inference()).to_vec::<f32>().unwrap();
    let (_, table) = kiln_nn::Module::parameters(&layers).remove(0);
    let table = table.tensor().to_vec::<f32>().unwrap();
    for column in 0..3 {
        let own: f32 = codes(1).iter().map(|&code| table[code as usize * 3 + column]).sum::<f32>() / 3.0;
        assert!((y[column] - own).abs() < 1e-6);
        assert_eq!(y[3 + column], 0.0);
    }
    let bidirectional = format!("embedding {PIECES} 3 padded, gru 4 bidirectional");
    let layers: Sequential = bidirectional.parse().unwrap();
    let y = layers.forward(&padded(&[1], 6), &Context::inference());
    // Backwards the walk begins at the sequence's end, as it does without padding.
    let plain = layers.forward(&padded(&[1], 3), &Context::inference());
    assert_eq!(y.narrow(1, 0, 3).to_vec::<f32>().unwrap(), plain.to_vec::<f32>().unwrap());
}

#[test]
fn a_layer_that_would_mix_padding_in_says_so() {
    for (layers, says) in [
        ("flatten, dense 3", "flatten"),
        ("transpose, pool 2, global-pool", "pool"),
        ("transpose, conv 4 3, global-pool", "convolution"),
        ("batch-norm, mean-over-time", "norm"),
        ("transpose, dense 4", "know where sequences end"),
        ("sum(mean-over-time; dense 8)", "parallel row"),
    ] {
        let text = format!("embedding {PIECES} 8 padded, {layers}");
        let layers: Sequential = text.parse().unwrap();
        let error = layers.forward(&padded(&[0, 1], 8), &Context::inference()).error();
        let error = error.unwrap_or_else(|| panic!("{text} isn't refused")).to_string().to_lowercase();
        assert!(error.contains(says) && error.contains("differ in length"), "{text}: {error}");
    }
    let error = kiln_nn::Embedding::new(4, 2, Key::new(1))
        .padded()
        .forward(&Tensor::new(vec![1i64; 8], [2, 2, 2]), &Context::inference())
        .error()
        .unwrap();
    assert!(error.to_string().contains("[batch, steps]"), "{error}");
}

#[test]
fn a_second_pass_in_the_same_context_has_lengths_of_its_own() {
    for text in [
        "embedding 9 4 padded, gru 5 bidirectional",
        "embedding 9 4 padded, gru 5 bidirectional, mean-over-time, dense 2",
        "embedding 9 8 padded, transformer 2",
        "embedding 9 4 padded, transpose, conv 3 3 padding same, transpose",
    ] {
        let layers: Sequential = text.parse().unwrap();
        let layers = layers.seed(5);
        let alone = |rows: &[usize], steps: usize| {
            layers
                .forward(&padded(rows, steps), &Context::inference())
                .cast(DType::F32)
                .to_vec::<f32>()
                .unwrap()
        };
        let context = Context::inference();
        for (rows, steps) in [(&[0, 1][..], 7), (&[3, 2, 1], 5), (&[1], 3), (&[0], 9)] {
            let again =
                layers.forward(&padded(rows, steps), &context).cast(DType::F32).to_vec::<f32>().unwrap();
            assert_eq!(again, alone(rows, steps), "{text}");
        }
        // Rows of numbers behind sequences aren't these sequences.
        let numbers: Sequential = "dense 4, batch-norm, relu".parse().unwrap();
        let y = numbers.forward(&Tensor::ones([2, 3]), &context);
        assert!(y.error().is_none(), "{text}: {:?}", y.error());
    }
}
