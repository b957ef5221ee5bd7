//! Attention, and rotary position embeddings.

use kiln_ir::DType;
use kiln_nn::{AttentionOptions, Tensor};

use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "Attention" => attention,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

/// Queries, keys and values, `[batch, heads, length, size]` each.
pub(super) struct Qkv {
    pub queries: Tensor,
    pub keys: Tensor,
    pub values: Tensor,
}

/// `[batch, length, heads × size]` as `[batch, heads, length, size]`.
pub(super) fn split_heads(call: &Call, x: &Tensor, heads: usize) -> Result<Tensor> {
    match x.shape()[..] {
        [batch, length, width] if heads > 0 && width.is_multiple_of(heads) => {
            Ok(x.reshape([batch, length, heads, width / heads]).transpose(1, 2))
        }
        _ => Err(call.fault(format!("{} doesn't divide into {heads} heads", x.shape()))),
    }
}

/// With heads apart: as they come where there are four axes, else split into as many as an attribute says.
fn heads(call: &Call, x: &Tensor, attribute: &str) -> Result<Tensor> {
    match x.rank() {
        4 => Ok(x.clone()),
        _ => split_heads(call, x, call.sizes(&[call.int(attribute, 0)])?[0]),
    }
}

/// The operands, behind the past ones that are kept; and how many positions are before the first query: one number, or one for each of
/// the batch, `[batch, 1, 1, 1]`.
fn operands(call: &Call) -> Result<(Qkv, Tensor)> {
    let (queries, keys, values) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let queries = heads(call, &queries, "q_num_heads")?;
    let (mut keys, mut values) = (heads(call, &keys, "kv_num_heads")?, heads(call, &values, "kv_num_heads")?);
    let mut before = Tensor::from(0i64);
    match (call.optional(4)?, call.optional(5)?, call.optional(6)?) {
        (Some(past), Some(past_values), None) if past.rank() == 4 && past_values.rank() == 4 => {
            before = Tensor::from(past.shape()[2] as i64);
            keys = Tensor::concat(&[past, keys], 2);
            values = Tensor::concat(&[past_values, values], 2);
        }
        (None, None, Some(lengths)) => {
            let lengths = lengths.cast(DType::I64).reshape([-1, 1, 1, 1]);
            before = lengths - queries.shape()[2];
        }
        (None, None, None) => {}
        _ => return Err(call.fault("past keys and values come together, and without lengths")),
    }
    Ok((Qkv { queries, keys: call.sound(keys)?, values: call.sound(values)? }, call.sound(before)?))
}

/// Heads of keys or values repeated for each group of queries.
fn grouped(call: &Call, x: &Tensor, count: usize) -> Result<Tensor> {
    let own = x.shape()[1];
    match own {
        own if own == count => Ok(x.clone()),
        own if own > 0 && count.is_multiple_of(own) => Ok(x.repeat_interleave(1, count / own)),
        own => Err(call.fault(format!("{count} heads of queries for {own} of keys"))),
    }
}

/// The mask that is given, for all keys: of booleans, or of numbers that are added.
fn given(call: &Call, all: usize) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let Some(mask) = call.optional(3)? else { return Ok((None, None)) };
    let shape = mask.shape();
    let last = shape.rank().checked_sub(1).ok_or_else(|| call.fault("the mask has no axes"))?;
    // A short one says no to what it doesn't name.
    let more = all.checked_sub(shape[last]);
    let more = more.ok_or_else(|| call.fault(format!("a mask {shape} for {all} keys")))?;
    Ok(match mask.dtype() {
        DType::Bool => (Some(mask.pad([(0, more)], false)), None),
        _ => (None, Some(mask.pad([(0, more)], f64::NEG_INFINITY))),
    })
}

/// Where a query may look, and what is added where it does: a boolean mask, and numbers if there are any.
fn mask(call: &Call, qkv: &Qkv, before: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (length, all) = (qkv.queries.shape()[2], qkv.keys.shape()[2]);
    let (query, key) = (Tensor::index_along([length, all], 0), Tensor::index_along([length, all], 1));
    let at = query + before;
    let mut allowed: Vec<Tensor> = Vec::new();
    if call.int("is_causal", 0) != 0 {
        allowed.push(key.le(&at));
    }
    let (left, right) = (call.int("left_window_size", -1), call.int("right_window_size", -1));
    if left >= 0 {
        allowed.push((&at - &key).le(left));
    }
    if right >= 0 {
        allowed.push((&key - &at).le(right));
    }
    if call.has(6) {
        allowed.push(key.lt(before + length));
    }
    let (mask, added) = given(call, all)?;
    allowed.extend(mask);
    Ok((allowed.into_iter().reduce(|a, b| a.logical_and(&b)), added))
}

