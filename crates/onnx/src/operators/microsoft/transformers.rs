//! Attention and embeddings as tools that fuse transformers write them.

use kiln_ir::DType;
use kiln_nn::{AttentionOptions, Tensor};

use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::operators::attention::{Qkv, split_heads};
use crate::operators::quantise::product;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Attention" => packed,
        "QAttention" => quantised,
        "MultiHeadAttention" => separate,
        "EmbedLayerNormalization" => embed,
        _ => return None,
    })
}

fn heads(call: &Call) -> Result<usize> {
    Ok(call.sizes(&[call.int("num_heads", 0)])?[0])
}

/// What each query sees: `[batch, length, heads × size]`. What is masked gets a large negative number on its score, as it is there.
fn attend(call: &Call, qkv: &Qkv, mask: Option<Tensor>, added: Option<Tensor>) -> Result<Tensor> {
    let (length, all) = (qkv.queries.size(2), qkv.keys.size(2));
    let scale = match call.float("scale", 0.0) {
        0.0 => 1.0 / (qkv.queries.size(3).max(1) as f64).sqrt(),
        scale => scale,
    };
    let filter = call.float("mask_filter_value", -10000.0);
    let mut options = AttentionOptions::new().scale(scale);
    if call.int("unidirectional", 0) != 0 {
        options = options.causal().offset(all.saturating_sub(length));
    }
    let mask = mask.map(|mask| mask.select(0.0, filter));
    options.mask = match (mask, added.map(|added| wide(&added))) {
        (Some(mask), Some(added)) => Some(mask + added),
        (mask, added) => mask.or(added),
    };
    let y = qkv.queries.attention(&qkv.keys, &qkv.values, &options).transpose(1, 2);
    let sizes = call.sound(y.clone())?.shape();
    Ok(y.reshape([sizes[0], sizes[1], sizes[2] * sizes[3]]))
}

/// A boolean mask that fits scores `[batch, heads, length, all]`: of keys by their number, or of the pairs.
fn mask(call: &Call, position: usize, batch: usize, all: usize) -> Result<Option<Tensor>> {
    let Some(mask) = call.optional(position)? else { return Ok(None) };
    let allowed = match mask.shape()[..] {
        [count] if count == batch => {
            Tensor::index_along([1, 1, 1, all], 3).lt(mask.cast(DType::I64).reshape([batch, 1, 1, 1]))
        }
        [rows, keys] if keys == all => mask.ne(0).reshape([rows, 1, 1, keys]),
        [rows, length, keys] => mask.ne(0).reshape([rows, 1, length, keys]),
        _ => return Err(call.unknown(format!("a mask {} for {batch} × {all} keys", mask.shape()))),
    };
    Ok(Some(allowed))
}

/// Queries, keys and values by one product with the input.
fn packed(call: &Call) -> Result<Vec<Value>> {
    let input = call.tensor(0)?;
    if input.rank() != 3 {
        return Err(call.fault(format!("an input {}", input.shape())));
    }
    let mut all = wide(&input).matmul(&wide(&call.tensor(1)?));
    if let Some(bias) = call.optional(2)? {
        all += wide(&bias);
    }
    from_packed(call, &call.sound(all)?, 3, 4)
}

/// The same of numbers of eight bits.
fn quantised(call: &Call) -> Result<Vec<Value>> {
    let scale = call.tensor(3)? * call.tensor(4)?;
    let all = product(call, [0, 6], [1, 7])?.cast(DType::F32) * scale + wide(&call.tensor(2)?);
    if call.int("do_rotary", 0) != 0 {
        return Err(call.unknown("rotary positions"));
    }
    from_packed(call, &call.sound(all)?, 5, 8)
}

