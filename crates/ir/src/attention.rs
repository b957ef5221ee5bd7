//! Attention: its settings, and what is asked of it.

use crate::dtype::{DType, Scalar};
use crate::random::uniform;

/// Which keys a query may attend to, and how sharply. The operands are `[query, key, value]`, then a mask, the places of
/// the first queries and the key of what is dropped where the settings say so, and what a gradient needs besides.
///
/// Query `i` stands at place `p = i + offset`, or that plus its batch's number in `places`; key `j` stands at `j`. A query sees the
/// keys with `p - left <= j <= p + right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionSpec {
    /// What products of queries and keys are multiplied by; a float.
    pub scale: Scalar,
    /// How many keys in front of its own place a query sees; all where there is none.
    pub left: Option<usize>,
    /// How many keys behind its own place a query sees: 0 is causal; all where there is none.
    pub right: Option<usize>,
    /// The place of the first query among the keys: how many keys were there before.
    pub offset: i64,
    /// Whether there is a mask `[batch, heads, queries, keys]`: added to the scores if of the operands' dtype, where `Bool` saying
    /// which keys are seen.
    pub masked: bool,
    /// Whether there are places `[batch]` (`I64`) that are added to `offset`.
    pub placed: bool,
    /// The share of the weights that are dropped, those that stay being larger by as much; a float. By a key `[1]` (`I64`), whose random number at
    /// the weight's place among all, row-major, says which: see [`AttentionSpec::kept`].
    pub dropout: Option<Scalar>,
}

/// What is asked of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionValue {
    /// The means of the values: `[batch, heads, queries, width of a value]`.
    Result,
    /// The logarithm of the sum of a row's exponentials, `[batch, heads, queries]`, in `F32`, or `F64` for `F64` operands.
    LogSum,
    /// The gradient in an operand, in its shape. Behind the operands come the logarithms of sums, `delta` and the result's
    /// gradient `g`: with `P = exp(scores - log sum)`, the gradient of the scores is `P * (g·valueᵀ - delta)`. For the gradient of the result
    /// `delta` is the sum of `g * result` over a row, for that of the logarithm of the sum its gradient's negative.
    Gradient(AttentionOperand),
}

/// An operand of attention that has a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionOperand {
    /// `[batch, heads, queries, width]`.
    Query,
    /// `[batch, shared heads, keys, width]`: each head of keys serves as many heads of queries in a row as there are for each.
    Key,
    /// `[batch, shared heads, keys, width of a value]`.
    Value,
    /// `[batch, heads, queries, keys]`, of floats.
    Mask,
}

impl AttentionValue {
    /// The operation's name.
    pub fn name(self) -> &'static str {
        match self {
            AttentionValue::Result => "attention",
            AttentionValue::LogSum => "attention_log_sum",
            AttentionValue::Gradient(_) => "attention_grad",
        }
    }
}

impl AttentionSpec {
    /// Everything is seen.
    pub fn new(scale: f64) -> AttentionSpec {
        AttentionSpec {
            scale: Scalar::Float(scale),
            left: None,
            right: None,
            offset: 0,
            masked: false,
            placed: false,
            dropout: None,
        }
    }

    /// How many operands there are.
    pub fn operands(&self, value: AttentionValue) -> usize {
        let more = if matches!(value, AttentionValue::Gradient(_)) { 3 } else { 0 };
        self.forward() + more
    }

    /// How many operands the result is computed from.
    pub fn forward(&self) -> usize {
        3 + usize::from(self.masked) + usize::from(self.placed) + usize::from(self.dropout.is_some())
    }

    /// The position of the mask among the operands.
    pub fn mask(&self) -> Option<usize> {
        self.masked.then_some(3)
    }

    /// The position of the places among the operands.
    pub fn places(&self) -> Option<usize> {
        self.placed.then_some(3 + usize::from(self.masked))
    }

    /// The position of the key of what is dropped among the operands.
    pub fn dropped(&self) -> Option<usize> {
        self.dropout.map(|_| 3 + usize::from(self.masked) + usize::from(self.placed))
    }

    /// What weights that stay are multiplied by.
    pub fn kept_factor(&self) -> f64 {
        match self.dropout.map_or(0.0, Scalar::as_f64) {
            share if share < 1.0 => 1.0 / (1.0 - share),
            _ => 0.0,
        }
    }

    /// Whether the weight at a place among all stays.
    pub fn kept(&self, key: i64, place: i64) -> bool {
        self.dropout.is_none_or(|share| uniform(key, place) >= share.as_f64() as f32)
    }

    /// The keys that the query at `place` sees, of so many.
    pub fn seen(&self, place: i64, keys: usize) -> std::ops::Range<usize> {
        let at = |place: i64| place.clamp(0, keys as i64) as usize;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let first = self.left.map_or(0, |left| at(place.saturating_sub(number(left))));
        let end = self.right.map_or(keys, |right| at(place.saturating_add(number(right)).saturating_add(1)));
        first..end.max(first)
    }
}

/// The dtype in which rows are summed up.
pub fn sums(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}
