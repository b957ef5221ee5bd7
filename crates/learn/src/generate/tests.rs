//! Texts that go on: as they do without a cache, alone as side by side, and as all texts that there are say is likeliest.

use kiln_data::{Cut, Tokens};
use kiln_nn::Sequential;

use super::*;
use crate::Model;
use crate::model::{About, Task};
use crate::preparation::TextPreparation;
use crate::presets::{PRESETS, Suits, layers};

const WINDOW: usize = 16;
const TEXT: &str = "the cat sat on the mat, and the rat sat on the hat.\n";

/// A model of texts that learned nothing: its answers are as good as any to compare.
fn untrained(text: &str, tokens: Tokens) -> Predictor {
    let layers = text.replace("PIECES", &tokens.count().to_string()).parse::<Sequential>().unwrap().seed(5);
    let preparation = TextPreparation::new(tokens, WINDOW);
    let task = Task::Text { pieces: preparation.tokens.count() };
    let about = About::new(&layers, &preparation.form(), task).unwrap();
    Predictor::new(Model::new(layers, about).with_preparation(preparation).unwrap()).unwrap()
}

fn characters() -> Tokens {
    Tokens::fit(TEXT, Cut::Characters, 100).unwrap()
}

/// What a model goes on with that always sees its last window again.
fn by_windows(predictor: &Predictor, prompt: &str, options: &GenerateOptions) -> Vec<u32> {
    let tokens = &predictor.model().about().texts().unwrap().tokens;
    let (mut codes, mut rng) = (tokens.encode(prompt), Rng::new(options.seed));
    for _ in 0..options.tokens {
        let logits = predictor.predict_next(&codes).unwrap().scores().map(f64::from).collect();
        codes.push(options.sampling().draw(logits, &codes, tokens.unknown(), &mut rng).unwrap());
    }
    codes.split_off(tokens.encode(prompt).len())
}

/// The presets for texts, of so many pieces.
fn presets(pieces: usize) -> impl Iterator<Item = (&'static str, String)> {
    let all = PRESETS.iter().filter(|preset| preset.suits.contains(&Suits::Texts));
    all.map(move |preset| (preset.name, layers(preset.name, Suits::Texts, &[WINDOW], pieces).unwrap()))
}

fn generated(predictor: &Predictor, prompt: &str, options: &GenerateOptions) -> Vec<u32> {
    let mut generation = predictor.generate(prompt, options).unwrap();
    generation.by_ref().for_each(|added| drop(added.unwrap()));
    generation.codes().to_vec()
}

#[test]
fn every_preset_goes_on_with_a_cache_as_without() {
    let tokens = characters();
    let mut names = Vec::new();
    for (name, text) in presets(tokens.count()) {
        let predictor = untrained(&text, tokens.clone());
        let next = Next::new(&predictor.speaker().unwrap(), 1, WINDOW);
        assert!(matches!(next, Next::Cached(_)), "{name} has no cache");
        let options = GenerateOptions::new().tokens(WINDOW - 3).temperature(1.0);
        assert_eq!(generated(&predictor, "the", &options), by_windows(&predictor, "the", &options), "{name}");
        // Further than the window, and from more than a window.
        let long = GenerateOptions::new().tokens(3 * WINDOW);
        assert_eq!(generated(&predictor, TEXT, &long).len(), 3 * WINDOW, "{name}");
        names.push(name);
    }
    assert!(names.len() >= 4, "{names:?}");
    // One that looks ahead sees its last window again and again.
    let ahead = untrained("embedding PIECES 8, transformer 2, dense PIECES, transpose", tokens);
    assert!(matches!(Next::new(&ahead.speaker().unwrap(), 1, WINDOW), Next::Windows(..)));
    let options = GenerateOptions::new().tokens(5);
    assert_eq!(generated(&ahead, "the", &options), by_windows(&ahead, "the", &options));
}

#[test]
fn texts_go_on_side_by_side_as_each_alone() {
    let tokens = characters();
    let prompts = ["the cat", "a", "", "on the mat, and the rat sat on", TEXT];
    for (name, text) in presets(tokens.count()) {
        let predictor = untrained(&text, tokens.clone());
        let options = GenerateOptions::new().tokens(2 * WINDOW).temperature(1.0).top_k(9).stop("z").seed(3);
        let many = predictor.generate_many(&prompts, &options).unwrap();
        let alone = prompts.map(|prompt| predictor.generate(prompt, &options).unwrap().text().unwrap());
        assert_eq!(many, alone, "{name}");
    }
}

