//! The text form of the layers for sequences, both ways: `lstm 64 layers 2 bidirectional`, `transformer 4 causal`.

use std::fmt;

use kiln_ir::Result;

use super::Spec;
use super::spec::Cell;
use super::text::Settings;
use crate::layers::{OverTime, RecurrentOptions, TransformerOptions};

/// The words they begin with.
pub(super) const WORDS: [&str; 10] = [
    "lstm",
    "gru",
    "rnn",
    "attention",
    "transformer",
    "positions",
    "sinusoidal-positions",
    "last",
    "mean-over-time",
    "max-over-time",
];

pub(super) fn write_recurrent(
    f: &mut fmt::Formatter<'_>,
    cell: Cell,
    hidden: usize,
    options: &RecurrentOptions,
) -> fmt::Result {
    let (word, relu) = match cell {
        Cell::Lstm => ("lstm", ""),
        Cell::Gru => ("gru", ""),
        Cell::Rnn => ("rnn", ""),
        Cell::RnnRelu => ("rnn", " relu"),
    };
    write!(f, "{word} {hidden}{relu}")?;
    if options.layers != 1 {
        write!(f, " layers {}", options.layers)?;
    }
    f.write_str(if options.bidirectional { " bidirectional" } else { "" })?;
    write_dropout(f, options.dropout)?;
    f.write_str(if options.bias { "" } else { " no-bias" })
}

pub(super) fn write_transformer(
    f: &mut fmt::Formatter<'_>,
    heads: usize,
    options: &TransformerOptions,
) -> fmt::Result {
    write!(f, "transformer {heads}")?;
    if let Some(features) = options.feedforward {
        write!(f, " feedforward {features}")?;
    }
    f.write_str(if options.causal { " causal" } else { "" })?;
    f.write_str(if options.post_norm { " post-norm" } else { "" })?;
    f.write_str(if options.relu { " relu" } else { "" })?;
    write_dropout(f, options.dropout)
}

pub(super) fn write_dropout(f: &mut fmt::Formatter<'_>, probability: f64) -> fmt::Result {
    match probability == 0.0 {
        true => Ok(()),
        false => write!(f, " dropout {probability}"),
    }
}

pub(super) fn over_time(over: OverTime) -> &'static str {
    match over {
        OverTime::Last => "last",
        OverTime::Mean => "mean-over-time",
        OverTime::Max => "max-over-time",
    }
}

/// The layer that a word of [`WORDS`] begins; none for any other.
pub(super) fn spec(word: &str, s: &mut Settings) -> Result<Option<Spec>> {
    Ok(Some(match word {
        "lstm" | "gru" | "rnn" => {
            let relu = word == "rnn" && s.flag("relu");
            let cell = match word {
                "lstm" => Cell::Lstm,
                "gru" => Cell::Gru,
                _ if relu => Cell::RnnRelu,
                _ => Cell::Rnn,
            };
            let options = RecurrentOptions {
                layers: s.named_number("layers")?.unwrap_or(1),
                bidirectional: s.flag("bidirectional"),
                dropout: s.named_probability("dropout")?,
                bias: !s.flag("no-bias"),
            };
            Spec::Recurrent { cell, hidden: s.number("the size of its state")?, options }
        }
        "attention" => {
            let (causal, dropout) = (s.flag("causal"), s.named_probability("dropout")?);
            Spec::Attention { heads: s.number("the heads")?, causal, dropout }
        }
        "transformer" => {
            let options = TransformerOptions {
                feedforward: s.named_number("feedforward")?,
                causal: s.flag("causal"),
                post_norm: s.flag("post-norm"),
                relu: s.flag("relu"),
                dropout: s.named_probability("dropout")?,
            };
            Spec::Transformer { heads: s.number("the heads")?, options }
        }
        "positions" => Spec::Positions(s.number("the steps")?),
        "sinusoidal-positions" => Spec::SinusoidalPositions,
        "last" => Spec::OverTime(OverTime::Last),
        "mean-over-time" => Spec::OverTime(OverTime::Mean),
        "max-over-time" => Spec::OverTime(OverTime::Max),
        _ => return Ok(None),
    }))
}
