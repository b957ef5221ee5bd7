//! What a model of sequences must be able to learn: to copy what it read, and to add numbers that it reads as text. Each model sees
//! examples and is asked others, which it must answer without a mistake in any character. And a small GPT must come as far in a fixed number of
//! steps as such a model does.

use std::collections::HashSet;

use kiln::data::{Cut, Rng, Tokens, Windows};
use kiln::models::{Decoder, DecoderConfig};
use kiln::prelude::*;
use kiln::schedule::{Cosine, Schedule, Warmup};

/// Gives a text of a generator's.
type Drawn = Box<dyn Fn(&mut Rng) -> Vec<i64>>;

/// Texts of one length that are questions and answers, as codes.
struct Texts {
    pieces: usize,
    length: usize,
    /// How many of the codes are the question.
    question: usize,
    /// What is learnt from, drawn with a generator.
    drawn: Drawn,
    /// What is asked.
    unseen: Vec<Vec<i64>>,
}

/// The layers of each kind of model, from codes to a score of each piece, and the rate they are taught at.
const MODELS: [(&str, &str, f64); 3] = [
    ("lstm", "embedding PIECES 32, lstm 128, dense PIECES", 4e-3),
    ("gru", "embedding PIECES 32, gru 128, dense PIECES", 4e-3),
    (
        "transformer",
        "embedding PIECES 64, positions 32, transformer 4 causal, transformer 4 causal, layer-norm, dense PIECES",
        2e-3,
    ),
];

/// Random letters, a sign, and the same letters again.
fn copies() -> Texts {
    const LETTERS: usize = 6;
    let text = |rng: &mut Rng| {
        let letters: Vec<i64> = (0..LETTERS).map(|_| rng.below(10) as i64).collect();
        [&letters[..], &[10], &letters].concat()
    };
    let mut rng = Rng::new(1);
    let unseen: Vec<Vec<i64>> = (0..400).map(|_| text(&mut rng)).collect();
    let asked: HashSet<Vec<i64>> = unseen.iter().cloned().collect();
    let drawn = move |rng: &mut Rng| loop {
        let text = text(rng);
        if !asked.contains(&text) {
            return text;
        }
    };
    Texts { pieces: 11, length: 2 * LETTERS + 1, question: LETTERS + 1, drawn: Box::new(drawn), unseen }
}

/// `47+85=132`, of two-digit numbers, with the last digit of the sum first, as one adds by hand.
fn sums() -> Texts {
    let letters: Vec<char> = "0123456789+=".chars().collect();
    let text = move |pair: usize| -> Vec<i64> {
        let (a, b) = (pair / 100, pair % 100);
        let sum: String = format!("{:03}", a + b).chars().rev().collect();
        let text = format!("{a:02}+{b:02}={sum}");
        text.chars().map(|letter| letters.iter().position(|known| *known == letter).unwrap() as i64).collect()
    };
    let mut pairs: Vec<usize> = (0..100 * 100).collect();
    let mut rng = Rng::new(2);
    for at in (1..pairs.len()).rev() {
        pairs.swap(at, rng.below(at + 1));
    }
    let seen = pairs.split_off(1000);
    let unseen = pairs.iter().map(|&pair| text(pair)).collect();
    let drawn = move |rng: &mut Rng| text(seen[rng.below(seen.len())]);
    Texts { pieces: 12, length: 9, question: 6, drawn: Box::new(drawn), unseen }
}

/// Teaches a model, and gives the share of what it was asked that it answers without a mistake.
fn right(texts: &Texts, layers: &str, rate: f64, steps: u64) -> f64 {
    const ROWS: usize = 128;
    let &Texts { pieces, length, question, .. } = texts;
    let model: Sequential = layers.replace("PIECES", &pieces.to_string()).parse().unwrap();
    // The last piece of the question foresees the first of the answer.
    let foreseen = move |model: &Sequential, context: &Context, codes: &Tensor| {
        let read = codes.narrow(1, 0, length - 1);
        model.forward(&read, context).narrow(1, question as isize - 1, length - question)
    };
    let mut step = Step::train(&model, AdamW::new(rate), move |model, context, [codes]| {
        let answer = codes.narrow(1, question as isize, length - question);
        foreseen(model, context, &codes).permute([0, 2, 1]).cross_entropy(&answer)
    });
    let schedule = Warmup::new(50, Cosine::new(steps - 50));
    let mut rng = Rng::new(3);
    for at in 0..steps {
        let codes: Vec<i64> = (0..ROWS).flat_map(|_| (texts.drawn)(&mut rng)).collect();
        step.set_rate(rate * schedule.factor(at)).unwrap();
        step.run([Input::new(&codes, &[ROWS, length])]).unwrap();
    }
    let mut best = Function::inference(&model, move |model, context, [codes]| {
        foreseen(model, context, &codes).argmax(-1)
    });
    let codes = texts.unseen.concat();
    let said = best.run([Input::new(&codes, &[texts.unseen.len(), length])]).unwrap();
    // What is foreseen of an answer from its own beginning is what would be said, as long as all of it is right.
    let said = said[0].as_slice::<i64>().unwrap().chunks(length - question);
    let exact = texts.unseen.iter().zip(said).filter(|(text, said)| text[question..] == **said).count();
    exact as f64 / texts.unseen.len() as f64
}

#[test]
fn what_was_read_is_copied() {
    let texts = copies();
    for (name, layers, rate) in MODELS {
        let right = right(&texts, layers, rate, 500);
        assert!(right >= 0.95, "{name}: {right}");
    }
}

#[test]
fn numbers_are_added_as_text() {
    let texts = sums();
    for (name, layers, rate) in MODELS {
        let steps = if name == "transformer" { 1500 } else { 1000 };
        let right = right(&texts, layers, rate, steps);
        assert!(right >= 0.95, "{name}: {right}");
    }
}

/// nanoGPT's small model, 4 blocks of 4 heads and 128 features that see 64 characters, in batches of 12, on the part that nanoGPT holds out:
/// the last tenth of Tiny Shakespeare. `cargo test --release --test learnt -- --ignored`
#[test]
#[ignore = "computes for minutes, so it wants a release build: scripts/nightly.sh runs it"]
fn a_small_gpt_comes_to_1_75_nats_a_character_in_3000_steps() {
    let Some(path) = kiln_testkit::data("tinyshakespeare.txt") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let tokens = Tokens::fit(&text, Cut::Characters, 100).unwrap();
    let windows = Windows::new(tokens.encode(&text), tokens.count(), 64).unwrap();
    let (train, valid) = windows.split(0.9).unwrap();
    let model = Decoder::new(&DecoderConfig::gpt(tokens.count(), 128, 4, 4, 64), Key::new(1));
    let optimizer = AdamW::new(3e-3).betas(0.9, 0.99).weight_decay(0.1);
    let run = Trainer::of(model, optimizer, |model, context, rows| {
        model.forward(&rows.x(), context).permute([0, 2, 1]).cross_entropy(&rows.y())
    });
    let run = run
        .batch_size(12)
        .steps(3000)
        .schedule_over(|steps| Warmup::new(100, Cosine::new(steps - 100)))
        .clip(Clip::GlobalNorm(1.0))
        .seed(1)
        .quiet()
        .fit(&train.moved())
        .unwrap();
    let loss = run.evaluate(&valid).unwrap().number("loss").unwrap();
    assert!(loss <= 1.75, "{loss}");
}
