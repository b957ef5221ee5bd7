//! What language models that go on with texts are written with: attention over a cache of keys and values, with rotary positions, and
//! products with weights of a few bits.

use kiln_ir::DType;
use kiln_nn::{AttentionOptions, Tensor};

use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::operators::attention::{rotated, split_heads};
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "GroupQueryAttention" => group_query,
        "MatMulNBits" => product,
        "RotaryEmbedding" => rotary,
        _ => return None,
    })
}

/// The cosines and sines of positions `[batch, length]`, from tables of all positions: `[batch, length, half]` each.
fn angles(call: &Call, tables: [usize; 2], places: &Tensor) -> Result<[Tensor; 2]> {
    let shape = places.shape();
    let of = |position: usize| -> Result<Tensor> {
        let table = wide(&call.tensor(position)?);
        let rows = table.index_select(0, &places.reshape([places.elements()]));
        call.sound(rows.reshape([&shape[..], &[table.size(-1)]].concat()))
    };
    Ok([of(tables[0])?, of(tables[1])?])
}

/// Each pair of numbers of a head rotated by the angle of its position: that of the first, or one for each.
fn rotary(call: &Call) -> Result<Vec<Value>> {
    if call.int("is_packed_batching", 0) != 0 {
        return Err(call.unknown("texts of several lengths in one row"));
    }
    let given = call.tensor(0)?;
    let half = call.value(2)?.shape().last().copied().unwrap_or(0);
    let x = match given.shape()[..] {
        [_, _, width] => {
            let heads = match call.int("num_heads", 0) {
                0 => width / (2 * half).max(1),
                heads => call.sizes(&[heads])?[0],
            };
            split_heads(call, &wide(&given), heads)?
        }
        _ => wide(&given),
    };
    let [batch, _, length, _] = x.shape()[..] else { return Err(call.fault(format!("{}", given.shape()))) };
    let places = call.tensor(1)?.cast(DType::I64);
    let places = match places.elements() {
        1 => (places.reshape([1, 1]) + Tensor::index_along([1, length], 1)).broadcast_to([batch, length]),
        _ => places,
    };
    let [cos, sin] = angles(call, [2, 3], &places)?;
    let y = rotated(call, &x, [&cos, &sin], call.int("interleaved", 0) != 0)?;
    let y = if given.rank() == 3 { y.transpose(1, 2).reshape(given.shape()) } else { y };
    call.like(0, y.cast(given.dtype()))
}

/// Queries, keys and values `[batch, heads, length, size]` that come apart, or beside each other in one.
fn heads(call: &Call) -> Result<([Tensor; 3], usize)> {
    let given = wide(&call.tensor(0)?);
    let [own, kept] = ["num_heads", "kv_num_heads"].map(|name| call.int(name, 0));
    let (own, kept) = (call.sizes(&[own])?[0], call.sizes(&[kept])?[0]);
    if kept == 0 || !own.is_multiple_of(kept) {
        return Err(call.fault(format!("{own} heads of queries for {kept} of keys")));
    }
    if call.has(1) {
        let part = |position: usize, heads: usize| split_heads(call, &wide(&call.tensor(position)?), heads);
        return Ok(([split_heads(call, &given, own)?, part(1, kept)?, part(2, kept)?], own));
    }
    let all = split_heads(call, &given, own + 2 * kept)?;
    let part = |start: usize, heads: usize| all.narrow(1, start as isize, heads);
    Ok(([part(0, own), part(own, kept), part(own + kept, kept)], own))
}

