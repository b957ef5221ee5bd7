//! Stores to a dtype that lies in other lanes than the value does.
//!
//! `store(a: f64) → f32` becomes `b = cast(a): f32; store(b) → f32`: a store itself only narrows what is in lanes of its
//! own kind.

use std::borrow::Cow;

use kiln_compile::program::{Fused, Instruction, Operation};

use super::ops::LaneType;

/// The kernel with a cast in front of each such store.
pub(super) fn stores(fused: &Fused) -> Cow<'_, Fused> {
    let mut fused = Cow::Borrowed(fused);
    for number in 0..fused.stores.len() {
        let (value, dtype) = (fused.stores[number].value, fused.stores[number].view.dtype);
        let Instruction { dtype: held, full, .. } = fused.body[value];
        if LaneType::of(held) != LaneType::of(dtype) {
            let fused = fused.to_mut();
            fused.body.push(Instruction { operation: Operation::Cast(value), dtype, full });
            fused.stores[number].value = fused.body.len() - 1;
        }
    }
    fused
}
