//! Recurrent cells.

use kiln_nn::{Recurrence, Tensor};

use crate::call::{Call, Operator};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "LSTM" => |call| walk(call, 4, &["Sigmoid", "Tanh", "Tanh"]),
        "GRU" => |call| walk(call, 3, &["Sigmoid", "Tanh"]),
        "RNN" => |call| walk(call, 1, &["Tanh"]),
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
