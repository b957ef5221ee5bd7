//! The body of a fused kernel or an epilogue, a point at a time.

use kiln_compile::program::{Fused, Operation};
use kiln_ir::Scalar;

use super::super::bases::Bases;
use super::scalar::{binary, held, unary};
use super::{read, write};

/// Computes a point's values and stores them.
///
/// # Safety
/// As for [`run`].
pub(super) unsafe fn store(
    work: &Fused,
    at: &[usize],
    bases: &Bases,
    accumulator: Option<Scalar>,
    kept: &[Scalar],
) {
    // SAFETY: as for this function.
    let values = unsafe { values(work, at, bases, accumulator, kept, work.body.len()) };
    let last = std::iter::zip(at, &work.loops)
        .zip(&work.reduced)
        .all(|((i, size), &reduced)| i + 1 == *size || !reduced);
    for each in &work.stores {
        if last || work.body[each.value].full {
            // SAFETY: as for this function.
            unsafe { write(&each.view, at, bases, values[each.value]) };
        }
    }
}

/// The values of the first `count` instructions at a point, those that are kept as given.
///
/// # Safety
/// As for [`run`].
unsafe fn values(
    work: &Fused,
    at: &[usize],
    bases: &Bases,
    accumulator: Option<Scalar>,
    kept: &[Scalar],
    count: usize,
) -> Vec<Scalar> {
    let mut values = kept.to_vec();
    for position in 0..count {
        if work.body[position].full {
            // SAFETY: as for this function.
            values[position] = unsafe { value(work, position, at, bases, accumulator, &values) };
        }
    }
    values
}

/// # Safety
/// As for [`run`].
unsafe fn value(
    work: &Fused,
    position: usize,
    at: &[usize],
    bases: &Bases,
    accumulator: Option<Scalar>,
    values: &[Scalar],
) -> Scalar {
    let instruction = &work.body[position];
    let dtype = instruction.dtype;
    match instruction.operation {
        // SAFETY: as for this function.
        Operation::Load(i) => unsafe { read(&work.loads[i], at, bases) },
        Operation::Accumulator => accumulator.unwrap_or(Scalar::Int(0)),
        Operation::Literal(literal) => literal.cast(dtype),
        Operation::Index(axis) => Scalar::Int(at[axis] as i64),
        Operation::Unary(op, a) => unary(op, dtype, values[a]),
        Operation::Binary(op, a, b) => binary(op, work.body[a].dtype, values[a], values[b]),
        Operation::Select(condition, a, b) => values[if values[condition].as_bool() { a } else { b }],
        Operation::Cast(a) => values[a].cast(dtype),
        Operation::Reduce(_, a) => held(dtype, values[a]),
    }
}
