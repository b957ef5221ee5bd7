//! kiln's own pieces of every kind as tokenizers, with their codes for texts: `scripts/tokenizers.sh` has the library that reads such
//! files come to the same codes.
//!
//! `cargo run --release --example tokenizer_pieces -- CASES FOLDER`, where CASES is a JSON list of objects with a `text`.

use std::path::Path;

use kiln::data::{Cut, Tokens};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(cases), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("name a file of texts and a folder".into());
    };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(cases)?)?;
    let texts: Vec<&str> = cases.iter().filter_map(|case| case["text"].as_str()).collect();
    for cut in [Cut::Characters, Cut::Bytes, Cut::Words, Cut::Merged] {
        let tokens = Tokens::fit(&texts.concat(), cut, 600)?;
        let codes: Vec<(&str, Vec<u32>)> = texts.iter().map(|text| (*text, tokens.encode(text))).collect();
        let place = |kind: &str| Path::new(&folder).join(format!("{cut:?}.{kind}"));
        std::fs::write(place("own.json"), tokens.to_tokenizer_json())?;
        std::fs::write(place("codes"), serde_json::to_vec(&codes)?)?;
    }
    Ok(())
}
