//! A text that goes on, piece by piece.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use kiln_learn::Predictor;
use kiln_learn::data::Rng;
use kiln_learn::preparation::TextPreparation;
use serde_json::json;

use super::PredictFlags;
use crate::{out, rows};

/// Lets a text go on: again and again the last window through the model, and one more piece drawn.
pub(super) fn generate(predictor: &Predictor, text: &TextPreparation, flags: &PredictFlags) -> Result<()> {
    let prompt = match (&flags.prompt, flags.inputs.as_slice()) {
        (Some(prompt), _) => prompt.clone(),
        (None, []) => "\n".to_string(),
        (None, [input]) if input.as_os_str() == "-" => {
            String::from_utf8(rows::standard_input()?).context("the standard input isn't UTF-8")?
        }
        (None, [input]) => kiln_learn::data::read_text(input)?,
        (None, _) => bail!("one text at a time"),
    };
    let tokens = &text.tokens;
    let mut codes = tokens.encode(&prompt);
    let mut rng = Rng::new(flags.seed);
    let first = codes.len();
    let mut out = out::RowWriter::new();
    let mut shown = 0;
    for _ in 0..flags.length {
        let next = predictor.predict_next(&codes)?;
        let own: Vec<f64> = next.scores().map(f64::from).collect();
        codes.push(drawn(&own, flags.temperature, &mut rng));
        // A piece may be half a character: it is shown when the rest is there.
        let text = tokens.decode(&codes);
        let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER).len();
        if !flags.json && whole > shown {
            write!(out, "{}", &text[shown..whole])?;
            out.flush()?;
            shown = whole;
        }
    }
    match flags.json {
        true => writeln!(out, "{}", json!({ "prompt": prompt, "text": tokens.decode(&codes[first..]) }))?,
        false => writeln!(out, "{}", &tokens.decode(&codes)[shown..])?,
    }
    Ok(())
}

/// A piece drawn by its logit; the first, which stands for what isn't known, never.
fn drawn(logits: &[f64], temperature: f64, rng: &mut Rng) -> u32 {
    let most = logits.iter().skip(1).copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |logit: f64| match temperature > 0.0 {
        true => libm::exp((logit - most) / temperature),
        false => f64::from(u8::from(logit == most)),
    };
    let weights: Vec<f64> = logits.iter().skip(1).map(|&logit| weight(logit)).collect();
    let mut place = rng.uniform() * weights.iter().sum::<f64>();
    for (at, weight) in weights.iter().enumerate() {
        place -= weight;
        if place <= 0.0 {
            return at as u32 + 1;
        }
    }
    logits.len() as u32 - 1
}
