//! Texts cut and filled up to a length, where a file asks for it.

use serde::Deserialize;

use super::template::Typed;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Side {
    Left,
    #[default]
    Right,
}

/// The most codes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct TruncationRule {
    #[serde(default)]
    direction: Side,
    max_length: usize,
    strategy: TruncationStrategy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum TruncationStrategy {
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

impl TruncationRule {
    /// A file's rule, with at most so many codes; where it has none, the longest text is cut at its end.
    pub(super) fn within(own: Option<TruncationRule>, most: usize) -> TruncationRule {
        let usual = TruncationRule {
            direction: Side::default(),
            max_length: most,
            strategy: TruncationStrategy::LongestFirst,
        };
        own.map_or(usual, |own| TruncationRule { max_length: own.max_length.min(most), ..own })
    }

    /// Cuts texts so that they and `added` codes fit.
    pub(super) fn apply(&self, parts: &mut [Vec<u32>], added: usize) -> Result<()> {
        let most = self.max_length.saturating_sub(added);
        let total: usize = parts.iter().map(Vec::len).sum();
        if total <= most {
            return Ok(());
        }
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        let kept = match (self.strategy, &lengths[..]) {
            _ if most == 0 => vec![0; parts.len()],
            (TruncationStrategy::LongestFirst, [_]) | (TruncationStrategy::OnlyFirst, [_]) => vec![most],
            (TruncationStrategy::LongestFirst, [first, second]) => {
                let (short, long) = (*first.min(second), *first.max(second));
                let long = if short > most { short } else { short.max(most - short).min(long) };
                let (short, long) = match short + long > most {
                    true => (most / 2, most / 2 + most % 2),
                    false => (short, long),
                };
                if first > second { vec![long, short] } else { vec![short, long] }
            }
            (strategy, _) => {
                let which = usize::from(strategy == TruncationStrategy::OnlySecond);
                let other = total - lengths.get(which).copied().unwrap_or(total);
                let too_short =
                    || Error::new(format!("a text can't be cut to {most} codes: the other one has {other}"));
                let left = most
                    .checked_sub(other)
                    .filter(|left| *left > 0 && which < lengths.len())
                    .ok_or_else(too_short)?;
                let mut kept = lengths.clone();
                kept[which] = left;
                kept
            }
        };
        for (part, kept) in parts.iter_mut().zip(kept) {
            match self.direction {
                Side::Right => part.truncate(kept),
                Side::Left => drop(part.drain(..part.len().saturating_sub(kept))),
            }
        }
        Ok(())
    }
}

/// What a text is filled up with.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct PaddingRule {
    strategy: PaddingStrategy,
    direction: Side,
    pad_to_multiple_of: Option<usize>,
    pub(super) pad_id: u32,
    pad_type_id: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum PaddingStrategy {
    /// To the longest of those that are encoded together.
    BatchLongest,
    Fixed(usize),
}

impl PaddingRule {
    /// The length that texts of `longest` codes are filled up to.
    pub(super) fn length(&self, longest: usize) -> usize {
        let length = match self.strategy {
            PaddingStrategy::BatchLongest => longest,
            PaddingStrategy::Fixed(length) => length,
        };
        match self.pad_to_multiple_of {
            Some(multiple) if multiple > 0 => length.next_multiple_of(multiple),
            _ => length,
        }
    }

    /// Fills up to a length; the mask, 1 where there was a code.
    pub(super) fn fill(&self, typed: &mut Typed, length: usize) -> Vec<u32> {
        let own = typed.codes.len();
        let missing = length.saturating_sub(own);
        let mut mask = vec![1; own];
        let at = if self.direction == Side::Left { 0 } else { own };
        typed.codes.splice(at..at, std::iter::repeat_n(self.pad_id, missing));
        typed.types.splice(at..at, std::iter::repeat_n(self.pad_type_id, missing));
        mask.splice(at..at, std::iter::repeat_n(0, missing));
        mask
    }
}