/// The same for the operation that knows places and windows.
fn options(call: &Call, qkv: &Qkv, before: &Tensor) -> Result<AttentionOptions> {
    let mut options = AttentionOptions::new();
    options.grouped = qkv.queries.shape()[1] != qkv.keys.shape()[1];
    options.causal = call.int("is_causal", 0) != 0;
    let (left, right) = (call.int("left_window_size", -1), call.int("right_window_size", -1));
    options.window = usize::try_from(left).ok();
    if call.has(6) {
        options.places = Some(before.reshape(-1));
    } else if let Some(past) = call.optional(4)? {
        options.offset = past.shape()[2];
    }
    let (length, all) = (qkv.queries.shape()[2], qkv.keys.shape()[2]);
    let key = Tensor::index_along([length, all], 1);
    let mut allowed: Vec<Tensor> = Vec::new();
    if right >= 0 && !options.causal {
        allowed.push((&key - (Tensor::index_along([length, all], 0) + before)).le(right));
    }
    if call.has(6) {
        allowed.push(key.lt(before + length));
    }
    let (mask, added) = given(call, all)?;
    allowed.extend(mask);
    let allowed = allowed.into_iter().reduce(|a, b| a.logical_and(&b));
    options.mask = match (allowed, added) {
        (Some(allowed), Some(added)) => Some(allowed.select(&added, f64::NEG_INFINITY)),
        (allowed, added) => allowed.or(added),
    };
    Ok(options)
}

fn attention(call: &Call) -> Result<Vec<Value>> {
    let element = call.element(0)?;
    let (qkv, before) = operands(call)?;
    let Qkv { queries, keys, values } = &qkv;
    let (dtype, shape) = (queries.dtype(), queries.shape());
    let scale = call.float("scale", 1.0 / (shape[3].max(1) as f32).sqrt());
    if scale < 0.0 {
        return Err(call.unknown(format!("a scale of {scale}")));
    }
    let root = scale.sqrt();
    let each = grouped(call, keys, shape[1])?;
    // Narrow floats are computed with in 32 bits, and rounded once.
    let mut scores = (wide(queries) * root).matmul(&(wide(&each).t() * root));
    let mut shown = scores.clone();
    let mode = call.int("qk_matmul_output_mode", 0);
    let cap = call.float("softcap", 0.0);
    if cap > 0.0 {
        scores = (scores / cap).tanh() * cap;
    }
    if mode == 1 {
        shown = scores.clone();
    }
    let (allowed, added) = mask(call, &qkv, &before)?;
    let mut open = None;
    if let Some(added) = added {
        let added = added.cast(scores.dtype());
        open = Some(added.ne(f64::NEG_INFINITY));
        scores += added;
    }
    if let Some(allowed) = allowed {
        scores = allowed.select(&scores, f64::NEG_INFINITY);
        open = Some(open.map_or(allowed.clone(), |open| open.logical_and(&allowed)));
    }
    if mode == 2 {
        shown = scores.clone();
    }
    // The precision asked for is the least; nothing is lost with more.
    let precision = match call.int("softmax_precision", 0) {
        number if number == i64::from(OnnxDType::F64.number()) => DType::F64,
        _ => scores.dtype(),
    };
    // Who may look nowhere sees nothing.
    let fused = cap == 0.0 && precision == scores.dtype();
    let weights = match open.map(|open| open.any_keepdim(-1)) {
        Some(open) => open.select(open.select(scores, 0.0).cast(precision).softmax(-1), 0.0),
        None => scores.cast(precision).softmax(-1),
    };
    if mode == 3 {
        shown = weights.clone();
    }
    let mut y = if fused {
        let options = options(call, &qkv, &before)?.scale(scale);
        queries.attention(keys, values, &options)
    } else {
        let each = wide(&grouped(call, values, shape[1])?);
        weights.cast(each.dtype()).matmul(&each)
    };
    if call.value(0)?.shape().len() == 3 {
        let sizes = call.sound(y.clone())?.shape();
        y = y.transpose(1, 2).reshape([sizes[0], sizes[2], sizes[1] * sizes[3]]);
    }
    Ok(vec![
        Value::Numbers(y.cast(dtype), element),
        Value::Numbers(keys.clone(), call.element(1)?),
        Value::Numbers(values.clone(), call.element(2)?),
        Value::Numbers(shown.cast(dtype), element),
    ])
}