#[test]
fn a_search_with_enough_beams_finds_the_likeliest_text_of_all() {
    // Four pieces besides the unknown one: 64 texts of three.
    let tokens = Tokens::fit("aabbccdd", Cut::Characters, 4).unwrap();
    let predictor = untrained("embedding PIECES 8, gru 12, dense PIECES, transpose", tokens.clone());
    let prompt = tokens.encode("ab");
    let log_probability = |codes: &[u32]| -> f64 {
        (prompt.len()..codes.len())
            .map(|at| {
                let logits: Vec<f64> =
                    predictor.predict_next(&codes[..at]).unwrap().scores().map(f64::from).collect();
                let all: f64 = logits[1..].iter().map(|logit| logit.exp()).sum();
                logits[codes[at] as usize] - all.ln()
            })
            .sum()
    };
    let mut all: Vec<(f64, Vec<u32>)> = (0..64u32)
        .map(|number| {
            let added = [1 + number % 4, 1 + number / 4 % 4, 1 + number / 16];
            (log_probability(&[&prompt[..], &added].concat()), added.to_vec())
        })
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let found = |beams: usize| generated(&predictor, "ab", &GenerateOptions::new().tokens(3).beams(beams));
    assert_eq!(found(16), all[0].1);
    let likeliest = GenerateOptions::new().tokens(3).temperature(0.0);
    assert_eq!(generated(&predictor, "ab", &likeliest), by_windows(&predictor, "ab", &likeliest));
    // What ends a text is found on the way.
    let first = tokens.decode(&all[0].1[..2]);
    let options = GenerateOptions::new().tokens(3).beams(16).stop(first);
    let mut search = predictor.generate("ab", &options).unwrap();
    let text: String = search.by_ref().map(Result::unwrap).collect();
    assert!(text.len() < 3 && search.stopped() == Some(Stopped::Text), "{text:?}");
}

#[test]
fn a_score_is_the_sum_over_pieces_that_each_have_half_a_window_before_them() {
    let tokens = characters();
    let predictor = untrained("embedding PIECES 8, gru 12, dense PIECES, transpose", tokens.clone());
    for text in ["th", "the cat sat", &TEXT[..WINDOW], &TEXT[..=WINDOW], TEXT] {
        let codes = tokens.encode(text);
        let mut nats = 0.0;
        for at in 1..codes.len() {
            // A place in the second half of the window before it, or in the first window.
            let from =
                if at <= WINDOW { 0 } else { (at - WINDOW - 1) / (WINDOW / 2) * (WINDOW / 2) + WINDOW / 2 };
            let logits: Vec<f64> =
                predictor.predict_next(&codes[from..at]).unwrap().scores().map(f64::from).collect();
            let all: f64 = logits.iter().map(|logit| logit.exp()).sum();
            nats -= logits[codes[at] as usize] - all.ln();
        }
        let score = predictor.score_text(text).unwrap();
        assert_eq!((score.pieces, score.characters), (codes.len() - 1, text.chars().count() - 1));
        assert!((score.nats - nats).abs() < 1e-4 * nats, "{text}: {} instead of {nats}", score.nats);
        assert!((score.perplexity().ln() - score.nats_per_piece()).abs() < 1e-12);
    }
    assert!(predictor.score_text("t").unwrap_err().to_string().contains("longer one"));
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let predictor = untrained("embedding PIECES 8, gru 12, dense PIECES, transpose", characters());
    let plain = GenerateOptions::new;
    for (options, said) in [
        (plain().temperature(-1.0), "temperature -1"),
        (plain().temperature(f64::NAN), "temperature NaN"),
        (plain().top_p(0.0), "top-p 0"),
        (plain().min_p(1.5), "min-p 1.5"),
        (plain().repetition_penalty(0.0), "repetition penalty 0"),
        (plain().beams(0), "0 beams"),
        (plain().beams(1000), "1000 beams"),
        (plain().stop(""), "empty text"),
    ] {
        let error = predictor.generate("the", &options).map(drop).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(predictor.generate_many(&["the"], &options).is_err());
    }
}
