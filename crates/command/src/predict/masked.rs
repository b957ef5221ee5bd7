//! What a model puts in the place of masked pieces, as lines and objects.

use std::io::Write;

use anyhow::Result;
use kiln_learn::hub::MaskedPiece;
use serde_json::{Value, json};

use super::lines::shortest;
use super::texts::GivenText;
use crate::out;

/// Prints the likeliest pieces: behind each text, or a line for each of several masked ones.
pub(super) fn print_masked(
    texts: &[GivenText],
    said: Vec<Vec<Vec<MaskedPiece>>>,
    mask: &str,
    json: bool,
) -> Result<()> {
    let mut out = out::RowWriter::new();
    for (row, (text, masked)) in texts.iter().zip(said).enumerate() {
        if json {
            let masked: Vec<Value> =
                masked.iter().map(|pieces| pieces.iter().map(object).collect()).collect();
            writeln!(out, "{}", json!({ "row": row, "text": text.first(), "masked": masked }))?;
            continue;
        }
        let line = |pieces: &[MaskedPiece]| {
            let each = pieces.iter().map(|one| format!("{} {:.2} %", one.piece, 100.0 * one.probability));
            each.collect::<Vec<_>>().join("  ")
        };
        match masked.as_slice() {
            [pieces] => writeln!(out, "{}  {}", text.first(), line(pieces))?,
            several => {
                writeln!(out, "{}", text.first())?;
                for (place, pieces) in (1..).zip(several) {
                    writeln!(out, "  {mask} {place}  {}", line(pieces))?;
                }
            }
        }
    }
    Ok(out.flush()?)
}

fn object(piece: &MaskedPiece) -> Value {
    json!({ "piece": piece.piece, "probability": shortest(piece.probability.into(), 1.0) })
}
