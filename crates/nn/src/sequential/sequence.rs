//! The text form of the layers for sequences, both ways: `lstm 64 layers 2 bidirectional`, `transformer 4 causal`.

use std::fmt;

use kiln_ir::Result;

use super::Spec;
use super::spec::Cell;
use super::text::Settings;
use crate::layers::{OverTime, RecurrentOptions, TransformerOptions};

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

/// A recurrent layer, of what follows its word.
pub(super) fn recurrent(s: &mut Settings, cell: Cell) -> Result<Spec> {
    let options = RecurrentOptions {
        layers: s.named_number("layers")?.unwrap_or(1),
        bidirectional: s.flag("bidirectional"),
        dropout: s.named_probability("dropout")?,
        bias: !s.flag("no-bias"),
    };
    Ok(Spec::Recurrent { cell, hidden: s.number("the size of its state")?, options })
}

/// A transformer's block, of what follows its word.
pub(super) fn transformer(s: &mut Settings) -> Result<Spec> {
    let options = TransformerOptions {
        feedforward: s.named_number("feedforward")?,
        causal: s.flag("causal"),
        post_norm: s.flag("post-norm"),
        relu: s.flag("relu"),
        dropout: s.named_probability("dropout")?,
    };
    Ok(Spec::Transformer { heads: s.number("the heads")?, options })
}
