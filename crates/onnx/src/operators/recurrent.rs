//! Recurrent cells, and other operators that keep a state from step to step.

use kiln_ir::DType;
use kiln_nn::{ConvOptions, Recurrence, Tensor};

use super::attention::split_heads;
use super::windows::biased;
use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "LSTM" => |call| walk(call, 4, &["Sigmoid", "Tanh", "Tanh"]),
        "GRU" => |call| walk(call, 3, &["Sigmoid", "Tanh"]),
        "RNN" => |call| walk(call, 1, &["Tanh"]),
        "LinearAttention" => linear_attention,
        "CausalConvWithState" => causal_conv,
        _ => return None,
    })
}

pub(super) fn walk(call: &Call, gates: usize, usual: &[&str]) -> Result<Vec<Value>> {
    let directions: &[bool] = match call.text("direction", "forward").as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(call.fault(format!("direction {other}"))),
    };
    let activations = call.texts("activations").unwrap_or_default();
    let own = |at: usize| activations.get(at).map_or(usual[at % usual.len()], String::as_str);
    let count = activations.len().max(usual.len());
    let relu = gates == 1 && (0..count).all(|at| own(at).eq_ignore_ascii_case("relu"));
    let as_usual = (0..count).all(|at| own(at).eq_ignore_ascii_case(usual[at % usual.len()]));
    if !relu && !as_usual || call.int("input_forget", 0) != 0 {
        return Err(
            call.unknown(format!("activations {activations:?}, or a forget gate that follows the input's"))
        );
    }
    let by_batch = call.int("layout", 0) != 0;
    let x = call.tensor(0)?;
    let x = if by_batch { x } else { x.permute([1, 0, 2]) };
    // A step is some ten operations, however many steps there are.
    call.unrolled(10 * directions.len())?;
    let (w, r) = (call.tensor(1)?, call.tensor(2)?);
    let width = r.size(-1);
    let (mut all, mut last, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for (place, &reverse) in directions.iter().enumerate() {
        let of = |tensor: Tensor| tensor.narrow(0, place as isize, 1).squeeze(0);
        // A state stands by direction first, or by batch.
        let state = |position: usize| -> Result<Option<Tensor>> {
            let axis = if by_batch { 1 } else { 0 };
            let one = |state: Tensor| state.narrow(axis, place as isize, 1).squeeze(axis);
            Ok(call.optional(position)?.map(one))
        };
        let mut cell = Recurrence::new(
            &reordered(gates, width, &of(w.clone())),
            &reordered(gates, width, &of(r.clone())),
        );
        if let Some(bias) = call.optional(3)? {
            let (bias, rows) = (of(bias), gates * width);
            let half = |start: usize| reordered(gates, width, &bias.narrow(0, start as isize, rows));
            cell = cell.biases(&half(0), &half(rows));
        }
        if let Some(lengths) = call.optional(4)? {
            cell = cell.lengths(&lengths);
        }
        if call.is_set("clip") {
            cell = cell.clip(call.float("clip", 0.0));
        }
        if reverse {
            cell = cell.reverse();
        }
        let h = state(5)?;
        let (steps, h) = match gates {
            4 => {
                let c = state(6)?;
                if let Some(weights) = call.optional(7)? {
                    // i o f there, i f o here.
                    let weights = of(weights);
                    let part = |at: usize| weights.narrow(0, (at * width) as isize, width);
                    cell = cell.peepholes(&Tensor::concat(&[part(0), part(2), part(1)], 0));
                }
                let zeros = || Tensor::zeros([x.size(0), width]).cast(x.dtype());
                let start = match (h, c) {
                    (None, None) => None,
                    (h, c) => Some((h.unwrap_or_else(zeros), c.unwrap_or_else(zeros))),
                };
                let (steps, h, c) = x.lstm(&cell, start.as_ref().map(|(h, c)| (h, c)));
                cells.push(c);
                (steps, h)
            }
            3 => {
                if call.int("linear_before_reset", 0) == 0 {
                    cell = cell.reset_first();
                }
                x.gru(&cell, h.as_ref())
            }
            _ => {
                if relu {
                    cell = cell.relu();
                }
                x.rnn(&cell, h.as_ref())
            }
        };
        all.push(steps);
        last.push(h);
    }
    // [batch, time, directions, hidden], or time, directions, batch.
    let y = match (by_batch, all.as_slice()) {
        (true, _) => Tensor::stack(&all, 2),
        (false, [one]) => one.permute([1, 0, 2]).unsqueeze(1),
        (false, _) => Tensor::stack(&all, 2).permute([1, 2, 0, 3]),
    };
    let side = if by_batch { 1 } else { 0 };
    let mut outputs = vec![Value::of(y), Value::of(Tensor::stack(&last, side))];
    if gates == 4 {
        outputs.push(Value::of(Tensor::stack(&cells, side)));
    }
    Ok(outputs)
}

