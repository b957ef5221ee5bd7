//! How fast a tokenizer is: `cargo run --release --example bench_tokenizer -- tokenizer.json text.txt`.

use std::time::Instant;

use kiln::data::{Tokenizer, read_text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("name a tokenizer.json and a text".into());
    };
    let began = Instant::now();
    let tokenizer = Tokenizer::read(&file)?;
    let read = began.elapsed();
    let text = read_text(&text)?;
    // The best of some runs: what the machine does besides only makes it slower.
    let mut best = f64::INFINITY;
    let mut codes = 0;
    for _ in 0..7 {
        let began = Instant::now();
        codes = tokenizer.encode(&text)?.codes.len();
        best = best.min(began.elapsed().as_secs_f64());
    }
    println!(
        "{file}: read in {:.0} ms, {codes} codes, {:.1} MB/s",
        read.as_secs_f64() * 1e3,
        text.len() as f64 / 1e6 / best
    );
    Ok(())
}
