//! Random numbers: functions of a key and a counter, so that the same file gives the same numbers on every device. In training each
//! step has its own; elsewhere a node draws the same in each run, by its seed or its place among the nodes that draw.

use kiln_ir::DType;
use kiln_nn::{Key, Tensor};

use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "RandomNormal" => |call| drawn(call, own_shape(call)?, normal),
        "RandomUniform" => |call| drawn(call, own_shape(call)?, uniform),
        "RandomNormalLike" => |call| drawn(call, call.value(0)?.shape(), normal),
        "RandomUniformLike" => |call| drawn(call, call.value(0)?.shape(), uniform),
        "Bernoulli" => |call| {
            let chance = wide(&call.tensor(0)?);
            call.room(&chance.shape())?;
            let hits = key(call).uniform(chance.shape(), 0.0, 1.0).lt(chance.cast(DType::F32));
            typed(call, hits, call.element(0)?)
        },
        "Multinomial" => |call| {
            let logits = call.tensor(0)?;
            let [rows, classes] = logits.shape()[..] else {
                return Err(call.fault(format!("log-probabilities {}", logits.shape())));
            };
            let count = call.sizes(&[call.int("sample_size", 1)])?[0];
            call.room(&[rows, count, classes])?;
            let all = wide(&logits).unsqueeze(1).broadcast_to([rows, count, classes]);
            typed(call, key(call).categorical(&all), OnnxDType::I32)
        },
        _ => return None,
    })
}

/// What a node draws by.
pub(super) fn key(call: &Call) -> Key {
    match call.is_set("seed") && !call.context.is_training() {
        true => Key::new(u64::from((call.float("seed", 0.0) as f32).to_bits())),
        false => call.context.key(),
    }
}

fn own_shape(call: &Call) -> Result<Vec<usize>> {
    call.sizes(&call.ints("shape").unwrap_or_default())
}

fn normal(call: &Call, key: &Key, shape: Vec<usize>) -> Tensor {
    key.normal(shape, call.float("mean", 0.0), call.float("scale", 1.0))
}

fn uniform(call: &Call, key: &Key, shape: Vec<usize>) -> Tensor {
    key.uniform(shape, call.float("low", 0.0), call.float("high", 1.0))
}

fn drawn(call: &Call, shape: Vec<usize>, draw: fn(&Call, &Key, Vec<usize>) -> Tensor) -> Result<Vec<Value>> {
    call.room(&shape)?;
    let like = match call.has(0) {
        true => Some(call.element(0)?).filter(|element| element.is_float()),
        false => None,
    };
    typed(call, draw(call, &key(call), shape), like.unwrap_or(OnnxDType::F32))
}

/// In the type that the node says, else in this one.
fn typed(call: &Call, x: Tensor, own: OnnxDType) -> Result<Vec<Value>> {
    let element = match call.int("dtype", 0) {
        0 => own,
        number => call.element_of(number)?,
    };
    let dtype = element.dtype().ok_or_else(|| call.fault("texts aren't drawn"))?;
    Ok(vec![Value::Numbers(x.cast(dtype), element)])
}