/// What each query sees, of queries, keys and values beside each other, with a mask and what is kept of the steps before.
fn from_packed(call: &Call, all: &Tensor, masked: usize, kept: usize) -> Result<Vec<Value>> {
    let count = heads(call)?;
    let batch = all.size(0);
    // The weights' or the bias's type, where the input is quantised.
    let given = if kept == 4 { call.element(0)? } else { call.element(2)? };
    let dtype = given.dtype().unwrap_or(DType::F32);
    let third = all.size(-1) as i64 / 3;
    let widths = call.ints("qkv_hidden_sizes").unwrap_or_else(|| vec![third; 3]);
    let widths = call.sizes(&widths)?;
    if widths.len() != 3 || widths.iter().sum::<usize>() != all.size(-1) {
        return Err(call.fault(format!("widths {widths:?} of {}", all.size(-1))));
    }
    let part = |at: usize| {
        let start: usize = widths[..at].iter().sum();
        split_heads(call, &all.narrow(-1, start as isize, widths[at]), count)
    };
    let mut qkv = Qkv { queries: part(0)?, keys: part(1)?, values: part(2)? };
    if let Some(past) = call.optional(kept)? {
        let before = |at: isize| wide(&past.narrow(0, at, 1).squeeze(0));
        qkv.keys = call.sound(Tensor::concat(&[before(0), qkv.keys], 2))?;
        qkv.values = call.sound(Tensor::concat(&[before(1), qkv.values], 2))?;
    }
    let mask = mask(call, masked, batch, qkv.keys.size(2))?;
    let added = if kept == 4 { call.optional(5)? } else { None };
    let y = attend(call, &qkv, mask, added)?;
    let mut outputs = vec![Value::Numbers(y.cast(dtype), given)];
    if call.node.output.len() > 1 {
        let present = Tensor::stack(&[&qkv.keys, &qkv.values], 0).cast(dtype);
        outputs.push(Value::Numbers(present, given));
    }
    Ok(outputs)
}

/// Queries, keys and values that come separately, or packed beside each other.
fn separate(call: &Call) -> Result<Vec<Value>> {
    let (input, element) = (call.tensor(0)?, call.element(0)?);
    let count = heads(call)?;
    let bias = call.optional(3)?.map(|bias| wide(&bias));
    let mut start = 0;
    // Keys and values may have their heads apart already.
    let mut part = |x: Tensor| -> Result<Tensor> {
        let x = wide(&x);
        if x.rank() == 4 {
            return Ok(x);
        }
        let width = x.size(-1);
        let x = match &bias {
            Some(bias) => call.sound(x + bias.narrow(0, start as isize, width))?,
            None => x,
        };
        start += width;
        split_heads(call, &x, count)
    };
    let mut qkv = match (call.optional(1)?, call.optional(2)?) {
        (Some(keys), Some(values)) => {
            Qkv { queries: part(input.clone())?, keys: part(keys)?, values: part(values)? }
        }
        // [batch, length, heads, 3, size]
        (None, None) if input.rank() == 5 => {
            let part = |at: isize| wide(&input.narrow(3, at, 1).squeeze(3)).transpose(1, 2);
            Qkv { queries: part(0), keys: part(1), values: part(2) }
        }
        _ => return Err(call.unknown("keys and values in one")),
    };
    if let (Some(keys), Some(values)) = (call.optional(6)?, call.optional(7)?) {
        qkv.keys = call.sound(Tensor::concat(&[wide(&keys), qkv.keys], 2))?;
        qkv.values = call.sound(Tensor::concat(&[wide(&values), qkv.values], 2))?;
    }
    let mask = mask(call, 4, qkv.queries.size(0), qkv.keys.size(2))?;
    let y = attend(call, &qkv, mask, call.optional(5)?)?;
    let value = |x: Tensor| Value::Numbers(x.cast(input.dtype()), element);
    Ok(vec![value(y), value(qkv.keys), value(qkv.values)])
}

/// The embeddings of words, positions and segments, added and put through a layer norm; and how many words each text has.
fn embed(call: &Call) -> Result<Vec<Value>> {
    let words = call.tensor(0)?.cast(DType::I64);
    let [batch, length] = words.shape()[..] else {
        return Err(call.fault(format!("words {}", words.shape())));
    };
    let table = |position: usize| -> Result<Tensor> { Ok(wide(&call.tensor(position)?)) };
    let rows = |position: usize, at: &Tensor| -> Result<Tensor> {
        let table = table(position)?;
        let width = table.size(-1);
        Ok(table.index_select(0, &at.reshape([at.elements()])).reshape([&at.shape()[..], &[width]].concat()))
    };
    let places = match call.optional(8)? {
        Some(places) => places.cast(DType::I64),
        None => Tensor::index_along([1, length], 1),
    };
    let mut sum = rows(2, &words)? + rows(3, &places)?;
    if let (Some(segments), true) = (call.optional(1)?, call.has(4)) {
        sum += rows(4, &segments.cast(DType::I64))?;
    }
    let y = sum.layer_norm(-1, call.float("epsilon", 1e-12)) * table(5)? + table(6)?;
    let element = call.element(2)?;
    let dtype = call.tensor(2)?.dtype();
    let lengths = match call.optional(7)? {
        Some(mask) => mask.cast(DType::I32).sum(-1),
        None => Tensor::full([batch], 0),
    };
    Ok(vec![
        Value::Numbers(y.cast(dtype), element),
        Value::Numbers(lengths.cast(DType::I32), OnnxDType::I32),
        Value::Numbers(sum.cast(dtype), element),
    ])
}