/// Attention whose scores and weights graphs of the file change.
pub(super) fn flexible(call: &Call) -> Result<Vec<Value>> {
    let (queries, keys, values) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let shape = queries.shape();
    let (&[_, heads, _, size], 4, 4) = (&shape[..], keys.rank(), values.rank()) else {
        return Err(call.fault(format!("{shape}, {}, {}", keys.shape(), values.shape())));
    };
    let scale = call.float("scale", 1.0 / (size.max(1) as f32).sqrt());
    // Half of it on each side; which sign it has is the queries'.
    let root = scale.abs().sqrt();
    let (keys, each) = (grouped(call, &keys, heads)?, grouped(call, &values, heads)?);
    let dtype = match call.int("softmax_precision", 0) {
        number if number == i64::from(OnnxDType::F64.number()) => DType::F64,
        _ => wide(&queries).dtype(),
    };
    let scores = (wide(&queries) * (root * scale.signum())).matmul(&(wide(&keys).t() * root)).cast(dtype);
    let changed = |name: &str, x: Tensor| -> Result<Tensor> {
        if !call.is_set(name) {
            return Ok(x);
        }
        match call.run(call.graph(name)?, vec![Value::of(call.sound(x)?)])?.pop() {
            Some(Value::Numbers(x, _)) => Ok(x),
            _ => Err(call.fault(format!("{name} gives no numbers"))),
        }
    };
    let weights = changed("prob_mod", changed("score_mod", scores)?.softmax(-1))?;
    let y = weights.matmul(&wide(&each).cast(dtype)).cast(values.dtype());
    Ok(vec![Value::Numbers(y, call.element(2)?)])
}

/// Each pair of numbers of a head rotated by the angle of its position.
fn rotary(call: &Call) -> Result<Vec<Value>> {
    let input = call.tensor(0)?;
    let x = heads(call, &input, "num_heads")?;
    let shape = x.shape();
    let [_, _, length, size] = shape[..] else { return Err(call.fault(format!("{shape}"))) };
    let width = match call.int("rotary_embedding_dim", 0) {
        0 => size,
        width => call.sizes(&[width])?[0],
    };
    if width > size || !width.is_multiple_of(2) {
        return Err(call.fault(format!("{width} of {size} can't be rotated in pairs")));
    }
    // [batch, 1, length, width / 2]
    let angles = |position: usize| -> Result<Tensor> {
        let table = call.tensor(position)?;
        let angles = match call.optional(3)? {
            Some(at) if table.rank() == 2 => {
                let rows = table.index_select(0, &at.reshape(-1));
                rows.reshape([&at.shape()[..], &[table.shape()[1]]].concat())
            }
            _ => table,
        };
        match angles.shape()[..] {
            [_, rows, half] if rows == length && half == width / 2 => Ok(angles),
            _ => Err(call.fault(format!("angles {} for {shape}", angles.shape()))),
        }
    };
    let (cos, sin) = (angles(1)?, angles(2)?);
    let y = rotated(call, &x, [&cos, &sin], call.int("interleaved", 0) != 0)?;
    let y = if input.rank() == 3 { y.transpose(1, 2).reshape(input.shape()) } else { y };
    call.like(0, y)
}

/// Heads `[batch, heads, length, size]` rotated by angles `[batch, length, half]`; what has no angle stays. Pairs are neighbours, or
/// those of two halves.
pub(super) fn rotated(call: &Call, x: &Tensor, [cos, sin]: [&Tensor; 2], neighbours: bool) -> Result<Tensor> {
    let (half, size) = (cos.size(-1), x.size(-1));
    if 2 * half > size {
        return Err(call.fault(format!("{half} angles for heads of {size}")));
    }
    let (axis, apart) = if neighbours { (-1, [half, 2]) } else { (-2, [2, half]) };
    let both = x.narrow(-1, 0, 2 * half).unflatten(-1, apart);
    let part = |at: isize| both.narrow(axis, at, 1).squeeze(axis);
    let (a, b) = (part(0), part(1));
    let (cos, sin) = (cos.unsqueeze(1), sin.unsqueeze(1));
    let parts = [&a * &cos - &b * &sin, &a * &sin + &b * &cos];
    let y = Tensor::stack(&parts, axis).flatten([-2, -1]);
    let rest = x.narrow(-1, 2 * half as isize, size - 2 * half);
    call.sound(Tensor::concat(&[y, rest], -1))
}