/// Weights with their gates in kiln's order: i o f c becomes i f c o, and z r h becomes r z h.
fn reordered(gates: usize, width: usize, weights: &Tensor) -> Tensor {
    let order: &[usize] = match gates {
        4 => &[0, 2, 3, 1],
        3 => &[1, 0, 2],
        _ => return weights.clone(),
    };
    let part = |&at: &usize| weights.narrow(0, (at * width) as isize, width);
    Tensor::concat(&order.iter().map(part).collect::<Vec<_>>(), 0)
}

/// A convolution over time by channel that looks back only, and what the next one has to look back on.
fn causal_conv(call: &Call) -> Result<Vec<Value>> {
    let (x, w) = (call.tensor(0)?, call.tensor(1)?);
    let (&[batch, channels, _], &[_, _, window]) = (&x.shape()[..], &w.shape()[..]) else {
        return Err(call.fault(format!("a sequence {} and a weight {}", x.shape(), w.shape())));
    };
    let back = window.checked_sub(1).ok_or_else(|| call.fault("a window of nothing"))?;
    let before = match call.optional(3)? {
        Some(before) => before,
        None => Tensor::zeros([batch, channels, back]).cast(x.dtype()),
    };
    let all = call.sound(Tensor::concat(&[before, x.clone()], 2))?;
    let y = wide(&all).conv1d(&wide(&w), &ConvOptions::new().groups(channels));
    let y = biased(call.sound(y)?, call.optional(2)?.map(|bias| wide(&bias))).cast(x.dtype());
    let y = match call.text("activation", "none").as_str() {
        "none" => y,
        "silu" | "swish" => wide(&y).silu().cast(x.dtype()),
        other => return Err(call.unknown(format!("the activation {other}"))),
    };
    let kept = all.narrow(2, (all.size(2) - back) as isize, back);
    let element = call.element(0)?;
    Ok(vec![Value::Numbers(y, element), Value::Numbers(kept, element)])
}

/// Attention whose keys and values are kept as one matrix for each head, which forgets and is corrected step by step.
fn linear_attention(call: &Call) -> Result<Vec<Value>> {
    let heads = |name: &str| Ok::<_, crate::Error>(call.sizes(&[call.int(name, 0)])?[0]);
    let (q_heads, heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    let given = call.tensor(0)?;
    // [time, batch, heads, size]
    let steps = |position: usize, heads: usize| -> Result<Tensor> {
        let x = wide(&call.tensor(position)?);
        call.sound(split_heads(call, &x, heads)?.permute([2, 0, 1, 3]))
    };
    let (queries, keys, values) = (steps(0, q_heads)?, steps(1, heads)?, steps(2, heads)?);
    let [_, batch, _, size] = keys.shape()[..] else { return Err(call.fault("keys without heads")) };
    let width = values.size(-1);
    if heads == 0 || !q_heads.is_multiple_of(heads) {
        return Err(call.fault(format!("{q_heads} heads of queries for {heads} of keys")));
    }
    let rule = call.text("update_rule", "gated_delta");
    let (gated, corrected) = match rule.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(call.unknown(format!("the rule {other}"))),
    };
    let ones = |last: usize| Tensor::ones([keys.size(0), batch, heads, last]).cast(keys.dtype());
    let decay = if gated { steps(4, heads)?.exp() } else { ones(1) };
    let factor = match corrected {
        // One for each head, or for all.
        true => {
            let own = call.value(5)?.shape().last().copied().unwrap_or(1);
            steps(5, own)?.broadcast_to([keys.size(0), batch, heads, 1])
        }
        false => ones(1),
    };
    let start = match call.optional(3)? {
        Some(past) => wide(&past),
        None => Tensor::zeros([batch, heads, size, width]).cast(keys.dtype()),
    };
    let scale = match call.float("scale", 0.0) {
        0.0 => 1.0 / (size.max(1) as f64).sqrt(),
        scale => scale,
    };
    let sequences = [&queries, &keys, &values, &decay, &factor];
    let ([last], [y]) = Tensor::scan([&start], sequences, |[state], [query, key, value, decay, factor]| {
        let state = state * decay.unsqueeze(-1);
        let seen = (&state * key.unsqueeze(-1)).sum(2);
        let value = if corrected { factor * (value - seen) } else { value };
        let state = state + key.unsqueeze(-1) * value.unsqueeze(-2);
        let all = if q_heads == heads { state.clone() } else { state.repeat_interleave(1, q_heads / heads) };
        let y = (query.unsqueeze(-1) * all).sum(2) * scale;
        ([state], [y])
    });
    let y = call.sound(y)?.permute([1, 0, 2, 3]).flatten([-2, -1]);
    let kept = if call.has(3) { call.element(3)? } else { call.element(0)? };
    let dtype = kept.dtype().unwrap_or(DType::F32);
    Ok(vec![Value::Numbers(y.cast(given.dtype()), call.element(0)?), Value::Numbers(last.cast(dtype), kept)])
}
