//! Values computed where a network runs part by part, and what asks for it.

use std::cell::Cell;
use std::sync::Arc;

use kiln_ir::Op;
use kiln_map::Budget;
use kiln_nn::{Tensor, eval_all};

use crate::error::{Error, Result};
use crate::value::Value;

/// Whether a node asked for numbers that aren't computed yet.
#[derive(Default)]
pub struct Demand(Cell<bool>);

impl Demand {
    pub(crate) fn ask(&self) {
        self.0.set(true);
    }

    /// Whether it was asked since the last time.
    pub(crate) fn take(&self) -> bool {
        self.0.take()
    }
}

/// Values whose numbers are there, computed in one program.
pub fn settled(values: Vec<Value>, budget: &Budget, place: &str) -> Result<Vec<Value>> {
    let mut open = Vec::new();
    values.iter().for_each(|value| find_open(value, &mut open));
    if open.is_empty() {
        return Ok(values);
    }
    let bytes = open.iter().map(|tensor| (tensor.elements() * tensor.dtype().size()) as u64).sum();
    budget.bytes(bytes).map_err(Error::limit(place))?;
    let computed = eval_all(&open)?;
    budget.free(bytes);
    let mut computed = computed.into_iter();
    Ok(values.iter().map(|value| filled(value, &mut computed)).collect())
}

/// The bytes that the numbers of values take, those of lists too.
pub fn held(values: &[Value]) -> u64 {
    let bytes = values.iter().map(|value| match value {
        Value::Numbers(tensor, _) => (tensor.elements() as u64).saturating_mul(tensor.dtype().size() as u64),
        Value::List(values) => held(values),
        Value::Texts(..) | Value::Later(_) | Value::Nothing => 0,
    });
    bytes.fold(0, u64::saturating_add)
}

/// Whether a tensor is still to be computed: it is no number from the host and no weight.
fn is_open(tensor: &Tensor) -> bool {
    let node = tensor.expr().node();
    node.is_ok_and(|node| !matches!(node.op, Op::Const(_) | Op::Var(_) | Op::Fill(_)))
}

fn find_open<'a>(value: &'a Value, open: &mut Vec<&'a Tensor>) {
    match value {
        Value::Numbers(tensor, _) if is_open(tensor) => open.push(tensor),
        Value::List(values) => values.iter().for_each(|value| find_open(value, open)),
        Value::Numbers(..) | Value::Texts(..) | Value::Later(_) | Value::Nothing => {}
    }
}

/// A value with what was computed in the places that were open.
fn filled(value: &Value, computed: &mut impl Iterator<Item = Tensor>) -> Value {
    match value {
        Value::Numbers(tensor, element) if is_open(tensor) => {
            Value::Numbers(computed.next().unwrap_or_else(|| tensor.clone()), *element)
        }
        Value::List(values) => {
            Value::List(Arc::new(values.iter().map(|value| filled(value, computed)).collect()))
        }
        Value::Numbers(..) | Value::Texts(..) | Value::Later(_) | Value::Nothing => value.clone(),
    }
}
