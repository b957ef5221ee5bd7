//! The body of a fused kernel or a tail, a point at a time.

use kiln_compile::program::{Fused, Operation};
use kiln_ir::Scalar;

use super::super::bases::Bases;
use super::super::prepare::Call;
use super::scalar::{binary, fold, held, neutral, unary};
use super::{points, read, write};

/// Pointwise work and reductions.
pub(in super::super) fn fused(work: &Fused) -> Call {
    let work = work.clone();
    Box::new(move |bases: &Bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { run(&work, bases) };
        Ok(())
    })
}

/// # Safety
/// The kernel was checked, and nothing else uses what is in `bases`.
unsafe fn run(work: &Fused, bases: &Bases) {
    let only = |wanted: bool| -> Vec<usize> {
        let pick = |(&size, &reduced): (&usize, &bool)| if reduced == wanted { size } else { 1 };
        work.loops.iter().zip(&work.reduced).map(pick).collect()
    };
    let (kept_sizes, reduced_sizes) = (only(false), only(true));
    let mut kept = vec![Scalar::Int(0); work.body.len()];
    points(&kept_sizes, |outer| {
        let each_reduced = |visit: &mut dyn FnMut(&[usize])| {
            points(&reduced_sizes, |inner| {
                let at: Vec<usize> = outer.iter().zip(inner).map(|(a, b)| a + b).collect();
                visit(&at);
            });
        };
        for position in 0..work.body.len() {
            let instruction = &work.body[position];
            kept[position] = match instruction.operation {
                Operation::Reduce(op, value) => {
                    let mut sum = neutral(op, instruction.dtype);
                    each_reduced(&mut |at| {
                        // SAFETY: as for this function.
                        let values = unsafe { values(work, at, bases, None, &kept, value + 1) };
                        sum = fold(op, instruction.dtype, sum, values[value]);
                    });
                    sum
                }
                _ if instruction.full => continue,
                // SAFETY: as for this function.
                _ => unsafe { value(work, position, outer, bases, None, &kept) },
            };
        }
        each_reduced(&mut |at| {
            // SAFETY: as for this function.
            unsafe { store(work, at, bases, None, &kept) };
        });
    });
}

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
