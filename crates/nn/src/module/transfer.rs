//! From one module to another: what both keep, found by path.

use std::collections::HashSet;

use kiln_ir::packed::BlockFormat;
use kiln_ir::{DType, Error, ErrorKind, Result};

use super::{Context, Module};
use crate::tensor::{Tensor, eval_all};
use crate::variable::{Param, Variable};

/// A parameter or state that a module keeps.
pub(crate) struct StateEntry {
    path: String,
    pub(crate) variable: Variable,
    /// Stored axis `i` is the users' axis `order[i]`.
    order: Vec<usize>,
    /// How its rows along the last stored axis are packed, if they are.
    packed: Option<BlockFormat>,
}

impl StateEntry {
    /// Its value after the pass, with its axes in the order in which `other` stores them.
    pub(crate) fn laid_as(&self, other: &StateEntry, context: &Context) -> Tensor {
        let value = context.value(&self.variable);
        if self.order == other.order {
            return value;
        }
        let place = |axis: &usize| self.order.iter().position(|own| own == axis).unwrap_or(*axis);
        let order: Vec<usize> = other.order.iter().map(place).collect();
        Tensor(value.0.permute(&order))
    }

    fn sizes(&self) -> Vec<usize> {
        let mut stored = self.variable.shape().sizes().to_vec();
        if let (Some(format), Some(last)) = (self.packed, stored.last_mut()) {
            *last = format.row_numbers(*last).unwrap_or(*last);
        }
        let mut sizes = vec![1; self.order.len()];
        for (&axis, &size) in self.order.iter().zip(&stored) {
            if let Some(slot) = sizes.get_mut(axis) {
                *slot = size;
            }
        }
        sizes
    }

    /// Along which axis its blocks lie, where it has any.
    fn blocks(&self) -> Option<(BlockFormat, usize)> {
        self.packed.zip(self.order.last().copied())
    }

    fn kind(&self) -> String {
        let sizes = self.sizes();
        match self.blocks() {
            Some((format, axis)) => format!("{format}{sizes:?} in blocks along axis {axis}"),
            None => format!("{}{sizes:?}", self.variable.dtype()),
        }
    }
}

/// All that a module keeps.
pub(crate) fn kept<M: Module + ?Sized>(module: &M) -> Result<Vec<StateEntry>> {
    let parameter = |(path, param): (String, Param)| {
        let (variable, order) = (param.variable()?.clone(), param.order().to_vec());
        Ok(StateEntry { path, variable, order, packed: param.packed() })
    };
    let state = |(path, variable): (String, Variable)| {
        let order = (0..variable.shape().rank()).collect();
        StateEntry { path, variable, order, packed: None }
    };
    // One that is shared is there once, under its first path, as parameters are.
    let mut seen = HashSet::new();
    let states = module.states().into_iter().filter(|(_, variable)| seen.insert(variable.address()));
    let mut all = module.parameters().into_iter().map(parameter).collect::<Result<Vec<_>>>()?;
    all.extend(states.map(state));
    Ok(all)
}

/// What both modules keep, none of it packed: blocks have no numbers between them.
pub(crate) fn unpacked_pairs(
    operation: &str,
    own: Vec<StateEntry>,
    others: Vec<StateEntry>,
) -> Result<Vec<(StateEntry, StateEntry)>> {
    let pairs = pairs(operation, own, others)?;
    match pairs.iter().find_map(|(own, _)| Some((&own.path, own.packed?))) {
        None => Ok(pairs),
        Some((path, format)) => {
            let message = format!(
                "{path} is packed as {format}, and isn't changed step by step; `copy_from` copies packed numbers"
            );
            Err(Error::new(ErrorKind::Value, operation, message).nowhere())
        }
    }
}

/// What both modules keep, which must be the same: paths, shapes and types.
fn pairs(
    operation: &str,
    own: Vec<StateEntry>,
    mut others: Vec<StateEntry>,
) -> Result<Vec<(StateEntry, StateEntry)>> {
    let (here, there) = (own.len(), others.len());
    let (mut pairs, mut wrong) = (Vec::with_capacity(own.len()), Vec::new());
    for own in own {
        let Some(position) = others.iter().position(|other| other.path == own.path) else {
            wrong.push(format!("{} isn't in the other", own.path));
            continue;
        };
        let other = others.swap_remove(position);
        if own.sizes() != other.sizes()
            || own.variable.dtype() != other.variable.dtype()
            || own.blocks() != other.blocks()
        {
            wrong.push(format!("{} is {} and there {}", own.path, own.kind(), other.kind()));
        }
        pairs.push((own, other));
    }
    others.sort_by(|a, b| a.path.cmp(&b.path));
    wrong.extend(others.iter().map(|other| format!("{} is only in the other", other.path)));
    if wrong.is_empty() {
        return Ok(pairs);
    }
    let unmade = if here == 0 || there == 0 {
        "; layers without sizes are made by their first tensor (`build`)"
    } else {
        ""
    };
    let message = format!("the modules don't match: {}{unmade}", wrong.join(", "));
    Err(Error::new(ErrorKind::Value, operation, message).nowhere())
}

/// A share of the way from one to another, as constants, not literals: any share is then the same program. One of `F64` alone would
/// have all `F32` computed as `F64`, which not every device can.
pub(crate) struct Share {
    single: Tensor,
    double: Tensor,
}

impl Share {
    pub(crate) fn new(share: f64) -> Share {
        Share { single: Tensor::from(share as f32), double: Tensor::from(share) }
    }
}

/// What becomes of `from`, `share` of the way to `to`; `to` where only whole numbers are possible.
pub(crate) fn between(from: &Tensor, to: &Tensor, share: &Share) -> Tensor {
    match from.dtype() {
        DType::F16 | DType::Bf16 | DType::F32 | DType::F64 => {
            let share = if from.dtype() == DType::F64 { &share.double } else { &share.single };
            (from.wide() * (1.0 - share) + to.wide() * share).cast(from.dtype())
        }
        DType::Bool | DType::U8 | DType::U16 | DType::I32 | DType::I64 => to.clone(),
    }
}

/// Gives a module the numbers of another.
pub(super) fn copy(own: Vec<StateEntry>, other: Vec<StateEntry>) -> Result<()> {
    let context = Context::inference();
    for (own, other) in pairs("copy_from", own, other)? {
        if own.order == other.order {
            own.variable.write(&other.variable.read()?)?;
        } else {
            own.variable.write(&other.laid_as(&own, &context).to_data()?)?;
        }
    }
    Ok(())
}

/// Moves a module's numbers towards those of another.
pub(super) fn lerp(own: Vec<StateEntry>, other: Vec<StateEntry>, share: f64) -> Result<()> {
    let (pairs, context) = (unpacked_pairs("lerp", own, other)?, Context::inference());
    let share = Share::new(share);
    let value = |(own, other): &(StateEntry, StateEntry)| {
        between(&own.variable.tensor(), &other.laid_as(own, &context), &share)
    };
    let values: Vec<Tensor> = pairs.iter().map(value).collect();
    let values = eval_all(&values.iter().collect::<Vec<_>>())?;
    pairs.iter().zip(values).try_for_each(|((own, _), value)| own.variable.write(&value.to_data()?))
}