/// Attention over what is kept of the steps before, whose heads of keys serve several of queries.
fn group_query(call: &Call) -> Result<Vec<Value>> {
    let others = ["smooth_softmax", "qk_output", "kv_cache_bit_width", "sliding_window_cache"];
    if let Some(other) = others.into_iter().find(|name| call.int(name, 0) > 0) {
        return Err(call.unknown(format!("{other} isn't known here")));
    }
    if let Some(position) = (10..17).find(|&position| call.has(position)) {
        return Err(call.unknown(format!("input {position} isn't known here")));
    }
    let given = call.tensor(0)?;
    let ([mut queries, mut keys, values], own) = heads(call)?;
    let [batch, _, length, size] = queries.shape()[..] else {
        return Err(call.fault("queries without heads"));
    };
    let total = call.known_number(6)? as i64;
    let total = call.sizes(&[total])?[0];
    let past = call.value(3).map_or(0, |past| past.shape().get(2).copied().unwrap_or(0));
    let room = total.max(past);
    // How many steps each row had before; at first none, and shorter rows are filled up behind.
    let before = match total == length {
        true => Tensor::full([batch], 0i64),
        false => call.tensor(5)?.cast(DType::I64).reshape([batch]) + (1 - length as i64),
    };
    let places = before.reshape([batch, 1]) + Tensor::index_along([1, length], 1);
    if call.int("do_rotary", 0) != 0 {
        let places = match call.optional(9)? {
            Some(places) => places.cast(DType::I64),
            None => places.clone(),
        };
        let tables = angles(call, [7, 8], &places)?;
        let pairs = call.int("rotary_interleaved", 0) != 0;
        queries = rotated(call, &queries, [&tables[0], &tables[1]], pairs)?;
        keys = rotated(call, &keys, [&tables[0], &tables[1]], pairs)?;
    }
    let kept = |position: usize, new: &Tensor| -> Result<Tensor> {
        let shape = new.shape();
        let old = match call.optional(position)? {
            Some(old) => wide(&old),
            None => Tensor::zeros([batch, shape[1], 0, shape[3]]).cast(new.dtype()),
        };
        // Behind what a row has there is nothing.
        let there = Tensor::index_along([batch, 1, past, 1], 2).lt(before.reshape([batch, 1, 1, 1]));
        let all = there.select(old, 0.0).pad([(0, 0), (0, room - past), (0, 0)], 0.0);
        let index = places.reshape([batch, 1, length, 1]).broadcast_to(shape);
        call.sound(all.scatter(2, &index, new))
    };
    let (keys, values) = (kept(3, &keys)?, kept(4, &values)?);
    let scale = match call.float("scale", 0.0) {
        0.0 => 1.0 / (size.max(1) as f64).sqrt(),
        scale => scale,
    };
    let window = usize::try_from(call.int("local_window_size", -1)).ok();
    let cap = call.float("softcap", 0.0);
    let y = if cap == 0.0 {
        let mut options = AttentionOptions::new().scale(scale).causal().places(&before);
        options.grouped = own != keys.size(1);
        options.window = window.map(|window| window.saturating_sub(1));
        queries.attention(&keys, &values, &options)
    } else {
        let each = |x: &Tensor| x.repeat_interleave(1, own / x.size(1).max(1));
        let scores = ((queries * scale).matmul(&each(&keys).t()) / cap).tanh() * cap;
        let at = places.reshape([batch, 1, length, 1]);
        let key = Tensor::index_along([1, 1, 1, room], 3);
        let mut seen = key.le(&at);
        if let Some(window) = window {
            seen = seen.logical_and(&(at - &key).lt(window as i64));
        }
        seen.select(scores, f64::NEG_INFINITY).softmax(-1).matmul(&each(&values))
    };
    let y = call.sound(y)?.transpose(1, 2).flatten([-2, -1]);
    let element = call.element(0)?;
    let value = |x: Tensor| Value::Numbers(x.cast(given.dtype()), element);
    Ok(vec![value(y), value(keys), value(values)])
}

/// A product with weights of 2, 4 or 8 bits, each block of a row with a scale and a zero point of its own.
fn product(call: &Call) -> Result<Vec<Value>> {
    let (given, packed, scales) = (call.tensor(0)?, call.tensor(1)?, wide(&call.tensor(2)?));
    let number = |name: &str| Ok::<_, crate::Error>(call.sizes(&[call.int(name, 0)])?[0]);
    let (rows, columns, block) = (number("N")?, number("K")?, number("block_size")?);
    let bits = match call.int("bits", 4) {
        bits @ (2 | 4 | 8) => bits as u32,
        other => return Err(call.unknown(format!("weights of {other} bits"))),
    };
    if call.has(4) || call.int("weight_prepacked", 0) != 0 {
        return Err(call.unknown("columns in another order"));
    }
    let blocks = columns.div_ceil(block.max(1));
    // Each of the sizes may be as large as memory is.
    call.room_of(&[rows, blocks, block], 4)?;
    let bytes = (block * bits as usize).div_ceil(8);
    if block == 0 || packed.elements() != rows * blocks * bytes || scales.elements() != rows * blocks {
        return Err(call.fault(format!("weights {} for {rows} rows of {columns}", packed.shape())));
    }
    // The first number stands in the lowest bits.
    let unpacked = |x: &Tensor, row: usize, count: usize| -> Result<Tensor> {
        let (parts, base) = (8 / bits as usize, 1i64 << bits);
        let whole = x.cast(DType::I32).reshape([rows, row, x.elements() / (rows * row).max(1)]);
        let part = |at: usize| (whole.div_trunc(base.pow(at as u32)) % base).cast(DType::F32);
        let all: Vec<Tensor> = (0..parts).map(part).collect();
        call.sound(Tensor::stack(&all, -1).flatten([-2, -1]).narrow(-1, 0, count))
    };
    let zero = match call.optional(3)? {
        None => Tensor::full([], f64::from(1u32 << (bits - 1))).cast(DType::F32),
        Some(zero) if zero.dtype().is_float() => zero.cast(DType::F32).reshape([rows, blocks, 1]),
        // Those of a row stand together too.
        Some(zero) => unpacked(&zero, 1, blocks)?.reshape([rows, blocks, 1]),
    };
    let steps = unpacked(&packed, blocks, block)? - zero;
    let w = (steps * scales.cast(DType::F32).reshape([rows, blocks, 1])).flatten([-2, -1]);
    let mut y = wide(&given).matmul(&w.narrow(-1, 0, columns).t().cast(wide(&given).dtype()));
    if let Some(bias) = call.optional(5)? {
        y += wide(&bias);
    }
    Ok(vec![Value::Numbers(y.cast(given.dtype()), OnnxDType::from_dtype(given.dtype()))])
}
