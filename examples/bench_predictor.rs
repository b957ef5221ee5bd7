//! What an answer costs: microseconds for a row of a table from strings to its label, and rows a second by how many threads ask.
//!
//! `cargo run --release --example bench_predictor -- [--seconds 2] [--threads 1,2,8]`

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kiln::Predictor;
use kiln::data::{Choices, Rng, Table, TablePreparation};
use kiln::prelude::*;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Thirteen columns, as the heart table has them: numbers, words, some of them missing.
const COLUMNS: [&str; 13] = [
    "age",
    "sex",
    "pain",
    "pressure",
    "cholesterol",
    "sugar",
    "ecg",
    "rate",
    "angina",
    "peak",
    "slope",
    "vessels",
    "thal",
];

fn row(rng: &mut Rng) -> Vec<String> {
    let word = |rng: &mut Rng, words: &[&str]| words[rng.below(words.len())].to_string();
    let number = |rng: &mut Rng, mean: f64, spread: f64| format!("{:.0}", mean + spread * rng.normal());
    vec![
        number(rng, 54.0, 9.0),
        word(rng, &["male", "female"]),
        word(rng, &["typical", "atypical", "other", "none of these"]),
        number(rng, 130.0, 17.0),
        if rng.below(20) == 0 { String::new() } else { number(rng, 245.0, 50.0) },
        word(rng, &["yes", "no"]),
        word(rng, &["normal", "odd", "strained"]),
        number(rng, 150.0, 20.0),
        word(rng, &["yes", "no"]),
        format!("{:.1}", rng.normal().abs()),
        word(rng, &["up", "flat", "down"]),
        word(rng, &["0", "1", "2", "3"]),
        word(rng, &["normal", "fixed", "reversible", ""]),
    ]
}

/// A model of such a table. How well it answers doesn't matter here.
fn model(rng: &mut Rng) -> Result<kiln::Model> {
    let mut text = COLUMNS.join(",") + ",ill\n";
    for at in 0..300 {
        text += &(row(rng).join(",") + [",yes\n", ",no\n"][at % 2]);
    }
    let table = Table::read(text.as_bytes())?;
    let rows: Vec<usize> = (0..table.len()).collect();
    let plan = TablePreparation::fit(&table, &rows, &Choices::new().target("ill"))?;
    let layers = Sequential::new().dense(64).relu().dense(32).relu().dense(2);
    let trainer = Trainer::new(layers, CrossEntropy::new(), Adam::new(1e-3)).epochs(3).quiet();
    Ok(trainer.fit(&plan.apply(&table, &rows)?)?.with_preparation(plan)?)
}

fn main() -> Result {
    let (mut seconds, mut threads) = (2.0, vec![1, 2, 8]);
    let mut rest = std::env::args().skip(1);
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--seconds" => seconds = value.parse()?,
            "--threads" => {
                threads = value.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?
            }
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    let mut rng = Rng::new(1);
    let predictor = Predictor::new(model(&mut rng)?)?;
    predictor.warm_up()?;
    let rows: Vec<Vec<String>> = (0..1000).map(|_| row(&mut rng)).collect();
    let ask = |at: usize| predictor.predict_row(COLUMNS.iter().zip(&rows[at % rows.len()]));

    let mut times = Vec::new();
    let began = Instant::now();
    for at in 0.. {
        let start = Instant::now();
        ask(at)?;
        times.push(start.elapsed());
        if began.elapsed() > Duration::from_secs_f64(seconds) {
            break;
        }
    }
    times.sort_unstable();
    let micros = |share: f64| times[(share * (times.len() - 1) as f64) as usize].as_secs_f64() * 1e6;
    println!("a row from strings to label: {:.2} µs (median), {:.2} µs (99 %)", micros(0.5), micros(0.99));

    for count in threads {
        let (is_over, began) = (AtomicBool::new(false), Instant::now());
        let asked: Result<usize> = std::thread::scope(|scope| {
            let asks: Vec<_> = (0..count)
                .map(|first| {
                    let (is_over, ask) = (&is_over, &ask);
                    scope.spawn(move || {
                        let mut done = 0;
                        while !is_over.load(Ordering::Relaxed) {
                            ask(first * 97 + done)?;
                            done += 1;
                        }
                        Ok::<usize, kiln::Error>(done)
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_secs_f64(seconds));
            is_over.store(true, Ordering::Relaxed);
            let done = asks.into_iter().map(|ask| Ok(ask.join().map_err(|_| "a thread panicked")??));
            done.sum()
        });
        println!("{count} threads: {:.0} rows/s", asked? as f64 / began.elapsed().as_secs_f64());
    }
    let all = || rows.iter().map(|row| COLUMNS.iter().zip(row));
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < Duration::from_secs_f64(seconds) {
        done += predictor.predict_rows(all())?.len();
    }
    println!("{} rows at once: {:.0} rows/s", rows.len(), done as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
